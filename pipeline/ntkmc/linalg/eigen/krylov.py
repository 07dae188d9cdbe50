"""Approximate eigenvector of the smallest eigenvalue: float32 Lanczos, then one float32 Cholesky.

Nothing here is trusted, so that half the precision is enough: the vector serves to deflate, see
`ntkmc.linalg.eigen.temple_kato`, and what is claimed about it is proved there in float64.

1. Lanczos on the matrix. It suffices where the smallest eigenvalue is well separated. A step costs a few thousandths
   of a Cholesky.
2. Else a Cholesky of A - s I, in float32 half the cost of one in float64, with s below the smallest Ritz value theta_1
   by the distance to the second, theta_1 - (theta_2 - theta_1). Lanczos approaches a spectrum's end so that the error
   theta_1 - lambda_1 stays below that distance (in 98 of 100 draws of the families of data tried, 18 to 48 steps);
   where it does not the factorization fails, and a larger distance is tried.
3. Lanczos on the inverse, which sees the end of the spectrum magnified: 6 to 20 steps.
"""

from __future__ import annotations

import functools
from typing import Final

import numpy as np

from ntkmc.compiled import compiled
from ntkmc.linalg.eigen.lapack import Matrix32, factor, product_single, solve, tridiagonal_eigenpairs
from ntkmc.numeric import Matrix

SMALL: Final = 300
"""Largest order of a small matrix, in the pairs below: values for n <= SMALL, and above."""

FIRST_STEPS: Final = (16, 24)
"""Steps of Lanczos before its first look: with fewer the shift is so far off that the inverse needs more steps, each
twice as dear; with more the reverse."""

STRIDE: Final = 6
"""Steps between two looks."""

STRIDES: Final = (4, 2)
"""The same on the inverse: for a small matrix a look costs as much as two steps."""

MOST_STEPS: Final = 96
"""Steps of Lanczos on the matrix at most, about one Cholesky in float32 at n = 2000."""

MOST_INVERSE_STEPS: Final = 60

PROMISING: Final = 0.6
"""Residual over gap below which Lanczos on the matrix is about to converge: it then goes on without a Cholesky."""

CONVERGED: Final = 0.05
"""Residual over gap, about the sine of the angle to the eigenvector, with which deflation succeeds."""

SHIFTS: Final = (1.0, 4.0, 64.0)
"""Distances of the shift below theta_1, in units of theta_2 - theta_1, tried in turn."""

_NOISE: Final = 2.0**-18
"""Relative to the largest entry: distances below it are rounding of float32."""

_EXHAUSTED: Final = 16.0
"""A Lanczos vector this short, in units of roundoff and of the operator's size, is rounding: the space is complete."""

_SINGLE: Final = 2.0**-24
"""Ritz values of float32 need no more digits."""

START_SEED: Final = 20250101
"""Any constant would do."""

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
    """Start vectors as a fixed function of n, (n, columns): a value depends on the matrix alone."""
    return np.random.Generator(np.random.PCG64(START_SEED)).standard_normal((n, columns))


@compiled
def lanczos_float32(A: Matrix, A32: Matrix32, scale: float, start: Matrix) -> tuple[Matrix, float, int]:
    """Approximate eigenvector of the smallest eigenvalue of A (n, n), symmetric with max |a_ij| scale in [1/2, 1].

    Only the upper triangle of A is read; A32 (n, n) is room for it in float32.

    Returns
    -------
    vector : ndarray, (n,)
        Approximate eigenvector.
    gap : float
        Estimate of lambda_2 - lambda_1, the distance to the next *distinct* eigenvalue; 0 if there is none.
    iterations : int
        Products and solves.
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
    distance = max(gap, _NOISE)
    for fraction in SHIFTS:
        shift = values[0] - fraction * distance
        _convert(A, A32, scale, shift)
        if factor(A32) == 0:
            better, apart, solves = lanczos_inverse(A32, Q, vector)
            return better, apart / scale, reached + solves
    return vector, gap / scale, reached


@compiled
def lanczos_inverse(factored: Matrix | Matrix32, Q: Matrix | Matrix32, start: Matrix) -> tuple[Matrix, float, int]:
    """Lanczos on the inverse of a factored, positive definite matrix: its smallest eigenvalue's vector.

    Parameters
    ----------
    factored : ndarray, (n, n)
        From `lapack.factor`; its precision is that of the work.
    Q : ndarray, (k + 1, n)
        Room for the basis, of the same precision, k >= min(n, MOST_INVERSE_STEPS).
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
    # One solve more: the residual was one of the inverse, which hardly sees components far up the spectrum, but they
    # weigh most in the Rayleigh quotient.
    last = Q[reached]
    last[:] = _combine(vectors[0], Q)
    solve(factored, last)
    return last.astype(np.float64), gap, reached + 1


@compiled
def _ratio(residual: float, gap: float) -> float:
    return abs(residual) / gap if gap > 0.0 else np.inf


@compiled
def _combine(weights: Matrix, Q: Matrix | Matrix32) -> Matrix:
    """The Ritz vector, in float64."""
    vector = np.zeros(Q.shape[1])
    for k in range(len(weights)):
        for i in range(len(vector)):
            vector[i] += weights[k] * Q[k, i]
    return vector


@compiled
def _convert(A: Matrix, A32: Matrix32, scale: float, shift: float) -> None:
    """Upper triangle of A32 := scale A - shift I."""
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
    """Steps first ... stop - 1 of Lanczos with full orthogonalization, on a float32 matrix or on a factor's inverse.

    Returns
    -------
    reached : int
        Steps in all, fewer than `stop` where the Krylov space closed.
    closed : bool
        Whether it did.
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
