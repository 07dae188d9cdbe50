"""Laws to lay over the data, beside the single numbers of `ntkmc.theory.predictors`: predictions, never a verdict.

Of all n eigenvalues of a draw, divided by its mean squared row norm; and of the coherence over draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntkmc.registry import Registry
from ntkmc.theory.cell import CellContext
from ntkmc.theory.predictors import SMALL_DIMENSION, SMALL_RATIO, closest_rate
from ntkmc.theory.spectral_law import elkaroui_law, free_sum_law
from ntkmc.theory.sphere import coherence_cdf

Floats = NDArray[np.float64]


class Distribution(Protocol):
    """A distribution on the line."""

    def cdf(self, x: ArrayLike) -> Floats:
        """F(x)."""
        ...


@dataclass(frozen=True)
class Continuous:
    """A distribution without atoms, from its distribution function."""

    function: Callable[[Floats], Floats]

    def cdf(self, x: ArrayLike) -> Floats:
        """F(x)."""
        return self.function(np.asarray(x, dtype=np.float64))


@dataclass(frozen=True)
class PredictedLaw:
    """One predicted law.

    Attributes
    ----------
    id : str
        That of the predictor of a single number that it belongs to, where there is one.
    words, latex, source : str
    quantity : {"eigenvalues", "coherence"}
        What has it: the n eigenvalues of one draw over its mean squared row norm, or the coherence over draws.
    statistic : str
        Of a law of eigenvalues: the per-trial statistic that holds a draw's Kolmogorov distance to it.
    applies : callable
        context -> whether it is meant for a cell.
    law : callable
        context -> `Distribution`.
    """

    id: str
    words: str
    latex: str
    source: str
    quantity: Literal["eigenvalues", "coherence"]
    statistic: str
    applies: Callable[[CellContext], bool]
    law: Callable[[CellContext], Distribution]


LAWS: Final[Registry[PredictedLaw]] = Registry("predicted law")


def laws_for(context: CellContext, quantity: str) -> list[PredictedLaw]:
    """All laws of a quantity that are meant for a cell.

    >>> cell = CellContext("ntk", 3, n=100, d=50, unit_rows=True, law="sphere", energy=1.0)
    >>> [each.id for each in laws_for(cell, "eigenvalues")]
    ['pred-elkaroui', 'pred-effective-ridge']
    """
    return [each for each in LAWS.values() if each.quantity == quantity and each.applies(context)]


def coherence_limit_cdf(t: ArrayLike, n: int, d: int) -> Floats:
    """P(rho <= t) by the limit law for large n with log n = o(d); n >= 2.

    P(d log(1 - rho**2) + 4 log n - log log n <= y) tends to 1 - exp(-exp(y/2) / sqrt(8 pi)), and rho <= t where the
    left side is at least its value at t.

    >>> round(float(coherence_limit_cdf(0.13, 200, 1000)), 2)
    0.5
    """
    s = np.clip(np.asarray(t, dtype=np.float64), 0.0, 1.0)
    with np.errstate(divide="ignore"):
        y = d * np.log1p(-(s**2)) + 4.0 * math.log(n) - math.log(math.log(n))
    return np.asarray(np.exp(-np.exp(0.5 * y) / math.sqrt(8.0 * math.pi)))


def coherence_fixed_dimension_cdf(t: ArrayLike, n: int, d: int) -> Floats:
    """P(rho <= t) by the limit law for n large and d fixed, of the smallest angle between two lines.

    n**(2/(d - 1)) theta_min tends to 1 - exp(-2 K x**(d - 1)), K = Gamma(d/2) / (4 sqrt(pi) Gamma((d + 1)/2)).

    >>> round(float(coherence_fixed_dimension_cdf(np.cos(0.01), 100, 3)), 3)  # exp(-2 n**2 theta**2 / 8)
    0.779
    """
    angle = np.arccos(np.clip(np.asarray(t, dtype=np.float64), 0.0, 1.0))
    return np.asarray(np.exp(-2.0 * closest_rate(d) * n**2 * angle ** (d - 1)))


def _normalized(context: CellContext) -> bool:
    """Whether the kernel sees rows whose squared norm has a mean, and so an E|x|**2 to divide by."""
    return context.energy is not None and context.d > SMALL_DIMENSION and context.n >= 2


for _law in (
    PredictedLaw(
        id="pred-elkaroui",
        words="n and d large with n / d fixed: Marchenko-Pastur times a_1 plus a_*, an atom at a_* where n > d.",
        latex=r"a_1\,\mathrm{MP}(n/d) + a_*",
        source="El Karoui, Ann. Statist. 2010, Thm 2.1; Fan & Wang, NeurIPS 2020",
        quantity="eigenvalues",
        statistic="elkaroui_distance",
        applies=lambda context: (
            _normalized(context)
            and (context.uniform_directions or bool(context.hypotheses.isotropic and context.hypotheses.zero_mean))
        ),
        law=lambda context: elkaroui_law(context.kernel, context.depth, context.n, context.d),
    ),
    PredictedLaw(
        id="pred-effective-ridge",
        words="The free sum of the kernel's Gegenbauer parts as Wishart matrices; for all n and d that are not small.",
        latex=r"z(g) = \tfrac1g + \sum_k \frac{\xi_k}{1 - \xi_k g\, n/B(d,k)}",
        source="free probability; parts as independent Wishart blocks by Lu & Yau 2022",
        quantity="eigenvalues",
        statistic="free_sum_distance",
        applies=lambda context: _normalized(context) and context.uniform_directions,
        law=lambda context: free_sum_law(context.kernel, context.depth, context.n, context.d),
    ),
    PredictedLaw(
        id="pred-coherence",
        words="Pairs as if independent and rare: exp(-P p_d(t)), for all n and d.",
        latex=r"\mathbb{P}(\rho \le t) \approx e^{-P p_d(t)}",
        source="Cai, Fan & Jiang, JMLR 14, 2013",
        quantity="coherence",
        statistic="",
        applies=lambda context: context.uniform_directions and context.n >= 2 and context.d >= 2,
        law=lambda context: Continuous(lambda t: coherence_cdf(np.clip(t, 0.0, 1.0), context.n, context.d)),
    ),
    PredictedLaw(
        id="pred-coherence-limit",
        words="n large with log n = o(d): the extreme-value law of the coherence.",
        latex=r"d\log(1-\rho^2) + 4\log n - \log\log n \to 1 - \exp(-e^{y/2}/\sqrt{8\pi})",
        source="Cai & Jiang, J. Multivariate Anal. 2012",
        quantity="coherence",
        statistic="",
        applies=lambda context: (
            context.uniform_directions and context.n >= 16 and math.log(context.n) < SMALL_RATIO * context.d
        ),
        law=lambda context: Continuous(lambda t: coherence_limit_cdf(t, context.n, context.d)),
    ),
    PredictedLaw(
        id="pred-coherence-fixed-d",
        words="n large and d small and fixed: the extreme-value law of the smallest angle between two lines.",
        latex=r"n^{2/(d-1)}\theta_{\min} \to 1 - \exp(-2K_d x^{d-1})",
        source="Cai, Fan & Jiang, JMLR 14, 2013",
        quantity="coherence",
        statistic="",
        applies=lambda context: context.uniform_directions and context.n >= 2 and 2 <= context.d <= SMALL_DIMENSION,
        law=lambda context: Continuous(lambda t: coherence_fixed_dimension_cdf(t, context.n, context.d)),
    ),
):
    LAWS.add(_law.id, _law)
