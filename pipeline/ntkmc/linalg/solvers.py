"""Ways to an approximate eigenvector of the smallest eigenvalue. None is trusted: see `ntkmc.linalg.smallest`.

Every start vector is a fixed function of n, so that a value depends on the matrix alone (ARPACK's own default start
is drawn from a state that lives as long as the process).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Final, Literal

import numpy as np
from scipy.linalg import lapack, lu_factor, lu_solve
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, lobpcg

from ntkmc.linalg.enclosure import allowance, factor_shifted, gershgorin
from ntkmc.linalg.rows import Matrix

Solver = Callable[[Matrix], tuple[Matrix, int]]
"""Symmetric matrix (n, n) -> (vector (n,), iterations)."""

_START_SEED: Final = 20250101  # any constant would do; it is part of `numerics`
_TOLERANCE: Final = 1e-8  # of the vector; the Rayleigh quotient has its square
_KRYLOV: Final = 20  # ARPACK's default basis for one eigenvalue; enough for a shift-inverted end
_BLOCK: Final = 4  # LOBPCG block: one wanted vector and three guards against a clustered end
_LOBPCG_STEPS: Final = 200


def _start(n: int, columns: int) -> Matrix:
    return np.random.Generator(np.random.PCG64(_START_SEED)).standard_normal((n, columns))


def dense(A: Matrix) -> tuple[Matrix, int]:
    """LAPACK `dsyevr`: tridiagonal reduction, then the one vector."""
    _, vectors, _, _, info = lapack.dsyevr(A.T, compute_v=1, range="I", il=1, iu=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"dsyevr failed with info = {info}")
    return np.ascontiguousarray(vectors[:, 0]), 0


def shift_inverted(A: Matrix) -> tuple[Matrix, int]:
    """One Cholesky of A + shift, then Lanczos on its inverse: the largest end of the inverse is well separated."""
    factor = _factor_near_zero(A)
    return _lanczos(A.shape[0], lambda x: np.asarray(lapack.dpotrs(factor, x, lower=1)[0]), which="LA")


def arpack(A: Matrix) -> tuple[Matrix, int]:
    """SciPy's `eigsh` in shift-invert mode, LU of A about a shift just below zero.

    Not which="SA" without a shift: it does not converge on clustered small eigenvalues (scipy issue 11232).
    """
    n = A.shape[0]
    sigma = -4.0 * allowance(np.diagonal(A)) - 1e-300
    factors = lu_factor(A - sigma * np.eye(n))
    return _lanczos(n, lambda x: np.asarray(lu_solve(factors, x)), which="LM")


def locally_optimal(A: Matrix) -> tuple[Matrix, int]:
    """SciPy's `lobpcg` with a Jacobi preconditioner; its warnings are dropped because its answer is checked."""
    n = A.shape[0]
    diagonal = np.maximum(np.diagonal(A), np.finfo(np.float64).tiny)[:, None]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, vectors, history = lobpcg(
            A,
            _start(n, _BLOCK),
            M=lambda block: block / diagonal,
            largest=False,
            maxiter=_LOBPCG_STEPS,
            retLambdaHistory=True,
        )
    return np.ascontiguousarray(vectors[:, int(np.argmin(values))]), len(history)


def _factor_near_zero(A: Matrix) -> Matrix:
    shift = -4.0 * allowance(np.diagonal(A)) - 1e-300
    # A Gram matrix passes at once; an indefinite one needs the shift that Gershgorin promises to be enough.
    for candidate in (shift, min(shift, 2.0 * gershgorin(A))):
        factor, info, _ = factor_shifted(A, candidate)
        if info == 0:
            return factor
    raise np.linalg.LinAlgError("no shift made the matrix positive definite")


def _lanczos(n: int, solve: Callable[[Matrix], Matrix], which: Literal["LA", "LM"]) -> tuple[Matrix, int]:
    """Eigenvector of the largest eigenvalue of an inverse, and the number of solves."""
    solves = 0

    def counted(x: Matrix) -> Matrix:
        nonlocal solves
        solves += 1
        return solve(x)

    operator = LinearOperator((n, n), matvec=counted, dtype=np.float64)
    start, basis = _start(n, 1)[:, 0], min(n - 1, _KRYLOV)
    try:
        _, vectors = eigsh(operator, k=1, which=which, v0=start, ncv=basis, tol=_TOLERANCE)
    except ArpackNoConvergence as partial:
        if partial.eigenvectors.shape[1] == 0:
            raise np.linalg.LinAlgError("Lanczos on the inverse did not converge") from partial
        vectors = np.real(partial.eigenvectors)
    return np.ascontiguousarray(vectors[:, 0]), solves


SOLVERS: Final[dict[str, Solver]] = {
    "dense": dense,
    "eigsh": arpack,
    "lobpcg": locally_optimal,
    "cholesky": shift_inverted,
}

LEAST_ORDER: Final = {"dense": 1, "eigsh": 3, "lobpcg": 5 * _BLOCK, "cholesky": 3}
"""Below this n a method hands over to `dense`: ARPACK needs k < n - 1, SciPy's LOBPCG 5 vectors of room each."""

AUTO: Final = ((1500, "dense"), (None, "cholesky"))
"""`auto`: the method for n up to a limit, None for any. A table, never measured at run time: it decides bits."""

NUMERICS: Final = {
    "auto": [list(row) for row in AUTO],
    "start_seed": _START_SEED,
    "krylov": _KRYLOV,
    "block": _BLOCK,
    "tol": _TOLERANCE,
}


def automatic(n: int) -> str:
    """The method that `auto` means for an (n, n) matrix.

    >>> automatic(64)
    'dense'
    """
    return next(name for limit, name in AUTO if limit is None or n <= limit)
