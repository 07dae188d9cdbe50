"""All eigenvalues: mpmath, exact kernels, Hadamard matrices with exact spectra, closed forms of configurations."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import eigenvalues, gram, kernel_eigenvalues
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.spectrum import largest_eigenvalue
from ntkmc.linalg.gram.eigenvalues import Eigenvalues, decay_ranks
from ntkmc.theory.kernels.functions import kernel_function
from reference import exact_gram, planted, polygon


def exact(M: mp.matrix) -> list[mp.mpf]:
    return sorted(mp.eigsy(M, eigvals_only=True))


@settings(max_examples=60)
@given(st.integers(1, 9), st.integers(1, 6), st.integers(0, 2**32 - 1), st.floats(-20, 20))
def test_against_mpmath(n: int, d: int, seed: int, decades: float) -> None:
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, n))
    for K in (gram(rng.standard_normal((n, d)) * 10.0 ** (decades / 2), "ntk", 3), (B + B.T) * 10.0**decades):
        found = eigenvalues(K)
        truth = exact(mp.matrix(K.tolist()))
        assert all(low <= true <= high for low, true, high in zip(found.lower, truth, found.upper, strict=True))
        assert found.radius <= 1e-12 * n * max(1e-300, float(np.abs(K).max()))


@settings(max_examples=30)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.floats(-7, 0))
def test_bounds_speak_of_the_exact_kernel(n: int, seed: int, closeness: float) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    X[1] = X[0] + 10.0**closeness * X[1]
    found = kernel_eigenvalues(X, "ntk", 3)
    truth = exact(exact_gram(X, "ntk", 3)[0])
    assert all(low <= true <= high for low, true, high in zip(found.lower, truth, found.upper, strict=True))


@pytest.mark.parametrize("kind", ["spread", "tied", "zero", "top"])
def test_planted_spectra(kind: str) -> None:
    """n = 256, eigenvalues exact by construction; and the largest alone, of -K as of any symmetric matrix."""
    w = np.sort(np.random.default_rng(4).integers(2**20, 2**31, size=256)) * 2.0**-30
    if kind == "tied":
        w[:100], w[-3:] = w[50], w[-3]
    elif kind == "zero":
        w[:40] = 0.0
    elif kind == "top":
        w[:-1] *= 2.0**-12
        w = np.floor(w * 2.0**30) * 2.0**-30
    w = np.sort(w)
    K = planted(w)
    found = eigenvalues(K)
    assert (found.lower <= w).all()
    assert (w <= found.upper).all()
    assert found.radius < 2e-11
    lower, upper = largest_eigenvalue(K.copy(), 0.0)
    assert lower <= w[-1] <= upper
    assert upper - lower < 1e-10


def test_closed_forms() -> None:
    """Circulant and equiangular configurations: eigenvalues by the discrete Fourier transform, and k(1) -+ k(rho)."""
    for n, kernel, depth in ((5, "h-infinity", 2), (7, "ntk", 3), (6, "ntk", 2)):
        angles = 2.0 * np.pi * np.arange(n) / n
        row = kernel_function(np.clip(np.cos(angles), -1.0, 1.0), kernel, depth)
        circulant = np.sort(np.fft.fft(row).real)
        np.testing.assert_allclose(kernel_eigenvalues(polygon(n), kernel, depth).values, circulant, atol=3e-8)
    found = kernel_eigenvalues(np.eye(4), "ntk", 2).values  # orthonormal: k(1) - k(0) three times, k(1) + 3 k(0)
    np.testing.assert_allclose(found, [1.681690113816183] * 3 + [2 + 3 / np.pi], rtol=1e-13)
    pair = kernel_eigenvalues([[1.0, 0.0], [0.5, np.sqrt(0.75)]], "ntk", 3).values
    np.testing.assert_allclose(pair, [1.648520438877, 6 - 1.648520438877], rtol=1e-12)


def test_quantiles_and_decay() -> None:
    ranks = np.arange(1.0, 201.0)
    for slope in (-0.4, -1.0, -3.0):
        found = Eigenvalues(np.asarray(7.0 * ranks[::-1] ** slope), 1e-9).decay_exponent()
        assert found is not None
        assert found.lower <= slope <= found.upper
        assert abs(found.value - slope) < 1e-12
    assert Eigenvalues(np.arange(-5.0, 195.0), 1e-9).decay_exponent() is not None  # those of the ranks are positive
    assert Eigenvalues(np.zeros(64), 1e-12).decay_exponent() is None
    assert Eigenvalues(np.ones(5), 0.0).decay_exponent() is None
    assert decay_ranks(200)[[0, -1]].tolist() == [13, 100]
    values = Eigenvalues(np.arange(1.0, 11.0), 0.0)
    for level in (0.01, 0.1, 0.11, 0.5, 0.95, 1.0):
        assert values.quantile(level) == np.quantile(values.values, level, method="inverted_cdf")
    with pytest.raises(InputError, match=r"\(0, 1\]"):
        values.quantile(0.0)


def test_inputs() -> None:
    for K, said in (
        (np.ones((2, 3)), "square"),
        ([[1.0, 2.0], [0.0, 1.0]], "symmetric"),
        ([[np.nan]], "finite"),
        ([[1e70]], "rescale"),
    ):
        with pytest.raises(InputError, match=said):
            eigenvalues(K)
    with pytest.raises(InputError, match="rescale"):
        kernel_eigenvalues(1e40 * np.eye(2))
    with pytest.raises(InputError, match="depth"):
        kernel_eigenvalues(np.eye(2), "h-infinity", 3)
    assert eigenvalues(np.zeros((3, 3))).upper.max() < 1e-200
    K = gram(np.random.default_rng(0).standard_normal((5, 3)))
    before = K.copy()
    eigenvalues(K)
    assert np.array_equal(K, before)
