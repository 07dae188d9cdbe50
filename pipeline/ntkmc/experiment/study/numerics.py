"""Versioned constants that can change a bit of a result.

They are stored with every run, and runs with different `NUMERICS` do not share a store. The version must change
whenever an operation that a result depends on changes, even if no constant does.
"""

from __future__ import annotations

from typing import Any, Final

from ntkmc.linalg.eigen import krylov, lapack, smallest, solvers, temple_kato
from ntkmc.linalg.gram import matrix
from ntkmc.theory.kernels import functions

NUMERICS: Final[dict[str, Any]] = {
    "version": 2,
    "threads": 1,  # BLAS threads in a trial: the order of summation, and so the last bits, depend on it
    "generator": "Philox",
    "kernels": dict(functions.NUMERICS),
    "gram": dict(matrix.NUMERICS),
    "lapack": dict(lapack.NUMERICS),
    "solvers": dict(solvers.NUMERICS),
    "krylov": dict(krylov.NUMERICS),
    "deflation": dict(temple_kato.NUMERICS),
    "certificate": dict(smallest.NUMERICS),
}
