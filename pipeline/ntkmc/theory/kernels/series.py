"""Power series of the kernels at rho = 0, their tails, polynomial surrogates, and the Hermite coefficients of ReLU.

All kernels have non-negative Taylor coefficients (theory of dot-product kernels, Schoenberg 1942; for the NTK: Murray,
Jin, Bowman & Montúfar, ICLR 2023). Bounds by the tail of the series are therefore deterministic. A surrogate is a
polynomial that replaces a kernel in sketches, which compute powers of the cosine.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntkmc.errors import InputError
from ntkmc.numeric import integer_between
from ntkmc.theory.kernels.functions import check_kernel, diagonal_value, kernel_function

_WORKING_TERMS = 64
"""Largest number of coefficients. The recurrences are exact for each coefficient, for any truncation."""


@lru_cache(maxsize=256)
def series_coefficients(kernel: str, depth: int, terms: int = 16) -> NDArray[np.float64]:
    """Return the Taylor coefficients of k at 0, orders 0 ... terms - 1 (read-only).

    With q = kappa_0(f): q' = f' / (pi sqrt(1 - f**2)) and (kappa_1 o f)' = q f', as truncated power series. The
    literature denotes the coefficients by h_r, b_{L,r} and c_{L,r}.

    >>> series_coefficients("h-infinity", 2, 4).round(6).tolist()
    [0.0, 0.25, 0.159155, 0.0]
    """
    check_kernel(kernel, depth)
    if not 1 <= terms <= _WORKING_TERMS:
        raise InputError(f"terms must lie in 1 ... {_WORKING_TERMS}, got {terms}")
    f = np.zeros(terms)
    if terms > 1:
        f[1] = 1.0
    k = f.copy()
    if kernel == "h-infinity":
        result = 0.5 * _multiply(f, _kappa_0(f))
    else:
        for _ in range(depth - 1):
            q = _kappa_0(f)
            # A series is its value at 0, known in closed form, and the integral of its derivative.
            f_next = _integrate(_multiply(q, _differentiate(f)), float(kernel_function(f[0], "conjugate", 2)))
            k = _multiply(k, q) + f_next
            f = f_next
        result = k if kernel == "ntk" else f
    result.setflags(write=False)
    return result


def _multiply(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.convolve(a, b)[: len(a)]


def _differentiate(a: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.append(a[1:] * np.arange(1, len(a)), 0.0)


def _integrate(a: NDArray[np.float64], constant: float) -> NDArray[np.float64]:
    return np.concatenate([[constant], a[:-1] / np.arange(1, len(a))])


def _kappa_0(f: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the series of kappa_0(f) = 1 - arccos(f) / pi."""
    inverse_root = _inverse_square_root(np.append(1.0, np.zeros(len(f) - 1)) - _multiply(f, f))
    derivative = _multiply(_differentiate(f), inverse_root) / math.pi
    return _integrate(derivative, 1.0 - math.acos(f[0]) / math.pi)


def _inverse_square_root(a: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the series of a**(-1/2), from a y' = -a' y / 2 (Knuth, TAOCP 2, section 4.7)."""
    y = np.zeros_like(a)
    y[0] = a[0] ** -0.5
    for m in range(1, len(a)):
        y[m] = sum((-0.5 * i - (m - i)) * a[i] * y[m - i] for i in range(1, m + 1)) / (m * a[0])
    return y


def tail(t: ArrayLike, kernel: str, depth: int, order: int) -> NDArray[np.float64]:
    """Return T_{>= s}(t) = sum over r >= s of coefficient_r t**r, with s = `order`.

    Computed as total minus partial sum. The coefficients decay as r**-1.5, so that a truncated sum of the tail would
    omit a remainder that is not small.

    Parameters
    ----------
    t : array_like of float
        Points in [0, 1].
    order : int
        s >= 0.

    Returns
    -------
    ndarray of float64, the shape of `t`; absolute error a few units of roundoff of the total.

    Examples
    --------
    >>> float(tail(1.0, "h-infinity", 2, 2))
    0.25
    """
    points = np.asarray(t, dtype=np.float64)
    # At 1 the value is known exactly; the recursion would round it.
    total = np.where(points == 1.0, diagonal_value(kernel, depth), kernel_function(points, kernel, depth))
    if order == 0:
        return total
    head = np.polynomial.polynomial.polyval(points, series_coefficients(kernel, depth, max(order, 2))[:order])
    return np.asarray(total - head, dtype=np.float64)


def hermite_coefficient(r: int) -> float:
    """Return mu_r(sigma) = E[sigma(g) h_r(g)], g standard normal, sigma = ReLU, h_r orthonormal probabilists' Hermite.

    mu_0 = 1/sqrt(2 pi), mu_1 = 1/2, mu_r = (-1)**((r-2)/2) (r-3)!! / sqrt(2 pi r!) for even r, 0 for odd r >= 3.

    >>> round(hermite_coefficient(4), 12)
    -0.081433751984
    """
    if r < 0:
        raise InputError(f"the order of a Hermite coefficient must be non-negative, got {r}")
    if r == 0:
        return 1.0 / math.sqrt(2.0 * math.pi)
    if r == 1:
        return 0.5
    if r % 2:
        return 0.0
    double_factorial = math.prod(range(r - 3, 0, -2))
    return (-1.0) ** ((r - 2) // 2) * double_factorial / math.sqrt(2.0 * math.pi * math.factorial(r))


def linearization(kernel: str, depth: int) -> tuple[float, float, float]:
    """Return a_0, a_1 and a_* = k(1) - a_0 - a_1: for nearly orthogonal unit rows, K ~ a_0 11' + a_1 R + a_* I.

    >>> [round(constant, 6) for constant in linearization("h-infinity", 2)]
    [0.0, 0.25, 0.25]
    """
    constant, linear = series_coefficients(kernel, depth)[:2]
    return float(constant), float(linear), diagonal_value(kernel, depth) - float(constant) - float(linear)


LARGEST_DEGREE: Final = 63
"""Largest degree of a surrogate: `series_coefficients` returns up to 64 coefficients."""

_NOTHING: Final = 1e-13
"""Sum of coefficients up to which it is treated as 0, since it is rounding error."""


@lru_cache(maxsize=256)
def surrogate(kernel: str, depth: int, degree: int) -> NDArray[np.float64]:
    """Return the coefficients of a surrogate: a polynomial p with p(1) = k(1) and p(-1) = k(-1) (read-only).

    The coefficients are non-negative. They are those of k's power series, except that the coefficients of all even
    powers beyond the degree are added to the largest even power within it, and those of the odd powers to the largest
    odd power. A truncated series would be too small on the diagonal by the sum of its tail. This sum decreases only as
    degree**-0.5, and lambda_min(K) consists largely of it.

    Error: |p(rho) - k(rho)| <= p(|rho|) - k(|rho|), which is non-negative, 0 at 0 and 1, and for degree q at most the
    sum of the tail times |rho|**(q - 1).

    Parameters
    ----------
    kernel, depth
        See `ntkmc.theory.kernels.functions`.
    degree : int
        From 2 to 63.

    Returns
    -------
    ndarray, (degree + 1,)

    Raises
    ------
    InputError
        For an unknown kernel or depth, or a degree out of range.

    Examples
    --------
    >>> surrogate("ntk", 2, 4).round(6).tolist()
    [0.31831, 1.0, 0.477465, 0.0, 0.204225]
    >>> float(surrogate("ntk", 2, 4).sum())
    2.0
    """
    integer_between("degree", degree, 2, LARGEST_DEGREE)
    coefficients = np.array(series_coefficients(kernel, depth, degree + 1))
    ends = diagonal_value(kernel, depth), float(kernel_function(-1.0, kernel, depth))
    totals = 0.5 * (ends[0] + ends[1]), 0.5 * (ends[0] - ends[1])  # of the even and of the odd coefficients
    # The largest even and the largest odd power take what the truncation leaves out at rho = 1 and -1.
    for last in (degree - 1, degree):
        parity = last % 2
        rest = totals[parity] - float(coefficients[parity:last:2].sum())
        coefficients[last] = rest if rest > _NOTHING else 0.0
    coefficients.setflags(write=False)
    return coefficients
