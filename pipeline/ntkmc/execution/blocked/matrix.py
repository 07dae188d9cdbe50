"""Workers that hold a Gram matrix together: `ntkmc.linalg.blocked.solver.BlockedMatrix` on Dask.

Each worker holds one share (`ntkmc.linalg.blocked.block_rows`), the result of a task that stays where it is for as
long as its
future lives: if the driver dies, Dask lets go of it. What is asked of a share is one task, bound to its worker: an
iteration costs the scheduler one task a worker, a factorization two a worker and block column, whatever the number of
tiles.

A worker that is lost takes its share along. Its tiles are evaluated anew elsewhere, and the steps of a factorization
that they missed are caught up on, from the block rows that the others hold; no other share repeats anything.
"""

from __future__ import annotations

import asyncio
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
from ntkmc.execution.blocked.worker import USABLE, asked, open_share
from ntkmc.linalg.blocked import EntrySums, PairSums
from ntkmc.linalg.blocked.block_rows import Shifted, StaleShareError
from ntkmc.linalg.blocked.cost import COMPILED_BYTES, dealt
from ntkmc.linalg.blocked.tiles import NO_PAIRS, spans
from ntkmc.linalg.eigen import Rows
from ntkmc.linalg.eigen.rayleigh import joined
from ntkmc.numeric import Matrix

_AHEAD: Final = 3
"""Block columns of a factorization that are asked for before the first of them is finished."""

_EMBEDDED: Final = 2**20
"""Bytes that travel inside of a task; what is larger is scattered."""

_ATTEMPTS: Final = 5  # at one step, while workers go
_POLL: Final = 1.0  # seconds between looks at who is still there
_PAUSED: Final = 120.0  # seconds without any progress after which a paused worker ends a solve
_PATIENCE: Final = 20.0  # seconds that a nanny is given to bring its worker back

_LOST: Final = "the cluster is gone, or its scheduler was restarted; run again to resume"


class _Lost(Exception):
    pass


class Stopped(Exception):
    """Raised where the caller's `stop` said so."""


@dataclass
class _Share:
    address: str
    mine: tuple[int, ...]
    shelf: Future[Any]


class DaskBlockedMatrix:
    """A Gram matrix over the workers of a client.

    Parameters
    ----------
    client : distributed.Client
    rows : Rows
        The data; each worker gets them once.
    kernel : str
    block : int
        Rows of a block row.
    single : bool
        Hold the matrix in float32, for products.
    stop : callable, optional
        Asked about once a second while waiting; True ends with `Stopped`.
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
        """Shares that were made anew because their worker was lost."""
        self._stop = stop
        self._id = uuid.uuid4().hex[:8]
        self._sent = itertools.count()
        self._count = len(spans(self.order, block))
        self._depth = 0
        self._incomplete = False  # whether a share may be lost
        self._restored = False  # whether one may lack what was factored
        self._shifted: Shifted | None = None
        addresses = sorted(self._workers())
        if not addresses:
            raise ExecutionError("the cluster has no workers: start some, or ask for a local profile")
        self._data = rows
        self._rows = self._scattered()
        self._shares = [
            self._open(address, mine)
            for address, mine in zip(addresses, dealt(self._count, len(addresses)), strict=False)
            if mine
        ]

    def __enter__(self) -> DaskBlockedMatrix:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def workers(self) -> int:
        """Workers that hold a share."""
        return len({share.address for share in self._shares})

    def build(self, depth: int) -> None:
        """Evaluate all tiles at a depth."""
        self._depth, self._shifted = depth, None
        self._all("build", depth)

    def pair_sums(self) -> PairSums:
        """Of all cosines."""
        found = NO_PAIRS
        for each in self._all("pair_sums"):
            found = found.joined(each)
        return found

    def survey(self) -> EntrySums:
        """Of all entries off the diagonal."""
        found, *others = self._all("survey")
        for each in others:
            found = found.joined(each)
        return EntrySums(*found)

    def products(self, V: Matrix) -> Matrix:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        return np.asarray(sum(self._all("product", V)))

    def exact_product(self, v: Matrix) -> tuple[Matrix, Matrix]:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        total, *others = (np.array(each) for each in self._all("exact_product", v))
        for each in others:
            joined(total, each)
        return total[0], total[1]

    def precondition(self, V: Matrix) -> Matrix:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        return np.asarray(sum(self._all("precondition", V)))

    def factor(self, shifted: Shifted) -> bool:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""
        self._shifted, self._restored = shifted, False
        self._all("begin", shifted)
        return bool(self._repeated(self._factor))

    def solve(self, x: Matrix) -> Matrix:
        """Implement the operation of `ntkmc.linalg.blocked.solver.BlockedMatrix`."""

        def solved() -> Any:
            if self._restored and not self._factor():
                raise _Lost  # what was factored once is positive definite
            self._restored = False
            return self._solve(x)

        return np.asarray(self._repeated(solved))

    def on_disk(self) -> int:
        """Bytes of tiles that did not fit into memory."""
        return int(sum(self._all("on_disk")))

    def close(self) -> None:
        """Let go of everything that the workers hold."""
        with suppress(Exception), self.client.as_current():  # the connection may be gone, and everything with it
            wait([self._ask(share, "close") for share in self._shares], timeout=30)
        for share in self._shares:
            share.shelf.release()
        self._shares = []

    def _factor(self) -> bool:
        """All block columns that are lacking: see `ntkmc.linalg.blocked.block_rows`.

        The owner of the next block row brings that one forward first and sends it off, so that the others have it
        before they need it.
        """
        assert self._shifted is not None
        number = self._shifted.number
        standing = self._results([self._ask(share, "standing") for share in self._shares])
        reached = [each[2] for each in standing]
        owner = {i: at for at, share in enumerate(self._shares) for i in share.mine}
        last: list[list[Future[Any]]] = [[] for _ in self._shares]
        rows: dict[int, Future[Any]] = {}
        columns: list[list[Future[Any]]] = []
        expected: list[Future[Any]] = []  # a task that nobody waits for is not done
        first = min((each + 1 for each in reached), default=0)
        for j in range(first, self._count):
            row = rows.pop(j, None) or self._row(owner[j], j, last)
            after = j + 1
            if after < self._count:
                at = owner[after]
                if reached[at] < j:
                    rows[after] = self._ask(
                        self._shares[at], "next_row", number, row, j, after, after=last[at], urgent=True
                    )
                    last[at] = [rows[after]]
                else:
                    rows[after] = self._row(at, after, last)
            asked = []
            for at, share in enumerate(self._shares):
                if after in rows and at != owner[after] and reached[at] < after < share.mine[-1]:
                    expected.append(self._ask(share, "expect", rows[after], urgent=True))
                if reached[at] < j < share.mine[-1]:
                    last[at] = [self._ask(share, "column", number, row, j, after=last[at])]
                    asked += last[at]
            columns.append(asked)
            if len(columns) > _AHEAD and not all(self._results(columns[-1 - _AHEAD])):
                return False
        going = [each for asked in columns[-_AHEAD:] for each in asked]
        at = owner[self._count - 1]
        return (
            all(self._results(going))
            and self._results([self._row(at, self._count - 1, last, whole=False)])[0] is not None
        )

    def _row(self, at: int, j: int, last: list[list[Future[Any]]], *, whole: bool = True) -> Future[Any]:
        assert self._shifted is not None
        name = "finished_row" if whole else "finished_corner"
        return self._ask(self._shares[at], name, self._shifted.number, j, after=last[at], urgent=True)

    def _solve(self, x: Matrix) -> Matrix:
        owner = {i: share for share in self._shares for i in share.mine}
        runs: list[tuple[_Share, list[int]]] = []
        for i in range(self._count):
            if runs and runs[-1][0] is owner[i]:
                runs[-1][1].append(i)
            else:
                runs.append((owner[i], [i]))
        passed: Any = self._shared(x)
        for share, chosen in runs[:-1]:
            passed = self._ask(share, "forward", tuple(chosen), passed, urgent=True)
        share, chosen = runs[-1]
        passed = self._ask(share, "turn", tuple(chosen), passed, urgent=True)
        for share, chosen in reversed(runs[:-1]):
            passed = self._ask(share, "backward", tuple(chosen), passed, urgent=True)
        return np.asarray(self._results([passed])[0])

    def _all(self, name: str, *arguments: Any) -> list[Any]:
        """Ask every share."""

        def asked() -> list[Any]:
            sent = [self._shared(each) for each in arguments]
            return self._results([self._ask(share, name, *sent) for share in self._shares])

        return list(self._repeated(asked))

    def _repeated(self, work: Callable[[], Any]) -> Any:
        """Until it succeeds: what was lost in between is made anew before the next attempt."""
        for _ in range(_ATTEMPTS):
            with suppress(_Lost):
                if self._incomplete:
                    self._restore()
                return work()
            self._incomplete = True
        raise ExecutionError(
            f"workers were lost {_ATTEMPTS} times in one step: look into their logs for what ends them, mostly memory"
        )

    def _ask(
        self, share: _Share, name: str, *arguments: Any, after: Sequence[Future[Any]] = (), urgent: bool = False
    ) -> Future[Any]:
        try:
            return self.client.submit(
                asked,
                share.shelf,
                name,
                len(arguments),
                *arguments,
                *after,
                key=(f"tiles-{name}", f"{self._id}.{next(self._sent)}"),
                workers=[share.address],
                pure=False,
                priority=1 if urgent else 0,
            )
        except Exception as error:
            if self.client.status == "running":
                raise
            raise ExecutionError(_LOST) from error

    def _open(self, address: str, mine: Sequence[int]) -> _Share:
        shelf = self.client.submit(
            open_share,
            self._rows,
            self.kernel,
            self.block,
            tuple(mine),
            self.single,
            key=("tiles-share", f"{self._id}.{next(self._sent)}"),
            workers=[address],
            pure=False,
        )
        return _Share(address, tuple(mine), shelf)

    def _scattered(self) -> Future[Any]:
        scattered: Future[Any] = self.client.scatter(self._data, broadcast=True, hash=False)
        return scattered

    def _shared(self, value: Any) -> Any:
        size = sum(
            each.nbytes for each in (value if isinstance(value, tuple) else (value,)) if hasattr(each, "nbytes")
        )
        return self.client.scatter(value, broadcast=True, hash=False) if size > _EMBEDDED else value

    def _results(self, futures: Sequence[Future[Any]]) -> list[Any]:
        """Values of futures, or `_Lost`: bound to a worker that is gone, they would be waited for without end."""
        waiting = list(futures)
        moved = time.monotonic()
        while waiting:
            before = len(waiting)
            try:
                with self.client.as_current():
                    wait(waiting, timeout=_POLL)
            except TimeoutError:
                pass
            except CancelledError as gone:  # what they depend on went with a worker
                raise _Lost from gone
            waiting = [each for each in waiting if each.status == "pending"]
            moved = time.monotonic() if len(waiting) < before else moved
            if time.monotonic() - moved > _PAUSED:
                self._check_paused()
            # Nothing is cancelled: a key that was let go of a moment before makes Dask's scheduler (2026.8) drop the
            # connection, and with it everything that this client holds. What nobody refers to is forgotten anyway.
            if self._stop():
                raise Stopped
            if waiting and self._somebody_is_gone():
                raise _Lost
        for future in futures:
            if future.status == "error":
                error = future.exception(timeout=_PATIENCE)
                if isinstance(error, StaleShareError | KilledWorker):
                    raise _Lost
                if isinstance(error, OSError):
                    raise ExecutionError(
                        f"tiles of the matrix do not fit: {error.strerror or error} on a worker's disk; give workers "
                        "more memory, or more room in their local_directory"
                    ) from error
                raise error if error is not None else _Lost
            if future.status != "finished":
                raise _Lost
        # A worker may go with a result that was not fetched yet.
        loop: Any = self.client.loop
        gathering = self.client.gather(list(futures), asynchronous=True)
        gathered = asyncio.run_coroutine_threadsafe(gathering, loop.asyncio_loop)
        while True:
            try:
                return list(gathered.result(timeout=_POLL))
            except TimeoutError:
                if self._somebody_is_gone():
                    gathered.cancel()
                    raise _Lost from None
            except (CancelledError, KilledWorker) as gone:
                raise _Lost from gone

    def _check_paused(self) -> None:
        """A worker that Dask has paused for its memory does not go on by itself: a share is not Dask's to spill."""
        for address, each in self._workers().items():
            if each.get("status") == "paused" and address in {share.address for share in self._shares}:
                raise ExecutionError(
                    f"worker {address} has stood still for {_PAUSED:.0f} s, paused because its memory is nearly full: "
                    "give workers more (memory_limit), or lower n or d"
                )

    def _somebody_is_gone(self) -> bool:
        return not {share.address for share in self._shares} <= set(self._workers())

    def _restore(self) -> None:
        """Make anew what went with a worker, there where nobody holds anything, and bring it up to date."""
        self._restored = True
        deadline = time.monotonic() + _PATIENCE
        while len(living := set(self._workers())) < len({each.address for each in self._shares}):
            if time.monotonic() > deadline:
                break
            time.sleep(0.2)
        if not living:
            raise ExecutionError(_LOST)
        if self._rows.status != "finished":  # its only worker was the one that was lost
            self._rows = self._scattered()
        for at, share in enumerate(self._shares):
            if share.address not in living or share.shelf.status == "cancelled":
                load = dict.fromkeys(living, 0)
                for each in self._shares:
                    if each is not share and each.address in living:
                        load[each.address] += len(each.mine)
                share.shelf.release()
                self._shares[at] = self._open(min(sorted(living), key=load.__getitem__), share.mine)
                self.replaced += 1
        if self._depth:
            self._results([self._ask(share, "build", self._depth) for share in self._shares])
        if self._shifted is not None:
            shifted = self._shared(self._shifted)
            self._results([self._ask(share, "begin", shifted) for share in self._shares])
        self._incomplete = False

    def _workers(self) -> dict[str, Any]:
        if self.client.status not in ("running", "connecting"):
            raise ExecutionError(_LOST)
        return dict(self.client.scheduler_info(n_workers=-1)["workers"])


def room_of(client: Client) -> int:
    """Bytes that the fullest worker has left for a share and all that passes; 0 if it has no limit.

    Less what a worker loads with its first share; one that has that already leaves as much unused.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    left = [
        USABLE * each["memory_limit"] - (each.get("metrics") or {}).get("memory", 0) - COMPILED_BYTES
        for each in workers
        if each.get("memory_limit")
    ]
    return max(1, int(min(left))) if left else 0
