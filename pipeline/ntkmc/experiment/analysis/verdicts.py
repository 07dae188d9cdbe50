"""Verdicts on claims in one cell, as pure functions of its trials."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.analysis.estimates import Trials, Values
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.linalg.eigen import Status
from ntkmc.statistics import (
    Estimate,
    confidence_sequence,
    log_e_range,
    mean_lower_limit,
    mean_sequence,
    quantile_sequence,
    sub_gaussian_scale,
)
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import (
    Bound,
    DeterministicClaim,
    InequalityClaim,
    Instance,
    ProbabilityClaim,
    ScalingClaim,
)
from ntkmc.theory.claims.base import EXACT, SAME, Parameters

_ROUNDING: Final = 1e-9
"""Allowance for rounding in a mean of ratios of size 1."""


_AT_ONCE: Final = 2**15
"""Number of trials whose bounds are evaluated together. It can change the last bit of a bound, so it is a constant."""


def judge(
    instance: Instance,
    context: CellContext,
    everything: Trials,
    prefix: Trials,
    confidence: float,
    *,
    first: int = 0,
    fixed: bool = True,
) -> Values:
    """Judge a claim at one depth of a cell.

    Parameters
    ----------
    everything : mapping of str to ndarray (T,)
        Variables of the `trials` group at this depth, from trial 0 on, with the derived statistics; `status` 0 marks
        trials that were not run. A deterministic claim is tested on all of them.
    prefix : mapping of str to ndarray (T',)
        The trials that enter estimates: finished trials in the order of their addresses. All other claims are tested
        on these.
    confidence : float
    first : int
        Number of the first trial of `prefix`.
    fixed : bool
        Whether the number of trials in `prefix` was fixed in advance and has been reached. Tails are judged only then;
        all other verdicts are valid at any number of trials.

    Returns
    -------
    dict
        Variables of the `claims` group at this claim, cell and depth.
    """
    if not instance.applies(context):
        return {"verdict": int(Verdict.NOT_APPLICABLE)}
    claim, parameters = instance.claim, instance.parameters
    trials = everything if isinstance(claim, DeterministicClaim) else prefix
    # The trials of an earlier study may lack a statistic that only later claims need.
    if any(name not in trials for name in instance.needs):
        return _NOTHING
    if isinstance(claim, ScalingClaim):
        ran = trials["status"] != 0
        kept = _Chosen(trials, ran)
        return _scaling(claim, parameters, context, kept, confidence, fixed) if ran.any() else _NOTHING
    assert isinstance(claim, InequalityClaim)
    usable = (trials["status"] != 0) & (trials["status"] != Status.FAILED.code)
    for name in instance.needs:
        absent = np.isnan(trials[name])
        usable &= ~(absent.any(axis=1) if absent.ndim == 2 else absent)  # a curve has an axis of steps
    if not usable.any():
        return _NOTHING
    comparison, not_excluded = _compare(claim, parameters, context, trials, np.flatnonzero(usable))
    if not isinstance(claim, ProbabilityClaim):
        return comparison
    if comparison["violations"]:
        comparison["first_violation"] += first
    ran = int(np.sum(trials["status"] != 0))
    claimed = claim.claimed(context, parameters)
    return comparison | _probability(claimed, comparison, not_excluded, ran, confidence)


class _Chosen(Mapping[str, NDArray[Any]]):
    """Variables at selected trials, sliced on access: a claim uses few of dozens of variables."""

    def __init__(self, trials: Trials, chosen: NDArray[Any]) -> None:
        self._trials = trials
        self._chosen = chosen

    def __getitem__(self, name: str) -> NDArray[Any]:
        return np.asarray(self._trials[name][self._chosen])

    def __iter__(self) -> Iterator[str]:
        return iter(self._trials)

    def __len__(self) -> int:
        return len(self._trials)


_NOTHING: Final[Values] = {"verdict": int(Verdict.NOT_EVALUATED)}


def _compare(
    claim: InequalityClaim, parameters: Parameters, context: CellContext, trials: Trials, numbers: NDArray[np.int_]
) -> tuple[Values, int]:
    """Compare a bound with the bounded quantity; return also the number of trials not proved to respect the bound.

    A trial violates the bound only if the two enclosures are disjoint on the wrong side.
    """
    comparison: Values = {"evaluated": len(numbers), "violations": 0, "first_violation": -1, "vacuous": 0}
    not_excluded, margin = 0, np.nan
    bounds, ratios = [], []
    # A claim forms many temporary arrays on the way to its bound: batches limit their memory.
    for start in range(0, len(numbers), _AT_ONCE):
        part = _Chosen(trials, numbers[start : start + _AT_ONCE])
        bound, quantity = claim.evaluate(context, part, parameters), claim.quantity(context, part)
        with np.errstate(invalid="ignore"):  # ends may be infinite
            if claim.side == "lower":
                violating, kept = quantity.upper < bound.lower, quantity.lower >= bound.upper
                margins = quantity.value - bound.value
            else:
                violating, kept = quantity.lower > bound.upper, quantity.upper <= bound.lower
                margins = bound.value - quantity.value
        if violating.any() and not comparison["violations"]:
            comparison["first_violation"] = int(numbers[start + int(np.argmax(violating))])
        vacuous = claim.vacuous(bound)
        # No ratio to a quantity that is zero to working precision: it would be noise.
        known = np.isfinite(quantity.value) & np.isfinite(bound.value)
        informative = ~vacuous & (quantity.lower > 0.0) & known
        comparison["violations"] += int(violating.sum())
        comparison["vacuous"] += int(vacuous.sum())
        not_excluded += int(np.sum(~kept))
        if known.any():
            margin = np.fmin(margin, margins[known].min())
        bounds.append(bound.value[known])
        ratios.append(bound.value[informative] / quantity.value[informative])
    verdict = Verdict.VACUOUS if comparison["vacuous"] == len(numbers) else Verdict.HOLDS
    comparison["verdict"] = int(Verdict.VIOLATED if comparison["violations"] else verdict)
    comparison["margin"] = float(margin)
    for name, parts in (("bound", bounds), ("tightness", ratios)):
        values = np.concatenate(parts)
        comparison[name] = float(np.median(values, overwrite_input=True)) if len(values) else np.nan
    return comparison, not_excluded


def _probability(
    claimed: tuple[float, float], comparison: Values, not_excluded: int, ran: int, confidence: float
) -> Values:
    """Judge whether the probability of a violation is in the claimed range."""
    low, high = claimed
    proved = int(comparison["violations"])
    # A trial that failed may have violated the bound, but it is not proved to.
    not_excluded += ran - int(comparison["evaluated"])
    lower, _ = confidence_sequence(proved, ran, confidence)
    _, upper = confidence_sequence(not_excluded, ran, confidence)
    evidence = float(log_e_range(proved, not_excluded, ran, low, high))
    # The bound is trivial in all trials, or the claimed range is [0, 1].
    vacuous = comparison["vacuous"] == comparison["evaluated"] or (low <= 0.0 and high >= 1.0)
    margin = EXACT * min(low, 1.0 - low) if low == high else 0.0
    if vacuous:
        verdict = Verdict.VACUOUS
    elif evidence >= -np.log1p(-confidence):
        verdict = Verdict.REFUTED
    elif upper <= high + margin and lower >= low - margin:
        verdict = Verdict.SUPPORTED
    else:
        verdict = Verdict.UNDECIDED
    return {
        "verdict": int(verdict),
        "claimed_lower": low,
        "claimed_upper": high,
        "frequency": proved / ran,
        "frequency_lower": float(lower),
        "frequency_upper": float(upper),
        "log_e": np.nan if vacuous else evidence,
    }


def _scaling(
    claim: ScalingClaim, parameters: Parameters, context: CellContext, kept: Trials, confidence: float, fixed: bool
) -> Values:
    """Estimate the constant of one cell with its limits; the verdict is given over all cells.

    A trial that failed may have had any ratio.
    """
    with np.errstate(invalid="ignore"):
        ratio = claim.evaluate(context, kept, parameters)
    failed = np.isnan(ratio.lower) | np.isnan(ratio.upper)
    proved = {True: 1, False: -1, None: 0}[claim.proved(context)]
    ceiling = claim.ceiling(context, parameters)
    constants: Values = {
        "verdict": int(Verdict.UNDECIDED),
        "evaluated": int(np.sum(~failed[-1] if failed.ndim == 2 else ~failed)),
        "ceiling": ceiling,
        "proved": proved,
    }
    if failed.all():
        return _NOTHING
    if claim.functional == "tail":
        rows = len(np.atleast_2d(ratio.value))
        compared = np.zeros(rows, bool) if claim.tails is None else np.array(claim.tails(context, parameters))
        (constant, lower, upper), tail = _tails(ratio, failed, compared, confidence, fixed)
        constants |= dict(zip(("tail", "tail_lower", "tail_upper"), tail, strict=True))
    else:
        # Failed trials are left out of the estimate, but take the worst value in both limits.
        value = ratio.value[~failed]
        ends = np.where(failed, -np.inf, ratio.lower), np.where(failed, np.inf, ratio.upper)
        if claim.functional == "quantile":
            delta = float(parameters["delta"])
            level = 1.0 - delta if claim.side == "upper" else delta
            lower, upper = quantile_sequence(*ends, level, confidence)
            # An order statistic: interpolation between two infinite values would give NaN.
            constant = float(np.quantile(value, level, method="inverted_cdf"))
        else:
            constant = float(value.mean())
            lower, upper = _mean(ends, claim.least(context), ceiling, confidence, claim.equal is not None)
            if claim.most is not None:  # the betting limit of most - value, which is nonnegative
                most = claim.most(context)
                upper = most - mean_lower_limit(np.maximum(most - ends[1], 0.0), 0.5 + 0.5 * confidence)
    if claim.equal is not None:
        constants["verdict"] = int(_equal(claim.equal, lower, upper, SAME if claim.most is None else 0.0))
    limits = {"cell_constant": constant, "cell_constant_lower": lower, "cell_constant_upper": upper}
    return constants | limits


def _mean(
    ends: tuple[Any, Any], least: float, ceiling: float, confidence: float, moments: bool
) -> tuple[float, float]:
    """Return limits of a mean of values that are at least `least`.

    The lower limit is by betting. The upper limit is the ceiling if it is finite, and otherwise asymptotic; it is
    infinite unless `moments` says that the values have enough moments.
    """
    one_sided = 0.5 + 0.5 * confidence
    lower = least + mean_lower_limit(np.maximum(ends[0] - least, 0.0), one_sided)
    if np.isfinite(ceiling):
        return lower, max(ceiling, lower)
    return lower, float(mean_sequence(ends[1], one_sided)[1]) if moments and np.isfinite(ends[1]).all() else np.inf


def _tails(
    ratio: Bound, failed: NDArray[np.bool_], compared: NDArray[np.bool_], confidence: float, fixed: bool
) -> tuple[Estimate, Estimate]:
    """Return the largest sub-Gaussian scale of the functions, and the largest exponent of the compared tails."""
    functions, lost = np.atleast_2d(ratio.value), np.atleast_2d(failed)
    # With functions of both kinds, half of the error rate is spent on those whose tails are compared.
    one_kind = compared.all() or not compared.any()
    scales, tails = [], []
    for values, lost_values, is_compared in zip(functions, lost, compared, strict=True):
        share = len(functions) if one_kind else 2 * int(np.sum(compared == is_compared))
        scale, tail = sub_gaussian_scale(values[~lost_values], 1.0 - (1.0 - confidence) / share)
        # The limits of a scale are valid at a fixed number of trials, and for complete samples only.
        if lost_values.any() or not fixed:
            scale, tail = Estimate(scale.value, 0.0, np.inf), Estimate(tail.value, -np.inf, np.inf)
        scales.append(scale)
        if is_compared:
            tails.append(tail)
    unknown = Estimate(np.nan, np.nan, np.nan)
    return _largest(scales), _largest(tails) if tails else unknown


def _largest(estimates: list[Estimate]) -> Estimate:
    """Return the maximum of estimates, with limits that hold if the limits of all estimates hold."""
    return Estimate(*(float(np.max(ends)) for ends in zip(*estimates, strict=True)))


def _equal(value: float, lower: float, upper: float, margin: float) -> Verdict:
    """Return the verdict on constant = value. Only a constant above the value refutes it."""
    if lower > value + _ROUNDING:
        return Verdict.REFUTED
    return Verdict.SUPPORTED if upper <= value + margin else Verdict.UNDECIDED


def judge_event(estimates: Values, position: int, threshold: float) -> Values:
    """Return the entry of the event in the `claims` group, from the estimates at one depth."""
    total = int(estimates["trials_used"])
    if total == 0:
        return {"verdict": int(Verdict.NOT_EVALUATED)}
    return {
        "verdict": int(estimates["nondegenerate"][position]),
        "evaluated": total,
        "violations": total - int(estimates["proved"][position] + estimates["undecided"][position]),
        "bound": threshold,
    }
