"""Zonal kernels on the sphere: expansion in Gegenbauer polynomials, and the edge of the spectrum that it predicts.

k(t) = sum over degrees j of xi_j Q_j(t), Q_j the Gegenbauer polynomial of dimension d with Q_j(1) = 1. By Schoenberg
(Duke Math. J. 1942) every Q_j(R) is positive semi-definite, with rank at most B(d, j), the number of spherical
harmonics of degree j.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import optimize, special

from ntkmc.errors import InputError
from ntkmc.theory.kernels.functions import diagonal_value, kernel_function

Floats = NDArray[np.float64]

_NODES: Final = 4000
"""Quadrature nodes. The kernels have singularities (1 - t)**(1/2) or weaker at the ends, where nodes are dense: twice
as many change no coefficient by more than 1e-11 (see the tests)."""

_NEGLIGIBLE: Final = 1e6
"""Degrees with B(d, j) >= this times n act as a multiple of the identity; there quadrature noise times B explodes."""

_HIGHEST: Final = 400


def harmonics(d: int, degree: int) -> int:
    """B(d, j): the dimension of the spherical harmonics of degree j on the sphere of R^d, d >= 2.

    >>> [harmonics(3, j) for j in range(4)], [harmonics(2, j) for j in range(3)]
    ([1, 3, 5, 7], [1, 2, 2])
    """
    if d < 2 or degree < 0:
        raise InputError(f"harmonics need d >= 2 and a degree >= 0, got d = {d}, degree = {degree}")
    if degree < 2:
        return 1 if degree == 0 else d
    return math.comb(d + degree - 1, degree) - math.comb(d + degree - 3, degree - 2)


def gegenbauer(t: ArrayLike, d: int, degree: int) -> Floats:
    """Q_0(t) ... Q_degree(t), as an array with the degree first.

    By (j + 2 l - 1) Q_j = 2 (j - 1 + l) t Q_{j-1} - (j - 1) Q_{j-2}, l = (d - 2)/2; for d = 2 these are Chebyshev's.

    Examples
    --------
    >>> gegenbauer(0.5, 3, 2).tolist()  # Legendre
    [1.0, 0.5, -0.125]
    """
    points = np.asarray(t, dtype=np.float64)
    half = 0.5 * (d - 2)
    Q = np.empty((degree + 1, *points.shape))
    Q[0] = 1.0
    if degree >= 1:
        Q[1] = points
    for j in range(2, degree + 1):
        Q[j] = (2.0 * (j - 1 + half) * points * Q[j - 1] - (j - 1) * Q[j - 2]) / (j - 1 + 2.0 * half)
    return Q


@lru_cache(maxsize=64)
def _rule(d: int) -> tuple[Floats, Floats]:
    """Nodes and weights for E_t, t the cosine of two uniform directions: Gauss in the angle after t = cos(theta).

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
    """Coefficients xi_j of a kernel, and what is left of k(1).

    Parameters
    ----------
    kernel, depth
        As for `ntkmc.theory.kernels.functions.kernel_function`.
    d : int
        Dimension, at least 2.
    n : int
        Degrees are followed until B(d, j) is a million times this, or to 400.

    Returns
    -------
    xi : ndarray, (degrees,), read-only
        xi_j = B(d, j) E_t[k(t) Q_j(t)] >= 0; what quadrature leaves below zero is set to it.
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
    half = 0.5 * (d - 2)
    before, now = np.ones_like(t), t
    for j in range(_HIGHEST + 1):
        if j == 0:
            Q = before
        elif j == 1:
            Q = now
        else:
            before, now = now, (2.0 * (j - 1 + half) * t * now - (j - 1) * before) / (j - 1 + 2.0 * half)
            Q = now
        size = harmonics(d, j)
        if size >= _NEGLIGIBLE * n:
            break
        xi.append(max(0.0, size * math.fsum(values * Q)))
    found = np.array(xi)
    found.setflags(write=False)
    return found, diagonal_value(kernel, depth) - float(found.sum())


def effective_ridge(kernel: str, depth: int, n: int, d: int) -> float:
    """Predicted lambda_min for n uniform directions in dimension d: the left edge of a free sum.

    max over s > 0 of sum over j of xi_j s / (s + n xi_j / B(d, j)) - s: the degree-j parts xi_j Q_j(R) as free
    Marchenko-Pastur matrices of aspect ratio n / B(d, j). A prediction, good to a few percent where n and d are not
    small (not for small fixed d, where the closest pair decides).

    Examples
    --------
    >>> round(effective_ridge("h-infinity", 2, 100, 100), 4)
    0.2316
    """
    xi, rest = expansion(kernel, depth, d, n)
    ratios = np.array([n * x / harmonics(d, j) for j, x in enumerate(xi)])

    def edge(log_s: float) -> float:
        s = math.exp(log_s)
        return float(np.sum(xi * s / (s + ratios))) + rest - s

    top = diagonal_value(kernel, depth)
    grid = np.linspace(math.log(top) - 40.0, math.log(top) + 2.0, 400)  # the function is concave in s, one maximum
    best = int(np.argmax([edge(x) for x in grid]))
    low, high = grid[max(best - 1, 0)], grid[min(best + 1, len(grid) - 1)]
    found = optimize.minimize_scalar(
        lambda x: -edge(x), bounds=(low, high), method="bounded", options={"xatol": 1e-10}
    )
    return max(0.0, -float(found.fun))
