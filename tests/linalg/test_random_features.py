"""Features of the arc-cosine kernels against closed forms: their means over directions, and their variances."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from ntkmc.linalg.networks.weights import Weights
from ntkmc.linalg.sketching.features import gates, rectify
from reference import exact_kernel

DRAWS = 2000


def rows() -> NDArray[np.float64]:
    X = np.random.default_rng(1).standard_normal((4, 3))
    X[3] = -X[0] + 0.1 * X[1]  # nearly opposite
    return X


def arc_cosine_features(X: NDArray[np.float64], order: int, features: int, seed: int) -> NDArray[np.float64]:
    """Features of kappa_0 of the rows, or of |x| |y| kappa_1."""
    weights = Weights.of(seed)
    if order == 0:
        return np.asarray(gates(X, weights, 1, features) * math.sqrt(2.0 / features), dtype=np.float64)
    result = np.empty((len(X), features))
    rectify(X, weights, 1, result)
    return result


def kappa(order: int, rho: float) -> float:
    """Cho & Saul's functions at 15 digits."""
    return float(exact_kernel(mp.mpf(rho), "conjugate", 2) if order else (mp.pi - mp.acos(mp.mpf(rho))) / mp.pi)


@pytest.mark.parametrize("order", [0, 1])
def test_mean_over_seeds_is_the_arc_cosine_kernel(order: int) -> None:
    """10 entries, two-sided normal quantiles at 1e-5 / 10 each: false-alarm rate 1e-5 a case."""
    unit = rows() / np.linalg.norm(rows(), axis=1)[:, None]
    draws = []
    for seed in range(DRAWS):
        Phi = arc_cosine_features(unit, order, 10, seed=seed)
        draws.append(Phi @ Phi.T)
    mean, spread = np.mean(draws, axis=0), np.std(draws, axis=0, ddof=1)
    for i in range(4):
        for j in range(i + 1):
            z = (mean[i, j] - kappa(order, min(1.0, float(unit[i] @ unit[j])))) / (spread[i, j] / math.sqrt(DRAWS))
            assert abs(z) <= stats.norm.isf(0.5e-6)


def test_variances_are_those_of_closed_forms() -> None:
    """Of a pair of gates: 2 kappa_0 - kappa_0^2. Of a rectifier with itself: 6 d / (d + 2) - 1; a normal direction
    has 5. 40,000 values each: within 6 %, more than five standard errors (false-alarm rate below 1e-5)."""
    X = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    opened, rectified = (arc_cosine_features(X, order, 40_000, seed=3) * math.sqrt(40_000) for order in (0, 1))
    assert abs(np.var(opened[0] * opened[1]) / (2 * 0.5 - 0.25) - 1.0) <= 0.06
    assert abs(np.var(rectified[0] ** 2) / (6 * 3 / 5 - 1.0) - 1.0) <= 0.06


def test_norms_scale_rectifiers_alone_and_more_features_continue_fewer() -> None:
    X = rows()
    for order in (0, 1):
        Phi = arc_cosine_features(X, order, 700, seed=2)
        assert np.array_equal(arc_cosine_features(4.0 * X, order, 700, seed=2), 4.0**order * Phi)
        fewer = arc_cosine_features(X, order, 300, seed=2)
        assert np.allclose(fewer * math.sqrt(300), Phi[:, :300] * math.sqrt(700), rtol=1e-12, atol=1e-14)
