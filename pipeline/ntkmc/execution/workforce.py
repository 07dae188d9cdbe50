"""Who is there to work: threads and memory of the cluster, and what is said of blocks that kill their workers."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Any, Final

from distributed import Client
from distributed.scheduler import KilledWorker

from ntkmc.experiment.cells import Cell
from ntkmc.experiment.study import Study
from ntkmc.linalg.cost import trial_bytes
from ntkmc.theory.claims.statistics import eigenvalue_problems

SCHEDULER: Final[dict[str, Any]] = {
    # A block that kills its worker twice is set aside: once may be bad luck.
    "distributed.scheduler.allowed-failures": 1,
    # One block a thread, the others wait at the scheduler: so that a dying worker takes down the block that it runs,
    # and no neighbour is blamed. Costs 2 to 3 ms a block.
    "distributed.scheduler.worker-saturation": 1.0,
}
"""Configuration that a scheduler needs before it is made, for what is promised of blocks that kill their workers."""

IDLE_WORKER_BYTES: Final = 250 * 2**20
"""Resident memory of an idle worker that has imported ntkmc (measured: 205 to 230 MiB on Linux, Python 3.11)."""

_EVERY: Final = 2.0  # seconds between questions to the scheduler


class Workforce:
    """Threads and memory of the workers, as of a moment ago."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked = float("-inf")
        self._workers: dict[str, dict[str, Any]] = {}

    @property
    def threads(self) -> int:
        """Worker threads in all."""
        return sum(int(each["nthreads"]) for each in self._look().values())

    @property
    def memory(self) -> int:
        """Bytes that the largest worker may use; 0 if there is none, or no limit."""
        return max((int(each.get("memory_limit") or 0) for each in self._look().values()), default=0)

    def _look(self) -> dict[str, dict[str, Any]]:
        if time.monotonic() - self._asked > _EVERY and self._client.status == "running":
            with suppress(Exception):  # the connection is just being lost: the driver notices by itself
                self._workers = dict(self._client.scheduler_info(n_workers=-1)["workers"])
            self._asked = time.monotonic()
        return self._workers


def killers_sentence(study: Study, cell: Cell, error: KilledWorker, limit: int) -> str:
    """Why a cell is set aside whose block killed all workers that tried it, and what would help."""
    thresholds = len(study.event.lambda_0) if study.measure == "event" else 0
    further = eigenvalue_problems(study.statistics, cell.depths)
    needed = IDLE_WORKER_BYTES + trial_bytes(cell.n, cell.d, cell.depths, thresholds=thresholds, further=further)
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
