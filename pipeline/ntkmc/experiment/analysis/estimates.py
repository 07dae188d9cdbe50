"""Estimates of P(lambda_min >= lambda_0) in one cell, as pure functions of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.schema.variables import QUANTILES, Verdict
from ntkmc.linalg.eigen import Status
from ntkmc.numeric import Floats
from ntkmc.statistics import clopper_pearson, confidence_sequence, quantile_lower_limit

Values = dict[str, Any]
Trials = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Rules:
    """Settings of an estimate.

    Attributes
    ----------
    thresholds : ndarray, (thresholds,)
        Values of lambda_0.
    delta, confidence : float
    fixed : bool
        Whether the number of trials was fixed in advance and has been reached.
    """

    thresholds: Floats
    delta: float
    confidence: float
    fixed: bool


def estimate(trials: Trials, rules: Rules) -> Values:
    """Estimate the probability of the event at one depth from the trials of a prefix.

    A trial is undecided if it failed or if its enclosure contains lambda_0. Undecided trials count as 0 in the lower
    limit and as 1 in the upper limit.

    Parameters
    ----------
    trials : mapping of str to ndarray (T,)
        `lambda_min`, `lambda_min_lower`, `lambda_min_upper`, `status`.

    Returns
    -------
    dict
        Variables of the `estimates` group at this cell and depth: (thresholds,), (quantiles,) or scalars.
    """
    total = len(trials["status"])
    thresholds = rules.thresholds[:, None]
    value, lower, upper = (trials[name][None, :] for name in ("lambda_min", "lambda_min_lower", "lambda_min_upper"))
    proved = np.sum(lower >= thresholds, axis=1)
    # Comparisons with NaN are false: a failed trial excludes nothing.
    not_excluded = total - np.sum(upper < thresholds, axis=1)
    # Each limit from the count that is unfavourable for it: undecided trials widen the interval, they never shift it.
    low, _ = confidence_sequence(proved, total, rules.confidence)
    _, high = confidence_sequence(not_excluded, total, rules.confidence)
    estimates: Values = {
        "probability": np.full(len(thresholds), np.nan),
        "probability_lower": low,
        "probability_upper": high,
        "proved": proved,
        "undecided": not_excluded - proved,
        "trials_used": total,
        "nondegenerate": np.array([int(_nondegenerate(*ends, rules.delta)) for ends in zip(low, high, strict=True)]),
        "lambda_min_quantile": np.full(len(QUANTILES), np.nan),
        "lambda_0_certified": np.nan,
        "probability_lower_fixed": np.full(len(thresholds), np.nan),
        "probability_upper_fixed": np.full(len(thresholds), np.nan),
    }
    # Clopper-Pearson limits and order statistics are valid at a fixed number of trials only.
    if rules.fixed:
        estimates["probability_lower_fixed"] = clopper_pearson(proved, total, rules.confidence)[0]
        estimates["probability_upper_fixed"] = clopper_pearson(not_excluded, total, rules.confidence)[1]
        ends = np.where(np.isnan(trials["lambda_min_lower"]), -np.inf, trials["lambda_min_lower"])
        certified = quantile_lower_limit(ends, rules.delta, rules.confidence)
        if np.isfinite(certified) and not np.any(trials["status"] == Status.DECIDED.code):
            estimates["lambda_0_certified"] = certified  # of a decided event, the lower bound is a threshold or 0
    present = trials["lambda_min"][~np.isnan(trials["lambda_min"])]
    if present.size:
        estimates["lambda_min_quantile"] = np.quantile(present, QUANTILES)
    if np.any(trials["status"] != Status.FAILED.code):
        # If only events were decided there is no estimate of lambda_min; its proved lower bound is used instead.
        estimates["probability"] = np.sum(np.where(np.isnan(value), lower, value) >= thresholds, axis=1) / total
    return estimates


def _nondegenerate(low: float, high: float, delta: float) -> Verdict:
    if low >= 1.0 - delta:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if high < 1.0 - delta else Verdict.UNDECIDED
