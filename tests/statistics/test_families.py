"""Multiplicity, constants and exponents: what is true at the edge is not condemned, what is false is caught.

Seeded. Rates over 1000 simulated studies are allowed three standard errors above the stated level.
"""

from __future__ import annotations

import numpy as np
import pytest

from ntkmc.experiment.analysis.overall import overall_probability
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.statistics import (
    confidence_sequence,
    e_bh,
    exponents,
    holm,
    log_e_range,
    mean_log_e,
    quantile_interval,
    sub_gaussian_scale,
)

STUDIES = 1000
SLACK = 3 * np.sqrt(0.05 * 0.95 / STUDIES)


def judged(violations: np.ndarray[tuple[int, ...], np.dtype[np.int64]], trials: int, delta: float) -> Verdict:
    log_e = log_e_range(violations, violations, trials, 0.0, delta)
    _, upper = confidence_sequence(violations, trials)
    verdicts = np.where(upper <= delta, Verdict.SUPPORTED, Verdict.UNDECIDED)
    return overall_probability(verdicts, log_e, 0.95)[0]


def test_a_bound_that_is_attained_is_rarely_refuted() -> None:
    """20 cells of 400 trials whose violation probability is delta exactly."""
    rng = np.random.default_rng(0)
    wrong = sum(judged(rng.binomial(400, 0.1, 20), 400, 0.1) is Verdict.REFUTED for _ in range(STUDIES))
    assert wrong / STUDIES <= 0.05 + SLACK


def test_peeking_raises_no_false_alarms() -> None:
    """One cell, looked at after every trial up to 500."""
    rng = np.random.default_rng(1)
    trials = np.arange(1, 501)
    wrong = 0
    for _ in range(STUDIES):
        count = np.cumsum(rng.random(500) < 0.1)
        wrong += bool(np.any(log_e_range(count, count, trials, 0.0, 0.1) >= np.log(20.0)))
    assert wrong / STUDIES <= 0.05 + SLACK


def test_a_false_bound_in_one_cell_of_twenty_is_caught() -> None:
    rng = np.random.default_rng(2)
    caught = 0
    for _ in range(100):
        violations = rng.binomial(1000, 0.1, 20)
        violations[7] = rng.binomial(1000, 0.2)
        caught += judged(violations, 1000, 0.1) is Verdict.REFUTED
    assert caught >= 95


def test_two_sided_ranges() -> None:
    """Too many and too few both refute; within, neither does."""
    assert log_e_range(300, 300, 1000, 0.05, 0.1) > np.log(20.0)
    assert log_e_range(10, 10, 1000, 0.05, 0.1) > np.log(20.0)
    assert log_e_range(75, 75, 1000, 0.05, 0.1) < 0.0
    assert log_e_range(0, 500, 1000, 0.05, 0.1) < 0.0  # undecided trials speak against neither side
    assert log_e_range(1, 1, 10, 0.0, 1e-30) > np.log(1e20)


def test_e_bh_controls_false_discoveries() -> None:
    """Half of 20 cells are null and attained; dependence by shared draws."""
    rng = np.random.default_rng(3)
    proportions = []
    for _ in range(300):
        shared = rng.binomial(400, 0.1)
        violations = np.concatenate([np.full(10, shared), rng.binomial(400, 0.25, 10)])
        rejected = e_bh(log_e_range(violations, violations, 400, 0.0, 0.1))
        proportions.append(rejected[:10].sum() / max(rejected.sum(), 1))
    assert np.mean(proportions) <= 0.05


def test_holm_and_mean() -> None:
    assert holm([0.001, 0.3, 0.02]).tolist() == [True, False, True]
    assert holm([]).tolist() == []
    assert e_bh([]).tolist() == []
    assert mean_log_e([]) == 0.0


@pytest.mark.parametrize("slope", [0.0, 0.5])
def test_limits_of_exponents_cover(slope: float) -> None:
    """Quantiles of exponential laws of scale d**slope: the limits hold the truth in 95 % of 200 families or more."""
    rng = np.random.default_rng(4)
    d = np.array([10.0, 40.0, 160.0])
    covered = 0
    for _ in range(200):
        samples = [rng.exponential(scale=size**slope, size=400) for size in d]
        ends = [quantile_interval(values, 0.9, 1 - 0.05 / 3) for values in samples]
        middle = [np.quantile(values, 0.9) for values in samples]
        found = exponents(middle, [low for low, _ in ends], [up for _, up in ends], {"d": d})["d"]
        covered += found.lower <= slope <= found.upper
        assert found.lower <= found.value <= found.upper
    assert covered >= 190


def test_exponents_in_two_parameters() -> None:
    n, d = (axis.ravel() for axis in np.meshgrid([10.0, 20.0, 40.0], [5.0, 50.0]))
    values = 3.0 * n**-0.7 * d**0.2
    found = exponents(values, values, values, {"n": n, "d": d})
    assert found["n"].value == pytest.approx(-0.7)
    assert found["d"].value == pytest.approx(0.2)
    assert list(exponents(d, d, d, {"n": d**2, "d": d})) == ["d"]  # n follows d
    assert exponents([1.0], [0.5], [2.0], {"n": [3.0]}) == {}


def test_tails() -> None:
    """Exponential tails are told from normal ones; bounded ones are not heavier."""
    rng = np.random.default_rng(5)
    _, normal = sub_gaussian_scale(rng.standard_normal(20_000))
    _, heavy = sub_gaussian_scale(rng.laplace(size=20_000))
    _, bounded = sub_gaussian_scale(rng.uniform(size=5000))
    assert normal.upper < 1.15 < heavy.lower
    assert bounded.upper < 1.0
    assert np.isnan(sub_gaussian_scale(rng.standard_normal(50))[0].value)
