"""Estimates and verdicts of one cell, as pure functions of its trials."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.schema import QUANTILES, Verdict
from ntkmc.linalg.eigenvalue import Status
from ntkmc.statistics import clopper_pearson, confidence_sequence, quantile_lower_limit
from ntkmc.theory.claims import CellContext, Instance

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


def judge(instance: Instance, context: CellContext, trials: Mapping[str, NDArray[Any]]) -> Values:
    """Verdict on a deterministic claim at one depth from all done trials.

    A trial violates the claim only if the enclosure of lambda_min and that of the bound are disjoint on the wrong
    side; failed trials are left out.

    Parameters
    ----------
    trials : mapping of str to ndarray (T,)
        Variables of the `trials` group at this depth, from trial 0 on; `status` 0 marks trials that were not run.

    Returns
    -------
    dict
        Variables of the `claims` group at this claim, cell and depth.
    """
    if not instance.claim.applies(context):
        return {"verdict": int(Verdict.NOT_APPLICABLE)}
    usable = (trials["status"] != 0) & (trials["status"] != Status.FAILED.code)
    if not usable.any():
        return {"verdict": int(Verdict.NOT_EVALUATED)}
    kept = {name: values[usable] for name, values in trials.items()}
    bound = instance.bound(context, kept)
    value = kept["lambda_min"]
    if instance.claim.side == "lower":
        violating = kept["lambda_min_upper"] < bound.lower
        margin = value - bound.value
        vacuous = bound.upper <= 0.0
    else:
        violating = kept["lambda_min_lower"] > bound.upper
        margin = bound.value - value
        vacuous = np.zeros(len(value), dtype=bool)
    # Not beside a lambda_min that is zero to working precision: the ratio would be noise.
    telling = ~vacuous & (kept["lambda_min_lower"] > 0.0) & ~np.isnan(value)
    verdict = Verdict.VACUOUS if vacuous.all() else Verdict.HOLDS
    if violating.any():
        verdict = Verdict.VIOLATED
    return {
        "verdict": int(verdict),
        "evaluated": int(usable.sum()),
        "violations": int(violating.sum()),
        "first_violation": int(np.flatnonzero(usable)[np.argmax(violating)]) if violating.any() else -1,
        "vacuous": int(vacuous.sum()),
        "bound": float(np.median(bound.value)),
        "margin": float(margin.min()),  # NaN where only events were decided
        "tightness": float(np.median(bound.value[telling] / value[telling])) if telling.any() else np.nan,
    }


def judge_event(estimates: Values, position: int, threshold: float) -> Values:
    """The event's entry in the `claims` group, from the estimates at one depth."""
    total = int(estimates["trials_used"])
    if total == 0:
        return {"verdict": int(Verdict.NOT_EVALUATED)}
    return {
        "verdict": int(estimates["nondegenerate"][position]),
        "evaluated": total,
        "violations": total - int(estimates["proved"][position] + estimates["undecided"][position]),
        "bound": threshold,
    }


def overall_event(proved: NDArray[Any], undecided: NDArray[Any], total: NDArray[Any], rules: Rules) -> Verdict:
    """What all cells together say of the event at one threshold.

    Supported if every cell supports it (an intersection-union test needs no correction); refuted if some cell does
    with the error rate divided by the number of cells (Bonferroni, valid under any dependence).

    Parameters
    ----------
    proved, undecided, total : ndarray, (cells,)
        Counts of all cells, also of those that have no trials yet: these keep anything from being supported.
    """
    if not total.any():
        return Verdict.NOT_EVALUATED
    low, _ = confidence_sequence(proved, total, rules.confidence)
    if np.all(low >= 1.0 - rules.delta):
        return Verdict.SUPPORTED
    corrected = 1.0 - (1.0 - rules.confidence) / total.size
    _, high = confidence_sequence(proved + undecided, total, corrected)
    return Verdict.REFUTED if np.any(high < 1.0 - rules.delta) else Verdict.UNDECIDED


def overall(verdicts: Sequence[int]) -> Verdict:
    """What all cells together say of a deterministic claim.

    >>> overall([Verdict.HOLDS, Verdict.NOT_APPLICABLE, Verdict.VACUOUS]).word
    'holds'
    """
    present = set(verdicts)
    order = (Verdict.VIOLATED, Verdict.HOLDS, Verdict.VACUOUS, Verdict.NOT_APPLICABLE, Verdict.NOT_EVALUATED)
    return next((verdict for verdict in order if verdict in present), Verdict.NOT_EVALUATED)
