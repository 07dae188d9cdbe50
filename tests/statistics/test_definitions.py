"""Procedures against their definitions, written out a second time without arrays, and edges of their domains."""

from __future__ import annotations

import itertools
import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ntkmc import statistics as s
from ntkmc.errors import InputError
from ntkmc.statistics.scaling import halves

LOG_E = st.lists(st.floats(-5.0, 8.0), min_size=1, max_size=12)


def test_one_impossible_count_among_others_is_refused() -> None:
    for successes, trials in (([1, -1], [2, 2]), ([1, 3], [2, 2])):
        for interval in (s.clopper_pearson, s.wilson, s.confidence_sequence):
            with pytest.raises(InputError, match="between 0 and trials"):
                interval(successes, trials)
    for delta in ([0.1, 0.0], [0.1, 1.0]):
        with pytest.raises(InputError, match="delta"):
            s.log_e_process(1, 2, delta)


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_levels_on_the_edge_are_refused(level: float) -> None:
    with pytest.raises(InputError, match="confidence"):
        s.clopper_pearson(1, 2, level)
    with pytest.raises(InputError, match="level"):
        s.quantile_interval([1.0], level)
    with pytest.raises(InputError, match="level"):
        s.quantile_sequence([1.0], [1.0], level)
    with pytest.raises(InputError, match="delta"):
        s.certifying_trials(level)


@given(st.integers(1, 199), st.integers(200, 400), st.sampled_from([0.8, 0.95]))
def test_wilson_inverts_the_score_test(successes: int, trials: int, confidence: float) -> None:
    z = stats.norm.ppf(0.5 + confidence / 2)
    for p in s.wilson(successes, trials, confidence):
        assert abs(successes / trials - p) == pytest.approx(z * math.sqrt(p * (1 - p) / trials), rel=1e-9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (3, 5), (5, 5), (40, 100)])
def test_clopper_pearson_inverts_the_binomial_test(successes: int, trials: int) -> None:
    lower, upper = (float(end) for end in s.clopper_pearson(successes, trials, 0.9))
    if successes:
        assert stats.binom(trials, lower).sf(successes - 1) == pytest.approx(0.05)
    if successes < trials:
        assert stats.binom(trials, upper).cdf(successes) == pytest.approx(0.05)


def test_band_of_samples_with_ties() -> None:
    points, lower, upper = s.dkw_band([2.0, 1.0, 2.0, 3.0, 2.0], 0.5)
    half = math.sqrt(math.log(4.0) / 10.0)
    assert points.tolist() == [1.0, 2.0, 2.0, 2.0, 3.0]
    assert lower == pytest.approx([0.0, *[0.8 - half] * 3, 1.0 - half])
    assert upper == pytest.approx([0.2 + half, *[1.0] * 4])
    assert [end.tolist() for end in s.dkw_band([])] == [[], [], []]
    assert s.dkw_halfwidth(0) == 1.0


@pytest.mark.parametrize(("violations", "trials", "delta"), [(0, 10, 0.1), (3, 10, 0.1), (10, 10, 0.5), (7, 40, 0.3)])
def test_e_process_is_the_mixture_of_likelihood_ratios(violations: int, trials: int, delta: float) -> None:
    """The integral over q > delta of (q / delta)^s ((1 - q) / (1 - delta))^(t - s), weighted by Beta(1/2, 1/2)."""

    def weight(q: mp.mpf) -> mp.mpf:
        return 1 / mp.sqrt(q * (1 - q))

    def ratio(q: mp.mpf) -> mp.mpf:
        return (q / delta) ** violations * ((1 - q) / (1 - delta)) ** (trials - violations)

    mixture = mp.quad(lambda q: ratio(q) * weight(q), [delta, 1]) / mp.quad(weight, [delta, 1])
    assert float(s.log_e_process(violations, trials, delta)) == pytest.approx(float(mp.log(mixture)), abs=1e-7)


def test_range_of_a_probability() -> None:
    """The mean of both sides' e-values; an end at 0 or 1 is refuted by a single event, or not tested from outside."""
    too_many, too_few = s.log_e_process(30, 100, 0.2), s.log_e_process(100 - 40, 100, 1.0 - 0.1)
    both = math.log(0.5 * (math.exp(float(too_many)) + math.exp(float(too_few))))
    assert float(s.log_e_range(30, 40, 100, 0.1, 0.2)) == pytest.approx(both)
    assert float(s.log_e_range(30, 40, 100, 0.0, 0.2)) == pytest.approx(float(too_many))
    assert float(s.log_e_range(30, 40, 100, 0.1, 1.0)) == pytest.approx(float(too_few))
    assert s.log_e_range([0, 1], [5, 5], 5, 0.0, 0.0).tolist() == [0.0, np.inf]
    assert s.log_e_range([0, 0], [5, 4], 5, 1.0, 1.0).tolist() == [0.0, np.inf]
    assert s.log_e_range([1, 2], 5, 5).tolist() == [0.0, 0.0]
    for ends in ((-0.1, 0.5), (0.5, 0.4), (0.5, 1.1)):
        with pytest.raises(InputError, match="range of probabilities"):
            s.log_e_range(1, 1, 5, *ends)


@given(LOG_E)
def test_mean_of_e_values(log_e: list[float]) -> None:
    assert s.mean_log_e(log_e) == pytest.approx(math.log(sum(map(math.exp, log_e)) / len(log_e)), abs=1e-12)


@given(LOG_E, st.sampled_from([0.5, 0.9, 0.95]))
def test_e_bh_rejects_the_most_that_it_may(log_e: list[float], confidence: float) -> None:
    total, alpha = len(log_e), 1.0 - confidence
    ordered = sorted(log_e, reverse=True)
    most = max((k for k in range(1, total + 1) if ordered[k - 1] >= math.log(total / (k * alpha))), default=0)
    rejected = s.e_bh(log_e, confidence)
    assert rejected.sum() == most
    assert sorted(np.asarray(log_e)[rejected], reverse=True) == ordered[:most]


@given(st.lists(st.floats(0.0, 0.1), min_size=1, max_size=8))
def test_holm_goes_up_to_the_first_that_fails(p_values: list[float]) -> None:
    count = 0
    for rank, p in enumerate(sorted(p_values)):
        if p > (1.0 - 0.95) / (len(p_values) - rank):
            break
        count += 1
    rejected = s.holm(p_values)
    assert rejected.sum() == count
    assert sorted(np.asarray(p_values)[rejected]) == sorted(p_values)[:count]


def test_limits_of_exponents_are_extremes_over_the_box() -> None:
    """The least-squares slope at every corner of the box; cells without a positive finite value are left out."""
    rng = np.random.default_rng(6)
    n, d = np.array([5.0, 10.0, 20.0, 40.0, 10.0, 7.0]), np.array([3.0, 9.0, 4.0, 20.0, 50.0, 8.0])
    values = rng.uniform(1.0, 9.0, 6)
    values[5] = 0.0
    lower, upper = 0.9 * values, 1.3 * values
    found = s.exponents(values, lower, upper, {"n": n, "d": d})
    kept = slice(5)
    design = np.column_stack([np.ones(5), np.log(n[kept]), np.log(d[kept])])
    corners = itertools.product(*zip(np.log(lower[kept]), np.log(upper[kept]), strict=True))
    slopes = np.array([np.linalg.lstsq(design, np.array(corner))[0] for corner in corners])
    for column, name in enumerate(("n", "d"), 1):
        value = np.linalg.lstsq(design, np.log(values[kept]))[0][column]
        extremes = value, slopes[:, column].min(), slopes[:, column].max()
        assert tuple(found[name]) == pytest.approx(extremes, rel=1e-9)


def test_exponents_with_open_limits() -> None:
    d = np.array([1.0, 2.0, 4.0])
    open_below = s.exponents(d, [0.0, 1.0, 3.0], 1.1 * d, {"d": d})["d"]
    assert (open_below.lower > -np.inf, open_below.upper) == (True, np.inf)
    open_both = s.exponents(d, [0.0, 1.0, 0.0], [2.0, 3.0, np.inf], {"d": d})["d"]
    assert open_both.value == pytest.approx(1.0)
    assert (open_both.lower, open_both.upper) == (-np.inf, np.inf)
    assert s.exponents(d[:2], d[:2], d[:2], {"d": d[:2]})["d"].value == pytest.approx(1.0)
    assert s.exponents(d, d, d, {"d": d, "n": d}) == s.exponents(d, d, d, {"n": d})
    assert s.exponents(d[:2], d[:2], d[:2], {"n": [1.0, 5.0], "d": [1.0, 1.0]}).keys() == {"n"}


@pytest.mark.parametrize("total", [200, 3000])
def test_scale_and_tail_from_their_definition(total: int) -> None:
    values = np.random.default_rng(7).laplace(size=total)
    scale, exponent = s.sub_gaussian_scale(values, 0.9)
    levels = [0.5 * (20.0 / total / 0.5) ** (i / 5) for i in range(6)] + [0.2]
    confidence = 1.0 - 0.1 / 8
    median = float(np.median(values))
    shift = max(abs(end - median) for end in s.quantile_interval(values, 0.5, confidence))
    distances = np.abs(values - median)
    z = [float(stats.norm.isf(p / 2)) for p in levels]
    q = [float(np.quantile(distances, 1.0 - p)) for p in levels]
    ends = [s.quantile_interval(distances, 1.0 - p, confidence) for p in levels]
    low, high = [max(end[0] - shift, 0.0) for end in ends], [end[1] + shift for end in ends]
    expected = [max(a / b for a, b in zip(each, z, strict=True)) for each in (q, low, high)]
    assert tuple(scale) == pytest.approx(expected, rel=1e-9)
    growth = math.log(z[5] / z[6])
    if low[5] > 0.0 and low[6] > 0.0 and high[5] < math.inf:
        pairs = ((q[5], q[6]), (low[5], high[6]), (high[5], low[6]))
        assert tuple(exponent) == pytest.approx([math.log(a / b) / growth for a, b in pairs], rel=1e-9)


def test_scale_needs_two_hundred_values() -> None:
    values = np.random.default_rng(8).standard_normal(200)
    assert np.isfinite(s.sub_gaussian_scale(values)[0].value)
    for estimate in s.sub_gaussian_scale(values[:199]):
        assert np.isnan(estimate.value)
        assert (estimate.lower, estimate.upper) == (-np.inf, np.inf)
    atom = np.concatenate([np.zeros(190), np.ones(10)])
    assert s.sub_gaussian_scale(atom)[1] == pytest.approx((np.nan, -np.inf, np.inf), nan_ok=True)


def test_halves() -> None:
    assert s.exponents([1.0], [1.0], [1.0], {"d": [1.0]}) == {}
    assert halves([4, 4, 2]) is None
    masks = halves([1, 2, 3, 4])
    assert masks is not None
    assert [mask.tolist() for mask in masks] == [[True, True, False, False], [False, False, True, True]]


@pytest.mark.parametrize("law", ["constant", "exponential", "with zeros"])
def test_lower_limit_of_a_mean_is_where_the_wealth_reaches_the_threshold(law: str) -> None:
    """The mean wealth of twelve fractions, 1 to 1/2048, at the limit and just above it."""
    rng = np.random.default_rng(9)
    y = {
        "constant": np.full(50, 3.0),
        "exponential": rng.exponential(size=300),
        "with zeros": rng.binomial(3, 0.3, 80),
    }[law]
    limit = s.mean_lower_limit(y, 0.9)

    def wealth(m: float) -> float:
        fractions = [2.0**-k for k in range(12)]
        return sum(math.prod(1.0 + b * (float(value) / m - 1.0) for value in y) for b in fractions) / 12

    assert 0.0 < limit < np.mean(y)
    assert wealth(limit) >= 1.0 / 0.1
    assert wealth(limit + 2e-4 * float(np.mean(y))) < 1.0 / 0.1


def test_means_without_limits() -> None:
    assert s.mean_lower_limit([]) == 0.0
    assert s.mean_lower_limit([1.0, -1.0]) == 0.0
    assert s.mean_lower_limit([0.0] * 20) == 0.0
    assert s.mean_lower_limit([1.0] * 20 + [np.inf]) == 0.0
    unlimited = (-np.inf, np.inf)
    assert tuple(map(float, s.mean_sequence(np.arange(29.0)))) == unlimited
    assert np.isfinite(s.mean_sequence(np.arange(30.0))).all()
    heavy = np.concatenate([np.zeros(50), np.ones(50), [30.0]])
    assert tuple(map(float, s.mean_sequence(heavy))) == unlimited
    with np.errstate(invalid="ignore"):
        assert tuple(map(float, s.mean_sequence([1.0] * 40 + [np.inf]))) == unlimited
    low, high = (float(end) for end in s.mean_sequence([0.1] * 40))  # constant but for the rounding of the mean
    assert low <= 0.1 <= high
    assert high - low <= 1e-12


def test_sequence_of_a_mean_from_its_formula() -> None:
    """Theorem 2.2 with rho chosen for 1000 values (their section B.2)."""
    y = np.random.default_rng(10).uniform(-1.0, 3.0, 400)
    t, alpha = 400, 0.05
    rho_squared = (-2.0 * math.log(alpha) + math.log(-2.0 * math.log(alpha) + 1.0)) / 1000.0
    spread = t * rho_squared + 1.0
    half = float(y.std()) * math.sqrt(2.0 * spread / (t**2 * rho_squared) * math.log(math.sqrt(spread) / alpha))
    low, high = (float(end) for end in s.mean_sequence(y))
    assert (low, high) == pytest.approx((y.mean() - half, y.mean() + half), abs=1e-10)


def test_looks_share_the_error_rate() -> None:
    assert s.distance_interval(0.5, 100, 0.9, looks=4) == pytest.approx(s.distance_interval(0.5, 100, 1.0 - 0.1 / 4))
    assert s.distance_interval(0.5, 100, 0.9, looks=2) == pytest.approx(s.distance_interval(0.5, 100, 0.95))
