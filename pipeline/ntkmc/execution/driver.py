"""The driver: a loop over what is missing or not yet precise enough. It may die at any moment.

Nothing is believed but the store. A worker commits a block with one atomic put and returns a few numbers; its future
is released at once (a future that is kept makes its block run again when the worker that holds it goes). The driver
folds the journal into zarr, refreshes estimates, and asks for the next blocks.
"""

from __future__ import annotations

import itertools
import queue
import time
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, Future

from ntkmc.errors import ExecutionError
from ntkmc.execution.events import (
    BlockDone,
    CellDone,
    CellFailed,
    Event,
    Folded,
    Note,
    RunFinished,
    RunStarted,
    Subscriber,
)
from ntkmc.execution.interruption import Interruption, noticed
from ntkmc.execution.queue import CellWork, WorkQueue
from ntkmc.execution.tasks import Report, commit_block
from ntkmc.experiment.derived import Derived
from ntkmc.experiment.lease import Lease
from ntkmc.experiment.store import Store
from ntkmc.experiment.study import Study
from ntkmc.experiment.trial import BlockTask, Recipe
from ntkmc.linalg.eigenvalue import Status
from ntkmc.theory.claims.statistics import eigenvalue_problems

_FOLD_EVERY = 5.0  # seconds; a reader of plain zarr lags by this much, `open_results` by nothing
_IN_FLIGHT = 3  # blocks a worker thread: one running, two waiting, so that no thread idles between blocks
_HUNGRY = 0.3  # seconds between folds while workers could do more than is queued
_ATTEMPTS = 2  # times that blocks are computed again whose results did not arrive
_POLL = 0.2  # seconds between looks at the clock while nothing arrives

_LOST = "the cluster is gone, or its scheduler was restarted; what is finished is kept, run again to resume"


@dataclass
class Outcome:
    """How a run ended.

    Attributes
    ----------
    failed : dict of str to str
        Cells that were set aside, with the reason.
    failed_trials : dict of str to int
        Cells with trials that ended without a value.
    interrupted : bool
        Whether it was stopped from outside; what is finished stays.
    """

    failed: dict[str, str] = field(default_factory=dict)
    failed_trials: dict[str, int] = field(default_factory=dict)
    interrupted: bool = False


def drive(
    study: Study,
    path: Path,
    client: Client,
    subscribers: Sequence[Subscriber] = (),
    block_length: int | None = None,
) -> Outcome:
    """Run or resume a study until nothing is missing.

    Parameters
    ----------
    study : Study
    path : Path
        The store; created if it does not exist.
    client : distributed.Client
        Workers must see `path` under the same name.
    subscribers : sequence of callables
        Each is called with every event.
    block_length : int, optional
        Trials a block, instead of about a second's worth. It leaves no trace in the results.

    Raises
    ------
    StoreError
        If the store cannot be used, or another run holds it.
    ExecutionError
        If the cluster goes away.
    """
    Store.create(path, study)
    with Lease(path):
        return _Driver(study, path, client, subscribers, block_length).run()


class _Driver:
    def __init__(
        self,
        study: Study,
        path: Path,
        client: Client,
        subscribers: Sequence[Subscriber],
        block_length: int | None,
    ) -> None:
        self.study = study
        self.client = client
        self.subscribers = subscribers
        self.block_length = block_length
        self.store = Store.prepare(path, study)
        self.derived = Derived(self.store)
        self.recipe = Recipe.of(study, self.store.statistics)
        self.works = [CellWork(cell, eigenvalue_problems(self.store.statistics, cell.depths)) for cell in study.cells]
        self.queue = WorkQueue(self.works)
        self.finished: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.flying: dict[Any, tuple[Future[Any], CellWork]] = {}
        self.outcome = Outcome()
        self.sent = itertools.count()
        self.run_id = uuid.uuid4().hex[:8]

    def run(self) -> Outcome:
        workers = max(1, sum(self.client.nthreads().values()))
        self.derived.refresh(self.study.cells)
        self._announce(workers)
        self._emit(Folded(self.store, self.derived, whole=True))
        for work in self.works:
            self._ask(work)
        self.queue = WorkQueue(self.works)
        with noticed() as interruption:
            try:
                self._loop(workers, interruption)
            except KeyboardInterrupt:  # the second request, or where signals could not be caught
                self._stop()
            finally:
                self._fold()
                self.derived.finish()
                self.derived.write()
                self._emit(Folded(self.store, self.derived, whole=True))
                self._count_failed_trials()
                self._emit(RunFinished(self.outcome.interrupted))
        return self.outcome

    def _loop(self, workers: int, interruption: Interruption) -> None:
        folded, cost = time.monotonic(), _HUNGRY
        while any(not work.closed for work in self.works):
            if interruption.requested:
                self._stop()
                return
            hungry = not self._submit(workers)
            if self.flying:
                self._collect()
            waited = time.monotonic() - folded
            idle = any(work.idle for work in self.works)
            if waited > max(_FOLD_EVERY, 5.0 * cost) or not self.flying or (hungry and idle and waited > cost):
                begun = time.monotonic()
                self._fold()
                folded = time.monotonic()
                cost = max(_HUNGRY, folded - begun)

    def _stop(self) -> None:
        self.outcome.interrupted = True
        for future, _ in self.flying.values():
            future.cancel()

    def _announce(self, workers: int) -> None:
        span = self.study.trial_range
        done = sum(
            int(np.sum(self.store.done(work.cell)[:, span.start : span.stop].all(axis=0))) for work in self.works
        )
        self._emit(
            RunStarted(
                self.study.name,
                len(self.works),
                done,
                len(span) * len(self.works),
                workers,
                self.client.dashboard_link if self.client.dashboard_link else "",
            )
        )
        if self.store.lacking:
            self._emit(
                Note(
                    f"{self.store.lacking:,} trials lack statistics that the study's claims need "
                    f"({', '.join(self.store.added)}): they are computed again"
                )
            )
        if self.store.damaged:
            self._emit(Note(f"{self.store.damaged} damaged pieces of the store were found; their trials run again"))

    def _ask(self, work: CellWork) -> None:
        """Queue what a cell lacks up to its next look (adaptive), or altogether (fixed); close it if it lacks nothing.

        A worker's word that a block is done does not count, only the store does. A cell whose blocks do not arrive
        there however often they are computed is set aside.
        """
        span = self.study.trial_range
        stop = span.stop
        if self.study.adaptive:
            prefix = self.store.prefix(work.cell)
            stop = span.start + next((look for look in self.study.looks if look > prefix), len(span))
        enough = self.study.adaptive and self.derived.stopped(work.cell)
        missing = [] if enough else self.store.missing(work.cell, range(span.start, stop))
        work.attempts = work.attempts + 1 if missing and missing == work.asked else 0
        work.asked = missing
        if not missing:
            work.closed = True
            self._emit(CellDone(work.cell.name, len(span) - self.store.prefix(work.cell) if enough else 0))
        elif work.attempts > _ATTEMPTS:
            self._set_aside(
                work, "its finished blocks do not appear in the store: is the journal's file system sound?"
            )
        else:
            work.extend(missing)

    def _submit(self, workers: int) -> bool:
        """Fill the window; False when nothing is queued."""
        while len(self.flying) < _IN_FLIGHT * workers:
            work = self.queue.next()
            if work is None:
                return False
            task = work.take(self.recipe, workers, self.block_length)
            future = self._send(task, work)
            self.flying[future.key] = future, work
            future.add_done_callback(self.finished.put)
        return True

    def _send(self, task: BlockTask, work: CellWork) -> Future[Any]:
        try:
            return self.client.submit(
                commit_block,
                task,
                str(self.store.blobs.root),
                # All identity is in the key: Dask answers an equal key with the first one's result.
                key=("block", f"{task.folder}.{task.first}-{task.count}.{self.run_id}.{next(self.sent)}"),
                pure=False,
                retries=1,
                priority=int(1e3 * min(work.seconds, 1e6)),
            )
        except Exception as error:
            if self.client.status == "running":
                raise
            raise ExecutionError(_LOST) from error

    def _collect(self) -> None:
        try:
            future = self.finished.get(timeout=_POLL)
        except queue.Empty:
            if self.client.status not in ("running", "connecting"):
                raise ExecutionError(_LOST) from None
            return
        entry = self.flying.pop(future.key, None)
        if entry is None:
            return
        _, work = entry
        work.in_flight -= 1
        if future.status == "finished":
            self._book(future.result(), work)
        elif future.status == "error":
            error = future.exception()
            self._set_aside(work, f"{type(error).__name__}: {error}")
        else:
            raise ExecutionError(_LOST)
        future.release()

    def _book(self, report: Report, work: CellWork) -> None:
        work.learn(report.count, report.seconds)
        self._emit(BlockDone(work.cell.name, report.count, report.failed, report.seconds))

    def _set_aside(self, work: CellWork, reason: str) -> None:
        work.runs.clear()
        if not work.closed:
            work.closed = True
            self.outcome.failed[work.cell.name] = " ".join(reason.split())[:300]
            self._emit(CellFailed(work.cell.name, self.outcome.failed[work.cell.name]))

    def _fold(self) -> None:
        """Bring what is finished into the store, and let cells that nobody is working on go on or end."""
        folders = {block.folder for block in self.store.fold()}
        self.derived.refresh(work.cell for work in self.works if work.cell.folder in folders)
        self.derived.write()
        self._emit(Folded(self.store, self.derived))
        for work in self.works:
            if work.idle:
                self._ask(work)

    def _count_failed_trials(self) -> None:
        """Trials of the study without a value, whichever run computed them."""
        span = self.study.trial_range
        for work in self.works:
            status = self.store.status[self.store.index(work.cell)][self.store.depth_positions(work.cell.depths)]
            failed = (status[:, span.start : span.stop] == Status.FAILED.code).any(axis=0)
            if failed.any():
                self.outcome.failed_trials[work.cell.name] = int(failed.sum())

    def _emit(self, event: Event) -> None:
        for subscriber in self.subscribers:
            subscriber(event)
