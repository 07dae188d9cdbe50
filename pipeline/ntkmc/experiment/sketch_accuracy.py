"""How the Gram matrices of feature maps tend to their kernel: estimates of one cell at one depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.convergence import Trials, approach, median, midpoints
from ntkmc.experiment.evaluation import Rules, Values
from ntkmc.experiment.variables import QUANTILES
from ntkmc.theory.claims.base import SKETCH


def sketch_accuracy(features: NDArray[np.int64], sketches: Sequence[Trials], n: int, rules: Rules) -> Values:
    """Estimates over the numbers of features of one cell.

    Parameters
    ----------
    features : ndarray, (features,)
        In any order.
    sketches : sequence of mappings of str to ndarray (T,)
        For each number the trials that estimates rest on: `lambda_min_*` of the kernel and `sketch_*` of the maps.
    n : int
        Rows of a draw.
    rules : Rules
        `delta`, and the confidence of one cell.

    Returns
    -------
    dict
        Variables of the `sketch_accuracy` group at this cell and depth: (features,), (features, quantiles) or scalars.
    """
    found = approach(features, sketches, rules, SKETCH, "features")
    for name in ("deviation", "entry_deviation"):
        found[f"{name}_quantile"] = np.array([_quantiles(midpoints(each, f"{SKETCH}{name}")) for each in sketches])
    found["relative_median"] = np.array([median(_relative(each)) for each in sketches])
    return found


def _relative(trials: Trials) -> NDArray[Any]:
    """The distance in units of the kernel's own norm; that of zero rows, which is 0, says nothing."""
    norm = midpoints(trials, f"{SKETCH}kernel_norm")
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(norm > 0.0, midpoints(trials, f"{SKETCH}deviation") / norm, np.nan)


def _quantiles(values: NDArray[Any]) -> NDArray[Any]:
    present = values[~np.isnan(values)]
    return np.quantile(present, QUANTILES) if len(present) else np.full(len(QUANTILES), np.nan)
