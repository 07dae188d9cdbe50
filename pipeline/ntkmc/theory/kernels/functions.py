"""Limiting kernels as scalar functions k of the cosine rho, and a bound on their evaluation error.

The kernel of two data rows x_i, x_j with cosine rho is |x_i| |x_j| k(rho):

==============  ==============================================================================================
`h-infinity`    h(rho) = rho kappa_0(rho) / 2, two layers, first layer trained (Arora et al., ICML 2019)
`ntk`           k_L, with k_1 = rho, k_l = k_{l-1} kappa_0(f_{l-1}) + f_l (Nguyen, Mondelli & Montúfar, ICML 2021)
`conjugate`     f_L, with f_1 = rho, f_l = kappa_1(f_{l-1}); the NNGP kernel G^(L)
==============  ==============================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntkmc.compiled import compiled
from ntkmc.errors import InputError, did_you_mean
from ntkmc.numeric import UNIT_ROUNDOFF, positive_integer
from ntkmc.theory.kernels.arccos import NEARLY_PARALLEL, SMALL_ANGLE, first_layer, next_layer

KERNELS: Final = ("h-infinity", "ntk", "conjugate")


def check_kernel(kernel: str, depth: int) -> None:
    """Raise `InputError` for an unknown kernel, or a depth for which the kernel is not defined.

    Raises
    ------
    InputError
        If `kernel` is not one of `KERNELS`, `depth` is below 1, or `kernel` is `h-infinity` and `depth` is not 2.
    """
    if kernel not in KERNELS:
        raise InputError(f"unknown kernel {kernel!r}: {did_you_mean(kernel, KERNELS)}")
    positive_integer("depth (the number of weight layers)", depth)
    if kernel == "h-infinity" and depth != 2:
        raise InputError(f"kernel h-infinity is a two-layer kernel: depth must be 2, got {depth}")


def check_depths(kernel: str, depths: Iterable[int]) -> list[int]:
    """Return the depths sorted, without duplicates; `InputError` if there is none or one is invalid for the kernel."""
    if isinstance(depths, int):
        raise InputError(f"depths must be a sequence such as ({depths},), got {depths}")
    unique = list(dict.fromkeys(depths))
    if not unique:
        raise InputError("no depth given: depths must name at least one")
    for depth in unique:
        check_kernel(kernel, depth)
    return sorted(unique)


def diagonal_value(kernel: str, depth: int) -> float:
    """Return k(1), the diagonal of the Gram matrix of unit rows (1/2, L or 1).

    >>> diagonal_value("ntk", 3)
    3.0
    """
    check_kernel(kernel, depth)
    return {"h-infinity": 0.5, "ntk": float(depth), "conjugate": 1.0}[kernel]


def kernel_function(rho: ArrayLike, kernel: str = "ntk", depth: int = 2) -> NDArray[np.float64]:
    """Evaluate k(rho) elementwise, for cosines in float64.

    Parameters
    ----------
    rho : array_like of float
        Cosines in [-1, 1].
    kernel, depth
        One of `KERNELS` and the number of weight layers, as in the table of the module.

    Returns
    -------
    ndarray of float64, the shape of `rho`.

    Raises
    ------
    InputError
        For an unknown kernel or depth, or a cosine outside [-1, 1].

    Examples
    --------
    >>> float(kernel_function(0.5, "h-infinity"))  # 1/6: the angle is 60 degrees
    0.16666666666666666
    """
    check_kernel(kernel, depth)
    cosines = np.asarray(rho, dtype=np.float64)
    if not np.all(np.abs(cosines) <= 1.0):
        raise InputError("cosines must lie in [-1, 1]")
    return _values(cosines.ravel(), depth, kernel == "h-infinity", kernel == "ntk").reshape(cosines.shape)


@compiled
def _values(cosines: NDArray[np.float64], depth: int, two_layers: bool, tangent: bool) -> NDArray[np.float64]:
    values = np.empty(len(cosines))
    for i in range(len(cosines)):
        # From the second layer on the angle is represented by s, which is accurate near 0 (see `arccos`).
        f, kappa_0, s = first_layer(cosines[i])
        k = f
        if two_layers:
            values[i] = 0.5 * f * kappa_0
            continue
        for layer in range(2, depth + 1):
            if layer > 2:
                s, kappa_0 = next_layer(s)
            f = 1.0 - 2.0 * s
            k = k * kappa_0 + f
        values[i] = k if tangent else f
    return values


def coherence_error(d: int) -> float:
    """Return the bound (d + 8) u on the error of a computed cosine, and of a coherence; step 2 of `entry_error`."""
    return (d + 8) * UNIT_ROUNDOFF


def entry_error(kernel: str, depth: int, d: int, coherence: float) -> float:
    """Return e with |computed K_ij - K_ij| <= e |x_i| |x_j| for all entries computed by `ntkmc.linalg.gram.matrix`.

    K is the exact kernel of the float64 matrix X. Derivation, u = 2**-53, constants rounded up:

    1. *Rows.* The norm is summed with compensation, so each entry of a normalized row has relative error at most
       3u, and the row moves by at most 3u.
    2. *Angle.* A dot product of length d errs by at most d u in any order of summation (Jeannerod & Rump, SIMAX
       2013), with 1. by (d + 8) u; the angle then errs by (d + 8) u / sin(theta) with |rho| <= 0.99 (the few u by
       which rho itself may lie beyond are in the factor 1.1), plus 12u for the polynomial. Beyond 0.99 Kahan's
       formula errs by at most (6 + 0.15 d) u, which is less.
    3. *Layers.* theta -> theta' is a contraction: sin(theta')**2 - (kappa_0 sin(theta))**2 =
       1 - [phi**2 + sin(phi)**2 - phi sin(2 phi)] / pi**2 with phi = pi - theta; the bracket has derivative
       2 phi (1 - cos(2 phi)) >= 0 and is pi**2 at phi = pi. So an error in theta does not grow; each layer adds at
       most 16u of its own: the polynomial's 4u relative is 6.3u at theta <= pi/2, and s' errs by at most 8.5u
       relative, which is 6.1u in theta'.
    4. *Sum.* k_l = k_{l-1} kappa_0 + f_l with |k_l| <= l, |d kappa_0 / d theta| = 1 / pi, |d f / d theta| <= 1, and
       4 l u of rounding.
    5. *Scaling* by the two norms: 8u relative.

    The error of libm's atan2 is assumed to be at most 2 units in the last place (glibc, musl: below 1); sqrt is
    correctly rounded.

    Parameters
    ----------
    coherence : float
        max |rho_ij| over the pairs; 1 is always valid.

    Examples
    --------
    >>> entry_error("ntk", 3, d=64, coherence=0.5) < 1e-13
    True
    """
    check_kernel(kernel, depth)
    u = UNIT_ROUNDOFF
    # Beyond NEARLY_PARALLEL Kahan's formula is used, whose error is smaller than the bound at the threshold (step 2).
    cosine = min(abs(coherence), NEARLY_PARALLEL)
    angle = 1.1 * (d + 8) * u / math.sqrt((1.0 - cosine) * (1.0 + cosine)) + 12.0 * u
    if kernel == "h-infinity":
        return 1.1 * (0.5 * angle + 0.5 * angle / math.pi + 8.0 * u)
    # `angle` is the error of theta_l, which grows by the rounding of a layer; `total` that of k_l.
    total, f = angle, angle
    for layer in range(2, depth + 1):
        total += (layer - 1) * angle / math.pi
        angle += 16.0 * u
        f = angle + 2.0 * u
        total += f + 4.0 * layer * u
    size = float(depth) if kernel == "ntk" else 1.0
    return 1.1 * ((total if kernel == "ntk" else f) + 8.0 * u * size)


NUMERICS: Final = {"nearly_parallel": NEARLY_PARALLEL, "small_angle": SMALL_ANGLE}
"""Thresholds that change bits of the kernels, part of the `numerics` that a store records."""
