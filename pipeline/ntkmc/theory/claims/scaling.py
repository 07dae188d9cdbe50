"""Scaling claims with unspecified constants, and the declared hypotheses on the rows of a law.

A claim "Y <= C g with probability at least 1 - delta" is tested by the (1 - delta)-quantile of Y / g in each cell. The
claim is false as published if this quantile grows with n or d. Hypotheses are tested on the draws of a study.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ntkmc.numeric import UNIT_ROUNDOFF, Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import (
    Bound,
    Claim,
    DeterministicClaim,
    Parameters,
    ProbabilityClaim,
    ScalingClaim,
    Side,
    Statistics,
)
from ntkmc.theory.claims.bounds import around, at_delta, constant, enclosed
from ntkmc.theory.claims.deterministic import separation
from ntkmc.theory.claims.domains import TWO_LAYERS, Condition, Domain, everywhere, known, second_moment
from ntkmc.theory.claims.probability import sub_gaussian
from ntkmc.theory.distributions.normalization import standard_scale
from ntkmc.theory.kernels.series import hermite_coefficient

FUNCTIONS: Final = {
    "coordinate": ("first_coordinate", "x_1"),
    "norm": ("first_norm", "|x|"),
    "largest": ("largest_coordinate", "max_i x_i"),
    "cube": ("cube_distance", "the distance to the corners of the cube with sum <= 0"),
}
"""Lipschitz functions with constant 1 whose concentration is tested, with the statistic of each."""


def _exact(value: Floats) -> Bound:
    """Return an enclosure of a ratio whose rounding error is negligible against its fluctuations."""
    return Bound(value, value)


def _log(context: CellContext, parameters: Parameters) -> float:
    return math.log(context.n / float(parameters["delta"]))


# Coherence and inner products.


def _coherence(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _exact(statistics["coherence"] / math.sqrt(_log(context, parameters) / context.d))


def inner_product_ratio(context: CellContext, statistics: Statistics, parameters: Parameters) -> Floats:
    """Return max |<x_i, x_j>| / (sqrt(log(n / delta)) max |x_k|) in units where E|x|**2 = d, (trials,)."""
    root = math.sqrt(_log(context, parameters))
    return np.asarray(
        statistics["inner_max"] / (root * statistics["norm_max"]) * standard_scale(context.second_moment, context.d)
    )


def _has_sub_gaussian_rows(context: CellContext) -> bool:
    law = context.hypotheses
    return sub_gaussian(context) is not None and law.independent_rows and bool(law.isotropic) and context.n >= 2


SUB_GAUSSIAN: Final = Domain(
    "independent isotropic rows of mean zero with a sub-Gaussian parameter, that keep their norms",
    condition=_has_sub_gaussian_rows,
)


def _twice_sub_gaussian(context: CellContext, parameters: Parameters) -> float:
    """Return 2 K, K the sub-Gaussian parameter of the rows in units where Cov x = I."""
    K = sub_gaussian(context)
    return math.inf if K is None else 2.0 * K * standard_scale(context.second_moment, context.d)


_COHERENCE: Final[tuple[Claim, ...]] = (
    ScalingClaim(
        id="claim-coherence-sphere",
        statement="The coherence of uniform directions is at most C sqrt(log(n/delta) / d) with probability at least "
        "1 - delta. C = 2 is proved (prob-sphere-coherence-C2), and optimal for n to infinity with log n = o(d).",
        latex=r"\rho \le C\sqrt{\log(n/\delta)/d}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025; Cai & Jiang, J. Multivariate Anal. 2012",
        domain=Domain(
            "rows with uniform directions, n >= 2",
            condition=lambda context: context.uniform_directions and context.n >= 2,
        ),
        side="upper",
        needs=("coherence",),
        evaluate=_coherence,
        parameters=({"delta": 0.1},),
        constants="C fitted",
        ceiling=lambda context, parameters: 2.0,
        proved=lambda context: True,
        along=("n", "d"),
    ),
    ScalingClaim(
        id="claim-coherence-subgaussian",
        statement="Isotropic sub-Gaussian rows: max |<x_i, x_j>| is at most C sqrt(log(n/delta)) max |x_k| with "
        "probability at least 1 - delta, in units where Cov x = I; C = 2 K suffices.",
        latex=r"\max_{i<j}|\langle X_i, X_j\rangle| \le C\sqrt{\log(n/\delta)}\,\max_k\|X_k\|",
        source="prob-subgaussian-inner; corrects erratum E3 of the slides",
        domain=SUB_GAUSSIAN,
        side="upper",
        needs=("inner_max", "norm_max"),
        evaluate=lambda context, statistics, parameters: _exact(inner_product_ratio(context, statistics, parameters)),
        parameters=({"delta": 0.1},),
        constants="C fitted",
        ceiling=_twice_sub_gaussian,
        proved=lambda context: True,
        along=("n", "d"),
    ),
)

# Hypotheses of theorems on the law of the rows.


def _keeping_norms(hypotheses: str, condition: Condition = everywhere) -> Domain:
    """Return the domain of laws whose rows keep their norms: a hypothesis refers to rows as drawn."""
    return Domain(hypotheses, condition=lambda context: context.scale is not None and condition(context))


def _moment(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    unit = standard_scale(context.second_moment, context.d) / math.sqrt(context.d)
    match parameters["moment"]:
        case "norm":
            return _exact(statistics["norm_mean"] * unit)
        case "square":
            return _exact(statistics["norm_square"] * unit**2)
    # The trace of the sample covariance, which is non-negative up to rounding.
    return _exact(np.maximum((statistics["norm_square"] - statistics["mean_square"]) * unit**2, 0.0))


def _at_most_second_moment(context: CellContext, parameters: Parameters) -> float:
    """Return proved bounds for E|x|**2 = d: (E|x|)**2 <= E|x|**2, and E|x - E x|**2 <= E|x|**2; rounding apart."""
    return math.inf if context.second_moment is None else 1.0 + 1e-9


def _of_function(context: CellContext, statistics: Statistics, name: str) -> Floats:
    statistic = FUNCTIONS[name][0]
    # The distance to the cube is measured in units of the law's own scale.
    factor = 1.0 if statistic == "cube_distance" else standard_scale(context.second_moment, context.d)
    return np.asarray(statistics[statistic] * factor)


def lipschitz_functions(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return f(x) of the first row, x scaled so that E|x|**2 = d.

    The shape is (trials,) if the parameter f is given; otherwise (functions, trials), for all non-constant functions.
    """
    if "f" in parameters:
        return _exact(_of_function(context, statistics, str(parameters["f"])))
    return _exact(np.array([_of_function(context, statistics, name) for name in _functions(context, parameters)]))


def _fluctuates(context: CellContext, parameters: Parameters) -> bool:
    """Return whether f(x) varies by more than rounding, unlike the norm of unit rows."""
    return not (context.unit_rows and parameters["f"] == "norm")


def _functions(context: CellContext, parameters: Parameters) -> list[str]:
    """Return the names of the functions of an instance: the parameter f, or all that fluctuate."""
    return [str(parameters["f"])] if "f" in parameters else [f for f in FUNCTIONS if _fluctuates(context, {"f": f})]


def compares_tails(context: CellContext, parameters: Parameters) -> tuple[bool, ...]:
    """Return for each function whether its tail is compared with that of a normal law.

    Only that of a coordinate is, and only if the law is not proved to be sub-Gaussian: after a proof, a larger
    constant is the only explanation (an atom at 0 looks like a heavy tail). A maximum or a norm may well have Gumbel's
    or an exponential law with a scale that shrinks with d.
    """
    unproved = context.hypotheses.sub_gaussian is None
    return tuple(name == "coordinate" and unproved for name in _functions(context, parameters))


def is_lipschitz(context: CellContext) -> bool | None:
    """Return whether concentration of Lipschitz functions is proved, disproved or unknown for the law."""
    return context.hypotheses.lipschitz


def _mean_square(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return |mean of the rows|**2, which is not negative, less its mean if E x = 0, over E|x|**2.

    Its mean is that of the inner product of two rows: |x_1 + ... + x_n|**2 = sum |x_i|**2 + n (n - 1) mean_square. The
    inner product itself has no lower bound, and heavy tails could make its mean small.
    """
    unit = second_moment(context)
    return _exact(statistics["mean_square"] / unit + (statistics["norm_square"] / unit - 1.0) / (context.n - 1))


def _isotropy(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _exact(statistics["covariance_square"] * context.d / second_moment(context) ** 2)


def _independent(context: CellContext) -> bool:
    """Return whether rows are independent, at least two, with a second moment."""
    return context.second_moment is not None and context.hypotheses.independent_rows and context.n >= 2


_STATISTICS: Final = tuple(statistic for statistic, _ in FUNCTIONS.values())
_FITTED: Final = "1 / sqrt(2 c) fitted"


def log_concave_claim(
    id: str, statement: str, latex: str, source: str, hypotheses: str, condition: Condition
) -> Claim:
    """Return a claim that log-concave laws which satisfy a condition concentrate Lipschitz functions."""
    return ScalingClaim(
        id=id,
        statement=statement,
        latex=latex,
        source=source,
        domain=_keeping_norms(hypotheses, lambda context: bool(context.hypotheses.log_concave) and condition(context)),
        side="upper",
        needs=_STATISTICS,
        evaluate=lipschitz_functions,
        constants=_FITTED,
        functional="tail",
        tails=compares_tails,
        proved=is_lipschitz,
    )


_HYPOTHESES: Final[tuple[Claim, ...]] = (
    ScalingClaim(
        id="claim-data-scaling",
        statement="E|x| = Theta(sqrt d), E|x|^2 = Theta(d), E|x - Ex|^2 = Omega(d), once x is scaled so that E|x|^2 "
        "= d where that exists: the three, in units of sqrt d and d, do not decay with d; by Cauchy-Schwarz none "
        "exceeds 1.",
        latex=r"\mathbb{E}\|x\| = \Theta(\sqrt d),\ \mathbb{E}\|x\|^2 = \Theta(d),\ "
        r"\mathbb{E}\|x - \mathbb{E}x\|^2 = \Omega(d)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, Assumption 2.1",
        domain=_keeping_norms("any law whose rows keep their norms, n >= 2", lambda context: context.n >= 2),
        side="upper",
        needs=("norm_mean", "norm_square", "mean_square"),
        evaluate=_moment,
        parameters=({"moment": "norm"}, {"moment": "square"}, {"moment": "variance"}),
        constants="fitted",
        functional="mean",
        ceiling=_at_most_second_moment,
        proved=lambda context: context.hypotheses.norm_scaling,
        hypothesis=True,
    ),
    ScalingClaim(
        id="claim-lipschitz-concentration",
        statement="There is c with P(|f(x) - E f| > t) <= 2 exp(-c t^2 / |f|_Lip^2) for all Lipschitz f, independent "
        "of d, x scaled so that E|x|^2 = d. Necessary conditions: the sub-Gaussian scale of four functions does not "
        "grow with d, and not along the tail.",
        latex=r"\exists c\ \forall f, t:\ \mathbb{P}(|f(x)-\mathbb{E}f| > t) \le 2e^{-ct^2/\|f\|_{\mathrm{Lip}}^2}",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, Assumption 2.2",
        domain=_keeping_norms(
            "any law whose rows keep their norms; f: " + "; ".join(formula for _, formula in FUNCTIONS.values())
        ),
        side="upper",
        where=_fluctuates,
        needs=_STATISTICS,
        evaluate=lipschitz_functions,
        parameters=tuple({"f": name} for name in FUNCTIONS),
        constants=_FITTED,
        functional="tail",
        tails=compares_tails,
        proved=is_lipschitz,
        hypothesis=True,
    ),
    log_concave_claim(
        "claim-lipschitz-log-concave",
        "A log-concave law for which more is known (curvature bounded below, a bounded product, an image of one) "
        "concentrates Lipschitz functions like a Gaussian: tried on the log-concave laws that are declared to, "
        "through all four functions at once.",
        r"x \sim e^{-V},\ \nabla^2 V \succeq cI \;\Rightarrow\; \exists c'\ \forall f, t:\ "
        r"\mathbb{P}(|f(x)-\mathbb{E}f| > t) \le 2e^{-c't^2/\|f\|_{\mathrm{Lip}}^2}",
        "Bakry & Émery 1985, log-Sobolev inequalities; corrects erratum E8 of the slides",
        "log-concave laws with proved Lipschitz concentration, whose rows keep their norms",
        lambda context: bool(context.hypotheses.lipschitz),
    ),
    ScalingClaim(
        id="law-zero-mean",
        statement="E x = 0: the mean inner product of two rows over E|x|^2, which estimates |E x|^2 / E|x|^2, is 0.",
        latex=r"\|\mathbb{E}x\|^2 / \mathbb{E}\|x\|^2 = 0",
        source="hypothesis of Nguyen, Mondelli & Montúfar, ICML 2021, Thm 3.2",
        domain=Domain(
            "any law with independent rows that keep their norms and a second moment, n >= 2", condition=_independent
        ),
        side="upper",
        needs=("mean_square", "norm_square"),
        evaluate=_mean_square,
        constants="0",
        functional="mean",
        equal=0.0,
        least=lambda context: -1.0 / (context.n - 1),
        hypothesis=True,
    ),
    ScalingClaim(
        id="law-isotropic",
        statement="Cov x is a multiple of the identity: the mean squared inner product of two rows, in units of "
        "(E|x|^2)^2 / d, which estimates d tr(Cov^2) / (tr Cov)^2 for rows of mean zero, is 1.",
        latex=r"d\,\operatorname{tr}(\Sigma^2)/(\operatorname{tr}\Sigma)^2 = 1",
        source="Cauchy-Schwarz: at least 1, with equality for multiples of the identity alone",
        domain=Domain(
            "laws of mean zero with independent rows that keep their norms and a second moment, n >= 2",
            condition=lambda context: _independent(context) and bool(context.hypotheses.zero_mean),
        ),
        side="upper",
        needs=("covariance_square",),
        evaluate=_isotropy,
        constants="1",
        functional="mean",
        equal=1.0,
        hypothesis=True,
    ),
)

# Orders of lambda_min.


def _nmm(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    # The claimed order is E|x|**2 mu_r**2; the ratio is compared over n and d.
    unit = second_moment(context) * hermite_coefficient(int(parameters["r"])) ** 2
    smallest = enclosed(statistics, "lambda_min")
    return Bound(smallest.lower / unit, smallest.upper / unit)


def _has_nmm_hypotheses(context: CellContext, parameters: Parameters) -> bool:
    """Return whether the hypotheses hold, in the regime where the printed probability is not trivial for large d."""
    law = context.hypotheses
    declared = bool(law.zero_mean and law.norm_scaling and law.lipschitz) and law.independent_rows
    # Hypotheses refer to rows as drawn. Rows divided by their norms keep them if their directions are uniform.
    declared &= context.scale is not None or context.uniform_directions
    return declared and context.n < context.d ** ((float(parameters["r"]) - 0.5) / 2.0)


def _nmm_claim(id: str, statement: str, source: str, hypotheses: str, inside: bool) -> Claim:
    """Return the claim about the order of lambda_min inside or outside the hypotheses of the theorem."""
    return ScalingClaim(
        id=id,
        statement=statement,
        latex=r"\lambda_{\min}(K^{(L)}) \ge \mu_r(\sigma)^2\,\Omega(d)",
        source=source,
        domain=Domain(
            f"kernel ntk, depth at least 2{hypotheses}",
            ("ntk",),
            lambda context: context.depth >= 2 and context.second_moment is not None,
        ),
        side="lower",
        where=lambda context, parameters: _has_nmm_hypotheses(context, parameters) == inside,
        evaluate=_nmm,
        parameters=tuple({"delta": 0.1, "r": r} for r in (2, 4, 6)),
        constants="c fitted",
    )


def _karhadkar(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    d = context.d
    apart = separation(statistics["coherence"])
    with np.errstate(divide="ignore", invalid="ignore"):  # parallel rows: the claim is vacuous, the ratio is infinite
        unit = (d * (1.0 + d * np.log(1.0 / apart).clip(min=0.0) / math.log(d))) ** -3.0 * apart**2
        smallest = enclosed(statistics, "lambda_min")
        low, high = (np.where(apart > 0.0, end / unit, np.inf) for end in (smallest.lower, smallest.upper))
    return Bound(low, high)


_ORDERS: Final[tuple[Claim, ...]] = (
    _nmm_claim(
        "claim-nmm-theorem",
        "For n < d^((r - 1/2)/2), where the printed probability is not trivial: lambda_min of K^(L) is at least c "
        "mu_r^2 E|x|^2 with probability at least 1 - delta, c not depending on n and d.",
        "Nguyen, Mondelli & Montúfar, ICML 2021, Thm 3.2",
        "; zero mean, data scaling, Lipschitz concentration",
        True,
    ),
    _nmm_claim(
        "claim-nmm-beyond",
        "What Nguyen, Mondelli & Montúfar conclude, where their theorem does not apply: n >= d^((r - 1/2)/2), or a "
        "law without their hypotheses.",
        "not claimed by anybody: the hypotheses of claim-nmm-theorem are sufficient, are they necessary?",
        ", where claim-nmm-theorem does not apply",
        False,
    ),
    ScalingClaim(
        id="claim-karhadkar",
        statement="lambda_min of H-infinity is at least c (d (1 + d log(1/s) / log d))^-3 s^2, s the smallest |x_i - "
        "x_j| or |x_i + x_j|, with probability at least 1 - delta.",
        latex=r"\lambda_{\min}(H^\infty) \ge c\,d^{-3}\Bigl(1+\tfrac{d\log(1/s)}{\log d}\Bigr)^{-3} s^2",
        source="Karhadkar, Murray & Montúfar, NeurIPS 2024",
        domain=TWO_LAYERS.restricted("n >= 2, d >= 2", lambda context: context.n >= 2 and context.d >= 2),
        side="lower",
        needs=("coherence",),
        evaluate=_karhadkar,
        parameters=({"delta": 0.1},),
        constants="c fitted",
    ),
)

# Properties that a law declares of its rows.


def _unit_norm(side: Side, word: str, extreme: str, relation: str) -> Claim:
    def norm(context: CellContext, statistics: Statistics) -> Bound:
        # The error of the computed norm, and of a law's own division by it.
        return around(statistics[f"norm_{extreme}"], (context.d + 16) * UNIT_ROUNDOFF)

    return DeterministicClaim(
        id=f"law-unit-norm-{side}",
        statement=f"Every row has norm at {word} 1.",
        latex=rf"\{extreme}_i\|x_i\| {relation} 1",
        source="declared of the law",
        domain=Domain(
            "laws that are declared to have rows of norm 1",
            condition=lambda context: context.hypotheses.unit_norm is True,
        ),
        side=side,
        needs=("norm_min", "norm_max"),
        evaluate=constant(lambda context, parameters: 1.0),
        quantity=norm,
        hypothesis=True,
    )


def _coordinate_bound(context: CellContext, delta: float) -> float:
    """Return t with 2 exp(-t**2 / (2 K**2)) = delta."""
    return known(sub_gaussian(context), "sub-Gaussian parameter") * math.sqrt(2.0 * math.log(2.0 / delta))


def _coordinate(context: CellContext, statistics: Statistics) -> Bound:
    size = abs(statistics["first_coordinate"])
    return around(size, 4.0 * UNIT_ROUNDOFF * size)


_DECLARED: Final[tuple[Claim, ...]] = (
    _unit_norm("upper", "most", "max", r"\le"),
    _unit_norm("lower", "least", "min", r"\ge"),
    ProbabilityClaim(
        id="law-sub-gaussian",
        statement="A coordinate of a row is beyond K sqrt(2 log(2 / delta)) with probability at most delta, K the "
        "declared sub-Gaussian parameter: a necessary condition, tried on the first row.",
        latex=r"\mathbb{P}\bigl(|x_1| > K\sqrt{2\log(2/\delta)}\bigr) \le \delta",
        source="Chernoff, both sides",
        domain=Domain(
            "laws of mean zero with a declared sub-Gaussian parameter, whose rows keep their norms",
            condition=lambda context: sub_gaussian(context) is not None,
        ),
        side="upper",
        needs=("first_coordinate", "norm_min"),
        evaluate=at_delta(_coordinate_bound),
        parameters=({"delta": 0.1}, {"delta": 0.01}),
        quantity=_coordinate,
        hypothesis=True,
    ),
)

SCALING_CLAIMS: Final = (*_COHERENCE, *_HYPOTHESES, *_ORDERS, *_DECLARED)
