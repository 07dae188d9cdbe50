"""Rigorous bounds on the smallest eigenvalue of a float64 matrix, valid with every rounding counted.

*Upper end.* For every v, lambda_min <= v'Av / v'v. The quotient is summed in double-double (error-free products by
`fma`, Knuth's two-sum), so that its own uncertainty is a few roundings of the result and not n u |v|'|A||v|.

*Lower end.* If the Cholesky factorization of A - sI runs to completion in floating point, then
lambda_min(A) >= s - c with an explicit allowance c: `allowance`. A residual cannot give this: it says that *an*
eigenvalue is near, only inertia says that it is the smallest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.linalg import lapack

from ntkmc.compiled import compiled, fma
from ntkmc.linalg.rows import Matrix
from ntkmc.theory.kernels import UNIT_ROUNDOFF

_UP = 1.0 + 2.0**-40
"""Absorbs the roundings of a bound's own evaluation (fewer than 2**12 of them, each at most u)."""

_TINY = 2.0**-1022
"""Covers underflow in sums of products of numbers that are scaled to lie near 1."""


@dataclass(frozen=True)
class Quotient:
    """A Rayleigh quotient: `value`, a bound `error` on its rounding, and the `residual` |Av - value v| / |v|."""

    value: float
    error: float
    residual: float

    @property
    def upper(self) -> float:
        """A proved upper bound on lambda_min."""
        return float(np.nextafter(self.value + self.error, np.inf))


def rayleigh_quotient(A: Matrix, v: Matrix) -> Quotient:
    """v'Av / v'v for symmetric A (n, n), to working precision whatever the cancellation in it.

    Error: each component of Av is a compensated sum of n products, wrong by at most 4 n**2 u**2 sum_j |a_ij||v_j|
    before it is rounded (Ogita, Rump & Oishi, SISC 26 (2005), Prop. 5.5); with max |a_ij| <= a the quotient is wrong
    by at most 8 u |quotient| + 16 n**2 u**2 a |v|_1**2 / v'v.
    """
    n = len(v)
    largest = float(np.max(np.abs(v)))
    usable = np.isfinite(largest) and largest > 0.0
    v = np.asarray(v / largest) if usable else np.ones(n)
    value, square, residual = _quotient(A, v)
    u = UNIT_ROUNDOFF
    spread = float(np.abs(v).sum()) ** 2 / square
    error = 8.0 * u * abs(value) + 16.0 * (n * u) ** 2 * float(np.max(np.abs(A))) * spread + _TINY
    return Quotient(value, error * _UP, residual)


@compiled
def _quotient(A: Matrix, v: Matrix) -> tuple[float, float, float]:
    n = A.shape[0]
    high = np.zeros(n)
    low = np.zeros(n)
    for j in range(n):
        x = v[j]
        for i in range(n):  # row j stands for column j: A is symmetric, and rows are contiguous
            entry = A[j, i]
            product = entry * x
            updated = high[i] + product
            back = updated - high[i]
            low[i] += ((high[i] - (updated - back)) + (product - back)) + fma(entry, x, -product)
            high[i] = updated
    top = 0.0
    top_low = 0.0
    bottom = 0.0
    bottom_low = 0.0
    for i in range(n):
        product = high[i] * v[i]
        updated = top + product
        back = updated - top
        top_low += ((top - (updated - back)) + (product - back)) + fma(high[i], v[i], -product)
        top_low += low[i] * v[i]
        top = updated
        square = v[i] * v[i]
        updated = bottom + square
        back = updated - bottom
        bottom_low += ((bottom - (updated - back)) + (square - back)) + fma(v[i], v[i], -square)
        bottom = updated
    denominator = bottom + bottom_low
    value = (top + top_low) / denominator
    residual = 0.0
    for i in range(n):
        r = fma(-value, v[i], high[i]) + low[i]
        residual += r * r
    return value, denominator, np.sqrt(residual / denominator)


def allowance(shifted_diagonal: Matrix) -> float:
    """c such that a completed Cholesky of B proves lambda_min(B) >= -c, from the diagonal b of B, (n,).

    c = sum_j (j + 3) u b_j + 6 n (n + max b) 2**-1074, j = 1 ... n. Demmel (LAPACK Working Note 14, 1989); Higham,
    *Accuracy and Stability*, Thms 10.3-10.7; Rump, BIT 46 (2006) 433-452; valid for any order of summation and any
    n < 6e7 by Rump & Jeannerod, SIMAX 35 (2014) 684-698. j + 3 rather than their j + 2 allows one more rounding
    where a BLAS multiplies by reciprocal diagonals. Not valid for Strassen-like or reduced-precision products.
    """
    n = len(shifted_diagonal)
    diagonal = np.maximum(shifted_diagonal, 0.0)
    weighted = float(np.dot(np.arange(4.0, n + 4.0), diagonal)) * UNIT_ROUNDOFF
    underflow = 6.0 * n * (n + float(diagonal.max())) * 2.0**-1074
    # The dot product itself may err by n u relative, far below 2**-40 for any n that fits in memory.
    return (weighted + underflow) * _UP


def factor_shifted(A: Matrix, shift: float) -> tuple[Matrix, int, float]:
    """Cholesky of B, A's off-diagonal with diagonal a_jj - shift rounded down.

    Returns
    -------
    factor : ndarray, (n, n), Fortran order
        LAPACK's lower factor, and A above the diagonal; meaningful up to `info`.
    info : int
        0 if the factorization was completed with finite numbers, else the order of the minor that failed.
    c : float
        The allowance: with info == 0, lambda_min(A) >= shift - c.
    """
    diagonal = np.nextafter(np.diagonal(A) - shift, -np.inf)
    B = np.array(A, order="C").T  # symmetric, so the transposed view is A again, and LAPACK can work in place
    np.fill_diagonal(B, diagonal)
    factor, info = lapack.dpotrf(B, lower=1, clean=0, overwrite_a=1)
    if info == 0 and not np.isfinite(np.diagonal(factor)).all():
        # An infinity or NaN anywhere in row i reaches the diagonal entry i, so that checking the diagonal is enough.
        info = len(diagonal)
    return factor, int(info), allowance(diagonal)


def proves_lower(A: Matrix, shift: float) -> float | None:
    """A proved lower bound just below `shift`, or None if the factorization breaks down."""
    _, info, c = factor_shifted(A, shift)
    return float(np.nextafter(shift - c, -np.inf)) if info == 0 else None


@compiled
def gershgorin(A: Matrix) -> float:
    """min_i (a_ii - sum over j != i of |a_ij|), in plain float64 (relative error of a sum at most n u)."""
    n = A.shape[0]
    smallest = np.inf
    for i in range(n):
        radius = 0.0
        for j in range(n):
            radius += abs(A[i, j])
        smallest = min(smallest, A[i, i] - (radius - abs(A[i, i])))
    return float(smallest)


@compiled
def pair_bound(A: Matrix) -> float:
    """min over pairs of the smaller eigenvalue of [[a_ii, a_ij], [a_ij, a_jj]]; a_11 for n = 1.

    An upper bound on lambda_min by Cauchy's interlacing; relative error at most 8 u of the larger diagonal entry.
    """
    n = A.shape[0]
    smallest = float(A[0, 0])
    for i in range(n):
        for j in range(i):
            root = math.hypot(0.5 * (A[i, i] - A[j, j]), A[i, j])  # squares could overflow
            smallest = min(smallest, 0.5 * (A[i, i] + A[j, j]) - root)
    return float(smallest)
