"""Claims about sketched kernels: properties of the Gram matrix Phi Phi' of any feature map."""

from __future__ import annotations

from typing import Final

import numpy as np

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, DeterministicClaim, Parameters, Statistics
from ntkmc.theory.claims.bounds import enclosed, ends, read_quantity, zero
from ntkmc.theory.claims.domains import ANY
from ntkmc.theory.claims.trial_statistics import SKETCHING

_SMALLEST: Final = f"{SKETCHING.prefix}lambda_min"
_DEVIATION: Final = f"{SKETCHING.prefix}deviation"
_MAPS: Final = "feature maps of s columns (features in the study)"


def _shift(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return |lambda_min(Phi Phi') - lambda_min(K)|, widened by the rounding of each difference."""
    sketch, kernel = enclosed(statistics, _SMALLEST), enclosed(statistics, "lambda_min")
    low, high = sketch.lower - kernel.upper, sketch.upper - kernel.lower
    slack = 2.0**-52 * (np.abs(low) + np.abs(high))
    # The least absolute value is 0 where the enclosure of the difference holds 0.
    least = np.where((low > 0.0) | (high < 0.0), np.minimum(np.abs(low), np.abs(high)), 0.0)
    return Bound(np.maximum(least - slack, 0.0), np.maximum(np.abs(low), np.abs(high)) + slack)


SKETCHING_CLAIMS: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="sketch-rank",
        statement="lambda_min(Phi Phi') is 0 if there are fewer features than rows: s < n.",
        latex=r"s < n \Rightarrow \lambda_{\min}(\Phi\Phi^\top) = 0",
        source="Phi Phi' has a rank of at most s",
        domain=ANY.restricted(f"{_MAPS} with s < n"),
        side="upper",
        where=lambda context, parameters: int(parameters["s"]) < context.n,
        needs=ends(_SMALLEST),
        evaluate=zero(f"{_SMALLEST}_lower"),
        quantity=read_quantity(_SMALLEST),
        group=SKETCHING,
    ),
    DeterministicClaim(
        id="sketch-weyl",
        statement="A feature map is no closer to the kernel in operator norm than their smallest eigenvalues are to "
        "each other; the bound on |Phi Phi' - K| from below is worth what it reaches of it.",
        latex=r"\lVert \Phi\Phi^\top - K\rVert \ge |\lambda_{\min}(\Phi\Phi^\top) - \lambda_{\min}(K)|",
        source="Weyl's inequality; what an operator-norm guarantee says of lambda_min (Zandieh et al. 2021, Thm 3)",
        domain=ANY.restricted(_MAPS),
        side="lower",
        needs=ends(_SMALLEST, _DEVIATION, "lambda_min"),
        evaluate=_shift,
        quantity=read_quantity(_DEVIATION),
        group=SKETCHING,
    ),
)
