"""Estimates of sub-Gaussian scales and of scaling exponents in n and d, with confidence limits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ntkmc.numeric import Floats
from ntkmc.statistics.intervals import error_rate, sorted_interval

# Limits hold for all levels at once, by Bonferroni: more levels would widen each interval.
_LEVELS: Final = 6
"""Number of tail levels, evenly spaced on a log scale, at which a law is compared with the normal law."""

_BULK: Final = 0.2
"""Tail probability at which the exponent's range begins. Nearer the median, the tail has no influence."""

# About 20 +- 12 values lie beyond the last level (2.7 standard deviations, at the corrected confidence), so that its
# quantile has both limits.
_LEAST: Final = 20.0
"""Expected number of trials beyond the last level."""

_COLLINEAR: Final = 0.99
"""Correlation above which two parameters cannot be distinguished, and only the second is fitted."""


class Estimate(NamedTuple):
    """An estimate with confidence limits."""

    value: float
    lower: float
    upper: float


def sub_gaussian_scale(values: ArrayLike, confidence: float = 0.95) -> tuple[Estimate, Estimate]:
    """Estimate the sub-Gaussian scale of a law around its median, and the exponent of its growth along the tail.

    With q_p the (1 - p)-quantile of |Y - median| and z_p that of |g|, g standard normal: the scale is the largest
    q_p / z_p over levels p from 1/2 down to 20 / T, so that tails up to there are those of a normal law with it. The
    exponent of q_p against z_p between p = 1/5 and 20 / T is 1 for a normal law and above it for heavier tails (2 for
    exponential ones in the limit).

    Parameters
    ----------
    values : array_like, (T,)
        Independent samples, their number fixed in advance.

    Returns
    -------
    scale, exponent : Estimate
        Limits from intervals of order statistics that hold for all levels at once, wherever within its own interval
        the median lies.

    Examples
    --------
    >>> scale, exponent = sub_gaussian_scale(np.random.default_rng(0).standard_normal(4000))
    >>> scale.lower < 1.0 < scale.upper and exponent.lower < 1.0 < exponent.upper
    True
    """
    points = np.asarray(values, dtype=np.float64).ravel()
    unknown = Estimate(np.nan, -np.inf, np.inf)
    deepest = _LEAST / max(len(points), 1)
    if deepest > 0.5 * _BULK:
        return unknown, unknown
    levels = np.concatenate([np.geomspace(0.5, deepest, _LEVELS), [_BULK]])
    corrected = 1.0 - error_rate(confidence) / (len(levels) + 1)
    distances = np.sort(points)
    low, high = sorted_interval(distances, 0.5, corrected)
    median = float(np.median(distances))
    # Distances are taken from the median of the sample. They err by at most its distance from the median of the law.
    shift = max(high - median, median - low)
    np.abs(np.subtract(distances, median, out=distances), out=distances)  # in place, to save memory
    distances.sort()
    z = special.ndtri(1.0 - levels / 2)
    q = np.quantile(distances, 1.0 - levels)
    ends = np.array([sorted_interval(distances, 1.0 - level, corrected) for level in levels])
    ends[:, 0] = np.maximum(ends[:, 0] - shift, 0.0)
    ends[:, 1] += shift
    scale = Estimate(*(float(np.max(quantiles / z)) for quantiles in (q, ends[:, 0], ends[:, 1])))
    # The last two levels are the deepest and `_BULK`. A limit of the exponent takes opposite ends of their quantiles.
    log_ratio = np.log(z[-2] / z[-1])
    with np.errstate(divide="ignore", invalid="ignore"):  # a law with an atom at its median has quantiles 0
        exponent = Estimate(
            *(
                float(np.log(outer / inner) / log_ratio)
                for outer, inner in ((q[-2], q[-1]), (ends[-2, 0], ends[-1, 1]), (ends[-2, 1], ends[-1, 0]))
            )
        )
    return scale, exponent if np.isfinite(exponent.value) else unknown


def exponents(
    values: ArrayLike, lower: ArrayLike, upper: ArrayLike, axes: Mapping[str, ArrayLike]
) -> dict[str, Estimate]:
    """Estimate exponents of positive values in one or two parameters, by least squares on a log scale.

    The limits are the extremes of the least-squares slope over all values within the given intervals. They hold at the
    simultaneous confidence of the intervals, without any model of the errors.

    Parameters
    ----------
    values, lower, upper : array_like, (cells,)
        Estimates with simultaneous limits.
    axes : mapping of str to array_like (cells,)
        Parameters, by name. One that takes a single value, or is collinear with another, has no exponent.

    Returns
    -------
    dict of str to Estimate

    Examples
    --------
    >>> d = np.array([10.0, 20.0, 40.0])
    >>> [round(end, 3) for end in exponents(d**0.5, 0.99 * d**0.5, 1.01 * d**0.5, {"d": d})["d"]]
    [0.5, 0.486, 0.514]
    """
    y = np.asarray(values, dtype=np.float64)
    ends = [np.asarray(end, dtype=np.float64) for end in (lower, upper)]
    usable = (y > 0.0) & np.isfinite(y)
    y = np.log(y[usable])
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (np.log(np.maximum(end[usable], 0.0)) for end in ends)
    columns: dict[str, Floats] = {}
    for name, parameter in axes.items():
        column = np.log(np.asarray(parameter, dtype=np.float64)[usable])
        if len(column) and np.ptp(column - column.mean()) > 1e-9:
            columns[name] = column - column.mean()
    names = list(columns)
    if len(names) == 2 and abs(np.corrcoef(columns[names[0]], columns[names[1]])[0, 1]) > _COLLINEAR:
        del columns[names[0]]  # collinear with the other one
        names = names[1:]
    if not names or len(y) < len(names) + 1:
        return {}
    # The slopes are linear in the values: row by row, the extremes over a box of values are at its corners.
    weights = np.linalg.pinv(np.column_stack([columns[name] for name in names]))
    estimates = {}
    for name, row in zip(names, weights, strict=True):
        with np.errstate(invalid="ignore"):
            least = np.where(row == 0.0, 0.0, np.minimum(row * low, row * high)).sum()
            most = np.where(row == 0.0, 0.0, np.maximum(row * low, row * high)).sum()
        known = not (np.isnan(least) or np.isnan(most))
        estimates[name] = Estimate(
            float(row @ y), float(least) if known else -np.inf, float(most) if known else np.inf
        )
    return estimates


def halves(parameter: ArrayLike) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """Return masks of the lower and upper half of a parameter's values; None for fewer than three distinct values.

    Both halves contain the middle value.

    Examples
    --------
    >>> [half.tolist() for half in halves([8, 32, 128])]
    [[True, True, False], [False, True, True]]
    """
    along = np.asarray(parameter)
    distinct = np.unique(along)
    if len(distinct) < 3:
        return None
    return along <= distinct[(len(distinct) - 1) // 2], along >= distinct[len(distinct) // 2]
