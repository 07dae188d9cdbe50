"""Estimates follow from trials by the stated rules."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from ntkmc.experiment.analysis.estimates import Rules, estimate
from ntkmc.experiment.analysis.overall import overall, overall_event
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.linalg.eigen.result import Status
from ntkmc.statistics import clopper_pearson, confidence_sequence


def trials(values: list[float], width: float = 0.0) -> dict[str, NDArray[np.float64]]:
    value = np.array(values)
    status = np.where(np.isnan(value), Status.FAILED.code, Status.CERTIFIED.code)
    return {
        "lambda_min": value,
        "lambda_min_lower": value - width,
        "lambda_min_upper": value + width,
        "status": status,
    }


def rules(*thresholds: float, delta: float = 0.1, fixed: bool = True) -> Rules:
    return Rules(np.array(thresholds), delta, 0.95, fixed)


def test_counts_and_intervals() -> None:
    found = estimate(trials([0.1, 0.2, 0.3, 0.4]), rules(0.25, 0.05, 0.3))
    assert found["probability"].tolist() == [0.5, 1.0, 0.5]
    assert found["proved"].tolist() == [2, 4, 2]
    assert found["undecided"].tolist() == [0, 0, 0]
    lower, upper = confidence_sequence([2, 4, 2], 4)
    assert np.array_equal(found["probability_lower"], lower)
    assert np.array_equal(found["probability_upper"], upper)
    assert np.array_equal(found["probability_lower_fixed"], clopper_pearson([2, 4, 2], 4)[0])


def test_undecided_counts_against_both_limits() -> None:
    """Enclosures that hold the threshold, and a failed trial: 0 for the lower limit, 1 for the upper."""
    found = estimate(trials([0.1, 0.25, np.nan, 0.4], width=0.01), rules(0.25))
    assert (found["proved"][0], found["undecided"][0]) == (1, 2)
    assert found["probability_lower"][0] == confidence_sequence(1, 4)[0]
    assert found["probability_upper"][0] == confidence_sequence(3, 4)[1]
    assert found["probability"][0] == 0.5


def test_no_fixed_interval_while_running() -> None:
    found = estimate(trials([0.1, 0.2]), rules(0.15, fixed=False))
    assert np.isnan(found["probability_lower_fixed"]).all()
    assert np.isnan(found["lambda_0_certified"])


def test_nothing_yet() -> None:
    found = estimate(trials([]), rules(0.15, fixed=False))
    assert np.isnan(found["probability"]).all()
    assert (found["probability_lower"][0], found["probability_upper"][0]) == (0.0, 1.0)
    assert found["nondegenerate"][0] == Verdict.UNDECIDED


def test_nondegenerate_verdicts() -> None:
    values = [0.5] * 200
    found = estimate(trials(values), rules(0.4, 0.6))
    assert found["nondegenerate"].tolist() == [Verdict.SUPPORTED, Verdict.REFUTED]
    assert found["lambda_0_certified"] == 0.5
    assert estimate(trials(values[:10]), rules(0.4))["nondegenerate"][0] == Verdict.UNDECIDED


def test_certified_threshold_holds() -> None:
    """The certified lambda_0 is wrong in at most 5 % of studies (seeded; plus four standard errors)."""
    rng = np.random.default_rng(0)
    wrong = 0
    for _ in range(400):
        found = estimate(trials(list(rng.exponential(size=100))), rules(1.0))
        wrong += np.exp(-found["lambda_0_certified"]) < 0.9  # P(Y >= c) = exp(-c)
    assert wrong <= 20 + 4 * np.sqrt(19)


def test_overall() -> None:
    assert overall([Verdict.HOLDS, Verdict.VIOLATED, Verdict.NOT_EVALUATED]) is Verdict.VIOLATED
    assert overall([Verdict.VACUOUS, Verdict.NOT_APPLICABLE]) is Verdict.VACUOUS
    assert overall([Verdict.NOT_EVALUATED, Verdict.NOT_APPLICABLE]) is Verdict.NOT_APPLICABLE
    assert overall([]) is Verdict.NOT_EVALUATED


@pytest.mark.parametrize(
    ("proved", "expected"),
    [([200, 200], Verdict.SUPPORTED), ([200, 100], Verdict.REFUTED), ([200, 180], Verdict.UNDECIDED), ([], None)],
)
def test_overall_event(proved: list[int], expected: Verdict | None) -> None:
    total = np.full(len(proved), 200)
    found = overall_event(np.array(proved), np.zeros(len(proved), int), total, rules(1.0))
    assert found is (expected or Verdict.NOT_EVALUATED)
