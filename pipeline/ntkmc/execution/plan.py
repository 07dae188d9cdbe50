"""Predicted cost of a study, before anything is run."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil

from ntkmc.errors import InputError, NtkmcError, StoreError
from ntkmc.execution.cluster import IDLE_WORKER_BYTES, needed_bytes, needed_seconds, usable_bytes
from ntkmc.execution.profile_schema import Profile, number_of_bytes
from ntkmc.execution.profiles import available_cpus
from ntkmc.execution.sizing import Layout, Needs, check_layout, choose
from ntkmc.execution.work_queue import BLOCK_SECONDS
from ntkmc.experiment.schema import Variable, trial_variables
from ntkmc.experiment.store import Location
from ntkmc.experiment.store.arrays import trial_chunk
from ntkmc.experiment.study import MEASUREMENTS, Cell, Study
from ntkmc.experiment.study.measurements import values_by_group
from ntkmc.experiment.trial import COST
from ntkmc.linalg.blocked import blocked_bytes, blocked_seconds, blocked_traffic
from ntkmc.linalg.blocked.cost import COMPILED_BYTES, block_length, tile_bytes
from ntkmc.linalg.cost import trial_bytes
from ntkmc.theory.claims import is_costly, select
from ntkmc.theory.claims.trial_statistics import SPECTRUM, eigenvalue_problems


@dataclass(frozen=True)
class Blocked:
    """A cell whose matrices no worker can hold: all of them hold one together.

    Attributes
    ----------
    cell : Cell
    workers : int
    tile_bytes : int
        Tiles of each worker, in its memory or, beyond what it may use, on its disk.
    least_bytes : int
        Memory that a worker needs beside them.
    moved_bytes : int
        What each worker receives in a trial.
    seconds : float
        Wall time of a trial, rough.
    """

    cell: Cell
    workers: int
    tile_bytes: int
    least_bytes: int
    moved_bytes: int
    seconds: float


@dataclass(frozen=True)
class Plan:
    """Predictions for a study.

    Attributes
    ----------
    cells, trials, tasks : int
        Cells; trials at most; blocks of about a second, roughly.
    core_hours : float
        Rough, good to a factor of a few.
    worker_bytes, disk_bytes : int
        Peak memory of a worker, idle part included; disk before compression.
    files : int
        Files in the finished store, at most.
    largest : Cell
        The cell that needs most memory.
    workers : int
        Worker threads of the profile.
    thresholds : int
        Thresholds of a study that decides events alone, otherwise 0.
    eigenvalues : float
        Eigenvalue problems in the costliest cell's trial that claims need beside lambda_min itself.
    costly : tuple of str
        The claims that need them.
    study : Study
    needs : Needs
        The same in the terms of a queue.
    layout : Layout or None
        What is asked of the profile's queue; None where there is none.
    blocked : tuple of Blocked
        Cells whose matrices are blocked over the workers.
    """

    cells: int
    trials: int
    tasks: int
    core_hours: float
    worker_bytes: int
    disk_bytes: int
    files: int
    largest: Cell
    workers: int
    thresholds: int
    eigenvalues: float
    costly: tuple[str, ...]
    study: Study
    needs: Needs
    layout: Layout | None
    blocked: tuple[Blocked, ...] = ()


def make_plan(study: Study, profile: Profile) -> Plan:
    """Predict from the study and the profile alone; nothing is measured and nothing is started."""
    per_cell = len(study.trial_range)
    thresholds = len(study.event.lambda_0) if study.measure == "event" else 0
    needs = {cell: needed_bytes(study, cell) for cell in study.cells}
    each = {cell: needed_seconds(study, cell) for cell in study.cells}
    room, together = _room(profile)
    blocked = [_blocked(cell, together, room) for cell in study.cells if 0 < room < needs[cell]]
    for large in blocked:
        needs[large.cell] = large.least_bytes
        each[large.cell] = large.seconds * together
    additional = {
        (cell, measurement): needed_seconds(study, cell, measurement)
        for cell in study.cells
        for measurement in study.additional_measurements
    }
    for cell, measurement in additional:
        needs[cell] = max(needs[cell], needed_bytes(study, cell, measurement))
    seconds = [per_cell * one for one in (*each.values(), *additional.values())]
    largest = max(study.cells, key=needs.__getitem__)
    tasks = sum(min(per_cell, max(1, round(each / BLOCK_SECONDS))) for each in seconds)
    walls = each | {large.cell: large.seconds for large in blocked}
    longest = max([*walls.values(), *additional.values()])
    wanted = Needs(sum(seconds), longest, needs[largest], tasks)
    layout = choose(profile, wanted) if profile.batch else None
    workers = layout.jobs * layout.workers if layout else profile.arguments.get("n_workers") or available_cpus()
    threads = profile.arguments.get("threads_per_worker") or 1
    return Plan(
        cells=len(study.cells),
        trials=per_cell * len(study.cells),
        tasks=tasks,
        core_hours=sum(seconds) / 3600.0,
        worker_bytes=wanted.worker_bytes,
        disk_bytes=sum(per_cell * _trial_bytes_on_disk(study, len(cell.depths)) for cell in study.cells),
        files=_files(study),
        largest=largest,
        workers=int(workers) * int(threads),
        thresholds=thresholds,
        eigenvalues=max(eigenvalue_problems(_of_claims(study), cell.depths) for cell in study.cells),
        costly=tuple(claim.id for claim in select(study.claims, study.kernel) if is_costly(claim)),
        study=study,
        needs=wanted,
        layout=layout,
        blocked=tuple(blocked),
    )


def _of_claims(study: Study) -> list[str]:
    return [name for name in study.statistics if name not in SPECTRUM]


def _room(profile: Profile) -> tuple[int, int]:
    """Bytes that a worker of a profile can use, 0 where that is not known beforehand, and the number of workers."""
    memory = psutil.virtual_memory().total
    if profile.batch and profile.limits:
        cores = profile.arguments.get("cores") or profile.limits.workers
        given = profile.arguments.get("memory") or profile.limits.memory
        jobs = 1 if profile.one_job else profile.scaling.jobs or profile.limits.jobs
        return (usable_bytes(number_of_bytes(given) // int(cores)) if given else 0), jobs * int(cores)
    if profile.joins:
        return 0, 1
    workers = int(profile.arguments.get("n_workers") or available_cpus())
    limit = profile.arguments.get("memory_limit")
    return usable_bytes(number_of_bytes(limit) if limit not in (None, "auto", 0) else memory // workers), workers


def _blocked(cell: Cell, workers: int, room: int) -> Blocked:
    block = _length(cell.n, workers, room)
    return Blocked(
        cell,
        workers,
        tile_bytes(cell.n, workers),
        IDLE_WORKER_BYTES + blocked_bytes(cell.n, cell.d, block),
        blocked_traffic(cell.n, cell.d, cell.depths, workers),
        blocked_seconds(cell.n, cell.d, cell.depths, workers),
    )


def _length(n: int, workers: int, room: int) -> int:
    """Rows of a block row, for workers that can use so many bytes in all."""
    return block_length(n, workers, max(1, room - IDLE_WORKER_BYTES - COMPILED_BYTES))


def check_plan(plan: Plan, profile: Profile | None = None) -> None:
    """Refuse a study that cannot fit on this machine or into the queue, with the number to change (`InputError`)."""
    if profile and plan.layout:
        check_layout(plan.layout, profile, plan.needs, plan.largest.name)
    if profile and (plan.layout or profile.joins):
        return
    memory = psutil.virtual_memory().total
    room = memory // max(plan.workers, 1)
    if plan.worker_bytes > room:
        cell = plan.largest
        raise InputError(
            f"cell {cell.name} needs {plan.worker_bytes / 2**30:.1f} GiB a worker even if its matrix is blocked, and "
            f"{plan.workers} workers leave {room / 2**30:.1f} GiB each of {memory / 2**30:.1f} GiB: lower n below "
            f"{_fitting(cell, room, plan)}, or use fewer workers (n_workers in the profile)"
        )
    place = tempfile.gettempdir()
    disk = psutil.disk_usage(place).free
    for large in plan.blocked:
        held = large.workers * (room - large.least_bytes)
        lacking = large.workers * large.tile_bytes - held
        if lacking > disk:
            raise InputError(
                f"cell {large.cell.name} needs {lacking / 2**30:.1f} GiB of disk for tiles beyond memory, "
                f"and {place} has {disk / 2**30:.1f} GiB: lower n below {_holding(disk + held)}, or set TMPDIR and "
                "local_directory to a larger disk"
            )


def check_store(location: Location) -> None:
    """Refuse a place where no store can be written (`StoreError`), before anything is computed."""
    if location.remote:
        _probe_remote(location)
        return
    home = path = location.path
    while not home.exists():
        home = home.parent
    probe = home if home.is_dir() else home.parent
    try:
        test = probe / f".{path.name}.{uuid.uuid4().hex}.probe"  # processes of an allocation try together
        test.touch()
        test.unlink()
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error


def _probe_remote(location: Location) -> None:
    try:
        location.blobs().put(".probe", b"")
        location.blobs().delete(".probe")
    except NtkmcError:
        raise
    except Exception as error:  # botocore's errors share no class with anybody else's
        raise StoreError(f"{location}: cannot be written ({' '.join(str(error).split())[:200]})") from error


def _trial_bytes_on_disk(study: Study, depths: int) -> int:
    def size(variables: Mapping[str, Variable], extra: Mapping[str, tuple[Any, ...]]) -> int:
        total = 0
        for one in variables.values():
            trailing = math.prod(len(extra[dim]) for dim in one.trailing_dims)
            total += np.dtype(one.dtype).itemsize * (depths if one.per_depth else 1) * trailing
        return total

    axes = (measurement.axis for measurement in study.additional_measurements)
    additional = sum(size(axis.trials.variables, axis.extra_coordinates) for axis in axes)
    return size(trial_variables(study.statistics), {}) + additional


def _holding(size: int) -> int:
    """The n whose tiles take so many bytes in all."""
    n = int((max(size, 0) / 8.0) ** 0.5) + 1
    while n > 1 and tile_bytes(n, 1) > size:
        n = int(n * 0.98)
    return n


def _fitting(cell: Cell, room: int, plan: Plan) -> int:
    n = cell.n

    def needed(n: int) -> int:
        whole = trial_bytes(n, cell.d, cell.depths, thresholds=plan.thresholds, eigenproblems=plan.eigenvalues)
        limit = min(whole, blocked_bytes(n, cell.d, _length(n, plan.workers, room)))
        smaller = Cell(cell.distribution, cell.d, n, cell.depths)
        additional = plan.study.additional_measurements
        return max([limit, *(COST[group].memory(plan.study, smaller, value) for group, value in additional)])

    while n > 1 and IDLE_WORKER_BYTES + needed(n) > room:
        n = int(n * 0.95)
    return n


def _files(study: Study) -> int:
    shape = {
        "distribution": len({cell.distribution.label for cell in study.cells}),
        "d": len({cell.d for cell in study.cells}),
        "n": len({cell.n for cell in study.cells}),
        "depth": len({depth for cell in study.cells for depth in cell.depths}),
        "trial": study.trial_range.stop,
    }
    # Metadata, coordinates, and one chunk for each variable of the derived groups.
    files = len(trial_variables(study.statistics)) * (_chunks(shape) + 1) + 120
    for group, values in values_by_group(study.additional_measurements).items():
        axis = MEASUREMENTS[group]
        extra = {dim: len(coordinates) for dim, coordinates in axis.extra_coordinates.items()}
        longer = shape | {axis.dim: len(values)} | extra
        files += len(axis.trials.variables) * (_chunks(longer) + 1) + 2 * len(axis.estimates.variables) + 20
    return files


def _chunks(shape: dict[str, int]) -> int:
    chunk = trial_chunk(shape)
    chunks = 1
    for dim, length in shape.items():
        chunks *= -(-length // chunk[dim])
    return chunks
