"""A matrix over the workers of a cluster: against the same matrix in one array; a worker is killed, disk is used."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import dask
import numpy as np
import pytest
from distributed import Client, LocalCluster, Worker, get_worker
from numba.core.dispatcher import Dispatcher

from ntkmc import InputError, Status, lambda_min
from ntkmc.execution.blocked import matrix as fleets
from ntkmc.execution.blocked import worker
from ntkmc.execution.blocked.lambda_min import lambda_min_blocked
from ntkmc.execution.blocked.matrix import DaskBlockedMatrix, Stopped
from ntkmc.execution.cluster import SCHEDULER
from ntkmc.linalg.blocked.block_rows import BlockRows, Shifted
from ntkmc.linalg.blocked.cost import assign_block_rows
from ntkmc.linalg.blocked.tiles import gram_diagonal
from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import split_rows
from ntkmc.numeric import Matrix


@pytest.fixture(scope="module")
def two_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    with (
        dask.config.set(SCHEDULER | {"distributed.nanny.environ": threads, "distributed.scheduler.worker-ttl": None}),
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit="2GiB",
            dashboard_address=None,
            local_directory=str(tmp_path_factory.mktemp("scratch")),
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def data(n: int, d: int) -> Matrix:
    return np.asarray(np.random.default_rng(n).standard_normal((n, d)) / np.sqrt(d))


def overlap(one: Eigenvalue, other: Eigenvalue) -> bool:
    return one.lower <= other.upper and other.lower <= one.upper


@pytest.mark.long
@pytest.mark.parametrize("kernel", ["ntk", "h-infinity", "conjugate"])
def test_as_in_one_array(two_workers: Client, kernel: str) -> None:
    X = data(900, 200)
    depths = (2,) if kernel == "h-infinity" else (2, 3)
    there = lambda_min(X, kernel, depths)
    here = lambda_min(X, kernel, depths, client=two_workers)
    assert list(here) == list(depths)
    for depth in depths:
        assert overlap(here[depth], there[depth])
        assert here[depth].status is Status.CERTIFIED
        assert here[depth].method.startswith("blocked lanczos")


def test_float32_tiles_and_extreme_norms(two_workers: Client) -> None:
    X = data(500, 100)
    there = lambda_min(X, "ntk", (3,))[3]
    assert overlap(lambda_min(X, "ntk", (3,), client=two_workers, single=True)[3], there)
    tiny = lambda_min(X * 2.0**-300, "ntk", (3,), client=two_workers)[3]
    assert overlap(tiny, lambda_min(X * 2.0**-300, "ntk", (3,))[3])
    assert tiny.status is Status.CERTIFIED


def test_more_workers_than_block_rows(two_workers: Client) -> None:
    X = data(40, 30)
    assert overlap(lambda_min(X, client=two_workers)[2], lambda_min(X)[2])


def test_without_a_certificate(two_workers: Client) -> None:
    X = data(600, 150)
    found = lambda_min(X, client=two_workers, certificate=False)[2]
    assert found.status is Status.UPPER_ONLY
    assert found.lower == 0.0 < lambda_min(X)[2].lower <= found.upper


def test_refusals(two_workers: Client) -> None:
    with pytest.raises(InputError, match="did you mean 'lanczos'"):
        lambda_min(data(10, 3), method="lanczo", client=two_workers)
    with pytest.raises(InputError, match="need a client"):
        lambda_min(data(10, 3), certificate=False)
    with pytest.raises(InputError, match="depth must be 2"):
        lambda_min(data(10, 3), "h-infinity", (3,), client=two_workers)


def test_a_request_to_stop_ends_it(two_workers: Client) -> None:
    with pytest.raises(Stopped):
        lambda_min_blocked(two_workers, data(300, 50), stop=lambda: True)


def test_nothing_is_left_behind(two_workers: Client) -> None:
    lambda_min(data(300, 50), client=two_workers)
    deadline = time.monotonic() + 120
    while any(two_workers.run(_left).values()):
        assert time.monotonic() < deadline, two_workers.run(_left)
        time.sleep(0.2)


def _left(dask_worker: Worker) -> list[str]:
    return [*map(str, dask_worker.data), *map(str, Path(dask_worker.local_directory).rglob("ntkmc-tiles-*"))]


def test_tiles_that_do_not_fit_go_to_disk(two_workers: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    X = data(900, 200)
    seen = []
    close = DaskBlockedMatrix.close

    def looked(self: DaskBlockedMatrix) -> None:
        seen.append(self.on_disk())
        close(self)

    monkeypatch.setattr(DaskBlockedMatrix, "close", looked)
    monkeypatch.setattr(fleets, "open_share", _open_without_room)
    found = lambda_min(X, "ntk", (3,), client=two_workers)[3]
    assert seen == [2 * 8 * sum((j + 1) * 256 * 256 for j in range(3)) + 2 * 8 * 132 * 900]
    assert overlap(found, lambda_min(X, "ntk", (3,))[3])


def _open_without_room(*arguments: object) -> object:
    from unittest import mock

    with mock.patch.object(worker, "FILLED", 0.0):
        return worker.open_share(*arguments)  # type: ignore[arg-type]


def test_a_worker_that_holds_a_share_is_not_paused(two_workers: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """However full: Dask pauses a worker for good if what fills its memory is waited for by tasks of its own."""
    seen: list[dict[str, float | bool]] = []
    products = DaskBlockedMatrix.products

    def looked(self: DaskBlockedMatrix, V: Matrix) -> Matrix:
        if not seen:
            seen.append(two_workers.run(_pausing_at))
        return products(self, V)

    def settled() -> None:
        deadline = time.monotonic() + 120
        while set(two_workers.run(_pausing_at).values()) != {0.8}:
            assert time.monotonic() < deadline
            time.sleep(0.2)

    settled()  # shares of the test before may be on their way out
    monkeypatch.setattr(DaskBlockedMatrix, "products", looked)
    lambda_min(data(300, 50), client=two_workers)
    assert set(seen[0].values()) == {1.0}
    settled()


def test_a_closed_share_does_not_disable_pausing(two_workers: Client) -> None:
    """Even if something still refers to it."""
    assert two_workers.submit(_open_and_close, pure=False).result() == (1.0, 0.8)


def _open_and_close() -> tuple[float | bool, float | bool]:
    share = worker.open_share(split_rows(data(40, 30)), "ntk", 20, (0, 1), False)
    before = _pausing_at(get_worker())
    worker.call_share(share, "close", 0)
    return before, _pausing_at(get_worker())


def _pausing_at(dask_worker: Worker) -> float | bool:
    return dask_worker.memory_manager.memory_pause_fraction


@pytest.mark.parametrize("single", [False, True])
def test_what_a_share_loads_is_there_before_its_room_is_measured(single: bool, tmp_path: Path) -> None:
    """In a fresh process: no step compiles, or loads, anything that was not there when the share was opened."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        tried, done = pool.submit(_compiled_around, single, str(tmp_path)).result()
    assert sum(tried.values()) >= 5
    assert done == tried


def _compiled_around(single: bool, folder: str) -> tuple[dict[str, int], dict[str, int]]:
    """Versions of each compiled function, after the trial and after all that is asked of a share."""
    worker.warm_up("ntk", single, folder)
    tried = _versions()
    n = 200
    rows = split_rows(data(n, 40))
    shelf = BlockRows(rows, "ntk", 64, (0, 1, 2, 3), 10**9, folder, single=single)
    shelf.pair_sums()
    shelf.build(3)
    shelf.entry_sums()
    v = np.ones(n)
    shelf.product(np.ones((n, 3)))
    shelf.precondition(np.ones((n, 3)))
    shelf.exact_product(v)
    diagonal = 2.0 * gram_diagonal(rows, "ntk", 3)
    for number, (strength, half) in enumerate(((0.0, True), (0.0, False), (1.0, False)), 1):
        shelf.start_factor(Shifted(number, diagonal, v, strength, half))
        panel = shelf.finish_row(number, 0)
        for j in range(3):
            after = shelf.compute_next_row(number, panel, j, j + 1)
            shelf.compute_column(number, panel, j)
            panel = after
        shelf.solve_last((0, 1, 2, 3), v)
    return tried, _versions()


def _versions() -> dict[str, int]:
    modules = [each for name, each in sys.modules.items() if name.startswith("ntkmc.")]
    functions = [each for module in modules for each in vars(module).values() if isinstance(each, Dispatcher)]
    return {str(each): len(each.signatures) for each in functions}


@pytest.mark.parametrize("block", [32, 512])
def test_a_matrix_that_is_not_positive_definite(two_workers: Client, block: int) -> None:
    """Breaks down wherever the first bad pivot is: at the start, in the middle, in the very last row."""
    rows = split_rows(data(300, 400))
    diagonal = gram_diagonal(rows, "ntk", 2)
    with DaskBlockedMatrix(two_workers, rows, "ntk", block) as fleet:
        fleet.build(2)
        assert fleet.factor(Shifted(1, diagonal, np.zeros(0), 0.0))
        for number, at in enumerate((0, 150, 299), 2):
            bad = diagonal.copy()
            bad[at] = 1e-3
            assert not fleet.factor(Shifted(number, bad, np.zeros(0), 0.0))
        assert fleet.factor(Shifted(5, diagonal, np.zeros(0), 0.0))


@pytest.mark.long
@pytest.mark.parametrize("moment", ["products", "factor"])
def test_a_killed_worker_is_made_good(two_workers: Client, moment: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """With SIGKILL in the middle; the shares of the others are not made again."""
    X = data(1200, 300)
    there = lambda_min(X, "ntk", (3,))[3]
    fleet: list[DaskBlockedMatrix] = []
    original = getattr(DaskBlockedMatrix, moment)
    calls: list[float] = []

    def killing(self: DaskBlockedMatrix, argument: Matrix | Shifted) -> object:
        calls.append(time.monotonic())
        if len(calls) == (20 if moment == "products" else 1):
            fleet.append(self)
            processes = two_workers.run(os.getpid)
            victim = processes[max(processes)]
            threading.Timer(0.03, os.kill, (victim, signal.SIGKILL)).start()
        return original(self, argument)

    monkeypatch.setattr(DaskBlockedMatrix, moment, killing)
    found = lambda_min_blocked(two_workers, X, "ntk", (3,), block=64)[3]
    assert overlap(found, there)
    assert found.status is Status.CERTIFIED
    assert fleet[0].replaced == 1


def test_two_shares_on_one_worker() -> None:
    """Where a lost worker does not come back, another one takes its share."""
    rows = split_rows(data(400, 80))
    diagonal = gram_diagonal(rows, "ntk", 3)
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": None}),
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as client,
        DaskBlockedMatrix(client, rows, "ntk", 32) as fleet,
    ):
        fleet.build(3)
        V = np.random.default_rng(0).standard_normal((400, 2))
        before = fleet.products(V)
        assert fleet.factor(Shifted(1, diagonal + 1.0, np.zeros(0), 0.0))
        solved = fleet.solve(V[:, 0])
        cluster.scale(1)
        while len(client.scheduler_info(n_workers=-1)["workers"]) > 1:
            time.sleep(0.1)
        fleets_patience = fleets._PATIENCE
        try:
            fleets._PATIENCE = 0.5  # type: ignore[misc]
            np.testing.assert_allclose(fleet.solve(V[:, 0]), solved, rtol=1e-12)
            np.testing.assert_allclose(fleet.products(V), before, rtol=1e-12)
        finally:
            fleets._PATIENCE = fleets_patience  # type: ignore[misc]
        assert (fleet.replaced, fleet.workers) == (1, 1)


def test_block_rows_are_dealt_evenly() -> None:
    for count, workers in ((24, 2), (40, 4), (7, 3)):
        hands = assign_block_rows(count, workers)
        assert sorted(i for hand in hands for i in hand) == list(range(count))
        load = [sum(i + 1 for i in hand) for hand in hands]
        assert max(load) - min(load) <= count
