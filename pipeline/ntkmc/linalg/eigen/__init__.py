"""The smallest eigenvalue of a symmetric matrix with a rigorous enclosure, the event lambda_min >= lambda_0, and
log det, quadratic forms and lambda_max, enclosed.

Works on matrices and on rows of data alone; imports nothing else of `linalg`. Steps of an enclosure: `krylov` (or
`solvers`) proposes a vector, `temple_kato` factors the matrix and sharpens the vector, `rayleigh` computes its
quotient and residual in double-double, `smallest` combines them into a certificate, and `result` defines the returned
object.
"""

from ntkmc.linalg.eigen.event import event_holds
from ntkmc.linalg.eigen.result import Eigenvalue, Status
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.smallest import smallest_eigenvalue
from ntkmc.linalg.eigen.spectrum import Enclosed, Spectrum

__all__ = [
    "Eigenvalue",
    "Enclosed",
    "Rows",
    "Spectrum",
    "Status",
    "as_data",
    "event_holds",
    "smallest_eigenvalue",
    "split_rows",
]
