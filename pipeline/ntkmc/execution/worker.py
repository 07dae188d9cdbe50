"""Task of a worker: compute a block, commit it by one atomic write, and return a short report."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass

import numpy as np
from distributed import Worker

from ntkmc.experiment.store import Block, Journal, Location
from ntkmc.experiment.store.provenance import block_provenance
from ntkmc.experiment.trial.run import BlockTask, run_block
from ntkmc.linalg.eigen import Status


@dataclass(frozen=True)
class BlockReport:
    """Report of a finished block to the driver; the results are in the journal."""

    folder: str
    first: int
    count: int
    seconds: float
    failed: int


def commit_block(task: BlockTask, journal: str) -> BlockReport:
    """Compute a block and write it to the journal at the address `journal`.

    Repeating it is harmless: the same task writes the same file.
    """
    start = time.perf_counter()
    methods: Counter[str] = Counter()
    arrays = run_block(task, methods)
    seconds = time.perf_counter() - start
    cell = (task.distribution.label, task.d, task.n)
    provenance = block_provenance(seconds, methods)
    block = Block(task.folder, cell, task.first, task.count, task.depths, arrays, provenance, task.measurement)
    Journal(Location(journal).blobs()).put(block)
    failed = int(np.sum((arrays["status"] == Status.FAILED.code).any(axis=0)))
    return BlockReport(task.folder, task.first, task.count, seconds, failed)


def executing_tasks(dask_worker: Worker) -> int:
    """Return the number of tasks that a worker is executing; for `Client.run`."""
    return len(dask_worker.state.executing)
