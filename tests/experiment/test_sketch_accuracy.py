"""Estimates over numbers of features from made-up trials whose answers are known; what a study may say of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ntkmc.experiment.analysis.estimates import Rules
from ntkmc.experiment.analysis.kernel_convergence import sketch_accuracy
from ntkmc.experiment.schema.groups import declared
from ntkmc.experiment.schema.variables import QUANTILES
from ntkmc.numeric import Floats

RULES = Rules(np.array([0.1]), 0.1, 0.95, True)


def trials(deviation: Floats, smallest: float = 0.2, limit: float = 0.2) -> dict[str, Floats]:
    ends: dict[str, Any] = {"lambda_min": limit, "sketch_lambda_min": smallest, "sketch_kernel_norm": 4.0}
    ends |= {"sketch_deviation": deviation, "sketch_entry_deviation": 0.5 * deviation}
    found = {
        f"{name}_{end}": np.broadcast_to(np.asarray(value, float), len(deviation)).copy()
        for name, value in ends.items()
        for end in ("lower", "upper")
    }
    return found | {"status": np.ones(len(deviation)), "sketch_lambda_min": found["sketch_lambda_min_lower"]}


def test_all_that_is_declared_is_estimated_and_right() -> None:
    """Of 400 trials 95 % are within lambda_min / 4 = 0.05 at 256 features, none at 16: s* is 256."""
    rng = np.random.default_rng(1)
    few = trials(rng.uniform(0.2, 0.4, 400), 0.1)
    many = trials(np.where(np.arange(400) < 380, 0.04, 0.06), 0.16)
    found = sketch_accuracy(np.array([256, 16]), [many, few], 5, RULES)
    shapes = {"features": 2, "quantile": len(QUANTILES)}
    for name, variable in declared("sketch_accuracy").items():
        assert np.shape(found[name]) == tuple(shapes[dim] for dim in variable.dims if dim in shapes), name
    assert set(found) == set(declared("sketch_accuracy"))
    for event in ("norm", "eigenvalue"):
        assert (found[f"{event}_features"], found[f"{event}_features_lower"]) == (256, 16)
    assert found["norm_share"].tolist() == [0.95, 0.0]
    np.testing.assert_allclose(found["deviation_quantile"][1], np.quantile(few["sketch_deviation_lower"], QUANTILES))
    np.testing.assert_allclose(found["entry_deviation_quantile"], 0.5 * found["deviation_quantile"])
    np.testing.assert_allclose(found["relative_median"], found["deviation_median"] / 4.0)
    assert found["exponent_lower"] < np.log(0.04 / 0.3) / np.log(16) < found["exponent_upper"]


def test_no_trials_and_failed_ones_say_nothing() -> None:
    failed = trials(np.full(5, np.nan))
    for values in failed.values():
        values[:] = np.nan
    found = sketch_accuracy(np.array([4, 8]), [trials(np.empty(0)), failed], 3, RULES)
    for name in ("deviation_quantile", "entry_deviation_quantile", "relative_median", "lambda_min_median"):
        assert np.isnan(found[name]).all(), name
    assert found["norm_share_upper"][1] == 1.0
