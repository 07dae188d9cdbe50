"""Probability bounds on norms and inner products of rows that keep their norms."""

from __future__ import annotations

import math

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import around, exactly, scaled
from ntkmc.theory.claims.probability import at_most_delta
from ntkmc.theory.kernels import UNIT_ROUNDOFF

_DELTAS = ({"delta": 0.1},)


def largest_inner_product(context: CellContext, statistics: Statistics) -> Bound:
    """max |<x_i, x_j>| over the pairs."""
    return around(statistics["inner_max"], (context.d + 16) * UNIT_ROUNDOFF * statistics["norm_max"] ** 2)


def _square(name: str, context: CellContext, statistics: Statistics) -> Bound:
    square = statistics[name] ** 2
    return around(square, 8.0 * UNIT_ROUNDOFF * square)


def sub_gaussian(context: CellContext) -> float | None:
    """The parameter K of the rows as the kernel sees them; None where there is none."""
    if context.hypotheses.sub_gaussian is None or context.scale is None or not context.hypotheses.zero_mean:
        return None
    return context.hypotheses.sub_gaussian / context.scale


def _chi_square_below(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    d, x = context.d, math.log(context.n / float(parameters["delta"]))
    return exactly((d - 2.0 * math.sqrt(d * x)) / _scale(context) ** 2, statistics)


def _chi_square_above(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    d, x = context.d, math.log(context.n / float(parameters["delta"]))
    return exactly((d + 2.0 * math.sqrt(d * x) + 2.0 * x) / _scale(context) ** 2, statistics)


def _scale(context: CellContext) -> float:
    if context.scale is None:
        raise ValueError("the claim applies only to rows that keep their norms")
    return context.scale


def _log_pairs(context: CellContext, parameters: Parameters) -> float:
    return math.log(context.n * (context.n - 1) / float(parameters["delta"]))


def _sub_gaussian(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    K = sub_gaussian(context)
    assert K is not None
    norms = exactly(math.sqrt(2.0 * _log_pairs(context, parameters)) * K, statistics)
    return scaled(norms, statistics["norm_max"])


def _bernstein(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    level, d = _log_pairs(context, parameters), context.d
    return exactly((level + math.sqrt(level**2 + 2.0 * d * level)) / _scale(context) ** 2, statistics)


def _hoeffding(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return exactly(math.sqrt(2.0 * context.d * _log_pairs(context, parameters)) / _scale(context) ** 2, statistics)


def _keeps_norms(context: CellContext, law: str) -> bool:
    return context.law == law and context.scale is not None and context.n >= 2


for _side, _statistic, _evaluate, _words, _latex in (
    (
        "lower",
        "norm_min",
        _chi_square_below,
        "Every |x_i|^2 is at least d - 2 sqrt(d x), x = log(n / delta), with probability at least 1 - delta.",
        r"\min_i\|g_i\|^2 \ge d - 2\sqrt{dx}",
    ),
    (
        "upper",
        "norm_max",
        _chi_square_above,
        "Every |x_i|^2 is at most d + 2 sqrt(d x) + 2 x, x = log(n / delta), with probability at least 1 - delta.",
        r"\max_i\|g_i\|^2 \le d + 2\sqrt{dx} + 2x",
    ),
):
    register(
        Claim(
            id=f"prob-chi2-{_side}",
            words=_words,
            latex=_latex + r",\quad x = \log(n/\delta)",
            source="Laurent & Massart, Ann. Statist. 2000, Lemma 1, and a union over rows",
            hypotheses="gaussian rows that keep their norms (normalize: mean or none)",
            kind="probability",
            side=_side,  # type: ignore[arg-type]
            applies=lambda context: context.law == "gaussian" and context.scale is not None,
            needs=("norm_min", _statistic),
            evaluate=_evaluate,
            parameters=_DELTAS,
            quantity=lambda context, statistics, name=_statistic: _square(name, context, statistics),  # type: ignore[misc]
            claimed=at_most_delta,
        ),
    )

register(
    Claim(
        id="prob-subgaussian-inner",
        words="With K the sub-Gaussian parameter of the rows: every |<x_i, x_j>| is at most K sqrt(2 "
        "log(n(n-1)/delta)) "
        "max |x_k| with probability at least 1 - delta. No isotropy, and no 1/sqrt(d).",
        latex=r"|\langle X_i, X_j\rangle| \le K\sqrt{2\log\tfrac{n(n-1)}\delta}\,\max_k\|X_k\|",
        source="conditioning on X_j and a union over pairs; corrects erratum E3 of the slides",
        hypotheses="independent rows of mean zero with a declared sub-Gaussian parameter, that keep their norms",
        kind="probability",
        side="upper",
        applies=lambda context: (
            sub_gaussian(context) is not None and context.hypotheses.independent_rows and context.n >= 2
        ),
        needs=("inner_max", "norm_min", "norm_max"),
        evaluate=_sub_gaussian,
        parameters=_DELTAS,
        quantity=largest_inner_product,
        claimed=at_most_delta,
    ),
)

register(
    Claim(
        id="bernstein-inner",
        words="Every |<g_i, g_j>| is at most l + sqrt(l^2 + 2 d l), l = log(n(n-1)/delta), with probability at least "
        "1 - delta.",
        latex=r"\max_{i<j}|\langle g_i, g_j\rangle| \le \ell + \sqrt{\ell^2 + 2d\ell},\quad "
        r"\ell = \log\tfrac{n(n-1)}\delta",
        source="sub-gamma law of a product of normals; Boucheron, Lugosi & Massart 2013, Sec. 2.4",
        hypotheses="gaussian rows that keep their norms (normalize: mean or none)",
        kind="probability",
        side="upper",
        applies=lambda context: _keeps_norms(context, "gaussian"),
        needs=("inner_max", "norm_min", "norm_max"),
        evaluate=_bernstein,
        parameters=_DELTAS,
        quantity=largest_inner_product,
        claimed=at_most_delta,
    ),
)

register(
    Claim(
        id="bernstein-inner-rademacher",
        words="Every |<x_i, x_j>| is at most sqrt(2 d log(n(n-1)/delta)) with probability at least 1 - delta.",
        latex=r"\max_{i<j}|\langle x_i, x_j\rangle| \le \sqrt{2d\log\tfrac{n(n-1)}\delta}",
        source="Hoeffding 1963",
        hypotheses="rademacher rows that keep their norms (normalize: mean or none)",
        kind="probability",
        side="upper",
        applies=lambda context: _keeps_norms(context, "rademacher"),
        needs=("inner_max", "norm_min", "norm_max"),
        evaluate=_hoeffding,
        parameters=_DELTAS,
        quantity=largest_inner_product,
        claimed=at_most_delta,
    ),
)
