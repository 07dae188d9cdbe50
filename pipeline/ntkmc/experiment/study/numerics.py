"""Everything that can change a bit of a result, as one constant, versioned document.

It is stored with every run, and two runs with different `NUMERICS` do not share a store. Change the version whenever
an operation behind a result changes, even if no constant does.
"""

from __future__ import annotations

from typing import Any, Final

from ntkmc.linalg.eigen import krylov, lapack, smallest, solvers, temple_kato
from ntkmc.linalg.gram import matrix
from ntkmc.theory.kernels import functions

NUMERICS: Final[dict[str, Any]] = {
    "version": 2,
    "threads": 1,  # BLAS threads inside a trial: summation order, hence last bits, depends on it
    "generator": "Philox",
    "kernels": dict(functions.NUMERICS),
    "gram": dict(matrix.NUMERICS),
    "lapack": dict(lapack.NUMERICS),
    "solvers": dict(solvers.NUMERICS),
    "krylov": dict(krylov.NUMERICS),
    "deflation": dict(temple_kato.NUMERICS),
    "certificate": dict(smallest.NUMERICS),
}
