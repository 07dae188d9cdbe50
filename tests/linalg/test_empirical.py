"""The tangent kernel of finite networks against Jacobians written out by hand, and against its limit."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from ntkmc import empirical_ntk, gram
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import split_rows
from ntkmc.linalg.networks import empirical_ntk as empirical_ntk_module
from ntkmc.linalg.networks.empirical_ntk import empirical_ntks
from ntkmc.linalg.networks.weights import STREAM, Weights
from ntkmc.numeric import Matrix


def layers(depth: int, width: int, d: int, seed: int) -> list[Matrix]:
    """Weight matrices of a network, (outputs, inputs), layer by layer."""
    sizes = [d, *[width] * (depth - 1), 1]
    weights = Weights.of(seed)
    return [weights.neurons(layer, 0, sizes[layer], sizes[layer - 1]) for layer in range(1, depth + 1)]


def jacobian(x: Matrix, W: list[Matrix]) -> Matrix:
    """Derivatives of f(x) = W_L s(W_{L-1} ... s(W_1 x)) in every single weight, by the chain rule."""
    inputs, gates = [x], []
    for layer in W[:-1]:
        z = layer @ inputs[-1]
        gates.append((z > 0.0).astype(float))
        inputs.append(np.maximum(z, 0.0))
    columns = []
    for at in range(len(W)):
        sensitivity = np.ones(1)  # of the output to the outputs of layer `at`
        for above in range(len(W) - 1, at, -1):
            sensitivity = (W[above].T @ sensitivity) * gates[above - 1]
        columns.append(np.outer(sensitivity, inputs[at]).ravel())
    return np.concatenate(columns)


@pytest.mark.parametrize("depth", [2, 3, 5])
@pytest.mark.parametrize("width", [1, 7, 40])
def test_deep_kernel_is_that_of_the_jacobian(depth: int, width: int) -> None:
    X = np.random.default_rng(depth).standard_normal((9, 4))
    W = layers(depth, width, 4, seed=5)
    J = np.array([jacobian(x, W) for x in X])
    assert J.shape[1] == 4 * width + (depth - 2) * width**2 + width
    expected = (2.0 / width) ** (depth - 1) * (J @ J.T)
    found = empirical_ntk(X, width, "ntk", depth, seed=5)
    assert np.array_equal(found, found.T)
    assert np.max(np.abs(found - expected)) <= 1e-12 * np.max(np.abs(expected))


@pytest.mark.parametrize("width", [1, 7, 40, STREAM + 1])
def test_two_layer_kernel_is_that_of_the_trained_first_layer(width: int) -> None:
    """f(x) = sum_r a_r s(w_r'x) / sqrt(m): the derivative in w_r is a_r 1{w_r'x >= 0} x / sqrt(m)."""
    rng = np.random.default_rng(width)
    X = rng.standard_normal((11, 5))
    (W, _) = layers(2, width, 5, seed=3)
    signs = rng.choice([-1.0, 1.0], width)  # frozen, and of no consequence
    J = np.array([np.outer(signs * (W @ x >= 0.0), x).ravel() for x in X]) / math.sqrt(width)
    found = empirical_ntk(X, width, "h-infinity", seed=3)
    assert np.max(np.abs(found - J @ J.T)) <= 1e-12
    assert np.array_equal(found, found.T)


@pytest.mark.parametrize(("kernel", "depth"), [("h-infinity", 2), ("ntk", 2), ("ntk", 3), ("ntk", 5)])
def test_mean_over_networks_is_the_limit(kernel: str, depth: int) -> None:
    """The mean over weights is the limiting kernel: exactly with two layers, up to O(1 / m) with more.

    (Given a layer, entries of the next Gram matrices are means over its neurons; but arc-cosine kernels are not linear
    in what they are given.) At m = 30 the spread hides what is left of that. 15 entries, two-sided normal quantiles at
    1e-4 / 15 each: the false-alarm rate of each of the four cases is about 1e-4, up to the deviation of a mean of 3000
    from a normal law.
    """
    X = np.random.default_rng(1).standard_normal((5, 6)) / math.sqrt(6)
    networks = 3000
    draws = np.array([empirical_ntk(X, 30, kernel, depth, seed=seed) for seed in range(networks)])
    pairs = np.tril_indices(5)
    mean, spread = draws.mean(axis=0)[pairs], draws.std(axis=0, ddof=1)[pairs]
    z = (mean - gram(X, kernel, depth)[pairs]) / (spread / math.sqrt(networks))
    assert np.max(np.abs(z)) <= stats.norm.isf(0.5e-4 / 15)


def test_distance_to_the_limit_shrinks_like_the_root_of_the_width() -> None:
    """Over 16 times the width the distance falls by 4; medians of 15 networks: a factor of 1.6 is beyond chance."""
    X = np.random.default_rng(2).standard_normal((12, 6))
    X /= np.linalg.norm(X, axis=1)[:, None]
    for kernel, depth in (("h-infinity", 2), ("ntk", 3)):
        H = gram(X, kernel, depth)
        distance = [
            np.median([np.linalg.norm(empirical_ntk(X, m, kernel, depth, seed=s) - H, 2) for s in range(15)])
            for m in (64, 1024)
        ]
        assert 4.0 / 1.6 <= distance[0] / distance[1] <= 4.0 * 1.6


def test_a_draw_knows_neither_blocks_nor_depths_nor_widths(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(3).standard_normal((6, 4))
    rows = split_rows(X)
    alone = {depth: empirical_ntk(X, 70, "ntk", depth, seed=1) for depth in (1, 2, 3, 5)}
    together = dict(empirical_ntks(rows, 70, "ntk", [1, 2, 3, 5], Weights.of(1)))
    assert all(np.array_equal(alone[depth], together[depth]) for depth in alone)
    weights = Weights.of(1)
    whole = weights.neurons(2, 0, 3 * STREAM + 5, 7)
    for length in (1, 100, STREAM, 10_000):
        pieces = [W for _, W in weights.blocks(2, 3 * STREAM + 5, 7, length)]
        assert np.array_equal(np.concatenate(pieces), whole)
    assert np.array_equal(weights.neurons(2, 0, 9, 7), whole[:9])
    H = empirical_ntk(X, 3 * STREAM, "h-infinity", seed=1)
    monkeypatch.setattr(empirical_ntk_module, "BLOCK", 100)
    assert np.array_equal(empirical_ntk(X, 3 * STREAM, "h-infinity", seed=1), H)


DRAWN = [0.8215657972294661, 0.8794294447183445, 0.12117736582089243]


def test_draws_are_what_they_were() -> None:
    """A change here is a change of results: it needs another constant in `NUMERICS`."""
    assert Weights.of(7).neurons(1, 299, 300, 3).tolist() == [DRAWN]
    assert np.array_equal(Weights.of(np.random.SeedSequence(7)).neurons(1, 299, 300, 3)[0], DRAWN)


def test_weights_are_standard_normal_and_independent() -> None:
    """Kolmogorov-Smirnov at 1e-4, and correlations between neighbouring layers, runs and seeds within 4.5 sigma."""
    many = Weights.of(0).neurons(1, 0, 4 * STREAM, 50)
    assert stats.kstest(many.ravel(), "norm").pvalue > 1e-4
    others = (
        Weights.of(0).neurons(2, 0, STREAM, 50),
        Weights.of(1).neurons(1, 0, STREAM, 50),
        many[STREAM : 2 * STREAM],
    )
    for other in others:
        assert abs(np.mean(many[:STREAM] * other)) < 4.5 / math.sqrt(other.size)


def test_large_n_is_cut_into_panels(monkeypatch: pytest.MonkeyPatch) -> None:
    X = np.random.default_rng(4).standard_normal((25, 6))
    whole = {kernel: empirical_ntk(X, 50, kernel, 2) for kernel in ("ntk", "h-infinity")}
    monkeypatch.setattr(empirical_ntk_module, "PANEL", 7)
    for kernel, K in whole.items():
        found = empirical_ntk(X, 50, kernel, 2)
        assert np.array_equal(found, found.T)
        assert np.max(np.abs(found - K)) <= 1e-14 * np.max(K)


def test_rank_is_at_most_the_number_of_weights() -> None:
    X = np.random.default_rng(5).standard_normal((20, 3))
    eigenvalues = np.linalg.eigvalsh(empirical_ntk(X, 4, "h-infinity"))
    assert np.sum(eigenvalues > 1e-12) <= 12


def test_two_layers_take_no_memory_for_their_width() -> None:
    X = np.random.default_rng(6).standard_normal((20, 3))
    peaks = []
    for width in (20_000, 200_000):
        tracemalloc.start()
        empirical_ntk(X, width, "h-infinity")
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] <= 1.1 * peaks[0] + 2**18  # what other threads of the process may hold meanwhile


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((0, "ntk", 2), "width must be an integer from 1"),
        ((True, "ntk", 2), "width must be"),
        ((2.5, "ntk", 2), "width must be"),
        ((8, "conjugate", 2), "finite widths are for h-infinity and ntk"),
        ((8, "h-infinity", 3), "depth must be 2"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[object, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        empirical_ntk([[1.0, 0.0]], *arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 1.5, None, True])
def test_bad_seeds_are_refused(seed: object) -> None:
    with pytest.raises(InputError, match="seed must be a non-negative integer"):
        empirical_ntk([[1.0, 0.0]], 8, seed=seed)  # type: ignore[arg-type]
