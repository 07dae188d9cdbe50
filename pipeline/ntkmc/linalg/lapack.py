"""SciPy's own BLAS and LAPACK inside compiled code, without a Python call per step.

`scipy.linalg.cython_blas` and `cython_lapack` publish the addresses of their routines. They are registered under
names, and compiled code refers to the names: machine code that is kept on disk stays valid in another process, where
the addresses differ.

Storage, here and in all of `linalg`: matrices are symmetric and C-ordered, so that what LAPACK calls the lower
triangle is above the diagonal in Python's eyes, row j holding LAPACK's column j. "Upper" and "lower" below are
Python's: a factor lives in the upper triangle with the diagonal, the original matrix may stay in the strict lower one.
"""

from __future__ import annotations

from typing import Any, Final

import llvmlite.binding
import numpy as np
from numba import types
from numba.extending import get_cython_function_address
from numpy.typing import NDArray

from ntkmc.compiled import compiled

Matrix = NDArray[np.float64]
Matrix32 = NDArray[np.float32]

_LOWER: Final = np.frombuffer(b"L", np.uint8)
_UPPER: Final = np.frombuffer(b"U", np.uint8)
_PLAIN: Final = np.frombuffer(b"N", np.uint8)
_TRANSPOSED: Final = np.frombuffer(b"T", np.uint8)
_VECTORS: Final = np.frombuffer(b"V", np.uint8)
_INDEXED: Final = np.frombuffer(b"I", np.uint8)


def _external(library: str, routine: str, arguments: int) -> Any:
    """The routine for use in compiled code; every argument of a Fortran routine is a pointer."""
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


@compiled
def _int(value: int) -> NDArray[np.int32]:
    return np.full(1, value, np.int32)


@compiled
def factor(A: Matrix | Matrix32) -> int:
    """`dpotrf`, or `spotrf`, on the upper triangle of A (n, n), in place.

    Returns
    -------
    int
        0 if the factorization ran to its end with finite numbers, else the order of the leading minor that failed.
    """
    n = _int(A.shape[0])
    info = _int(0)
    if A.itemsize == 4:
        _spotrf(_LOWER.ctypes, n.ctypes, A.ctypes, n.ctypes, info.ctypes)
    else:
        _dpotrf(_LOWER.ctypes, n.ctypes, A.ctypes, n.ctypes, info.ctypes)
    if info[0] != 0:
        return int(info[0])
    for j in range(A.shape[0]):  # an infinity or NaN anywhere in row j of the factor reaches its diagonal
        if not np.isfinite(A[j, j]):
            return j + 1
    return 0


@compiled
def solve(A: Matrix | Matrix32, x: Matrix | Matrix32) -> None:
    """Replace x (n,) by the solution of the system that was factored; x has the precision of A."""
    n = _int(A.shape[0])
    _triangular(A, x, n, _PLAIN)
    _triangular(A, x, n, _TRANSPOSED)


@compiled
def solve_leading(A: Matrix, x: Matrix, order: int) -> None:
    """x := L' ** -1 x for the factor L of the leading minor of that order, in the first entries of x."""
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
    """y = A x from the lower triangle of A (n, n) and its diagonal."""
    n, step, one, zero = _int(A.shape[0]), _int(1), np.ones(1), np.zeros(1)
    _dsymv(
        _UPPER.ctypes, n.ctypes, one.ctypes, A.ctypes, n.ctypes, x.ctypes, step.ctypes, zero.ctypes, y.ctypes,
        step.ctypes,
    )  # fmt: skip


@compiled
def product_single(A: Matrix | Matrix32, x: Matrix | Matrix32, y: Matrix | Matrix32) -> None:
    """y = A x in float32, from the upper triangle of A (n, n) and its diagonal."""
    n, step, one, zero = _int(A.shape[0]), _int(1), np.ones(1, np.float32), np.zeros(1, np.float32)
    _ssymv(
        _LOWER.ctypes, n.ctypes, one.ctypes, A.ctypes, n.ctypes, x.ctypes, step.ctypes, zero.ctypes, y.ctypes,
        step.ctypes,
    )  # fmt: skip


@compiled
def tridiagonal_end(diagonal: Matrix, off: Matrix, count: int, tolerance: float) -> tuple[Matrix, Matrix]:
    """The `count` smallest eigenvalues of a symmetric tridiagonal matrix, and their vectors as rows (`dstevx`).

    Bisection stops within `tolerance` times the largest entry of `diagonal`; 0 asks for all digits.

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
    n, first, last, found, info = _int(order), _int(1), _int(count), _int(0), _int(0)
    bound, within = np.zeros(1), np.full(1, tolerance * np.max(np.abs(diagonal)))
    work, integers, failed = np.empty(5 * order), np.empty(5 * order, np.int32), np.empty(order, np.int32)
    _dstevx(
        _VECTORS.ctypes, _INDEXED.ctypes, n.ctypes, d.ctypes, e.ctypes, bound.ctypes, bound.ctypes, first.ctypes,
        last.ctypes, within.ctypes, found.ctypes, values.ctypes, vectors.ctypes, n.ctypes, work.ctypes,
        integers.ctypes, failed.ctypes, info.ctypes,
    )  # fmt: skip
    if info[0] != 0 or found[0] != count:
        values[:] = np.nan
        vectors[:] = np.nan
    return values[:count], vectors
