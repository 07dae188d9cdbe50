"""Claims about sketched kernels: properties of the Gram matrix Phi Phi' of any feature map."""

from __future__ import annotations

import numpy as np

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, DeterministicClaim, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import enclosed
from ntkmc.theory.claims.trial_statistics import SKETCHING


def _smallest(context: CellContext, statistics: Statistics) -> Bound:
    """Return lambda_min(Phi Phi')."""
    return enclosed(statistics, f"{SKETCHING.prefix}lambda_min")


def _deviation(context: CellContext, statistics: Statistics) -> Bound:
    """Return |Phi Phi' - K| in operator norm."""
    return enclosed(statistics, f"{SKETCHING.prefix}deviation")


def _zero(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    zeros = np.zeros_like(statistics[f"{SKETCHING.prefix}lambda_min_lower"])
    return Bound(zeros, zeros)


def _shift(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return |lambda_min(Phi Phi') - lambda_min(K)|, widened by the rounding of each difference."""
    sketch, kernel = _smallest(context, statistics), enclosed(statistics, "lambda_min")
    low, high = sketch.lower - kernel.upper, sketch.upper - kernel.lower
    slack = 2.0**-52 * (np.abs(low) + np.abs(high))
    least = np.where((low > 0.0) | (high < 0.0), np.minimum(np.abs(low), np.abs(high)), 0.0)
    return Bound(np.maximum(least - slack, 0.0), np.maximum(np.abs(low), np.abs(high)) + slack)


register(
    DeterministicClaim(
        id="sketch-rank",
        statement="lambda_min(Phi Phi') is 0 if there are fewer features than rows: s < n.",
        latex=r"s < n \Rightarrow \lambda_{\min}(\Phi\Phi^\top) = 0",
        source="Phi Phi' has a rank of at most s",
        hypotheses="any rows, any kernel, feature maps of s columns (features in the study) with s < n",
        side="upper",
        where=lambda context, parameters: int(parameters["s"]) < context.n,
        needs=(f"{SKETCHING.prefix}lambda_min_lower", f"{SKETCHING.prefix}lambda_min_upper"),
        evaluate=_zero,
        quantity=_smallest,
        group=SKETCHING,
    ),
)

register(
    DeterministicClaim(
        id="sketch-weyl",
        statement="A feature map is no closer to the kernel in operator norm than their smallest eigenvalues are to "
        "each other; the bound on |Phi Phi' - K| from below is worth what it reaches of it.",
        latex=r"\lVert \Phi\Phi^\top - K\rVert \ge |\lambda_{\min}(\Phi\Phi^\top) - \lambda_{\min}(K)|",
        source="Weyl's inequality; what an operator-norm guarantee says of lambda_min (Zandieh et al. 2021, Thm 3)",
        hypotheses="any rows, any kernel, feature maps of s columns (features in the study)",
        side="lower",
        needs=(
            *(f"{SKETCHING.prefix}{name}_{end}" for name in ("lambda_min", "deviation") for end in ("lower", "upper")),
            "lambda_min_lower",
            "lambda_min_upper",
        ),
        evaluate=_shift,
        quantity=_deviation,
        group=SKETCHING,
    ),
)
