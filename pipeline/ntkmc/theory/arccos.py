"""One layer of the arc-cosine recursion for one pair of points, stable at every angle.

A pair of unit vectors at angle theta is carried through the layers as s = sin(theta/2)**2 rather than as its cosine:
near theta = 0 the cosine has lost theta (two identical vectors whose product rounds to 1 - 2**-53 look 1.5e-8
apart), s has not. With kappa_0, kappa_1 the arc-cosine functions of order 0 and 1 (Cho & Saul, NeurIPS 2009),
f_1 = rho and f_{l+1} = kappa_1(f_l),

    f_l = 1 - 2 s_l,   s_{l+1} = s_l - g(theta_l) / (2 pi),   g(theta) = sin(theta) - theta cos(theta),

    kappa_0(f_l) = 1 - theta_l / pi.

The functions here are compiled and called once per entry and layer by `ntkmc.linalg.gram`.
"""

from __future__ import annotations

import math

import numpy as np

from ntkmc.compiled import compiled

NEARLY_PARALLEL = 0.99
"""Beyond this |rho| the Gram product no longer determines the angle well (its error grows as 1 / sin(theta), here a
factor 7), and the angle is taken from differences of the two vectors. It is part of `numerics`: it changes bits."""

SMALL_ANGLE = 0.05
"""Below this angle g(theta) is summed as a series: three terms err by theta**9 / 45360, 4e-17 at the limit."""

PI = math.pi


@compiled
def bend(theta: float, sine: float, cosine: float) -> float:
    """g(theta) = sin(theta) - theta cos(theta), without cancellation at small angles."""
    if theta < SMALL_ANGLE:
        square = theta * theta
        return theta * square * (1.0 / 3.0 - square * (1.0 / 30.0 - square / 840.0))
    return sine - theta * cosine


@compiled
def next_layer(s: float) -> tuple[float, float]:
    """(s_{l+1}, kappa_0(f_l)) from s_l, for 0 <= s_l <= 1/2, where every pair is from the second layer on."""
    root = math.sqrt(s)
    theta = 2.0 * math.asin(root)
    sine = 2.0 * root * math.sqrt(1.0 - s)
    step = bend(theta, sine, 1.0 - 2.0 * s) / (2.0 * PI)
    return max(s - step, 0.0), 1.0 - theta / PI


@compiled
def first_layer(rho: float) -> tuple[float, float, float]:
    """(rho, kappa_0(rho), s_2) from the cosine of an angle that is not nearly 0 or pi."""
    theta = math.acos(rho)
    sine = math.sqrt((1.0 - rho) * (1.0 + rho))
    s = 0.5 * (1.0 - rho)
    return rho, 1.0 - theta / PI, s - bend(theta, sine, rho) / (2.0 * PI)


@compiled
def first_layer_parallel(a: np.ndarray, b: np.ndarray) -> tuple[float, float, float]:
    """(rho, kappa_0(rho), s_2) for two nearly parallel or antiparallel unit vectors (Kahan's angle).

    theta = 2 atan2(|a - b|, |a + b|): the differences are exact to a rounding of the entries, so that the angle is
    exact to about 2e-17 absolute; identical vectors give exactly (1, 1, 0), opposite ones exactly (-1, 0, 1/2).
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
    # Near pi work with phi = pi - theta: kappa_0 = phi / pi, kappa_1 = g(phi) / pi.
    s = plus / (minus + plus)
    phi = 2.0 * math.atan2(math.sqrt(plus), math.sqrt(minus))
    sine = 2.0 * math.sqrt(s * (1.0 - s))
    cosine = 1.0 - 2.0 * s
    return -cosine, phi / PI, 0.5 * (1.0 - bend(phi, sine, cosine) / PI)
