"""Predicted laws: Marchenko-Pastur by quadrature, simulated Wishart matrices, moments, closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import integrate

from ntkmc.errors import InputError
from ntkmc.statistics import kolmogorov_distance
from ntkmc.theory.cell import CellContext
from ntkmc.theory.kernels.functions import diagonal_value
from ntkmc.theory.kernels.gegenbauer import effective_ridge
from ntkmc.theory.predictions.predictors import (
    LAWS,
    coherence_fixed_dimension_cdf,
    coherence_limit,
    coherence_limit_cdf,
    elkaroui,
    laws_for,
)
from ntkmc.theory.predictions.spectral_law import FreeSum, elkaroui_law, free_sum_law
from ntkmc.theory.predictions.sphere import coherence_cdf, coherence_probability, pair_quantile


def marchenko_pastur(x: float, ratio: float) -> float:
    """Density of Z Z' / d, Z standard normal (n, d), n / d = ratio, apart from its atom at 0."""
    low, high = (1.0 - math.sqrt(ratio)) ** 2, (1.0 + math.sqrt(ratio)) ** 2
    return math.sqrt(max((high - x) * (x - low), 0.0)) / (2.0 * math.pi * ratio * x)


@pytest.mark.parametrize("ratio", [0.05, 0.3, 2.0, 25.0])
def test_marchenko_pastur_by_quadrature(ratio: float) -> None:
    law = FreeSum(np.array([1.0]), np.array([ratio]), 0.0)
    low, high = (1.0 - math.sqrt(ratio)) ** 2, (1.0 + math.sqrt(ratio)) ** 2
    atom = max(0.0, 1.0 - 1.0 / ratio)
    assert law.atom == atom
    for x in np.linspace(low, high, 9)[1:-1]:
        share = atom + integrate.quad(marchenko_pastur, low, x, args=(ratio,), epsabs=1e-11, limit=200)[0]
        assert float(law.cdf(x)) == pytest.approx(share, abs=1e-8)
        assert float(law.density(x)) == pytest.approx(marchenko_pastur(x, ratio), rel=1e-6)
    assert law.cdf([low - 0.01 * low, high * 1.01]) == pytest.approx([atom, 1.0], abs=1e-8)
    assert float(law.cdf(0.0)) == pytest.approx(atom, abs=1e-9)
    assert float(law.cdf_below(0.0)) == pytest.approx(0.0, abs=1e-9)
    assert law.quantile(law.cdf(0.5 * (low + high))) == pytest.approx(0.5 * (low + high), rel=1e-6)


def test_scaled_and_shifted() -> None:
    plain, moved = (FreeSum(np.array([w]), np.array([0.5]), s) for w, s in ((1.0, 0.0), (3.0, 2.0)))
    x = np.linspace(0.05, 3.0, 40)
    assert moved.cdf(3.0 * x + 2.0) == pytest.approx(plain.cdf(x), abs=1e-8)


def test_against_independent_wishart_matrices() -> None:
    """Three bands and an atom: the empirical law of 600 eigenvalues of one sum, whose fluctuations are O(1/n)."""
    rng = np.random.default_rng(5)
    n, parts, shift = 600, ((4.0, 60), (1.0, 200), (9.0, 3)), 0.5
    W = shift * np.eye(n)
    for weight, rank in parts:
        Z = rng.standard_normal((n, rank))
        W += weight / rank * Z @ Z.T
    law = FreeSum(np.array([w for w, _ in parts]), np.array([n / rank for _, rank in parts]), shift)
    assert law.atom == pytest.approx(1.0 - 263 / 600)
    values = np.linalg.eigvalsh(W)
    values[values < shift + 1e-9] = shift  # the atom, to rounding
    assert kolmogorov_distance(values, law.cdf, law.cdf_below) < 0.01


@pytest.mark.parametrize(
    ("kernel", "depth", "n", "d"), [("ntk", 2, 60, 30), ("ntk", 5, 200, 20), ("h-infinity", 2, 100, 100)]
)
def test_free_sum_of_a_kernel(kernel: str, depth: int, n: int, d: int) -> None:
    """Its left end is the effective ridge, its mean k(1), its variance the parts'; its density integrates."""
    law = free_sum_law(kernel, depth, n, d)
    edge = effective_ridge(kernel, depth, n, d)
    assert float(law.cdf(edge * (1.0 - 1e-3))) < 1e-6
    assert float(law.cdf(edge * (1.0 + 1e-3))) > 1e-6
    levels = (np.arange(1000) + 0.5) / 1000
    values = law.quantile(levels)
    assert float(np.mean(values)) == pytest.approx(diagonal_value(kernel, depth), rel=1e-2)
    variance = float(np.sum(law.weights**2 * law.ratios))
    assert float(np.var(values)) == pytest.approx(variance, rel=3e-2)
    a, b = law.quantile([0.2, 0.7])
    inside = np.linspace(a, b, 1001)
    assert integrate.simpson(law.density(inside), x=inside) == pytest.approx(0.5, abs=1e-6)


def test_an_atom_is_left_out_of_the_density() -> None:
    law = elkaroui_law("ntk", 3, 300, 100)
    assert law.shift > 0.1
    outside = law.shift * np.array([1.0 - 1e-3, 1.0 - 1e-6, 1.0, 1.0 + 1e-6, 1.0 + 1e-3])
    np.testing.assert_allclose(law.density(outside), 0.0, atol=0.1)  # smoothed, the atom alone is above 1e6
    inside = np.linspace(float(law.quantile(law.atom + 1e-6)), law.top, 40_001)
    assert integrate.simpson(law.density(inside), x=inside) == pytest.approx(1.0 - law.atom, abs=1e-3)


def test_elkaroui_is_its_predictor() -> None:
    for n, d in ((50, 100), (100, 100), (300, 100)):
        law = elkaroui_law("ntk", 3, n, d)
        edge = elkaroui("ntk", 3, n, d)
        assert float(law.cdf_below(edge * (1.0 - 1e-9))) < 1e-5
        assert law.quantile(0.5 * max(law.atom, 2e-5)) == pytest.approx(edge, rel=2e-2)
    assert elkaroui_law("ntk", 3, 300, 100).atom == pytest.approx(2 / 3)


def test_coherence_laws() -> None:
    """Values of the limit law; the finite law between its proved bounds; both limits close where they should be."""
    # P(d log(1 - rho^2) + 4 log n - log log n <= y) -> 0.071, 0.181, 0.419 at y = -2, 0, 2
    n, d = 200, 1000
    for y, share in ((-2.0, 0.071), (0.0, 0.181), (2.0, 0.419)):
        t = math.sqrt(-math.expm1((y - 4.0 * math.log(n) + math.log(math.log(n))) / d))
        assert 1.0 - float(coherence_limit_cdf(t, n, d)) == pytest.approx(share, abs=5e-4)
    assert float(coherence_limit_cdf(coherence_limit(n, d), n, d)) == pytest.approx(0.5, abs=1e-12)
    for share in (0.1, 0.5, 0.9):
        t = float(pair_quantile(-math.log(share) / (0.5 * 50 * 49), 100))
        low, high = coherence_probability(t, 50, 100)
        assert low - 1e-12 <= 1.0 - float(coherence_cdf(t, 50, 100)) <= high
        n = 10**5
        t = float(pair_quantile(-math.log(share) / (0.5 * n * (n - 1)), 10**4))
        assert float(coherence_limit_cdf(t, n, 10**4)) == pytest.approx(share, abs=0.05)
        n = 300  # in small dimensions angles are n^(-2/(d - 1)), and what their cosines keep of them less
        for d in (2, 3, 5):
            t = float(pair_quantile(-math.log(share) / (0.5 * n * (n - 1)), d))
            assert float(coherence_fixed_dimension_cdf(t, n, d)) == pytest.approx(share, abs=0.01)
    assert coherence_limit_cdf([0.0, 1.0], 200, 1000).tolist() == [0.0, 1.0]


def test_the_coherence_of_uniform_directions() -> None:
    """Simulated, 4000 draws: within DKW's band at alpha = 1e-6 (0.0426) of a law whose own error is below 0.02 here.

    False-alarm rate below 1e-6; seeded.
    """
    rng = np.random.default_rng(11)
    n, d, trials = 50, 20, 4000
    values = np.empty(trials)
    for trial in range(trials):
        X = rng.standard_normal((n, d))
        X /= np.linalg.norm(X, axis=1, keepdims=True)
        values[trial] = np.max(np.abs(np.tril(X @ X.T, -1)))
    distance = kolmogorov_distance(values, lambda t: coherence_cdf(t, n, d))
    assert distance < 0.0426 + 0.02
    # The limit law is off by more than that at these sizes: a test that could not tell would pass it, too.
    assert kolmogorov_distance(values, lambda t: coherence_limit_cdf(t, n, d)) > 0.09


def test_where_laws_are_meant() -> None:
    def ids(**changed: object) -> list[str]:
        cell: dict[str, object] = (
            {"n": 50, "d": 20, "unit_rows": True, "law": "sphere"} | {"second_moment": 1.0} | changed
        )
        context = CellContext("ntk", 3, **cell)  # type: ignore[arg-type]
        return [each.id for quantity in ("eigenvalues", "coherence") for each in laws_for(context, quantity)]

    assert ids() == ["pred-elkaroui", "pred-effective-ridge", "pred-coherence"]
    assert ids(d=1000) == [*ids(), "pred-coherence-limit"]
    assert ids(d=3) == ["pred-coherence", "pred-coherence-fixed-d"]
    assert ids(law="rademacher") == []
    assert ids(second_moment=None) == ["pred-coherence"]
    context = CellContext("ntk", 3, n=50, d=3, unit_rows=True, law="sphere", second_moment=1.0)
    for each in LAWS.values():
        if each.quantity == "coherence":
            share = each.law(context).cdf(np.linspace(0.9, 1.0, 50))
            assert (np.diff(share) >= 0.0).all()
            assert share[-1] == 1.0


def test_levels_are_checked() -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        elkaroui_law("ntk", 2, 10, 10).quantile(1.0)
