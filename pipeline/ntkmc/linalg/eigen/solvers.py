"""Solvers for an approximate eigenvector of the smallest eigenvalue.

Their results are not trusted: see `ntkmc.linalg.eigen.smallest`.

Every start vector is `krylov.start_block`, a function of n (ARPACK's own default is drawn from a state that lives as
long as the process).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from scipy.linalg import lapack
from scipy.sparse.linalg import ArpackNoConvergence, LinearOperator, eigsh, lobpcg

from ntkmc.linalg.eigen import krylov
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.lapack import Matrix32
from ntkmc.linalg.eigen.symmetric import Symmetric, borrowed
from ntkmc.numeric import Matrix


class Proposal(NamedTuple):
    """Proposal of a solver: a vector (n,), an estimate of the gap to the next eigenvalue, its iterations."""

    vector: Matrix
    gap: float
    iterations: int


Solver = Callable[[Symmetric, Matrix | None], Proposal]
"""Matrix, and a start vector (n,) or None -> proposal. Both triangles of A are in place before and after."""

_TOLERANCE: Final = 1e-8  # of the vector; the Rayleigh quotient has its square
_KRYLOV: Final = 20  # ARPACK's default basis; enough for a shift-inverted end
_BLOCK: Final = 4  # LOBPCG block: one wanted vector and three guards against a clustered end
_LOBPCG_STEPS: Final = 200


_warnings_dropped: Final = threading.Lock()  # the filters belong to the process: one thread at a time


def dense(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """LAPACK `dsyevr`: tridiagonal reduction, then the two vectors."""
    n, A, W = matrix.order, matrix.A, matrix.W
    if W is not A:
        W[:] = A
    values, vectors, found, _, info = lapack.dsyevr(W.T, range="I", il=1, iu=min(2, n), lower=1, overwrite_a=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"dsyevr failed with info = {info}")
    matrix.restore()
    gap = float(values[1] - values[0]) if found > 1 else 0.0
    return Proposal(np.ascontiguousarray(vectors[:, 0]), gap, 0)


def deflating(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """float32 Lanczos and, where it is slow, one float32 Cholesky: `ntkmc.linalg.eigen.krylov`."""
    scale = float(np.ldexp(1.0, -int(np.frexp(matrix.largest)[1])))
    n = matrix.order
    first = start if start is not None else krylov.start_block(n, 1)[:, 0].copy()
    if matrix.W is not matrix.A:  # the factor comes later, its room serves as well
        return Proposal(*krylov.approximate(matrix.A, _single(matrix.W.reshape(-1), n), scale, first))
    with borrowed((n * n + 1) // 2) as room:
        return Proposal(*krylov.approximate(matrix.A, _single(room, n), scale, first))


def _single(room: Matrix, n: int) -> Matrix32:
    """The same memory as a float32 matrix (n, n)."""
    return room.view(np.float32)[: n * n].reshape(n, n)


def arpack(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """SciPy's `eigsh` in shift-invert mode, LU of A about a shift just below zero.

    Not which="SA" without a shift: it does not converge on clustered small eigenvalues (scipy issue 11232).
    """
    n, A = matrix.order, matrix.A
    sigma = -4.0 * allowance(matrix.diagonal) - 1e-300
    shifted = A.copy()
    shifted.flat[:: n + 1] -= sigma
    # Not `lu_factor`: it warns of a singular factor, and silencing warnings is not safe among threads.
    factors, pivots, _ = lapack.dgetrf(shifted.T, overwrite_a=1)  # symmetric, and in the order that LAPACK works in
    solves = 0

    def solve(x: Matrix) -> Matrix:
        nonlocal solves
        solves += 1
        return np.asarray(lapack.dgetrs(factors, pivots, x)[0])

    operator = LinearOperator((n, n), matvec=solve, dtype=np.float64)
    first = start if start is not None else krylov.start_block(n, 1)[:, 0]
    try:
        values, vectors = eigsh(operator, k=2, which="LM", v0=first, ncv=min(n - 1, _KRYLOV), tol=_TOLERANCE)
    except ArpackNoConvergence as partial:
        values, vectors = np.real(partial.eigenvalues), np.real(partial.eigenvectors)
        if len(values) == 0:
            raise np.linalg.LinAlgError("Lanczos on the inverse did not converge") from partial
    with np.errstate(divide="ignore", invalid="ignore"):
        near = sigma + 1.0 / values
    order = np.argsort(near)
    gap = float(near[order[1]] - near[order[0]]) if len(near) > 1 else 0.0
    return Proposal(np.ascontiguousarray(vectors[:, order[0]]), gap, solves)


def locally_optimal(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """SciPy's `lobpcg` with a Jacobi preconditioner; its warnings are dropped because its answer is checked."""
    n = matrix.order
    block = krylov.start_block(n, _BLOCK).copy()
    if start is not None:
        block[:, 0] = start
    preconditioner = np.maximum(matrix.diagonal, np.finfo(np.float64).tiny)[:, None]
    with _warnings_dropped, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, vectors, history = lobpcg(
            matrix.A,
            block,
            M=lambda residuals: residuals / preconditioner,
            largest=False,
            maxiter=_LOBPCG_STEPS,
            retLambdaHistory=True,
        )
    order = np.argsort(values)
    gap = float(values[order[1]] - values[order[0]])
    return Proposal(np.ascontiguousarray(vectors[:, order[0]]), gap, len(history))


SOLVERS: Final[dict[str, Solver]] = {
    "dense": dense,
    "eigsh": arpack,
    "lobpcg": locally_optimal,
    "cholesky": deflating,
}

LEAST_ORDER: Final = {"dense": 1, "eigsh": 4, "lobpcg": 5 * _BLOCK, "cholesky": 2}
"""Below this n a method hands over to `dense`: ARPACK needs k < n - 1, SciPy's LOBPCG 5 vectors of room each."""

AUTO: Final = ((32, "dense"), (None, "cholesky"))
"""`auto`: the method for n up to a limit, None for any. A table, never measured at run time: it decides bits."""

NUMERICS: Final = {
    "auto": [list(row) for row in AUTO],
    "krylov": _KRYLOV,
    "block": _BLOCK,
    "tol": _TOLERANCE,
    "lobpcg_steps": _LOBPCG_STEPS,
    "least_order": dict(LEAST_ORDER),
}


def automatic(n: int) -> str:
    """Return the method that `auto` selects for an (n, n) matrix.

    >>> automatic(64)
    'cholesky'
    """
    return next(name for limit, name in AUTO if limit is None or n <= limit)
