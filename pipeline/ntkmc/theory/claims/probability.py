"""Probability bounds with explicit constants: a trial may violate the bound, with at most the claimed probability.

delta is the claimed probability of a violation (for two-sided claims, of the event). It is part of the label, so that
a verdict has the same meaning in every study. The module also holds the event of a study, claims about the closest
pair of rows and about laws whose rows coincide, and bounds on norms and inner products of rows as drawn.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import numpy as np
from scipy import stats

from ntkmc.numeric import UNIT_ROUNDOFF, Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import (
    Bound,
    Claim,
    DeterministicClaim,
    EventClaim,
    Parameters,
    ProbabilityClaim,
    Quantity,
    ScalingClaim,
    Side,
    Statistics,
)
from ntkmc.theory.claims.bounds import around, at_delta, constant, exactly, scaled
from ntkmc.theory.claims.deterministic import MAX_ORDER, tail_bounds, two_layer_entry
from ntkmc.theory.claims.domains import (
    TWO_LAYERS,
    TWO_LAYERS_PAIRS,
    Condition,
    Domain,
    everywhere,
    has_pairs,
    known,
    second_moment,
)
from ntkmc.theory.kernels.functions import coherence_error, kernel_function
from ntkmc.theory.kernels.series import hermite_coefficient
from ntkmc.theory.predictions.sphere import (
    close_pair_probability,
    coherence_probability,
    coherence_quantile,
    coherence_quantile_closed,
    pair_quantile,
)

# Two levels: a bound with the right order may be wide in the tail and narrow in the middle, or the reverse.
_TWO_DELTAS = ({"delta": 0.1}, {"delta": 0.5})


def _cosine(name: str) -> Quantity:
    """Return the function that reads a cosine, whose error is at most `coherence_error`."""
    return lambda context, statistics: around(statistics[name], coherence_error(context.d))


def _delta(parameters: Parameters) -> float:
    return float(parameters["delta"])


# Uniform directions: cosines, coherence, and lambda_min through the coherence.


_UNIFORM: Final = Domain(
    "rows with uniform directions (sphere, gaussian, uniform-ball), n >= 2, d >= 2",
    condition=lambda context: context.uniform_pairs,
)
_UNIFORM_TWO_LAYERS: Final = TWO_LAYERS.restricted("uniform directions", lambda context: context.uniform_pairs)


def _coherence_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    t = coherence_quantile(_delta(parameters), context.n, context.d)
    low, high = coherence_probability(t, context.n, context.d)
    return float(low), float(high)


def _lmin_sphere(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    t = float(coherence_quantile(_delta(parameters), context.n, context.d))
    bounds = tail_bounds(context, np.array([t]))[:, 0]
    order = parameters["s"]
    value = float(bounds.max() if order == "best" else bounds[int(order) - 1])
    return around(np.full_like(statistics["coherence"], value), 64.0 * context.n * UNIT_ROUNDOFF)


def _close(context: CellContext, delta: float) -> float:
    """Return c with close_pair_probability(c) = delta: P p / (1 + (P - 1) p) = delta, p = p_d(c) / 2."""
    pairs = context.pairs
    p = delta / (pairs - (pairs - 1) * delta)
    return float(pair_quantile(min(1.0, 2.0 * p), context.d))


def _necessary_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    """Return the claimed range: the event lambda_min > a has probability at most 1 - delta."""
    return 0.0, 1.0 - float(close_pair_probability(_close(context, _delta(parameters)), context.n, context.d))


# Upper bounds on the coherence of uniform directions; at 1 or above they are vacuous.
_on_coherence = partial(
    ProbabilityClaim, domain=_UNIFORM, side="upper", needs=("coherence",), quantity=_cosine("coherence"), trivial=1.0
)

_UNIFORM_DIRECTIONS: Final[tuple[Claim, ...]] = (
    ProbabilityClaim(
        id="prob-sphere-pair",
        statement="Two independent uniform directions have |cosine| above t with probability I_{1-t^2}((d-1)/2, 1/2) "
        "exactly; tried on the first pair, at the t where that is delta.",
        latex=r"\mathbb{P}(|\langle x, y\rangle| > t) = I_{1-t^2}\bigl(\tfrac{d-1}2, \tfrac12\bigr)",
        source="the squared cosine has law Beta(1/2, (d-1)/2)",
        domain=_UNIFORM,
        side="upper",
        needs=("first_cosine", "norm_min"),
        evaluate=at_delta(lambda context, delta: float(pair_quantile(delta, context.d))),
        parameters=_TWO_DELTAS,
        quantity=_cosine("first_cosine"),
        claimed=lambda context, parameters: (_delta(parameters), _delta(parameters)),
        trivial=1.0,
    ),
    ProbabilityClaim(
        id="prob-sphere-pair-closed",
        statement="Two independent uniform directions have |cosine| above t with probability at most "
        "(1-t^2)^((d-1)/2).",
        latex=r"\mathbb{P}(|\langle x, y\rangle| > t) \le (1-t^2)^{(d-1)/2} \le e^{-(d-1)t^2/2}",
        source="ratio of incomplete beta integrals; cf. Ball 1997, Lemma 2.2",
        domain=_UNIFORM,
        side="upper",
        needs=("first_cosine", "norm_min"),
        evaluate=at_delta(lambda context, delta: math.sqrt(-math.expm1(2.0 * math.log(delta) / (context.d - 1)))),
        parameters=_TWO_DELTAS,
        quantity=_cosine("first_cosine"),
        trivial=1.0,
    ),
    _on_coherence(
        id="prob-sphere-coherence",
        statement="With p the exact probability for a pair and P = n(n-1)/2: the coherence exceeds t with "
        "probability at most Pp = delta, and at least max(Pp - binom(P,2) p^2, Pp / (1 + (P-1) p)).",
        latex=r"\max\Bigl\{Pp - \tbinom P2 p^2, \tfrac{Pp}{1+(P-1)p}\Bigr\} \le \mathbb{P}(\rho > t) \le Pp",
        source="union bound; Bonferroni and Chung-Erdős, the cosines being pairwise independent",
        evaluate=at_delta(lambda context, delta: float(coherence_quantile(delta, context.n, context.d))),
        parameters=_TWO_DELTAS,
        claimed=_coherence_claimed,
    ),
    _on_coherence(
        id="prob-sphere-coherence-closed",
        statement="The coherence is at most sqrt(1 - (2 delta / (n(n-1)))^(2/(d-1))) with probability at least 1 - "
        "delta.",
        latex=r"\rho \le \sqrt{1 - \bigl(\tfrac{2\delta}{n(n-1)}\bigr)^{2/(d-1)}}",
        source="union bound over prob-sphere-pair-closed",
        evaluate=at_delta(lambda context, delta: float(coherence_quantile_closed(delta, context.n, context.d))),
    ),
    _on_coherence(
        id="prob-sphere-coherence-C2",
        statement="The coherence is at most 2 sqrt(log(n/delta) / d) with probability at least 1 - delta.",
        latex=r"\rho \le 2\sqrt{\log(n/\delta)/d}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025, with C = 2; union bound, in fact with delta^2",
        evaluate=at_delta(lambda context, delta: 2.0 * math.sqrt(math.log(context.n / delta) / context.d)),
        parameters=_TWO_DELTAS,
    ),
    ProbabilityClaim(
        id="prob-lmin-sphere",
        statement="lambda_min of H-infinity is at least T_s(1) - (n-1) T_s(t), t the (1 - delta)-quantile of the "
        "coherence by the exact union bound, with probability at least 1 - delta; best: the largest over s <= "
        f"{MAX_ORDER}.",
        latex=r"\mathbb{P}\bigl(\lambda_{\min}(H^\infty) \ge T_{\ge s}(1) - (n-1)T_{\ge s}(t_\delta)\bigr) \ge "
        r"1-\delta",
        source="det-tail-gershgorin and prob-sphere-coherence; s = 1 is the slides' programme",
        domain=_UNIFORM_TWO_LAYERS,
        side="lower",
        needs=("coherence",),
        evaluate=_lmin_sphere,
        parameters=({"delta": 0.1, "s": 1}, {"delta": 0.1, "s": 2}, {"delta": 0.1, "s": "best"}),
    ),
    ProbabilityClaim(
        id="prob-nondegenerate-necessary",
        statement="lambda_min of H-infinity is at most a = 1/2 - h(c) with probability at least delta, c the cosine "
        "that some pair exceeds with that probability by Chung and Erdős.",
        latex=r"\mathbb{P}(\lambda_{\min}(H^\infty) \le \tfrac12 - h(c)) \ge \frac{Pp}{1+(P-1)p},\quad p = "
        r"\tfrac12 p_d(c)",
        source="det-pair-upper and Chung-Erdős",
        domain=_UNIFORM_TWO_LAYERS,
        side="upper",
        needs=("norm_min",),
        evaluate=at_delta(
            lambda context, delta: 0.5 - float(kernel_function(_close(context, delta), "h-infinity", 2))
        ),
        claimed=_necessary_claimed,
        trivial=0.5,
    ),
)

# The theorem of Nguyen, Mondelli & Montúfar, with explicit constants.

_SHARE = 0.5
"""Share a of E|x|**2 that every |x_i|**2 exceeds; any value in (0, 1) is valid."""


def _gaussian_or_sphere(context: CellContext) -> bool:
    """Return whether directions are uniform, and norms constant or those of a normal law."""
    norms = context.unit_rows or (context.law == "gaussian" and context.scale is not None)
    return context.depth >= 2 and context.uniform_pairs and norms and context.second_moment is not None


_GAUSSIAN_OR_SPHERE: Final = Domain(
    "kernel ntk, depth at least 2, Gaussian rows, or unit rows with uniform directions", ("ntk",), _gaussian_or_sphere
)


def _nmm_explicit(context: CellContext, parameters: Parameters) -> float:
    r, n = int(parameters["r"]), context.n
    a = 1.0 if context.unit_rows else _SHARE
    weight = 2.0 * hermite_coefficient(r) ** 2 * a * (1.0 - n ** (-1.0 / (2 * r - 1)))
    return float(weight * second_moment(context))


def _nmm_explicit_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    r, n, d = int(parameters["r"]), context.n, context.d
    norms = 0.0 if context.unit_rows else n * math.exp(-d * (1.0 - _SHARE) ** 2 / 4.0)
    angles = 0.5 * n**2 * math.exp(-0.5 * (d - 1) * n ** (-2.0 / (r - 0.5)))
    return 0.0, min(1.0, norms + angles)


def _nmm_quantile(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    delta = _delta(parameters)
    # Norms and angles take half of delta each. On the sphere norms are constant, and the angles take all of it.
    if context.unit_rows:
        share, delta_angles = 1.0, delta
    else:
        share = float(stats.chi2.ppf(0.5 * delta / context.n, context.d)) / context.d
        delta_angles = 0.5 * delta
    t = float(coherence_quantile(delta_angles, context.n, context.d))
    best = float(tail_bounds(context, np.array([t])).max())
    return scaled(exactly(best, statistics), share * second_moment(context), 64.0 * context.n * UNIT_ROUNDOFF)


_DEEP_KERNELS: Final[tuple[Claim, ...]] = (
    ProbabilityClaim(
        id="prob-nmm-explicit",
        statement="lambda_min of K^(L) is at least 2 mu_r^2 a E|x|^2 (1 - n^(-1/(2r-1))), except with probability n "
        "exp(-d (1-a)^2 / 4) + n^2/2 exp(-(d-1)/2 n^(-2/(r-1/2))); a = 1/2, or 1 without the first term for unit "
        "rows.",
        latex=r"\mathbb{P}\Bigl(\lambda_{\min}(K^{(L)}) \ge 2\mu_r^2\,a\,\mathbb{E}\|x\|^2\bigl(1-n^{-1/(2r-1)}\bigr)"
        r"\Bigr) \ge 1 - n e^{-d(1-a)^2/4} - \tfrac{n^2}2 e^{-\frac{d-1}2 n^{-2/(r-0.5)}}",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, Thm 3.2, with explicit constants",
        domain=_GAUSSIAN_OR_SPHERE,
        side="lower",
        needs=("norm_min",),
        evaluate=constant(_nmm_explicit),
        parameters=({"r": 2}, {"r": 4}, {"r": 6}),
        claimed=_nmm_explicit_claimed,
    ),
    ProbabilityClaim(
        id="prob-nmm-quantile",
        statement="lambda_min of K^(L) is at least a E|x|^2 [T_s(1) - (n-1) T_s(t)] with probability at least 1 - "
        f"delta: a by the quantile of chi-squared, t by the exact union bound, the best s <= {MAX_ORDER}.",
        latex=r"\mathbb{P}\bigl(\lambda_{\min}(K^{(L)}) \ge a\,\mathbb{E}\|x\|^2[T_{\ge s}(1)-(n-1)T_{\ge "
        r"s}(t)]\bigr) \ge 1 - n\,\mathbb{P}(\chi^2_d < ad) - P\,p_d(t)",
        source="det-tail-gershgorin-deep; directions of a Gaussian are uniform and independent of norms",
        domain=_GAUSSIAN_OR_SPHERE,
        side="lower",
        needs=("norm_min",),
        evaluate=_nmm_quantile,
    ),
)

NONDEGENERATE: Final = EventClaim(
    id="claim-nondegenerate",
    statement="The data distribution is (lambda_0, delta, n)-non-degenerate: lambda_min >= lambda_0 with probability "
    "at least 1 - delta. Supported or refuted by an interval that stays valid while one looks.",
    latex=r"\mathbb{P}(\lambda_{\min} \ge \lambda_0) \ge 1 - \delta",
    source="Arora, Du, Hu, Li & Wang, ICML 2019, Def. 5.1",
    domain=Domain("any cell; lambda_0 and delta are the study's"),
    needs=("lambda_min_lower", "lambda_min_upper"),
)

# The closest pair of rows, and laws whose rows coincide.


def _angle_bound(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    def bound(cosine: Floats) -> Floats:
        theta = np.arccos(cosine)
        return np.asarray(theta / (2.0 * math.pi) + theta**2 / 4.0)

    largest = _cosine("cosine_max")(context, statistics)
    # Near 1, arccos maps an error to its square root: the ends of the cosine are widened, not those of the angle.
    low, high = bound(np.clip(largest.upper, -1.0, 1.0)), bound(np.clip(largest.lower, -1.0, 1.0))
    return Bound(low * (1.0 - 64.0 * UNIT_ROUNDOFF), high * (1.0 + 64.0 * UNIT_ROUNDOFF))


def _largest_signed(context: CellContext, statistics: Statistics) -> Bound:
    """Return the largest off-diagonal entry of H-infinity, with its sign; h increases where it is positive."""
    largest = _cosine("cosine_max")(context, statistics)
    low, high = (kernel_function(np.clip(end, -1.0, 1.0), "h-infinity", 2) for end in (largest.lower, largest.upper))
    # Where all cosines are negative, h of the largest need not be the largest: it is at most 0.
    negative = largest.upper < 0.0
    return Bound(np.where(negative, -0.5, low - 1e-14), np.where(negative, 0.0, high + 1e-14))


def coinciding(n: int, values: float) -> float:
    """Return 1 - prod over i < n of (1 - i / values), the probability of equal values among n draws.

    >>> round(coinciding(23, 365.0), 3)
    0.507
    """
    if n > values:
        return 1.0
    return -math.expm1(sum(math.log1p(-i / values) for i in range(1, n)))


def _signs(context: CellContext) -> bool:
    """Return whether rows are signs that coincide with a probability that trials can distinguish from 0."""
    if context.law != "rademacher" or context.n < 2:
        return False
    # 2**d overflows from d = 1024 on; no n is large enough for two of 2**1000 rows to coincide.
    return coinciding(context.n, 2.0 ** min(context.d, 1000)) >= 1e-9


def _coincidence(id: str, relation: str, count: str, exponent: str, opposite: bool, statistic: str) -> Claim:
    """Return the claim about rows of signs that are equal, or with `opposite` equal up to sign.

    `count` is the number of different rows in plain text, and `exponent` that of its inverse in LaTeX.
    """

    def claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
        p = coinciding(context.n, 2.0 ** (context.d - 1 if opposite else context.d))
        return p, p

    return ProbabilityClaim(
        id=id,
        statement=f"Two of n rows of signs are {relation} with probability 1 - prod over i < n of (1 - i / {count}), "
        "exactly: an atom of the law of lambda_min, which is 0 where two rows are equal.",
        latex=rf"1 - \prod_{{i=1}}^{{n-1}}\bigl(1 - i\,2^{{{exponent}}}\bigr)",
        source="the birthday problem",
        domain=Domain("rademacher rows, n >= 2, where that is not below 1e-9", condition=_signs),
        side="upper",
        needs=(statistic, "norm_min"),
        # The midpoint of 1 and 1 - 2 / d, the largest cosine of two different vectors of signs.
        evaluate=constant(lambda context, parameters: 1.0 - 1.0 / context.d),
        parameters=({},),
        quantity=_cosine(statistic),
        claimed=claimed,
    )


def _angle_ratio(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return theta_min n^(2 / (d - 1)); its rounding error is negligible against its fluctuations."""
    theta = np.arccos(np.clip(statistics["cosine_max"], -1.0, 1.0))
    value = np.asarray(theta * context.n ** (2.0 / (context.d - 1)))
    return Bound(value, value)


def _smallest_angle(side: Side, bound: str, relation: str, letter: str) -> Claim:
    return ScalingClaim(
        id=f"claim-angle-{side}",
        statement=f"At fixed d, the smallest angle between n uniform directions is at {bound} {letter} n^(-2/(d-1)) "
        "with probability at least 1 - delta.",
        latex=rf"\theta_{{\min}} {relation} {letter}\,n^{{-2/(d-1)}}",
        source="Cai, Fan & Jiang, JMLR 14 (2013)",
        domain=Domain(
            "rows with uniform directions, n >= 2, 2 <= d <= 10",
            # At larger d the order n^(-2/(d-1)) is nearly constant over the n of a study.
            condition=lambda context: context.uniform_directions and context.n >= 2 and 2 <= context.d <= 10,
        ),
        side=side,
        needs=("cosine_max",),
        evaluate=_angle_ratio,
        parameters=({"delta": 0.1},),
        constants=f"{letter} fitted",
        along=("n",),
    )


_CLOSEST_PAIRS: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="det-pair-angle",
        statement="lambda_min of H-infinity is at most theta / (2 pi) + theta^2 / 4, theta the smallest angle "
        "between two rows.",
        latex=r"\lambda_{\min}(H^\infty) \le \frac{\theta_{\min}}{2\pi} + \frac{\theta_{\min}^2}4",
        source="corollary of det-pair-upper",
        domain=TWO_LAYERS_PAIRS,
        side="upper",
        needs=("cosine_max",),
        evaluate=_angle_bound,
        trivial=0.5,
    ),
    DeterministicClaim(
        id="printed/det-offdiag",
        statement="Every off-diagonal entry of H-infinity is at most h(coherence), without absolute value (erratum "
        "E4): true as printed, but Gershgorin's theorem needs it for the absolute value, which det-offdiag states.",
        latex=r"H^\infty_{ij} \le h(\rho)",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025, as printed",
        domain=TWO_LAYERS_PAIRS,
        side="upper",
        needs=("cosine_max", "coherence"),
        evaluate=two_layer_entry,
        quantity=_largest_signed,
    ),
    _coincidence("prob-rademacher-equal", "equal", "2^d", "-d", False, "cosine_max"),
    _coincidence("prob-rademacher-parallel", "equal up to sign", "2^(d-1)", "1-d", True, "coherence"),
    _smallest_angle("upper", "most", r"\le", "C"),
    _smallest_angle("lower", "least", r"\ge", "c"),
)

# Norms and inner products of rows as drawn.


def sub_gaussian(context: CellContext) -> float | None:
    """Return the sub-Gaussian parameter K of the normalized rows; None where there is none."""
    if context.hypotheses.sub_gaussian is None or context.scale is None or not context.hypotheses.zero_mean:
        return None
    return context.hypotheses.sub_gaussian / context.scale


def _scale(context: CellContext) -> float:
    return known(context.scale, "scale of the rows")


def _largest_inner_product(context: CellContext, statistics: Statistics) -> Bound:
    return around(statistics["inner_max"], (context.d + 16) * UNIT_ROUNDOFF * statistics["norm_max"] ** 2)


def _keeps_norms(law: str, condition: Condition = everywhere) -> Domain:
    return Domain(
        f"{law} rows that keep their norms (normalize: mean or none)",
        condition=lambda context: context.law == law and context.scale is not None and condition(context),
    )


def _square(name: str) -> Quantity:
    """Return the function that squares a norm."""

    def quantity(context: CellContext, statistics: Statistics) -> Bound:
        value = statistics[name] ** 2
        return around(value, 8.0 * UNIT_ROUNDOFF * value)

    return quantity


def _chi_square_below(context: CellContext, delta: float) -> float:
    d, x = context.d, math.log(context.n / delta)
    return (d - 2.0 * math.sqrt(d * x)) / _scale(context) ** 2


def _chi_square_above(context: CellContext, delta: float) -> float:
    d, x = context.d, math.log(context.n / delta)
    return (d + 2.0 * math.sqrt(d * x) + 2.0 * x) / _scale(context) ** 2


def _log_pairs(context: CellContext, delta: float) -> float:
    """Return log(n (n - 1) / delta): two tails for each of n (n - 1) / 2 pairs."""
    return math.log(context.n * (context.n - 1) / delta)


def _sub_gaussian_inner(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    K = known(sub_gaussian(context), "sub-Gaussian parameter")
    norms = exactly(math.sqrt(2.0 * _log_pairs(context, _delta(parameters))) * K, statistics)
    return scaled(norms, statistics["norm_max"])


def _bernstein(context: CellContext, delta: float) -> float:
    level, d = _log_pairs(context, delta), context.d
    return (level + math.sqrt(level**2 + 2.0 * d * level)) / _scale(context) ** 2


def _hoeffding(context: CellContext, delta: float) -> float:
    return math.sqrt(2.0 * context.d * _log_pairs(context, delta)) / _scale(context) ** 2


_ROWS_AS_DRAWN: Final[tuple[Claim, ...]] = (
    ProbabilityClaim(
        id="prob-chi2-lower",
        statement="Every |x_i|^2 is at least d - 2 sqrt(d x), x = log(n / delta), with probability at least 1 - "
        "delta.",
        latex=r"\min_i\|g_i\|^2 \ge d - 2\sqrt{dx},\quad x = \log(n/\delta)",
        source="Laurent & Massart, Ann. Statist. 2000, Lemma 1, and a union over rows",
        domain=_keeps_norms("gaussian"),
        side="lower",
        needs=("norm_min", "norm_min"),
        evaluate=at_delta(_chi_square_below),
        quantity=_square("norm_min"),
    ),
    ProbabilityClaim(
        id="prob-chi2-upper",
        statement="Every |x_i|^2 is at most d + 2 sqrt(d x) + 2 x, x = log(n / delta), with probability at least 1 - "
        "delta.",
        latex=r"\max_i\|g_i\|^2 \le d + 2\sqrt{dx} + 2x,\quad x = \log(n/\delta)",
        source="Laurent & Massart, Ann. Statist. 2000, Lemma 1, and a union over rows",
        domain=_keeps_norms("gaussian"),
        side="upper",
        needs=("norm_min", "norm_max"),
        evaluate=at_delta(_chi_square_above),
        quantity=_square("norm_max"),
    ),
    ProbabilityClaim(
        id="prob-subgaussian-inner",
        statement="With K the sub-Gaussian parameter of the rows: every |<x_i, x_j>| is at most K sqrt(2 "
        "log(n(n-1)/delta)) max |x_k| with probability at least 1 - delta. No isotropy, and no 1/sqrt(d).",
        latex=r"|\langle X_i, X_j\rangle| \le K\sqrt{2\log\tfrac{n(n-1)}\delta}\,\max_k\|X_k\|",
        source="conditioning on X_j and a union over pairs; corrects erratum E3 of the slides",
        domain=Domain(
            "independent rows of mean zero with a declared sub-Gaussian parameter, that keep their norms",
            condition=lambda context: (
                sub_gaussian(context) is not None and context.hypotheses.independent_rows and context.n >= 2
            ),
        ),
        side="upper",
        needs=("inner_max", "norm_min", "norm_max"),
        evaluate=_sub_gaussian_inner,
        quantity=_largest_inner_product,
    ),
    ProbabilityClaim(
        id="bernstein-inner",
        statement="Every |<g_i, g_j>| is at most l + sqrt(l^2 + 2 d l), l = log(n(n-1)/delta), with probability at "
        "least 1 - delta.",
        latex=r"\max_{i<j}|\langle g_i, g_j\rangle| \le \ell + \sqrt{\ell^2 + 2d\ell},\quad "
        r"\ell = \log\tfrac{n(n-1)}\delta",
        source="sub-gamma law of a product of normals; Boucheron, Lugosi & Massart 2013, Sec. 2.4",
        domain=_keeps_norms("gaussian", has_pairs),
        side="upper",
        needs=("inner_max", "norm_min", "norm_max"),
        evaluate=at_delta(_bernstein),
        quantity=_largest_inner_product,
    ),
    ProbabilityClaim(
        id="bernstein-inner-rademacher",
        statement="Every |<x_i, x_j>| is at most sqrt(2 d log(n(n-1)/delta)) with probability at least 1 - delta.",
        latex=r"\max_{i<j}|\langle x_i, x_j\rangle| \le \sqrt{2d\log\tfrac{n(n-1)}\delta}",
        source="Hoeffding 1963",
        domain=_keeps_norms("rademacher", has_pairs),
        side="upper",
        needs=("inner_max", "norm_min", "norm_max"),
        evaluate=at_delta(_hoeffding),
        quantity=_largest_inner_product,
    ),
)

PROBABILITY_CLAIMS: Final = (*_UNIFORM_DIRECTIONS, *_DEEP_KERNELS, NONDEGENERATE, *_CLOSEST_PAIRS, *_ROWS_AS_DRAWN)
