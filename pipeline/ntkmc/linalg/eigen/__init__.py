"""The smallest eigenvalue of a symmetric matrix with a rigorous enclosure, the event lambda_min >= lambda_0, and
log det, quadratic forms and lambda_max, enclosed.

Works on matrices and on rows of data alone; imports nothing else of `linalg`. Life of an enclosure: `krylov` (or
`solvers`) proposes a vector, `temple_kato` factors and sharpens it, `rayleigh` takes its quotient and residual in
double-double, `smallest` puts the certificate together, `result` holds the answer.
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
