"""Events of a run, to which progress bars, logs and dashboards subscribe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ntkmc.experiment.study import DRAWS, MeasurementKey

if TYPE_CHECKING:
    from ntkmc.experiment.analysis import Derived
    from ntkmc.experiment.store import Store


@dataclass(frozen=True)
class RunStarted:
    """The store is open and the cluster is connected.

    Attributes
    ----------
    study : str
        Name of the study.
    cells : int
        Number of cells.
    trials_done, trials_planned : int
        Trials that are finished in the store, and the number at most, summed over the draws and all additional
        measurements.
    workers : int
        Worker threads of the cluster at the start.
    dashboard : str
        Address of the Dask dashboard, empty if there is none.
    additional : int
        Number of additional measurements, such as one per width of networks, each with trials of its own.
    """

    study: str
    cells: int
    trials_done: int
    trials_planned: int
    workers: int
    dashboard: str
    additional: int = 0


@dataclass(frozen=True)
class BlockDone:
    """A worker has written a block to the journal.

    Attributes
    ----------
    cell : str
        Name of the cell.
    trials, failed : int
        Trials in the block, and how many of them have no value.
    seconds : float
        Time that the worker took.
    measurement : MeasurementKey
        What the block measures of its trials.
    """

    cell: str
    trials: int
    failed: int
    seconds: float
    measurement: MeasurementKey = DRAWS


@dataclass(frozen=True)
class CellDone:
    """A cell is complete; `spared` trials are not needed because its estimates are precise enough."""

    cell: str
    spared: int = 0


@dataclass(frozen=True)
class CellFailed:
    """A cell is set aside for the given reason; the rest of the study goes on."""

    cell: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Message for the user."""

    text: str


@dataclass(frozen=True)
class StoreUpdated:
    """Blocks were folded into the store and the estimates updated; the first such event has the state at the start.

    Attributes
    ----------
    store, derived
        Objects of the driver: read them at once, in its thread, and do not keep them.
    whole : bool
        Whether any cell may have changed, not only those with a `BlockDone` since the last event. True at the start,
        and at the end, when blocks may have been folded whose reports were lost.
    """

    store: Store
    derived: Derived
    whole: bool = False


@dataclass(frozen=True)
class RunFinished:
    """The run has ended: complete, interrupted or with an error."""

    interrupted: bool


Event = RunStarted | BlockDone | CellDone | CellFailed | Note | StoreUpdated | RunFinished
Subscriber = Callable[[Event], None]
