"""Predictors of lambda_min and the coherence: single values, and laws.

They are asymptotic or heuristic, are plotted with the samples, and never decide a verdict. A `Predictor` gives one
value for a typical draw whose rows are normalized so that E|x|**2 = 1. A `PredictedLaw` is the law of the n
eigenvalues of a draw, divided by its mean squared row norm, or of the coherence over draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.numeric import Floats
from ntkmc.registry import Registry
from ntkmc.theory.cell import CellContext
from ntkmc.theory.kernels.functions import diagonal_value, kernel_function
from ntkmc.theory.kernels.gegenbauer import effective_ridge
from ntkmc.theory.kernels.series import linearization
from ntkmc.theory.predictions.spectral_law import elkaroui_law, free_sum_law
from ntkmc.theory.predictions.sphere import coherence_cdf, pair_quantile, pairs_of


@dataclass(frozen=True)
class _Prediction:
    """Attributes of a prediction of a number or of a law.

    Attributes
    ----------
    id, statement, latex, source : str
    quantity : {"lambda_min", "coherence", "eigenvalues"}
        Predicted quantity. `eigenvalues` are the n eigenvalues of one draw divided by its mean squared row norm; the
        others are random over draws.
    applies : callable
        context -> whether the prediction applies to a cell.
    """

    id: str
    statement: str
    latex: str
    source: str
    quantity: Literal["lambda_min", "coherence", "eigenvalues"]
    applies: Callable[[CellContext], bool]


@dataclass(frozen=True)
class Predictor(_Prediction):
    """Prediction of one number per cell: the median of the quantity over draws, or the limit of the median.

    Attributes
    ----------
    value : callable
        context -> the prediction.
    """

    value: Callable[[CellContext], float]


PREDICTORS: Final[Registry[Predictor]] = Registry("predictor")

SMALL_DIMENSION: Final = 5
"""Largest d for which the closest pair of rows determines lambda_min, rather than the bulk of the spectrum."""

SMALL_RATIO: Final = 0.05
"""Ratio log n / d below which log n is treated as o(d)."""

_LARGE_DEPTH: Final = 30
"""Smallest depth for which the limit of large depth is used; its relative error is of order log L / L."""


def predictions(context: CellContext, quantity: str = "lambda_min") -> dict[str, float]:
    """Return all predictions that apply to a cell, by id.

    >>> cell = CellContext("h-infinity", 2, n=100, d=100, unit_rows=True, law="sphere", second_moment=1.0)
    >>> {name: round(value, 3) for name, value in predictions(cell).items()}
    {'pred-effective-ridge': 0.232, 'pred-elkaroui': 0.25}
    """
    return {
        predictor.id: predictor.value(context)
        for predictor in PREDICTORS.values()
        if predictor.quantity == quantity and predictor.applies(context)
    }


def _normalized(context: CellContext) -> bool:
    return context.second_moment is not None and abs(context.second_moment - 1.0) < 1e-12


def _uniform(context: CellContext) -> bool:
    return _normalized(context) and context.uniform_pairs


def _isotropic(context: CellContext) -> bool:
    """Return whether directions are uniform, or the law of the rows has mean 0 and an isotropic covariance."""
    return context.uniform_directions or bool(context.hypotheses.isotropic and context.hypotheses.zero_mean)


def _many_dimensions(context: CellContext) -> bool:
    """Return whether the limit law of the coherence for log n = o(d) applies."""
    # Corrections to the limit vanish only logarithmically in n; for few rows it is no prediction.
    return context.uniform_directions and context.n >= 16 and math.log(context.n) < SMALL_RATIO * context.d


def elkaroui(kernel: str, depth: int, n: int, d: int) -> float:
    """Return the asymptotic smallest eigenvalue a_1 (1 - sqrt(n / d))_+**2 + a_* (El Karoui).

    >>> round(elkaroui("ntk", 2, 100, 100), 4)
    0.6817
    """
    _, linear, rest = linearization(kernel, depth)
    return linear * max(0.0, 1.0 - math.sqrt(n / d)) ** 2 + rest


def closest_angle(n: int, d: int) -> float:
    """Return the median of the smallest angle between two of n uniform directions in a small fixed dimension d.

    n**(2/(d - 1)) theta_min tends in law to 1 - exp(-K x**(d - 1)), K = Gamma(d/2) / (4 sqrt(pi) Gamma((d + 1)/2)).

    >>> round(closest_angle(100, 3), 4)  # K = 1/8
    0.0235
    """
    return float(n ** (-2.0 / (d - 1)) * (math.log(2.0) / closest_rate(d)) ** (1.0 / (d - 1)))


def closest_rate(d: int) -> float:
    """Return the constant K of `closest_angle`.

    >>> round(closest_rate(3), 12)
    0.125
    """
    return math.exp(math.lgamma(d / 2) - math.log(4.0 * math.sqrt(math.pi)) - math.lgamma((d + 1) / 2))


def _close_pair(context: CellContext) -> float:
    # For few rows the limit law gives an angle beyond pi.
    angle = min(closest_angle(context.n, context.d), math.pi)
    kernel, depth = context.kernel, context.depth
    return diagonal_value(kernel, depth) - abs(float(kernel_function(math.cos(angle), kernel, depth)))


def coherence_limit(n: int, d: int) -> float:
    """Return the median of the coherence by its limit law for large n with log n = o(d).

    P(d log(1 - rho**2) + 4 log n - log log n <= y) tends to 1 - exp(-exp(y/2) / sqrt(8 pi)).

    >>> round(coherence_limit(200, 1000), 3)
    0.13
    """
    # At the median exp(-exp(y/2) / sqrt(8 pi)) = 1/2.
    y = 2.0 * math.log(math.log(2.0) * math.sqrt(8.0 * math.pi))
    return math.sqrt(max(0.0, -math.expm1((y - 4.0 * math.log(n) + math.log(math.log(n))) / d)))


_ELKAROUI = "El Karoui, Ann. Statist. 2010, Thm 2.1; Fan & Wang, NeurIPS 2020"
_FREE = "free probability; parts as independent Wishart blocks by Lu & Yau 2022"
_ANGLES = "Cai, Fan & Jiang, JMLR 14, 2013"
_COHERENCE = "Cai & Jiang, J. Multivariate Anal. 2012"

for _predictor in (
    Predictor(
        id="pred-effective-ridge",
        statement="The left edge of the free sum of the kernel's Gegenbauer parts; for all n and d that are not "
        "small.",
        latex=r"\max_{\varkappa>0}\Bigl\{\sum_k \frac{\xi_k\varkappa}{\varkappa + n\xi_k/B(d,k)} - \varkappa\Bigr\}",
        source=_FREE,
        quantity="lambda_min",
        applies=lambda context: _uniform(context) and context.d > SMALL_DIMENSION,
        value=lambda context: effective_ridge(context.kernel, context.depth, context.n, context.d),
    ),
    Predictor(
        id="pred-elkaroui",
        statement="n and d large with n / d fixed: the kernel acts as a_0 11' + a_1 R + a_* I.",
        latex=r"a_1(1-\sqrt{n/d})_+^2 + a_*",
        source=_ELKAROUI,
        quantity="lambda_min",
        applies=lambda context: _normalized(context) and context.d > SMALL_DIMENSION and _isotropic(context),
        value=lambda context: elkaroui(context.kernel, context.depth, context.n, context.d),
    ),
    Predictor(
        id="pred-close-pair",
        statement="Small fixed d: the closest pair of directions alone, an upper bound at its median angle.",
        latex=r"k(1) - |k(\cos\theta_{\min})|,\quad n^{2/(d-1)}\theta_{\min} \to 1 - e^{-K_d x^{d-1}}",
        source="Cai, Fan & Jiang, JMLR 14, 2013, and det-pair-upper",
        quantity="lambda_min",
        applies=lambda context: _uniform(context) and context.unit_rows and 2 <= context.d <= SMALL_DIMENSION,
        value=_close_pair,
    ),
    Predictor(
        id="pred-large-depth",
        statement="Large depth: K^(L) / L tends to (11' + 3 I) / 4; slowly, as log L / L.",
        latex=r"\tfrac34 L",
        source="angles of layer l tend to 3 pi / l",
        quantity="lambda_min",
        applies=lambda context: (
            context.kernel == "ntk" and context.depth >= _LARGE_DEPTH and context.unit_rows and _normalized(context)
        ),
        value=lambda context: 0.75 * context.depth,
    ),
    Predictor(
        id="pred-coherence",
        statement="Pairs as if independent and rare: the t with P p_d(t) = log 2.",
        latex=r"\mathbb{P}(\rho \le t) \approx e^{-P p_d(t)}",
        source=_ANGLES,
        quantity="coherence",
        applies=lambda context: context.uniform_pairs,
        value=lambda context: float(pair_quantile(min(1.0, math.log(2.0) / pairs_of(context.n)), context.d)),
    ),
    Predictor(
        id="pred-coherence-limit",
        statement="n large with log n = o(d): the limit law of the coherence.",
        latex=r"d\log(1-\rho^2) + 4\log n - \log\log n \to 1 - \exp(-e^{y/2}/\sqrt{8\pi})",
        source=_COHERENCE,
        quantity="coherence",
        applies=_many_dimensions,
        value=lambda context: coherence_limit(context.n, context.d),
    ),
):
    PREDICTORS.add(_predictor.id, _predictor)


class RealLaw(Protocol):
    """Law of a real number."""

    def cdf(self, x: ArrayLike) -> Floats:
        """Return the distribution function F at x."""
        ...


@dataclass(frozen=True)
class ContinuousLaw:
    """Law without atoms, from its distribution function."""

    function: Callable[[Floats], Floats]

    def cdf(self, x: ArrayLike) -> Floats:
        """Return the distribution function F at x."""
        return self.function(np.asarray(x, dtype=np.float64))


@dataclass(frozen=True)
class PredictedLaw(_Prediction):
    """Prediction of the law of a quantity; the id is that of the corresponding `Predictor` if there is one.

    Attributes
    ----------
    law : callable
        context -> `RealLaw`.
    statistic : str
        For a law of eigenvalues: name of the per-trial statistic with the Kolmogorov distance of a draw to the law.
    """

    law: Callable[[CellContext], RealLaw]
    statistic: str = ""


LAWS: Final[Registry[PredictedLaw]] = Registry("predicted law")


def laws_for(context: CellContext, quantity: str) -> list[PredictedLaw]:
    """Return all laws of a quantity that apply to a cell.

    >>> cell = CellContext("ntk", 3, n=100, d=50, unit_rows=True, law="sphere", second_moment=1.0)
    >>> [law.id for law in laws_for(cell, "eigenvalues")]
    ['pred-elkaroui', 'pred-effective-ridge']
    """
    return [law for law in LAWS.values() if law.quantity == quantity and law.applies(context)]


def coherence_limit_cdf(t: ArrayLike, n: int, d: int) -> Floats:
    """Return P(rho <= t) by the limit law for large n with log n = o(d); n >= 2.

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
    """Return P(rho <= t) by the limit law of the smallest angle between two lines, for n large and d fixed.

    n**(2/(d - 1)) theta_min tends to 1 - exp(-2 K x**(d - 1)), K = Gamma(d/2) / (4 sqrt(pi) Gamma((d + 1)/2)).

    >>> round(float(coherence_fixed_dimension_cdf(np.cos(0.01), 100, 3)), 3)  # exp(-2 n**2 theta**2 / 8)
    0.779
    """
    # Twice the rate of `closest_angle`: the coherence ignores signs, so a pair is close at theta and at pi - theta.
    angle = np.arccos(np.clip(np.asarray(t, dtype=np.float64), 0.0, 1.0))
    return np.asarray(np.exp(-2.0 * closest_rate(d) * n**2 * angle ** (d - 1)))


def _has_bulk(context: CellContext) -> bool:
    """Return whether E|x|**2 exists, n >= 2, and d is large enough for a bulk law."""
    return context.second_moment is not None and context.d > SMALL_DIMENSION and context.n >= 2


for _law in (
    PredictedLaw(
        id="pred-elkaroui",
        statement="n and d large with n / d fixed: Marchenko-Pastur times a_1 plus a_*, an atom at a_* where n > d.",
        latex=r"a_1\,\mathrm{MP}(n/d) + a_*",
        source=_ELKAROUI,
        quantity="eigenvalues",
        statistic="elkaroui_distance",
        applies=lambda context: _has_bulk(context) and _isotropic(context),
        law=lambda context: elkaroui_law(context.kernel, context.depth, context.n, context.d),
    ),
    PredictedLaw(
        id="pred-effective-ridge",
        statement="The free sum of the kernel's Gegenbauer parts as Wishart matrices; "
        "for all n and d that are not small.",
        latex=r"z(g) = \tfrac1g + \sum_k \frac{\xi_k}{1 - \xi_k g\, n/B(d,k)}",
        source=_FREE,
        quantity="eigenvalues",
        statistic="free_sum_distance",
        applies=lambda context: _has_bulk(context) and context.uniform_directions,
        law=lambda context: free_sum_law(context.kernel, context.depth, context.n, context.d),
    ),
    PredictedLaw(
        id="pred-coherence",
        statement="Pairs as if independent and rare: exp(-P p_d(t)), for all n and d.",
        latex=r"\mathbb{P}(\rho \le t) \approx e^{-P p_d(t)}",
        source=_ANGLES,
        quantity="coherence",
        applies=lambda context: context.uniform_pairs,
        law=lambda context: ContinuousLaw(lambda t: coherence_cdf(np.clip(t, 0.0, 1.0), context.n, context.d)),
    ),
    PredictedLaw(
        id="pred-coherence-limit",
        statement="n large with log n = o(d): the extreme-value law of the coherence.",
        latex=r"d\log(1-\rho^2) + 4\log n - \log\log n \to 1 - \exp(-e^{y/2}/\sqrt{8\pi})",
        source=_COHERENCE,
        quantity="coherence",
        applies=_many_dimensions,
        law=lambda context: ContinuousLaw(lambda t: coherence_limit_cdf(t, context.n, context.d)),
    ),
    PredictedLaw(
        id="pred-coherence-fixed-d",
        statement="n large and d small and fixed: the extreme-value law of the smallest angle between two lines.",
        latex=r"n^{2/(d-1)}\theta_{\min} \to 1 - \exp(-2K_d x^{d-1})",
        source=_ANGLES,
        quantity="coherence",
        applies=lambda context: context.uniform_directions and context.n >= 2 and 2 <= context.d <= SMALL_DIMENSION,
        law=lambda context: ContinuousLaw(lambda t: coherence_fixed_dimension_cdf(t, context.n, context.d)),
    ),
):
    LAWS.add(_law.id, _law)
