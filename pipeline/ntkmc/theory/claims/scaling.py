"""Scaling claims with unspecified constants, and the hypotheses that a law declares of its rows.

A claim "Y <= C g with probability at least 1 - delta" is tested by the (1 - delta)-quantile of Y / g in each cell. The
claim is false as published if this quantile grows with n or d. Hypotheses are tested on the draws of a study.
"""

from __future__ import annotations

import math

import numpy as np

from ntkmc.numeric import UNIT_ROUNDOFF, Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import (
    Bound,
    DeterministicClaim,
    Parameters,
    ProbabilityClaim,
    ScalingClaim,
    Statistics,
    register,
)
from ntkmc.theory.claims.bounds import around, enclosed, exactly, tangent, two_layers
from ntkmc.theory.claims.deterministic import separation
from ntkmc.theory.claims.probability import sub_gaussian
from ntkmc.theory.kernels.series import hermite_coefficient

FUNCTIONS = {
    "coordinate": ("first_coordinate", "x_1"),
    "norm": ("first_norm", "|x|"),
    "largest": ("largest_coordinate", "max_i x_i"),
    "cube": ("cube_distance", "the distance to the corners of the cube with sum <= 0"),
}
"""Lipschitz functions with constant 1 whose concentration is tested, with the statistic of each."""


def _known(value: Floats) -> Bound:
    """Return an enclosure of a ratio whose rounding error is negligible against its fluctuations."""
    return Bound(value, value)


def standard_scale(context: CellContext) -> float:
    """Return the factor after which E|x|**2 = d; where E|x|**2 does not exist, the factor that undoes the scaling."""
    if context.energy is not None:
        return math.sqrt(context.d / context.energy)
    return 1.0 if context.scale is None else context.scale


def _coherence(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _known(statistics["coherence"] / math.sqrt(math.log(context.n / float(parameters["delta"])) / context.d))


def inner_product_ratio(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return max |<x_i, x_j>| / (sqrt(log(n / delta)) max |x_k|)."""
    root = math.sqrt(math.log(context.n / float(parameters["delta"])))
    return _known(statistics["inner_max"] / (root * statistics["norm_max"]))


def has_sub_gaussian_rows(context: CellContext) -> bool:
    """Return whether rows are independent, of mean zero, isotropic, and sub-Gaussian on the same scale."""
    law = context.hypotheses
    return sub_gaussian(context) is not None and law.independent_rows and bool(law.isotropic) and context.n >= 2


def _twice_sub_gaussian(context: CellContext, parameters: Parameters) -> float:
    """Return 2 K, K the sub-Gaussian parameter of the rows in units where Cov x = I."""
    K = sub_gaussian(context)
    return math.inf if K is None else 2.0 * K * standard_scale(context)


def _moment(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    unit = standard_scale(context) / math.sqrt(context.d)
    match parameters["moment"]:
        case "norm":
            return _known(statistics["norm_mean"] * unit)
        case "square":
            return _known(statistics["norm_square"] * unit**2)
    # The trace of the sample covariance, which is non-negative up to rounding.
    return _known(np.maximum((statistics["norm_square"] - statistics["mean_square"]) * unit**2, 0.0))


def _at_most_energy(context: CellContext, parameters: Parameters) -> float:
    """Return proved bounds for E|x|**2 = d: (E|x|)**2 <= E|x|**2, and E|x - E x|**2 <= E|x|**2; rounding apart."""
    return math.inf if context.energy is None else 1.0 + 1e-9


def _of_function(context: CellContext, statistics: Statistics, name: str) -> Floats:
    statistic = FUNCTIONS[name][0]
    factor = 1.0 if statistic == "cube_distance" else standard_scale(context)
    return np.asarray(statistics[statistic] * factor)


def lipschitz_function(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return f(x) of the first row, x scaled so that E|x|**2 = d."""
    return _known(_of_function(context, statistics, str(parameters["f"])))


def lipschitz_functions(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return the values of all functions, (functions, trials)."""
    return _known(np.array([_of_function(context, statistics, name) for name in _fluctuating(context)]))


def _fluctuating(context: CellContext) -> list[str]:
    return [name for name in FUNCTIONS if fluctuates(context, {"f": name})]


def fluctuates(context: CellContext, parameters: Parameters) -> bool:
    """Not the norm of unit rows, of which rounding is all that there is."""
    return not (context.unit_rows and parameters["f"] == "norm")


def _compared(context: CellContext, names: list[str]) -> tuple[bool, ...]:
    """Whose tail is compared with a normal law's: a coordinate's, unless the law is proved to be sub-Gaussian.

    Then it is a larger constant (an atom at 0 looks alike). A maximum or a norm may well have Gumbel's or an
    exponential law with a scale that shrinks with d.
    """
    return tuple(name == "coordinate" and context.hypotheses.sub_gaussian is None for name in names)


def tells_tails(context: CellContext, parameters: Parameters) -> tuple[bool, ...]:
    """Of one function."""
    return _compared(context, [str(parameters["f"])])


def tells_any_tail(context: CellContext, parameters: Parameters) -> tuple[bool, ...]:
    """Of all functions."""
    return _compared(context, _fluctuating(context))


def is_lipschitz(context: CellContext) -> bool | None:
    """Return whether concentration of Lipschitz functions is proved, disproved or unknown for the law."""
    return context.hypotheses.lipschitz


def _mean_square(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """|mean of the rows|**2, which is not negative, less its mean if E x = 0: heavy tails cannot make it small.

    Its mean is that of the inner product of two rows: |x_1 + ... + x_n|**2 = sum |x_i|**2 + n (n - 1) mean_square.
    """
    energy = _energy(context)
    return _known(statistics["mean_square"] / energy + (statistics["norm_square"] / energy - 1.0) / (context.n - 1))


def _isotropy(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _known(statistics["covariance_square"] * context.d / _energy(context) ** 2)


def _energy(context: CellContext) -> float:
    if context.energy is None:
        raise ValueError("the claim applies only where E|x|**2 is known")
    return context.energy


def _nmm(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    unit = _energy(context) * hermite_coefficient(int(parameters["r"])) ** 2
    smallest = enclosed(statistics, "lambda_min")
    return Bound(smallest.lower / unit, smallest.upper / unit)


def _nmm_measurable(context: CellContext) -> bool:
    return tangent(context) and context.energy is not None


def _nmm_inside(context: CellContext, parameters: Parameters) -> bool:
    """The hypotheses, and the regime in which the printed probability is not trivial for large d."""
    law = context.hypotheses
    declared = bool(law.zero_mean and law.norm_scaling and law.lipschitz) and law.independent_rows
    # Hypotheses refer to rows as drawn. Rows divided by their norms keep them if their directions are uniform.
    declared &= context.scale is not None or context.uniform_directions
    return declared and context.n < context.d ** ((float(parameters["r"]) - 0.5) / 2.0)


def _karhadkar(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    d = context.d
    apart = separation(statistics["coherence"])
    with np.errstate(divide="ignore", invalid="ignore"):  # parallel rows: the claim is vacuous, the ratio is infinite
        unit = (d * (1.0 + d * np.log(1.0 / apart).clip(min=0.0) / math.log(d))) ** -3.0 * apart**2
        smallest = enclosed(statistics, "lambda_min")
        low, high = (np.where(apart > 0.0, end / unit, np.inf) for end in (smallest.lower, smallest.upper))
    return Bound(low, high)


register(
    ScalingClaim(
        id="claim-coherence-sphere",
        statement="The coherence of uniform directions is at most C sqrt(log(n/delta) / d) with probability at least "
        "1 - delta. C = 2 is proved (prob-sphere-coherence-C2), and optimal for n to infinity with log n = o(d).",
        latex=r"\rho \le C\sqrt{\log(n/\delta)/d}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025; Cai & Jiang, J. Multivariate Anal. 2012",
        hypotheses="rows with uniform directions, n >= 2",
        side="upper",
        applies=lambda context: context.uniform_directions and context.n >= 2,
        needs=("coherence",),
        evaluate=_coherence,
        parameters=({"delta": 0.1},),
        constants="C fitted",
        ceiling=lambda context, parameters: 2.0,
        proved=lambda context: True,
        along=("n", "d"),
    ),
)

register(
    ScalingClaim(
        id="claim-coherence-subgaussian",
        statement="Isotropic sub-Gaussian rows: max |<x_i, x_j>| is at most C sqrt(log(n/delta)) max |x_k| with "
        "probability at least 1 - delta, in units where Cov x = I; C = 2 K suffices.",
        latex=r"\max_{i<j}|\langle X_i, X_j\rangle| \le C\sqrt{\log(n/\delta)}\,\max_k\|X_k\|",
        source="prob-subgaussian-inner; corrects erratum E3 of the slides",
        hypotheses="independent isotropic rows of mean zero with a sub-Gaussian parameter, that keep their norms",
        side="upper",
        applies=has_sub_gaussian_rows,
        needs=("inner_max", "norm_max"),
        evaluate=lambda context, statistics, parameters: _known(
            inner_product_ratio(context, statistics, parameters).value * standard_scale(context)
        ),
        parameters=({"delta": 0.1},),
        constants="C fitted",
        ceiling=_twice_sub_gaussian,
        proved=lambda context: True,
        along=("n", "d"),
    ),
)

register(
    ScalingClaim(
        id="claim-data-scaling",
        statement="E|x| = Theta(sqrt d), E|x|^2 = Theta(d), E|x - Ex|^2 = Omega(d), once x is scaled so that E|x|^2 "
        "= d where that exists: the three, in units of sqrt d and d, do not decay with d; by Cauchy-Schwarz none "
        "exceeds 1.",
        latex=r"\mathbb{E}\|x\| = \Theta(\sqrt d),\ \mathbb{E}\|x\|^2 = \Theta(d),\ "
        r"\mathbb{E}\|x - \mathbb{E}x\|^2 = \Omega(d)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, Assumption 2.1",
        hypotheses="any law whose rows keep their norms, n >= 2",
        side="upper",
        applies=lambda context: context.scale is not None and context.n >= 2,
        needs=("norm_mean", "norm_square", "mean_square"),
        evaluate=_moment,
        parameters=({"moment": "norm"}, {"moment": "square"}, {"moment": "variance"}),
        constants="fitted",
        functional="mean",
        ceiling=_at_most_energy,
        proved=lambda context: context.hypotheses.norm_scaling,
        hypothesis=True,
    ),
)

_LIPSCHITZ = (
    "There is c with P(|f(x) - E f| > t) <= 2 exp(-c t^2 / |f|_Lip^2) for all Lipschitz f, independent of d, x scaled "
    "so that E|x|^2 = d. Necessary conditions: the sub-Gaussian scale of four functions does not grow with d, and not "
    "along the tail."
)

register(
    ScalingClaim(
        id="claim-lipschitz-concentration",
        statement=_LIPSCHITZ,
        latex=r"\exists c\ \forall f, t:\ \mathbb{P}(|f(x)-\mathbb{E}f| > t) \le 2e^{-ct^2/\|f\|_{\mathrm{Lip}}^2}",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, Assumption 2.2",
        hypotheses="any law whose rows keep their norms; f: " + "; ".join(words for _, words in FUNCTIONS.values()),
        side="upper",
        applies=lambda context: context.scale is not None,
        where=fluctuates,
        needs=tuple(name for name, _ in FUNCTIONS.values()),
        evaluate=lipschitz_function,
        parameters=tuple({"f": name} for name in FUNCTIONS),
        constants="1 / sqrt(2 c) fitted",
        functional="tail",
        tails=tells_tails,
        proved=is_lipschitz,
        hypothesis=True,
    ),
)

register(
    ScalingClaim(
        id="claim-lipschitz-log-concave",
        statement="A log-concave law for which more is known (curvature bounded below, a bounded product, an image "
        "of one) concentrates Lipschitz functions like a Gaussian: tried on the log-concave laws that are declared "
        "to, through all four functions at once.",
        latex=r"x \sim e^{-V},\ \nabla^2 V \succeq cI \;\Rightarrow\; \exists c'\ \forall f, t:\ "
        r"\mathbb{P}(|f(x)-\mathbb{E}f| > t) \le 2e^{-c't^2/\|f\|_{\mathrm{Lip}}^2}",
        source="Bakry & Émery 1985, log-Sobolev inequalities; corrects erratum E8 of the slides",
        hypotheses="log-concave laws with proved Lipschitz concentration, whose rows keep their norms",
        side="upper",
        applies=lambda context: (
            bool(context.hypotheses.log_concave and context.hypotheses.lipschitz) and context.scale is not None
        ),
        needs=tuple(name for name, _ in FUNCTIONS.values()),
        evaluate=lipschitz_functions,
        constants="1 / sqrt(2 c) fitted",
        functional="tail",
        tails=tells_any_tail,
        proved=is_lipschitz,
    ),
)

register(
    ScalingClaim(
        id="law-zero-mean",
        statement="E x = 0: the mean inner product of two rows over E|x|^2, which estimates |E x|^2 / E|x|^2, is 0.",
        latex=r"\|\mathbb{E}x\|^2 / \mathbb{E}\|x\|^2 = 0",
        source="hypothesis of Nguyen, Mondelli & Montúfar, ICML 2021, Thm 3.2",
        hypotheses="any law with independent rows that keep their norms and a second moment, n >= 2",
        side="upper",
        applies=lambda context: context.energy is not None and context.hypotheses.independent_rows and context.n >= 2,
        needs=("mean_square", "norm_square"),
        evaluate=_mean_square,
        constants="0",
        functional="mean",
        equal=0.0,
        least=lambda context: -1.0 / (context.n - 1),
        hypothesis=True,
    ),
)

register(
    ScalingClaim(
        id="law-isotropic",
        statement="Cov x is a multiple of the identity: the mean squared inner product of two rows, in units of "
        "(E|x|^2)^2 / d, which estimates d tr(Cov^2) / (tr Cov)^2 for rows of mean zero, is 1.",
        latex=r"d\,\operatorname{tr}(\Sigma^2)/(\operatorname{tr}\Sigma)^2 = 1",
        source="Cauchy-Schwarz: at least 1, with equality for multiples of the identity alone",
        hypotheses="laws of mean zero with independent rows that keep their norms and a second moment, n >= 2",
        side="upper",
        applies=lambda context: (
            context.energy is not None
            and context.hypotheses.independent_rows
            and bool(context.hypotheses.zero_mean)
            and context.n >= 2
        ),
        needs=("covariance_square",),
        evaluate=_isotropy,
        constants="1",
        functional="mean",
        equal=1.0,
        hypothesis=True,
    ),
)

_NMM = tuple({"delta": 0.1, "r": r} for r in (2, 4, 6))

register(
    ScalingClaim(
        id="claim-nmm-theorem",
        statement="For n < d^((r - 1/2)/2), where the printed probability is not trivial: lambda_min of K^(L) is at "
        "least c mu_r^2 E|x|^2 with probability at least 1 - delta, c not depending on n and d.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \mu_r(\sigma)^2\,\Omega(d)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, Thm 3.2",
        hypotheses="kernel ntk, depth at least 2; zero mean, data scaling, Lipschitz concentration",
        kernels=("ntk",),
        side="lower",
        applies=_nmm_measurable,
        where=_nmm_inside,
        evaluate=_nmm,
        parameters=_NMM,
        constants="c fitted",
    ),
)

register(
    ScalingClaim(
        id="claim-nmm-beyond",
        statement="What Nguyen, Mondelli & Montúfar conclude, where their theorem does not apply: n >= d^((r - "
        "1/2)/2), or a law without their hypotheses.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \mu_r(\sigma)^2\,\Omega(d)",
        source="not claimed by anybody: the hypotheses of claim-nmm-theorem are sufficient, are they necessary?",
        hypotheses="kernel ntk, depth at least 2, where claim-nmm-theorem does not apply",
        kernels=("ntk",),
        side="lower",
        applies=_nmm_measurable,
        where=lambda context, parameters: not _nmm_inside(context, parameters),
        evaluate=_nmm,
        parameters=_NMM,
        constants="c fitted",
    ),
)

register(
    ScalingClaim(
        id="claim-karhadkar",
        statement="lambda_min of H-infinity is at least c (d (1 + d log(1/s) / log d))^-3 s^2, s the smallest |x_i - "
        "x_j| or |x_i + x_j|, with probability at least 1 - delta.",
        latex=r"\lambda_{\min}(H^\infty) \ge c\,d^{-3}\Bigl(1+\tfrac{d\log(1/s)}{\log d}\Bigr)^{-3} s^2",
        source="Karhadkar, Murray & Montúfar, NeurIPS 2024",
        hypotheses="kernel h-infinity, unit rows, n >= 2, d >= 2",
        kernels=("h-infinity",),
        side="lower",
        applies=lambda context: two_layers(context) and context.n >= 2 and context.d >= 2,
        needs=("coherence",),
        evaluate=_karhadkar,
        parameters=({"delta": 0.1},),
        constants="c fitted",
    ),
)


def _rounding(context: CellContext) -> float:
    """Of a norm that is 1: of its computation, and of a law's own division by it."""
    return (context.d + 16) * UNIT_ROUNDOFF


def _largest_norm(context: CellContext, statistics: Statistics) -> Bound:
    return around(statistics["norm_max"], _rounding(context))


def _smallest_norm(context: CellContext, statistics: Statistics) -> Bound:
    return around(statistics["norm_min"], _rounding(context))


def _one(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return exactly(1.0, statistics)


def _coordinate_bound(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return t with 2 exp(-t**2 / (2 K**2)) = delta."""
    K = sub_gaussian(context)
    assert K is not None
    return exactly(K * math.sqrt(2.0 * math.log(2.0 / float(parameters["delta"]))), statistics)


def _coordinate(context: CellContext, statistics: Statistics) -> Bound:
    return around(abs(statistics["first_coordinate"]), 4.0 * UNIT_ROUNDOFF * abs(statistics["first_coordinate"]))


for _side, _extreme, _quantity in (("upper", "max", _largest_norm), ("lower", "min", _smallest_norm)):
    register(
        DeterministicClaim(
            id=f"law-unit-norm-{_side}",
            statement=f"Every row has norm at {'most' if _side == 'upper' else 'least'} 1.",
            latex=r"\max_i\|x_i\| \le 1" if _side == "upper" else r"\min_i\|x_i\| \ge 1",
            source="declared of the law",
            hypotheses="laws that are declared to have rows of norm 1",
            side=_side,  # type: ignore[arg-type]
            applies=lambda context: context.hypotheses.unit_norm is True,
            needs=("norm_min", "norm_max"),
            evaluate=_one,
            quantity=_quantity,
            hypothesis=True,
        ),
    )

register(
    ProbabilityClaim(
        id="law-sub-gaussian",
        statement="A coordinate of a row is beyond K sqrt(2 log(2 / delta)) with probability at most delta, K the "
        "declared sub-Gaussian parameter: a necessary condition, tried on the first row.",
        latex=r"\mathbb{P}\bigl(|x_1| > K\sqrt{2\log(2/\delta)}\bigr) \le \delta",
        source="Chernoff, both sides",
        hypotheses="laws of mean zero with a declared sub-Gaussian parameter, whose rows keep their norms",
        side="upper",
        applies=lambda context: sub_gaussian(context) is not None,
        needs=("first_coordinate", "norm_min"),
        evaluate=_coordinate_bound,
        parameters=({"delta": 0.1}, {"delta": 0.01}),
        quantity=_coordinate,
        hypothesis=True,
    ),
)
