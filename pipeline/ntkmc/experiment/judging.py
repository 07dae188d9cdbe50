"""Verdicts of one cell, as pure functions of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.evaluation import Values
from ntkmc.experiment.schema import Verdict
from ntkmc.linalg.eigenvalue import Status
from ntkmc.statistics import confidence_sequence, log_e_range, mean_interval, quantile_interval, sub_gaussian_scale
from ntkmc.theory.claims import Bound, CellContext, Instance

Trials = Mapping[str, NDArray[Any]]

SAME = 0.05
"""A constant that is claimed to have a value is supported if its interval lies within this much of it."""


def judge(instance: Instance, context: CellContext, everything: Trials, prefix: Trials, confidence: float) -> Values:
    """Verdict on a claim at one depth of a cell.

    Parameters
    ----------
    everything : mapping of str to ndarray (T,)
        Variables of the `trials` group at this depth, from trial 0 on, with the derived statistics; `status` 0 marks
        trials that were not run. A deterministic claim rests on all of them.
    prefix : mapping of str to ndarray (T',)
        Those that estimates rest on: finished trials in the order of their addresses. All other claims rest on these.
    confidence : float

    Returns
    -------
    dict
        Variables of the `claims` group at this claim, cell and depth.
    """
    if not instance.applies(context):
        return {"verdict": int(Verdict.NOT_APPLICABLE)}
    kind = instance.claim.kind
    trials = everything if kind == "deterministic" else prefix
    if any(name not in trials for name in instance.needs):
        return {"verdict": int(Verdict.NOT_EVALUATED)}
    usable = (trials["status"] != 0) & (trials["status"] != Status.FAILED.code)
    for name in instance.needs:
        usable &= ~np.isnan(trials[name])
    if not usable.any():
        return {"verdict": int(Verdict.NOT_EVALUATED)}
    kept = {name: values[usable] for name, values in trials.items()}
    if kind == "scaling":
        return _scaling(instance, context, kept, confidence)
    bound, quantity = instance.bound(context, kept), instance.claim.quantity(context, kept)
    found = _compare(instance, bound, quantity)
    found["first_violation"] = int(np.flatnonzero(usable)[found["first_violation"]]) if found["violations"] else -1
    if kind == "deterministic":
        return found
    ran = int(np.sum(trials["status"] != 0))
    return found | _probability(instance, context, found, _possibly(instance, bound, quantity), ran, confidence)


def _compare(instance: Instance, bound: Bound, quantity: Bound) -> Values:
    """A bound beside what it bounds: a trial violates it only if the two enclosures are disjoint on the wrong side."""
    with np.errstate(invalid="ignore"):  # ends may be infinite: nothing is known
        if instance.claim.side == "lower":
            violating = quantity.upper < bound.lower
            margin = quantity.value - bound.value
        else:
            violating = quantity.lower > bound.upper
            margin = bound.value - quantity.value
    vacuous = instance.claim.vacuous(bound)
    # Not beside a quantity that is zero to working precision: the ratio would be noise.
    known = np.isfinite(quantity.value) & np.isfinite(bound.value)
    telling = ~vacuous & (quantity.lower > 0.0) & known
    verdict = Verdict.VACUOUS if vacuous.all() else Verdict.HOLDS
    return {
        "verdict": int(Verdict.VIOLATED if violating.any() else verdict),
        "evaluated": len(violating),
        "violations": int(violating.sum()),
        "first_violation": int(np.argmax(violating)) if violating.any() else -1,
        "vacuous": int(vacuous.sum()),
        "bound": float(np.median(bound.value[known])) if known.any() else np.nan,
        "margin": float(margin[known].min()) if known.any() else np.nan,
        "tightness": float(np.median(bound.value[telling] / quantity.value[telling])) if telling.any() else np.nan,
    }


def _possibly(instance: Instance, bound: Bound, quantity: Bound) -> int:
    """Trials that are not proved to keep to the bound."""
    if instance.claim.side == "lower":
        return int(np.sum(~(quantity.lower >= bound.upper)))
    return int(np.sum(~(quantity.upper <= bound.lower)))


def _probability(
    instance: Instance, context: CellContext, found: Values, possible: int, ran: int, confidence: float
) -> Values:
    """Is the probability of a violation in the claimed range? Trials that failed count against both limits."""
    low, high = instance.claimed(context)
    sure = int(found["violations"])
    possible += ran - int(found["evaluated"])
    lower, _ = confidence_sequence(sure, ran, confidence)
    _, upper = confidence_sequence(possible, ran, confidence)
    evidence = float(log_e_range(sure, possible, ran, low, high))
    # A bound that holds by being trivial, or a range that holds whatever happens.
    vacuous = found["vacuous"] == found["evaluated"] or (low <= 0.0 and high >= 1.0)
    if vacuous:
        verdict = Verdict.VACUOUS
    elif evidence >= -np.log1p(-confidence):
        verdict = Verdict.REFUTED
    elif upper <= high and lower >= low:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.UNDECIDED
    return {
        "verdict": int(verdict),
        "claimed_lower": low,
        "claimed_upper": high,
        "frequency": sure / ran,
        "frequency_lower": float(lower),
        "frequency_upper": float(upper),
        "log_e": np.nan if vacuous else evidence,
    }


def _scaling(instance: Instance, context: CellContext, kept: Trials, confidence: float) -> Values:
    """The constant of one cell, with its interval; the verdict is that of all cells together."""
    ratio = instance.bound(context, kept)
    claim, value = instance.claim, np.asarray(ratio.value, dtype=np.float64)
    found: Values = {"verdict": int(Verdict.UNDECIDED), "evaluated": len(value)}
    if claim.functional == "quantile":
        delta = float(instance.parameters["delta"])
        level = 1.0 - delta if claim.side == "upper" else delta
        # The ends of an enclosure are worst cases: the lower limit from lower ends, the upper limit from upper ends.
        lower = quantile_interval(ratio.lower, level, confidence)[0]
        upper = quantile_interval(ratio.upper, level, confidence)[1]
        # An order statistic: interpolation would make a NaN between two infinite values.
        constant = float(np.quantile(value, level, method="inverted_cdf"))
    elif claim.functional == "mean":
        constant, lower, upper = mean_interval(value, confidence)
    else:
        (constant, lower, upper), tail = sub_gaussian_scale(value, confidence)
        if claim.tails is None or claim.tails(context, instance.parameters):
            found |= dict(zip(("tail", "tail_lower", "tail_upper"), tail, strict=True))
    if claim.equal is not None:
        found["verdict"] = int(_equal(claim.equal, lower, upper))
    limits = {"cell_constant": constant, "cell_constant_lower": lower, "cell_constant_upper": upper}
    return found | limits


def _equal(value: float, lower: float, upper: float) -> Verdict:
    if not lower <= value <= upper:
        return Verdict.REFUTED
    return Verdict.SUPPORTED if max(value - lower, upper - value) <= SAME else Verdict.UNDECIDED


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
