"""Predicted laws of all n eigenvalues: Marchenko-Pastur parts, freely added, with their distribution in closed form.

A part xi Q(R) of rank B acts as xi times a Wishart matrix of aspect ratio c = n / B; its R-transform is
xi / (1 - c xi g) (Marchenko & Pastur 1967; Voiculescu 1986). The parts are treated as free, so that the Cauchy
transform g of the law of the sum is the root in the lower half plane of

    z(g) = shift + 1 / g + sum over parts of xi / (1 - c xi g) = x + i 0,

the density is -Im g / pi. The primitive of z(g) gives the distribution function:

    1 - F(x) = Im[g x - log g + sum of log(1 - c xi g) / c - shift g] / pi.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.compiled import compiled
from ntkmc.errors import InputError
from ntkmc.numeric import Floats
from ntkmc.theory.kernels.functions import diagonal_value
from ntkmc.theory.kernels.gegenbauer import expansion, harmonics
from ntkmc.theory.kernels.series import linearization

_HEIGHT: Final = 1e-11
"""Distance from the real axis at which g is evaluated, in units of the extent of the law; F is smoothed by as much."""

_NARROWING: Final = 0.15
"""Factor per step by which the height decreases. Newton's method follows the root from heights where g ~ 1 / z."""

_NEGLIGIBLE: Final = 1e-12
"""Parts whose variances sum to less than this, in units of the squared mean, are replaced by a multiple of I."""

_STEPS: Final = 60
"""Largest number of Newton steps per height."""

_ROUGH: Final = 1e-3
"""Relative step at which Newton's method stops at intermediate heights; at the final height it is 1e-13."""


@dataclass(frozen=True, eq=False)
class FreeSum:
    """Law of the eigenvalues of shift I + a free sum of Marchenko-Pastur parts.

    Attributes
    ----------
    weights, ratios : ndarray, (parts,)
        xi > 0 and c = n / B > 0 of each part.
    shift : float
        Multiple of the identity in the sum.

    Examples
    --------
    >>> law = FreeSum(np.array([1.0]), np.array([0.25]), 0.0)  # Marchenko-Pastur on [1/4, 9/4]
    >>> law.cdf([0.2, 2.3]).round(9).tolist(), round(float(law.density(1.0)), 6)
    ([0.0, 1.0], 0.616404)
    """

    weights: Floats
    ratios: Floats
    shift: float

    @property
    def top(self) -> float:
        """Upper bound on the support: the shift plus the sum of the upper ends of the parts."""
        return self.shift + float(np.sum(self.weights * (1.0 + np.sqrt(self.ratios)) ** 2))

    @property
    def atom(self) -> float:
        """Share of eigenvalues equal to `shift`: 1 minus the sum of the ranks of the parts over n, if positive."""
        return max(0.0, 1.0 - float(np.sum(1.0 / self.ratios)))

    def cdf(self, x: ArrayLike) -> Floats:
        """Return F(x), the share of eigenvalues <= x; the error is largest, 1e-5, near the ends of narrow bands."""
        return self._shares(x) + self.atom * (np.asarray(x, dtype=np.float64) >= self.shift)

    def cdf_below(self, x: ArrayLike) -> Floats:
        """Return F(x-), the share of eigenvalues < x."""
        return self._shares(x) + self.atom * (np.asarray(x, dtype=np.float64) > self.shift)

    def density(self, x: ArrayLike) -> Floats:
        """Return the density at x, without the atom."""
        points, height = self._points(x)
        imaginary = _cauchy(points, height, self.weights, self.ratios, self.shift)[:, 1]
        smoothed = self.atom * height / (np.pi * ((points - self.shift) ** 2 + height**2))
        return np.asarray(np.maximum(-imaginary / np.pi - smoothed, 0.0).reshape(np.shape(x)))

    def quantile(self, levels: ArrayLike) -> Floats:
        """Return the least x with F(x) >= level, for levels in (0, 1), by bisection."""
        targets = np.asarray(levels, dtype=np.float64)
        if not np.all((targets > 0.0) & (targets < 1.0)):
            raise InputError("levels of quantiles must lie strictly between 0 and 1")
        low, high = np.full(targets.shape, self.shift - 1e-12 * self.top), np.full(targets.shape, self.top)
        # 50 halvings: 2**-50 of the extent is below the smoothing of F by `_HEIGHT`.
        for _ in range(50):
            middle = 0.5 * (low + high)
            reached = self.cdf(middle) >= targets
            low, high = np.where(reached, low, middle), np.where(reached, middle, high)
        return high

    def _points(self, x: ArrayLike) -> tuple[Floats, float]:
        return np.asarray(x, dtype=np.float64).ravel(), _HEIGHT * self.top

    def _shares(self, x: ArrayLike) -> Floats:
        """Return F without the atom."""
        points, height = self._points(x)
        g = _cauchy(points, height, self.weights, self.ratios, self.shift)
        shares = 1.0 - _angles(points, height, g, self.weights, self.ratios, self.shift) / np.pi
        # At this height the step of the atom is a known arctangent, which is subtracted.
        shares -= self.atom * (0.5 + np.arctan((points - self.shift) / height) / np.pi)
        return np.asarray(np.clip(shares, 0.0, 1.0 - self.atom).reshape(np.shape(x)))


@lru_cache(maxsize=512)
def elkaroui_law(kernel: str, depth: int, n: int, d: int) -> FreeSum:
    """Return the law of a_1 R + a_* I, for n and d large with n / d fixed, without the eigenvalue of a_0 11'.

    El Karoui (Ann. Statist. 2010), rows of norm 1. For n > d a share 1 - d / n of the eigenvalues is a_*.

    >>> law = elkaroui_law("h-infinity", 2, 400, 100)
    >>> round(law.shift, 6), law.atom
    (0.25, 0.75)
    """
    _, linear, rest = linearization(kernel, depth)
    return FreeSum(np.array([linear]), np.array([n / d]), rest)


@lru_cache(maxsize=512)
def free_sum_law(kernel: str, depth: int, n: int, d: int) -> FreeSum:
    """Return the law of the sum of all Gegenbauer parts xi_k Q_k(R), of ranks B(d, k), treated as free.

    For all n and d that are not small. The left end is `ntkmc.theory.kernels.gegenbauer.effective_ridge`; the mean
    (k = 0) is a separate band with mass 1 / n. Rows uniform on the unit sphere of R^d, d >= 2.

    >>> law = free_sum_law("h-infinity", 2, 100, 100)
    >>> round(float(law.quantile(1e-6)), 3)
    0.232
    """
    xi, rest = expansion(kernel, depth, d, n)
    ratios = np.array([n / harmonics(d, k) for k in range(len(xi))])
    variances = xi**2 * ratios
    mean = diagonal_value(kernel, depth)
    # Small parts, such as quadrature noise in degrees whose coefficient is 0, would only add poles to z.
    order = np.argsort(variances)
    small = order[np.cumsum(variances[order]) <= _NEGLIGIBLE * mean**2]
    kept = np.setdiff1d(np.arange(len(xi)), small)
    return FreeSum(xi[kept], ratios[kept], rest + float(np.sum(xi[small])))


@compiled
def _cauchy(x: Floats, height: float, weights: Floats, ratios: Floats, shift: float) -> Floats:
    """Return g at x + i height, (points, 2): real and imaginary part."""
    transform = np.empty((len(x), 2))
    extent = shift
    for k in range(len(weights)):
        extent += weights[k] * (1.0 + np.sqrt(ratios[k])) ** 2
    for i in range(len(x)):
        # Far above the axis g is close to 1 / z, and Newton's method converges. Each lower height starts at the root
        # of the one above, so that the iteration stays on the branch of the Cauchy transform.
        eta = 4.0 * max(extent, abs(x[i]))
        g = 1.0 / complex(x[i] - shift, eta)
        while True:
            z = complex(x[i], eta)
            small = 1e-13 if eta <= height else _ROUGH
            for _ in range(_STEPS):
                value = shift + 1.0 / g - z
                slope = -1.0 / (g * g)
                for k in range(len(weights)):
                    part = weights[k] / (1.0 - ratios[k] * weights[k] * g)
                    value += part
                    slope += ratios[k] * part * part
                step = value / slope
                size = 1.0
                while (g - size * step).imag >= 0.0 and size > 1e-12:  # the root lies in the lower half plane
                    size *= 0.5
                g -= size * step
                if size == 1.0 and abs(step) <= small * abs(g):
                    break
            if eta <= height:
                break
            eta = max(_NARROWING * eta, height)
        transform[i, 0], transform[i, 1] = g.real, g.imag
    return transform


@compiled
def _angles(x: Floats, height: float, g: Floats, weights: Floats, ratios: Floats, shift: float) -> Floats:
    """Return pi (1 - F) from the closed form of the module docstring, smoothed by the height."""
    angles = np.empty(len(x))
    for i in range(len(x)):
        real, imaginary = g[i, 0], g[i, 1]
        angle = imaginary * (x[i] - shift) + real * height - np.arctan2(imaginary, real)
        for k in range(len(weights)):
            scale = ratios[k] * weights[k]
            angle += np.arctan2(-scale * imaginary, 1.0 - scale * real) / ratios[k]
        angles[i] = angle
    return angles
