"""Estimates of one cell, as pure functions of its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.schema.variables import QUANTILES, Verdict
from ntkmc.linalg.eigen import Status
from ntkmc.statistics import clopper_pearson, confidence_sequence, quantile_lower_limit

Floats = NDArray[np.float64]
Values = dict[str, Any]


@dataclass(frozen=True)
class Rules:
    """What an estimate depends on besides the trials.

    Attributes
    ----------
    thresholds : ndarray, (thresholds,)
        Values of lambda_0.
    delta, confidence : float
    fixed : bool
        Whether the number of trials was fixed in advance and is reached.
    """

    thresholds: Floats
    delta: float
    confidence: float
    fixed: bool


def estimate(trials: Mapping[str, NDArray[Any]], rules: Rules) -> Values:
    """Estimates at one depth from the trials of the prefix.

    A trial that failed, or whose enclosure holds lambda_0, is undecided: it counts as 0 for the lower and as 1 for
    the upper limit.

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
    sure = np.sum(lower >= thresholds, axis=1)
    not_excluded = total - np.sum(upper < thresholds, axis=1)  # NaN compares false: a failed trial excludes nothing
    low, _ = confidence_sequence(sure, total, rules.confidence)
    _, high = confidence_sequence(not_excluded, total, rules.confidence)
    found: Values = {
        "probability": np.full(len(thresholds), np.nan),
        "probability_lower": low,
        "probability_upper": high,
        "proved": sure,
        "undecided": not_excluded - sure,
        "trials_used": total,
        "nondegenerate": np.array([int(_nondegenerate(*ends, rules.delta)) for ends in zip(low, high, strict=True)]),
        "lambda_min_quantile": np.full(len(QUANTILES), np.nan),
        "lambda_0_certified": np.nan,
        "probability_lower_fixed": np.full(len(thresholds), np.nan),
        "probability_upper_fixed": np.full(len(thresholds), np.nan),
    }
    if rules.fixed:
        found["probability_lower_fixed"] = clopper_pearson(sure, total, rules.confidence)[0]
        found["probability_upper_fixed"] = clopper_pearson(not_excluded, total, rules.confidence)[1]
        ends = np.where(np.isnan(trials["lambda_min_lower"]), -np.inf, trials["lambda_min_lower"])
        certified = quantile_lower_limit(ends, rules.delta, rules.confidence)
        if np.isfinite(certified) and not np.any(trials["status"] == Status.DECIDED.code):
            found["lambda_0_certified"] = certified  # a decided event's lower bound is a threshold, or 0
    present = trials["lambda_min"][~np.isnan(trials["lambda_min"])]
    if present.size:
        found["lambda_min_quantile"] = np.quantile(present, QUANTILES)
    if np.any(trials["status"] != Status.FAILED.code):
        # Where only events were decided there is no estimate of lambda_min; what is proved stands in for it.
        found["probability"] = np.sum(np.where(np.isnan(value), lower, value) >= thresholds, axis=1) / total
    return found


def _nondegenerate(low: float, high: float, delta: float) -> Verdict:
    if low >= 1.0 - delta:
        return Verdict.SUPPORTED
    return Verdict.REFUTED if high < 1.0 - delta else Verdict.UNDECIDED


def first_precise(
    lower: Floats, upper: Floats, thresholds: Floats, looks: Sequence[int], half_width: float, confidence: float
) -> int | None:
    """The first look at which every confidence sequence has at most this half-width; None if there is none.

    Parameters
    ----------
    lower, upper : ndarray, (depths, T)
        Proved bounds on lambda_min, trials in the order of their addresses; NaN for failed trials.
    looks : sequence of int
        Increasing numbers of trials, at most T.
    """
    if not looks:
        return None
    at = np.array(looks)
    sure = np.cumsum(lower[:, None, :] >= thresholds[:, None], axis=2)[..., at - 1]
    excluded = np.cumsum(upper[:, None, :] < thresholds[:, None], axis=2)[..., at - 1]
    low, _ = confidence_sequence(sure, at, confidence)
    _, high = confidence_sequence(at - excluded, at, confidence)
    precise = np.flatnonzero(np.max(high - low, axis=(0, 1)) <= 2.0 * half_width)
    return int(at[precise[0]]) if precise.size else None
