"""Guarantees that hold at all times together, simulated. Seeded; the stated level plus four standard errors."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from scipy.special import betaln, xlog1py, xlogy

from ntkmc.statistics import confidence_sequence, log_e_process

RUNS, STEPS = 1000, 1000


@pytest.mark.parametrize("p", [0.01, 0.1, 0.5])
def test_ever_miscoverage(p: float) -> None:
    rng = np.random.default_rng(int(1000 * p))
    successes = np.cumsum(rng.uniform(size=(RUNS, STEPS)) < p, axis=1)
    # Whether p is inside needs no interval: it is a comparison of the martingale with 1 / alpha.
    t = np.broadcast_to(np.arange(1.0, STEPS + 1), successes.shape)
    evidence = betaln(0.5 + successes, 0.5 + t - successes) - betaln(0.5, 0.5)
    outside = evidence - xlogy(successes, p) - xlog1py(t - successes, -p) >= math.log(20)
    ever = outside.any(axis=1).mean()
    assert ever <= 0.05 + 4 * math.sqrt(0.05 * 0.95 / RUNS)
    # The interval says the same as the martingale.
    at = rng.integers(0, STEPS, size=50)
    for run, step in enumerate(at):
        lower, upper = confidence_sequence(successes[run, step], step + 1)
        assert (not lower <= p <= upper) == outside[run, step]


@pytest.mark.parametrize(("delta", "p", "limit"), [(0.01, 0.01, 0.05), (0.1, 0.1, 0.05), (0.1, 0.05, 0.05)])
def test_type_one_error(delta: float, p: float, limit: float) -> None:
    rng = np.random.default_rng(3)
    violations = np.cumsum(rng.uniform(size=(RUNS, STEPS)) < p, axis=1)
    ever = (log_e_process(violations, np.arange(1, STEPS + 1), delta) >= math.log(20)).any(axis=1).mean()
    assert ever <= limit + 4 * math.sqrt(limit * (1 - limit) / RUNS)


def test_power() -> None:
    rng = np.random.default_rng(4)
    violations = np.cumsum(rng.uniform(size=(200, 3000)) < 0.2, axis=1)
    ever = (log_e_process(violations, np.arange(1, 3001), 0.1) >= math.log(20)).any(axis=1).mean()
    assert ever > 0.99


@pytest.mark.parametrize("t", [10, 1000, 10**5, 10**7])
def test_ends_are_on_the_safe_side(t: int) -> None:
    """At each end the martingale, at 40 digits, has reached 1 / alpha: rounding never narrows the interval."""
    with mp.workdps(40):
        for s in {0, 1, 7, t // 3, t // 2, t - 1, t}:
            half = mp.mpf(1) / 2
            evidence = mp.log(mp.beta(half + s, half + t - s)) - mp.log(mp.beta(half, half))
            lower, upper = (float(end) for end in confidence_sequence(s, t))
            assert lower == 0.0 if s == 0 else evidence - s * mp.log(lower) - (t - s) * mp.log1p(-lower) >= mp.log(20)
            assert upper == 1.0 if s == t else evidence - s * mp.log(upper) - (t - s) * mp.log1p(-upper) >= mp.log(20)


def test_sequence_narrows() -> None:
    widths = [float(np.subtract(*confidence_sequence(t // 2, t)[::-1])) for t in (10, 100, 1000, 10000)]
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 0.05
