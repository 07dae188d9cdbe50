"""Count and tensor sketches against explicit tensor products, and against the moments that they are known to have."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from ntkmc.linalg.sketching import sketches
from ntkmc.linalg.sketching.sketches import CountSketch, Hashes, TensorSketch, powers
from ntkmc.numeric import Matrix

DRAWS = 1500


def stream(seed: int, use: int = 0) -> np.random.Generator:
    return Hashes((seed, 1)).stream(use)


def inner(sketch: Matrix) -> float:
    return float(sketch[0] @ sketch[1])


def z_score(values: Matrix, mean: float) -> float:
    return float((values.mean() - mean) / (values.std(ddof=1) / math.sqrt(len(values))))


def test_a_tensor_sketch_is_the_count_sketch_of_the_tensor_product() -> None:
    """Entry (i, j) of a (x) b goes, with both signs, to bucket h(i) + g(j) mod m: written out."""
    rng = np.random.default_rng(0)
    A, B = rng.standard_normal((3, 5)), rng.standard_normal((3, 4))
    for buckets in (2, 7, 64):
        sketch = TensorSketch.draw(stream(0), (5, 4), buckets)
        expected = np.zeros((3, buckets))
        for i in range(5):
            for j in range(4):
                at = (sketch.left.into[i] + sketch.right.into[j]) % buckets
                expected[:, at] += sketch.left.signs[i] * sketch.right.signs[j] * A[:, i] * B[:, j]
        found = np.empty((3, buckets))
        sketch.fill(A, B, found, 0.5)
        assert np.max(np.abs(found - 0.5 * expected)) <= 1e-14 * np.max(np.abs(expected)) * buckets


def test_count_sketch_has_its_mean_and_variance() -> None:
    """Var <Cx, Cy> = (|x|^2 |y|^2 + <x, y>^2 - 2 sum x_i^2 y_i^2) / m (Charikar et al.), for independent buckets.

    The mean within the normal quantile at 1e-5; the variance within 25 %, five standard errors of 1500 draws of
    kurtosis below 5: false-alarm rate about 1e-5.
    """
    rng = np.random.default_rng(1)
    X = rng.standard_normal((2, 12))
    x, y = X
    found = np.array([inner(CountSketch.draw(stream(seed), 12, 20).of(X)) for seed in range(DRAWS)])
    assert abs(z_score(found, float(x @ y))) <= stats.norm.isf(0.5e-5)
    variance = (x @ x * (y @ y) + (x @ y) ** 2 - 2.0 * np.sum(x * x * y * y)) / 20
    assert 1 / 1.25 <= found.var() / variance <= 1.25


@pytest.mark.parametrize("degree", [2, 3, 5])
def test_powers_are_unbiased_for_polynomial_kernels(degree: int) -> None:
    """E <Z_r(x), Z_r(y)> = <x, y>^r exactly; two values each, false-alarm rate 1e-5 in all."""
    rng = np.random.default_rng(degree)
    X = rng.standard_normal((2, 5))
    X /= np.linalg.norm(X, axis=1)[:, None]
    X[1] = (X[0] + X[1]) / np.linalg.norm(X[0] + X[1])
    draws = []
    for seed in range(DRAWS):
        (last,) = [Z.copy() for r, Z in powers(stream(seed), X, degree, 64) if r == degree]
        draws.append([last[0] @ last[1], last[0] @ last[0]])
    for values, mean in zip(np.array(draws).T, (float(X[0] @ X[1]) ** degree, 1.0), strict=True):
        assert abs(z_score(values, mean)) <= stats.norm.isf(0.5e-5 / 6)


def test_variance_of_powers_grows_with_the_degree_and_not_exponentially() -> None:
    """Of |Z_16(x)|^2, |x| = 1, with m buckets: at most (1 + 8 / m)^15 - 1, since the square of |.|^2 grows in the mean
    by a factor of at most 1 + (3^2 - 1) / m in each product (Pham & Pagh). One sketch of 16 vectors: 3^16 / m."""
    x = np.random.default_rng(3).standard_normal((1, 8))
    x /= np.linalg.norm(x)
    squares = []
    for seed in range(300):
        (last,) = [Z.copy() for r, Z in powers(stream(seed), x, 16, 256) if r == 16]
        squares.append(float(last[0] @ last[0]))
    assert np.var(squares) <= (1 + 8 / 256) ** 15 - 1


def test_maps_of_different_keys_uses_and_numbers_are_independent() -> None:
    """Signs agree in half of the places: within 5 standard deviations, false-alarm rate below 2e-6."""
    mine = stream(0)
    first, second = (CountSketch.draw(mine, 10_000, 50) for _ in range(2))
    for other in (second, CountSketch.draw(stream(1), 10_000, 50), CountSketch.draw(stream(0, 1), 10_000, 50)):
        assert abs(float(first.signs @ other.signs)) <= 5 * math.sqrt(10_000)
        assert np.mean(first.into == other.into) < 0.05
    assert set(np.unique(CountSketch.draw(mine, 30, 9).of(np.eye(30)))) == {-1.0, 0.0, 1.0}


def test_rows_go_through_in_batches_that_nobody_notices(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(4).standard_normal((11, 6))
    whole = [Z.copy() for _, Z in powers(stream(5), X, 5, 32)]
    monkeypatch.setattr(sketches, "ROWS", 4)
    for expected, (_, found) in zip(whole, powers(stream(5), X, 5, 32), strict=True):
        assert np.max(np.abs(found - expected)) <= 1e-12 * np.max(np.abs(expected))


def test_draws_are_what_they_were() -> None:
    """A change here is a change of results: it needs another constant in `NUMERICS`."""
    drawn = CountSketch.draw(stream(7, 2), 8, 100)
    assert drawn.into.tolist() == INTO
    assert drawn.signs.tolist() == SIGNS


INTO = [51, 32, 36, 49, 26, 41, 12, 98]
SIGNS = [-1.0, 1.0, -1.0, -1.0, -1.0, -1.0, -1.0, -1.0]
