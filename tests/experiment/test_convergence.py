"""Estimates over widths from made-up trials whose answers are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ntkmc.experiment.analysis.estimates import Rules
from ntkmc.experiment.analysis.kernel_convergence import convergence
from ntkmc.experiment.schema.groups import declared
from ntkmc.numeric import Floats

RULES = Rules(np.array([0.1]), 0.1, 0.95, True)


def trials(deviation: Floats, smallest: Floats | float = 0.2, limit: float = 0.2) -> dict[str, Floats]:
    ends = {"lambda_min": limit, "network_deviation": deviation, "network_lambda_min": smallest}
    found = {
        f"{name}_{end}": np.broadcast_to(np.asarray(value, float), len(deviation)).copy()
        for name, value in ends.items()
        for end in ("lower", "upper")
    }
    return found | {"status": np.ones(len(deviation)), "network_lambda_min": found["network_lambda_min_lower"]}


def estimated(widths: list[int], shares: list[float], count: int = 400) -> dict[str, Any]:
    """Networks that keep to lambda_min / 4 = 0.05 in these shares of the trials."""
    made = []
    for share in shares:
        good = np.arange(count) < share * count
        made.append(trials(np.where(good, 0.04, 0.06), np.where(good, 0.16, 0.14)))
    return convergence(np.array(widths), made, 3, RULES)


def test_all_that_is_declared_is_estimated() -> None:
    found = estimated([10, 20], [0.0, 1.0])
    assert set(found) == set(declared("convergence"))
    for name, variable in declared("convergence").items():
        assert np.shape(found[name]) == ((2,) if "width" in variable.dims else ())


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_smallest_widths(order: list[int]) -> None:
    """The share must be 0.9: proved to be missed at 10, missed or met by chance at 40, met at 160, proved at 640."""
    widths, shares = [10, 40, 160, 640], [0.5, 0.89, 0.91, 1.0]
    found = estimated([widths[at] for at in order], [shares[at] for at in order])
    for event in ("norm", "eigenvalue"):
        assert found[f"{event}_width"] == 160
        assert found[f"{event}_width_lower"] == 10
        assert found[f"{event}_width_upper"] == 640
        np.testing.assert_allclose(found[f"{event}_share"], [shares[at] for at in order])
        assert (found[f"{event}_share_lower"] <= found[f"{event}_share"]).all()
        assert (found[f"{event}_share"] <= found[f"{event}_share_upper"]).all()
    assert found["printed_width"] == pytest.approx(3**6 / 0.2**4)


def test_a_wider_network_that_fails_counts() -> None:
    """The least width from which on all is well, not the least at which it is."""
    found = estimated([10, 20, 30], [1.0, 0.2, 1.0])
    assert (found["norm_width"], found["norm_width_lower"], found["norm_width_upper"]) == (30, 20, 30)
    found = estimated([10, 20], [1.0, 0.2])
    assert np.isnan(found["norm_width"])
    assert found["norm_width_upper"] == np.inf
    assert estimated([10, 20], [1.0, 1.0])["norm_width_lower"] == 0


def test_failed_and_undecided_trials_count_for_both_limits() -> None:
    sure = trials(np.full(100, 0.04), 0.16)
    doubtful = {name: values.copy() for name, values in sure.items()}
    doubtful["network_deviation_upper"][:30] = 0.06
    for name in (
        "network_deviation_lower",
        "network_deviation_upper",
        "network_lambda_min",
        "network_lambda_min_lower",
    ):
        doubtful[name][90:] = np.nan
    found = convergence(np.array([5, 6]), [sure, doubtful], 3, RULES)
    assert found["norm_share_lower"][1] < 0.62 < found["norm_share_lower"][0]
    assert found["norm_share_upper"].tolist() == [1.0, 1.0]
    assert found["eigenvalue_share"].tolist() == [1.0, 0.9]


@pytest.mark.parametrize("exponent", [-0.5, -0.3])
def test_exponents(exponent: float) -> None:
    rng = np.random.default_rng(1)
    widths = np.array([64, 4096, 512])
    made = [trials(width**exponent * rng.lognormal(0.0, 0.3, 500)) for width in widths]
    found = convergence(widths, made, 3, RULES)
    assert found["exponent_lower"] < exponent < found["exponent_upper"]
    assert found["exponent_upper"] - found["exponent_lower"] < 0.1
    one = convergence(widths[:1], made[:1], 3, RULES)
    assert np.isnan(one["exponent"])


def test_no_trials_say_nothing() -> None:
    found = convergence(np.array([4, 8]), [trials(np.empty(0)), trials(np.empty(0))], 3, RULES)
    assert found["trials_used"].tolist() == [0, 0]
    for name in ("norm_share", "norm_share_lower", "deviation_median", "lambda_min_median"):
        assert np.isnan(found[name]).all(), name
    assert np.isnan(found["printed_width"])
    assert (np.isnan(found["norm_width"]), found["norm_width_lower"], found["norm_width_upper"]) == (True, 0.0, np.inf)
