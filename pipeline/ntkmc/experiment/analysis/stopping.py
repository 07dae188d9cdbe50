"""Stopping rule of adaptive studies: a cell stops at the first look at which its intervals are narrow enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ntkmc.numeric import Floats
from ntkmc.statistics.sequential import confidence_sequence


def is_precise(lower: Floats, upper: Floats, half_width: float) -> NDArray[np.bool_]:
    """Return a mask of the intervals that are narrow enough; an unknown interval is not."""
    return np.asarray(upper - lower <= 2.0 * half_width)


def first_precise(
    lower: Floats, upper: Floats, thresholds: Floats, looks: Sequence[int], half_width: float, confidence: float
) -> int | None:
    """Return the first look at which every confidence sequence has at most the given half-width, or None.

    Parameters
    ----------
    lower, upper : ndarray, (depths, T)
        Proved bounds on lambda_min, trials in the order of their addresses; NaN for failed trials.
    looks : sequence of int
        Increasing numbers of trials, at most T.
    """
    if not looks:
        return None
    counts = np.array(looks)
    # Cumulative sums give the counts at all looks in one pass over the trials.
    proved = np.cumsum(lower[:, None, :] >= thresholds[:, None], axis=2)[..., counts - 1]
    excluded = np.cumsum(upper[:, None, :] < thresholds[:, None], axis=2)[..., counts - 1]
    low, _ = confidence_sequence(proved, counts, confidence)
    _, high = confidence_sequence(counts - excluded, counts, confidence)
    precise = np.flatnonzero(is_precise(low, high, half_width).all(axis=(0, 1)))
    return int(counts[precise[0]]) if precise.size else None
