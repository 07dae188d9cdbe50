"""Driver of a run: submits blocks of trials until nothing is missing, and folds their results into the store.

The store is the only source of truth, so the driver may die at any moment. A worker commits a block by one atomic
write and returns a short report. The driver releases the block's future at once: Dask would compute a block with a
live future again when the worker that keeps its report is lost. The driver folds the journal into zarr arrays, updates
the estimates, and submits further blocks.
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
from distributed import Client, Future, SpecCluster
from distributed.scheduler import KilledWorker

from ntkmc.errors import ExecutionError, NtkmcError
from ntkmc.execution.blocked.lambda_min import commit_blocked
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
from ntkmc.execution.trial_blocks import BlockQueue, CellWork
from ntkmc.execution.worker import BlockReport, commit_block, executing_tasks
from ntkmc.experiment.analysis import Derived
from ntkmc.experiment.store import Lease, Location, Store
from ntkmc.experiment.store.layout import create
from ntkmc.experiment.store.reading import translate_store_errors
from ntkmc.experiment.study import Cell, Study
from ntkmc.experiment.trial import TrialConfig
from ntkmc.experiment.trial.run import BlockTask
from ntkmc.linalg.eigen import Status

_FOLD_EVERY = 5.0  # seconds between folds; plain zarr readers lag by this much, `open_results` does not
_MIN_FOLD_INTERVAL = 0.3  # seconds between folds while workers run out of queued blocks
_SILENCE_TIMEOUT = 30.0  # seconds without a message before the workers are polled
_BLOCKS_PER_THREAD = 3  # in flight: one running and two waiting, so that no thread idles between blocks
_RECOMPUTATIONS = 2  # of blocks whose results do not appear in the store, before their cell fails
_POLL = 0.2  # seconds between checks of the clock while no block ends
_FOLD_ATTEMPTS = 5  # at a store that cannot be written, with growing pauses: 15 s in all

_CONNECTION_LOST = "the cluster is gone, or its scheduler was restarted; what is finished is kept, run again to resume"


@dataclass
class Outcome:
    """Outcome of a run.

    Attributes
    ----------
    failed : dict of str to str
        Cells that failed and were set aside, with the reason.
    failed_trials : dict of str to int
        Cells with trials without a value, and the number of these trials.
    interrupted : bool
        Whether the run was stopped by a signal. Finished blocks are kept.
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
        Client of a cluster whose workers can write to the store under the same address.
    subscribers : sequence of callables
        Each is called with every event.
    block_length : int, optional
        Trials per block; by default about a second's worth. Results do not depend on it.

    Raises
    ------
    StoreError
        If the store cannot be used, or another run holds its lease.
    ExecutionError
        If the cluster goes away, or the store can no longer be written.
    """
    location = Location.of(store)

    def notify(text: str) -> None:
        for subscriber in subscribers:
            subscriber(Note(text))

    # A folder is created by one rename, and has to exist before its lock file can. On an object store creation takes
    # many writes, so that the lease comes first.
    if not location.remote:
        create(location, study)
    with Lease(location, notify) as lease:
        if location.remote:
            create(location, study)
        with translate_store_errors(location):
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
        self.queue = BlockQueue(self.works)
        self.finished: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
        self.last_message_at = time.monotonic()
        self.without_workers = False
        self.in_flight: dict[Any, tuple[Future[Any], CellWork]] = {}
        self.outcome = Outcome()
        self.submitted = itertools.count()
        self.run_id = uuid.uuid4().hex[:8]

    def run(self) -> Outcome:
        self.derived.refresh(self.study.cells)
        self._announce()
        self._emit(StoreUpdated(self.store, self.derived, whole=True))
        for work in self.works:
            self._queue_missing(work)
        # Sorted anew, because the order depends on the number of missing trials.
        self.queue = BlockQueue(self.works)
        with deferred_signals() as interruption:
            try:
                self._loop(interruption)
            except KeyboardInterrupt:  # the second request, or outside the main thread
                self._stop()
            except BaseException:
                # Fold what is finished. The exception that is being handled is the one to report.
                with suppress(NtkmcError, OSError):
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
        last_fold, cost = time.monotonic(), _MIN_FOLD_INTERVAL
        while any(not work.closed for work in self.works):
            if interruption.requested:
                self._stop()
                return
            underused = not self._submit_blocks()
            if self.in_flight:
                self._collect()
            # Matrices over all workers come last: they need every worker at once, and block all other cells.
            elif blocked := next((work for work in self.works if work.blocked and work.runs), None):
                self._run_blocked(blocked, interruption)
            waited = time.monotonic() - last_fold
            idle = any(work.idle for work in self.works)
            # A fold is due
            # - every five seconds, or less often if folds are slow, so that they take a sixth of the time at most;
            # - if nothing is in flight, because only the store tells which trials are still missing;
            # - early, if workers lack blocks and a cell waits for a fold to learn whether it needs more trials.
            if waited > max(_FOLD_EVERY, 5.0 * cost) or not self.in_flight or (underused and idle and waited > cost):
                start = time.monotonic()
                self._fold()
                last_fold = time.monotonic()
                cost = max(_MIN_FOLD_INTERVAL, last_fold - start)

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

    def _queue_missing(self, work: CellWork) -> None:
        """Queue the missing trials of a cell, all or up to the next look; close the cell if none is missing.

        Only the store decides what is missing; a worker's report does not. A cell fails if the same trials are still
        missing after their blocks were recomputed `_RECOMPUTATIONS` times.
        """
        missing = self.store.missing(work.cell, self._required_trials(work), work.measurement)
        work.attempts = work.attempts + 1 if missing and missing == work.last_missing else 0
        work.last_missing = missing
        if not missing:
            if not (self.study.adaptive and not work.measurement.is_draws and self._draws_remain(work.cell)):
                work.closed = True
                self._emit_if_done(work.cell)
        elif work.attempts > _RECOMPUTATIONS:
            self._fail(work, "its finished blocks do not appear in the store: is the journal's file system sound?")
        else:
            work.extend(missing)

    def _required_trials(self, work: CellWork) -> range:
        """Return the trials that a cell needs by now.

        In an adaptive study these are the trials up to the next look; for an additional measurement, those whose
        draws are finished.
        """
        span = self.study.trial_range
        if not self.study.adaptive:
            return span
        prefix = self.store.prefix(work.cell)
        if not work.measurement.is_draws:
            return range(span.start, span.start + prefix)
        if self.derived.stopped(work.cell):
            return range(span.start, span.start)
        return range(span.start, span.start + next((look for look in self.study.looks if look > prefix), len(span)))

    def _draws_remain(self, cell: Cell) -> bool:
        """Return whether draws of a cell are still to be computed."""
        return not all(work.closed for work in self.works if work.cell is cell and work.measurement.is_draws)

    def _emit_if_done(self, cell: Cell) -> None:
        works = [work for work in self.works if work.cell is cell]
        if all(work.closed and work.name not in self.outcome.failed for work in works):
            precise = self.study.adaptive and self.derived.stopped(cell)
            spared = len(self.study.trial_range) - self.store.prefix(cell) if precise else 0
            self._emit(CellDone(cell.name, spared))

    def _submit_blocks(self) -> bool:
        """Submit blocks until `_BLOCKS_PER_THREAD` per worker thread are in flight; False if the queue is empty."""
        # Without workers one block is still submitted: the scheduler starts it when the first worker comes.
        threads = max(1, self.capacity.threads)
        while len(self.in_flight) < _BLOCKS_PER_THREAD * threads:
            work = self.queue.next(self._fits)
            if work is None:
                return False
            if not self.capacity.fits(work.needed):
                if not work.measurement.is_draws:
                    self._fail(work, no_room_message(work.needed, self.capacity.largest_worker))
                    continue
                work.blocked = True
                self._emit(Note(f"{work.cell.name}: its matrix is blocked over the workers, since none can hold it"))
                continue
            task = work.take(self.config, threads, self.block_length)
            future = self._submit(task, work)
            self.last_message_at = time.monotonic()
            self.in_flight[future.key] = future, work
            future.add_done_callback(self.finished.put)
        return True

    def _fits(self, work: CellWork) -> bool:
        """Return whether a block may be submitted now.

        Blocks of small cells may wait at the scheduler. Blocks with a memory resource are submitted only if a worker
        is free: the scheduler assigns them at once, and such a block would be blamed for the death of another one.
        """
        if work.blocked:
            return False
        eligible = self.capacity.eligible_workers(work.needed)
        return eligible is None or eligible > sum(
            self.capacity.eligible_workers(other.needed) is not None for _, other in self.in_flight.values()
        )

    def _submit(self, task: BlockTask, work: CellWork) -> Future[Any]:
        declared = self.capacity.eligible_workers(work.needed) is not None
        try:
            return self.client.submit(
                commit_block,
                task,
                self.store.journal.blobs.address,
                # The key identifies the run and the submission: for a key that it has seen, Dask returns the first
                # result.
                key=("block", f"{task.folder}.{task.first}-{task.count}.{self.run_id}.{next(self.submitted)}"),
                pure=False,
                # One retry, for errors that pass, such as a file system that is full for a moment. Blocks of killed
                # workers are counted apart, by `distributed.scheduler.allowed-failures`.
                retries=1,
                # The most expensive trials first, as in the queue, so that no long block is left for the end.
                priority=int(1e3 * min(work.seconds, 1e6)),
                resources={MEMORY: memory_limit_for(work.needed)} if declared else None,
            )
        except Exception as error:
            if self.client.status in ("running", "connecting"):
                raise
            raise ExecutionError(_CONNECTION_LOST) from error

    def _run_blocked(self, work: CellWork, interruption: Interruption) -> None:
        """Run one trial whose matrix is distributed over all workers, which must be idle."""
        task = work.take(self.config, 1, block_length=1)
        try:
            report = commit_blocked(task, self.client, self.store.journal, lambda: interruption.requested)
        except Stopped:
            return  # the loop handles the request
        except ExecutionError as error:
            if self.client.status != "running":
                raise
            self._fail(work, str(error))
        else:
            self._record(report, work)
        finally:
            work.in_flight -= 1

    def _collect(self) -> None:
        """Wait for a block to end, and handle its report or error."""
        try:
            future = self.finished.get(timeout=_POLL)
        except queue.Empty:
            if self.client.status not in ("running", "connecting"):
                raise ExecutionError(_CONNECTION_LOST) from None
            if time.monotonic() - self.last_message_at > _SILENCE_TIMEOUT:
                self._check_workers()
            return
        self.last_message_at = time.monotonic()
        self.without_workers = False
        entry = self.in_flight.pop(future.key, None)
        if entry is None:
            return
        _, work = entry
        work.in_flight -= 1
        if future.status == "finished":
            try:
                self._record(future.result(timeout=_SILENCE_TIMEOUT), work)
            except TimeoutError:
                # The worker died with the report. Its block may be in the journal: the next fold tells.
                work.last_missing = []
        elif future.status == "error":
            error = future.exception()
            if isinstance(error, KilledWorker):
                self._fail(work, killed_workers_message(work.needed, error, self.capacity.memory))
            else:
                self._fail(work, f"{type(error).__name__}: {error}")
        elif not work.closed:
            # Cancelled by a lost connection. `last_missing` is cleared so that it is not counted as a recomputation.
            self._await_connection()
            work.last_missing = []
        future.release()

    def _check_workers(self) -> None:
        """After a long silence, replace the workers if none is left, and resubmit blocks that none is executing."""
        # Also if the connection is lost, which `_collect` handles: the next poll is one timeout later.
        self.last_message_at = time.monotonic()
        try:
            # The workers are polled, not the scheduler, which may list a task as processing on a worker that has none.
            tasks = self.client.run(executing_tasks, on_error="ignore")
        except Exception:
            return
        if not tasks:
            self._replace_workers()
        elif not any(tasks.values()):
            self._resubmit_lost_blocks()

    def _replace_workers(self) -> None:
        if not self.without_workers:
            self.without_workers = True
            self._emit(Note("no worker is connected; waiting for one"))
        cluster = self.client.cluster
        if isinstance(cluster, SpecCluster):
            # Dask gives up a worker that was lost and did not come back in time, as on a busy machine, and starts no
            # other one before it is scaled. The number stays the same.
            with suppress(Exception):  # a cluster that is closing
                cluster.scale(len(cluster.worker_spec))

    def _resubmit_lost_blocks(self) -> None:
        """Cancel all blocks in flight; the next fold queues them again.

        After all workers have died at once, the scheduler may have tasks and new workers, and not assign them.
        """
        lost = list(self.in_flight.values())
        self.in_flight.clear()
        for future, work in lost:
            work.in_flight -= 1
            work.last_missing = []
            with suppress(Exception):  # a lost connection
                future.cancel()

    def _await_connection(self) -> None:
        """Wait while the client reconnects to the scheduler; raise ExecutionError if it gives up.

        The client tries for `distributed.comm.timeouts.connect`. A scheduler that was restarted has none of the old
        workers, so that waiting longer would not help.
        """
        while self.client.status == "connecting":
            time.sleep(_POLL)
        if self.client.status != "running":
            raise ExecutionError(_CONNECTION_LOST)

    def _record(self, report: BlockReport, work: CellWork) -> None:
        work.learn(report.count, report.seconds)
        self._emit(BlockDone(work.cell.name, report.count, report.failed, report.seconds, work.measurement))

    def _fail(self, work: CellWork, reason: str) -> None:
        """Set a cell aside; the rest of the study goes on."""
        work.runs.clear()
        if not work.closed:
            work.closed = True
            self._cancel_waiting(work)
            text = " ".join(reason.split())[:400]
            self.outcome.failed[work.name] = text
            self._emit(
                CellFailed(
                    work.cell.name, text if work.measurement.is_draws else f"{work.measurement.description}: {text}"
                )
            )

    def _cancel_waiting(self, work: CellWork) -> None:
        """Cancel the blocks of a cell that no worker has begun.

        Blocks that have begun are left alone: cancelling does not stop them, and the scheduler would send other
        blocks to their workers. If the running block kills its worker, the other blocks would be blamed.
        """
        begun: set[Any] = set()
        with suppress(Exception):  # a lost connection is handled by `_collect`
            begun = {key for keys in self.client.processing().values() for key in keys}
        for future, owner in self.in_flight.values():
            if owner is work and future.key not in begun:
                future.cancel()

    def _fold(self, last: bool = False) -> None:
        """Fold the journal into the store, update the estimates, and queue or close the idle cells.

        A file system that is full or unavailable for a moment is tried again: finished blocks wait in the journal.
        """
        for attempt in range(_FOLD_ATTEMPTS):
            # Before every write: after a pause of the machine, another run may have taken over the lease.
            self.lease.confirm()
            try:
                folders = {block.folder for block in self.store.fold()}
                # An attempt that failed may have folded blocks without returning them: then refresh all cells.
                self.derived.refresh(cell for cell in self.study.cells if attempt or cell.folder in folders)
                if last:
                    self.derived.finish()
                self.derived.write()
                self._emit(StoreUpdated(self.store, self.derived, whole=last))
                break
            except OSError as error:
                reason = error.strerror or str(error)
                if attempt == _FOLD_ATTEMPTS - 1:
                    raise ExecutionError(
                        f"{self.store.location}: cannot be written ({reason}); finished blocks are kept in its "
                        "journal, run again to resume"
                    ) from error
                if not attempt:
                    self._emit(Note(f"{self.store.location}: cannot be written ({reason}); trying again"))
                time.sleep(2.0**attempt)
        for work in () if last else self.works:
            if work.idle:
                self._queue_missing(work)

    def _count_failed_trials(self) -> None:
        """Count the study's trials without a value, including those of earlier runs."""
        span = self.study.trial_range
        for work in self.works:
            status = self.store.statuses(work.cell, work.measurement)[self.store.depth_positions(work.cell.depths)]
            failed = (status[:, span.start : span.stop] == Status.FAILED.code).any(axis=0)
            if failed.any():
                self.outcome.failed_trials[work.name] = int(failed.sum())

    def _emit(self, event: Event) -> None:
        for subscriber in self.subscribers:
            subscriber(event)
