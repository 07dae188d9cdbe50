"""P(lambda_min >= lambda_0) as a function of lambda_0, n and d, with the method of the stored estimates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.experiment.analysis.estimates import estimate
from ntkmc.experiment.schema import Verdict
from ntkmc.linalg.eigen import Status
from ntkmc.numeric import Floats
from ntkmc.statistics import quantile_interval
from ntkmc.statistics.intervals import dkw_halfwidth
from ntkmc.statistics.scaling import Estimate, exponents
from ntkmc.views.cells import Arrays, CellDepth, Grid

SURFACE: Final = ("d", "n", "probability", "lower", "upper", "trials", "nondegenerate")
MEDIANS: Final = ("d", "n", "median", "lower", "upper", "low", "high", "trials")


@dataclass(frozen=True)
class Curve:
    """Empirical survival function of lambda_min with its simultaneous band.

    Attributes
    ----------
    points : ndarray, (m,)
        Values of lambda_min, increasing.
    probability : ndarray, (m,)
        Share of trials with lambda_min >= the point; constant down to the previous point.
    lower, upper : ndarray, (m,)
        Dvoretzky-Kiefer-Wolfowitz band at the points, from the proved lower and upper ends of every lambda_min. A
        trial without a value counts as 0 for the lower and as 1 for the upper end.
    trials : int
    """

    points: Floats
    probability: Floats
    lower: Floats
    upper: Floats
    trials: int

    def at(self, threshold: float) -> float:
        """Return the share of trials with lambda_min >= threshold."""
        position = int(np.searchsorted(self.points, threshold, side="left"))
        return float(self.probability[position]) if position < len(self.points) else 0.0

    def thinned(self, most: int) -> Curve:
        """Return at most this many of the points, with both ends."""
        if len(self.points) <= most:
            return self
        # Evenly spaced in probability, so that all steps of the drawn curve have the same height.
        kept = np.unique(np.linspace(0, len(self.points) - 1, most).round().astype(int))
        return Curve(self.points[kept], self.probability[kept], self.lower[kept], self.upper[kept], self.trials)


def survival(trials: Arrays, confidence: float) -> Curve:
    """Return the curve of one place from its trials, as `Grid.prefix` returns them.

    The band is simultaneous in the threshold, for one curve whose number of trials was fixed in advance.

    Raises
    ------
    InputError
        If events alone were decided: there is no distribution of lambda_min to draw.

    Examples
    --------
    >>> values = np.array([3.0, 1.0, 2.0, 4.0])
    >>> trials = {"lambda_min": values, "lambda_min_lower": values, "lambda_min_upper": values, "status": np.ones(4)}
    >>> curve = survival(trials, 0.95)
    >>> curve.at(2.0), curve.at(2.5), curve.at(5.0)
    (0.75, 0.5, 0.0)
    """
    if (trials["status"] == Status.DECIDED.code).any():
        raise InputError("this store decided events alone (measure: event): it has no distribution of lambda_min")
    total = len(trials["status"])
    values = trials["lambda_min"]
    points = np.unique(values[~np.isnan(values)])
    if not total or not len(points):
        empty = np.empty(0)
        return Curve(empty, empty, empty, empty, total)
    # The band is around the shares of the proved ends, so that it includes the errors of lambda_min.
    half = dkw_halfwidth(total, confidence)
    low, high = trials["lambda_min_lower"], trials["lambda_min_upper"]
    return Curve(
        points,
        _share(values, points, -np.inf),
        np.maximum(_share(low, points, -np.inf) - half, 0.0),
        np.minimum(_share(high, points, np.inf) + half, 1.0),
        total,
    )


def _share(values: Floats, points: Floats, failed: float) -> Floats:
    """Return the share of values at or above each point, with `failed` in place of NaN."""
    ordered = np.sort(np.where(np.isnan(values), failed, values))
    # The event is lambda_min >= point: a value that equals the point counts.
    return np.asarray((len(ordered) - np.searchsorted(ordered, points, side="left")) / len(ordered))


@dataclass(frozen=True)
class Probability:
    """Estimate of P(lambda_min >= lambda_0) at one place and threshold.

    Attributes
    ----------
    lambda_0, probability, lower, upper : float
        Estimate, and its confidence sequence.
    lower_fixed, upper_fixed : float
        Clopper-Pearson; NaN if the number of trials was not fixed in advance, or is not reached.
    trials, proved, undecided : int
        Numbers of trials: all; those with lambda_min >= lambda_0 by proof; those that failed, or whose enclosure
        contains lambda_0.
    nondegenerate : str
        Whether the probability is at least 1 - delta: supported, refuted or undecided.
    """

    lambda_0: float
    probability: float
    lower: float
    upper: float
    lower_fixed: float
    upper_fixed: float
    trials: int
    proved: int
    undecided: int
    nondegenerate: str


def probabilities_at(grid: Grid, place: CellDepth, thresholds: ArrayLike) -> list[Probability]:
    """Estimate P(lambda_min >= lambda_0) at any thresholds, with the method and the trials of the stored estimates.

    A confidence sequence is valid at any number of trials, for one threshold. For a simultaneous band, see `survival`.

    Returns
    -------
    list of Probability
        Empty before the first estimate of the cell at this depth.

    Raises
    ------
    InputError
        If the store contains only decided events, and none for one of these thresholds.
    """
    values = [float(value) for value in np.atleast_1d(np.asarray(thresholds, dtype=np.float64))]
    # Trials that decided events have no lambda_min that could be compared with another threshold.
    if grid.decided_only and (undecided := sorted(set(values) - set(grid.thresholds))):
        raise InputError(
            f"lambda_0 = {undecided[0]:g} was not decided (measure: event); this store answers "
            + ", ".join(f"{value:g}" for value in grid.thresholds)
        )
    trials = grid.prefix(place)
    if not len(trials["status"]):
        return []
    estimates = estimate(trials, grid.rules(place, values))
    intervals = {
        name.removeprefix("probability_"): ends for name, ends in estimates.items() if name.startswith("probability_")
    }
    return [
        Probability(
            lambda_0=threshold,
            probability=float(estimates["probability"][i]),
            **{name: float(ends[i]) for name, ends in intervals.items()},
            trials=int(estimates["trials_used"]),
            proved=int(estimates["proved"][i]),
            undecided=int(estimates["undecided"][i]),
            nondegenerate=Verdict(int(estimates["nondegenerate"][i])).word,
        )
        for i, threshold in enumerate(values)
    ]


def surface_frame(grid: Grid, distribution: str, depth: int, threshold: float) -> pd.DataFrame:
    """Return P(lambda_min >= threshold) over the (n, d) of one distribution and depth, one row per cell with trials.

    Columns: `d`, `n`, `probability` with `lower` and `upper` (confidence sequence of its row), `trials`,
    `nondegenerate` in words.
    """
    rows = [
        vars(probability) | {"d": place.d, "n": place.n}
        for place in grid.places
        if (place.distribution, place.depth) == (distribution, depth)
        for probability in probabilities_at(grid, place, [threshold])
    ]
    return pd.DataFrame(rows, columns=list(SURFACE))


def medians_frame(grid: Grid, distribution: str, depth: int) -> pd.DataFrame:
    """Return the median of lambda_min over the (n, d) of one distribution and depth, one row per cell with values.

    Columns: `d`, `n`, `median`, its limits `lower` and `upper`, which hold for all rows at once, the 5 % and 95 %
    quantiles of lambda_min `low` and `high`, and `trials`. All from the trials of the store's estimates.
    """
    places = [place for place in grid.places if (place.distribution, place.depth) == (distribution, depth)]
    rows = []
    for place in places:
        trials = grid.prefix(place)
        values = trials["lambda_min"][~np.isnan(trials["lambda_min"])]
        if not len(values):
            continue
        # Bonferroni: the exponents that are fitted to the medians need limits that hold for all of them at once.
        confidence = 1.0 - (1.0 - grid.confidence(place)) / len(places)
        # A failed trial may have any lambda_min: it counts as -inf for the lower and as inf for the upper limit.
        ends = [
            quantile_interval(np.where(np.isnan(trials[name]), failed, trials[name]), 0.5, confidence)[side]
            for side, (name, failed) in enumerate((("lambda_min_lower", -np.inf), ("lambda_min_upper", np.inf)))
        ]
        low, median, high = (float(value) for value in np.quantile(values, (0.05, 0.5, 0.95)))
        rows.append((place.d, place.n, median, *ends, low, high, len(trials["status"])))
    return pd.DataFrame(rows, columns=list(MEDIANS))


def median_exponents(medians: pd.DataFrame) -> dict[str, Estimate]:
    """Return exponents of the median in n and in d, fitted together on log axes, with limits from those of the rows.

    Cells whose median is not proved to be positive have no logarithm, and are left out.

    Parameters
    ----------
    medians : DataFrame
        As `medians_frame` returns it.

    Returns
    -------
    dict of str to Estimate
        By axis; without an axis that has a single value, or that is determined by the other one.

    Examples
    --------
    >>> frame = pd.DataFrame({"d": [8, 8, 32, 32], "n": [4, 16, 4, 16], "median": [1.0, 0.5, 1.0, 0.5]})
    >>> frame = frame.assign(lower=frame["median"], upper=frame["median"])
    >>> round(median_exponents(frame)["n"].value, 6)
    -0.5
    """
    # The medians' limits become limits on a log axis, where zero is at minus infinity.
    medians = medians[medians["lower"] > 0.0]
    if medians.empty:
        return {}
    value, lower, upper = (medians[name].to_numpy() for name in ("median", "lower", "upper"))
    return exponents(value, lower, upper, {axis: medians[axis].to_numpy() for axis in ("n", "d")})
