"""State of a study on the scheduler: plain data from the driver's messages; nothing is computed here."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Message = dict[str, Any]

_WINDOW = 60.0  # seconds that the rate is taken over
_QUIET = 30.0  # seconds without a word after which a driver is said to be silent


@dataclass
class StudyState:
    """One study, as its driver last told.

    Attributes
    ----------
    study, store, run : str
        Its name; where its results are; identifies the driver.
    cells : list of str
    distribution : list of str
    d, n, planned, done, failed : ndarray, (cells,)
        Of each cell its place, and trials: planned (at most), finished in the store, without a value.
    depths, thresholds : list
        Coordinates of the estimates.
    probability, lower, upper : ndarray, (cells, depths, thresholds)
        The store's estimates with their confidence sequences; NaN before the first look.
    closed : ndarray, (cells,)
        Whether nothing more is to be done for a cell.
    aside : dict of str to str
        Cells that were set aside, with the reason.
    verdicts : dict of str to str
        What all cells together say of each claim.
    computed, threads : float
        Seconds that blocks took, by their own clocks; worker threads.
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
    probability: NDArray[Any] = field(init=False)
    lower: NDArray[Any] = field(init=False)
    upper: NDArray[Any] = field(init=False)
    failed: NDArray[Any] = field(init=False)
    closed: NDArray[Any] = field(init=False)
    aside: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    verdicts: dict[str, str] = field(default_factory=dict)
    computed: float = 0.0
    ended: str = ""
    version: int = 0
    estimated: int = 0

    def __post_init__(self) -> None:
        shape = (len(self.cells), len(self.depths), len(self.thresholds))
        self.probability, self.lower, self.upper = (np.full(shape, np.nan) for _ in range(3))
        self.failed = np.zeros(len(self.cells), dtype=np.int64)
        self.closed = np.zeros(len(self.cells), dtype=bool)
        self.started = self.heard = time.monotonic()
        self.found = int(self.done.sum())
        self._rates: deque[tuple[float, int]] = deque([(self.started, self.found)], maxlen=256)

    def update(self, message: Message) -> None:
        """Take in what the driver tells; O(what it tells)."""
        self.heard = time.monotonic()
        self.version += 1
        for name in ("done", "failed", "closed", "planned"):
            if name in message:
                at, values = message[name]
                getattr(self, name)[at] = values
        if "estimates" in message:
            at, values = message["estimates"]
            self.probability[at], self.lower[at], self.upper[at] = values
            self.estimated += 1
        self.aside |= message.get("aside", {})
        self.notes += message.get("notes", [])
        self.verdicts = message.get("verdicts", self.verdicts)
        self.computed += message.get("computed", 0.0)
        self.ended = message.get("ended", self.ended)
        if self.heard - self._rates[-1][0] >= 0.5:
            self._rates.append((self.heard, int(self.done.sum())))

    @property
    def rate(self) -> float:
        """Trials a second that reached the store, over the last minute."""
        now = self.heard if self.ended else time.monotonic()
        latest = int(self.done.sum())
        since, before = next(
            ((when, count) for when, count in self._rates if now - when <= _WINDOW), (self.started, self.found)
        )
        return max(latest - before, 0) / max(now - since, 1e-9) if latest > before else 0.0

    @property
    def left(self) -> float:
        """Seconds that the trials left take at this rate; NaN where that cannot be said."""
        open_ones = ~self.closed
        missing = int(np.maximum(self.planned - self.done, 0)[open_ones].sum())
        if not missing:
            return 0.0
        return missing / self.rate if self.rate > 0.0 and not self.ended else math.nan

    @property
    def condition(self) -> str:
        """Last known activity of the driver."""
        if self.ended:
            return self.ended
        silent = time.monotonic() - self.heard
        return "running" if silent < _QUIET else f"running; its driver has been silent for {silent:.0f} s"

    def counted(self) -> dict[str, int]:
        """Claims by verdict."""
        return dict(Counter(self.verdicts.values()))

    def summary(self) -> dict[str, Any]:
        """All of it but the cells, as JSON."""
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
            "seconds_left": None if math.isnan(self.left) else round(self.left, 1),
            "set_aside": self.aside,
            "notes": self.notes,
            "verdicts": self.verdicts,
        }

    def table(self) -> list[dict[str, Any]]:
        """A row per cell, as JSON: trials, and estimates by depth and threshold (null where there are none)."""
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
                **{key: _plain(getattr(self, key)[i]) for key in ("probability", "lower", "upper")},
            }
            for i, name in enumerate(self.cells)
        ]


def _plain(values: NDArray[Any]) -> list[list[float | None]]:
    return [[None if math.isnan(value) else value for value in row] for row in values.tolist()]


MOST_STUDIES: Final = 8
"""Studies that are kept; the oldest is dropped first."""


class Studies:
    """Studies that ran on a scheduler, by the identity of their drivers, and the work of its workers on the latest.

    Attributes
    ----------
    states : dict of str to StudyState
        The latest last.
    busy : float
        Seconds that workers spent on blocks, by their own clocks: computing them and writing them.
    erred : int
        Blocks whose task raised.
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
        """Enter a driver's message; the first of a run holds its seed."""
        if "seed" in message:
            self.states = {key: state for key, state in self.states.items() if state.store != message["seed"]["store"]}
            self.states[run] = StudyState(**message["seed"])
            while len(self.states) > MOST_STUDIES:
                del self.states[next(iter(self.states))]
            self.busy, self.erred = 0.0, 0
        if run in self.states:
            self.states[run].update(message)
