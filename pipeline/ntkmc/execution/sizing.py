"""From what a study needs to what is asked of a queue: jobs, workers a job, memory a worker, walltime."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

from ntkmc.errors import InputError
from ntkmc.execution.profile_schema import Limits, Profile, number_of_bytes, seconds

_GOAL: Final = 1800.0
"""Seconds that a run should take: workers are asked for until it does, or the limits are reached."""

_FILLED: Final = 0.75
"""Share of a worker's memory that a trial may fill: a nanny pauses its worker at 0.8 and ends it at 0.95."""

_UNSURE: Final = 3.0
"""Walltime in units of the cost model's estimate, which is good to a factor of a few."""

_STEP = 256 * 2**20
_START = 600  # seconds of walltime for starting up and waiting for one another
_QUEUEING = 4 * 3600  # seconds that a driver grants its workers to come through the queue


@dataclass(frozen=True)
class Needs:
    """Cost of a study: seconds on one core in total and of its longest trial, bytes per worker, and tasks."""

    core_seconds: float
    trial_seconds: float
    worker_bytes: int
    tasks: int


@dataclass(frozen=True)
class Layout:
    """Jobs and resources that are requested from a queue.

    Attributes
    ----------
    jobs, workers : int
        Worker jobs at a time, and workers in each, one core and one thread a worker.
    worker_bytes : int
        Memory of a worker.
    walltime : int
        Seconds that a worker job is granted.
    driver : int
        Seconds that the driver's job is granted.
    others : int
        Processes beside the workers, one core each: the driver; in an allocation the scheduler too.
    longest : float
        Seconds of the longest trial.
    """

    jobs: int
    workers: int
    worker_bytes: int
    walltime: int
    driver: int
    others: int
    longest: float

    @property
    def tasks(self) -> int:
        """Processes in an allocation."""
        return self.workers + self.others

    @property
    def core_hours(self) -> float:
        """Core-hours that are asked for, used up only if every walltime is."""
        return (self.jobs * self.workers * self.walltime + self.others * self.driver) / 3600.0

    @property
    def lifetime(self) -> tuple[int, int]:
        """Seconds after which a worker retires, and how much they vary (either way), so that not all go at once.

        Two of the longest trials and two minutes before the walltime, where that leaves at least half of it.
        """
        stagger = min(self.walltime // 10, 600)
        margin = min(self.walltime // 4, 120) + min(self.walltime // 4, math.ceil(2.0 * self.longest))
        return self.walltime - margin - stagger, stagger


def choose(profile: Profile, needs: Needs) -> Layout:
    """Jobs for a study within a profile's limits; what the profile fixes stays as it says.

    Raises
    ------
    InputError
        If an argument is neither a number nor a size nor a duration.

    Examples
    --------
    >>> queue = Profile(cluster="dask_jobqueue.SLURMCluster", limits=Limits(jobs=8, workers=4))
    >>> hours = choose(queue, Needs(20 * 3600.0, 0.5, 400 * 2**20, 70_000))
    >>> hours.jobs, hours.workers, hours.worker_bytes // 2**20, hours.walltime
    (8, 4, 1024, 7800)
    """
    limits = profile.limits or Limits()
    bytes_each = max(2**30, math.ceil(needs.worker_bytes / _FILLED / _STEP) * _STEP)
    wanted = max(1, min(math.ceil(needs.core_seconds / _GOAL), needs.tasks))
    workers = _given(profile, "cores", int) or _given(profile, "processes", int)
    if workers is None:
        fitting = limits.memory // bytes_each if limits.memory else limits.workers
        workers = max(1, min(wanted, limits.workers, fitting))
    memory = _given(profile, "memory", number_of_bytes)
    jobs = 1 if profile.one_job else profile.scaling.jobs or min(limits.jobs, math.ceil(wanted / workers))
    estimate = _UNSURE * needs.core_seconds / (jobs * workers) + _START + 10.0 * needs.trial_seconds
    rounded = max(1800, math.ceil(estimate / 600) * 600)
    asked = dict(profile.submission.arguments) if profile.submission else {}
    walltime = _given(profile, "walltime", seconds) or min(rounded, limits.walltime)
    if profile.one_job:
        walltime = driver = seconds(asked["walltime"]) if asked.get("walltime") else walltime
    else:
        driver = seconds(asked["walltime"]) if asked.get("walltime") else min(walltime + _QUEUEING, limits.walltime)
    return Layout(
        jobs=jobs,
        workers=workers,
        worker_bytes=memory // workers if memory else bytes_each,
        walltime=walltime,
        driver=driver,
        others=2 if profile.one_job else 1,
        longest=needs.trial_seconds,
    )


def check_layout(layout: Layout, profile: Profile, needs: Needs, cell: str) -> None:
    """Refuse what the limits cannot hold (`InputError`), with the number to change."""
    limits = profile.limits or Limits()
    if layout.worker_bytes < needs.worker_bytes:
        raise InputError(
            f"cell {cell} needs {needs.worker_bytes / 2**30:.1f} GiB a worker, and the profile gives "
            f"{layout.worker_bytes / 2**30:.1f} GiB: raise memory in its arguments, or lower cores, or n in the study"
        )
    if limits.memory and layout.workers * layout.worker_bytes > limits.memory:
        raise InputError(
            f"cell {cell} needs {needs.worker_bytes / 2**30:.1f} GiB a worker, and limits: memory: grants a job "
            f"{limits.memory / 2**30:.1f} GiB: raise it if nodes have more, or lower n in the study"
        )
    if 3.0 * needs.trial_seconds > layout.walltime:
        raise InputError(
            f"a trial of cell {cell} takes about {needs.trial_seconds / 60:.0f} min, and a job "
            f"{layout.walltime / 60:.0f} min: raise limits: walltime: in the profile (and walltime in its arguments), "
            "or lower n in the study"
        )


def _given(profile: Profile, name: str, read: Any) -> int | None:
    value = profile.arguments.get(name)
    if value is None:
        return None
    try:
        return int(read(value))
    except (ValueError, TypeError) as error:
        raise InputError(f"profile: arguments.{name}: {error}") from None
