"""Intervals against tables, definitions, and simulated coverage (seeded)."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from ntkmc import statistics as s
from ntkmc.errors import InputError

TABLE = {  # (successes, trials): Clopper-Pearson, Wilson, confidence sequence, log E at delta = 0.01
    (0, 100): ((0, 0.036217), (0, 0.036993), (0, 0.057029), -3.664837),
    (0, 1000): ((0, 0.003682), (0, 0.003827), (0, 0.006998), -5.733976),
    (3, 100): ((0.006230, 0.085176), (0.010255, 0.084519), (0.001879, 0.122949), -1.201491),
    (50, 1000): ((0.037335, 0.065390), (0.038130, 0.065314), (0.028720, 0.079240), 37.676348),
    (500, 1000): ((0.468549, 0.531451), (0.469070, 0.530930), (0.442418, 0.557582), 1610.849054),
}


@pytest.mark.parametrize(("counts", "row"), TABLE.items())
def test_table(counts: tuple[int, int], row: tuple[tuple[float, float], ...]) -> None:
    for interval, expected in zip((s.clopper_pearson, s.wilson, s.confidence_sequence), row, strict=False):
        assert interval(*counts) == pytest.approx(expected, abs=6e-7)
    assert s.log_e_process(*counts, 0.01) == pytest.approx(row[3], abs=6e-7)


@given(st.integers(0, 400), st.integers(0, 400), st.sampled_from([0.5, 0.9, 0.95, 0.999]))
def test_shape_of_intervals(successes: int, more: int, confidence: float) -> None:
    trials = successes + more
    for interval in (s.clopper_pearson, s.wilson, s.confidence_sequence):
        lower, upper = interval(successes, trials, confidence)
        assert 0.0 <= lower <= upper <= 1.0
        if trials:
            assert lower - 1e-12 <= successes / trials <= upper + 1e-12
        else:
            assert (float(lower), float(upper)) == (0.0, 1.0)
        mirrored = interval(more, trials, confidence)
        assert mirrored[0] == pytest.approx(1.0 - upper, abs=1e-9)
    narrow, wide = (
        s.clopper_pearson(successes, trials, confidence),
        s.confidence_sequence(successes, trials, confidence),
    )
    if trials:
        assert wide[0] <= narrow[0] + 1e-12


def test_vectorized() -> None:
    successes = np.arange(12).reshape(3, 4)
    lower, upper = s.clopper_pearson(successes, 20)
    assert lower.shape == upper.shape == (3, 4)
    assert lower[1, 2] == s.clopper_pearson(6, 20)[0]


@pytest.mark.parametrize("p", [0.02, 0.5, 0.9])
def test_clopper_pearson_covers(p: float) -> None:
    """Exact coverage, summed over all outcomes, is at least nominal."""
    k = np.arange(61)
    lower, upper = s.clopper_pearson(k, 60, 0.9)
    assert stats.binom(60, p).pmf(k)[(lower <= p) & (p <= upper)].sum() >= 0.9


def test_dkw() -> None:
    assert s.dkw_halfwidth(1000) == pytest.approx(0.0429, abs=1e-4)
    rng = np.random.default_rng(0)
    misses = 0
    for _ in range(400):
        points, lower, upper = s.dkw_band(rng.uniform(size=200), 0.9)
        misses += bool(np.any(lower > points) or np.any(upper < points))  # F(x) = x, at the points themselves
    # Nominal 40; at most 10 % + 4 standard errors (false alarm below 1e-4, seeded).
    assert misses <= 40 + 4 * math.sqrt(36)
    with pytest.raises(InputError, match="NaN"):
        s.dkw_band([0.0, math.nan])


@pytest.mark.parametrize("level", [0.05, 0.5, 0.9])
def test_quantile_interval_covers(level: float) -> None:
    """Coverage over all order statistics by the binomial, and by simulation on a skewed law (seeded)."""
    rng = np.random.default_rng(1)
    truth = -math.log(1 - level)
    hits = sum(
        (ends := s.quantile_interval(rng.exponential(size=120), level, 0.9))[0] <= truth <= ends[1] for _ in range(500)
    )
    assert hits >= 450 - 4 * math.sqrt(45)


@given(st.integers(1, 5000), st.sampled_from([0.01, 0.1, 0.5, 0.9]), st.sampled_from([0.5, 0.95, 0.999]))
def test_ranks_are_those_that_looking_at_all_of_them_finds(total: int, level: float, confidence: float) -> None:
    """Limits search for their ranks; the values 1 ... T are their own ranks."""
    values = np.random.default_rng(total).permutation(np.arange(1.0, total + 1.0))
    ranks, law, alpha = np.arange(total + 1), stats.binom(total, level), 1.0 - confidence
    low = np.flatnonzero(law.cdf(ranks) <= alpha / 2)
    high = np.flatnonzero(law.sf(ranks - 1) <= alpha / 2)
    expected = (
        low[-1] + 1.0 if low.size and low[-1] < total else -math.inf,
        float(high[0]) if high.size and high[0] >= 1 else math.inf,
    )
    assert s.quantile_interval(values, level, confidence) == expected
    one_sided = np.flatnonzero(law.cdf(ranks[:-1]) <= alpha)
    assert s.quantile_lower_limit(values, level, confidence) == (one_sided[-1] + 1.0 if one_sided.size else -math.inf)
    # A count is excluded when its confidence sequence excludes the level, but for the slack that rounding is granted.
    lower, upper = s.confidence_sequence(ranks, total, confidence)
    few, many = np.flatnonzero(upper < level), np.flatnonzero(lower > level)
    found = s.quantile_sequence(values, values, level, confidence)
    assert found == (
        few[-1] + 1.0 if few.size else -math.inf,
        float(many[0]) if many.size else math.inf,
    )


def test_one_sided_limit() -> None:
    rng = np.random.default_rng(2)
    truth = stats.norm.ppf(0.1)
    hits = sum(s.quantile_lower_limit(rng.standard_normal(100), 0.1, 0.9) <= truth for _ in range(500))
    assert hits >= 450 - 4 * math.sqrt(45)
    assert s.quantile_lower_limit([], 0.5) == -math.inf


def test_certifying_trials() -> None:
    for delta in (0.01, 0.05, 0.3):
        t = s.certifying_trials(delta)
        assert s.quantile_lower_limit(np.arange(t), delta) == 0.0
        assert s.quantile_lower_limit(np.arange(t - 1), delta) == -math.inf


def test_refusals() -> None:
    with pytest.raises(InputError, match="between 0 and trials"):
        s.clopper_pearson(3, 2)
    with pytest.raises(InputError, match="confidence"):
        s.wilson(1, 2, 1.0)
    with pytest.raises(InputError, match="level"):
        s.quantile_interval([1.0], 1.0)
    with pytest.raises(InputError, match="delta"):
        s.log_e_process(1, 2, 0.0)
    with pytest.raises(InputError, match="delta"):
        s.certifying_trials(1.0)
