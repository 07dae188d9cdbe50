"""Progress of a run in a terminal: bar and figures that are updated in place; plain lines if it is not interactive."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from typing import Final

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from ntkmc.execution.events import BlockDone, CellDone, CellFailed, Event, Note, RunFinished, RunStarted, StoreUpdated
from ntkmc.execution.progress.rate import RateEstimator, format_rate, seconds_left
from ntkmc.execution.units import format_duration
from ntkmc.experiment.schema import Verdict
from ntkmc.palette import VERDICTS

_LINE_EVERY: Final = 10.0  # seconds between plain lines, so that a batch job's log stays short


class ProgressView:
    """Subscriber that shows finished cells and trials, trials per second, the time left, and the verdicts so far.

    Parameters
    ----------
    console : rich.console.Console, optional
        Standard error by default; plain lines are printed if it is not a terminal.
    study_page : bool
        Whether the Dask dashboard has a Study page, whose address is then printed.
    clock : callable
        Monotonic time in seconds.
    """

    def __init__(
        self,
        console: Console | None = None,
        study_page: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.study_page = study_page
        self.console = console or Console(stderr=True)
        self._clock = clock
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed:,.0f}/{task.total:,.0f} trials"),
            TimeElapsedColumn(),
            console=self.console,
        )
        self._below = Text(style="dim", no_wrap=True, overflow="ellipsis")
        self._live = Live(Group(self._bar, self._below), console=self.console, transient=True, refresh_per_second=4)
        self._failed = self._cells_done = 0
        self._verdicts = ""

    def __call__(self, event: Event) -> None:
        """Show an event."""
        match event:
            case RunStarted():
                self._start(event)
            case BlockDone():
                self._done += event.trials
                self._failed += event.failed
                self._rate.add(self._clock(), self._done)
                self._show()
            case CellDone():
                self._cells_done += 1
                # A cell that is precise enough spares trials of the draws and of each additional measurement.
                self._total -= event.spared * (1 + self._run.additional)
                self._show()
            case CellFailed():
                self._print(f"[bold red]cell {event.cell} failed:[/] {event.reason}")
            case StoreUpdated():
                counts = Counter(Verdict(code).word for code in event.derived.claims["overall"].tolist())
                # Claims that were not evaluated, or do not apply, are no result.
                shown = [word for word in VERDICTS if counts[word] and not word.startswith("not-")]
                self._verdicts = ", ".join(f"{counts[word]} {word}" for word in shown)
                self._show()
            case Note():
                self._print(event.text)
            case RunFinished():
                if self.console.is_terminal:
                    self._live.stop()
                ended = "interrupted" if event.interrupted else "done"
                seconds = self._clock() - self._started
                trials = self._done - self._run.trials_done
                self._print(f"{self._run.study}: {ended}, {trials:,} trials in {format_duration(seconds)}")

    def summary(self) -> str:
        """Cells, rate and time left, in one line."""
        rate = self._rate.rate(self._clock())
        text = f"{self._cells_done}/{self._run.cells} cells, {format_rate(rate)} trials/s"
        left = seconds_left(self._total - self._done, rate)
        return f"{text}, {format_duration(left)} left" if left else text

    def _start(self, event: RunStarted) -> None:
        self._run, self._done, self._total = event, event.trials_done, event.trials_planned
        self._started = self._printed = self._clock()
        # Trials that are in the store already cost nothing now: they are the origin of the rate.
        self._rate = RateEstimator([(self._started, self._done)])
        if event.trials_done:
            self._print(f"{event.study}: resuming, {event.trials_done:,} of {event.trials_planned:,} trials are done")
        where = f", Dask dashboard at {event.dashboard}" if event.dashboard else ""
        cells = "1 cell" if event.cells == 1 else f"{event.cells} cells"
        self._print(f"{event.study}: {cells}, {event.workers} worker threads{where}")
        if self.study_page and event.dashboard.endswith("/status"):
            self._print(f"{event.study}: watch it at {event.dashboard.removesuffix('status')}study")
        self._task = self._bar.add_task(event.study, total=self._total, completed=self._done)
        if self.console.is_terminal:
            self._live.start()

    def _show(self) -> None:
        if self.console.is_terminal:
            self._bar.update(self._task, completed=self._done, total=self._total)
            failed = f", {self._failed:,} trials without a value" if self._failed else ""
            claims = f"\nclaims so far: {self._verdicts}" if self._verdicts else ""
            self._below.plain = f"{self.summary()}{failed}{claims}"
        elif self._clock() - self._printed > _LINE_EVERY:
            self._printed = self._clock()
            self._print(f"{self._run.study}: {self._done:,}/{self._total:,} trials, {self.summary()}")

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, soft_wrap=True)
