"""Estimates about training in one cell at one depth: predictions of the kernel, and trained networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.analysis.estimates import Rules, Trials, Values
from ntkmc.experiment.analysis.kernel_convergence import smallest_size
from ntkmc.statistics import confidence_sequence, exponents, mean_lower_limit, quantile_sequence
from ntkmc.theory.targets import CHECKPOINTS, SHARE, NetworkLabel

Estimated = tuple[float, float, float]
"""Value, lower and upper confidence limit."""

_UNKNOWN: Estimated = (math.nan, math.nan, math.nan)


def predicted(targets: NDArray[Any], trials: Sequence[Trials], n: int, rules: Rules) -> Values:
    """Estimate the variables of the group `prediction` along the targets of one cell.

    Parameters
    ----------
    targets : ndarray of str
    trials : sequence of mappings of str to ndarray (T,)
        For each target, the trials that enter estimates: `lambda_min_*` of the draw and `training_*`.
    n : int
        Rows of a draw.
    rules : Rules
        The confidence of one cell is used.
    """
    rows: list[Values] = []
    for of_target in trials:
        estimates: Values = {"trials_used": len(of_target["status"])}
        forms = (of_target["training_label_form_lower"], of_target["training_label_form_upper"])
        bounds = np.sqrt(2.0 * forms[0] / n), np.sqrt(2.0 * forms[1] / n)
        steps = of_target["training_steps_lower"], of_target["training_steps_upper"]
        rate = of_target["training_step_size"] / math.log(n / SHARE)
        with np.errstate(invalid="ignore"):  # infinitely many steps times 0: nothing is known
            shares = steps[0] * rate * of_target["lambda_min_lower"], steps[1] * rate * of_target["lambda_min_upper"]
        losses = of_target["training_regression_loss"]
        _enter(estimates, "bound", _median(*bounds, rules.confidence))
        _enter(estimates, "steps", _median(*steps, rules.confidence))
        _enter(estimates, "steps_share", _median(*shares, rules.confidence))
        _enter(estimates, "regression_loss", _mean(losses, rules.confidence))
        for name in ("residual", "flow"):
            estimates[name] = _curve(
                0.5 * (of_target[f"training_{name}_lower"] + of_target[f"training_{name}_upper"]),
                of_target["training_label_norm"],
            )
        rows.append(estimates)
    return _stacked(rows)


def dynamics(networks: NDArray[Any], trials: Sequence[Trials], n: int, rules: Rules) -> Values:
    """Estimate the variables of the group `dynamics` along the networks of one cell; parameters as in `predicted`.

    Limits of medians and exponents hold for all networks simultaneously (Bonferroni).
    """
    together = 1.0 - (1.0 - rules.confidence) / max(len(networks), 1)
    rows: list[Values] = []
    for of_network in trials:
        row: Values = {"trials_used": len(of_network["status"])}
        for name in ("gap", "gap_started", "drift"):
            value = of_network[f"trained_{name}"]
            _enter(row, name, _median(value, value, together))
        _enter(row, "test_loss", _mean(of_network["trained_test_loss"], rules.confidence))
        _enter(row, "contraction_share", _share(*_contracting(of_network), rules.confidence))
        # The norm of the labels differs between draws: curves are relative to their first value.
        curve = of_network["trained_residual"]
        row["residual"] = _curve(curve, curve[:, 0] if len(curve) else np.empty(0))
        rows.append(row)
    estimates = _stacked(rows)
    labels = [NetworkLabel.parse(str(label)) for label in networks]
    estimates |= _contraction_widths(labels, trials, rules)
    for name in ("gap", "gap_started", "drift"):
        for axis in ("width", "kappa"):
            for end in ("", "_lower", "_upper"):
                estimates[f"{name}_{axis}{end}"] = np.full(len(labels), np.nan)
        for target in dict.fromkeys(label.target for label in labels):
            # Networks with the same labels differ in width and scale only.
            members = np.array([label.target == target for label in labels])
            same = [label for label in labels if label.target == target]
            axes: dict[str, list[float]] = {
                "width": [label.width for label in same],
                "kappa": [label.kappa for label in same],
            }
            value, lower, upper = (estimates[f"{name}{end}"][members] for end in ("", "_lower", "_upper"))
            fitted = exponents(value, lower, upper, axes)
            for axis, exponent in fitted.items():
                for end, number in zip(("", "_lower", "_upper"), exponent, strict=True):
                    estimates[f"{name}_{axis}{end}"][members] = number
    return estimates


def _contraction_widths(labels: Sequence[NetworkLabel], trials: Sequence[Trials], rules: Rules) -> Values:
    """Estimate the least width from which on the loss contracts in a share of 1 - delta, as in `claim-width-n6` (iii).

    Networks are compared if they have the same labels and the same scale of the initial weights.
    """
    estimates: Values = {f"contraction_width{end}": np.full(len(labels), np.nan) for end in ("", "_lower", "_upper")}
    for group in dict.fromkeys((label.target, label.kappa) for label in labels):
        members = [position for position, label in enumerate(labels) if (label.target, label.kappa) == group]
        counts = np.array([_contracting(trials[position]) for position in members])
        sizes = np.array([labels[position].width for position in members])
        together = 1.0 - (1.0 - rules.confidence) / len(members)
        proved, not_excluded, total = counts.T
        limits = smallest_size(
            "contraction_width", sizes, (proved, proved, not_excluded), total, rules.delta, together
        )
        for name, value in limits.items():
            estimates[name][members] = value
    return estimates


def _contracting(trials: Trials) -> tuple[int, int, int]:
    """Count trials in which all steps contract the loss by 1 - eta lambda_min / 2: proved, not excluded; and all."""
    total = len(trials["status"])
    worst = trials["trained_contraction"]
    ends = [1.0 - 0.5 * trials["trained_step_size"] * trials[f"lambda_min_{end}"] for end in ("upper", "lower")]
    proved, not_excluded = int(np.sum(worst <= ends[0])), total - int(np.sum(worst > ends[1]))
    return proved, not_excluded, total


def _share(proved: int, not_excluded: int, total: int, confidence: float) -> Estimated:
    if not total:
        return _UNKNOWN
    lower, _ = confidence_sequence(proved, total, confidence)
    _, upper = confidence_sequence(not_excluded, total, confidence)
    return proved / total, float(lower), float(upper)


def _median(lower: NDArray[Any], upper: NDArray[Any], confidence: float) -> Estimated:
    """Return the median of enclosed numbers, with limits that are valid at any number of trials."""
    if not len(lower):
        return _UNKNOWN
    failed = np.isnan(lower) | np.isnan(upper)
    with np.errstate(invalid="ignore"):
        value = np.where(np.isinf(upper), upper, 0.5 * (lower + upper))[~failed]
    # A trial that failed may have had any value.
    ends = np.where(failed, -np.inf, lower), np.where(failed, np.inf, upper)
    # An order statistic: interpolation between two infinite values would give NaN.
    middle = float(np.quantile(value, 0.5, method="inverted_cdf")) if len(value) else math.nan
    least, most = quantile_sequence(*ends, 0.5, confidence)
    return middle, float(least), float(most)


def _mean(losses: NDArray[Any], confidence: float) -> Estimated:
    """Return the mean of losses in [0, 1], with betting limits; losses that are inf were not measured."""
    measured = losses[~np.isinf(losses)]
    if not len(measured):
        return _UNKNOWN
    # A failed trial may have had any loss in [0, 1].
    low, high = np.where(np.isnan(measured), 0.0, measured), np.where(np.isnan(measured), 1.0, measured)
    one_sided = 0.5 + 0.5 * confidence
    known = measured[~np.isnan(measured)]
    value = float(known.mean()) if len(known) else math.nan
    return value, mean_lower_limit(low, one_sided), 1.0 - mean_lower_limit(1.0 - high, one_sided)


def _curve(values: NDArray[Any], unit: NDArray[Any]) -> NDArray[np.float64]:
    """Return the median over trials at each step, of values divided by the unit of their trial."""
    # Labels that are all zero have no relative residual.
    good = ~np.isnan(unit) & (unit > 0.0)
    if not good.any():
        return np.full(len(CHECKPOINTS), np.nan)
    return np.asarray(np.quantile(values[good] / unit[good, None], 0.5, axis=0, method="inverted_cdf"))


def _enter(estimates: Values, name: str, estimate: Estimated) -> None:
    for end, number in zip(("", "_lower", "_upper"), estimate, strict=True):
        estimates[f"{name}{end}"] = number


def _stacked(rows: Sequence[Values]) -> Values:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}
