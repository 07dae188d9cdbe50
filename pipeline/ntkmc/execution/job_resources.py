"""Resources requested from a batch queue for a study: jobs, workers per job, memory per worker, walltime."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from dask.utils import format_bytes

from ntkmc.errors import InputError
from ntkmc.execution.profile_schema import Limits, Profile
from ntkmc.execution.units import format_duration, parse_duration, parse_size

_GOAL: Final = 1800.0
"""Wall time of a run in seconds for which workers are requested, as far as the limits allow."""

_FILLED: Final = 0.75
"""Fraction of a worker's memory that a trial may fill. A nanny pauses its worker at 0.8 and kills it at 0.95."""

_SAFETY: Final = 3.0
"""Walltime relative to the estimate of the cost model, which is good to a factor of a few."""

_STEP = 256 * 2**20  # bytes; the memory of a worker is a multiple
_STARTUP = 600  # seconds of walltime for starting processes that wait for one another
_QUEUEING = 4 * 3600  # seconds of the driver's walltime for workers that wait in the queue


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
        Worker jobs at a time, and workers in each, with one core and one thread per worker.
    worker_bytes : int
        Memory of a worker.
    walltime : int
        Walltime of a worker job in seconds.
    driver : int
        Walltime of the driver's job in seconds.
    others : int
        Processes besides the workers, one core each: the driver; in an allocation the scheduler too.
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
        """Number of processes in an allocation."""
        return self.workers + self.others

    @property
    def core_hours(self) -> float:
        """Core-hours that are requested; they are used up only if every job runs to its walltime."""
        return (self.jobs * self.workers * self.walltime + self.others * self.driver) / 3600.0

    @property
    def lifetime(self) -> tuple[int, int]:
        """Lifetime of a worker in seconds, and its random variation, so that workers do not all stop at the same time.

        It ends two minutes and twice the longest trial before the walltime, but not before half the walltime.
        """
        stagger = min(self.walltime // 10, 600)
        margin = min(self.walltime // 4, 120) + min(self.walltime // 4, math.ceil(2.0 * self.longest))
        return self.walltime - margin - stagger, stagger


def choose(profile: Profile, needs: Needs) -> Layout:
    """Choose jobs for a study within the limits of a profile; values that the profile fixes are kept.

    Raises
    ------
    InputError
        If an argument of the profile is not a valid number, size or duration.

    Examples
    --------
    >>> queue = Profile(cluster="dask_jobqueue.SLURMCluster", limits=Limits(jobs=8, workers=4))
    >>> hours = choose(queue, Needs(20 * 3600.0, 0.5, 400 * 2**20, 70_000))
    >>> hours.jobs, hours.workers, hours.worker_bytes // 2**20, hours.walltime
    (8, 4, 1024, 7800)
    """
    limits = profile.limits or Limits()
    # At least 1 GiB, four times what an idle worker takes.
    worker_bytes = max(2**30, math.ceil(needs.worker_bytes / _FILLED / _STEP) * _STEP)
    useful = max(1, min(math.ceil(needs.core_seconds / _GOAL), needs.tasks))
    arguments = profile.arguments
    workers = _argument(arguments, "cores", int) or _argument(arguments, "processes", int)
    if workers is None:
        fitting = limits.memory // worker_bytes if limits.memory else limits.workers
        workers = max(1, min(useful, limits.workers, fitting))
    memory = _argument(arguments, "memory", parse_size)
    jobs = 1 if profile.one_job else profile.scaling.jobs or min(limits.jobs, math.ceil(useful / workers))
    estimate = _SAFETY * needs.core_seconds / (jobs * workers) + _STARTUP + 10.0 * needs.trial_seconds
    rounded = max(1800, math.ceil(estimate / 600) * 600)
    walltime = _argument(arguments, "walltime", parse_duration) or min(rounded, limits.walltime)
    submission = profile.submission.arguments if profile.submission else {}
    driver = _argument(submission, "walltime", parse_duration, "submission.arguments")
    # In an allocation, one job has everything. Otherwise the driver outlives the workers, which may queue for long.
    if profile.one_job:
        walltime = driver = driver or walltime
    else:
        driver = driver or min(walltime + _QUEUEING, limits.walltime)
    return Layout(
        jobs=jobs,
        workers=workers,
        worker_bytes=memory // workers if memory else worker_bytes,
        walltime=walltime,
        driver=driver,
        others=2 if profile.one_job else 1,
        longest=needs.trial_seconds,
    )


def check_layout(layout: Layout, profile: Profile, needs: Needs, cell: str) -> None:
    """Raise InputError if the study does not fit into the layout; the message names the setting to change."""
    limits = profile.limits or Limits()
    needed = f"cell {cell} needs {format_bytes(needs.worker_bytes)} per worker"
    if layout.worker_bytes < needs.worker_bytes:
        raise InputError(
            f"{needed}, and the profile gives {format_bytes(layout.worker_bytes)}: raise memory in its arguments, or "
            "lower cores, or n in the study"
        )
    if limits.memory and layout.workers * layout.worker_bytes > limits.memory:
        raise InputError(
            f"{needed}, and limits: memory: grants a job {format_bytes(limits.memory)}: raise it if nodes have more, "
            "or lower n in the study"
        )
    # A worker retires two of the longest trials before its walltime (`Layout.lifetime`); one more must fit before.
    if 3.0 * needs.trial_seconds > layout.walltime:
        raise InputError(
            f"a trial of cell {cell} takes about {format_duration(needs.trial_seconds)}, and a job "
            f"{format_duration(layout.walltime)}: raise limits: walltime: in the profile (and walltime in its "
            "arguments), or lower n in the study"
        )


def fill_placeholders(value: Any, layout: Layout) -> Any:
    """Replace `{workers}`, `{tasks}` and `{memory_mib}` (per worker) in all strings of a profile's value."""
    if isinstance(value, Mapping):
        return {key: fill_placeholders(item, layout) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_placeholders(item, layout) for item in value]
    if isinstance(value, str):
        numbers = {"workers": layout.workers, "tasks": layout.tasks, "memory_mib": layout.worker_bytes // 2**20}
        # Not `str.format`: scripts contain other braces, such as `${TMPDIR:-/tmp}`.
        for name, number in numbers.items():
            value = value.replace(f"{{{name}}}", str(number))
    return value


def _argument(arguments: Mapping[str, Any], name: str, parse: Any, section: str = "arguments") -> int | None:
    value = arguments.get(name)
    if value is None:
        return None
    try:
        return int(parse(value))
    except (ValueError, TypeError) as error:
        raise InputError(f"profile: {section}.{name}: {error}") from None
