"""The event that everything is about."""

from __future__ import annotations

from typing import Final

from ntkmc.theory.claims.base import Claim, register

NONDEGENERATE: Final = register(
    Claim(
        id="claim-nondegenerate",
        words="The data distribution is (lambda_0, delta, n)-non-degenerate: lambda_min >= lambda_0 with probability "
        "at least 1 - delta. Supported or refuted by an interval that stays valid while one looks.",
        latex=r"\mathbb{P}(\lambda_{\min} \ge \lambda_0) \ge 1 - \delta",
        source="Arora, Du, Hu, Li & Wang, ICML 2019, Def. 5.1",
        hypotheses="any cell; lambda_0 and delta are the study's",
        kind="event",
        side="lower",
        applies=lambda context: True,
        needs=("lambda_min_lower", "lambda_min_upper"),
    ),
)
