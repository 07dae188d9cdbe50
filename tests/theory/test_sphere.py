"""Laws of angles, Gegenbauer expansions and predictors against closed forms, quadrature and simulation."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkmc.linalg.gram.enclosures import lambda_min
from ntkmc.theory.cell import CellContext
from ntkmc.theory.distributions import sample
from ntkmc.theory.kernels.functions import kernel_function
from ntkmc.theory.kernels.gegenbauer import effective_ridge, expansion, gegenbauer, harmonics
from ntkmc.theory.predictions.predictors import PREDICTORS, elkaroui, predictions
from ntkmc.theory.predictions.sphere import (
    close_pair_probability,
    coherence_cdf,
    coherence_probability,
    coherence_quantile,
    coherence_quantile_closed,
    pair_probability,
    pair_quantile,
)


@pytest.mark.parametrize(
    ("d", "t", "exact", "bound"),
    [
        (2, 0.5, 2 / 3, 0.866025),
        (3, 0.5, 0.5, 0.75),
        (10, 0.3, 0.370083122282, 0.654163),
        (10, 0.5, 0.117306803014, 0.274016),
        (50, 0.3, 0.0324477786167, 0.0992006),
        (100, 0.2, 0.0449347252126, 0.132564),
        (100, 0.4, 3.40840095369e-5, 1.78577e-4),
        (1000, 0.1, 0.00153571384214, 0.00660358),
        (1000, 0.15, 1.87126850008e-6, 1.15698e-5),
    ],
)
def test_pair_table(d: int, t: float, exact: float, bound: float) -> None:
    assert pair_probability(t, d) == pytest.approx(exact, rel=1e-11)
    assert (1 - t * t) ** (0.5 * (d - 1)) == pytest.approx(bound, rel=1e-5)


@given(st.integers(2, 400), st.floats(0.0, 0.99))
def test_pair_probability_is_its_integral(d: int, t: float) -> None:
    with mp.workdps(30):
        inside = mp.quad(lambda theta: mp.sin(theta) ** (d - 2), [0, mp.acos(mp.mpf(t))])
        whole = mp.quad(lambda theta: mp.sin(theta) ** (d - 2), [0, mp.pi / 2])
    assert float(pair_probability(t, d)) == pytest.approx(float(inside / whole), rel=1e-9)
    assert (
        pair_probability(t, d)
        <= (1 - t * t) ** (0.5 * (d - 1)) * (1 + 1e-12)
        <= np.exp(-(d - 1) * t * t / 2) * (1 + 1e-9)
    )


@given(st.integers(2, 1000), st.floats(1e-300, 1.0))
def test_pair_quantile_inverts(d: int, p: float) -> None:
    assert float(pair_probability(pair_quantile(p, d), d)) == pytest.approx(p, rel=1e-6)


def test_quantiles_of_the_coherence() -> None:
    """The table of `prob-lmin-sphere` at delta = 0.1."""
    for n, d, t in ((5, 100, 0.255), (10, 100, 0.301), (20, 1000, 0.109), (100, 1000, 0.134), (50, 100, 0.382)):
        assert float(coherence_quantile(0.1, n, d)) == pytest.approx(t, abs=6e-4)
        assert coherence_quantile(0.1, n, d) <= coherence_quantile_closed(0.1, n, d)


def test_sandwich_holds_the_truth() -> None:
    """Seeded; the estimate is allowed four standard errors."""
    n, d, draws = 12, 30, 4000
    rng = np.random.default_rng(5)
    found = np.empty(draws)
    for i in range(draws):
        X = sample("sphere", n, d, rng)
        found[i] = np.abs((X @ X.T)[np.triu_indices(n, 1)]).max()
    for delta in (0.1, 0.5):
        t = coherence_quantile(delta, n, d)
        low, high = coherence_probability(t, n, d)
        share = float(np.mean(found > t))
        assert low - 4 * np.sqrt(share / draws) <= share <= high + 4 * np.sqrt(share / draws)
        assert 1.0 - coherence_cdf(t, n, d) == pytest.approx(share, abs=0.04)
    assert close_pair_probability(0.3, n, d) <= 1.0


def test_harmonics_and_polynomials() -> None:
    assert [harmonics(10, k) for k in range(4)] == [1, 10, 54, 210]
    t = np.cos(np.linspace(0.0, np.pi, 7))
    assert np.allclose(gegenbauer(t, 2, 5)[5], np.cos(5 * np.arccos(t)), atol=1e-12)
    assert np.allclose(gegenbauer(1.0, 7, 20), 1.0, atol=1e-12)


@pytest.mark.parametrize(("kernel", "depth"), [("h-infinity", 2), ("ntk", 2), ("ntk", 4), ("conjugate", 3)])
def test_expansion_adds_up_to_the_kernel(kernel: str, depth: int) -> None:
    """Away from the singularity at the ends, where the series converges slowly."""
    xi, rest = expansion(kernel, depth, 6, 10**4)
    t = np.linspace(-0.8, 0.8, 9)
    assert np.all(xi >= 0.0)
    assert np.abs(xi @ gegenbauer(t, 6, len(xi) - 1) - kernel_function(t, kernel, depth)).max() < 1e-4
    assert 0.0 <= rest < 0.1
    if depth == 2:
        assert xi[3::2].max() < 1e-9


@pytest.mark.parametrize(
    ("kernel", "depth", "slope"), [("h-infinity", 2, -2.96), ("ntk", 2, -2.97), ("ntk", 4, -2.97)]
)
def test_decay_does_not_depend_on_depth(kernel: str, depth: int, slope: float) -> None:
    """Bietti & Bach (ICLR 2021): xi_k / B(d, k) decays as k**-d for every depth; d = 3, 15 <= k < 60, even k."""
    xi, _ = expansion(kernel, depth, 3, 10**6)
    k = np.arange(16, 60, 2)
    assert np.polyfit(np.log(k), np.log(xi[k] / (2 * k + 1)), 1)[0] == pytest.approx(slope, abs=0.011)


@pytest.mark.parametrize(
    ("kernel", "depth", "n", "d", "ridge", "limit"),
    [
        ("h-infinity", 2, 100, 100, 0.2316, 0.25),
        ("h-infinity", 2, 400, 100, 0.1800, 0.25),
        ("h-infinity", 2, 300, 300, 0.2409, 0.25),
        ("h-infinity", 2, 50, 20, 0.1433, 0.25),
        ("h-infinity", 2, 900, 30, 0.0806, 0.25),
        ("h-infinity", 2, 200, 5, 0.0249, 0.25),
        ("ntk", 2, 100, 100, 0.6310, 0.6817),
        ("ntk", 2, 400, 100, 0.4723, 0.6817),
        ("ntk", 3, 100, 100, 1.2795, 1.3562),
        ("ntk", 3, 400, 100, 1.0792, 1.3562),
        ("ntk", 3, 30, 50, 1.3485, 1.4049),
    ],
)
def test_predicted_edges(kernel: str, depth: int, n: int, d: int, ridge: float, limit: float) -> None:
    assert effective_ridge(kernel, depth, n, d) == pytest.approx(ridge, abs=6e-5)
    assert elkaroui(kernel, depth, n, d) == pytest.approx(limit, abs=6e-5)


def test_effective_ridge_is_close_to_draws() -> None:
    """Mean of five draws at n = d = 100: 0.2330 with standard deviation 0.0018; 0.2316 is predicted."""
    rng = np.random.default_rng(2)
    found = [lambda_min(sample("sphere", 100, 100, rng), "h-infinity")[2].value for _ in range(5)]
    assert np.mean(found) == pytest.approx(effective_ridge("h-infinity", 2, 100, 100), rel=0.02)


def test_every_predictor_says_something() -> None:
    said = set()
    for n, d, depth in ((100, 100, 2), (100, 3, 2), (200, 1000, 2), (10, 10, 40)):
        context = CellContext("ntk", depth, n, d, unit_rows=True, law="sphere", scale=1.0, second_moment=1.0)
        for quantity in ("lambda_min", "coherence"):
            found = predictions(context, quantity)
            assert all(0.0 < value <= depth for value in found.values())
            said |= set(found)
    assert said == set(PREDICTORS)
