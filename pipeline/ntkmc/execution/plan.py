"""Predicted cost of a study: tasks, core-hours, memory, disk, files, and jobs of a batch queue."""

from __future__ import annotations

import math
import tempfile
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from dask.utils import format_bytes

from ntkmc.errors import InputError, NtkmcError, StoreError
from ntkmc.execution.cluster import IDLE_WORKER_BYTES, needed_bytes, needed_seconds, usable_bytes
from ntkmc.execution.job_resources import Layout, Needs, check_layout, choose
from ntkmc.execution.profile_schema import Profile
from ntkmc.execution.profiles import available_cpus
from ntkmc.execution.trial_blocks import BLOCK_SECONDS
from ntkmc.execution.units import parse_size
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
    """Predictions for a cell whose matrices fit on no worker and are distributed over all workers.

    Attributes
    ----------
    cell : Cell
    workers : int
    tile_bytes : int
        Size of the tiles of each worker. Tiles that do not fit into its memory are on its disk.
    least_bytes : int
        Memory of a worker without tiles.
    moved_bytes : int
        Bytes that each worker receives per trial.
    seconds : float
        Wall time of a trial, a rough estimate.
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
        Number of cells, of trials at most, and of blocks of about a second, roughly.
    core_hours : float
        Good to a factor of a few.
    worker_bytes, disk_bytes : int
        Peak memory of a worker including its idle memory; size of the store before compression.
    files : int
        Number of files in the finished store, at most.
    largest : Cell
        The cell that needs the most memory.
    workers : int
        Worker threads of the profile.
    thresholds : int
        Number of thresholds of a study that only decides events, otherwise 0.
    eigenvalues : float
        Eigenvalue problems per trial of the most expensive cell that claims need in addition to lambda_min.
    costly : tuple of str
        The claims that need them.
    study : Study
    needs : Needs
        Cost for the choice of jobs.
    layout : Layout or None
        Jobs that are requested from the profile's queue; None without a queue.
    blocked : tuple of Blocked
        Cells whose matrices are distributed over the workers.
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
    """Predict the cost of a study with a profile; nothing is measured or started."""
    trials = len(study.trial_range)
    thresholds = len(study.event.lambda_0) if study.measure == "event" else 0
    memory = {cell: needed_bytes(study, cell) for cell in study.cells}
    core_seconds = {cell: needed_seconds(study, cell) for cell in study.cells}
    room, sharers = _worker_memory(profile)
    # As the driver decides: a matrix is blocked over all workers if no worker can hold it.
    blocked = [_blocked(cell, sharers, room) for cell in study.cells if 0 < room < memory[cell]]
    for large in blocked:
        memory[large.cell] = large.least_bytes
        core_seconds[large.cell] = large.seconds * sharers
    additional = {
        (cell, measurement): needed_seconds(study, cell, measurement)
        for cell in study.cells
        for measurement in study.additional_measurements
    }
    for cell, measurement in additional:
        memory[cell] = max(memory[cell], needed_bytes(study, cell, measurement))
    totals = [trials * seconds for seconds in (*core_seconds.values(), *additional.values())]
    largest = max(study.cells, key=memory.__getitem__)
    tasks = sum(min(trials, max(1, round(seconds / BLOCK_SECONDS))) for seconds in totals)
    wall_seconds = core_seconds | {large.cell: large.seconds for large in blocked}
    longest = max([*wall_seconds.values(), *additional.values()])
    needs = Needs(sum(totals), longest, memory[largest], tasks)
    layout = choose(profile, needs) if profile.batch else None
    # In a batch queue, the layout decides; elsewhere the profile, or the CPUs of this machine.
    workers = layout.jobs * layout.workers if layout else profile.arguments.get("n_workers") or available_cpus()
    threads = profile.arguments.get("threads_per_worker") or 1
    return Plan(
        cells=len(study.cells),
        trials=trials * len(study.cells),
        tasks=tasks,
        core_hours=needs.core_seconds / 3600.0,
        worker_bytes=needs.worker_bytes,
        disk_bytes=sum(trials * _trial_bytes_on_disk(study, len(cell.depths)) for cell in study.cells),
        files=_files(study),
        largest=largest,
        workers=int(workers) * int(threads),
        thresholds=thresholds,
        eigenvalues=max(eigenvalue_problems(_claim_statistics(study), cell.depths) for cell in study.cells),
        costly=tuple(claim.id for claim in select(study.claims, study.kernel) if is_costly(claim)),
        study=study,
        needs=needs,
        layout=layout,
        blocked=tuple(blocked),
    )


def _claim_statistics(study: Study) -> list[str]:
    return [name for name in study.statistics if name not in SPECTRUM]


def _worker_memory(profile: Profile) -> tuple[int, int]:
    """Return the bytes that a worker of a profile can use, 0 if unknown, and the number of workers."""
    memory = psutil.virtual_memory().total
    if profile.batch and profile.limits:
        cores = profile.arguments.get("cores") or profile.limits.workers
        granted = profile.arguments.get("memory") or profile.limits.memory
        jobs = 1 if profile.one_job else profile.scaling.jobs or profile.limits.jobs
        return (usable_bytes(parse_size(granted) // int(cores)) if granted else 0), jobs * int(cores)
    if profile.joins:
        return 0, 1
    workers = int(profile.arguments.get("n_workers") or available_cpus())
    limit = profile.arguments.get("memory_limit")
    return usable_bytes(parse_size(limit) if limit not in (None, "auto", 0) else memory // workers), workers


def _blocked(cell: Cell, workers: int, room: int) -> Blocked:
    block = _block_length(cell.n, workers, room)
    return Blocked(
        cell,
        workers,
        tile_bytes(cell.n, workers),
        IDLE_WORKER_BYTES + blocked_bytes(cell.n, cell.d, block),
        blocked_traffic(cell.n, cell.d, cell.depths, workers),
        blocked_seconds(cell.n, cell.d, cell.depths, workers),
    )


def _block_length(n: int, workers: int, room: int) -> int:
    """Return the number of rows of a block row, for workers that can use `room` bytes each."""
    return block_length(n, workers, max(1, room - IDLE_WORKER_BYTES - COMPILED_BYTES))


def check_plan(plan: Plan, profile: Profile | None = None) -> None:
    """Raise InputError if the study does not fit on this machine or into the queue.

    The message names the number to change.
    """
    if profile and plan.layout:
        check_layout(plan.layout, profile, plan.needs, plan.largest.name)
    # The memory of nodes of a queue, and of a running scheduler's machines, is not this machine's.
    if profile and (plan.layout or profile.joins):
        return
    # Without a profile that says otherwise, workers share this machine's memory equally.
    memory = psutil.virtual_memory().total
    room = memory // max(plan.workers, 1)
    if plan.worker_bytes > room:
        cell = plan.largest
        raise InputError(
            f"cell {cell.name} needs {format_bytes(plan.worker_bytes)} per worker even if its matrix is blocked, and "
            f"{plan.workers} workers leave {format_bytes(room)} each of {format_bytes(memory)}: lower n below "
            f"{_largest_n_in_memory(cell, room, plan)}, or use fewer workers (n_workers in the profile)"
        )
    folder = tempfile.gettempdir()
    disk = psutil.disk_usage(folder).free
    for large in plan.blocked:
        in_memory = large.workers * (room - large.least_bytes)
        on_disk = large.workers * large.tile_bytes - in_memory
        if on_disk > disk:
            raise InputError(
                f"cell {large.cell.name} needs {format_bytes(on_disk)} of disk for tiles beyond memory, and {folder} "
                f"has {format_bytes(disk)}: lower n below {_largest_n_in_tiles(disk + in_memory)}, or set TMPDIR and "
                "local_directory to a larger disk"
            )


def check_store(location: Location) -> None:
    """Raise StoreError if a store cannot be written at the location."""
    if location.remote:
        _probe_remote(location)
        return
    path = existing = location.path
    while not existing.exists():
        existing = existing.parent
    folder = existing if existing.is_dir() else existing.parent
    try:
        probe = folder / f".{path.name}.{uuid.uuid4().hex}.probe"  # unique: all processes of an allocation check
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error


def _probe_remote(location: Location) -> None:
    try:
        location.blobs().put(".probe", b"")
        location.blobs().delete(".probe")
    except NtkmcError:
        raise
    except Exception as error:  # errors of botocore share no base class with those of other clients
        raise StoreError(f"{location}: cannot be written ({' '.join(str(error).split())[:200]})") from error


def _trial_bytes_on_disk(study: Study, depths: int) -> int:
    def size(variables: Mapping[str, Variable], coordinates: Mapping[str, tuple[Any, ...]]) -> int:
        total = 0
        for variable in variables.values():
            values = math.prod(len(coordinates[dim]) for dim in variable.trailing_dims)
            total += np.dtype(variable.dtype).itemsize * (depths if variable.per_depth else 1) * values
        return total

    axes = (measurement.axis for measurement in study.additional_measurements)
    additional = sum(size(axis.trials.variables, axis.extra_coordinates) for axis in axes)
    return size(trial_variables(study.statistics), {}) + additional


def _largest_n_in_tiles(size: int) -> int:
    """Return about the largest n whose tiles take at most `size` bytes in total."""
    # Starting from 8 n**2 bytes, two lower triangles, which ignores that tiles are rounded up to whole block rows.
    n = int((max(size, 0) / 8.0) ** 0.5) + 1
    while n > 1 and tile_bytes(n, 1) > size:
        n = int(n * 0.98)
    return n


def _largest_n_in_memory(cell: Cell, room: int, plan: Plan) -> int:
    """Return about the largest n with which the cell's trials fit into workers of `room` bytes."""
    n = cell.n

    def needed(n: int) -> int:
        dense = trial_bytes(n, cell.d, cell.depths, thresholds=plan.thresholds, eigenproblems=plan.eigenvalues)
        matrix = min(dense, blocked_bytes(n, cell.d, _block_length(n, plan.workers, room)))
        smaller = Cell(cell.distribution, cell.d, n, cell.depths)
        additional = plan.study.additional_measurements
        return max([matrix, *(COST[group].memory(plan.study, smaller, value) for group, value in additional)])

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
    # Per variable the chunks and one file of metadata; 120 for coordinates and the variables of the derived groups.
    files = len(trial_variables(study.statistics)) * (_chunks(shape) + 1) + 120
    for group, values in values_by_group(study.additional_measurements).items():
        axis = MEASUREMENTS[group]
        extra = {dim: len(coordinates) for dim, coordinates in axis.extra_coordinates.items()}
        extended = shape | {axis.dim: len(values)} | extra
        files += len(axis.trials.variables) * (_chunks(extended) + 1) + 2 * len(axis.estimates.variables) + 20
    return files


def _chunks(shape: dict[str, int]) -> int:
    chunk = trial_chunk(shape)
    chunks = 1
    for dim, length in shape.items():
        chunks *= -(-length // chunk[dim])
    return chunks
