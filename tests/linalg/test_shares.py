"""A matrix in shares, without a cluster: the same proofs as of a matrix in one array."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc.linalg.blocked import solver, tiles
from ntkmc.linalg.blocked import tile_store as vaults
from ntkmc.linalg.blocked.block_rows import BlockRows, Shifted, StaleShareError
from ntkmc.linalg.blocked.solver import METHODS, BlockedProblem, enclose_blocked
from ntkmc.linalg.blocked.tile_store import TileStore
from ntkmc.linalg.eigen.lanczos import smallest_ritz_pair
from ntkmc.linalg.eigen.rayleigh import add_double_double, exact_product
from ntkmc.linalg.eigen.result import Eigenvalue, Status
from ntkmc.linalg.eigen.rows import Rows, split_rows
from ntkmc.linalg.gram.enclosures import kernel_error, lambda_min, widen_by_kernel_error
from ntkmc.linalg.gram.matrix import cosines, gram
from ntkmc.linalg.gram.pairs import NO_PAIRS, coherence_of
from ntkmc.numeric import Matrix
from reference import exact_gram, exact_lambda_min


class Loop:
    """Shares of one process, asked one after the other."""

    def __init__(self, rows: Rows, kernel: str, block: int, workers: int, **more: Any) -> None:
        self.order, self.workers = len(rows.norms), workers
        self.count = len(tiles.spans(self.order, block))
        limit = more.pop("limit", 10**9)
        hands = [[i for i in range(self.count) if i % workers == at] for at in range(workers)]
        self.shelves = [BlockRows(rows, kernel, block, hand, limit, **more) for hand in hands]
        self.owner = {i: shelf for shelf in self.shelves for i in shelf.indices}

    def build(self, depth: int) -> None:
        for shelf in self.shelves:
            shelf.build(depth)

    def products(self, V: Matrix) -> Matrix:
        return np.asarray(sum(shelf.product(V) for shelf in self.shelves))

    def exact_product(self, v: Matrix) -> tuple[Matrix, Matrix]:
        total, *others = (shelf.exact_product(v) for shelf in self.shelves)
        for each in others:
            add_double_double(total, each)
        return total[0], total[1]

    def factor(self, shifted: Shifted) -> bool:
        for shelf in self.shelves:
            shelf.start_factor(shifted)
        for j in range(self.count):
            panel = self.owner[j].finish_row(shifted.number, j)
            if not all(shelf.compute_column(shifted.number, panel, j) for shelf in self.shelves):
                return False
        return True

    def solve(self, x: Matrix) -> Matrix:
        last = self.count - 1
        for i in range(last):
            x = self.owner[i].solve_forward([i], x)
        x = self.owner[last].solve_last([last], x)
        for i in reversed(range(last)):
            x = self.owner[i].solve_backward([i], x)
        return x

    def precondition(self, V: Matrix) -> Matrix:
        return np.asarray(sum(shelf.precondition(V) for shelf in self.shelves))


def bench(X: Matrix, kernel: str, depth: int, *, block: int = 32, workers: int = 3, **more: Any) -> BlockedProblem:
    rows = split_rows(X)
    loop = Loop(rows, kernel, block, workers, **more)
    loop.build(depth)
    diagonal = tiles.gram_diagonal(rows, kernel, depth)
    return BlockedProblem(loop, diagonal, float(diagonal.max()) * (1.0 + 2.0**-30))


def enclosed(X: Matrix, kernel: str, depth: int, method: str = "auto", **more: Any) -> Eigenvalue:
    rows = split_rows(X)
    certificate = more.pop("certificate", True)
    answer = enclose_blocked(bench(X, kernel, depth, **more), method, certificate=certificate)
    return widen_by_kernel_error(answer, kernel_error(rows, kernel, depth, coherence_of(cosines(rows), rows)))


def data(n: int, d: int, seed: int = 0) -> Matrix:
    return np.asarray(np.random.default_rng(seed).standard_normal((n, d)) / np.sqrt(d))


@pytest.mark.parametrize(
    ("kernel", "depth"), [("ntk", 1), ("ntk", 2), ("ntk", 4), ("h-infinity", 2), ("conjugate", 3)]
)
def test_tiles_are_those_of_the_whole_matrix(kernel: str, depth: int) -> None:
    X = data(150, 12)
    X[7], X[90] = X[3], -2.0 * X[4]  # a duplicate, and an opposite, in other block rows
    rows, K = split_rows(X), gram(X, kernel, depth)
    cut = tiles.spans(150, 64)
    for i, down in enumerate(cut):
        for across in cut[: i + 1]:
            tile = tiles.gram_tile(rows, kernel, depth, down, across)
            np.testing.assert_allclose(tile, K[slice(*down), slice(*across)], rtol=1e-13, atol=1e-14)
            if down == across:
                assert np.array_equal(tile, tile.T)
                assert np.array_equal(np.diagonal(tile), np.diagonal(K)[slice(*down)])
    joint = NO_PAIRS
    for i, down in enumerate(cut):
        for across in cut[: i + 1]:
            joint = joint.merged(tiles.tile_pair_sums(rows, down, across))
    assert joint.coherence == coherence_of(cosines(rows), rows) == 1.0
    inner = (X @ X.T)[np.tril_indices(150, -1)]
    expected = inner / np.outer(rows.norms, rows.norms)[np.tril_indices(150, -1)]
    assert joint.inner_max == pytest.approx(np.abs(inner).max())
    assert joint.inner_sum == pytest.approx(inner.sum())
    assert joint.square_sum == pytest.approx((inner**2).sum())
    assert joint.cosine_max == pytest.approx(expected.max())
    assert joint.first == pytest.approx(expected[0])


@given(st.integers(2, 90), st.integers(1, 40), st.integers(1, 5), st.integers(0, 2**32 - 1))
@settings(max_examples=25)
def test_products_factors_and_solves(n: int, block: int, workers: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 8))
    K = gram(X, "ntk", 3)
    found = bench(X, "ntk", 3, block=block, workers=workers)
    V = rng.standard_normal((n, 3))
    np.testing.assert_allclose(found.matrix.products(V), K @ V, rtol=1e-11, atol=1e-10)
    v = rng.standard_normal(n)
    high, low = found.matrix.exact_product(v)
    expected = exact_product(K, np.diagonal(K).copy(), v)
    np.testing.assert_allclose(high + low, expected[0] + expected[1], rtol=1e-13, atol=1e-13)
    shift, strength = -0.5, 2.0
    target = K + strength * np.outer(v, v) - shift * np.eye(n)
    assert found.matrix.factor(Shifted(1, np.diagonal(target).copy(), v, strength))
    np.testing.assert_allclose(target @ found.matrix.solve(V[:, 0]), V[:, 0], rtol=1e-8, atol=1e-8)
    assert not found.matrix.factor(Shifted(2, np.diagonal(K) - 2.0 * np.trace(K) / n - 1.0, np.zeros(0), 0.0))
    assert found.matrix.factor(Shifted(3, np.diagonal(K) + 1.0, np.zeros(0), 0.0, single=True))
    solved = found.matrix.solve(V[:, 0])
    assert solved.dtype == np.float32
    np.testing.assert_allclose((K + np.eye(n)) @ solved, V[:, 0], atol=1e-3 * np.trace(K))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("n", "d"), [(200, 60), (200, 3), (330, 400), (12, 4), (1, 5)])
def test_enclosures_overlap_those_of_one_array(method: str, n: int, d: int) -> None:
    X = data(n, d, seed=n)
    for depth in (2, 3):
        there = lambda_min(X, "ntk", (depth,))[depth]
        here = enclosed(X, "ntk", depth, method)
        assert here.lower <= there.upper
        assert there.lower <= here.upper
        assert here.upper - here.lower <= 1.5 * (there.upper - there.lower) + 1e-13 * there.upper
        assert here.status is there.status


@pytest.mark.parametrize("position", [1, 2, 5, 50])
@pytest.mark.parametrize("ratio", [1e-9, 1.0])
def test_a_vector_of_another_eigenvalue_is_seen_through(
    position: int, ratio: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a solver that has missed the smallest eigenvalue proposes, whether or not it believes in it."""
    X = data(200, 3, seed=200)
    values, vectors = np.linalg.eigh(gram(X, "ntk", 3))
    missed = solver.Proposal(vectors[:, position], float(values[min(position + 1, 199)] - values[position]), ratio, 0)
    monkeypatch.setattr(solver, "_propose", lambda *a, **more: missed)
    there = lambda_min(X, "ntk", (3,))[3]
    here = enclosed(X, "ntk", 3, "eigsh")
    assert here.status is there.status
    assert here.lower <= there.upper
    assert there.lower <= here.upper
    assert here.upper - here.lower <= 1.5 * (there.upper - there.lower)


def test_enclosures_hold_the_exact_value() -> None:
    X = data(24, 6, seed=3)
    for depth in (2, 3):
        exact = exact_lambda_min(exact_gram(X, "ntk", depth)[0])
        for more in ({}, {"single": True}, {"limit": 0}):
            found = enclosed(X, "ntk", depth, block=7, **more)
            assert found.lower <= exact <= found.upper
            assert found.relative_width < 1e-9


def test_without_a_certificate() -> None:
    X = data(200, 60)
    whole = enclosed(X, "ntk", 2)
    part = enclosed(X, "ntk", 2, certificate=False)
    assert part.status is Status.UPPER_ONLY
    assert part.lower == 0.0
    assert whole.lower <= part.upper <= whole.upper * 1.01


def test_dependent_rows_are_singular() -> None:
    X = data(150, 20)
    X[100] = X[3]
    found = enclosed(X, "ntk", 3)
    assert found.status is Status.SINGULAR
    assert found.lower == 0.0
    assert found.upper < 1e-9


def test_a_cluster_at_the_end_of_the_spectrum_is_enclosed_by_a_shift() -> None:
    X = np.eye(64)  # all eigenvalues of K but one are equal
    found = enclosed(X, "ntk", 2)
    there = lambda_min(X, "ntk", (2,))[2]
    assert found.lower <= there.upper
    assert there.lower <= found.upper
    assert found.relative_width < 1e-9


def test_the_way_of_the_inverse(monkeypatch: pytest.MonkeyPatch) -> None:
    """What few workers do with a large matrix: a few steps, then one factor in float32 and its inverse."""
    monkeypatch.setattr(solver, "inverse_is_cheaper", lambda n, workers: True)
    X = data(600, 150)
    found = enclosed(X, "ntk", 3, block=128)
    there = lambda_min(X, "ntk", (3,))[3]
    assert found.method == "lanczos+inverse"
    assert found.status is Status.CERTIFIED
    assert found.lower <= there.upper
    assert there.lower <= found.upper


def test_lanczos_finds_the_end_of_a_planted_spectrum() -> None:
    rng = np.random.default_rng(5)
    spectrum = np.sort(np.concatenate([[0.3, 0.5], rng.uniform(1.0, 50.0, 198)]))
    Q = np.linalg.qr(rng.standard_normal((200, 200)))[0]
    A = (Q * spectrum) @ Q.T
    values, vector, ratio, steps = smallest_ritz_pair(lambda q: A @ q, np.ones(200), 200, first=10, stride=10)
    assert ratio <= 0.05
    assert steps < 200
    assert abs(values[0] - 0.3) < 1e-3
    assert abs(vector @ Q[:, 0]) > 0.998


def test_a_share_made_anew_catches_up(tmp_path: Path) -> None:
    rows = split_rows(data(100, 30))
    K = gram(data(100, 30), "ntk", 2)
    shifted = Shifted(1, np.diagonal(K) + 0.1, np.zeros(0), 0.0)
    loop = Loop(rows, "ntk", 16, 2)
    loop.build(2)
    for shelf in loop.shelves:
        shelf.start_factor(shifted)
    for j in range(3):  # then the second one is lost
        panel = loop.owner[j].finish_row(1, j)
        for shelf in loop.shelves:
            shelf.compute_column(1, panel, j)
    lost = loop.shelves[1]
    lost.close()
    anew = BlockRows(rows, "ntk", 16, lost.indices, 10**9, tmp_path)
    for step in (
        lambda: anew.product(np.ones((100, 1))),
        lambda: anew.finish_row(1, 3),
        lambda: anew.solve_forward([1], np.ones(100)),
    ):
        with pytest.raises(StaleShareError):
            step()
    anew.build(2)
    anew.start_factor(shifted)
    assert anew.progress() == (2, 1, -1)
    loop.shelves[1] = anew
    loop.owner |= dict.fromkeys(anew.indices, anew)
    with pytest.raises(StaleShareError):
        anew.compute_column(1, loop.owner[2].finish_row(1, 2), 2)
    for j in range(loop.count):
        panel = loop.owner[j].finish_row(1, j)
        for shelf in loop.shelves:
            if shelf.progress()[2] < j:
                assert shelf.compute_column(1, panel, j)
    x = loop.solve(np.ones(100))
    np.testing.assert_allclose((K + 0.1 * np.eye(100)) @ x, np.ones(100), rtol=1e-9, atol=1e-9)


def test_a_vault_keeps_to_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vaults, "_held", 0)  # other tests' shares may still be held
    tile = np.arange(16.0).reshape(4, 4)
    vault = TileStore(3 * tile.nbytes, tmp_path, yielding=("matrix",))
    for i in range(5):
        vault["matrix", i, 0] = tile + i
    assert (vaults._held, vault.on_disk) == (3 * tile.nbytes, 2 * tile.nbytes)
    vault["factor", 0, 0] = -tile  # takes the place of a tile of the matrix
    assert (vaults._held, vault.on_disk) == (3 * tile.nbytes, 3 * tile.nbytes)
    assert len(list(next(tmp_path.iterdir()).iterdir())) == 3
    for i in range(5):
        assert np.array_equal(vault["matrix", i, 0], tile + i)
    assert np.array_equal(vault["factor", 0, 0], -tile)
    vault.drop("matrix")
    assert (vaults._held, vault.on_disk) == (tile.nbytes, 0)
    vault.close()
    assert not list(tmp_path.iterdir())
    other = TileStore(3 * tile.nbytes, tmp_path)  # what was held is free again
    for i in range(3):
        other["matrix", i, 0] = tile
    assert other.on_disk == 0
    other.close()
