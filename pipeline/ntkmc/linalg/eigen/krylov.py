"""Approximate eigenvector of the smallest eigenvalue: float32 Lanczos, then one float32 Cholesky.

The vector is not trusted, so that half the precision is enough: it serves to deflate the matrix, and bounds are proved
in float64 (`ntkmc.linalg.eigen.temple_kato`).

1. Lanczos on the matrix. It suffices if the smallest eigenvalue is well separated. A step costs a few thousandths of a
   Cholesky factorization.
2. Otherwise a Cholesky factorization of A - s I, in float32 at half the cost of float64, with s = theta_1 -
   (theta_2 - theta_1) for the two smallest Ritz values. In 98 of 100 draws of the families of data tried, 18 to 48
   steps, the error theta_1 - lambda_1 was below that distance. If it is not, the factorization fails and a larger
   distance is tried.
3. Lanczos on the inverse, where the end of the spectrum is magnified: 6 to 20 steps.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np

from ntkmc.compiled import compiled
from ntkmc.linalg.eigen.lapack import Matrix32, factor, product_single, solve, tridiagonal_eigenpairs
from ntkmc.numeric import Matrix

SMALL: Final = 300
"""Largest order of a small matrix. The pairs below are values for n <= SMALL, and for larger n."""

FIRST_STEPS: Final = (16, 24)
"""Steps of Lanczos before the first check of convergence. With fewer, the shift is so far off that the inverse needs
more steps, each twice as expensive; with more, the steps cost more than they save."""

STRIDE: Final = 6
"""Steps between two checks."""

STRIDES: Final = (4, 2)
"""Steps between two checks on the inverse: for a small matrix a check costs as much as two steps."""

MOST_STEPS: Final = 96
"""Largest number of steps of Lanczos on the matrix, about one Cholesky in float32 at n = 2000."""

MOST_INVERSE_STEPS: Final = 60
"""Largest number of steps of Lanczos on the inverse."""

PROMISING: Final = 0.6
"""Residual over gap below which Lanczos on the matrix is about to converge and continues without a Cholesky."""

CONVERGED: Final = 0.05
"""Residual over gap, about the sine of the angle to the eigenvector, with which deflation succeeds."""

SHIFTS: Final = (1.0, 4.0, 64.0)
"""Distances of the shift below theta_1, in units of theta_2 - theta_1, tried in turn."""

_NOISE: Final = 2.0**-18
"""Distances below this, relative to the largest entry, are rounding of float32."""

_EXHAUSTED: Final = 16.0
"""A Lanczos vector is rounding if it is this short, in units of roundoff and of the operator's size."""

_SINGLE: Final = 2.0**-24
"""Relative accuracy of Ritz values: those of float32 have no more digits."""

START_SEED: Final = 20250101
"""Seed of the start vectors; any constant would do."""

NUMERICS: Final = {
    "noise": _NOISE,
    "exhausted": _EXHAUSTED,
    "single": _SINGLE,
    "start_seed": START_SEED,
    "first_steps": list(FIRST_STEPS),
    "stride": STRIDE,
    "small": SMALL,
    "strides": list(STRIDES),
    "most_steps": MOST_STEPS,
    "most_inverse_steps": MOST_INVERSE_STEPS,
    "promising": PROMISING,
    "converged": CONVERGED,
    "shifts": list(SHIFTS),
}


@functools.lru_cache(maxsize=8)
def start_block(n: int, columns: int) -> Matrix:
    """Return start vectors as columns, (n, columns): a function of n, so that results depend on the matrix only."""
    return np.random.Generator(np.random.PCG64(START_SEED)).standard_normal((n, columns))


@compiled
def lanczos_float32(A: Matrix, A32: Matrix32, scale: float, start: Matrix) -> tuple[Matrix, float, int]:
    """Compute an approximate eigenvector of the smallest eigenvalue of a symmetric matrix A (n, n).

    `scale` is a power of two with max |a_ij| scale in [1/2, 1]. Only the upper triangle of A is read; A32 (n, n) is
    overwritten by it in float32.

    Returns
    -------
    vector : ndarray, (n,)
        Approximate eigenvector.
    gap : float
        Estimate of lambda_2 - lambda_1, the distance to the next *distinct* eigenvalue; 0 if there is none.
    iterations : int
        Number of products and solves.
    """
    n = A.shape[0]
    _convert(A, A32, scale, 0.0)
    most = min(n, MOST_STEPS)
    Q = np.empty((most + 1, n), np.float32)
    alpha, beta = np.zeros(most), np.zeros(most)
    Q[0] = start / np.sqrt(np.dot(start, start))
    reached, steps, closed = 0, min(n, FIRST_STEPS[0] if n <= SMALL else FIRST_STEPS[1]), False
    while True:
        reached, closed = _lanczos(A32, Q, alpha, beta, reached, steps, False)
        values, vectors = tridiagonal_eigenpairs(alpha[:reached], beta[:reached], min(2, reached), _SINGLE)
        gap = values[1] - values[0] if reached > 1 else 0.0
        ratio = _ratio(beta[reached - 1] * vectors[0, reached - 1], gap)
        if closed or reached >= most or ratio <= CONVERGED or ratio > PROMISING:
            break
        steps = min(most, reached + STRIDE)
    vector = _combine(vectors[0], Q)
    if closed or ratio <= CONVERGED:
        return vector, gap / scale, reached
    # Lanczos on the matrix converges slowly: one factorization about a shift below the spectrum replaces many steps.
    distance = max(gap, _NOISE)
    for fraction in SHIFTS:
        shift = values[0] - fraction * distance
        _convert(A, A32, scale, shift)
        if factor(A32) == 0:
            vector, inverse_gap, solves = lanczos_inverse(A32, Q, vector)
            return vector, inverse_gap / scale, reached + solves
    return vector, gap / scale, reached


@compiled
def lanczos_inverse(factored: Matrix | Matrix32, Q: Matrix | Matrix32, start: Matrix) -> tuple[Matrix, float, int]:
    """Compute the eigenvector of the smallest eigenvalue, by Lanczos on the inverse of a factored matrix.

    Parameters
    ----------
    factored : ndarray, (n, n)
        From `lapack.factor`, positive definite; its precision is that of the steps.
    Q : ndarray, (k + 1, n)
        Overwritten by the basis, of the same precision; k >= min(n, MOST_INVERSE_STEPS).
    start : ndarray, (n,)
        Start vector.

    Returns
    -------
    vector, gap, solves
        As in `lanczos_float32`.
    """
    n = factored.shape[0]
    tolerance = _SINGLE if factored.itemsize == 4 else 0.0
    stride = STRIDES[0] if n <= SMALL else STRIDES[1]
    most = min(n, MOST_INVERSE_STEPS)
    alpha, beta = np.zeros(most), np.zeros(most)
    Q[0] = start / np.sqrt(np.dot(start, start))
    reached, steps, closed = 0, min(most, STRIDE), False
    while True:
        reached, closed = _lanczos(factored, Q, alpha, beta, reached, steps, True)
        values, vectors = tridiagonal_eigenpairs(-alpha[:reached], -beta[:reached], min(2, reached), tolerance)
        ratio = _ratio(beta[reached - 1] * vectors[0, reached - 1], values[1] - values[0] if reached > 1 else 0.0)
        if closed or reached >= most or ratio <= CONVERGED:
            break
        steps = min(most, reached + stride)
    gap = 0.0
    if reached > 1 and values[1] < 0.0:
        gap = 1.0 / values[0] - 1.0 / values[1]
    # One solve more: components far up the spectrum hardly enter the residual of the inverse, but dominate the error
    # of the Rayleigh quotient.
    last = Q[reached]
    last[:] = _combine(vectors[0], Q)
    solve(factored, last)
    return last.astype(np.float64), gap, reached + 1


@compiled
def _ratio(residual: float, gap: float) -> float:
    return abs(residual) / gap if gap > 0.0 else np.inf


@compiled
def _combine(weights: Matrix, Q: Matrix | Matrix32) -> Matrix:
    """Return the Ritz vector, in float64."""
    vector = np.zeros(Q.shape[1])
    for k in range(len(weights)):
        for i in range(len(vector)):
            vector[i] += weights[k] * Q[k, i]
    return vector


@compiled
def _convert(A: Matrix, A32: Matrix32, scale: float, shift: float) -> None:
    """Write scale A - shift I to the upper triangle of A32."""
    for i in range(A.shape[0]):
        source, target = A[i, i:], A32[i, i:]
        for j in range(len(source)):
            target[j] = source[j] * scale
        A32[i, i] = A[i, i] * scale - shift


@compiled
def _lanczos(
    operator: Matrix | Matrix32,
    Q: Matrix | Matrix32,
    alpha: Matrix,
    beta: Matrix,
    first: int,
    stop: int,
    inverse: bool,
) -> tuple[int, bool]:
    """Make steps first ... stop - 1 of Lanczos with full orthogonalization, on a matrix or on the inverse of a factor.

    Returns
    -------
    reached : int
        Steps in total, fewer than `stop` if the Krylov space is complete.
    closed : bool
        Whether it is complete.
    """
    n = Q.shape[1]
    rounding = _EXHAUSTED * np.finfo(Q.dtype).eps
    largest = 0.0
    for j in range(first):
        largest = max(largest, abs(alpha[j]), beta[j])
    overlap = np.empty(Q.shape[0], Q.dtype)
    correction = np.empty(n, Q.dtype)
    for j in range(first, stop):
        q, w = Q[j], Q[j + 1]
        if inverse:
            w[:] = q
            solve(operator, w)
        else:
            product_single(operator, q, w)
        a = np.dot(q, w)
        b = beta[j - 1] if j > 0 else 0.0
        previous = Q[j - 1] if j > 0 else q
        for i in range(n):
            w[i] -= a * q[i] + b * previous[i]
        np.dot(Q[: j + 1], w, overlap[: j + 1])
        np.dot(overlap[: j + 1], Q[: j + 1], correction)
        for i in range(n):
            w[i] -= correction[i]
        alpha[j] = a + overlap[j]
        beta[j] = np.sqrt(np.dot(w, w))
        largest = max(largest, abs(alpha[j]), beta[j])
        if not beta[j] > rounding * largest:
            beta[j] = 0.0
            return j + 1, True
        norm = 1.0 / beta[j]
        for i in range(n):
            w[i] *= norm
    return stop, stop == n
