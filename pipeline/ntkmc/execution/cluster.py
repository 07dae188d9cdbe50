"""Threads and memory of the cluster; messages for blocks that kill their workers."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any, Final

from dask.utils import format_bytes
from distributed import Client
from distributed.scheduler import KilledWorker

from ntkmc.experiment.study import DRAWS, Cell, MeasurementKey, Study
from ntkmc.experiment.trial import COST
from ntkmc.linalg.cost import trial_bytes, trial_seconds
from ntkmc.theory.claims.trial_statistics import eigenvalue_problems

SCHEDULER: Final[dict[str, Any]] = {
    # A block that kills its worker twice fails its cell. Once may be an accident.
    "distributed.scheduler.allowed-failures": 1,
    # One block per thread; the others wait at the scheduler. A dying worker then takes only the running block with it,
    # and no other block is blamed. Costs 2 to 3 ms per block.
    "distributed.scheduler.worker-saturation": 1.0,
    # Time in which a nanny may replace a worker process that died. Dask's default of 15 s is too short on a busy
    # machine, and a cluster gives up a worker that comes later for good.
    "distributed.deploy.lost-worker-timeout": "2 minutes",
}
"""Configuration to set before the scheduler starts: it identifies blocks that kill their workers."""

PRELOAD: Final = "ntkmc.execution.preload"
"""Module that every worker process loads before it works."""

IDLE_WORKER_BYTES: Final = 250 * 2**20
"""Resident memory of an idle worker that has imported ntkmc (measured: 205 to 250 MiB on Linux, Python 3.11)."""

MEMORY: Final = "MEMORY"
"""Worker resource, in bytes, that blocks of large cells require. Workers that ntkmc starts in a batch queue declare
their memory limit; workers of another scheduler declare what they were started with."""

_TERMINATED: Final = 0.95
"""Fraction of its memory limit at which a nanny kills a worker: Dask's `distributed.worker.memory.terminate`."""

_LARGE: Final = 0.5
"""Fraction of the smallest worker's memory above which a trial requires the resource. Smaller trials do not: Dask
assigns a task with a resource to a worker at once, where it waits behind another block and is blamed if that one kills
the worker."""

_POLL_INTERVAL: Final = 2.0  # seconds between requests to the scheduler


class ClusterCapacity:
    """Threads and memory of the workers, at most `_POLL_INTERVAL` seconds old."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._polled_at = float("-inf")
        self._workers: dict[str, dict[str, Any]] = {}
        self._declared: list[float] = []
        self._largest_declared = 0.0  # over the whole run

    @property
    def threads(self) -> int:
        """Total number of worker threads."""
        return sum(int(worker["nthreads"]) for worker in self._poll().values())

    @property
    def memory(self) -> int:
        """Memory limit of the largest worker, in bytes; 0 without workers or without a limit."""
        return max((int(worker.get("memory_limit") or 0) for worker in self._poll().values()), default=0)

    @property
    def largest_worker(self) -> int:
        """Bytes that the largest worker can use of what it declares or is limited to; 0 if unknown."""
        # Workers declare a lasting amount: one that restarts now will declare it again.
        return usable_bytes(int(self._largest_declared) or self.memory)

    def fits(self, needed: int) -> bool:
        """Return whether some worker can run a trial that needs this many bytes."""
        return not 0 < self.largest_worker < needed

    def eligible_workers(self, needed: int) -> int | None:
        """Return the number of workers with enough memory for a large trial.

        None if the trial is small, or no worker declares its memory: then any worker will do. At least 1, because a
        worker that is being restarted comes back.
        """
        self._poll()
        if not self._declared or needed - IDLE_WORKER_BYTES <= _LARGE * (self._declared[0] - IDLE_WORKER_BYTES):
            return None
        return max(1, sum(declared >= memory_limit_for(needed) for declared in self._declared))

    def _poll(self) -> dict[str, dict[str, Any]]:
        if time.monotonic() - self._polled_at > _POLL_INTERVAL and self._client.status == "running":
            with suppress(Exception):  # a lost connection is handled by the driver
                self._workers = dict(self._client.scheduler_info(n_workers=-1)["workers"])
                declared = (worker.get("resources", {}).get(MEMORY) for worker in self._workers.values())
                self._declared = sorted(float(amount) for amount in declared if amount is not None)
                self._largest_declared = max([self._largest_declared, *self._declared])
            self._polled_at = time.monotonic()
        return self._workers


def usable_bytes(limit: int) -> int:
    """Return the part of a worker's memory limit that it can use before it is killed.

    >>> usable_bytes(1000)
    950
    """
    return int(_TERMINATED * limit)


def memory_limit_for(needed: int) -> int:
    """Return the memory limit of a worker that can use `needed` bytes.

    >>> usable_bytes(memory_limit_for(1000))
    1000
    """
    return math.ceil(needed / _TERMINATED)


def needed_bytes(study: Study, cell: Cell, measurement: MeasurementKey = DRAWS) -> int:
    """Predict the memory of a worker for one measurement of a trial, including its idle memory."""
    if not measurement.is_draws:
        return IDLE_WORKER_BYTES + COST[measurement.group].memory(study, cell, measurement.value)
    thresholds = len(study.event.lambda_0) if study.measure == "event" else 0
    eigenproblems = eigenvalue_problems(study.statistics, cell.depths, cell.n)
    spectrum = "spectrum_radius" in study.statistics
    return IDLE_WORKER_BYTES + trial_bytes(
        cell.n, cell.d, cell.depths, thresholds=thresholds, eigenproblems=eigenproblems, spectrum=spectrum
    )


def needed_seconds(study: Study, cell: Cell, measurement: MeasurementKey = DRAWS) -> float:
    """Predict the wall time of one measurement of a trial on one core."""
    if not measurement.is_draws:
        return COST[measurement.group].seconds(study, cell, measurement.value)
    thresholds = len(study.event.lambda_0) if study.measure == "event" else 0
    eigenproblems = eigenvalue_problems(study.statistics, cell.depths, cell.n)
    return trial_seconds(cell.n, cell.d, cell.depths, thresholds=thresholds, eigenproblems=eigenproblems)


def no_room_message(needed: int, largest: int) -> str:
    """Return the reason for setting a cell aside that fits on no worker."""
    return (
        f"a trial needs about {format_bytes(needed)} by the memory model, and the largest worker can use "
        f"{format_bytes(largest)}: add a larger one, or lower n, or the width of networks"
    )


def killed_workers_message(needed: int, error: KilledWorker, limit: int) -> str:
    """Return the reason for setting a cell aside whose block killed all workers that ran it, with advice."""
    times = error.allowed_failures + 1
    address = getattr(error.last_worker, "address", "an unknown address")
    killed = f"a block of it killed {times} workers, the last at {address}"
    needs = f"a trial needs about {format_bytes(needed)} by the memory model"
    # Above 80 % of the limit the error of the memory model explains the kill.
    if limit and needed > 0.8 * limit:
        advice = "give workers more (memory_limit, or fewer of them), or lower n"
        return f"{killed}; {needs}, a worker may use {format_bytes(limit)}: {advice}"
    has = f", a worker may use {format_bytes(limit)}" if limit else ""
    return f"{killed}; {needs}{has}: look into the worker's or the system's log for what killed it; run again to retry"
