"""The estimator of rate and time left; progress in a terminal and in a batch job's log."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from ntkmc.execution.events import BlockDone, CellDone, CellFailed, Note, RunFinished, RunStarted, StoreUpdated
from ntkmc.execution.progress.rate import STEPS, WINDOW, RateEstimator, seconds_left
from ntkmc.execution.progress.terminal import ProgressView
from ntkmc.experiment.schema.variables import Verdict


@pytest.mark.parametrize("interval", [0.01, 0.7, 5.0, 900.0])
def test_steady_rate(interval: float) -> None:
    """The rate is that of the blocks, however long they take, also between two of them and from the first one on."""
    estimator = RateEstimator([(1000.0, 0.0)])
    for i in range(1, 2000):
        estimator.add(1000.0 + i * interval, 36.0 * i)
        for now in (i, i + 0.99):
            assert estimator.rate(1000.0 + now * interval) == pytest.approx(36.0 / interval, rel=0.02), i
    assert len(estimator.samples) <= max(WINDOW, STEPS) + 2


def test_rate_of_bursts() -> None:
    """Eight workers that finish together, every five minutes."""
    estimator = RateEstimator([(0.0, 0.0)])
    for wave in range(1, 50):
        for worker in range(8):
            estimator.add(300.0 * wave + 0.01 * worker, 8.0 * (wave - 1) + worker + 1.0)
        assert estimator.rate(300.0 * wave + 200.0) == pytest.approx(8.0 / 300.0, rel=0.01)


def test_rate_during_and_after_a_pause() -> None:
    estimator = RateEstimator([(0.0, 0.0)])
    for second in range(1, 101):
        estimator.add(second, 10.0 * second)
    rates = [estimator.rate(now) for now in (100.0, 101.0, 110.0, 160.0, 220.0, 1000.0)]
    assert rates[:2] == [10.0, 10.0]
    assert rates == sorted(rates, reverse=True)
    assert 0.0 < rates[-1] < 0.3
    for second in range(STEPS + 1):
        estimator.add(1000.0 + second, 1000.0 + 10.0 * (second + 1))
    assert estimator.rate(1000.0 + STEPS) == pytest.approx(10.0)


def test_rate_changes_with_the_workers() -> None:
    """Ten times as many workers: the rate follows within the window."""
    estimator = RateEstimator([(0.0, 0.0)])
    for second in range(1, 3601):
        estimator.add(second, 10.0 * second)
    for second in range(1, round(WINDOW) + 1):
        estimator.add(3600.0 + second, 36000.0 + 100.0 * second)
    assert estimator.rate(3600.0 + WINDOW) == pytest.approx(100.0)


def test_rate_of_a_resumed_run() -> None:
    """What was finished before is no part of the rate; nothing is known before the first block."""
    estimator = RateEstimator([(50.0, 5000.0)])
    assert (estimator.rate(50.0), estimator.rate(90.0), RateEstimator().rate(0.0)) == (0.0, 0.0, 0.0)
    estimator.add(90.0, 5000.0)
    assert estimator.rate(90.0) == 0.0
    estimator.add(100.0, 5100.0)
    assert estimator.rate(100.0) == 2.0
    assert seconds_left(300.0, estimator.rate(100.0)) == 150.0
    copy = RateEstimator(estimator.samples)
    assert copy.rate(250.0) == estimator.rate(250.0) < 2.0


def test_rate_when_the_clock_or_the_amount_goes_back() -> None:
    estimator = RateEstimator([(1000.0, 0.0), (1010.0, 100.0)])
    assert estimator.rate(400.0) == 10.0  # a reader whose clock is slow
    estimator.add(500.0, 110.0)
    assert estimator.rate(500.0) == 0.0
    estimator.add(510.0, 160.0)
    assert estimator.rate(510.0) == 5.0
    estimator.add(520.0, 90.0)  # blocks that are computed again
    assert estimator.rate(520.0) == 0.0
    assert RateEstimator([(5.0, 0.0), (5.0, 10.0)]).rate(5.0) == 0.0


class Clock:
    """A clock that a test sets."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


STARTED = RunStarted("s", 3, 100, 300, 2, "http://127.0.0.1:8787/status")


def view_of(clock: Clock, **arguments: Any) -> ProgressView:
    return ProgressView(Console(file=io.StringIO(), width=80, **arguments), clock=clock)


def printed(view: ProgressView) -> str:
    file = view.console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def store_updated(*verdicts: Verdict) -> Any:
    return StoreUpdated(SimpleNamespace(), SimpleNamespace(claims={"overall": np.array(verdicts)}))  # type: ignore[arg-type]


def test_plain_lines() -> None:
    """If it is not a terminal: no control codes, and no line per block."""
    clock = Clock()
    view = view_of(clock)
    view.study_page = True
    view(STARTED)
    for _ in range(50):
        view(BlockDone("c", 2, 0, 0.1))
    view(store_updated(Verdict.HOLDS))
    view(CellFailed("sphere,d=3,n=4", "poison"))
    view(Note("a note"))
    clock.now += 75.0
    view(RunFinished(interrupted=False))
    lines = printed(view).splitlines()
    assert lines[0] == "s: resuming, 100 of 300 trials are done"
    assert lines[1] == "s: 3 cells, 2 worker threads, Dask dashboard at http://127.0.0.1:8787/status"
    assert lines[2] == "s: watch it at http://127.0.0.1:8787/study"
    assert lines[3:] == [
        "cell sphere,d=3,n=4 failed: poison",
        "a note",
        "s: done, 100 trials in 1 min 15 s",
    ]
    assert "\x1b" not in printed(view)


def test_a_plain_line_every_ten_seconds() -> None:
    clock = Clock()
    view = view_of(clock)
    view(STARTED)
    clock.now += 10.0
    view(BlockDone("c", 15, 0, 0.1))
    clock.now += 1.0
    view(CellDone("c", spared=50))
    clock.now += 5.0
    view(BlockDone("c", 25, 0, 0.1))
    assert printed(view).splitlines()[2:] == ["s: 115/250 trials, 1/3 cells, 1.5 trials/s, 1 min 30 s left"]
    assert view.summary() == "1/3 cells, 2.5 trials/s, 44 s left"
    assert "study" not in printed(view)


def test_terminal() -> None:
    """Trials, rate, failures and verdicts, violated claims first."""
    clock = Clock()
    view = view_of(clock, force_terminal=True)
    view(STARTED)
    clock.now += 2.0
    view(BlockDone("c", 40, 3, 0.1))
    view(store_updated(Verdict.HOLDS, Verdict.VIOLATED, Verdict.HOLDS, Verdict.NOT_APPLICABLE))
    view(RunFinished(interrupted=True))
    text = printed(view)
    assert "140/300 trials" in text
    assert "0/3 cells, 20 trials/s, 8 s left, 3 trials without a value" in text
    assert "claims so far: 1 violated, 2 holds" in text
    assert "interrupted, 40 trials in 2 s" in text
