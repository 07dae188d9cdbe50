"""State of studies on the scheduler: plain data from the messages of their drivers."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.execution.progress.rate import RateEstimator, seconds_left

Message = dict[str, Any]

_SILENCE: Final = 30.0  # seconds without a message after which the page says so: sixty of the feed's intervals


@dataclass
class StudyState:
    """One study, as of the last message of its driver.

    Attributes
    ----------
    study, store, run : str
        Name of the study; location of its results; identifier of the driver.
    cells : list of str
    distribution : list of str
    d, n : ndarray, (cells,)
    planned, done, failed : ndarray, (cells,)
        Trials per cell: planned (upper limit), finished and stored, and failed.
    depths, thresholds : list
        Coordinates of the estimates.
    clock : callable
        Monotonic time of the scheduler in seconds.
    probability, lower, upper : ndarray, (cells, depths, thresholds)
        The store's estimates with their confidence sequences; NaN before the first estimate.
    closed : ndarray, (cells,)
        True for cells that need no further trials.
    set_aside : dict of str to str
        Excluded cells, with the reason.
    notes : list of str
        Messages for the user.
    verdicts : dict of str to str
        Verdict of all cells together on each claim.
    computed : float
        Total computing time of the blocks in seconds, measured by the workers.
    ended : str
        `finished` or `interrupted`; empty while the driver runs.
    version, estimates_version : int
        Numbers of messages, and of those with estimates.
    started, updated : float
        Times of the first and of the last message.
    """

    study: str
    store: str
    run: str
    cells: list[str]
    distribution: list[str]
    d: NDArray[Any]
    n: NDArray[Any]
    planned: NDArray[Any]
    done: NDArray[Any]
    depths: list[int]
    thresholds: list[float]
    clock: Callable[[], float] = time.monotonic
    probability: NDArray[Any] = field(init=False)
    lower: NDArray[Any] = field(init=False)
    upper: NDArray[Any] = field(init=False)
    failed: NDArray[Any] = field(init=False)
    closed: NDArray[Any] = field(init=False)
    set_aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)
    computed: float = 0.0
    ended: str = ""
    version: int = 0
    estimates_version: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.cells), len(self.depths), len(self.thresholds))
        self.probability, self.lower, self.upper = (np.full(shape, np.nan) for _ in range(3))
        self.failed = np.zeros(len(self.cells), dtype=np.int64)
        self.closed = np.zeros(len(self.cells), dtype=bool)
        self.started = self.updated = self.clock()
        # Trials that were in the store when the run began are the origin of the rate.
        self._rate = RateEstimator([(self.started, float(self.done.sum()))])

    def update(self, message: Message) -> None:
        """Enter a message of the driver; its cost is proportional to the size of the message."""
        self.updated = self.clock()
        self.version += 1
        for name in ("done", "failed", "closed", "planned"):
            if name in message:
                at, values = message[name]
                getattr(self, name)[at] = values
        if "estimates" in message:
            at, values = message["estimates"]
            self.probability[at], self.lower[at], self.upper[at] = values
            self.estimates_version += 1
        self.set_aside |= message.get("set_aside", {})
        self.notes += message.get("notes", [])
        self.verdicts = message.get("verdicts", self.verdicts)
        self.computed += message.get("computed", 0.0)
        self.ended = message.get("ended", self.ended)
        # Empty messages, which show that the driver is alive, are no progress.
        if "done" in message:
            self._rate.add(self.updated, float(self.done.sum()))

    @property
    def rate(self) -> float:
        """Trials per second."""
        return self._rate.rate(self.updated if self.ended else self.clock())

    @property
    def seconds_left(self) -> float | None:
        """Time left at this rate; None if it is unknown."""
        # A closed cell may have fewer trials than planned: it is precise enough, or was set aside.
        missing = np.maximum(self.planned - self.done, 0)[~self.closed].sum()
        return seconds_left(missing, 0.0 if self.ended else self.rate)

    @property
    def condition(self) -> str:
        """Last known activity of the driver."""
        if self.ended:
            return self.ended
        silence = self.clock() - self.updated
        return "running" if silence < _SILENCE else f"running; its driver has been silent for {silence:.0f} s"

    def summary(self) -> dict[str, Any]:
        """Return everything except the cells, as JSON."""
        left = self.seconds_left
        return {
            "study": self.study,
            "store": self.store,
            "run": self.run,
            "condition": self.condition,
            "cells": len(self.cells),
            "cells_done": int(self.closed.sum()),
            "trials_done": int(self.done.sum()),
            "trials_planned": int(self.planned.sum()),
            "trials_failed": int(self.failed.sum()),
            "trials_per_second": round(self.rate, 3),
            "seconds_left": None if left is None else round(left, 1),
            "set_aside": self.set_aside,
            "notes": self.notes,
            "verdicts": self.verdicts,
        }

    def table(self) -> list[dict[str, Any]]:
        """Return a row per cell, as JSON: trials, and estimates by depth and threshold (null if there are none)."""
        return [
            {
                "cell": name,
                "distribution": self.distribution[i],
                "d": int(self.d[i]),
                "n": int(self.n[i]),
                "planned": int(self.planned[i]),
                "done": int(self.done[i]),
                "failed": int(self.failed[i]),
                "closed": bool(self.closed[i]),
                **{key: _as_json(getattr(self, key)[i]) for key in ("probability", "lower", "upper")},
            }
            for i, name in enumerate(self.cells)
        ]


def _as_json(values: NDArray[Any]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]


MOST_STUDIES: Final = 8
"""Number of studies that are kept; the oldest is dropped first."""


class Studies:
    """Studies that ran on a scheduler, keyed by driver, and worker times for the latest study.

    Attributes
    ----------
    states : dict of str to StudyState
        The latest one is the last.
    busy : float
        Seconds that workers spent computing and writing blocks, measured by the workers.
    erred : int
        Number of blocks whose task raised an exception.
    """

    def __init__(self) -> None:
        self.states: dict[str, StudyState] = {}
        self.busy = 0.0
        self.erred = 0

    @property
    def latest(self) -> StudyState | None:
        """The study that was started last."""
        return next(reversed(self.states.values()), None)

    def update(self, run: str, message: Message) -> None:
        """Enter a driver's message; the first message of a run holds the arguments of its `StudyState` as `seed`."""
        if "seed" in message:
            # A resumed run takes the place of the earlier run on the same store.
            self.states = {key: state for key, state in self.states.items() if state.store != message["seed"]["store"]}
            self.states[run] = StudyState(**message["seed"])
            while len(self.states) > MOST_STUDIES:
                del self.states[next(iter(self.states))]
            self.busy, self.erred = 0.0, 0
        if run in self.states:
            self.states[run].update(message)
