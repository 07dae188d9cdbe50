"""Queue of the remaining trials, cell by cell, in blocks of about one second."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ntkmc.experiment.study import DRAWS, Cell, MeasurementKey
from ntkmc.experiment.trial import TrialConfig
from ntkmc.experiment.trial.run import BlockTask

BLOCK_SECONDS = 1.0
"""Work in a block: scheduling costs 2 to 3.5 ms a task, so that a second loses well under 1 %, and little is lost
when a worker dies."""

PILOT_SECONDS = 0.2
"""Work in a cell's first block, by the cost model; its measured time sets the length of all that follow."""

_SCHEDULER_RATE = 200.0
"""Tasks a second that one scheduler can surely handle; beyond that many workers, blocks become longer."""


@dataclass
class CellWork:
    """One cell's queue, or that of an additional measurement of its draws.

    Attributes
    ----------
    cell : Cell
    needed : int
        Bytes of a worker that runs a trial of it.
    runs : deque of (start, stop, depths)
        Trials that nobody is working on.
    in_flight : int
        Blocks that somebody is working on.
    seconds : float
        A trial's time: by the model first, then as measured.
    measured : bool
    closed : bool
        Nothing more will be asked of the cell.
    last_missing : list
        What was missing when the cell was last looked at.
    attempts : int
        How often in a row the very same was missing.
    blocked : bool
        No worker can hold a matrix of it: all of them work at one trial together.
    measurement : MeasurementKey
        What of its trials is to be computed.
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
        """For people."""
        return f"{self.cell.name}{self.measurement.label}"

    @property
    def idle(self) -> bool:
        """Whether nothing of it is queued or being worked on, though it is not closed."""
        return not (self.closed or self.runs or self.in_flight)

    @property
    def remaining(self) -> int:
        """Trials that nobody is working on."""
        return sum(stop - start for start, stop, _ in self.runs)

    def extend(self, missing: list[tuple[range, tuple[int, ...]]]) -> None:
        """Queue runs of missing trials."""
        self.runs.extend((run.start, run.stop, depths) for run, depths in missing)

    def learn(self, trials: int, seconds: float) -> None:
        """Take a measured block into account, the latest ones most."""
        latest = seconds / trials
        self.seconds = 0.5 * (self.seconds + latest) if self.measured else latest
        self.measured = True

    def take(self, config: TrialConfig, workers: int, block_length: int | None = None) -> BlockTask:
        """Cut the next block off the queue."""
        start, stop, depths = self.runs.popleft()
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


class WorkQueue:
    """All cells, the most expensive first, so that no long cell is left for the end."""

    def __init__(self, cells: list[CellWork]) -> None:
        self._order = sorted(cells, key=lambda work: work.seconds * work.remaining, reverse=True)

    def next(self, fits: Callable[[CellWork], bool] = lambda work: True) -> CellWork | None:
        """The cell to cut a block from: in order, but one that waits for its first measurement is passed over.

        So is one that does not fit just now.
        """
        waiting = None
        for work in self._order:
            if work.closed or not work.runs or not fits(work):
                continue
            if work.measured or work.in_flight == 0:
                return work
            waiting = waiting or work
        return waiting
