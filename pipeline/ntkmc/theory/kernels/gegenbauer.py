"""Expansion of zonal kernels in Gegenbauer polynomials, and the edge of the spectrum that it predicts.

k(t) = sum over degrees j of xi_j Q_j(t), Q_j the Gegenbauer polynomial of dimension d with Q_j(1) = 1. By Schoenberg
(Duke Math. J. 1942) every Q_j(R) is positive semi-definite, with rank at most B(d, j), the number of spherical
harmonics of degree j.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import count, islice
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special

from ntkmc.errors import InputError
from ntkmc.numeric import Floats
from ntkmc.theory.kernels.functions import diagonal_value, kernel_function

_NODES: Final = 4000
"""Number of quadrature nodes.

The kernels have singularities (1 - t)**(1/2) or weaker at the ends, where nodes are dense. Twice as many nodes change
no coefficient by more than 1e-11 (see the tests)."""

_NEGLIGIBLE: Final = 1e6
"""Ratio B(d, j) / n from which a degree is truncated.

Such a degree acts as a multiple of the identity, and its coefficient would be quadrature noise times B(d, j)."""

_HIGHEST: Final = 400
"""Largest degree of an expansion."""


def harmonics(d: int, degree: int) -> int:
    """Return B(d, j), the dimension of the spherical harmonics of degree j on the sphere of R^d, d >= 2.

    >>> [harmonics(3, j) for j in range(4)], [harmonics(2, j) for j in range(3)]
    ([1, 3, 5, 7], [1, 2, 2])
    """
    if d < 2 or degree < 0:
        raise InputError(f"harmonics need d >= 2 and a degree >= 0, got d = {d}, degree = {degree}")
    if degree < 2:
        return 1 if degree == 0 else d
    return math.comb(d + degree - 1, degree) - math.comb(d + degree - 3, degree - 2)


def _polynomials(t: Floats, d: int) -> Iterator[Floats]:
    """Yield Q_0(t), Q_1(t), ... without end, by the recurrence of `gegenbauer`.

    The recurrence is stable in increasing degree for |t| <= 1, as for all orthogonal polynomials on their interval.
    """
    half = 0.5 * (d - 2)
    previous, current = np.ones_like(t), t
    yield previous
    yield current
    for j in count(2):
        following = (2.0 * (j - 1 + half) * t * current - (j - 1) * previous) / (j - 1 + 2.0 * half)
        previous, current = current, following
        yield current


def gegenbauer(t: ArrayLike, d: int, degree: int) -> Floats:
    """Return Q_0(t) ... Q_degree(t), as an array whose first axis is the degree.

    Recurrence: (j + 2 l - 1) Q_j = 2 (j - 1 + l) t Q_{j-1} - (j - 1) Q_{j-2}, l = (d - 2)/2 (Szegő, Orthogonal
    Polynomials, eq. 4.7.17, normalized to Q_j(1) = 1). For d = 2 these are the Chebyshev polynomials.

    >>> gegenbauer(0.5, 3, 2).tolist()  # Legendre
    [1.0, 0.5, -0.125]
    """
    return np.array(list(islice(_polynomials(np.asarray(t, dtype=np.float64), d), degree + 1)))


@lru_cache(maxsize=64)
def _rule(d: int) -> tuple[Floats, Floats]:
    """Return nodes and weights for E_t, t = cos(theta) the cosine of two uniform directions: Gauss-Legendre in theta.

    In the angle the density sin(theta)**(d - 2) is smooth and so are the kernels, whose singularities at t = 1 and -1
    are half powers of 1 - t: Gauss-Jacobi in t itself would converge only algebraically.
    """
    nodes, weights = special.roots_legendre(_NODES // 2)
    theta = 0.5 * np.pi * (nodes + 1.0)
    log_density = (d - 2) * np.log(np.sin(theta))
    density = np.exp(log_density - log_density.max()) * weights
    return np.cos(theta), density / density.sum()


@lru_cache(maxsize=512)
def expansion(kernel: str, depth: int, d: int, n: int) -> tuple[Floats, float]:
    """Return the coefficients xi_j of a kernel, and the remainder of k(1).

    Parameters
    ----------
    kernel, depth
        As for `ntkmc.theory.kernels.functions.kernel_function`.
    d : int
        Dimension, at least 2.
    n : int
        Number of rows. Degrees are included until B(d, j) is a million times n, or up to 400.

    Returns
    -------
    xi : ndarray, (degrees,), read-only
        xi_j = B(d, j) E_t[k(t) Q_j(t)] >= 0; negative values from rounding in the quadrature are replaced by 0.
    rest : float
        k(1) less the sum of xi.

    Examples
    --------
    >>> xi, rest = expansion("h-infinity", 2, 3, 10)
    >>> bool(abs(xi.sum() + rest - 0.5) < 1e-12), bool(xi[3] < 1e-9)
    (True, True)
    """
    t, weights = _rule(d)
    values = kernel_function(np.clip(t, -1.0, 1.0), kernel, depth) * weights
    xi = []
    # One degree at a time: the values of 400 degrees at 2000 nodes are not needed at once.
    for j, Q in enumerate(islice(_polynomials(t, d), _HIGHEST + 1)):
        size = harmonics(d, j)
        if size >= _NEGLIGIBLE * n:
            break
        # fsum: the terms of a high degree cancel, and what remains is multiplied by B(d, j).
        xi.append(max(0.0, size * math.fsum(values * Q)))
    coefficients = np.array(xi)
    coefficients.setflags(write=False)
    return coefficients, diagonal_value(kernel, depth) - float(coefficients.sum())


def effective_ridge(kernel: str, depth: int, n: int, d: int) -> float:
    """Return the predicted lambda_min for n uniform directions in dimension d: the left edge of a free sum.

    max over s > 0 of sum over j of xi_j s / (s + n xi_j / B(d, j)) - s: the degree-j parts xi_j Q_j(R) as free
    Marchenko-Pastur matrices of aspect ratio n / B(d, j). A prediction, accurate to a few percent unless n or d is
    small; for small fixed d the closest pair of rows determines lambda_min.

    >>> round(effective_ridge("h-infinity", 2, 100, 100), 4)
    0.2316
    """
    xi, rest = expansion(kernel, depth, d, n)
    ratios = np.array([n * x / harmonics(d, j) for j, x in enumerate(xi)])

    def edge(log_s: float) -> float:
        s = math.exp(log_s)
        return float(np.sum(xi * s / (s + ratios))) + rest - s

    top = diagonal_value(kernel, depth)
    # The function is concave in s and has one maximum: a grid in log s brackets it, the minimizer refines it.
    grid = np.linspace(math.log(top) - 40.0, math.log(top) + 2.0, 400)
    best = int(np.argmax([edge(x) for x in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    minimum = optimize.minimize_scalar(
        lambda x: -edge(x), bounds=(low, high), method="bounded", options={"xatol": 1e-10}
    )
    return max(0.0, -float(minimum.fun))
