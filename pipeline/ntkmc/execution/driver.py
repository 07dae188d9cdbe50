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
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from distributed import Client, Future
from distributed.scheduler import KilledWorker

from ntkmc.errors import ExecutionError, NtkmcError
from ntkmc.execution.blocked.lambda_min import commit_large
from ntkmc.execution.blocked.matrix import Stopped
from ntkmc.execution.cluster import (
    MEMORY,
    ClusterCapacity,
    killed_workers_message,
    memory_limit_for,
    needed_bytes,
    needed_seconds,
    no_room_message,
)
from ntkmc.execution.events import (
    BlockDone,
    CellDone,
    CellFailed,
    Event,
    Note,
    RunFinished,
    RunStarted,
    StoreUpdated,
    Subscriber,
)
from ntkmc.execution.signals import Interruption, deferred_signals
from ntkmc.execution.work_queue import CellWork, WorkQueue
from ntkmc.execution.worker import BlockReport, commit_block, executing_tasks
from ntkmc.experiment.analysis import Derived
from ntkmc.experiment.store import Lease, Location, Store
from ntkmc.experiment.store.layout import create
from ntkmc.experiment.store.reading import understood
from ntkmc.experiment.study import Cell, Study
from ntkmc.experiment.trial import TrialConfig
from ntkmc.experiment.trial.run import BlockTask
from ntkmc.linalg.eigen import Status

_FOLD_EVERY = 5.0  # seconds; a reader of plain zarr lags by this much, `open_results` by nothing
_SILENCE_TIMEOUT = 30.0  # seconds without a word from the cluster, after which it is asked whether anybody is at work
_IN_FLIGHT = 3  # blocks a worker thread: one running, two waiting, so that no thread idles between blocks
_MIN_FOLD_INTERVAL = 0.3  # seconds between folds while workers could do more than is queued
_ATTEMPTS = 2  # times that blocks are computed again whose results did not arrive
_POLL = 0.2  # seconds between looks at the clock while nothing arrives
_FOLDS = 5  # attempts to write to a store that cannot be written, with growing pauses: 15 s in all

_LOST = "the cluster is gone, or its scheduler was restarted; what is finished is kept, run again to resume"


@dataclass
class Outcome:
    """Outcome of a run.

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
    store: str | Path | Location,
    client: Client,
    subscribers: Sequence[Subscriber] = (),
    block_length: int | None = None,
) -> Outcome:
    """Run or resume a study until nothing is missing.

    Parameters
    ----------
    study : Study
    store : str, Path or Location
        A folder or a URL; created if it does not exist.
    client : distributed.Client
        Workers must see the store under the same name.
    subscribers : sequence of callables
        Each is called with every event.
    block_length : int, optional
        Trials a block, instead of about a second's worth. It leaves no trace in the results.

    Raises
    ------
    StoreError
        If the store cannot be used, or another run holds it.
    ExecutionError
        If the cluster goes away, or the store cannot be written any more.
    """
    location = Location.of(store)

    def say(text: str) -> None:
        for subscriber in subscribers:
            subscriber(Note(text))

    if not location.remote:
        create(location, study)
    with Lease(location, say) as lease:
        if location.remote:
            create(location, study)
        with understood(location):
            opened = Store.prepare(location, study)
            derived = Derived(opened)
        return _Driver(study, opened, derived, lease, client, subscribers, block_length).run()


class _Driver:
    def __init__(
        self,
        study: Study,
        store: Store,
        derived: Derived,
        lease: Lease,
        client: Client,
        subscribers: Sequence[Subscriber],
        block_length: int | None,
    ) -> None:
        self.study = study
        self.store = store
        self.lease = lease
        self.client = client
        self.capacity = ClusterCapacity(client)
        self.subscribers = subscribers
        self.block_length = block_length
        self.derived = derived
        self.config = TrialConfig.of(study, self.store.statistics)
        self.works = [
            CellWork(
                cell,
                needed_bytes(study, cell, measurement),
                seconds=needed_seconds(study, cell, measurement),
                measurement=measurement,
            )
            for cell in study.cells
            for measurement in study.measurements
        ]
        self.queue = WorkQueue(self.works)
        self.finished: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.last_message_at = time.monotonic()
        self.in_flight: dict[Any, tuple[Future[Any], CellWork]] = {}
        self.outcome = Outcome()
        self.sent = itertools.count()
        self.run_id = uuid.uuid4().hex[:8]

    def run(self) -> Outcome:
        self.derived.refresh(self.study.cells)
        self._announce()
        self._emit(StoreUpdated(self.store, self.derived, whole=True))
        for work in self.works:
            self._ask(work)
        self.queue = WorkQueue(self.works)
        with deferred_signals() as interruption:
            try:
                self._loop(interruption)
            except KeyboardInterrupt:  # the second request, or where signals could not be caught
                self._stop()
            except BaseException:
                with suppress(NtkmcError, OSError):  # what can still be saved; what went wrong is said below
                    self._close()
                raise
            self._close()
        return self.outcome

    def _close(self) -> None:
        try:
            self._fold(last=True)
            self._count_failed_trials()
        finally:
            self._emit(RunFinished(self.outcome.interrupted))

    def _loop(self, interruption: Interruption) -> None:
        folded, cost = time.monotonic(), _MIN_FOLD_INTERVAL
        while any(not work.closed for work in self.works):
            if interruption.requested:
                self._stop()
                return
            hungry = not self._submit()
            if self.in_flight:
                self._collect()
            elif together := next((work for work in self.works if work.blocked and work.runs), None):
                self._work_together(together, interruption)
            waited = time.monotonic() - folded
            idle = any(work.idle for work in self.works)
            if waited > max(_FOLD_EVERY, 5.0 * cost) or not self.in_flight or (hungry and idle and waited > cost):
                begun = time.monotonic()
                self._fold()
                folded = time.monotonic()
                cost = max(_MIN_FOLD_INTERVAL, folded - begun)

    def _stop(self) -> None:
        self.outcome.interrupted = True
        for future, _ in self.in_flight.values():
            future.cancel()

    def _announce(self) -> None:
        span = self.study.trial_range
        done = sum(
            int(np.sum(self.store.done(work.cell, work.measurement)[:, span.start : span.stop].all(axis=0)))
            for work in self.works
        )
        self._emit(
            RunStarted(
                self.study.name,
                len(self.study.cells),
                done,
                len(span) * len(self.works),
                self.capacity.threads,
                self.client.dashboard_link if self.client.dashboard_link else "",
                len(self.study.additional_measurements),
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
        missing = self.store.missing(work.cell, self._wanted(work), work.measurement)
        work.attempts = work.attempts + 1 if missing and missing == work.last_missing else 0
        work.last_missing = missing
        if not missing:
            if not (self.study.adaptive and not work.measurement.is_draws and self._going_on(work.cell)):
                work.closed = True
                self._tell_if_done(work.cell)
        elif work.attempts > _ATTEMPTS:
            self._set_aside(
                work, "its finished blocks do not appear in the store: is the journal's file system sound?"
            )
        else:
            work.extend(missing)

    def _wanted(self, work: CellWork) -> range:
        """Trials that a cell is to have now; what an adaptive study measures in addition follows its draws."""
        span = self.study.trial_range
        if not self.study.adaptive:
            return span
        prefix = self.store.prefix(work.cell)
        if not work.measurement.is_draws:
            return range(span.start, span.start + prefix)
        if self.derived.stopped(work.cell):
            return range(span.start, span.start)
        return range(span.start, span.start + next((look for look in self.study.looks if look > prefix), len(span)))

    def _going_on(self, cell: Cell) -> bool:
        """Whether trials of a cell's limiting kernel are still to come."""
        return not all(work.closed for work in self.works if work.cell is cell and work.measurement.is_draws)

    def _tell_if_done(self, cell: Cell) -> None:
        mine = [work for work in self.works if work.cell is cell]
        if all(work.closed and work.name not in self.outcome.failed for work in mine):
            enough = self.study.adaptive and self.derived.stopped(cell)
            spared = len(self.study.trial_range) - self.store.prefix(cell) if enough else 0
            self._emit(CellDone(cell.name, spared))

    def _submit(self) -> bool:
        """Fill the window, which follows the workers that come and go; False when nothing is queued."""
        workers = max(1, self.capacity.threads)
        while len(self.in_flight) < _IN_FLIGHT * workers:
            work = self.queue.next(self._fits)
            if work is None:
                return False
            if not self.capacity.fits(work.needed):
                if not work.measurement.is_draws:
                    self._set_aside(work, no_room_message(work.needed, self.capacity.most))
                    continue
                work.blocked = True
                self._emit(Note(f"{work.cell.name}: its matrix is blocked over the workers, since none can hold it"))
                continue
            task = work.take(self.config, workers, self.block_length)
            future = self._send(task, work)
            self.last_message_at = time.monotonic()
            self.in_flight[future.key] = future, work
            future.add_done_callback(self.finished.put)
        return True

    def _fits(self, work: CellWork) -> bool:
        """Whether a block of it would be begun at once; of small cells some wait, of large ones none."""
        if work.blocked:
            return False
        seats = self.capacity.eligible_workers(work.needed)
        return seats is None or seats > sum(
            self.capacity.eligible_workers(each.needed) is not None for _, each in self.in_flight.values()
        )

    def _send(self, task: BlockTask, work: CellWork) -> Future[Any]:
        resources = {MEMORY: memory_limit_for(work.needed)} if self.capacity.eligible_workers(work.needed) else None
        try:
            return self.client.submit(
                commit_block,
                task,
                self.store.journal.blobs.address,
                # All identity is in the key: Dask answers an equal key with the first one's result.
                key=("block", f"{task.folder}.{task.first}-{task.count}.{self.run_id}.{next(self.sent)}"),
                pure=False,
                retries=1,
                priority=int(1e3 * min(work.seconds, 1e6)),
                resources=resources,
            )
        except Exception as error:
            if self.client.status in ("running", "connecting"):
                raise
            raise ExecutionError(_LOST) from error

    def _work_together(self, work: CellWork, interruption: Interruption) -> None:
        """One trial of a cell whose matrix all workers hold together, while none of them has anything else to do."""
        task = work.take(self.config, 1, block_length=1)
        try:
            report = commit_large(task, self.client, self.store.journal, lambda: interruption.requested)
        except Stopped:
            return  # the loop looks for what was requested
        except ExecutionError as error:
            if self.client.status != "running":
                raise
            self._set_aside(work, str(error))
        else:
            self._book(report, work)
        finally:
            work.in_flight -= 1

    def _collect(self) -> None:
        try:
            future = self.finished.get(timeout=_POLL)
        except queue.Empty:
            if self.client.status not in ("running", "connecting"):
                raise ExecutionError(_LOST) from None
            if time.monotonic() - self.last_message_at > _SILENCE_TIMEOUT:
                self._send_again()
            return
        self.last_message_at = time.monotonic()
        entry = self.in_flight.pop(future.key, None)
        if entry is None:
            return
        _, work = entry
        work.in_flight -= 1
        if future.status == "finished":
            try:
                self._book(future.result(timeout=_SILENCE_TIMEOUT), work)
            except TimeoutError:  # its worker has died with the report, if not with the block: the store will tell
                work.last_missing = []
        elif future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                self._set_aside(work, killed_workers_message(work.needed, error, self.capacity.memory))
            else:
                self._set_aside(work, f"{type(error).__name__}: {error}")
        elif not work.closed:
            self._await_connection()
            work.last_missing = []  # that it did not arrive is nobody's fault
        future.release()

    def _send_again(self) -> None:
        """Send lost blocks again: if the cluster was silent for long and no worker is busy, the blocks sent are lost.

        Seen where all workers died at once: the scheduler has tasks, and workers again, and does not bring them
        together. It is the workers who are asked, since the scheduler may believe that one works that does not.
        """
        with suppress(Exception):  # of a connection that is just being lost
            at_work = self.client.run(executing_tasks, on_error="ignore")
            if at_work and not any(at_work.values()):
                lost = list(self.in_flight.values())
                self.in_flight.clear()
                for future, work in lost:
                    work.in_flight -= 1
                    work.last_missing = []
                    future.cancel()
        self.last_message_at = time.monotonic()

    def _await_connection(self) -> None:
        """The scheduler was lost, and with it what was queued there. If it comes back, the store says what is missing.

        The client tries for `distributed.comm.timeouts.connect`; a scheduler that was started anew knows no workers of
        the old one, and is no help.
        """
        while self.client.status == "connecting":
            time.sleep(_POLL)
        if self.client.status != "running":
            raise ExecutionError(_LOST)

    def _book(self, report: BlockReport, work: CellWork) -> None:
        work.learn(report.count, report.seconds)
        self._emit(BlockDone(work.cell.name, report.count, report.failed, report.seconds, work.measurement))

    def _set_aside(self, work: CellWork, reason: str) -> None:
        work.runs.clear()
        if not work.closed:
            work.closed = True
            self._cancel_waiting(work)
            said = " ".join(reason.split())[:400]
            self.outcome.failed[work.name] = said
            self._emit(
                CellFailed(
                    work.cell.name, said if work.measurement.is_draws else f"{work.measurement.description}: {said}"
                )
            )

    def _cancel_waiting(self, work: CellWork) -> None:
        """Cancel the blocks of a cell that no worker has begun.

        The others cannot be stopped, and what the scheduler sent to their workers instead would be blamed if they
        kill them.
        """
        begun: set[Any] = set()
        with suppress(Exception):  # of a connection that is just being lost
            begun = {key for keys in self.client.processing().values() for key in keys}
        for future, owner in self.in_flight.values():
            if owner is work and future.key not in begun:
                future.cancel()

    def _fold(self, last: bool = False) -> None:
        """Bring what is finished into the store, and let cells that nobody is working on go on or end.

        A file system that is full or away for a moment is tried again: what is finished waits in the journal.
        """
        for attempt in range(_FOLDS):
            self.lease.confirm()
            try:
                folders = {block.folder for block in self.store.fold()}
                # What an attempt that failed halfway had folded already, nobody knows: then every cell is looked at.
                self.derived.refresh(cell for cell in self.study.cells if attempt or cell.folder in folders)
                if last:
                    self.derived.finish()
                self.derived.write()
                self._emit(StoreUpdated(self.store, self.derived, whole=last))
                break
            except OSError as error:
                reason = error.strerror or str(error)
                if attempt == _FOLDS - 1:
                    raise ExecutionError(
                        f"{self.store.location}: cannot be written ({reason}); finished blocks are kept in its "
                        "journal, run again to resume"
                    ) from error
                if not attempt:
                    self._emit(Note(f"{self.store.location}: cannot be written ({reason}); trying again"))
                time.sleep(2.0**attempt)
        for work in () if last else self.works:
            if work.idle:
                self._ask(work)

    def _count_failed_trials(self) -> None:
        """Trials of the study without a value, whichever run computed them."""
        span = self.study.trial_range
        for work in self.works:
            status = self.store.statuses(work.cell, work.measurement)[self.store.depth_positions(work.cell.depths)]
            failed = (status[:, span.start : span.stop] == Status.FAILED.code).any(axis=0)
            if failed.any():
                self.outcome.failed_trials[work.name] = int(failed.sum())

    def _emit(self, event: Event) -> None:
        for subscriber in self.subscribers:
            subscriber(event)
