"""Convergence of random kernel matrices to their kernel: estimates of one cell at one depth.

The matrices are tangent kernels of finite networks, which converge as the width grows, or Gram matrices of feature
maps, which converge as the number of features grows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.analysis.estimates import Rules, Trials, Values
from ntkmc.experiment.schema.variables import QUANTILES
from ntkmc.statistics import confidence_sequence, exponents, quantile_sequence
from ntkmc.theory.claims.trial_statistics import FINITE_WIDTH, SKETCHING


def convergence(widths: NDArray[np.int64], networks: Sequence[Trials], n: int, rules: Rules) -> Values:
    """Estimate the convergence of tangent kernels over the widths of one cell.

    Parameters
    ----------
    widths : ndarray, (widths,)
        In any order.
    networks : sequence of mappings of str to ndarray (T,)
        For each width, the trials that enter estimates: `lambda_min_*` of the limit and `network_*` of the networks.
        T may differ between widths, and may be 0.
    n : int
        Rows of a draw.
    rules : Rules
        `delta` and the confidence of one cell are used.

    Returns
    -------
    dict
        Variables of the `convergence` group at this cell and depth: (widths,) or scalars.
    """
    estimates = approach(widths, networks, rules, FINITE_WIDTH.prefix, "width")
    limits = [midpoints(trials, "lambda_min") for trials in networks]
    # All sizes use the same draws: the one with most trials has the best median of lambda_min.
    least = median(max(limits, key=len, default=np.empty(0)))
    estimates["printed_width"] = n**6 / least**4 if least > 0.0 else np.nan
    return estimates


def approach(sizes: NDArray[np.int64], matrices: Sequence[Trials], rules: Rules, prefix: str, what: str) -> Values:
    """Estimate the convergence of matrices to their kernel: errors, shares of success, least sizes, exponents.

    Parameters
    ----------
    sizes, matrices, rules
        As `widths`, `networks` and `rules` of `convergence`.
    prefix : str
        Prefix of the variables of these matrices.
    what : str
        Name of their size in names of variables.

    Notes
    -----
    A trial that failed, or whose enclosures do not decide an event, counts as a failure in the lower limit and as a
    success in the upper limit. Limits of least sizes and of exponents hold for all sizes simultaneously (Bonferroni).
    """
    # Bonferroni over the sizes: the least size is chosen after looking at all of them.
    together = 1.0 - (1.0 - rules.confidence) / max(len(sizes), 1)
    total = np.array([len(trials["status"]) for trials in matrices])
    estimates: Values = {"trials_used": total}
    for event, counted in (("norm", _close), ("eigenvalue", _positive)):
        counts = np.array([counted(trials, prefix) for trials in matrices]).reshape(len(matrices), 3)
        proved, estimated, not_excluded = counts.T
        estimates |= _shares(event, proved, estimated, not_excluded, total, rules.confidence)
        estimates |= smallest_size(
            f"{event}_{what}", sizes, (proved, estimated, not_excluded), total, rules.delta, together
        )
    estimates |= _deviations(sizes, matrices, together, prefix, what)
    estimates["lambda_min_median"] = np.array([median(trials[f"{prefix}lambda_min"]) for trials in matrices])
    return estimates


def _close(trials: Trials, prefix: str) -> tuple[int, int, int]:
    """Count trials with |matrix - kernel| <= lambda_min / 4: surely, by midpoints, and possibly."""
    return _counted(
        -midpoints(trials, f"{prefix}deviation"),
        -trials[f"{prefix}deviation_upper"],
        -trials[f"{prefix}deviation_lower"],
        trials,
        -0.25,
    )


def _positive(trials: Trials, prefix: str) -> tuple[int, int, int]:
    """Count trials with lambda_min of the matrix >= 3/4 lambda_min: surely, by midpoints, and possibly."""
    return _counted(
        midpoints(trials, f"{prefix}lambda_min"),
        trials[f"{prefix}lambda_min_lower"],
        trials[f"{prefix}lambda_min_upper"],
        trials,
        0.75,
    )


def _counted(
    value: NDArray[Any], lower: NDArray[Any], upper: NDArray[Any], trials: Trials, share: float
) -> tuple[int, int, int]:
    """Count trials with a quantity of at least `share` times lambda_min: proved, by midpoints, and not excluded."""
    # A negative share exchanges the ends. Comparisons with NaN are false, so a failed trial is undecided.
    ends = [share * trials[f"lambda_min_{end}"] for end in ("lower", "upper")]
    least, most = np.minimum(*ends), np.maximum(*ends)
    proved = int(np.sum(lower >= most))
    not_excluded = len(value) - int(np.sum(upper < least))
    estimated = int(np.sum(value >= 0.5 * (least + most)))
    return proved, estimated, not_excluded


def midpoints(trials: Trials, name: str) -> NDArray[Any]:
    """Return the midpoints of the enclosures of a variable."""
    return np.asarray(0.5 * (trials[f"{name}_lower"] + trials[f"{name}_upper"]))


def _shares(
    event: str,
    proved: NDArray[Any],
    estimated: NDArray[Any],
    not_excluded: NDArray[Any],
    total: NDArray[Any],
    confidence: float,
) -> Values:
    with np.errstate(invalid="ignore"):
        share = np.where(total > 0, estimated / np.maximum(total, 1), np.nan)
    lower, _ = confidence_sequence(proved, total, confidence)
    _, upper = confidence_sequence(not_excluded, total, confidence)
    return {
        f"{event}_share": share,
        f"{event}_share_lower": np.where(total > 0, lower, np.nan),
        f"{event}_share_upper": np.where(total > 0, upper, np.nan),
    }


def smallest_size(
    name: str,
    sizes: NDArray[np.int64],
    counts: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    total: NDArray[Any],
    delta: float,
    confidence: float,
) -> Values:
    """Estimate the least size from which on an event has probability 1 - delta, with confidence limits.

    `counts` holds, per size, the numbers of trials in which the event is proved, occurred by midpoints, and is not
    excluded.
    """
    proved, estimated, not_excluded = counts
    lower, _ = confidence_sequence(proved, total, confidence)
    _, upper = confidence_sequence(not_excluded, total, confidence)
    # The least size from which on the event is likely lies above every size at which it is proved to be unlikely.
    refuted = sizes[(total > 0) & (upper < 1.0 - delta)]
    return {
        name: _from_which_on(sizes, (total > 0) & (estimated >= (1.0 - delta) * total), np.nan),
        f"{name}_lower": float(refuted.max()) if refuted.size else 0.0,
        f"{name}_upper": _from_which_on(sizes, lower >= 1.0 - delta, np.inf),
    }


def _from_which_on(sizes: NDArray[np.int64], good: NDArray[np.bool_], none: float) -> float:
    """Return the least size such that it and all larger sizes are good; `none` if the largest size is not."""
    least = none
    # From the largest size down: a good size below a bad one does not count.
    for position in np.argsort(sizes)[::-1]:
        if not good[position]:
            break
        least = float(sizes[position])
    return least


def _deviations(
    sizes: NDArray[np.int64], matrices: Sequence[Trials], confidence: float, prefix: str, what: str
) -> Values:
    medians = np.full((len(matrices), 3), np.nan)
    for row, trials in zip(medians, matrices, strict=True):
        lower, upper = (trials[f"{prefix}deviation_{end}"] for end in ("lower", "upper"))
        if len(lower):
            row[0] = median(midpoints(trials, f"{prefix}deviation"))
            # A trial that failed may have had any deviation.
            ends = np.where(np.isnan(lower), -np.inf, lower), np.where(np.isnan(upper), np.inf, upper)
            row[1:] = quantile_sequence(*ends, 0.5, confidence)
    value, lower, upper = medians.T
    estimates = {"deviation_median": value, "deviation_median_lower": lower, "deviation_median_upper": upper}
    # The exponent is fitted to medians, which exist for every law, with their simultaneous limits.
    fitted = exponents(value, lower, upper, {what: sizes})
    for end, number in zip(("", "_lower", "_upper"), fitted.get(what, (np.nan,) * 3), strict=True):
        estimates[f"exponent{end}"] = np.asarray(number)
    return estimates


def median(values: NDArray[Any]) -> float:
    """Return the median of the values that are not NaN; NaN if there are none."""
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else float("nan")


def sketch_accuracy(features: NDArray[np.int64], sketches: Sequence[Trials], n: int, rules: Rules) -> Values:
    """Estimate the convergence of feature maps over the numbers of features of one cell.

    Parameters
    ----------
    features : ndarray, (features,)
        In any order.
    sketches : sequence of mappings of str to ndarray (T,)
        For each number, the trials that enter estimates: `lambda_min_*` of the kernel and `sketch_*` of the maps.
    n : int
        Rows of a draw.
    rules : Rules
        `delta` and the confidence of one cell are used.

    Returns
    -------
    dict
        Variables of the `sketch_accuracy` group at this cell and depth: (features,), (features, quantiles) or scalars.
    """
    estimates = approach(features, sketches, rules, SKETCHING.prefix, "features")
    for name in ("deviation", "entry_deviation"):
        estimates[f"{name}_quantile"] = np.array(
            [_quantiles(midpoints(trials, f"{SKETCHING.prefix}{name}")) for trials in sketches]
        )
    estimates["relative_median"] = np.array([median(_relative(trials)) for trials in sketches])
    return estimates


def _relative(trials: Trials) -> NDArray[Any]:
    """Return the distance to the kernel relative to the norm of the kernel; NaN if that is 0 (all rows are zero)."""
    norm = midpoints(trials, f"{SKETCHING.prefix}kernel_norm")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norm > 0.0, midpoints(trials, f"{SKETCHING.prefix}deviation") / norm, np.nan)


def _quantiles(values: NDArray[Any]) -> NDArray[Any]:
    present = values[~np.isnan(values)]
    return np.quantile(present, QUANTILES) if len(present) else np.full(len(QUANTILES), np.nan)
