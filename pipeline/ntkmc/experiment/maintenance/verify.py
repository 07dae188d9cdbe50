"""Verify a store: checksums, enclosures, estimates, and a random sample of trials recomputed from their addresses."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import psutil
import zarr
from numpy.typing import NDArray

from ntkmc.errors import NtkmcError, StoreError
from ntkmc.experiment.analysis.update import Derived
from ntkmc.experiment.maintenance.recompute import recomputed
from ntkmc.experiment.schema.groups import dimensions, group_variables, groups_of
from ntkmc.experiment.schema.variables import COORDINATES
from ntkmc.experiment.store.arrays import chunk_lengths, open_array
from ntkmc.experiment.store.journal import Journal
from ntkmc.experiment.store.layout import check_identity, read_attributes, recorded_coordinates, recorded_statistics
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.provenance import bits_of, environment
from ntkmc.experiment.store.reading import as_stored, stored_cells, study_of, translate_store_errors
from ntkmc.experiment.store.store import JOURNAL, Store
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import DRAWS, MeasurementKey
from ntkmc.experiment.study.model import Study
from ntkmc.linalg.cost import trial_bytes
from ntkmc.linalg.eigen import Status
from ntkmc.theory.distributions import Unimported


@dataclass(frozen=True)
class Difference:
    """A trial whose stored values differ from the recomputed ones: cell, number, description, and measurement."""

    cell: str
    trial: int
    what: str
    measurement: MeasurementKey


class SpotCheck:
    """Recomputation of a random sample of finished trials.

    Attributes
    ----------
    count : int
        Number of recomputed trials.
    last_bits : int
        Number of those that differ only by roundings of another processor or BLAS: their enclosures overlap.
    skipped : list of str
        Cells that cannot be recomputed, each with the reason: code of a law that no study provides, or memory.
    """

    def __init__(self, store: Store, study: Study, cells: Mapping[str, Cell]) -> None:
        self.count = 0
        self.last_bits = 0
        self._store = store
        self._study = study
        environments: Any = store.root.attrs.get("environments", {})
        # Equal bits are required only if everything that can change a bit is the same as in the run.
        self._exact = all(bits_of(document) == bits_of(environment()) for document in environments.values())
        known = {cell.name: cell.distribution for cell in study.cells}
        laws = {law.label: law for law in known.values() if not isinstance(law, Unimported)}
        self._cells = []
        self.skipped = []
        for name, cell in cells.items():
            law = laws.get(cell.distribution.label, cell.distribution)
            needed = trial_bytes(cell.n, cell.d, cell.depths)
            if isinstance(law, Unimported):
                self.skipped.append(f"{name} (its law is code beside a study: --study FILE)")
            elif needed > psutil.virtual_memory().available:  # the matrix was distributed over several workers
                self.skipped.append(f"{name} (it needs {needed / 2**30:.1f} GiB of memory)")
            else:
                self._cells.append(Cell(law, cell.d, cell.n, cell.depths))

    def sample(self, number: int, seed: int) -> list[Difference]:
        """Recompute `number` finished trials, drawn uniformly, and return the differences."""
        measured = [(cell, measurement) for cell in self._cells for measurement in self._store.measurements]
        done = [np.flatnonzero((self._store.statuses(*pair) != 0).any(axis=0)) for pair in measured]
        # Uniform over trials: a cell is drawn in proportion to the trials that it has.
        weights = np.array([len(trials) for trials in done], dtype=np.float64)
        if not weights.sum():
            return []
        rng = np.random.default_rng(seed)
        differences = []
        for at in rng.choice(len(measured), size=number, p=weights / weights.sum()):
            cell, measurement = measured[at]
            trial = int(rng.choice(done[at]))
            self.count += 1
            description = self._compare(cell, measurement, trial)
            if description:
                differences.append(Difference(cell.name, trial, description, measurement))
        return differences

    def _compare(self, cell: Cell, measurement: MeasurementKey, trial: int) -> str:
        """Describe the difference of a trial; empty if there is none."""
        group = self._store.group(measurement)
        depths_here = self._store.coordinates["depth"]
        status = self._store.statuses(cell, measurement)
        depths = tuple(sorted(depths_here[row] for row in range(len(depths_here)) if status[row, trial]))
        try:
            arrays = recomputed(self._study, self._store.statistics, cell, depths, trial, measurement)
        except NtkmcError as error:
            return f"cannot be computed again ({error})"
        index = group.index((cell.distribution.label, cell.d, cell.n), measurement)
        stored = group.read(index, range(trial, trial + 1))
        rows = self._store.depth_positions(depths)
        differ = []
        for name, variable in group.variables.items():
            there = stored[name][rows] if variable.per_depth else stored[name]
            here = arrays[name]
            if not np.array_equal(here, there, equal_nan=name != "status"):
                differ.append(name)
        if not differ:
            return ""
        # Only for plain draws: roundings of a network's kernel are not bounded, so enclosures may be disjoint there.
        apart = measurement.is_draws and bool(
            np.any(
                (arrays["lambda_min_lower"] > stored["lambda_min_upper"][rows])
                | (arrays["lambda_min_upper"] < stored["lambda_min_lower"][rows])
            )
        )
        # On another processor only a disjoint enclosure, or a large difference, is a defect.
        if not (self._exact or apart or _far(arrays, stored, rows, measurement)):
            self.last_bits += 1
            return ""
        return f"computed again it differs in {', '.join(differ[:4])}{' ...' if len(differ) > 4 else ''}"


def _far(
    arrays: Mapping[str, NDArray[Any]],
    stored: Mapping[str, NDArray[Any]],
    rows: list[int],
    measurement: MeasurementKey,
) -> bool:
    """Return whether a statistic without enclosure differs by more than roundings of another processor explain."""
    for name, here in arrays.items():
        if name == "status" or (
            measurement.is_draws and name in ("lambda_min", "lambda_min_lower", "lambda_min_upper")
        ):
            continue
        there = stored[name][rows] if here.ndim > 1 else stored[name]
        if np.isinf(there).any():  # a distributed matrix leaves this end unknown
            continue
        # 1e-6 is far above the roundings of any statistic, and far below its variation between trials.
        close = 1e-6 * (1.0 + np.nanmax(np.abs(here), initial=0.0))
        if not np.allclose(here, there, rtol=1e-6, atol=close, equal_nan=True):
            return True
    return False


SAMPLE: Final = 20
"""Default number of trials to recompute."""


@dataclass(frozen=True)
class Finding:
    """A defect of a store.

    Attributes
    ----------
    where : str
        A chunk, a block of the journal, or a cell with its trial.
    what : str
        Description of the defect.
    cell : str
        Name of the cell whose trials are wrong, if the trials can be read; else empty.
    trials : tuple of int, or None
        Numbers of the wrong trials; None for all trials of the cell, if a sampled one is wrong.
    measurement : MeasurementKey
        What the trials measured.
    """

    where: str
    what: str
    cell: str = ""
    trials: tuple[int, ...] | None = ()
    measurement: MeasurementKey = DRAWS


@dataclass(frozen=True)
class Report:
    """Result of a verification.

    Attributes
    ----------
    chunks, blocks, trials : int
        Numbers of chunks read, of journal blocks read, and of finished trials (over all depths) that were checked.
    recomputed : int
        Number of recomputed trials.
    last_bits : int
        Number of those whose last bits differ but whose enclosures overlap, as for another processor or BLAS.
    skipped : tuple of str
        Cells of which no trial could be recomputed, each with the reason.
    findings : tuple of Finding
        Defects.
    """

    chunks: int
    blocks: int
    trials: int
    recomputed: int
    last_bits: int
    skipped: tuple[str, ...]
    findings: tuple[Finding, ...]


def verify(store: str | Path, *, sample: int = SAMPLE, seed: int = 0, study: Study | None = None) -> Report:
    """Read and check all of a store, without changing it.

    Parameters
    ----------
    store : str or Path
    sample : int
        Number of trials to recompute, drawn uniformly from the finished ones.
    seed : int
        Seed of that draw.
    study : Study, optional
        Study that provides the code of the user's own laws, which is never imported from a store.

    Returns
    -------
    Report

    Raises
    ------
    StoreError
        If there is no such store, or its metadata cannot be read.
    """
    with translate_store_errors(store):
        return _verify(Location.of(store), sample, seed, study)


def _verify(location: Location, sample: int, seed: int, study: Study | None) -> Report:
    attributes = read_attributes(location)
    if study is not None:
        check_identity(location, study)
    own_study = as_stored(study, attributes) if study else study_of(attributes, str(location))
    root = location.open("r")
    findings: list[Finding] = []
    chunks = 0
    for name, region in _chunks(root, findings):
        chunks += 1
        try:
            _ = open_array(root, *name)[region]
        except (ValueError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:120]
            what = "its checksum does not match" if "checksum" in reason else f"cannot be read ({reason})"
            findings.append(Finding(f"{name[0]}/{name[1]}{_shown(region)}", what))
    findings += _coordinates(root)
    journal = Journal(location.blobs(JOURNAL))
    blocks = journal.names()
    findings += _journal(journal, blocks)
    if any(
        " metadata" in difference.what for difference in findings
    ):  # without metadata the arrays cannot be interpreted
        return Report(chunks, len(blocks), 0, 0, 0, (), tuple(findings))
    # Opening reads every status, with the checksums of the chunks.
    opened = _Comparing(location, own_study)
    if opened.damaged and not findings:
        findings.append(Finding("trials", "some that are marked as finished have no value"))
    cells = {cell.name: cell for cell in (*stored_cells(attributes, str(location)), *(study.cells if study else ()))}
    trials = 0
    for cell in cells.values():
        for measurement in opened.measurements:
            number, wrong = _enclosures(opened, cell, measurement)
            trials += number
            findings += wrong
    if not findings and not blocks:  # estimates of a damaged store, or before a fold, differ in any case
        findings += _estimates(opened, own_study)
    check = SpotCheck(opened, own_study, cells)
    for difference in check.sample(sample, seed):
        where = f"{difference.cell}{difference.measurement.label}, trial {difference.trial}"
        findings.append(Finding(where, difference.what, difference.cell, None, difference.measurement))
    return Report(chunks, len(blocks), trials, check.count, check.last_bits, tuple(check.skipped), tuple(findings))


def mark_not_run(store: Store, report: Report) -> None:
    """Reset the trials of all findings, so that the next run recomputes them.

    Damaged chunks and journal blocks are not handled here: `Store.prepare` has reset them.
    """
    cells = {cell.name: cell for cell in stored_cells(dict(store.root.attrs), str(store.location))}
    for finding in report.findings:
        if finding.cell:
            store.mark_not_run(cells[finding.cell], finding.trials, finding.measurement)


class _Comparing(Store):
    """A read-only store that compares instead of writing."""

    def __init__(self, location: Location, study: Study) -> None:
        super().__init__(location, study, writing=False)
        self.different: list[str] = []

    def write_group(self, group: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Record the differences between the stored arrays and those to be written."""
        for name, values in arrays.items():
            stored = np.asarray(open_array(self.root, group, name)[...])
            same = (stored == values) | ((stored != stored) & (values != values))
            if not same.all():
                self.different.append(f"{group}/{name} at {int(np.sum(~same))} places")


def _chunks(root: zarr.Group, findings: list[Finding]) -> Iterator[tuple[tuple[str, str], tuple[slice, ...]]]:
    """Iterate over every chunk (or shard) of every array that a store of this schema has."""
    statistics = recorded_statistics(root)
    for group in groups_of(recorded_coordinates(root)):
        names = [*group_variables(group, statistics)]
        names += [name for name, variable in COORDINATES.items() if variable.dims[0] in dimensions(group)]
        for name in names:
            try:
                array = open_array(root, group, name)
            except (KeyError, OSError, StoreError):
                if group != "blocks" or group in root:  # older stores have no such group
                    findings.append(Finding(f"{group}/{name}", "is missing, or its metadata are damaged"))
                continue
            ranges = [range(0, size, length) for size, length in zip(array.shape, chunk_lengths(array), strict=True)]
            for corner in itertools.product(*ranges):
                yield (
                    (group, name),
                    tuple(
                        slice(start, min(start + length, size))
                        for start, length, size in zip(corner, chunk_lengths(array), array.shape, strict=True)
                    ),
                )


def _shown(region: tuple[slice, ...]) -> str:
    return "[" + ", ".join(f"{bounds.start}:{bounds.stop}" for bounds in region) + "]"


def _coordinates(root: zarr.Group) -> list[Finding]:
    """Compare the coordinates of each group with the record in the root's attributes."""
    findings = []
    record = recorded_coordinates(root)
    for group in groups_of(record):
        for dim in dimensions(group):
            try:
                values = np.asarray(open_array(root, group, dim)[...]).tolist()
            except (KeyError, ValueError, OSError, RuntimeError, StoreError):
                continue  # reported by the loop over chunks
            if values != record[dim]:
                findings.append(Finding(f"{group}/{dim}", "is not what the store's record says"))
    return findings


def _journal(journal: Journal, names: list[str]) -> list[Finding]:
    findings = []
    for name in names:
        try:
            journal.read(name)
        except FileNotFoundError:
            continue
        except StoreError as error:
            findings.append(Finding(f"journal/{name}", str(error).removeprefix("journal: ")))
    return findings


def _enclosures(store: Store, cell: Cell, measurement: MeasurementKey) -> tuple[int, list[Finding]]:
    """Check lower <= value <= upper and the status of all trials; return the number of finished ones and findings."""
    group = store.group(measurement)
    index = group.index((cell.distribution.label, cell.d, cell.n), measurement)
    status = group.statuses(index)
    enclosed = ("lambda_min",) if measurement.is_draws else measurement.axis.enclosed
    alone = [name for name in enclosed if name in group.variables]  # the value is stored in addition to its two ends
    names = (*alone, *(f"{name}_{end}" for name in enclosed for end in ("lower", "upper")))
    try:
        values = group.read(index, range(status.shape[1]), names)
    except (ValueError, OSError, RuntimeError):
        return 0, []  # reported by the loop over chunks
    decided = status == Status.DECIDED.code
    valued = (status != 0) & (status != Status.FAILED.code)
    wrong = (status < 0) | (status > len(Status))
    for name in enclosed:
        lower, upper = (values[f"{name}_{end}"] for end in ("lower", "upper"))
        # Written so that NaN counts as wrong: a comparison with it is false.
        wrong |= valued & ~((lower <= upper) & np.isfinite(lower) & np.isfinite(upper))
    for name in alone:
        value, lower, upper = (values[f"{name}{end}"] for end in ("", "_lower", "_upper"))
        wrong |= valued & ~decided & ~((lower <= value) & (value <= upper))
    findings = []
    named = f"{cell.name}{measurement.label}"
    for trial in np.flatnonzero(wrong.any(axis=0))[:3]:
        findings.append(
            Finding(f"{named}, trial {trial}", f"lower <= {(alone or ['value'])[0]} <= upper does not hold")
        )
    if wrong.any():
        trials = tuple(np.flatnonzero(wrong.any(axis=0)).tolist())
        findings[0] = Finding(
            findings[0].where, f"{findings[0].what} ({len(trials)} such trials)", cell.name, trials, measurement
        )
    return int(np.count_nonzero(status)), findings


def _estimates(store: _Comparing, study: Study) -> list[Finding]:
    """Check that the estimates and verdicts of the last study follow from the trials."""
    if any(isinstance(cell.distribution, Unimported) for cell in study.cells):
        return []  # verdicts depend on the hypotheses of a law, which only its code states
    # The same code as in a run, on a store that compares instead of writing.
    derived = Derived(store)
    derived.refresh(study.cells)
    derived.finish()
    derived.write()
    return [Finding(place, "does not follow from the trials") for place in store.different]
