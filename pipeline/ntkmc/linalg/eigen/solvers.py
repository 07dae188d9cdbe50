"""Solvers for an approximate eigenvector of the smallest eigenvalue, and wrappers of SciPy's `eigsh` and `lobpcg`.

Their results are not trusted: `ntkmc.linalg.eigen.smallest` proves bounds from any vector. The wrappers take
operators, so that `ntkmc.linalg.blocked.solver` uses them for matrices held by workers.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

import numpy as np
from scipy.linalg import lapack
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh, lobpcg

from ntkmc.linalg.eigen import krylov
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.lapack import Matrix32
from ntkmc.linalg.eigen.symmetric import Symmetric, scratch_buffer
from ntkmc.numeric import Matrix


class Proposal(NamedTuple):
    """Result of a solver: a vector (n,), an estimate of the gap to the next eigenvalue, and the iterations."""

    vector: Matrix
    gap: float
    iterations: int


Solver = Callable[[Symmetric, Matrix | None], Proposal]
"""Function of a matrix and a start vector, (n,) or None. Both triangles of A are in place before and after."""

Operator = Callable[[Matrix], Matrix]
"""Symmetric operator on vectors, (n,) or (n, 1), or on blocks of them, (n, k)."""

LOBPCG_BLOCK: Final = 4
"""Columns of a LOBPCG block: the vector, and three guards against a clustered end of the spectrum."""

# The relative accuracy of a vector. The error of its Rayleigh quotient is the square of that.
_TOLERANCE: Final = 1e-8
# ARPACK's default basis, which is enough at the end of a spectrum that shift-invert has magnified.
_ARPACK_BASIS: Final = 20
_LOBPCG_STEPS: Final = 200

# Warning filters belong to the process, so only one thread at a time may replace them.
_filters: Final = threading.Lock()


@dataclass
class CountedOperator:
    """Operator that counts the vectors it was applied to."""

    apply: Operator
    vectors: int = 0

    def __call__(self, V: Matrix) -> Matrix:
        self.vectors += V.shape[1] if V.ndim == 2 else 1
        return self.apply(V)


def eigsh_pairs(
    A: Operator | Matrix,
    start: Matrix,
    which: Literal["LM", "SA", "LA"],
    *,
    count: int = 2,
    basis: int | None = None,
    tol: float,
    restarts: int | None = None,
) -> tuple[Matrix, Matrix]:
    """Return eigenvalues at one end of the spectrum, by `scipy.sparse.linalg.eigsh`, and their vectors as columns.

    Fewer than `count`, or none, if ARPACK did not converge. `basis` and `restarts` are SciPy's `ncv` and `maxiter`.
    """
    n = len(start)
    operator = LinearOperator((n, n), matvec=A, dtype=np.float64) if callable(A) else A
    ncv = None if basis is None else min(n - 1, basis)
    try:
        # Always with a start vector: ARPACK's own depends on all earlier calls of the process.
        values, vectors = eigsh(operator, k=count, which=which, v0=start, ncv=ncv, tol=tol, maxiter=restarts)
    except ArpackNoConvergence as partial:
        values, vectors = np.real(partial.eigenvalues), np.real(partial.eigenvectors)
    except ArpackError:
        return np.empty(0), np.empty((n, 0))
    return values, vectors


def lobpcg_pairs(
    apply: Operator, start: Matrix | None, n: int, precondition: Operator, *, tol: float | None, steps: int
) -> tuple[Matrix, Matrix, int]:
    """Return `LOBPCG_BLOCK` smallest eigenvalues, by `scipy.sparse.linalg.lobpcg`, their vectors, and the iterations.

    Parameters
    ----------
    start : ndarray, (n,), optional
        First column of the start block.
    """
    block = krylov.start_block(n, LOBPCG_BLOCK).copy()
    if start is not None:
        block[:, 0] = start
    # SciPy warns if the residual is above `tol`. The vector is checked afterwards in any case.
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, vectors, history = lobpcg(
            apply, block, M=precondition, largest=False, tol=tol, maxiter=steps, retLambdaHistory=True
        )
    return values, np.real(vectors), len(history)


def smallest_pair(values: Matrix, vectors: Matrix) -> tuple[Matrix, float]:
    """Return the vector, (n,), of the smallest value, and the gap to the next one; 0 if there is only one."""
    order = np.argsort(values)
    gap = float(values[order[1]] - values[order[0]]) if len(values) > 1 else 0.0
    return np.ascontiguousarray(vectors[:, order[0]]), gap


def dense(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """LAPACK `dsyevr`: tridiagonal reduction, then two eigenvectors."""
    n, A, W = matrix.order, matrix.A, matrix.W
    if W is not A:
        W[:] = A
    values, vectors, count, _, info = lapack.dsyevr(W.T, range="I", il=1, iu=min(2, n), lower=1, overwrite_a=1)
    if info != 0:
        raise np.linalg.LinAlgError(f"dsyevr failed with info = {info}")
    matrix.restore()
    gap = float(values[1] - values[0]) if count > 1 else 0.0
    return Proposal(np.ascontiguousarray(vectors[:, 0]), gap, 0)


def lanczos_then_cholesky(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """Lanczos in float32 and, where it is slow, one Cholesky in float32: `krylov.lanczos_float32`."""
    scale = float(np.ldexp(1.0, -int(np.frexp(matrix.largest)[1])))
    n = matrix.order
    first = start if start is not None else krylov.start_block(n, 1)[:, 0].copy()
    # The workspace of the certificate's factor is free until then.
    if matrix.W is not matrix.A:
        return Proposal(*krylov.lanczos_float32(matrix.A, _as_float32(matrix.W.reshape(-1), n), scale, first))
    with scratch_buffer((n * n + 1) // 2) as buffer:
        return Proposal(*krylov.lanczos_float32(matrix.A, _as_float32(buffer, n), scale, first))


def _as_float32(buffer: Matrix, n: int) -> Matrix32:
    """Return the same memory as a float32 matrix, (n, n)."""
    return buffer.view(np.float32)[: n * n].reshape(n, n)


def shift_invert_eigsh(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """SciPy's `eigsh` in shift-invert mode, by an LU factorization of A about a shift just below zero."""
    n, A = matrix.order, matrix.A
    # Shift-invert, since which="SA" does not converge on clustered small eigenvalues (scipy issue 11232). The shift
    # is far enough below zero that the factored matrix is not singular to working precision.
    sigma = -4.0 * allowance(matrix.diagonal) - 1e-300
    shifted = A.copy()
    shifted.flat[:: n + 1] -= sigma
    # Not `lu_factor`, which warns of a singular factor. The transpose is the same matrix, in LAPACK's order.
    factors, pivots, _ = lapack.dgetrf(shifted.T, overwrite_a=1)
    solve = CountedOperator(lambda x: np.asarray(lapack.dgetrs(factors, pivots, x)[0]))
    first = start if start is not None else krylov.start_block(n, 1)[:, 0]
    values, vectors = eigsh_pairs(solve, first, "LM", basis=_ARPACK_BASIS, tol=_TOLERANCE)
    if len(values) == 0:
        raise np.linalg.LinAlgError("Lanczos on the inverse did not converge")
    with np.errstate(divide="ignore", invalid="ignore"):
        eigenvalues = sigma + 1.0 / values
    return Proposal(*smallest_pair(eigenvalues, vectors), solve.vectors)


def jacobi_lobpcg(matrix: Symmetric, start: Matrix | None = None) -> Proposal:
    """SciPy's `lobpcg` with the diagonal as preconditioner."""
    diagonal = np.maximum(matrix.diagonal, np.finfo(np.float64).tiny)[:, None]
    values, vectors, steps = lobpcg_pairs(
        lambda V: matrix.A @ V, start, matrix.order, lambda V: V / diagonal, tol=None, steps=_LOBPCG_STEPS
    )
    return Proposal(*smallest_pair(values, vectors), steps)


SOLVERS: Final[dict[str, Solver]] = {
    "dense": dense,
    "eigsh": shift_invert_eigsh,
    "lobpcg": jacobi_lobpcg,
    "cholesky": lanczos_then_cholesky,
}

LEAST_ORDER: Final = {"dense": 1, "eigsh": 4, "lobpcg": 5 * LOBPCG_BLOCK, "cholesky": 2}
"""Below this n a method is replaced by `dense`: ARPACK needs k < n - 1, SciPy's LOBPCG n >= 5 columns of the block."""

AUTO: Final = ((32, "dense"), (None, "cholesky"))
"""Method of `auto` for n up to a limit, None for any. It decides bits, so it is a table and never measured."""

NUMERICS: Final = {
    "auto": [list(row) for row in AUTO],
    "krylov": _ARPACK_BASIS,
    "block": LOBPCG_BLOCK,
    "tol": _TOLERANCE,
    "lobpcg_steps": _LOBPCG_STEPS,
    "least_order": dict(LEAST_ORDER),
}


def automatic_method(n: int) -> str:
    """Return the method that `auto` selects for an (n, n) matrix.

    >>> automatic_method(64)
    'cholesky'
    """
    return next(name for limit, name in AUTO if limit is None or n <= limit)
