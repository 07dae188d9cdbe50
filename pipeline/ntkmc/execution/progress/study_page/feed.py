"""From the driver's events to the scheduler that shows them: collected, and sent by a thread that nobody waits for.

The store is the source: what is found there when a run starts is sent first, so a page goes on where the last driver
left it.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from ntkmc.execution.events import BlockDone, CellDone, CellFailed, Event, Note, RunFinished, RunStarted, StoreUpdated
from ntkmc.execution.progress.study_page.plugin import NAME, StudyPlugin, tell
from ntkmc.experiment.schema import Verdict

if TYPE_CHECKING:
    from distributed import Client

    from ntkmc.experiment.study import Study

_LOG = logging.getLogger(__name__)

_EVERY: Final = 0.5  # seconds between messages
_PATIENCE: Final = 5.0  # seconds that the end of a run waits for the last message

_ESTIMATES: Final = ("probability", "probability_lower", "probability_upper")


def study_page(study: Study, store: str, client: Client) -> list[Feed]:
    """The feed of the Study page on a cluster's dashboard; none where the cluster has no dashboard, or refuses it.

    A run goes on without the page: it is a view, and a scheduler elsewhere may not have this version of ntkmc.
    """
    if not client.dashboard_link:
        return []
    try:
        return [Feed(study, store, client)]
    except Exception as error:
        _LOG.warning("no Study page on this cluster's dashboard: %s: %s", type(error).__name__, error)
        return []


class Feed:
    """Subscriber that tells a cluster's scheduler how a study goes.

    Parameters
    ----------
    study : Study
    store : str
        For people.
    client : distributed.Client

    Attributes
    ----------
    page : bool
        Whether the scheduler shows what it is told; without a dashboard it has `study.json` alone.

    Raises
    ------
    Exception
        Whatever the scheduler raises if it cannot show the page: it runs elsewhere, in an environment of its own.
    """

    def __init__(self, study: Study, store: str, client: Client) -> None:
        client.register_plugin(StudyPlugin(), name=NAME)
        self.page = tell(client, "", {})
        self._study, self._store, self._client = study, store, client
        self._run = uuid.uuid4().hex[:8]
        self._cells = {cell.name: i for i, cell in enumerate(study.cells)}
        self._depths = sorted({depth for cell in study.cells for depth in cell.depths})
        self._planned = np.full(len(self._cells), len(study.trial_range), dtype=np.int64)
        self._done = np.zeros(len(self._cells), dtype=np.int64)
        self._failed = np.zeros(len(self._cells), dtype=np.int64)
        self._closed = np.zeros(len(self._cells), dtype=bool)
        self._touched: set[int] = set()  # since the last fold
        self._moved: set[int] = set()  # since the last message
        self._pending: dict[str, Any] = {}
        self._seeded = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._send_all, name="ntkmc-study-feed", daemon=True)

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case RunStarted():
                self._thread.start()
            case BlockDone():
                with self._lock:
                    at = self._cells[event.cell]
                    if event.part.plain:  # the page counts trials of the limiting kernel
                        self._done[at] = min(self._done[at] + event.trials, self._planned[at])
                        self._failed[at] += event.failed
                    self._touched.add(at)
                    self._moved.add(at)
                    self._pending["computed"] = self._pending.get("computed", 0.0) + event.seconds
            case CellDone():
                with self._lock:
                    at = self._cells[event.cell]
                    self._planned[at] -= event.spared
                    self._closed[at] = True
                    self._moved.add(at)
            case CellFailed():
                with self._lock:
                    self._pending.setdefault("aside", {})[event.cell] = event.reason
                    self._closed[self._cells[event.cell]] = True
                    self._moved.add(self._cells[event.cell])
            case Note():
                with self._lock:
                    self._pending.setdefault("notes", []).append(event.text)
            case StoreUpdated():
                self._read(event)
            case RunFinished():
                with self._lock:
                    self._pending["ended"] = "interrupted" if event.interrupted else "finished"
                self._over.set()
                self._thread.join(_PATIENCE)

    def _read(self, event: StoreUpdated) -> None:
        """Bring the cells that moved in line with the store."""
        with self._lock:
            here = list(range(len(self._cells))) if event.whole else sorted(self._touched)
            self._touched.clear()
            span = self._study.trial_range
            for at in here:
                done = event.store.done(self._study.cells[at])[:, span.start : span.stop]
                self._done[at] = int(done.all(axis=0).sum())
            self._moved.update(here)
            self._pending["estimates"] = self._estimates(event, self._behind(here))
            words = event.derived.claims["overall"].tolist()
            labels = event.store.coordinates["claim"]
            self._pending["verdicts"] = {
                label: Verdict(code).word
                for label, code in zip(labels, words, strict=True)
                if code not in (Verdict.NOT_EVALUATED, Verdict.NOT_APPLICABLE)
            }
            if not self._seeded:
                self._pending["seed"] = self._seed()
                self._seeded = True

    def _behind(self, here: Iterable[int]) -> list[int]:
        """Cells whose estimates are to be sent: those here, and those of a message that is not sent yet."""
        waiting = self._pending["estimates"][0].tolist() if "estimates" in self._pending else []
        return sorted({*here, *waiting})

    def _estimates(self, event: StoreUpdated, here: list[int]) -> tuple[Any, Any]:
        """Cells, and (3, cells, depths, thresholds): estimates with both ends of their intervals."""
        axes = event.store.coordinates
        rows = event.store.depth_positions(self._depths)
        columns = [axes["lambda_0"].index(value) for value in self._study.event.lambda_0]
        i, j, k = np.array([event.store.index(self._study.cells[at]) for at in here], dtype=int).reshape(-1, 3).T
        values = [event.derived.estimates[name][i, j, k][:, rows][:, :, columns] for name in _ESTIMATES]
        return np.array(here, dtype=int), np.array(values)

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
        """All that is new since the last message."""
        with self._lock:
            if not self._seeded:
                return {}
            message, self._pending = self._pending, {}
            at = np.array(sorted(self._moved), dtype=int)
            self._moved.clear()
            if len(at):
                for name in ("done", "failed", "closed", "planned"):
                    message[name] = at, getattr(self, f"_{name}")[at]
            return message

    def _send_all(self) -> None:
        over = False
        while not over:
            over = self._over.wait(_EVERY)
            message = self._message()
            try:
                # An empty message says that the driver is alive.
                tell(self._client, self._run, message)
            except Exception:
                # A view must not end a run: whether the cluster is gone, the driver finds out by itself.
                over = over or self._client.status not in ("running", "connecting")
