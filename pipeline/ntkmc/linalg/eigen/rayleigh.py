"""Rayleigh quotients and residuals in double-double, with a bound on their own error."""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from ntkmc.compiled import compiled, fma
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, step_up

UP: Final = 1.0 + 2.0**-40
"""Absorbs the roundings of a bound's own evaluation (fewer than 2**12 of them, each at most u)."""

TINY: Final = 2.0**-1022
"""Covers underflow in sums of products of numbers that are scaled to lie near 1."""

_LANES: Final = 16
"""Independent partial sums of a row: without them each addition waits for the one before."""


class Quotient(NamedTuple):
    """A Rayleigh quotient of a vector v with its residual and error bounds.

    Attributes
    ----------
    value : float
        v'Av / v'v.
    error : float
        Bound on its rounding error.
    residual : float
        |Av - value v| / |v|.
    residual_error : float
        Bound on the rounding error of `residual`.
    """

    value: float
    error: float
    residual: float
    residual_error: float

    @property
    def upper(self) -> float:
        """A proved upper bound on lambda_min."""
        return step_up(self.value + self.error)


@compiled
def rayleigh_quotient(A: Matrix, diagonal: Matrix, v: Matrix, largest: float) -> Quotient:
    """Quotient of v for the symmetric matrix with A's strict lower triangle and that diagonal.

    The upper triangle of A (n, n) is not read: it may hold a factor by then. `largest` bounds |a_ij|. A vector without
    use (zero, not finite, of a size below 1e-300 or above 1e300) is replaced by that of ones.

    Error: each component of Av is a compensated sum of n products, wrong by at most 4 n**2 u**2 sum_j |a_ij||v_j|
    before it is rounded (Ogita, Rump & Oishi, SISC 26 (2005), Prop. 5.5; partial sums in lanes only help). Hence the
    quotient is wrong by at most 8 u |quotient| + 16 n**2 u**2 a |v|_1**2 / v'v with a = max |a_ij|, and the residual
    by at most (n + 8) u residual + 16 n**2.5 u**2 a |v|_1 / |v|: the plain sum of its squares, and its n components.
    """
    w = moderate(v)
    high, low = exact_product(A, diagonal, w)
    return quotient_of_product(high, low, w, largest)


@compiled
def moderate(v: Matrix) -> Matrix:
    """v with entries of moderate size: by a power of two, since it is v's own direction that numbers speak of."""
    size = 0.0
    for i in range(len(v)):
        size = max(size, abs(v[i])) if np.isfinite(v[i]) else np.inf
    return v * math.ldexp(1.0, -math.frexp(size)[1]) if 1e-300 < size < 1e300 else np.ones(len(v))


@compiled
def quotient_of_product(high: Matrix, low: Matrix, w: Matrix, largest: float) -> Quotient:
    """`rayleigh_quotient` from the product A w in double-double, w of moderate size."""
    n = len(w)
    value, square, residual = _quotient(high, low, w)
    u = UNIT_ROUNDOFF
    total = np.sum(np.abs(w))
    error = 8.0 * u * abs(value) + 16.0 * (n * u) ** 2 * largest * total**2 / square + TINY
    residual_error = (n + 8.0) * u * residual + 16.0 * n**2.5 * u**2 * largest * total / np.sqrt(square) + TINY
    return Quotient(value, error * UP, residual, residual_error * UP)


@compiled
def exact_product(A: Matrix, diagonal: Matrix, v: Matrix) -> tuple[Matrix, Matrix]:
    """Av in double-double, as a sum of two vectors: see `rayleigh_quotient` for storage and error."""
    n = A.shape[0]
    high = np.zeros(n)
    low = np.zeros(n)
    lane = np.zeros(_LANES)
    lane_low = np.zeros(_LANES)
    for i in range(n):
        row = A[i, :i]
        x = v[i]
        for j in range(i):  # a_ij is also a_ji: its contribution to component j, vectorized over j
            product = row[j] * x
            updated = high[j] + product
            back = updated - high[j]
            low[j] += ((high[j] - (updated - back)) + (product - back)) + fma(row[j], x, -product)
            high[j] = updated
        lane[:] = 0.0
        lane_low[:] = 0.0
        whole = i - i % _LANES
        for j0 in range(0, whole, _LANES):  # its contribution to component i, vectorized over the lanes
            for k in range(_LANES):
                entry, y = row[j0 + k], v[j0 + k]
                product = entry * y
                updated = lane[k] + product
                back = updated - lane[k]
                lane_low[k] += ((lane[k] - (updated - back)) + (product - back)) + fma(entry, y, -product)
                lane[k] = updated
        top, bottom = _two_product(diagonal[i], x)
        for j in range(whole, i):
            product, rest = _two_product(row[j], v[j])
            top, lost = _two_sum(top, product)
            bottom += lost + rest
        for k in range(_LANES):
            top, lost = _two_sum(top, lane[k])
            bottom += lost + lane_low[k]
        high[i], lost = _two_sum(high[i], top)
        low[i] += lost + bottom
    return high, low


@compiled
def joined(one: Matrix, other: Matrix) -> None:
    """Add a vector in double-double, (2, n), to another, in place: of sums that were made apart."""
    for i in range(one.shape[1]):
        total, lost = _two_sum(one[0, i], other[0, i])
        one[0, i] = total
        one[1, i] += lost + other[1, i]


@compiled
def exact_dot(x: Matrix, y: Matrix) -> tuple[float, float]:
    """x'y in double-double."""
    top, bottom = 0.0, 0.0
    for i in range(len(x)):
        product, rest = _two_product(x[i], y[i])
        top, lost = _two_sum(top, product)
        bottom += lost + rest
    return top, bottom


@compiled
def _quotient(high: Matrix, low: Matrix, v: Matrix) -> tuple[float, float, float]:
    n = len(v)
    above, above_low = exact_dot(high, v)
    for i in range(n):
        above_low += low[i] * v[i]
    square, square_low = exact_dot(v, v)
    denominator = square + square_low
    value = (above + above_low) / denominator
    residual = 0.0
    for i in range(n):
        r = fma(-value, v[i], high[i]) + low[i]
        residual += r * r
    return value, denominator, np.sqrt(residual / denominator)


@compiled
def _two_sum(a: float, b: float) -> tuple[float, float]:
    """a + b rounded, and what the rounding lost (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


@compiled
def _two_product(a: float, b: float) -> tuple[float, float]:
    """a b rounded, and what the rounding lost."""
    product = a * b
    return product, fma(a, b, -product)
