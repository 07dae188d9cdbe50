"""Probability bounds with explicit constants: a violation may happen, but not more often than is claimed.

delta is the claimed probability of a violation (for two-sided claims, of the event); it is part of the label, so that
a verdict means the same in every study.
"""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import around, exactly, scaled, tangent, two_layers
from ntkmc.theory.claims.coherence import MAX_ORDER, tail_bounds
from ntkmc.theory.kernels import UNIT_ROUNDOFF, kernel_function
from ntkmc.theory.series import hermite_coefficient
from ntkmc.theory.sphere import (
    close_pair_probability,
    coherence_probability,
    coherence_quantile,
    coherence_quantile_closed,
    pair_quantile,
)

_DELTAS = ({"delta": 0.1},)
_TWO_DELTAS = ({"delta": 0.1}, {"delta": 0.5})


def coherence(context: CellContext, statistics: Statistics) -> Bound:
    """The coherence, known to (d + 8) u."""
    return around(statistics["coherence"], (context.d + 8) * UNIT_ROUNDOFF)


def _first_cosine(context: CellContext, statistics: Statistics) -> Bound:
    return around(statistics["first_cosine"], (context.d + 8) * UNIT_ROUNDOFF)


def _delta(parameters: Parameters) -> float:
    return float(parameters["delta"])


def at_most_delta(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    """The bound fails with probability at most delta."""
    return 0.0, _delta(parameters)


def exactly_delta(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    """The event has probability delta."""
    return _delta(parameters), _delta(parameters)


def _pair(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """The exact quantile of |<x, y>|; it is the bound of the closed form at the probability `_pair_claimed`."""
    return exactly(float(pair_quantile(_delta(parameters), context.d)), statistics)


def _pair_closed(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return exactly(math.sqrt(-math.expm1(2.0 * math.log(_delta(parameters)) / (context.d - 1))), statistics)


def _union(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return exactly(float(coherence_quantile(_delta(parameters), context.n, context.d)), statistics)


def _union_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    t = coherence_quantile(_delta(parameters), context.n, context.d)
    low, high = coherence_probability(t, context.n, context.d)
    return float(low), float(high)


def _union_closed(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return exactly(float(coherence_quantile_closed(_delta(parameters), context.n, context.d)), statistics)


def _c2(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return exactly(2.0 * math.sqrt(math.log(context.n / _delta(parameters)) / context.d), statistics)


def _quantile_for_tail(context: CellContext, delta: float) -> float:
    return float(coherence_quantile(delta, context.n, context.d))


def _lmin_sphere(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    bounds = tail_bounds(context, np.array([_quantile_for_tail(context, _delta(parameters))]))[:, 0]
    order = parameters["s"]
    value = float(bounds.max() if order == "best" else bounds[int(order) - 1])
    return around(np.full_like(statistics["coherence"], value), 64.0 * context.n * UNIT_ROUNDOFF)


def _necessary(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """a = 1/2 - h(c), c such that the Chung-Erdős bound on a pair with cosine above c is delta."""
    return exactly(0.5 - float(kernel_function(_close(context, _delta(parameters)), "h-infinity", 2)), statistics)


def _close(context: CellContext, delta: float) -> float:
    """c with close_pair_probability(c) = delta: P p / (1 + (P - 1) p) = delta, p = p_d(c) / 2."""
    pairs = context.pairs
    p = delta / (pairs - (pairs - 1) * delta)
    return float(pair_quantile(min(1.0, 2.0 * p), context.d))


def _necessary_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    """The event lambda_min > a has probability at most 1 - delta."""
    return 0.0, 1.0 - float(close_pair_probability(_close(context, _delta(parameters)), context.n, context.d))


def _nmm_printed(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r, n = int(parameters["r"]), context.n
    a = 1.0 if context.unit_rows else _SHARE
    weight = 2.0 * hermite_coefficient(r) ** 2 * a * (1.0 - n ** (-1.0 / (2 * r - 1)))
    return exactly(weight * _energy(context), statistics)


_SHARE = 0.5
"""a, the share of E|x|**2 that every |x_i|**2 exceeds: any value in (0, 1) is valid."""


def _energy(context: CellContext) -> float:
    if context.energy is None:
        raise ValueError("the claim applies only where E|x|**2 is known")
    return context.energy


def _nmm_printed_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    r, n, d = int(parameters["r"]), context.n, context.d
    norms = 0.0 if context.unit_rows else n * math.exp(-d * (1.0 - _SHARE) ** 2 / 4.0)
    angles = 0.5 * n**2 * math.exp(-0.5 * (d - 1) * n ** (-2.0 / (r - 0.5)))
    return 0.0, min(1.0, norms + angles)


def _nmm_quantile(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Half of delta for the norms, half for the angles; on the sphere all of it for the angles."""
    delta = _delta(parameters)
    if context.unit_rows:
        share, delta_angles = 1.0, delta
    else:
        share = float(stats.chi2.ppf(0.5 * delta / context.n, context.d)) / context.d
        delta_angles = 0.5 * delta
    best = float(tail_bounds(context, np.array([_quantile_for_tail(context, delta_angles)])).max())
    return scaled(exactly(best, statistics), share * _energy(context), 64.0 * context.n * UNIT_ROUNDOFF)


def _sphere(context: CellContext) -> bool:
    return context.uniform_directions and context.n >= 2 and context.d >= 2


def _gaussian_or_sphere(context: CellContext) -> bool:
    """Uniform directions, and norms that are constant or those of a normal law."""
    known = context.unit_rows or (context.law == "gaussian" and context.scale is not None)
    return tangent(context) and _sphere(context) and known and context.energy is not None


_SPHERE = "rows with uniform directions (sphere, gaussian, uniform-ball), n >= 2, d >= 2"

register(
    Claim(
        id="prob-sphere-pair",
        words="Two independent uniform directions have |cosine| above t with probability I_{1-t^2}((d-1)/2, 1/2) "
        "exactly; tried on the first pair, at the t where that is delta.",
        latex=r"\mathbb{P}(|\langle x, y\rangle| > t) = I_{1-t^2}\bigl(\tfrac{d-1}2, \tfrac12\bigr)",
        source="the squared cosine has law Beta(1/2, (d-1)/2)",
        hypotheses=_SPHERE,
        kind="probability",
        side="upper",
        applies=_sphere,
        needs=("first_cosine", "norm_min"),
        evaluate=_pair,
        parameters=_TWO_DELTAS,
        quantity=_first_cosine,
        claimed=exactly_delta,
        trivial=1.0,
    ),
)

register(
    Claim(
        id="prob-sphere-pair-closed",
        words="Two independent uniform directions have |cosine| above t with probability at most (1-t^2)^((d-1)/2).",
        latex=r"\mathbb{P}(|\langle x, y\rangle| > t) \le (1-t^2)^{(d-1)/2} \le e^{-(d-1)t^2/2}",
        source="ratio of incomplete beta integrals; cf. Ball 1997, Lemma 2.2",
        hypotheses=_SPHERE,
        kind="probability",
        side="upper",
        applies=_sphere,
        needs=("first_cosine", "norm_min"),
        evaluate=_pair_closed,
        parameters=_TWO_DELTAS,
        quantity=_first_cosine,
        claimed=at_most_delta,
        trivial=1.0,
    ),
)

register(
    Claim(
        id="prob-sphere-coherence",
        words="With p the exact probability for a pair and P = n(n-1)/2: the coherence exceeds t with probability at "
        "most Pp = delta, and at least max(Pp - binom(P,2) p^2, Pp / (1 + (P-1) p)).",
        latex=r"\max\Bigl\{Pp - \tbinom P2 p^2, \tfrac{Pp}{1+(P-1)p}\Bigr\} \le \mathbb{P}(\rho > t) \le Pp",
        source="union bound; Bonferroni and Chung-Erdős, the cosines being pairwise independent",
        hypotheses=_SPHERE,
        kind="probability",
        side="upper",
        applies=_sphere,
        needs=("coherence",),
        evaluate=_union,
        parameters=_TWO_DELTAS,
        quantity=coherence,
        claimed=_union_claimed,
        trivial=1.0,
    ),
)

register(
    Claim(
        id="prob-sphere-coherence-closed",
        words="The coherence is at most sqrt(1 - (2 delta / (n(n-1)))^(2/(d-1))) with probability at least 1 - delta.",
        latex=r"\rho \le \sqrt{1 - \bigl(\tfrac{2\delta}{n(n-1)}\bigr)^{2/(d-1)}}",
        source="union bound over prob-sphere-pair-closed",
        hypotheses=_SPHERE,
        kind="probability",
        side="upper",
        applies=_sphere,
        needs=("coherence",),
        evaluate=_union_closed,
        parameters=_DELTAS,
        quantity=coherence,
        claimed=at_most_delta,
        trivial=1.0,
    ),
)

register(
    Claim(
        id="prob-sphere-coherence-C2",
        words="The coherence is at most 2 sqrt(log(n/delta) / d) with probability at least 1 - delta.",
        latex=r"\rho \le 2\sqrt{\log(n/\delta)/d}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025, with C = 2; union bound, in fact with delta^2",
        hypotheses=_SPHERE,
        kind="probability",
        side="upper",
        applies=_sphere,
        needs=("coherence",),
        evaluate=_c2,
        parameters=_TWO_DELTAS,
        quantity=coherence,
        claimed=at_most_delta,
        trivial=1.0,
    ),
)

register(
    Claim(
        id="prob-lmin-sphere",
        words="lambda_min of H-infinity is at least T_s(1) - (n-1) T_s(t), t the (1 - delta)-quantile of the "
        "coherence "
        f"by the exact union bound, with probability at least 1 - delta; best: the largest over s <= {MAX_ORDER}.",
        latex=r"\mathbb{P}\bigl(\lambda_{\min}(H^\infty) \ge T_{\ge s}(1) - (n-1)T_{\ge s}(t_\delta)\bigr) \ge "
        r"1-\delta",
        source="det-tail-gershgorin and prob-sphere-coherence; s = 1 is the slides' programme",
        hypotheses="kernel h-infinity, unit rows, uniform directions",
        kind="probability",
        kernels=("h-infinity",),
        side="lower",
        applies=lambda context: two_layers(context) and _sphere(context),
        needs=("coherence",),
        evaluate=_lmin_sphere,
        parameters=({"delta": 0.1, "s": 1}, {"delta": 0.1, "s": 2}, {"delta": 0.1, "s": "best"}),
        claimed=at_most_delta,
    ),
)

register(
    Claim(
        id="prob-nondegenerate-necessary",
        words="lambda_min of H-infinity is at most a = 1/2 - h(c) with probability at least delta, c the cosine that "
        "some pair exceeds with that probability by Chung and Erdős.",
        latex=r"\mathbb{P}(\lambda_{\min}(H^\infty) \le \tfrac12 - h(c)) \ge \frac{Pp}{1+(P-1)p},\quad p = "
        r"\tfrac12 p_d(c)",
        source="det-pair-upper and Chung-Erdős",
        hypotheses="kernel h-infinity, unit rows, uniform directions",
        kind="probability",
        kernels=("h-infinity",),
        side="upper",
        applies=lambda context: two_layers(context) and _sphere(context),
        needs=("norm_min",),
        evaluate=_necessary,
        parameters=_DELTAS,
        claimed=_necessary_claimed,
        trivial=0.5,
    ),
)

register(
    Claim(
        id="prob-nmm-explicit",
        words="lambda_min of K^(L) is at least 2 mu_r^2 a E|x|^2 (1 - n^(-1/(2r-1))), except with probability "
        "n exp(-d (1-a)^2 / 4) + n^2/2 exp(-(d-1)/2 n^(-2/(r-1/2))); a = 1/2, or 1 without the first term for "
        "unit rows.",
        latex=r"\mathbb{P}\Bigl(\lambda_{\min}(K^{(L)}) \ge 2\mu_r^2\,a\,\mathbb{E}\|x\|^2\bigl(1-n^{-1/(2r-1)}\bigr)"
        r"\Bigr) \ge 1 - n e^{-d(1-a)^2/4} - \tfrac{n^2}2 e^{-\frac{d-1}2 n^{-2/(r-0.5)}}",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, Thm 3.2, with explicit constants",
        hypotheses="kernel ntk, depth at least 2, Gaussian rows, or unit rows with uniform directions",
        kind="probability",
        kernels=("ntk",),
        side="lower",
        applies=_gaussian_or_sphere,
        needs=("norm_min",),
        evaluate=_nmm_printed,
        parameters=({"r": 2}, {"r": 4}, {"r": 6}),
        claimed=_nmm_printed_claimed,
    ),
)

register(
    Claim(
        id="prob-nmm-quantile",
        words="lambda_min of K^(L) is at least a E|x|^2 [T_s(1) - (n-1) T_s(t)] with probability at least 1 - "
        "delta: a "
        f"by the quantile of chi-squared, t by the exact union bound, the best s <= {MAX_ORDER}.",
        latex=r"\mathbb{P}\bigl(\lambda_{\min}(K^{(L)}) \ge a\,\mathbb{E}\|x\|^2[T_{\ge s}(1)-(n-1)T_{\ge "
        r"s}(t)]\bigr) "
        r"\ge 1 - n\,\mathbb{P}(\chi^2_d < ad) - P\,p_d(t)",
        source="det-tail-gershgorin-deep; directions of a Gaussian are uniform and independent of norms",
        hypotheses="kernel ntk, depth at least 2, Gaussian rows, or unit rows with uniform directions",
        kind="probability",
        kernels=("ntk",),
        side="lower",
        applies=_gaussian_or_sphere,
        needs=("norm_min",),
        evaluate=_nmm_quantile,
        parameters=_DELTAS,
        claimed=at_most_delta,
    ),
)
