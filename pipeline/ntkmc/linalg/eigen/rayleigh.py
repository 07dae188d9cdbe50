"""Rayleigh quotients and residuals in double-double, with a bound on their own error.

A number in double-double is an unevaluated sum of two float64 numbers. Products and sums are error-free: the rounding
error of each is computed exactly and added to the low part.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np

from ntkmc.compiled import compiled, fma
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, step_up

UP: Final = 1.0 + 2.0**-40
"""Covers the roundings of a bound's own evaluation: fewer than 2**12 of them, each at most u."""

TINY: Final = 2.0**-1022
"""Covers underflow in sums of products of numbers that are scaled to lie near 1."""

LANES: Final = 16
"""Independent partial sums of a row: with one sum, each addition would wait for the previous one."""


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
    """Return the quotient of v for the symmetric matrix with A's strict lower triangle and the given diagonal.

    The upper triangle of A (n, n) is not read, as it may hold a factor. `largest` bounds |a_ij|. A vector that is
    zero, not finite, or of a size outside (1e-300, 1e300) is replaced by the vector of ones.

    Notes
    -----
    Each component of Av is a compensated sum of n products. Before it is rounded its error is at most
    4 n**2 u**2 sum_j |a_ij||v_j| (Ogita, Rump & Oishi, SISC 26 (2005), Prop. 5.5; partial sums in lanes only help).
    Hence the error of the quotient is at most 8 u |quotient| + 16 n**2 u**2 a |v|_1**2 / v'v with a = max |a_ij|. The
    error of the residual is at most (n + 8) u residual + 16 n**2.5 u**2 a |v|_1 / |v|: the first term is that of the
    plain sum of its squares, the second that of its n components.
    """
    w = scaled_by_power_of_two(v)
    high, low = exact_product(A, diagonal, w)
    return quotient_of_product(high, low, w, largest)


@compiled
def scaled_by_power_of_two(v: Matrix) -> Matrix:
    """Return v with largest entry in [1/2, 1); ones if v is zero, not finite or of extreme size.

    Scaling by a power of two is exact, so that the direction keeps every bit.
    """
    size = 0.0
    for i in range(len(v)):
        size = max(size, abs(v[i])) if np.isfinite(v[i]) else np.inf
    return v * math.ldexp(1.0, -math.frexp(size)[1]) if 1e-300 < size < 1e300 else np.ones(len(v))


@compiled
def quotient_of_product(high: Matrix, low: Matrix, w: Matrix, largest: float) -> Quotient:
    """Return `rayleigh_quotient` from the product A w in double-double, for w from `scaled_by_power_of_two`."""
    n = len(w)
    value, square, residual = _quotient(high, low, w)
    u = UNIT_ROUNDOFF
    total = np.sum(np.abs(w))
    error = 8.0 * u * abs(value) + 16.0 * (n * u) ** 2 * largest * total**2 / square + TINY
    residual_error = (n + 8.0) * u * residual + 16.0 * n**2.5 * u**2 * largest * total / np.sqrt(square) + TINY
    return Quotient(value, error * UP, residual, residual_error * UP)


@compiled
def exact_product(A: Matrix, diagonal: Matrix, v: Matrix) -> tuple[Matrix, Matrix]:
    """Return Av in double-double, high and low parts; `rayleigh_quotient` states what is read and the error."""
    n = A.shape[0]
    high = np.zeros(n)
    low = np.zeros(n)
    lane = np.empty(LANES)
    lane_low = np.empty(LANES)
    for i in range(n):
        # The entry a_ij is also a_ji. As a_ji it contributes to component j, as a_ij to component i.
        add_multiple(A, i, i, v[i], high, low)
        top, bottom = _two_product(diagonal[i], v[i])
        top, bottom = add_dot(A, i, i, v, top, bottom, lane, lane_low)
        high[i], lost = _two_sum(high[i], top)
        low[i] += lost + bottom
    return high, low


@compiled
def add_multiple(A: Matrix, i: int, count: int, x: float, high: Matrix, low: Matrix) -> None:
    """Add x times the first `count` entries of row i of A to a vector in double-double, (count,) or longer."""
    row = A[i, :count]
    for j in range(count):
        product = row[j] * x
        updated = high[j] + product
        back = updated - high[j]
        low[j] += ((high[j] - (updated - back)) + (product - back)) + fma(row[j], x, -product)
        high[j] = updated


@compiled
def add_dot(
    A: Matrix, i: int, count: int, v: Matrix, top: float, bottom: float, lane: Matrix, lane_low: Matrix
) -> tuple[float, float]:
    """Return top + bottom + sum of a_ij v_j over j < count in double-double.

    `lane` and `lane_low`, (LANES,), are overwritten.
    """
    row = A[i, :count]
    lane[:] = 0.0
    lane_low[:] = 0.0
    whole = count - count % LANES
    for j0 in range(0, whole, LANES):
        for k in range(LANES):
            entry, y = row[j0 + k], v[j0 + k]
            product = entry * y
            updated = lane[k] + product
            back = updated - lane[k]
            lane_low[k] += ((lane[k] - (updated - back)) + (product - back)) + fma(entry, y, -product)
            lane[k] = updated
    for j in range(whole, count):
        product, rest = _two_product(row[j], v[j])
        top, lost = _two_sum(top, product)
        bottom += lost + rest
    for k in range(LANES):
        top, lost = _two_sum(top, lane[k])
        bottom += lost + lane_low[k]
    return top, bottom


@compiled
def add_double_double(total: Matrix, other: Matrix) -> None:
    """Add a vector in double-double, (2, n), to another, in place."""
    for i in range(total.shape[1]):
        updated, lost = _two_sum(total[0, i], other[0, i])
        total[0, i] = updated
        total[1, i] += lost + other[1, i]


@compiled
def exact_dot(x: Matrix, y: Matrix) -> tuple[float, float]:
    """Return x'y in double-double."""
    top, bottom = 0.0, 0.0
    for i in range(len(x)):
        product, rest = _two_product(x[i], y[i])
        top, lost = _two_sum(top, product)
        bottom += lost + rest
    return top, bottom


@compiled
def _quotient(high: Matrix, low: Matrix, v: Matrix) -> tuple[float, float, float]:
    """Return v'Av / v'v, v'v and |Av - value v| / |v|."""
    n = len(v)
    form, form_low = exact_dot(high, v)
    for i in range(n):
        form_low += low[i] * v[i]
    square, square_low = exact_dot(v, v)
    denominator = square + square_low
    value = (form + form_low) / denominator
    residual = 0.0
    for i in range(n):
        r = fma(-value, v[i], high[i]) + low[i]
        residual += r * r
    return value, denominator, np.sqrt(residual / denominator)


@compiled
def _two_sum(a: float, b: float) -> tuple[float, float]:
    """Return a + b rounded, and its rounding error (Knuth)."""
    total = a + b
    back = total - a
    return total, (a - (total - back)) + (b - back)


@compiled
def _two_product(a: float, b: float) -> tuple[float, float]:
    """Return a b rounded, and its rounding error."""
    product = a * b
    return product, fma(a, b, -product)
