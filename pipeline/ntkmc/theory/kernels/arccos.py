"""One layer of the arc-cosine recursion for one pair of points, stable at every angle.

A pair of unit vectors at angle theta is represented by s = sin(theta/2)**2 rather than by its cosine. Near theta = 0
the cosine does not determine theta: for two identical vectors whose product rounds to 1 - 2**-53, it gives an angle of
1.5e-8. The number s keeps its relative accuracy. With kappa_0, kappa_1 the arc-cosine functions of order 0 and 1
(Cho & Saul, NeurIPS 2009),
f_1 = rho and f_{l+1} = kappa_1(f_l),

    f_l = 1 - 2 s_l,   s_{l+1} = s_l - g(theta_l) / (2 pi),   g(theta) = sin(theta) - theta cos(theta),

    kappa_0(f_l) = 1 - theta_l / pi.

The functions are compiled; `ntkmc.linalg.gram.matrix` calls them once per entry and layer.
"""

from __future__ import annotations

import math

import numpy as np

from ntkmc.compiled import compiled

NEARLY_PARALLEL = 0.99
"""Value of |rho| above which the angle is computed from differences of the two vectors.

The error of an angle from the Gram product grows as 1 / sin(theta), a factor of 7 at this value. The threshold is
part of `numerics`, because it changes bits."""

SMALL_ANGLE = 0.05
"""Angle below which g(theta) is summed as a series; three terms have error theta**9 / 45360, 4e-17 at this angle."""

PI = math.pi


@compiled
def small_angle_of(s: float) -> float:
    """Return theta = 2 asin(sqrt(s)) for 0 <= s <= 1/2, by a polynomial: relative error at most 4 u.

    libm's asin is not used, because a loop of calls cannot be vectorized and its last bit differs between systems. The
    polynomial needs only multiplications, additions and a square root, each rounded as in IEEE 754:
    asin(x) = x (1 + x**2 p(x**2)) with p of degree 19 interpolating at Chebyshev nodes of [0, 1/2], with a relative
    error of 6e-18 (computed with 60 digits).
    """
    # Horner's scheme, written out: a loop over a table of coefficients would not be vectorized.
    p = 1.0656658840535
    p = p * s + -4.201910132386749
    p = p * s + 7.8829450923016555
    p = p * s + -9.158597380805825
    p = p * s + 7.358619925497615
    p = p * s + -4.297586832199172
    p = p * s + 1.8963187485717359
    p = p * s + -0.6297138419141283
    p = p * s + 0.17101146220020227
    p = p * s + -0.025581324215004246
    p = p * s + 0.013442391811587493
    p = p * s + 0.00917160999006769
    p = p * s + 0.011603298700993395
    p = p * s + 0.01396156950707128
    p = p * s + 0.017352910485470593
    p = p * s + 0.02237215476552006
    p = p * s + 0.03038194452250247
    p = p * s + 0.04464285714211393
    p = p * s + 0.0750000000000028
    p = p * s + 0.16666666666666666
    return 2.0 * (math.sqrt(s) * (1.0 + s * p))


@compiled
def bend(theta: float, sine: float, cosine: float) -> float:
    """Return g(theta) = sin(theta) - theta cos(theta), without cancellation at small angles."""
    square = theta * theta
    series = theta * square * (1.0 / 3.0 - square * (1.0 / 30.0 - square / 840.0))
    # Both are computed, so that loops over many pairs stay free of branches.
    return series if theta < SMALL_ANGLE else sine - theta * cosine


@compiled
def next_layer(s: float) -> tuple[float, float]:
    """Return (s_{l+1}, kappa_0(f_l)) from s_l in [0, 1/2], the range of s_l for l >= 2."""
    theta = small_angle_of(s)
    sine = 2.0 * math.sqrt(s * (1.0 - s))
    step = bend(theta, sine, 1.0 - 2.0 * s) * (0.5 / PI)
    return max(s - step, 0.0), 1.0 - theta * (1.0 / PI)


@compiled
def first_layer(rho: float) -> tuple[float, float, float]:
    """Return (rho, kappa_0(rho), s_2) from the cosine of an angle that is not nearly 0 or pi."""
    s = 0.5 * (1.0 - rho)
    t = 0.5 * (1.0 + rho)
    # The polynomial covers [0, 1/2]: an obtuse angle is pi minus the acute one.
    acute = small_angle_of(max(min(s, t), 0.0))
    theta = acute if rho >= 0.0 else PI - acute
    sine = 2.0 * math.sqrt(max(s * t, 0.0))
    return rho, 1.0 - theta * (1.0 / PI), s - bend(theta, sine, rho) * (0.5 / PI)


@compiled
def first_layer_parallel(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """Return (rho, kappa_0(rho), s_2) for two nearly parallel or antiparallel unit vectors (Kahan's angle).

    theta = 2 atan2(|a - b|, |a + b|). The differences are exact up to a rounding of the entries, so that the absolute
    error of the angle is about 2e-17. Identical vectors give exactly (1, 1, 0), opposite vectors (-1, 0, 1/2).
    """
    minus = 0.0
    plus = 0.0
    for i in range(a.shape[0]):
        difference = a[i] - b[i]
        total = a[i] + b[i]
        minus += difference * difference
        plus += total * total
    if minus <= plus:
        s = minus / (minus + plus)
        theta = 2.0 * math.atan2(math.sqrt(minus), math.sqrt(plus))
        sine = 2.0 * math.sqrt(s * (1.0 - s))
        rho = 1.0 - 2.0 * s
        return rho, 1.0 - theta / PI, max(s - bend(theta, sine, rho) / (2.0 * PI), 0.0)
    # Near pi the small quantity is phi = pi - theta, with kappa_0 = phi / pi and kappa_1 = g(phi) / pi.
    s = plus / (minus + plus)
    phi = 2.0 * math.atan2(math.sqrt(plus), math.sqrt(minus))
    sine = 2.0 * math.sqrt(s * (1.0 - s))
    cosine = 1.0 - 2.0 * s
    return -cosine, phi / PI, 0.5 * (1.0 - bend(phi, sine, cosine) / PI)
