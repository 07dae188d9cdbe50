"""Laws with structure: correlated coordinates, spikes, clusters, few directions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ntkmc.errors import InputError
from ntkmc.theory.distributions.base import Distribution, Matrix, count, number, register
from ntkmc.theory.hypotheses import Hypotheses

Parameters = Mapping[str, int | float | str]


@register
@dataclass(frozen=True)
class GaussianAR1(Distribution):
    """Coordinates of a stationary Gaussian autoregression: covariance rho^|i-j|."""

    name: ClassVar[str] = "gaussian-ar1"
    example: ClassVar[Parameters | None] = {"rho": 0.5}
    rho: float

    def __post_init__(self) -> None:
        rho = number(self.name, "rho", self.rho, "a number between -1 and 1", lambda rho: -1.0 < rho < 1.0)
        object.__setattr__(self, "rho", rho)

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """x_1 = e_1 and x_j = rho x_(j-1) + sqrt(1 - rho**2) e_j."""
        X = rng.standard_normal((n, d))
        innovation = math.sqrt((1.0 - self.rho) * (1.0 + self.rho))
        for j in range(1, d):
            X[:, j] = self.rho * X[:, j - 1] + innovation * X[:, j]
        return X

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)

    def hypotheses(self, d: int) -> Hypotheses:
        """As any Gaussian whose covariance has a norm bounded in d: here (1 + |rho|) / (1 - |rho|)."""
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
        """Refuse more spikes than dimensions."""
        _check_rank(self, self.rank, d)

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Standard normal entries, the first `rank` columns stretched."""
        X = rng.standard_normal((n, d))
        X[:, : self.rank] *= math.sqrt(1.0 + self.strength)
        return X

    def second_moment(self, d: int) -> float:
        """d + strength rank."""
        return d + self.strength * self.rank

    def hypotheses(self, d: int) -> Hypotheses:
        """As any Gaussian whose covariance has a norm bounded in d: here 1 + strength."""
        return _gaussian(isotropic=self.strength == 0.0 or self.rank == d, largest=1.0 + self.strength)


@register
@dataclass(frozen=True)
class Mixture(Distribution):
    """N(c, I) around a centre c, uniform among the first `clusters` of s e_1, -s e_1, s e_2, -s e_2, ...

    Here s = `separation` sqrt(d): the centres keep pace with the noise, whose norm is sqrt(d). The mean is 0 for an
    even number of clusters.
    """

    name: ClassVar[str] = "mixture"
    example: ClassVar[Parameters | None] = {"clusters": 2, "separation": 1}
    clusters: int
    separation: float

    def __post_init__(self) -> None:
        wanted = "a number of at least 0"
        object.__setattr__(self, "clusters", count(self.name, "clusters", self.clusters))
        separation = number(self.name, "separation", self.separation, wanted, lambda value: value >= 0.0)
        object.__setattr__(self, "separation", separation)

    def check(self, n: int, d: int) -> None:
        """Refuse more centres than there are."""
        if self.clusters > 2 * d:
            raise InputError(
                f"{self.label} has its centres on the axes, at most 2 d: clusters must be at most {2 * d} at d = {d}"
            )

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Row by row, the centre first and then the noise, so that rows do not depend on n."""
        X = np.empty((n, d))
        far = self.separation * math.sqrt(d)
        for row in X:
            cluster = int(rng.integers(self.clusters))
            row[:] = rng.standard_normal(d)
            row[cluster // 2] += -far if cluster % 2 else far
        return X

    def second_moment(self, d: int) -> float:
        """d (1 + separation**2)."""
        return d * (1.0 + self.separation**2)

    def hypotheses(self, d: int) -> Hypotheses:
        """Those of a Gaussian where the centres coincide; with two or more, no concentration."""
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
class LowRank(Distribution):
    """Gaussian in a subspace of dimension `rank`: sqrt(d / rank) (g, 0), g standard normal.

    Kernels see inner products alone, so that the coordinate subspace stands for every other one.
    """

    name: ClassVar[str] = "low-rank"
    example: ClassVar[Parameters | None] = {"rank": 2}
    rank: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "rank", count(self.name, "rank", self.rank))

    def check(self, n: int, d: int) -> None:
        """Refuse a subspace larger than the space."""
        _check_rank(self, self.rank, d)

    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Standard normal coordinates, stretched, and zeros."""
        X = np.zeros((n, d))
        X[:, : self.rank] = rng.standard_normal((n, self.rank)) * math.sqrt(d / self.rank)
        return X

    def second_moment(self, d: int) -> float:
        """d."""
        return float(d)

    def hypotheses(self, d: int) -> Hypotheses:
        """Norms scale, but do not concentrate as d grows."""
        return Hypotheses(
            zero_mean=True,
            isotropic=self.rank == d,
            unit_norm=False,
            norm_scaling=True,
            lipschitz=False,  # x_1 has variance d / rank, and the rank is fixed
            log_concave=self.rank == d,  # else no density in R^d
            sub_gaussian=math.sqrt(d / self.rank),
        )


def _gaussian(*, isotropic: bool, largest: float) -> Hypotheses:
    """Of N(0, S) with E|x|**2 = Theta(d) and the largest eigenvalue of S at most `largest`, whatever d is."""
    return Hypotheses(
        zero_mean=True,
        isotropic=isotropic,
        unit_norm=False,
        norm_scaling=True,
        lipschitz=True,  # with c = 1 / (2 largest)
        log_concave=True,
        sub_gaussian=math.sqrt(largest),
    )


def _check_rank(law: Distribution, rank: int, d: int) -> None:
    if rank > d:
        raise InputError(f"{law.label} needs d of at least its rank {rank}, got d = {d}")
