"""The live view: a few plain lines in a batch job's log, a bar with verdicts on a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import Console

from ntkmc.execution.events import BlockDone, CellDone, CellFailed, Note, RunFinished, RunStarted, StoreUpdated
from ntkmc.execution.progress.terminal import ProgressView
from ntkmc.experiment.schema.variables import Verdict

STARTED = RunStarted("s", 3, 100, 300, 2, "http://127.0.0.1:8787/status")


def told(view: ProgressView) -> str:
    file = view.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def folded(*verdicts: Verdict) -> Any:
    return StoreUpdated(SimpleNamespace(), SimpleNamespace(claims={"overall": np.array(verdicts)}))  # type: ignore[arg-type]


def test_plain_lines() -> None:
    """Not a terminal: what happened, no control codes, and no line for each block."""
    view = ProgressView(Console(file=io.StringIO(), width=80), study_page=True)
    view(STARTED)
    for _ in range(50):
        view(BlockDone("c", 2, 0, 0.1))
    view(folded(Verdict.HOLDS))
    view(CellFailed("sphere,d=3,n=4", "poison"))
    view(Note("a note"))
    view(RunFinished(interrupted=False))
    lines = told(view).splitlines()
    assert lines[0] == "s: resuming, 100 of 300 trials are done"
    assert lines[1] == "s: 3 cells, 2 worker threads, Dask dashboard at http://127.0.0.1:8787/status"
    assert lines[2] == "s: watch it at http://127.0.0.1:8787/study"
    assert lines[3:5] == ["cell sphere,d=3,n=4 failed: poison", "a note"]
    assert lines[5].startswith("s: done, 100 trials in")
    assert len(lines) == 6
    assert "\x1b" not in told(view)


def test_lines_come_now_and_then() -> None:
    view = ProgressView(Console(file=io.StringIO(), width=80))
    view(STARTED)
    view._printed -= 11.0
    view(CellDone("c", spared=50))
    view(BlockDone("c", 25, 0, 0.1))
    assert "s: 100/250 trials, 1/3 cells" in told(view)
    assert "study" not in told(view)


def test_terminal() -> None:
    """Trials, rate, failures and the verdicts, the damning ones first."""
    view = ProgressView(Console(file=io.StringIO(), width=80, force_terminal=True))
    view(STARTED)
    view(BlockDone("c", 40, 3, 0.1))
    view(folded(Verdict.HOLDS, Verdict.VIOLATED, Verdict.HOLDS, Verdict.NOT_APPLICABLE))
    view._live.refresh()
    view(RunFinished(interrupted=True))
    text = told(view)
    assert "140/300 trials" in text
    assert "3 trials without a value" in text
    assert "claims so far: 1 violated, 2 holds" in text
    assert "interrupted, 40 trials" in text
