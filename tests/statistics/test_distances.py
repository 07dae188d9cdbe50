"""Kolmogorov's distance against SciPy, ties and atoms by hand, the coverage of its interval."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ntkmc.errors import InputError
from ntkmc.numeric import Floats
from ntkmc.statistics import distance_interval, kolmogorov_distance


def test_against_scipy() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 7, 300):
        values = rng.standard_normal(size) + 0.3
        assert kolmogorov_distance(values, stats.norm.cdf) == pytest.approx(stats.kstest(values, "norm").statistic)


def test_ties_and_atoms() -> None:
    def cdf(x: Floats) -> Floats:
        return np.asarray(0.5 * (x >= 0.0) + 0.5 * np.clip(x, 0.0, 1.0))

    def below(x: Floats) -> Floats:
        return np.asarray(0.5 * (x > 0.0) + 0.5 * np.clip(x, 0.0, 1.0))

    assert kolmogorov_distance([0.0, 0.0, 0.5, 1.0], cdf, below) == 0.25
    assert kolmogorov_distance([0.0, 0.0, 0.0, 0.0], cdf, below) == 0.5
    assert kolmogorov_distance([0.0, 0.0, 0.0, 0.0], cdf) == 0.5  # F(0-) taken to be F(0): 0.5 - 0
    for wrong in ([], [0.0, np.nan], [np.inf]):
        with pytest.raises(InputError, match="finite"):
            kolmogorov_distance(wrong, cdf)


def test_interval_covers() -> None:
    """The true distance of N(0.2, 1) to N(0, 1); 400 repetitions at 95 %: at most 40 misses (binomial, below 1e-5)."""
    rng = np.random.default_rng(1)
    truth = 2.0 * stats.norm.cdf(0.1) - 1.0
    missed = 0
    for _ in range(400):
        distance = kolmogorov_distance(rng.standard_normal(100) + 0.2, stats.norm.cdf)
        low, high = distance_interval(distance, 100)
        missed += not low <= truth <= high
    assert missed <= 40
    assert distance_interval(0.0, 10) == pytest.approx((0.0, 0.4294), abs=1e-4)
    assert distance_interval(0.1, 0)[0] == 0.0
    one, many = distance_interval(0.5, 100), distance_interval(0.5, 100, looks=10)
    assert many[0] < one[0] < one[1] < many[1]
