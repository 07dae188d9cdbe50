"""Scalar kernels against 40-digit tables, mpmath, and Monte Carlo over Gaussian weights."""

from __future__ import annotations

import math

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkmc.errors import InputError
from ntkmc.theory.kernels.functions import check_kernel, diagonal_value, entry_error, kernel_function
from reference import exact_kernel

H_TABLE = {
    -0.99: -0.02230143975398399,
    -0.5: -1 / 12,
    0.0: 0.0,
    0.1: 0.026594214021463,
    0.3: 0.08954800260310174,
    0.5: 1 / 6,
    0.9: 0.3853951680920822,
    0.99: 0.472698560246016,
}
KAPPA_1_TABLE = {
    -0.99: 0.0003002557331543419,
    -0.5: 0.1089977810442294,
    0.0: 0.3183098861837907,
    0.1: 0.3699027659026358,
    0.3: 0.4827442838354876,
    0.5: 0.6089977810442294,
    0.9: 0.9095383988446721,
    0.99: 0.9903002557331543,
}
K_TABLE = {
    -1.0: (-1.0, 0.0, 0.31830988618379, 0.68570863628294, 1.0603881068026),
    -0.5: (-0.5, -0.057668885622437, 0.34386224627273, 0.74224932256118, 1.1306221308579),
    0.0: (0.0, 0.31830988618379, 0.68570863628294, 1.0603881068026, 1.4303904972104),
    0.5: (0.5, 0.94233111437756, 1.3514795611235, 1.7378446792153, 2.1071125383966),
    0.9: (0.9, 1.6803287350288, 2.3688136627183, 2.9856931873747, 3.5459581575514),
    1.0: (1.0, 2.0, 3.0, 4.0, 5.0),
}


@pytest.mark.parametrize(("rho", "expected"), H_TABLE.items())
def test_h_table(rho: float, expected: float) -> None:
    assert kernel_function(rho, "h-infinity") == pytest.approx(expected, abs=2e-15)


@pytest.mark.parametrize(("rho", "expected"), KAPPA_1_TABLE.items())
def test_kappa_1_table(rho: float, expected: float) -> None:
    assert kernel_function(rho, "conjugate", 2) == pytest.approx(expected, abs=2e-15)


@pytest.mark.parametrize(("rho", "row"), K_TABLE.items())
def test_deep_table(rho: float, row: tuple[float, ...]) -> None:
    for depth, expected in enumerate(row, start=1):
        assert kernel_function(rho, "ntk", depth) == pytest.approx(expected, abs=2e-13)


def test_two_layers_link() -> None:
    """K^(2) = 2 H-infinity + G^(2) on the unit sphere."""
    rho = np.linspace(-1, 1, 41)
    both = 2 * kernel_function(rho, "h-infinity") + kernel_function(rho, "conjugate", 2)
    np.testing.assert_allclose(kernel_function(rho, "ntk", 2), both, atol=4e-16)


@given(st.floats(-0.99, 0.99), st.integers(1, 8), st.sampled_from(["ntk", "conjugate"]))
def test_against_mpmath(rho: float, depth: int, kernel: str) -> None:
    with mp.workdps(50):
        error = abs(mp.mpf(float(kernel_function(rho, kernel, depth))) - exact_kernel(mp.mpf(rho), kernel, depth))
        assert error <= entry_error(kernel, depth, 1, rho)


@given(st.floats(0.0, 0.5))
def test_angle_polynomial(s: float) -> None:
    """2 asin(sqrt(s)) to a relative error of 4 u, down to the smallest numbers."""
    from ntkmc.theory.kernels.arccos import small_angle_of

    with mp.workdps(50):
        exact = 2 * mp.asin(mp.sqrt(mp.mpf(s)))
        assert abs(mp.mpf(small_angle_of(s)) - exact) <= 4 * mp.mpf(2) ** -53 * exact


@given(st.floats(1e-9, 0.1))
def test_small_angle_law(theta: float) -> None:
    """1/2 - h(cos t) = t cos t / (2 pi) + (1 - cos t) / 2, through the Gram matrix of two vectors at that angle."""
    from ntkmc.linalg.gram.matrix import gram

    H = gram([[1.0, 0.0], [math.cos(theta), math.sin(theta)]], "h-infinity")
    law = theta * math.cos(theta) / (2 * math.pi) + math.sin(theta / 2) ** 2
    assert 0.5 - H[0, 1] == pytest.approx(law, abs=3e-16)


def test_diagonals() -> None:
    assert [diagonal_value("ntk", depth) for depth in (1, 2, 7)] == [1.0, 2.0, 7.0]
    assert diagonal_value("h-infinity", 2) == 0.5
    assert diagonal_value("conjugate", 9) == 1.0


@pytest.mark.parametrize(
    ("kernel", "depth", "said"),
    [
        ("ntkk", 2, "did you mean 'ntk'"),
        ("ntk", 0, "positive integer"),
        ("ntk", True, "positive integer"),
        ("h-infinity", 3, "depth must be 2"),
    ],
)
def test_refusals(kernel: str, depth: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_kernel(kernel, depth)


def test_cosine_out_of_range() -> None:
    with pytest.raises(InputError, match=r"\[-1, 1\]"):
        kernel_function([0.0, 1.5])


@pytest.mark.parametrize("depth", [2, 3])
def test_monte_carlo_over_weights(depth: int) -> None:
    """K^(L) by its definition, with every expectation replaced by a mean over Gaussian pairs.

    False alarm: entries are compared at 5 standard errors, below 1e-6 each; the seed is fixed.
    """
    rng = np.random.default_rng(11)
    X = rng.standard_normal((4, 6))
    samples = 400_000
    G = X @ X.T
    K = G.copy()
    spread = np.zeros_like(G)
    for layer in range(2, depth + 1):
        factor = np.linalg.cholesky(G)
        z = factor @ rng.standard_normal((len(X), samples))
        active = (z > 0).astype(float)
        rectified = z * active
        G_new = 2 * rectified @ rectified.T / samples
        dot = 2 * active @ active.T / samples
        square = 4 * (rectified**2) @ (rectified**2).T / samples - G_new**2
        spread = spread + np.sqrt(square / samples) + np.abs(K) * np.sqrt(dot * 2 / samples)
        K = K * dot + G_new
        # The next layer's expectation is over the exact covariance, so that errors do not feed back.
        from ntkmc.linalg.gram.matrix import gram

        G = gram(X, "conjugate", layer)
    from ntkmc.linalg.gram.matrix import gram

    assert np.all(np.abs(K - gram(X, "ntk", depth)) <= 5 * spread)


def test_h_infinity_is_a_mean_over_gates() -> None:
    """H-infinity_ij = x_i'x_j P(w'x_i >= 0, w'x_j >= 0), by simulation at 5 standard errors (seeded)."""
    from ntkmc.linalg.gram.matrix import gram

    rng = np.random.default_rng(5)
    X = rng.standard_normal((5, 4))
    X /= np.linalg.norm(X, axis=1)[:, None]
    samples = 400_000
    gates = (X @ rng.standard_normal((4, samples)) >= 0).astype(float)
    share = gates @ gates.T / samples
    error = 5 * np.sqrt(share * (1 - share) / samples) * np.abs(X @ X.T)
    assert np.all(np.abs((X @ X.T) * share - gram(X, "h-infinity")) <= error + 1e-15)
