"""Events of a run; progress bars, logs and dashboards subscribe to them."""

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
    """The store is ready and the cluster is there.

    Attributes
    ----------
    study : str
        Its name.
    cells : int
        Cells of the study.
    trials_done, trials_planned : int
        Trials found finished in the store, and at most to be had, over the draws and all additional measurements.
    workers : int
        Threads of the cluster at the start.
    dashboard : str
        Address of the Dask dashboard, empty if there is none.
    additional : int
        Number of additional measurements, such as widths of networks, each with trials of its own.
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
    """A block is in the journal.

    Attributes
    ----------
    cell : str
        The cell's name.
    trials, failed : int
        Trials in the block; those of them without a value.
    seconds : float
        What it took the worker.
    measurement : MeasurementKey
        What of its trials it is.
    """

    cell: str
    trials: int
    failed: int
    seconds: float
    measurement: MeasurementKey = DRAWS


@dataclass(frozen=True)
class CellDone:
    """Nothing more is to be done for a cell; `spared` trials need not be run because it is precise enough."""

    cell: str
    spared: int = 0


@dataclass(frozen=True)
class CellFailed:
    """A cell is set aside, with the reason; the rest of the study goes on."""

    cell: str
    reason: str


@dataclass(frozen=True)
class Note:
    """Something that a person should know."""

    text: str


@dataclass(frozen=True)
class StoreUpdated:
    """Finished blocks were folded into the store and estimates updated; the first event has the state at the start.

    Attributes
    ----------
    store, derived
        The driver's own: to be read at once, in its thread, and not to be kept.
    whole : bool
        Whether any cell may have changed, not only those of blocks that were told of: at the start, and at the end,
        when blocks may have been folded whose word did not arrive.
    """

    store: Store
    derived: Derived
    whole: bool = False


@dataclass(frozen=True)
class RunFinished:
    """The run is over, one way or another."""

    interrupted: bool


Event = RunStarted | BlockDone | CellDone | CellFailed | Note | StoreUpdated | RunFinished
Subscriber = Callable[[Event], None]
