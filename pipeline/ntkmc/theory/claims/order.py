"""Inequalities between trials on the same draw: more layers, fewer rows."""

from __future__ import annotations

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import enclosed


def shallower(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """lambda_min of the same draw at the next smaller depth of the study."""
    return enclosed(statistics, "shallower")


def _fewer(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return enclosed(statistics, "fewer")


register(
    Claim(
        id="det-depth-monotone",
        words="lambda_min of K^(L) does not decrease with the depth; tried against the next smaller depth of "
        "the study.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \lambda_{\min}(K^{(L')}),\quad L' < L",
        source="Schur with unit diagonal of the derivative kernels, then Weyl; corrects erratum E10 of the slides",
        hypotheses="kernel ntk, any rows, at least two depths",
        kind="deterministic",
        kernels=("ntk",),
        side="lower",
        applies=lambda context: context.kernel == "ntk" and context.shallower is not None,
        needs=("shallower_lower", "shallower_upper"),
        evaluate=shallower,
    ),
)

register(
    Claim(
        id="det-interlacing-n",
        words="Further rows cannot increase lambda_min; tried against the next smaller n of a nested study.",
        latex=r"\lambda_{\min}(K_{n}) \le \lambda_{\min}(K_{n'}),\quad n' < n",
        source="Cauchy interlacing",
        hypotheses="nested studies with at least two n",
        kind="deterministic",
        side="upper",
        applies=lambda context: context.fewer is not None,
        needs=("fewer_lower", "fewer_upper"),
        evaluate=_fewer,
    ),
)
