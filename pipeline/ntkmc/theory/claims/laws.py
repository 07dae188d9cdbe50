"""Hypotheses that a law declares of its rows, each tried on the draws of a study."""

from __future__ import annotations

import math

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import around, exactly
from ntkmc.theory.claims.inner import sub_gaussian
from ntkmc.theory.claims.probability import at_most_delta
from ntkmc.theory.kernels import UNIT_ROUNDOFF


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
    """t with 2 exp(-t**2 / (2 K**2)) = delta."""
    K = sub_gaussian(context)
    assert K is not None
    return exactly(K * math.sqrt(2.0 * math.log(2.0 / float(parameters["delta"]))), statistics)


def _coordinate(context: CellContext, statistics: Statistics) -> Bound:
    return around(abs(statistics["first_coordinate"]), 4.0 * UNIT_ROUNDOFF * abs(statistics["first_coordinate"]))


for _side, _extreme, _quantity in (("upper", "max", _largest_norm), ("lower", "min", _smallest_norm)):
    register(
        Claim(
            id=f"law-unit-norm-{_side}",
            words=f"Every row has norm at {'most' if _side == 'upper' else 'least'} 1.",
            latex=r"\max_i\|x_i\| \le 1" if _side == "upper" else r"\min_i\|x_i\| \ge 1",
            source="declared of the law",
            hypotheses="laws that are declared to have rows of norm 1",
            kind="deterministic",
            side=_side,  # type: ignore[arg-type]
            applies=lambda context: context.hypotheses.unit_norm is True,
            needs=("norm_min", "norm_max"),
            evaluate=_one,
            quantity=_quantity,
            hypothesis=True,
        ),
    )

register(
    Claim(
        id="law-sub-gaussian",
        words="A coordinate of a row is beyond K sqrt(2 log(2 / delta)) with probability at most delta, K the "
        "declared sub-Gaussian parameter: a necessary condition, tried on the first row.",
        latex=r"\mathbb{P}\bigl(|x_1| > K\sqrt{2\log(2/\delta)}\bigr) \le \delta",
        source="Chernoff, both sides",
        hypotheses="laws of mean zero with a declared sub-Gaussian parameter, whose rows keep their norms",
        kind="probability",
        side="upper",
        applies=lambda context: sub_gaussian(context) is not None,
        needs=("first_coordinate", "norm_min"),
        evaluate=_coordinate_bound,
        parameters=({"delta": 0.1}, {"delta": 0.01}),
        quantity=_coordinate,
        claimed=at_most_delta,
        hypothesis=True,
    ),
)
