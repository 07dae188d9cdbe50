"""Blocks of trials: their length, about one second of work, and the order in which they are submitted."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ntkmc.experiment.study import DRAWS, Cell, MeasurementKey
from ntkmc.experiment.trial import TrialConfig
from ntkmc.experiment.trial.run import BlockTask

BLOCK_SECONDS = 1.0
"""Computing time of a block. Scheduling costs 2 to 3.5 ms per task, well under 1 % of a second, and at most a second
is lost when a worker dies."""

PILOT_SECONDS = 0.2
"""Computing time of a cell's first block by the cost model. Its measured time sets the length of the next blocks."""

_SCHEDULER_RATE = 200.0
"""Tasks per second that one scheduler can handle with certainty. With more workers than that, blocks are longer."""


@dataclass
class CellWork:
    """Remaining work of one cell, for its draws or for one additional measurement.

    Attributes
    ----------
    cell : Cell
    needed : int
        Memory in bytes of a worker that runs one trial.
    runs : deque of (start, stop, depths)
        Trials that are not submitted.
    in_flight : int
        Blocks that are submitted.
    seconds : float
        Time per trial: by the cost model at first, then as measured.
    measured : bool
        Whether `seconds` is measured.
    closed : bool
        Whether no more trials are needed, or the cell has failed.
    last_missing : list
        Missing trials at the last check.
    attempts : int
        Number of consecutive checks with the same missing trials.
    blocked : bool
        Whether no worker can hold the matrix, so that all workers share each trial.
    measurement : MeasurementKey
        What is measured of the trials.
    """

    cell: Cell
    needed: int = 0
    runs: deque[tuple[int, int, tuple[int, ...]]] = field(default_factory=deque)
    in_flight: int = 0
    seconds: float = 0.0
    measured: bool = False
    closed: bool = False
    last_missing: list[tuple[range, tuple[int, ...]]] = field(default_factory=list)
    attempts: int = 0
    blocked: bool = False
    measurement: MeasurementKey = DRAWS

    @property
    def name(self) -> str:
        """Name of the cell, with the label of the measurement."""
        return f"{self.cell.name}{self.measurement.label}"

    @property
    def idle(self) -> bool:
        """True if no trial is queued or submitted although the cell is not closed."""
        return not (self.closed or self.runs or self.in_flight)

    @property
    def remaining(self) -> int:
        """Number of trials that are not submitted."""
        return sum(stop - start for start, stop, _ in self.runs)

    def extend(self, missing: list[tuple[range, tuple[int, ...]]]) -> None:
        """Queue runs of missing trials."""
        self.runs.extend((run.start, run.stop, depths) for run, depths in missing)

    def learn(self, trials: int, seconds: float) -> None:
        """Update the time per trial with a measured block."""
        latest = seconds / trials
        # An average that halves the weight of each earlier block: the load of the machines changes during a run.
        self.seconds = 0.5 * (self.seconds + latest) if self.measured else latest
        self.measured = True

    def take(self, config: TrialConfig, workers: int, block_length: int | None = None) -> BlockTask:
        """Remove the next block from the queue, sized for the given number of worker threads."""
        start, stop, depths = self.runs.popleft()
        # The model is good to a factor of a few only, so that the first block, which measures it, is short.
        goal = max(BLOCK_SECONDS, workers / _SCHEDULER_RATE) if self.measured else PILOT_SECONDS
        length = block_length or max(1, round(goal / max(self.seconds, 1e-9)))
        count = min(length, stop - start)
        if start + count < stop:
            self.runs.appendleft((start + count, stop, depths))
        self.in_flight += 1
        cell = self.cell
        return BlockTask(
            config, cell.distribution, cell.d, cell.n, depths, cell.folder, start, count, self.measurement
        )


class BlockQueue:
    """All cells, the most expensive first, so that no long cell is left for the end."""

    def __init__(self, cells: list[CellWork]) -> None:
        # By what is left at the start: a fixed order is good enough, since blocks are short.
        self._order = sorted(cells, key=lambda work: work.seconds * work.remaining, reverse=True)

    def next(self, fits: Callable[[CellWork], bool] = lambda work: True) -> CellWork | None:
        """Return the cell of the next block, or None if there is no block.

        Cells for which `fits` is false are skipped. Cells whose first block is still being measured come last: blocks
        cut before the measurement may be far too long.
        """
        unmeasured = None
        for work in self._order:
            if work.closed or not work.runs or not fits(work):
                continue
            if work.measured or work.in_flight == 0:
                return work
            unmeasured = unmeasured or work
        return unmeasured
