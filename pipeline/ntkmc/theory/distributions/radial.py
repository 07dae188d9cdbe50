"""Laws that no rotation changes, beside the Gaussian: the sphere and the ball."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ntkmc.theory.distributions.base import Distribution, Matrix, register
from ntkmc.theory.hypotheses import Hypotheses


@register
@dataclass(frozen=True)
class Sphere(Distribution):
    """Uniform on the unit sphere S^(d-1): a normalized Gaussian vector."""

    name: ClassVar[str] = "sphere"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Normalized Gaussian rows; the origin has probability 0 (and, in float64, below 1e-300)."""
        X = rng.standard_normal((n, d))
        X /= np.sqrt(np.sum(X * X, axis=1))[:, None]
        return X

    def second_moment(self, d: int) -> float:
        """1."""
        return 1.0

    @property
    def unit_norm(self) -> bool:
        """True."""
        return True

    def hypotheses(self, d: int) -> Hypotheses:
        """All but a density: norms do not vary."""
        return Hypotheses(
            zero_mean=True,
            isotropic=True,
            unit_norm=True,
            norm_scaling=True,  # |x| = 1, so sqrt(d) x has the norm of the papers
            lipschitz=True,  # Lévy, for sqrt(d) x
            log_concave=False,  # no density in R^d
            # E<v, x>^(2k) = |v|^(2k) (2k-1)!! / (d (d+2) ... (d+2k-2)) <= (|v|^2/d)^k (2k-1)!!, term by term.
            sub_gaussian=d**-0.5,
        )


@register
@dataclass(frozen=True)
class UniformBall(Distribution):
    """Uniform in the ball of radius sqrt(d + 2), whose covariance is the identity."""

    name: ClassVar[str] = "uniform-ball"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """First d coordinates of a uniform point of sqrt(d + 2) S^(d+1): Archimedes' theorem, in any dimension."""
        X = rng.standard_normal((n, d + 2))
        X *= np.sqrt((d + 2.0) / np.sum(X * X, axis=1))[:, None]
        return np.ascontiguousarray(X[:, :d])

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)

    def hypotheses(self, d: int) -> Hypotheses:
        """Everything but a fixed norm."""
        return Hypotheses(
            zero_mean=True,
            isotropic=True,
            unit_norm=False,
            norm_scaling=True,
            lipschitz=True,  # the image of sqrt(d + 2) S^(d+1), where Lévy's inequality holds, under a projection
            log_concave=True,
            sub_gaussian=1.0,  # the same projection: (d + 2) / (d + 2)
        )
