"""Threads and memory of the cluster; messages for blocks that kill their workers."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from typing import Any, Final

from distributed import Client
from distributed.scheduler import KilledWorker

from ntkmc.experiment.study import DRAWS, Cell, MeasurementKey, Study
from ntkmc.experiment.trial import COST
from ntkmc.linalg.cost import trial_bytes, trial_seconds
from ntkmc.theory.claims.trial_statistics import eigenvalue_problems

SCHEDULER: Final[dict[str, Any]] = {
    # A block that kills its worker twice is set aside: once may be bad luck.
    "distributed.scheduler.allowed-failures": 1,
    # One block a thread, the others wait at the scheduler: so that a dying worker takes down the block that it runs,
    # and no neighbour is blamed. Costs 2 to 3 ms a block.
    "distributed.scheduler.worker-saturation": 1.0,
}
"""Configuration that a scheduler needs before it is made, for what is promised of blocks that kill their workers."""

IDLE_WORKER_BYTES: Final = 250 * 2**20
"""Resident memory of an idle worker that has imported ntkmc (measured: 205 to 250 MiB on Linux, Python 3.11)."""

MEMORY: Final = "MEMORY"
"""Worker resource, in bytes, that cells of large n ask for; workers in a queue or an allocation declare what
they may use, those of a scheduler that somebody else runs what they were started with."""

_TERMINATED: Final = 0.95
"""Share of its memory limit at which a nanny kills a worker: Dask's `distributed.worker.memory.terminate`."""

_LARGE: Final = 0.5
"""Share of what the smallest worker can give a trial, from which on a cell asks for memory. Not below: the scheduler
sends what asks for a resource at once, where it waits behind another block and may be blamed for that one's death."""

_EVERY: Final = 2.0  # seconds between questions to the scheduler


class ClusterCapacity:
    """Threads and memory of the workers, as of a moment ago."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = float("-inf")
        self._workers: dict[str, dict[str, Any]] = {}
        self._declared: list[float] = []
        self.largest = 0.0
        """Most memory that any worker has declared so far."""

    @property
    def threads(self) -> int:
        """Worker threads in all."""
        return sum(int(each["nthreads"]) for each in self._look().values())

    @property
    def memory(self) -> int:
        """Bytes that the largest worker may use; 0 if there is none, or no limit."""
        return max((int(each.get("memory_limit") or 0) for each in self._look().values()), default=0)

    @property
    def most(self) -> int:
        """Bytes that the largest worker can use of what it has declared or is limited to; 0 if that is not known."""
        return usable_bytes(int(self.largest) or self.memory)

    def fits(self, needed: int) -> bool:
        """Whether a trial that needs so much can be any worker's."""
        return not 0 < self.most < needed

    def eligible_workers(self, needed: int) -> int | None:
        """Workers that a trial of a large cell fits on; None if any will do, or none declares what it has.

        At least 1: a worker that is restarted just now comes back.
        """
        self._look()
        if not self._declared or needed - IDLE_WORKER_BYTES <= _LARGE * (self._declared[0] - IDLE_WORKER_BYTES):
            return None
        return max(1, sum(each >= memory_limit_for(needed) for each in self._declared))

    def _look(self) -> dict[str, dict[str, Any]]:
        if time.monotonic() - self._asked > _EVERY and self._client.status == "running":
            with suppress(Exception):  # the connection is just being lost: the driver notices by itself
                self._workers = dict(self._client.scheduler_info(n_workers=-1)["workers"])
                declared = (each.get("resources", {}).get(MEMORY) for each in self._workers.values())
                self._declared = sorted(float(each) for each in declared if each is not None)
                self.largest = max([self.largest, *self._declared])
            self._asked = time.monotonic()
        return self._workers


def usable_bytes(limit: int) -> int:
    """Return the part of a worker's memory limit that it can use before it is killed.

    >>> usable_bytes(1000)
    950
    """
    return int(_TERMINATED * limit)


def memory_limit_for(needed: int) -> int:
    """The memory limit of a worker that can use so much.

    >>> usable_bytes(memory_limit_for(1000))
    1000
    """
    return math.ceil(needed / _TERMINATED)


def needed_bytes(study: Study, cell: Cell, measurement: MeasurementKey = DRAWS) -> int:
    """Memory of a worker that runs a measurement of a cell's trial, its idle part included, by the model."""
    if not measurement.is_draws:
        return IDLE_WORKER_BYTES + COST[measurement.group].memory(study, cell, measurement.value)
    thresholds = len(study.event.lambda_0) if study.measure == "event" else 0
    eigenproblems = eigenvalue_problems(study.statistics, cell.depths, cell.n)
    spectrum = "spectrum_radius" in study.statistics
    return IDLE_WORKER_BYTES + trial_bytes(
        cell.n, cell.d, cell.depths, thresholds=thresholds, eigenproblems=eigenproblems, spectrum=spectrum
    )


def needed_seconds(study: Study, cell: Cell, measurement: MeasurementKey = DRAWS) -> float:
    """Wall time of a measurement of a cell's trial on one core, by the model."""
    if not measurement.is_draws:
        return COST[measurement.group].seconds(study, cell, measurement.value)
    thresholds = len(study.event.lambda_0) if study.measure == "event" else 0
    eigenproblems = eigenvalue_problems(study.statistics, cell.depths, cell.n)
    return trial_seconds(cell.n, cell.d, cell.depths, thresholds=thresholds, eigenproblems=eigenproblems)


def no_room_message(needed: int, most: int) -> str:
    """Why a measurement of a cell is set aside that fits on no worker."""
    return (
        f"a trial needs about {_size(needed)} by the memory model, and the largest worker can use {_size(most)}: add "
        "a larger one, or lower n, or the width of networks"
    )


def killed_workers_message(needed: int, error: KilledWorker, limit: int) -> str:
    """Why a cell is set aside whose block killed all workers that tried it, and what would help."""
    times = error.allowed_failures + 1
    place = getattr(error.last_worker, "address", "an unknown place")
    said = f"a block of it killed {times} workers, the last at {place}"
    needs = f"a trial needs about {_size(needed)} by the memory model"
    if limit and needed > 0.8 * limit:
        advice = "give workers more (memory_limit, or fewer of them), or lower n"
        return f"{said}; {needs}, a worker may use {_size(limit)}: {advice}"
    has = f", a worker may use {_size(limit)}" if limit else ""
    return f"{said}; {needs}{has}: look into the worker's or the system's log for what killed it; run again to retry"


def _size(amount: float) -> str:
    """Bytes for people.

    >>> _size(3 * 2**30), _size(300 * 2**20)
    ('3.0 GiB', '300 MiB')
    """
    return f"{amount / 2**30:.1f} GiB" if amount >= 2**30 else f"{amount / 2**20:.0f} MiB"
