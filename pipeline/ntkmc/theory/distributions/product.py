"""Laws of rows with independent identically distributed coordinates of mean 0, mostly of variance 1."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ntkmc.errors import InputError
from ntkmc.theory.distributions.base import Distribution, Matrix, number, positive, register
from ntkmc.theory.hypotheses import Hypotheses


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

    def hypotheses(self, d: int) -> Hypotheses:
        """Everything but a fixed norm; Lipschitz concentration with c = 1/2."""
        return _product(lipschitz=True, log_concave=True, sub_gaussian=1.0)


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

    def hypotheses(self, d: int) -> Hypotheses:
        """Sub-Gaussian, cosh v <= exp(v**2 / 2), but concentrated for convex Lipschitz functions alone (Talagrand)."""
        # The distance to {sum x <= 0} has Lipschitz constant 1 and fluctuates at scale d^(1/4).
        return _product(lipschitz=False, log_concave=False, sub_gaussian=1.0)


@register
@dataclass(frozen=True)
class UniformCube(Distribution):
    """Independent coordinates, uniform on [-sqrt 3, sqrt 3]: variance 1."""

    name: ClassVar[str] = "uniform-cube"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Uniform entries."""
        return (rng.random((n, d)) - 0.5) * math.sqrt(12.0)

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)

    def hypotheses(self, d: int) -> Hypotheses:
        """Everything but a fixed norm."""
        # An interval's logarithmic Sobolev inequality tensorizes; sinh(a v) / (a v) <= exp(a**2 v**2 / 6), a**2 = 3.
        return _product(lipschitz=True, log_concave=True, sub_gaussian=1.0)


@register
@dataclass(frozen=True)
class Laplace(Distribution):
    """Independent Laplace coordinates of variance 1: log-concave, with exponential tails."""

    name: ClassVar[str] = "laplace"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Laplace entries of scale 1 / sqrt 2."""
        return rng.laplace(scale=math.sqrt(0.5), size=(n, d))

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)

    def hypotheses(self, d: int) -> Hypotheses:
        """Log-concave, and yet not concentrated: f(x) = x_1 has exponential tails."""
        return _product(lipschitz=False, log_concave=True, sub_gaussian=None)


@register
@dataclass(frozen=True)
class StudentT(Distribution):
    """Independent Student t coordinates with `df` degrees of freedom: heavy tails, no covariance for df <= 2."""

    name: ClassVar[str] = "student-t"
    example: ClassVar[Mapping[str, int | float | str] | None] = {"df": 3}
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

    def hypotheses(self, d: int) -> Hypotheses:
        """Moments below df exist, and nothing of exponential order."""
        finite = self.df > 2.0
        return Hypotheses(
            zero_mean=self.df > 1.0,  # else there is no mean
            isotropic=finite,
            unit_norm=False,
            norm_scaling=finite,  # E|x| >= E sum |x_i| / sqrt(d) = sqrt(d) E|x_1|
            lipschitz=False,  # f(x) = x_1 has polynomial tails
            log_concave=False,
        )


@register
@dataclass(frozen=True)
class Sparse(Distribution):
    """Independent coordinates, each N(0, 1/p) with probability `p`, else 0: variance 1.

    A row is zero with probability (1 - p)^d. It has no direction: with `normalize: unit` such a trial fails, and
    counts against both ends of its cell's interval. A redraw would be another law.
    """

    name: ClassVar[str] = "sparse"
    example: ClassVar[Mapping[str, int | float | str] | None] = {"p": 0.25}
    p: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", number(self.name, "p", self.p, "a number in (0, 1]", lambda p: 0.0 < p <= 1.0))

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Row by row, which places first and then their values, so that rows do not depend on n."""
        X = np.empty((n, d))
        for row in X:
            kept = rng.random(d) < self.p
            row[:] = np.where(kept, rng.standard_normal(d), 0.0)
        X /= math.sqrt(self.p)
        return X

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)

    def hypotheses(self, d: int) -> Hypotheses:
        """As the Gaussian, with constants that depend on p."""
        # Concentration: an atom does not hurt where the rest has a Gaussian density around it. Bobkov & Götze (1999,
        # Theorem 5.3) give the logarithmic Sobolev inequality in one dimension, which tensorizes.
        # Moment generating function: 1 - p + p exp(v**2 / 2p) <= exp(v**2 / 2p).
        return _product(lipschitz=True, log_concave=self.p == 1.0, sub_gaussian=self.p**-0.5)


def _product(*, lipschitz: bool, log_concave: bool, sub_gaussian: float | None) -> Hypotheses:
    """Of independent coordinates of mean 0, variance 1 and finite fourth moment."""
    return Hypotheses(
        zero_mean=True,
        isotropic=True,
        unit_norm=False,
        norm_scaling=True,  # |x|**2 = d + O(sqrt d) in mean square
        lipschitz=lipschitz,
        log_concave=log_concave,
        sub_gaussian=sub_gaussian,
    )
