"""Kolmogorov distance between an empirical and a given distribution function."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.numeric import Floats
from ntkmc.statistics.intervals import dkw_halfwidth


def kolmogorov_distance(
    values: ArrayLike, cdf: Callable[[Floats], Floats], cdf_below: Callable[[Floats], Floats] | None = None
) -> float:
    """Return the Kolmogorov distance sup_x |F_T(x) - F(x)| of the empirical distribution function F_T of the values.

    Parameters
    ----------
    values : array_like, (T,)
    cdf : callable
        Distribution function F, vectorized.
    cdf_below : callable, optional
        x -> F(x-), necessary if F has atoms.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    InputError
        If there are no values, or some are not finite.

    Notes
    -----
    Between two values F_T is constant and F does not fall: the supremum is attained at, or just below, a value. It is
    at least 1 / (2 T) for an F without atoms.

    Examples
    --------
    >>> kolmogorov_distance([0.25, 0.75], lambda x: x)
    0.25
    """
    points = np.sort(np.asarray(values, dtype=np.float64).ravel())
    total = len(points)
    if not total or not np.isfinite(points).all():
        raise InputError("a distance needs values, all of them finite")
    at, below = cdf(points), (cdf_below or cdf)(points)
    # Of tied values the last carries F_T, and the first its limit from below.
    last, first = np.searchsorted(points, points, side="right"), np.searchsorted(points, points, side="left")
    return float(max(np.max(last / total - at), np.max(below - first / total), 0.0))


def distance_interval(distance: float, trials: int, confidence: float = 0.95, looks: int = 1) -> tuple[float, float]:
    """Return limits for sup |G - F| from sup |G_T - F| = `distance`, with G the law of T independent values.

    By the triangle inequality, the limits are the distance plus and minus the half-width of the
    Dvoretzky-Kiefer-Wolfowitz band. With several interim analyses, at numbers of trials that are fixed in advance,
    alpha is divided equally among them (Bonferroni).

    Examples
    --------
    >>> [round(end, 3) for end in distance_interval(0.1, 1000)]
    [0.057, 0.143]
    """
    half = dkw_halfwidth(trials, 1.0 - (1.0 - confidence) / max(looks, 1))
    return max(distance - half, 0.0), min(distance + half, 1.0)
