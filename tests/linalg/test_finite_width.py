"""Enclosures of norms and eigenvalues of finite networks against NumPy, and against exact arithmetic for H_m."""

from __future__ import annotations

from fractions import Fraction

import mpmath as mp
import numpy as np
import pytest

from ntkmc import empirical_ntk, gram
from ntkmc.linalg.eigen.rows import split_rows
from ntkmc.linalg.networks.empirical_ntk import measure_network
from ntkmc.linalg.networks.weights import Weights
from reference import exact_gram, exact_lambda_min


@pytest.mark.parametrize("n", [1, 2, 5, 60, 200])
@pytest.mark.parametrize(("kernel", "depths"), [("h-infinity", (2,)), ("ntk", (2, 3))])
def test_ends_hold_what_numpy_finds(n: int, kernel: str, depths: tuple[int, ...]) -> None:
    X = np.random.default_rng(n).standard_normal((n, 20)) / 4.0
    for depth, found in measure_network(split_rows(X), 300, kernel, depths, Weights.of(2)):
        K, H = empirical_ntk(X, 300, kernel, depth, seed=2), gram(X, kernel, depth)
        answers = {
            found.deviation: np.linalg.norm(K - H, 2),
            found.entry_deviation: np.abs(K - H).max(),
            found.data_norm: np.linalg.norm(X, 2) ** 2,
            found.kernel_norm: np.linalg.norm(H, 2),
            (found.smallest.lower, found.smallest.upper): np.linalg.eigvalsh(K)[0],
        }
        for (lower, upper), value in answers.items():
            assert lower - 1e-11 <= value <= upper + 1e-11
            assert upper - lower <= 1e-9


def test_ends_hold_the_exact_numbers() -> None:
    """H_m of the float64 rows with exact inner products, and the limit, at 50 digits."""
    X = np.random.default_rng(7).standard_normal((6, 3))
    X /= np.linalg.norm(X, axis=1)[:, None]
    width = 40
    W = Weights.of(3).neurons(1, 0, width, 3)
    ((_, found),) = measure_network(split_rows(X), width, "h-infinity", (2,), Weights.of(3))
    rows = [[Fraction(float(entry)) for entry in row] for row in X]
    gates = [
        [sum(w * x for w, x in zip(map(Fraction, map(float, neuron)), row, strict=True)) >= 0 for neuron in W]
        for row in rows
    ]
    H = mp.matrix(6, 6)
    for i in range(6):
        for j in range(6):
            inner = sum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            share = Fraction(inner) * sum(a and b for a, b in zip(gates[i], gates[j], strict=True)) / width
            H[i, j] = mp.mpf(share.numerator) / share.denominator
    limit, _ = exact_gram(X, "h-infinity", 2)
    D = H - limit
    values = mp.eigsy(D, eigvals_only=True)
    assert found.smallest.lower <= exact_lambda_min(H) <= found.smallest.upper
    assert found.deviation[0] <= max(abs(value) for value in values) <= found.deviation[1]
    assert found.entry_deviation[0] <= max(abs(entry) for entry in D) <= found.entry_deviation[1]
    assert found.kernel_norm[0] <= max(mp.eigsy(limit, eigvals_only=True)) <= found.kernel_norm[1]
    assert found.deviation[1] - found.deviation[0] < 1e-12


def test_fewer_weights_than_rows_leave_nothing() -> None:
    X = np.random.default_rng(8).standard_normal((30, 4))
    ((_, found),) = measure_network(split_rows(X), 7, "h-infinity", (2,), Weights.of(0))
    assert found.smallest.lower == 0.0
    assert found.smallest.upper < 1e-11


def test_singular_networks_are_not_found_indefinite() -> None:
    """Narrow networks, whose kernels are singular and, rounded, a little negative."""
    for seed in range(60):
        rows = split_rows(np.random.default_rng(seed).standard_normal((9, 4)) / 2.0)
        for _, found in measure_network(rows, 5, "ntk", (2, 3), Weights.of(seed)):
            assert 0.0 <= found.smallest.lower <= found.smallest.upper < 1e-3 or found.smallest.lower > 0.0
