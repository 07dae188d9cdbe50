"""A live view in a terminal, plain lines elsewhere."""

from __future__ import annotations

import time

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from ntkmc.execution.events import BlockDone, CellDone, CellFailed, Event, Note, RunFinished, RunStarted

_LINE_EVERY = 10.0  # seconds between plain lines, so that a batch job's log stays short


class ProgressView:
    """Subscriber that shows cells done, trials done, trials a second and the time left.

    The rate is that of this run alone: trials that were found in the store cost nothing now.
    """

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.live = self.console.is_terminal
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} trials"),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
        )
        self._started = 0.0
        self._printed = 0.0
        self._cells = self._cells_done = self._done = self._here = self._total = 0
        self._study = ""

    def __call__(self, event: Event) -> None:
        """Take note of an event."""
        match event:
            case RunStarted():
                self._start(event)
            case BlockDone():
                self._done += event.trials
                self._here += event.trials
                self._show()
            case CellDone():
                self._cells_done += 1
                self._total -= event.spared
                self._show()
            case CellFailed():
                self._say(f"[bold red]cell {event.cell} failed:[/] {event.reason}")
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
        self._done = event.trials_done
        self._started = self._printed = time.monotonic()
        if event.trials_done:
            self._say(f"{event.study}: resuming, {event.trials_done:,} of {event.trials_planned:,} trials are done")
        where = f", Dask dashboard at {event.dashboard}" if event.dashboard else ""
        cells = "1 cell" if event.cells == 1 else f"{event.cells} cells"
        self._say(f"{event.study}: {cells}, {event.workers} worker threads{where}")
        self._task = self._bar.add_task(event.study, total=self._total, completed=self._done, detail="")
        if self.live:
            self._bar.start()

    def _show(self) -> None:
        if self.live:
            self._bar.update(self._task, completed=self._done, total=self._total, detail=self.summary())
        elif time.monotonic() - self._printed > _LINE_EVERY:
            self._printed = time.monotonic()
            self._say(f"{self._study}: {self._done:,}/{self._total:,} trials, {self.summary()}")

    def _stop(self, event: RunFinished) -> None:
        if self.live:
            self._bar.stop()
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
