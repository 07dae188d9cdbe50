"""Status of a run: progress from the store, jobs from the queue, rate from the driver's log."""

from __future__ import annotations

import datetime
import subprocess
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ntkmc.errors import InputError, StoreError
from ntkmc.execution.batch.schedulers import DIALECTS, Dialect, QueuedJob
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.events import BlockDone, CellFailed, Event, RunFinished, RunStarted
from ntkmc.execution.progress.rate import RateEstimator, format_rate, seconds_left
from ntkmc.experiment.analysis.stopping import is_precise
from ntkmc.experiment.store import Location, attributes_without_imports, open_results, study_of
from ntkmc.experiment.study.model import AdaptiveTrials

_LOG_INTERVAL: Final = 2.0  # seconds between writes, so that a shared file system is spared
_STALE: Final = 600.0  # seconds without an update after which a driver counts as gone
_TRIES: Final = 4  # times that a store is opened


class ProgressLog:
    """Subscriber that writes a run's rate and errors to its workspace, for `ntkmc status` in another process."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self._document: dict[str, Any] = {"errors": []}
        self._written = 0.0
        self._done = 0
        self._rate = RateEstimator()

    def __call__(self, event: Event) -> None:
        """Enter an event, and write the document unless that was done a moment ago."""
        now = time.time()
        match event:
            case RunStarted():
                self._rate = RateEstimator([(now, self._done)])
                self._document["ended"] = False
            case BlockDone():
                # As in the store's count of trials: those of networks would count each draw twice.
                self._done += event.trials if event.measurement.is_draws else 0
                self._rate.add(now, self._done)
            case CellFailed():
                self._document["errors"].append(f"cell {event.cell} failed: {event.reason}")
            case RunFinished():
                self._document["ended"] = True
            case _:
                return
        self._document |= {"updated": now, "samples": self._rate.samples}
        if not isinstance(event, BlockDone) or now - self._written > _LOG_INTERVAL:
            self._written = now
            self.workspace.write("progress", self._document)


@dataclass(frozen=True)
class RunStatus:
    """Status of the run of one store.

    Attributes
    ----------
    study : str
        Name of the study; empty if the store does not exist yet.
    cells_done, cells, trials_done, trials : int
        Counts in the store. For an adaptive study `trials` is the largest number that may be needed.
    trials_left : int
        Missing trials of cells that are not done.
    driver : QueuedJob or None
        The driver's latest job.
    workers : tuple of QueuedJob
    answered : bool
        Whether the queue answered.
    rate : float
        Trials per second of the latest run, 0 if it is unknown.
    running : bool
        Whether the driver writes its progress.
    error : str
        Latest error, with its place in a log.
    """

    study: str
    cells_done: int
    cells: int
    trials_done: int
    trials: int
    trials_left: int
    driver: QueuedJob | None = None
    workers: tuple[QueuedJob, ...] = ()
    answered: bool = True
    rate: float = 0.0
    running: bool = False
    error: str = ""

    @property
    def done(self) -> bool:
        """True if nothing is left to compute."""
        return 0 < self.cells == self.cells_done

    @property
    def seconds_left(self) -> float | None:
        """Time left at this rate; None if nothing is running."""
        return seconds_left(self.trials_left, self.rate) if self.running and self.trials_left else None

    def lines(self) -> dict[str, str]:
        """Return the status as texts, by their titles."""
        share = self.trials_done / self.trials if self.trials else 0.0
        store = f"{self.cells_done}/{self.cells} cells, {self.trials_done:,}/{self.trials:,} trials ({share:.0%})"
        lines = {"store": store if self.study else "not there yet: its driver has not started"}
        if self.seconds_left is not None:
            end = datetime.datetime.now() + datetime.timedelta(seconds=self.seconds_left)
            lines["rate"] = f"{format_rate(self.rate)} trials/s, expected to end {end:%Y-%m-%d %H:%M}"
        if self.driver is not None:
            lines["driver"] = f"job {self.driver.id}: {self.driver}" if self.answered else "the queue does not answer"
            if self.answered and self.driver.state == "ended" and not self.done:
                lines["driver"] += "; the study is not done, ntkmc submit goes on"
        if self.workers:
            counts = Counter(map(str, self.workers))
            lines["workers"] = ", ".join(f"{count} {text}" for text, count in counts.most_common())
        if self.error and not self.done:
            lines["error"] = self.error
        return lines


def run_status(store: str | Path | Location) -> RunStatus:
    """Return the status of a store's run.

    Raises
    ------
    InputError
        If there is neither a store nor anything that was submitted for it.
    StoreError
        If the store cannot be read.
    """
    location = Location.of(store)
    workspace = Workspace(location)
    progress, submitted = workspace.read("progress"), workspace.read("drivers")
    if not location.occupied() and not submitted:
        raise InputError(f"{store}: no store, and nothing was submitted for one")
    counted = _counted_patiently(location) if location.occupied() else ("", 0, 0, 0, 0, 0)
    jobs = submitted_jobs(workspace)
    driver, workers = jobs or (QueuedJob("?", "ended"), ())
    now = time.time()
    # A driver that was killed leaves a document that says that it runs.
    fresh = not progress.get("ended", True) and now - progress.get("updated", 0.0) < _STALE
    return RunStatus(
        *counted,
        driver=driver,
        workers=workers,
        answered=jobs is not None,
        rate=RateEstimator(progress.get("samples", [])).rate(now),
        running=fresh and (driver is None or driver.state == "running"),
        error=workspace.last_error() or (progress.get("errors") or [""])[-1],
    )


def scheduler_of(workspace: Workspace) -> Dialect | None:
    """Return the commands of the scheduler to which jobs for the store were submitted; None if there are none."""
    name = workspace.read("drivers").get("queue") or workspace.read("workers").get("queue")
    return DIALECTS.get(str(name))


def submitted_jobs(workspace: Workspace) -> tuple[QueuedJob | None, tuple[QueuedJob, ...]] | None:
    """Return the driver's latest job, if any, and the workers' jobs; None if the queue does not answer."""
    scheduler = scheduler_of(workspace)
    drivers = [str(entry["id"]) for entry in workspace.read("drivers").get("jobs", [])]
    workers = [str(number) for number in workspace.read("workers").get("jobs", [])]
    jobs = scheduler.jobs([*drivers[-1:], *workers]) if scheduler else {}
    if jobs is None:
        return None
    driver = jobs[drivers[-1]] if scheduler and drivers else None
    return driver, tuple(jobs[number] for number in workers if number in jobs and jobs[number].state != "ended")


def _counted_patiently(location: Location) -> tuple[str, int, int, int, int, int]:
    # A driver that resumes rewrites the metadata of the store in its first moments: a reader may meet it halfway.
    for _ in range(_TRIES - 1):
        try:
            return _counted(location)
        except StoreError:
            time.sleep(0.5)
    return _counted(location)


def _counted(location: Location) -> tuple[str, int, int, int, int, int]:
    """Return the first six fields of `RunStatus`, from the store alone, including blocks in the journal."""
    tree = open_results(str(location))
    study = study_of(attributes_without_imports(tree), str(location))
    trials, estimates = tree["trials"].to_dataset(), tree["estimates"].to_dataset()
    span = study.trial_range
    cells_done = trials_done = trials_left = 0
    for cell in study.cells:
        labels = {"distribution": cell.distribution.label, "d": cell.d, "n": cell.n, "depth": list(cell.depths)}
        status = trials["status"].sel(labels).isel(trial=slice(span.start, span.stop))
        done = int((status != 0).all("depth").sum())
        trials_done += done
        precise = False
        if isinstance(study.trials, AdaptiveTrials) and done < len(span):
            intervals = estimates.sel(labels | {"lambda_0": list(study.event.lambda_0)})
            lower, upper = (intervals[f"probability_{end}"].values for end in ("lower", "upper"))
            precise = bool(is_precise(lower, upper, study.trials.half_width).all())
        if done == len(span) or precise:
            cells_done += 1
        else:
            trials_left += len(span) - done
    return study.name, cells_done, len(study.cells), trials_done, len(span) * len(study.cells), trials_left


def cancel(store: str | Path | Location) -> list[str]:
    """Cancel the jobs of the driver and the workers of a store, and return their ids; finished blocks are kept.

    The driver's job is cancelled first, so that it replaces neither workers nor itself.

    Raises
    ------
    InputError
        If nothing was submitted for it, or the queue does not answer.
    """
    workspace = Workspace(store)
    scheduler = scheduler_of(workspace)
    if scheduler is None or not workspace.read("drivers"):
        raise InputError(f"{store}: nothing was submitted for it")
    ended: list[str] = []
    for _ in range(20):
        jobs = submitted_jobs(workspace)
        if jobs is None:
            raise InputError(f"{store}: the queue does not answer; its jobs are in {workspace.root}/drivers.json")
        driver, workers = jobs
        if driver is not None and driver.state != "ended":
            remaining = [driver.id]
        elif workers:
            remaining = [job.id for job in workers]
        else:
            break
        subprocess.run([scheduler.cancel, *remaining], capture_output=True, check=False)
        ended += [number for number in remaining if number not in ended]
        time.sleep(1.0)
    return ended
