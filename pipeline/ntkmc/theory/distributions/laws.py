"""Closed-form laws: the sphere, and rows with independent identically distributed coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ntkmc.errors import InputError
from ntkmc.theory.distributions.base import Distribution, Matrix, positive, register


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


@register
@dataclass(frozen=True)
class Gaussian(Distribution):
    """Independent standard normal coordinates."""

    name: ClassVar[str] = "gaussian"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Standard normal entries."""
        return rng.standard_normal((n, d))

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)


@register
@dataclass(frozen=True)
class Rademacher(Distribution):
    """Independent signs: uniform on the corners of the cube. Rows repeat with positive probability."""

    name: ClassVar[str] = "rademacher"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Entries +1 and -1."""
        return 2.0 * rng.integers(0, 2, size=(n, d)).astype(np.float64) - 1.0

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)


@register
@dataclass(frozen=True)
class StudentT(Distribution):
    """Independent Student t coordinates with `df` degrees of freedom: heavy tails, no covariance for df <= 2."""

    name: ClassVar[str] = "student-t"
    df: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "df", positive(self.name, "df", self.df))

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Student t entries."""
        return rng.standard_t(self.df, size=(n, d))

    def second_moment(self, d: int) -> float:
        """d df / (df - 2), for df > 2."""
        if self.df <= 2.0:
            raise InputError(
                f"{self.label} has no second moment (it needs df > 2), so normalize: mean is not defined; "
                "use normalize: unit or none"
            )
        return d * self.df / (self.df - 2.0)
