"""Built-in laws of data rows.

- Product laws: independent identically distributed coordinates of mean 0, mostly of variance 1.
- Rotation-invariant laws: the sphere and the ball (and the Gaussian).
- Laws with structure: correlated coordinates, spikes, clusters, low rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final

import numpy as np

from ntkmc.errors import InputError
from ntkmc.numeric import Matrix
from ntkmc.theory.distributions.base import Distribution, count, number, positive, register
from ntkmc.theory.distributions.hypotheses import Hypotheses

Parameters = Mapping[str, int | float | str]


class _UnitVariance(Distribution):
    """Base class of laws with E|x|**2 = d."""

    def second_moment(self, d: int) -> float:
        return float(d)


_PRODUCT: Final = Hypotheses(zero_mean=True, isotropic=True, unit_norm=False, norm_scaling=True)
"""Hypotheses of independent coordinates of mean 0, variance 1 and finite fourth moment: |x|**2 = d + O(sqrt d)."""


def _gaussian(*, isotropic: bool, largest: float) -> Hypotheses:
    """Return the hypotheses of N(0, S) with E|x|**2 = Theta(d) and lambda_max(S) <= `largest` for every d."""
    # Lipschitz concentration with c = 1 / (2 largest).
    return replace(_PRODUCT, isotropic=isotropic, lipschitz=True, log_concave=True, sub_gaussian=math.sqrt(largest))


@register
@dataclass(frozen=True)
class Gaussian(_UnitVariance):
    """Independent standard normal coordinates."""

    name: ClassVar[str] = "gaussian"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        return rng.standard_normal((n, d))

    def hypotheses(self, d: int) -> Hypotheses:
        # Lipschitz concentration with c = 1/2 (Gaussian isoperimetry).
        return replace(_PRODUCT, lipschitz=True, log_concave=True, sub_gaussian=1.0)


@register
@dataclass(frozen=True)
class Rademacher(_UnitVariance):
    """Independent signs: uniform on the corners of the cube. Rows repeat with positive probability."""

    name: ClassVar[str] = "rademacher"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        return 2.0 * rng.integers(0, 2, size=(n, d)).astype(np.float64) - 1.0

    def hypotheses(self, d: int) -> Hypotheses:
        # Sub-Gaussian by cosh v <= exp(v**2 / 2). Talagrand's inequality is restricted to convex Lipschitz functions:
        # the distance to {sum x <= 0} has Lipschitz constant 1 and fluctuates at scale d^(1/4).
        return replace(_PRODUCT, lipschitz=False, log_concave=False, sub_gaussian=1.0)


@register
@dataclass(frozen=True)
class UniformCube(_UnitVariance):
    """Independent coordinates, uniform on [-sqrt 3, sqrt 3]: variance 1."""

    name: ClassVar[str] = "uniform-cube"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        return (rng.random((n, d)) - 0.5) * math.sqrt(12.0)

    def hypotheses(self, d: int) -> Hypotheses:
        # An interval's logarithmic Sobolev inequality tensorizes; sinh(a v) / (a v) <= exp(a**2 v**2 / 6), a**2 = 3.
        return replace(_PRODUCT, lipschitz=True, log_concave=True, sub_gaussian=1.0)


@register
@dataclass(frozen=True)
class Laplace(_UnitVariance):
    """Independent Laplace coordinates of variance 1: log-concave, with exponential tails."""

    name: ClassVar[str] = "laplace"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        return rng.laplace(scale=math.sqrt(0.5), size=(n, d))

    def hypotheses(self, d: int) -> Hypotheses:
        # f(x) = x_1 has exponential tails.
        return replace(_PRODUCT, lipschitz=False, log_concave=True, sub_gaussian=None)


@register
@dataclass(frozen=True)
class StudentT(Distribution):
    """Independent Student t coordinates with `df` degrees of freedom: heavy tails, no covariance for df <= 2."""

    name: ClassVar[str] = "student-t"
    example: ClassVar[Parameters | None] = {"df": 3}
    df: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "df", positive(self.name, "df", self.df))

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        return rng.standard_t(self.df, size=(n, d))

    def second_moment(self, d: int) -> float:
        if self.df <= 2.0:
            raise InputError(
                f"{self.label} has no second moment (it needs df > 2), so normalize: mean is not defined; "
                "use normalize: unit or none"
            )
        return d * self.df / (self.df - 2.0)

    def hypotheses(self, d: int) -> Hypotheses:
        # Moments of order below df exist, and no exponential moment.
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
class Sparse(_UnitVariance):
    """Independent coordinates, each N(0, 1/p) with probability `p`, else 0: variance 1.

    A row is zero with probability (1 - p)^d and then has no direction. With `normalize: unit` such a trial fails, and
    it counts against both ends of the confidence interval. Redrawing the row would change the law.
    """

    name: ClassVar[str] = "sparse"
    example: ClassVar[Parameters | None] = {"p": 0.25}
    p: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "p", number(self.name, "p", self.p, "a number in (0, 1]", lambda p: 0.0 < p <= 1.0))

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        X = np.empty((n, d))
        # One call of rng for all places and one for all values would make the first rows depend on n.
        for row in X:
            kept = rng.random(d) < self.p
            row[:] = np.where(kept, rng.standard_normal(d), 0.0)
        X /= math.sqrt(self.p)
        return X

    def hypotheses(self, d: int) -> Hypotheses:
        # Concentration: an atom with a Gaussian density around it preserves it. Bobkov & Götze (1999,
        # Theorem 5.3) give the logarithmic Sobolev inequality in one dimension, which tensorizes.
        # Moment generating function: 1 - p + p exp(v**2 / 2p) <= exp(v**2 / 2p).
        return replace(_PRODUCT, lipschitz=True, log_concave=self.p == 1.0, sub_gaussian=self.p**-0.5)


@register
@dataclass(frozen=True)
class Sphere(Distribution):
    """Uniform on the unit sphere S^(d-1): a normalized Gaussian vector."""

    name: ClassVar[str] = "sphere"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        # The origin has probability 0 (and, in float64, below 1e-300).
        X = rng.standard_normal((n, d))
        X /= np.sqrt(np.sum(X * X, axis=1))[:, None]
        return X

    def second_moment(self, d: int) -> float:
        return 1.0

    @property
    def unit_norm(self) -> bool:
        return True

    def hypotheses(self, d: int) -> Hypotheses:
        # |x| = 1, so sqrt(d) x has the norm of the papers, and Lévy's inequality is for sqrt(d) x. No density in R^d.
        # E<v, x>^(2k) = |v|^(2k) (2k-1)!! / (d (d+2) ... (d+2k-2)) <= (|v|^2/d)^k (2k-1)!!, term by term.
        return replace(_PRODUCT, unit_norm=True, lipschitz=True, log_concave=False, sub_gaussian=d**-0.5)


@register
@dataclass(frozen=True)
class UniformBall(_UnitVariance):
    """Uniform in the ball of radius sqrt(d + 2), whose covariance is the identity."""

    name: ClassVar[str] = "uniform-ball"

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        # The first d coordinates of a uniform point of sqrt(d + 2) S^(d+1) are uniform in the ball, by Archimedes'
        # theorem in general dimension.
        X = rng.standard_normal((n, d + 2))
        X *= np.sqrt((d + 2.0) / np.sum(X * X, axis=1))[:, None]
        return np.ascontiguousarray(X[:, :d])

    def hypotheses(self, d: int) -> Hypotheses:
        # A projection of sqrt(d + 2) S^(d+1), where Lévy's inequality holds; sub-Gaussian as the sphere.
        return replace(_PRODUCT, lipschitz=True, log_concave=True, sub_gaussian=1.0)


@register
@dataclass(frozen=True)
class GaussianAR1(_UnitVariance):
    """Coordinates of a stationary Gaussian autoregression: covariance rho^|i-j|."""

    name: ClassVar[str] = "gaussian-ar1"
    example: ClassVar[Parameters | None] = {"rho": 0.5}
    rho: float

    def __post_init__(self) -> None:
        rho = number(self.name, "rho", self.rho, "a number between -1 and 1", lambda rho: -1.0 < rho < 1.0)
        object.__setattr__(self, "rho", rho)

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        X = rng.standard_normal((n, d))
        innovation = math.sqrt((1.0 - self.rho) * (1.0 + self.rho))
        # x_1 = e_1 and x_j = rho x_(j-1) + sqrt(1 - rho**2) e_j, for all rows at once.
        for j in range(1, d):
            X[:, j] = self.rho * X[:, j - 1] + innovation * X[:, j]
        return X

    def hypotheses(self, d: int) -> Hypotheses:
        largest = (1.0 + abs(self.rho)) / (1.0 - abs(self.rho))  # the spectral density's maximum
        return _gaussian(isotropic=self.rho == 0.0 or d == 1, largest=largest)


@register
@dataclass(frozen=True)
class Spiked(Distribution):
    """N(0, I + `strength` P), with P the projection on the first `rank` coordinates (Johnstone's spiked model)."""

    name: ClassVar[str] = "spiked"
    example: ClassVar[Parameters | None] = {"strength": 4, "rank": 1}
    strength: float
    rank: int = 1

    def __post_init__(self) -> None:
        strength = number(self.name, "strength", self.strength, "a number of at least 0", lambda value: value >= 0.0)
        object.__setattr__(self, "strength", strength)
        object.__setattr__(self, "rank", count(self.name, "rank", self.rank))

    def check(self, n: int, d: int) -> None:
        _check_rank(self, self.rank, d)

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        X = rng.standard_normal((n, d))
        X[:, : self.rank] *= math.sqrt(1.0 + self.strength)
        return X

    def second_moment(self, d: int) -> float:
        return d + self.strength * self.rank

    def hypotheses(self, d: int) -> Hypotheses:
        return _gaussian(isotropic=self.strength == 0.0 or self.rank == d, largest=1.0 + self.strength)


@register
@dataclass(frozen=True)
class Mixture(Distribution):
    """N(c, I) around a centre c, uniform among the first `clusters` of s e_1, -s e_1, s e_2, -s e_2, ...

    Here s = `separation` sqrt(d): the centres have norms of the same order as the noise, sqrt(d). The mean is 0 for an
    even number of clusters.
    """

    name: ClassVar[str] = "mixture"
    example: ClassVar[Parameters | None] = {"clusters": 2, "separation": 1}
    clusters: int
    separation: float

    def __post_init__(self) -> None:
        requirement = "a number of at least 0"
        object.__setattr__(self, "clusters", count(self.name, "clusters", self.clusters))
        separation = number(self.name, "separation", self.separation, requirement, lambda value: value >= 0.0)
        object.__setattr__(self, "separation", separation)

    def check(self, n: int, d: int) -> None:
        if self.clusters > 2 * d:
            raise InputError(
                f"{self.label} has its centres on the axes, at most 2 d: clusters must be at most {2 * d} at d = {d}"
            )

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        X = np.empty((n, d))
        far = self.separation * math.sqrt(d)
        # As for sparse rows, so that the first rows do not depend on n.
        for row in X:
            cluster = int(rng.integers(self.clusters))
            row[:] = rng.standard_normal(d)
            row[cluster // 2] += -far if cluster % 2 else far
        return X

    def second_moment(self, d: int) -> float:
        return d * (1.0 + self.separation**2)

    def hypotheses(self, d: int) -> Hypotheses:
        k, far = self.clusters, self.separation * math.sqrt(d)
        together = self.separation == 0.0
        balanced = together or k % 2 == 0
        # Along an axis, two Gaussians of variance 1 at -a and a have a log-concave mixture if and only if a <= 1.
        log_concave = True if together or k == 1 else far <= 1.0 if k == 2 else None
        return Hypotheses(
            zero_mean=balanced,
            isotropic=together or k == 1 or d == 1 or k == 2 * d,
            unit_norm=False,
            norm_scaling=True,
            lipschitz=together or k == 1,  # else x_1 varies at scale sqrt(d), between centres
            log_concave=log_concave,
            sub_gaussian=math.hypot(1.0, far) if balanced else None,  # cosh(a v) <= exp(a**2 v**2 / 2)
        )


@register
@dataclass(frozen=True)
class LowRank(_UnitVariance):
    """Gaussian in a subspace of dimension `rank`: sqrt(d / rank) (g, 0), g standard normal.

    Kernels depend on inner products alone, so that the coordinate subspace represents every other subspace.
    """

    name: ClassVar[str] = "low-rank"
    example: ClassVar[Parameters | None] = {"rank": 2}
    rank: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", count(self.name, "rank", self.rank))

    def check(self, n: int, d: int) -> None:
        _check_rank(self, self.rank, d)

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        X = np.zeros((n, d))
        X[:, : self.rank] = rng.standard_normal((n, self.rank)) * math.sqrt(d / self.rank)
        return X

    def hypotheses(self, d: int) -> Hypotheses:
        # Norms have the order sqrt(d), but do not concentrate as d grows.
        # x_1 has variance d / rank, and the rank is fixed; no density in R^d unless the rank is d.
        full = self.rank == d
        return replace(
            _PRODUCT, isotropic=full, lipschitz=False, log_concave=full, sub_gaussian=math.sqrt(d / self.rank)
        )


def _check_rank(law: Distribution, rank: int, d: int) -> None:
    if rank > d:
        raise InputError(f"{law.label} needs d of at least its rank {rank}, got d = {d}")
