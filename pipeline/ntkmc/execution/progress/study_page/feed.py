"""Feed of the Study page: collects the driver's events and sends them to the scheduler from a thread of its own.

The state of the store is sent first, so that the page of a resumed run continues where the last driver ended.
"""

from __future__ import annotations

import logging
import threading
import uuid
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ntkmc.execution.events import BlockDone, CellDone, CellFailed, Event, Note, RunFinished, RunStarted, StoreUpdated
from ntkmc.execution.progress.study_page.plugin import NAME, StudyPlugin, send
from ntkmc.experiment.schema import Verdict

if TYPE_CHECKING:
    from distributed import Client

    from ntkmc.experiment.study import Study

_LOG = logging.getLogger(__name__)

_INTERVAL: Final = 0.5  # seconds between messages
_LAST_MESSAGE: Final = 5.0  # seconds that the end of a run waits for the last message

_ESTIMATES: Final = ("probability", "probability_lower", "probability_upper")


def study_page(study: Study, store: str, client: Client) -> list[Feed]:
    """Return the feed of the Study page on a cluster's dashboard; none if there is no dashboard, or if it fails.

    A run continues without the page: the scheduler may run in an environment without this version of ntkmc.
    """
    if not client.dashboard_link:
        return []
    try:
        return [Feed(study, store, client)]
    except Exception as error:
        _LOG.warning("no Study page on this cluster's dashboard: %s: %s", type(error).__name__, error)
        return []


class Feed:
    """Subscriber that sends the progress of a study to a cluster's scheduler.

    Parameters
    ----------
    study : Study
    store : str
        Location of the results, to be shown.
    client : distributed.Client

    Attributes
    ----------
    page : bool
        Whether the scheduler has a page; without a dashboard it serves `study.json` alone.

    Raises
    ------
    Exception
        Any exception of the scheduler, which may run in another environment, if it cannot show the page.
    """

    def __init__(self, study: Study, store: str, client: Client) -> None:
        client.register_plugin(StudyPlugin(), name=NAME)
        self.page = send(client, "", {})
        self._study, self._store, self._client = study, store, client
        self._run = uuid.uuid4().hex[:8]
        self._cells = {cell.name: i for i, cell in enumerate(study.cells)}
        self._depths = sorted({depth for cell in study.cells for depth in cell.depths})
        self._planned = np.full(len(self._cells), len(study.trial_range), dtype=np.int64)
        self._done = np.zeros(len(self._cells), dtype=np.int64)
        self._failed = np.zeros(len(self._cells), dtype=np.int64)
        self._closed = np.zeros(len(self._cells), dtype=bool)
        self._computed: set[int] = set()  # cells with blocks since the last update of the store
        self._changed: set[int] = set()  # cells whose counts changed since the last message
        self._pending: dict[str, Any] = {}
        self._seeded = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="ntkmc-study-feed", daemon=True)

    def __call__(self, event: Event) -> None:
        """Add an event to the next message."""
        with self._lock:
            self._enter(event)
        if isinstance(event, RunStarted):
            self._thread.start()
        elif isinstance(event, RunFinished):
            self._over.set()
            self._thread.join(_LAST_MESSAGE)

    def _enter(self, event: Event) -> None:
        match event:
            case BlockDone():
                at = self._cells[event.cell]
                # The page counts trials of the limiting kernel: those of networks would count each draw twice.
                if event.measurement.is_draws:
                    self._done[at] = min(self._done[at] + event.trials, self._planned[at])
                    self._failed[at] += event.failed
                self._computed.add(at)
                self._changed.add(at)
                self._pending["computed"] = self._pending.get("computed", 0.0) + event.seconds
            case CellDone():
                at = self._cells[event.cell]
                self._planned[at] -= event.spared
                self._closed[at] = True
                self._changed.add(at)
            case CellFailed():
                at = self._cells[event.cell]
                self._pending.setdefault("set_aside", {})[event.cell] = event.reason
                self._closed[at] = True
                self._changed.add(at)
            case Note():
                self._pending.setdefault("notes", []).append(event.text)
            case StoreUpdated():
                self._read(event)
            case RunFinished():
                self._pending["ended"] = "interrupted" if event.interrupted else "finished"

    def _read(self, event: StoreUpdated) -> None:
        """Read counts, estimates and verdicts from the store, of the cells that may have changed."""
        changed = list(range(len(self._cells))) if event.whole else sorted(self._computed)
        self._computed.clear()
        span = self._study.trial_range
        # The store corrects the counts: a block that was computed twice was reported twice.
        for at in changed:
            done = event.store.done(self._study.cells[at])[:, span.start : span.stop]
            self._done[at] = int(done.all(axis=0).sum())
        self._changed.update(changed)
        unsent = self._pending["estimates"][0].tolist() if "estimates" in self._pending else []
        self._pending["estimates"] = self._estimates(event, sorted({*changed, *unsent}))
        codes = event.derived.claims["overall"].tolist()
        labels = event.store.coordinates["claim"]
        self._pending["verdicts"] = {
            label: Verdict(code).word
            for label, code in zip(labels, codes, strict=True)
            if code not in (Verdict.NOT_EVALUATED, Verdict.NOT_APPLICABLE)
        }
        if not self._seeded:
            self._pending["seed"] = self._seed()
            self._seeded = True

    def _estimates(self, event: StoreUpdated, cells: list[int]) -> tuple[Any, Any]:
        """Return the cells and an array (3, cells, depths, thresholds) of estimates, lower and upper limits."""
        axes = event.store.coordinates
        rows = event.store.depth_positions(self._depths)
        columns = [axes["lambda_0"].index(value) for value in self._study.event.lambda_0]
        i, j, k = np.array([event.store.index(self._study.cells[at]) for at in cells], dtype=int).reshape(-1, 3).T
        values = [event.derived.estimates[name][i, j, k][:, rows][:, :, columns] for name in _ESTIMATES]
        return np.array(cells, dtype=int), np.array(values)

    def _seed(self) -> dict[str, Any]:
        cells = self._study.cells
        return {
            "study": self._study.name,
            "store": self._store,
            "run": self._run,
            "cells": list(self._cells),
            "distribution": [cell.distribution.label for cell in cells],
            "d": np.array([cell.d for cell in cells]),
            "n": np.array([cell.n for cell in cells]),
            "planned": self._planned.copy(),
            "done": self._done.copy(),
            "depths": self._depths,
            "thresholds": list(self._study.event.lambda_0),
        }

    def _message(self) -> dict[str, Any]:
        """Return everything that is new since the last message."""
        with self._lock:
            # The seed is made of the store, which is read at the first event `StoreUpdated`.
            if not self._seeded:
                return {}
            message, self._pending = self._pending, {}
            at = np.array(sorted(self._changed), dtype=int)
            self._changed.clear()
            if len(at):
                for name in ("done", "failed", "closed", "planned"):
                    message[name] = at, getattr(self, f"_{name}")[at]
            return message

    def _send_all(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_INTERVAL)
            message = self._message()
            try:
                # An empty message shows that the driver is alive.
                send(self._client, self._run, message)
            except Exception:
                # A view must not end a run: the driver itself detects a cluster that is gone.
                over = over or self._client.status not in ("running", "connecting")
