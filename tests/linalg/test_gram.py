"""Gram matrices against 50 digits, tables, and each other."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import gram, grams
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import as_data, split_rows
from ntkmc.linalg.gram.matrix import cosines
from ntkmc.linalg.gram.pairs import coherence_of
from ntkmc.theory.kernels.functions import coherence_error, entry_error
from reference import exact_gram

KERNELS = [("h-infinity", 2), ("ntk", 1), ("ntk", 2), ("ntk", 3), ("ntk", 6), ("conjugate", 4)]


def hard_rows(d: int = 20, seed: int = 0) -> np.ndarray:
    """Sphere and Gaussian rows, norms over twelve decades, duplicates, antipodes, angles of 1e-2 ... 1e-8."""
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((6, d))
    base[:2] /= np.linalg.norm(base[:2], axis=1)[:, None]
    close = []
    for angle in 10.0 ** -np.arange(2, 9):
        a = base[0] / np.linalg.norm(base[0])
        b = base[4] - (base[4] @ a) * a
        close.append(np.cos(angle) * a + np.sin(angle) * b / np.linalg.norm(b))
    return np.vstack([base, base[0], -base[1], 1e6 * base[2], -1e-6 * base[3], close])


@pytest.mark.parametrize(("kernel", "depth"), KERNELS)
@pytest.mark.parametrize("d", [2, 20])
def test_against_mpmath(kernel: str, depth: int, d: int) -> None:
    X = hard_rows(d)
    exact, norms = exact_gram(X, kernel, depth)
    K = gram(X, kernel, depth)
    worst = max(
        abs(mp.mpf(float(K[i, j])) - exact[i, j]) / (norms[i] * norms[j]) for i in range(len(X)) for j in range(len(X))
    )
    assert worst <= 1e-13
    assert worst <= entry_error(kernel, depth, d, 1.0)


@settings(max_examples=60)
@given(
    st.integers(1, 40),
    st.sampled_from(KERNELS),
    st.integers(0, 2**32 - 1),
    st.floats(-12, 0),
)
def test_entry_error_is_a_bound(d: int, which: tuple[str, int], seed: int, closeness: float) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((3, d)) * 10.0 ** rng.uniform(-6, 6, size=(3, 1))
    X[2] = X[0] + 10.0**closeness * np.abs(X[0]).max() * rng.standard_normal(d)
    rows = split_rows(as_data(X))
    cosine = coherence_of(cosines(rows), rows) + coherence_error(d)
    bound = entry_error(*which, d, min(1.0, cosine))
    with mp.workdps(50):
        exact, norms = exact_gram(X, *which)
        K = gram(X, *which)
        for i in range(3):
            for j in range(3):
                assert abs(mp.mpf(float(K[i, j])) - exact[i, j]) <= bound * norms[i] * norms[j]


def test_duplicates_and_antipodes_are_exact() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(7)
    X = np.array([x, x, -x])
    for depth in (2, 3, 5):
        K = gram(X, "ntk", depth)
        assert K[0, 1] == K[0, 0] == K[1, 1] == depth * split_rows(X).norms[0] ** 2
    assert gram(X, "ntk", 2)[0, 2] == 0.0
    assert gram(X, "h-infinity")[0, 2] == 0.0
    H = gram(X / np.linalg.norm(x), "h-infinity")
    assert H[0, 1] == H[0, 0]


def test_non_unit_example() -> None:
    X = [[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]]
    expected = [
        [2, 1.81830988618, 0.636619772368],
        [1.81830988618, 4, 3.63661977237],
        [0.636619772368, 3.63661977237, 8],
    ]
    np.testing.assert_allclose(gram(X, "ntk", 2), expected, atol=1e-11)
    for depth, value in {1: 0.0, 2: 0.5698081611003, 3: 1.301190008457}.items():
        assert np.linalg.eigvalsh(gram(X, "ntk", depth))[0] == pytest.approx(value, abs=1e-12)


@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 130])
def test_one_pass_equals_single_calls(n: int) -> None:
    """All depths in one pass give the bits of each depth alone; tiles of 64 leave no seam; symmetry is exact."""
    X = np.random.default_rng(n).standard_normal((n, 9))
    for depth, K in grams(X, "ntk", (5, 1, 3, 3)):
        assert np.array_equal(K, gram(X, "ntk", depth))
        assert np.array_equal(K, K.T)
        np.testing.assert_allclose(np.diag(K), depth * np.sum(X**2, axis=1), rtol=1e-15)


def test_caller_may_change_what_is_yielded() -> None:
    X = np.random.default_rng(0).standard_normal((10, 4))
    found = {}
    for depth, K in grams(X, "ntk", (2, 4)):
        found[depth] = K.copy()
        K[:] = np.nan
    assert np.array_equal(found[4], gram(X, "ntk", 4))


def test_scaling_is_homogeneous() -> None:
    X = np.random.default_rng(2).standard_normal((6, 5))
    assert np.array_equal(gram(4.0 * X, "ntk", 3), 16.0 * gram(X, "ntk", 3))


def test_extreme_norms_neither_overflow_nor_vanish() -> None:
    X = np.random.default_rng(2).standard_normal((3, 5))
    tiny = gram(X * 2.0**-500, "ntk", 2)
    assert np.array_equal(tiny * 2.0**500 * 2.0**500, gram(X, "ntk", 2))


def test_row_permutation() -> None:
    X = hard_rows()
    order = np.random.default_rng(3).permutation(len(X))
    # BLAS may sum a dot product in another order at another place: equal up to the entry error.
    norms = np.linalg.norm(X, axis=1)[order]
    difference = np.abs(gram(X[order], "ntk", 3) - gram(X, "ntk", 3)[np.ix_(order, order)])
    assert np.all(difference <= 2 * entry_error("ntk", 3, 20, 1.0) * np.outer(norms, norms))


def test_inputs() -> None:
    X = np.random.default_rng(0).standard_normal((4, 3))
    frozen = np.asfortranarray(X)
    frozen.setflags(write=False)
    before = frozen.copy()
    assert np.array_equal(gram(frozen), gram(X))
    assert np.array_equal(frozen, before)
    np.testing.assert_array_equal(gram([[1, 2], [3, 4]]), gram([[1.0, 2.0], [3.0, 4.0]]))
    for bad, said in {
        "one-dimensional": (np.ones(3), "shape"),
        "empty": (np.ones((0, 3)), "shape"),
        "complex": (np.ones((2, 2)) * 1j, "real"),
        "nan": (np.array([[1.0, 2.0], [np.nan, 0.0]]), "row 1"),
    }.values():
        with pytest.raises(InputError, match=said):
            gram(bad)
    with pytest.raises(InputError, match="no depth"):
        list(grams(X, "ntk", ()))


def test_zero_row() -> None:
    K = gram([[0.0, 0.0], [1.0, 2.0]], "ntk", 3)
    assert K[0].tolist() == [0.0, 0.0]
    assert K[1, 1] == pytest.approx(15.0, rel=1e-15)


def test_panels_of_cosines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Large matrices are built panel by panel: the same entries up to rounding, symmetric, all kernels."""
    import importlib

    module = importlib.import_module("ntkmc.linalg.gram.matrix")
    X = np.random.default_rng(0).standard_normal((70, 9))
    for kernel, depths in (("ntk", (1, 2, 4)), ("h-infinity", (2,)), ("conjugate", (3,))):
        whole = dict(module.grams(X, kernel, depths))
        with monkeypatch.context() as patched:
            patched.setattr(module, "PANEL", 16)
            panels = dict(module.grams(X, kernel, depths))
        for depth in depths:
            assert np.array_equal(panels[depth], panels[depth].T)
            assert np.allclose(panels[depth], whole[depth], rtol=1e-13, atol=1e-12)
