"""A live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ntkmc.execution.events import BlockDone, CellDone, CellFailed, Event, Note, RunFinished, RunStarted, StoreUpdated
from ntkmc.experiment.schema import Verdict

_LINE_EVERY = 10.0  # seconds between plain lines, so that a batch job's log stays short


class ProgressView:
    """Subscriber that shows cells done, trials done, trials a second, the time left, and the verdicts so far.

    The rate is that of this run alone: trials that were found in the store cost nothing now.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default; plain lines where it is no terminal.
    study_page : bool
        Whether the Dask dashboard has a Study page, whose address is then told.
    """

    def __init__(self, console: Console | None = None, study_page: bool = False) -> None:
        self.study_page = study_page
        self.console = console or Console(stderr=True)
        self.live = self.console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} trials"),
            TimeElapsedColumn(),
            console=self.console,
        )
        self._below = Text(style="dim", no_wrap=True, overflow="ellipsis")
        self._live = Live(Group(self._bar, self._below), console=self.console, transient=True, refresh_per_second=4)
        self._failed = 0
        self._verdicts = ""
        self._started = 0.0
        self._printed = 0.0
        self._cells = self._cells_done = self._done = self._here = self._total = 0
        self._study = ""
        self._kinds = 1

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case RunStarted():
                self._start(event)
            case BlockDone():
                self._done += event.trials
                self._here += event.trials
                self._failed += event.failed
                self._show()
            case CellDone():
                self._cells_done += 1
                self._total -= event.spared * self._kinds
                self._show()
            case CellFailed():
                self._say(f"[bold red]cell {event.cell} failed:[/] {event.reason}")
            case StoreUpdated():
                self._judge(event)
            case Note():
                self._say(event.text)
            case RunFinished():
                self._stop(event)

    def summary(self) -> str:
        """Cells, rate and time left, in one line.

        The time left is what the trials left take at the rate so far.
        """
        seconds = max(time.monotonic() - self._started, 1e-9)
        rate = self._here / seconds
        text = f"{self._cells_done}/{self._cells} cells, {rate:,.0f} trials/s"
        if rate > 0.0 and self._total > self._done:
            text += f", {duration((self._total - self._done) / rate)} left"
        return text

    def _start(self, event: RunStarted) -> None:
        self._study, self._cells, self._total = event.study, event.cells, event.trials_planned
        self._kinds = 1 + event.beside
        self._done = event.trials_done
        self._started = self._printed = time.monotonic()
        if event.trials_done:
            self._say(f"{event.study}: resuming, {event.trials_done:,} of {event.trials_planned:,} trials are done")
        where = f", Dask dashboard at {event.dashboard}" if event.dashboard else ""
        cells = "1 cell" if event.cells == 1 else f"{event.cells} cells"
        self._say(f"{event.study}: {cells}, {event.workers} worker threads{where}")
        if self.study_page and event.dashboard.endswith("/status"):
            self._say(f"{event.study}: watch it at {event.dashboard.removesuffix('status')}study")
        self._task = self._bar.add_task(event.study, total=self._total, completed=self._done)
        if self.live:
            self._live.start()

    def _judge(self, event: StoreUpdated) -> None:
        """Claims by verdict, the damning ones first."""
        counts = Counter(event.derived.claims["overall"].tolist())
        words = (
            Verdict.VIOLATED,
            Verdict.REFUTED,
            Verdict.HOLDS,
            Verdict.SUPPORTED,
            Verdict.UNDECIDED,
            Verdict.VACUOUS,
        )
        self._verdicts = ", ".join(f"{counts[word]} {word.word}" for word in words if counts[word])
        self._show()

    def _show(self) -> None:
        if self.live:
            self._bar.update(self._task, completed=self._done, total=self._total)
            failed = f", {self._failed:,} trials without a value" if self._failed else ""
            claims = f"\nclaims so far: {self._verdicts}" if self._verdicts else ""
            self._below.plain = f"{self.summary()}{failed}{claims}"
        elif time.monotonic() - self._printed > _LINE_EVERY:
            self._printed = time.monotonic()
            self._say(f"{self._study}: {self._done:,}/{self._total:,} trials, {self.summary()}")

    def _stop(self, event: RunFinished) -> None:
        if self.live:
            self._live.stop()
        seconds = time.monotonic() - self._started
        ended = "interrupted" if event.interrupted else "done"
        self._say(f"{self._study}: {ended}, {self._here:,} trials in {duration(seconds)}")

    def _say(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds for people.

    >>> duration(75.2), duration(8000)
    ('1 min 15 s', '2 h 13 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
