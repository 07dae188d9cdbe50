"""Implementation of `ntkmc.linalg.blocked.solver.BlockedMatrix` on Dask.

Each worker holds one share of the matrix (`ntkmc.linalg.blocked.block_rows`): the result of a task, which stays on its
worker while its future is referenced. If the driver dies, Dask releases it. Each step of a share is one task, bound to
its worker. An iteration costs the scheduler one task per worker, a factorization two per worker and block column,
whatever the number of tiles.

If a worker is lost, its share is rebuilt on another worker. The tiles are evaluated again, and the missing steps of a
factorization are repeated for this share only, from the block rows of the others.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from distributed import Client, Future, wait
from distributed.scheduler import KilledWorker

from ntkmc.errors import ExecutionError
from ntkmc.execution.blocked.worker import USABLE, call_share, open_share
from ntkmc.linalg.blocked import EntrySums
from ntkmc.linalg.blocked.block_rows import Shifted, StaleShareError
from ntkmc.linalg.blocked.cost import COMPILED_BYTES, assign_block_rows
from ntkmc.linalg.blocked.tiles import spans
from ntkmc.linalg.eigen import Rows
from ntkmc.linalg.eigen.rayleigh import add_double_double
from ntkmc.linalg.gram.pairs import NO_PAIRS, PairSums
from ntkmc.numeric import Matrix

_AHEAD: Final = 3
"""Block columns of a factorization that are submitted before the first of them is finished."""

_EMBEDDED: Final = 2**20
"""Bytes up to which an argument is sent within its task, through the scheduler; a larger one is scattered."""

_ATTEMPTS: Final = 5  # at one step, if workers are lost
_POLL: Final = 1.0  # seconds between checks for lost workers
_PAUSED: Final = 120.0  # seconds without progress after which a paused worker is an error
_PATIENCE: Final = 20.0  # seconds to wait for a nanny to restart its worker

_CONNECTION_LOST: Final = "the cluster is gone, or its scheduler was restarted; run again to resume"


class _ShareLost(Exception):
    """Raised if a worker with a share is gone, so that the step has to be repeated after `_restore`."""


class Stopped(Exception):
    """Raised if the caller's `stop` returned True."""


@dataclass
class _Share:
    address: str
    indices: tuple[int, ...]  # of its block rows
    future: Future[Any]


class DaskBlockedMatrix:
    """Gram matrix distributed over the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    rows : Rows
        The data; a copy is sent to each worker once.
    kernel : str
    block : int
        Rows per block row.
    single : bool
        Hold the matrix in float32, for products.
    stop : callable, optional
        Called about once per second while waiting; if it returns True, `Stopped` is raised.
    """

    def __init__(
        self,
        client: Client,
        rows: Rows,
        kernel: str,
        block: int,
        *,
        single: bool = False,
        stop: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = client
        self.order, self.kernel, self.block, self.single = len(rows.norms), kernel, block, single
        self.replaced = 0
        """Number of shares that were rebuilt because their worker was lost."""
        self._stop = stop
        self._id = uuid.uuid4().hex[:8]
        self._submitted = itertools.count()
        self._count = len(spans(self.order, block))
        self._depth = 0
        self._incomplete = False  # whether a share may be lost
        self._restored = False  # whether a share may lack parts of the factor
        self._shifted: Shifted | None = None
        addresses = sorted(self._workers())
        if not addresses:
            raise ExecutionError("the cluster has no workers: start some, or ask for a local profile")
        self._data = rows
        self._rows = self._scatter_rows()
        self._shares = [
            self._open(address, indices)
            for address, indices in zip(addresses, assign_block_rows(self._count, len(addresses)), strict=False)
            if indices
        ]

    def __enter__(self) -> DaskBlockedMatrix:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def workers(self) -> int:
        """Number of workers that hold a share."""
        return len({share.address for share in self._shares})

    def build(self, depth: int) -> None:
        """Evaluate all tiles at a depth."""
        self._depth, self._shifted = depth, None
        self._all("build", depth)

    def pair_sums(self) -> PairSums:
        """Return the sums over all cosines."""
        return functools.reduce(PairSums.merged, self._all("pair_sums"), NO_PAIRS)

    def entry_sums(self) -> EntrySums:
        """Return the sums over all entries off the diagonal."""
        sums: EntrySums = functools.reduce(EntrySums.merged, self._all("entry_sums"))
        return sums

    def products(self, V: Matrix) -> Matrix:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        return np.asarray(sum(self._all("product", V)))

    def exact_product(self, v: Matrix) -> tuple[Matrix, Matrix]:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        total, *others = (np.array(image) for image in self._all("exact_product", v))
        for image in others:
            add_double_double(total, image)
        return total[0], total[1]

    def precondition(self, V: Matrix) -> Matrix:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        return np.asarray(sum(self._all("precondition", V)))

    def factor(self, shifted: Shifted) -> bool:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        self._shifted, self._restored = shifted, False
        self._all("start_factor", shifted)
        return bool(self._repeat(self._factor))

    def solve(self, x: Matrix) -> Matrix:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""

        def solution() -> Any:
            # A matrix that was factored before is positive definite: if it fails now, another share has been lost.
            if self._restored and not self._factor():
                raise _ShareLost
            self._restored = False
            return self._solve(x)

        return np.asarray(self._repeat(solution))

    def on_disk(self) -> int:
        """Return the bytes of tiles that did not fit into memory."""
        return int(sum(self._all("on_disk")))

    def close(self) -> None:
        """Release the shares and their files on all workers."""
        with suppress(Exception), self.client.as_current():  # without a connection there is nothing to release
            wait([self._call(share, "close") for share in self._shares], timeout=30)
        for share in self._shares:
            share.future.release()
        self._shares = []

    def _factor(self) -> bool:
        """Compute the missing block columns of the factor, see `ntkmc.linalg.blocked.block_rows`; False on breakdown.

        The owner of the next block row updates and finishes it before its other rows, so that the row is on its way
        to the other workers before they need it.
        """
        assert self._shifted is not None
        number = self._shifted.number
        progress = self._results([self._call(share, "progress") for share in self._shares])
        # Last finished block column of each share. After a loss, only the rebuilt share starts from the first one.
        reached = [column for _, _, column in progress]
        owner = {i: at for at, share in enumerate(self._shares) for i in share.indices}
        last: list[list[Future[Any]]] = [[] for _ in self._shares]
        rows: dict[int, Future[Any]] = {}
        columns: list[list[Future[Any]]] = []
        prefetched: list[Future[Any]] = []  # referenced, since Dask cancels tasks without references
        first = min((column + 1 for column in reached), default=0)
        for j in range(first, self._count):
            row = rows.pop(j, None) or self._row(owner[j], j, last)
            after = j + 1
            if after < self._count:
                at = owner[after]
                if reached[at] < j:
                    rows[after] = self._call(
                        self._shares[at], "compute_next_row", number, row, j, after, after=last[at], urgent=True
                    )
                    last[at] = [rows[after]]
                else:
                    rows[after] = self._row(at, after, last)
            updates = []
            for at, share in enumerate(self._shares):
                if after in rows and at != owner[after] and reached[at] < after < share.indices[-1]:
                    prefetched.append(self._call(share, "receive", rows[after], urgent=True))
                if reached[at] < j < share.indices[-1]:
                    last[at] = [self._call(share, "compute_column", number, row, j, after=last[at])]
                    updates += last[at]
            columns.append(updates)
            # Wait for an earlier column, not for this one: workers always have tasks, and block rows in transit are
            # few.
            if len(columns) > _AHEAD and not all(self._results(columns[-1 - _AHEAD])):
                return False
        unfinished = [update for updates in columns[-_AHEAD:] for update in updates]
        at = owner[self._count - 1]
        return (
            all(self._results(unfinished))
            and self._results([self._row(at, self._count - 1, last, corner=True)])[0] is not None
        )

    def _row(self, at: int, j: int, last: list[list[Future[Any]]], *, corner: bool = False) -> Future[Any]:
        assert self._shifted is not None
        name = "finish_corner" if corner else "finish_row"
        return self._call(self._shares[at], name, self._shifted.number, j, after=last[at], urgent=True)

    def _solve(self, x: Matrix) -> Matrix:
        # Substitution is sequential: the vector passes from share to share, down for L and up again for its transpose.
        # Consecutive block rows of one share are one task.
        owner = {i: share for share in self._shares for i in share.indices}
        runs: list[tuple[_Share, list[int]]] = []
        for i in range(self._count):
            if runs and runs[-1][0] is owner[i]:
                runs[-1][1].append(i)
            else:
                runs.append((owner[i], [i]))
        vector: Any = self._argument(x)
        for share, indices in runs[:-1]:
            vector = self._call(share, "solve_forward", tuple(indices), vector, urgent=True)
        share, indices = runs[-1]
        vector = self._call(share, "solve_last", tuple(indices), vector, urgent=True)
        for share, indices in reversed(runs[:-1]):
            vector = self._call(share, "solve_backward", tuple(indices), vector, urgent=True)
        return np.asarray(self._results([vector])[0])

    def _all(self, name: str, *arguments: Any) -> list[Any]:
        """Call a method of every share, and return the results."""

        def results() -> list[Any]:
            sent = [self._argument(value) for value in arguments]
            return self._results([self._call(share, name, *sent) for share in self._shares])

        return list(self._repeat(results))

    def _repeat(self, step: Callable[[], Any]) -> Any:
        """Run a step until it succeeds; lost shares are rebuilt before the next attempt."""
        for _ in range(_ATTEMPTS):
            with suppress(_ShareLost):
                if self._incomplete:
                    self._restore()
                return step()
            self._incomplete = True
        raise ExecutionError(
            f"workers were lost {_ATTEMPTS} times in one step: look into their logs for what ends them, mostly memory"
        )

    def _call(
        self, share: _Share, name: str, *arguments: Any, after: Sequence[Future[Any]] = (), urgent: bool = False
    ) -> Future[Any]:
        try:
            return self.client.submit(
                call_share,
                share.future,
                name,
                len(arguments),
                *arguments,
                *after,
                key=(f"tiles-{name}", f"{self._id}.{next(self._submitted)}"),
                workers=[share.address],
                pure=False,
                # Other workers wait for urgent tasks; the others only use the time in between.
                priority=1 if urgent else 0,
            )
        except Exception as error:
            if self.client.status == "running":
                raise
            raise ExecutionError(_CONNECTION_LOST) from error

    def _open(self, address: str, indices: Sequence[int]) -> _Share:
        future = self.client.submit(
            open_share,
            self._rows,
            self.kernel,
            self.block,
            tuple(indices),
            self.single,
            key=("tiles-share", f"{self._id}.{next(self._submitted)}"),
            workers=[address],
            pure=False,
        )
        return _Share(address, tuple(indices), future)

    def _scatter_rows(self) -> Future[Any]:
        # hash=False: with a key made of the content, equal data would share the key of an earlier scatter, which may
        # just be being released.
        rows: Future[Any] = self.client.scatter(self._data, broadcast=True, hash=False)
        return rows

    def _argument(self, value: Any) -> Any:
        arrays = value if isinstance(value, tuple) else (value,)
        size = sum(array.nbytes for array in arrays if hasattr(array, "nbytes"))
        return self.client.scatter(value, broadcast=True, hash=False) if size > _EMBEDDED else value

    def _results(self, futures: Sequence[Future[Any]]) -> list[Any]:
        """Wait for futures, and return their values.

        Raises `_ShareLost` if a worker is gone: tasks bound to it would never end.
        """
        waiting = list(futures)
        last_progress = time.monotonic()
        while waiting:
            before = len(waiting)
            try:
                with self.client.as_current():
                    wait(waiting, timeout=_POLL)
            except TimeoutError:
                pass
            except CancelledError as cancelled:  # a dependency was lost with its worker
                raise _ShareLost from cancelled
            waiting = [future for future in waiting if future.status == "pending"]
            last_progress = time.monotonic() if len(waiting) < before else last_progress
            if time.monotonic() - last_progress > _PAUSED:
                self._check_paused()
            # Futures are not cancelled: if a key was released a moment before, the scheduler (Dask 2026.8) drops the
            # connection, and with it all shares of this client. Tasks without references are forgotten anyway.
            if self._stop():
                raise Stopped
            if waiting and self._worker_lost():
                raise _ShareLost
        for future in futures:
            if future.status == "error":
                error = future.exception(timeout=_PATIENCE)
                if isinstance(error, StaleShareError | KilledWorker):
                    raise _ShareLost
                if isinstance(error, OSError):
                    raise ExecutionError(
                        f"tiles of the matrix do not fit: {error.strerror or error} on a worker's disk; give workers "
                        "more memory, or more room in their local_directory"
                    ) from error
                raise error if error is not None else _ShareLost
            if future.status != "finished":
                raise _ShareLost
        # `Client.gather` would wait without end if a worker is lost with a result that was not fetched yet. So it runs
        # in the client's event loop, and this thread checks for lost workers.
        loop: Any = self.client.loop
        gathering = self.client.gather(list(futures), asynchronous=True)
        gathered = asyncio.run_coroutine_threadsafe(gathering, loop.asyncio_loop)
        while True:
            try:
                return list(gathered.result(timeout=_POLL))
            except TimeoutError:
                if self._worker_lost():
                    gathered.cancel()
                    raise _ShareLost from None
            except (CancelledError, KilledWorker) as lost:
                raise _ShareLost from lost

    def _check_paused(self) -> None:
        """Raise ExecutionError if a worker with a share is paused: Dask cannot spill a share, so it stays paused."""
        addresses = {share.address for share in self._shares}
        for address, worker in self._workers().items():
            if worker.get("status") == "paused" and address in addresses:
                raise ExecutionError(
                    f"worker {address} is paused because its memory is nearly full, and made no progress for "
                    f"{_PAUSED:.0f} s: give workers more (memory_limit), or lower n or d"
                )

    def _worker_lost(self) -> bool:
        return not {share.address for share in self._shares} <= set(self._workers())

    def _restore(self) -> None:
        """Rebuild the shares of lost workers on the workers with the fewest block rows, up to the current step."""
        self._restored = True
        # A nanny restarts its worker in seconds. Until then the share would have to go to a worker that has one.
        deadline = time.monotonic() + _PATIENCE
        while len(living := set(self._workers())) < len({share.address for share in self._shares}):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        if not living:
            raise ExecutionError(_CONNECTION_LOST)
        if self._rows.status != "finished":  # the lost worker was the only one with the data
            self._rows = self._scatter_rows()
        for at, share in enumerate(self._shares):
            if share.address not in living or share.future.status == "cancelled":
                load = dict.fromkeys(living, 0)
                for other in self._shares:
                    if other is not share and other.address in living:
                        load[other.address] += len(other.indices)
                share.future.release()
                self._shares[at] = self._open(min(sorted(living), key=load.__getitem__), share.indices)
                self.replaced += 1
        if self._depth:
            self._results([self._call(share, "build", self._depth) for share in self._shares])
        if self._shifted is not None:
            shifted = self._argument(self._shifted)
            self._results([self._call(share, "start_factor", shifted) for share in self._shares])
        self._incomplete = False

    def _workers(self) -> dict[str, Any]:
        if self.client.status not in ("running", "connecting"):
            raise ExecutionError(_CONNECTION_LOST)
        return dict(self.client.scheduler_info(n_workers=-1)["workers"])


def free_bytes(client: Client) -> int:
    """Return the bytes that the fullest worker has left for a share and block rows in transit; 0 without a limit."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    # Compiled code is subtracted although some workers have loaded it already: which ones is not known here.
    free = [
        USABLE * worker["memory_limit"] - (worker.get("metrics") or {}).get("memory", 0) - COMPILED_BYTES
        for worker in workers
        if worker.get("memory_limit")
    ]
    return max(1, int(min(free))) if free else 0
