"""Feature maps of the kernels: their mean against the exact kernel, how fast they tend to it, what they promise."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest
from scipy import stats

from ntkmc import compare_features, gram, ntk_features
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import split_rows
from ntkmc.linalg.sketching.features import METHODS, Randomness, feature_maps
from ntkmc.numeric import Matrix


def data(n: int, d: int, seed: int = 1) -> Matrix:
    return np.random.default_rng(seed).standard_normal((n, d)) / math.sqrt(d)


UNBIASED = [
    *(("random-features", kernel, 2, 12) for kernel in ("ntk", "h-infinity", "conjugate")),
    ("tensor-sketch", "ntk", 4, 40),
    ("tensor-sketch", "h-infinity", 2, 12),
]


@pytest.mark.parametrize(("method", "kernel", "depth", "features"), UNBIASED)
def test_mean_over_maps_is_the_kernel(method: str, kernel: str, depth: int, features: int) -> None:
    """Random features of two layers, and tensor sketches of any depth where no two rows are nearly parallel.

    12 features leave no room for an exact linear part, 40 do. 15 entries, two-sided quantiles of Student's law at
    1e-5 / 15: the false-alarm rate is about 1e-5 a case, up to the deviation of a mean of 300 from a normal law.
    """
    X = data(5, 6)
    X[1] *= 2.0
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    assert np.max(np.abs(unit @ unit.T - np.eye(5))) < 0.7
    maps = 300
    draws = []
    for seed in range(maps):
        Phi = ntk_features(X, features, kernel, depth, method=method, seed=seed)
        draws.append(Phi @ Phi.T)
    pairs = np.tril_indices(5)
    values = np.array(draws)[:, *pairs]
    spread = values.std(axis=0, ddof=1) + 1e-6  # and what the polynomial is off by
    z = (values.mean(axis=0) - gram(X, kernel, depth)[pairs]) / (spread / math.sqrt(maps))
    assert np.max(np.abs(z)) <= stats.t.isf(0.5e-5 / 15, maps - 1)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("depth", [2, 4])
def test_distance_to_the_kernel_falls_with_the_root_of_the_features(method: str, depth: int) -> None:
    """Over 16 times the features it falls by 4; medians of 15 maps: a factor of 1.6 is beyond chance."""
    X = data(12, 6, seed=2)
    K = gram(X, "ntk", depth)
    distance = []
    for features in (128, 2048):
        maps = [ntk_features(X, features, depth=depth, method=method, seed=seed) for seed in range(15)]
        distance.append(np.median([np.linalg.norm(Phi @ Phi.T - K, 2) for Phi in maps]))
    assert 4.0 / 1.6 <= distance[0] / distance[1] <= 4.0 * 1.6


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_slope_is_minus_one_half(method: str) -> None:
    """Of log median distance in log features over two decades, 60 maps each: within 0.05, five standard errors."""
    X = data(12, 6, seed=2)
    K = gram(X, "ntk", 3)
    sizes = np.array([64, 256, 1024, 4096])
    medians = [
        np.median(
            [
                np.linalg.norm(Phi @ Phi.T - K, 2)
                for Phi in (ntk_features(X, int(size), depth=3, method=method, seed=seed) for seed in range(60))
            ]
        )
        for size in sizes
    ]
    slope = np.polyfit(np.log(sizes), np.log(medians), 1)[0]
    assert abs(slope + 0.5) <= 0.05


def test_a_map_is_one_of_all_rows() -> None:
    """A row's features depend on no other row, scale with the row, and are those of all depths at once."""
    X = data(9, 4)
    for method in METHODS:
        Phi = ntk_features(X, 50, depth=3, method=method, seed=5)
        assert np.allclose(ntk_features(X[:4], 50, depth=3, method=method, seed=5), Phi[:4], rtol=1e-10, atol=1e-12)
        assert np.array_equal(ntk_features(8.0 * X, 50, depth=3, method=method, seed=5), 8.0 * Phi)
        alone = {depth: ntk_features(X, 50, depth=depth, method=method, seed=5) for depth in (2, 3, 5)}
        together = dict(feature_maps(split_rows(X), 50, "ntk", [2, 3, 5], method, Randomness.of(5)))
        assert all(np.array_equal(alone[depth], together[depth]) for depth in alone)
        assert not np.allclose(ntk_features(X, 50, depth=3, method=method, seed=6), Phi)


def test_zero_rows_have_no_features_and_few_features_are_enough() -> None:
    X = np.array([[0.0, 0.0], [1.0, 2.0]])
    for method in METHODS:
        for kernel, features in (("ntk", 2), ("ntk", 3), ("h-infinity", 2), ("conjugate", 5)):
            Phi = ntk_features(X, features, kernel, method=method)
            assert Phi.shape == (2, features)
            assert not Phi[0].any()
            assert np.isfinite(Phi).all()


@pytest.mark.parametrize("method", METHODS)
def test_memory_is_that_of_a_few_arrays_of_features(method: str) -> None:
    X = data(1500, 20)
    ntk_features(X[:10], 64, depth=3, method=method)
    tracemalloc.start()
    ntk_features(X, 600, depth=3, method=method)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 4.5 * 8 * 1500 * 600


@pytest.mark.long
def test_ends_hold_what_numpy_finds() -> None:
    for n, features in ((1, 5), (6, 300), (60, 40), (90, 500)):
        X = data(n, 20, seed=n)
        for method, kernel, depth in (
            ("random-features", "ntk", 3),
            ("tensor-sketch", "conjugate", 3),
            ("tensor-sketch", "h-infinity", 2),
        ):
            Phi = ntk_features(X, features, kernel, depth, method=method, seed=2)
            found = compare_features(X, Phi, kernel, depth)
            S, K = Phi @ Phi.T, gram(X, kernel, depth)
            answers = {
                found.deviation: np.linalg.norm(S - K, 2),
                found.entry_deviation: np.abs(S - K).max(),
                found.kernel_norm: np.linalg.norm(K, 2),
                (found.smallest.lower, found.smallest.upper): np.linalg.eigvalsh(S)[0],
            }
            for (lower, upper), value in answers.items():
                assert lower - 1e-11 <= value <= upper + 1e-11
                assert upper - lower <= 1e-9
            if features < n:
                assert found.smallest.lower == 0.0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"features": 1}, "features must be an integer from 2 to 4294967295, got 1"),
        ({"features": True}, "features must be an integer"),
        ({"features": 2.5}, "features must be an integer"),
        ({"depth": 1}, "a kernel of depth 1 is linear"),
        ({"kernel": "h-infinity", "depth": 3}, "depth must be 2"),
        ({"kernel": "nkt"}, "unknown kernel 'nkt'"),
        ({"method": "tensorsketch"}, "unknown method 'tensorsketch': did you mean 'tensor-sketch'"),
        ({"seed": -1}, "seed must be a non-negative integer"),
        ({"seed": 1.5}, "seed must be a non-negative integer"),
        ({"X": [[np.nan]]}, "data must be finite"),
        ({"X": [[1e200, 1.0]]}, "its Gram matrix overflows"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        ntk_features(**({"X": [[1.0, 0.0]], "features": 8} | arguments))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("Phi", "said"),
    [
        ([[1.0]], "features must have 2 rows, as the data, got shape"),
        ([1.0, 2.0], "features must have 2 rows"),
        ([[1.0], [np.inf]], "features must be finite"),
        ([["a"], ["b"]], "features must be real numbers"),
    ],
)
def test_bad_features_are_refused(Phi: object, said: str) -> None:
    with pytest.raises(InputError, match=said):
        compare_features([[1.0, 0.0], [0.0, 1.0]], Phi)  # type: ignore[arg-type]


def test_draws_are_what_they_were() -> None:
    """A change here is a change of results: it needs another constant in `NUMERICS`."""
    found = {method: ntk_features([[3.0, 4.0]], 8, depth=3, method=method, seed=1)[0].tolist() for method in METHODS}
    for method, values in DRAWN.items():
        assert found[method] == pytest.approx(values, rel=1e-12)


DRAWN = {
    "random-features": [
        0.0,
        0.0,
        0.0,
        2.5469109407865065,
        3.9760397182968177,
        -2.1056930532906004,
        1.7500000000000002,
        3.5,
    ],
    "tensor-sketch": [
        4.1403763001777465,
        2.9364975018303108,
        3.915330002440415,
        3.2554058832407433,
        4.8935412727270124,
        0.22271722147306283,
        -1.606291973453383,
        1.6862462782735896,
    ],
}
