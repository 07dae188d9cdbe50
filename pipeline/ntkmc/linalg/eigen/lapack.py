"""Access to SciPy's BLAS and LAPACK from compiled code, without Python calls.

`scipy.linalg.cython_blas` and `cython_lapack` export the addresses of their routines. They are registered under
names, and compiled code refers to the names: machine code that is kept on disk stays valid in another process, where
the addresses differ.

Storage, here and in all of `linalg`: matrices are symmetric and C-ordered. LAPACK's lower triangle is therefore
Python's upper one, row j being LAPACK's column j. "Upper" and "lower" below are Python's: a factor is stored in the
upper triangle with the diagonal, and the original matrix may stay in the strict lower one.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding
import numpy as np
from numba import types
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

from ntkmc.compiled import compiled
from ntkmc.numeric import Matrix

Matrix32 = NDArray[np.float32]

DIRECT: Final = 16384
"""Largest order that is given to `potrf` in one call: OpenBLAS's threaded one calls its threaded `syrk`, which crashes
from about n = 25,000 on (numpy issue 19685)."""

BLOCK: Final = 6144
"""Order of the blocks for larger matrices."""

NUMERICS: Final = {"direct": DIRECT, "block": BLOCK}

_LOWER: Final = np.frombuffer(b"L", np.uint8)
_UPPER: Final = np.frombuffer(b"U", np.uint8)
_PLAIN: Final = np.frombuffer(b"N", np.uint8)
_RIGHT: Final = np.frombuffer(b"R", np.uint8)
_TRANSPOSED: Final = np.frombuffer(b"T", np.uint8)
_VECTORS: Final = np.frombuffer(b"V", np.uint8)
_INDEXED: Final = np.frombuffer(b"I", np.uint8)


def _external(library: str, routine: str, arguments: int) -> Any:
    """Return a routine for use in compiled code; every argument of a Fortran routine is a pointer."""
    name = f"ntkmc_{routine}"
    llvmlite.binding.add_symbol(name, get_cython_function_address(f"scipy.linalg.{library}", routine))
    return types.ExternalFunction(name, types.void(*[types.voidptr] * arguments))


_dpotrf = _external("cython_lapack", "dpotrf", 5)
_spotrf = _external("cython_lapack", "spotrf", 5)
_dstevx = _external("cython_lapack", "dstevx", 18)
_dsymv = _external("cython_blas", "dsymv", 10)
_ssymv = _external("cython_blas", "ssymv", 10)
_dtrsv = _external("cython_blas", "dtrsv", 8)
_strsv = _external("cython_blas", "strsv", 8)
_dtrsm = _external("cython_blas", "dtrsm", 11)
_strsm = _external("cython_blas", "strsm", 11)
_dsyrk = _external("cython_blas", "dsyrk", 10)
_ssyrk = _external("cython_blas", "ssyrk", 10)
_dgemm = _external("cython_blas", "dgemm", 13)
_sgemm = _external("cython_blas", "sgemm", 13)


@compiled
def _int(value: int) -> NDArray[np.int32]:
    return np.full(1, value, np.int32)


@compiled
def factor(A: Matrix | Matrix32) -> int:
    """Factor the upper triangle of A (n, n) in place, by `dpotrf` or `spotrf`.

    Returns
    -------
    int
        0 if the factorization was completed with finite numbers, else the order of the leading minor that failed.
    """
    broken = factor_blocked(A, BLOCK) if A.shape[0] > DIRECT else _factor_direct(A, A.shape[0])
    if broken != 0:
        return broken
    # An infinity or NaN anywhere in row j of the factor propagates to its diagonal.
    for j in range(A.shape[0]):
        if not np.isfinite(A[j, j]):
            return j + 1
    return 0


@compiled
def _factor_direct(A: Matrix | Matrix32, leading: int) -> int:
    """Call `potrf` on a square block; `leading` is the row length of the matrix that it is a view of."""
    n, stride, info = _int(A.shape[0]), _int(leading), _int(0)
    if A.itemsize == 4:
        _spotrf(_LOWER.ctypes, n.ctypes, A.ctypes, stride.ctypes, info.ctypes)
    else:
        _dpotrf(_LOWER.ctypes, n.ctypes, A.ctypes, stride.ctypes, info.ctypes)
    return int(info[0])


@compiled
def factor_blocked(A: Matrix | Matrix32, block: int) -> int:
    """Factor in blocks of the given order: `potrf` of a diagonal block, `trsm` of the panel, then `syrk` and `gemm`.

    The order of summation differs from `potrf`'s; no error bound used here depends on it.
    """
    n = A.shape[0]
    one, less = np.ones(1, A.dtype), -np.ones(1, A.dtype)
    lda = _int(n)
    for k in range(0, n, block):
        stop = min(k + block, n)
        broken = _factor_direct(A[k:stop, k:stop], n)
        if broken != 0:
            return k + broken
        width, rest = _int(stop - k), _int(n - stop)
        if rest[0] == 0:
            break
        corner, panel = A[k:stop, k:stop], A[k:stop, stop:]
        if A.itemsize == 4:
            _strsm(
                _RIGHT.ctypes, _LOWER.ctypes, _TRANSPOSED.ctypes, _PLAIN.ctypes, rest.ctypes, width.ctypes, one.ctypes,
                corner.ctypes, lda.ctypes, panel.ctypes, lda.ctypes,
            )  # fmt: skip
        else:
            _dtrsm(
                _RIGHT.ctypes, _LOWER.ctypes, _TRANSPOSED.ctypes, _PLAIN.ctypes, rest.ctypes, width.ctypes, one.ctypes,
                corner.ctypes, lda.ctypes, panel.ctypes, lda.ctypes,
            )  # fmt: skip
        for j in range(stop, n, block):
            end = min(j + block, n)
            order, below = _int(end - j), _int(n - end)
            left, square = A[k:stop, j:end], A[j:end, j:end]
            if A.itemsize == 4:
                _ssyrk(
                    _LOWER.ctypes, _PLAIN.ctypes, order.ctypes, width.ctypes, less.ctypes, left.ctypes, lda.ctypes,
                    one.ctypes, square.ctypes, lda.ctypes,
                )  # fmt: skip
            else:
                _dsyrk(
                    _LOWER.ctypes, _PLAIN.ctypes, order.ctypes, width.ctypes, less.ctypes, left.ctypes, lda.ctypes,
                    one.ctypes, square.ctypes, lda.ctypes,
                )  # fmt: skip
            if below[0] == 0:
                break
            lower, target = A[k:stop, end:], A[j:end, end:]
            if A.itemsize == 4:
                _sgemm(
                    _PLAIN.ctypes, _TRANSPOSED.ctypes, below.ctypes, order.ctypes, width.ctypes, less.ctypes,
                    lower.ctypes, lda.ctypes, left.ctypes, lda.ctypes, one.ctypes, target.ctypes, lda.ctypes,
                )  # fmt: skip
            else:
                _dgemm(
                    _PLAIN.ctypes, _TRANSPOSED.ctypes, below.ctypes, order.ctypes, width.ctypes, less.ctypes,
                    lower.ctypes, lda.ctypes, left.ctypes, lda.ctypes, one.ctypes, target.ctypes, lda.ctypes,
                )  # fmt: skip
    return 0


@compiled
def solve(A: Matrix | Matrix32, x: Matrix | Matrix32) -> None:
    """Replace x (n,) by the solution of the system with factor A; x has the precision of A."""
    n = _int(A.shape[0])
    _triangular(A, x, n, _PLAIN)
    _triangular(A, x, n, _TRANSPOSED)


@compiled
def solve_leading(A: Matrix, x: Matrix, order: int) -> None:
    """Replace the first entries of x by L'**-1 x, for the factor L of the leading minor of the given order."""
    _triangular(A, x, _int(order), _TRANSPOSED)


@compiled
def _triangular(
    A: Matrix | Matrix32, x: Matrix | Matrix32, order: NDArray[np.int32], transposed: NDArray[np.uint8]
) -> None:
    n, step = _int(A.shape[0]), _int(1)
    side, shape, unit = _LOWER.ctypes, transposed.ctypes, _PLAIN.ctypes
    if A.itemsize == 4:
        _strsv(side, shape, unit, order.ctypes, A.ctypes, n.ctypes, x.ctypes, step.ctypes)
    else:
        _dtrsv(side, shape, unit, order.ctypes, A.ctypes, n.ctypes, x.ctypes, step.ctypes)


@compiled
def product(A: Matrix, x: Matrix, y: Matrix) -> None:
    """Write A x to y, from the lower triangle of A (n, n) and its diagonal."""
    n, step, one, zero = _int(A.shape[0]), _int(1), np.ones(1), np.zeros(1)
    _dsymv(
        _UPPER.ctypes, n.ctypes, one.ctypes, A.ctypes, n.ctypes, x.ctypes, step.ctypes, zero.ctypes, y.ctypes,
        step.ctypes,
    )  # fmt: skip


@compiled
def product_single(A: Matrix | Matrix32, x: Matrix | Matrix32, y: Matrix | Matrix32) -> None:
    """Write A x to y in float32, from the upper triangle of A (n, n) and its diagonal."""
    n, step, one, zero = _int(A.shape[0]), _int(1), np.ones(1, np.float32), np.zeros(1, np.float32)
    _ssymv(
        _LOWER.ctypes, n.ctypes, one.ctypes, A.ctypes, n.ctypes, x.ctypes, step.ctypes, zero.ctypes, y.ctypes,
        step.ctypes,
    )  # fmt: skip


@compiled
def tridiagonal_eigenpairs(diagonal: Matrix, off: Matrix, count: int, tolerance: float) -> tuple[Matrix, Matrix]:
    """Return the `count` smallest eigenvalues of a symmetric tridiagonal matrix, and vectors as rows (`dstevx`).

    Bisection stops within `tolerance` times the largest entry of `diagonal`; 0 gives all digits.

    Returns
    -------
    values : ndarray, (count,)
    vectors : ndarray, (count, n)
        All NaN where LAPACK did not converge.
    """
    order = len(diagonal)
    d = diagonal.copy()
    e = np.zeros(order)
    e[: order - 1] = off[: order - 1]
    values = np.zeros(order)
    vectors = np.zeros((count, order))
    n, first, last, computed, info = _int(order), _int(1), _int(count), _int(0), _int(0)
    bound, within = np.zeros(1), np.full(1, tolerance * np.max(np.abs(diagonal)))
    work, integers, failed = np.empty(5 * order), np.empty(5 * order, np.int32), np.empty(order, np.int32)
    _dstevx(
        _VECTORS.ctypes, _INDEXED.ctypes, n.ctypes, d.ctypes, e.ctypes, bound.ctypes, bound.ctypes, first.ctypes,
        last.ctypes, within.ctypes, computed.ctypes, values.ctypes, vectors.ctypes, n.ctypes, work.ctypes,
        integers.ctypes, failed.ctypes, info.ctypes,
    )  # fmt: skip
    if info[0] != 0 or computed[0] != count:
        values[:] = np.nan
        vectors[:] = np.nan
    return values[:count], vectors
