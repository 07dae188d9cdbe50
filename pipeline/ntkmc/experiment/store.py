"""The store as its one writer sees it: created, extended, folded into, asked what is missing."""

from __future__ import annotations

import itertools
import os
import shutil
import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.arrays import (
    Coordinates,
    consolidate,
    create_group,
    extend_group,
    open_array,
    quiet_zarr,
    read_whole,
    regrow_group,
    unconsolidate,
    write_descriptions,
)
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.journal import Block, DirectoryBlobs, Journal
from ntkmc.experiment.provenance import provenance
from ntkmc.experiment.schema import AXES, QUANTILES, VARIABLES, VERSION, Variable, trial_variables
from ntkmc.experiment.study import Study, hash_document
from ntkmc.linalg.eigenvalue import Status
from ntkmc.theory.claims import select
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.event import NONDEGENERATE
from ntkmc.theory.claims.statistics import required

Index = tuple[int, int, int]
"""Position of a cell along (distribution, d, n)."""

Region = dict[str, slice]

SOFTWARE: Final = "ntkmc"


class Store:
    """A results store, open for writing. Hold its `Lease` while using it; make one with `Store.prepare`."""

    def __init__(self, path: Path, study: Study, added: tuple[str, ...] = ()) -> None:
        self.path = path
        self.study = study
        self.blobs = DirectoryBlobs(path / "journal")
        self.journal = Journal(self.blobs)
        self.root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
        self.coordinates: Coordinates = recorded_coordinates(self.root)
        self.statistics = recorded_statistics(self.root)
        self.variables = trial_variables(self.statistics)
        self.damaged = 0
        self.added = added
        self.lacking = 0
        self.status = self._verified_status()

    @classmethod
    def create(cls, path: Path, study: Study) -> None:
        """Make a new store for a study, whole or not at all, unless there is one already.

        Raises
        ------
        StoreError
            If `path` is something else than a store of a study with the same identity, or cannot be written.
        """
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            check_identity(path, study)
            return
        aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with quiet_zarr():
                coordinates = _coordinates(study)
                attributes = _attributes(study, [], coordinates, study.statistics)
                root = zarr.open_group(str(aside), mode="w", zarr_format=3, attributes=attributes)
                for group in VARIABLES:
                    create_group(root, group, coordinates, study.trial_range.stop, statistics=study.statistics)
                _describe(root, study, coordinates)
                _plan(root, study, coordinates, coordinates)
            consolidate(aside)
            aside.rename(path)
        except OSError as error:
            if path.is_dir() and any(path.iterdir()):
                check_identity(path, study)  # another run was faster; its store serves as well
                return
            raise StoreError(f"{path}: cannot be written ({error.strerror or error})") from error
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    @classmethod
    def prepare(cls, path: Path, study: Study) -> Store:
        """Open an existing store, extended to the study's grid, with its journal folded and swept."""
        check_identity(path, study)
        if not os.access(path, os.W_OK):
            raise StoreError(f"{path}: cannot be written (permission denied)")
        root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
        history: list[Any] = list(root.attrs.get("history", []))  # type: ignore[arg-type]
        recorded = recorded_coordinates(root)
        coordinates = _union(recorded, _coordinates(study))
        measured = recorded_statistics(root)
        statistics = required([*measured, *study.statistics])
        try:
            extend_group(root, "trials", coordinates, study.trial_range.stop, statistics)
        except (KeyError, FileNotFoundError):
            raise StoreError(f"{path}: the group trials is missing; restore it from a copy") from None
        if coordinates != recorded or statistics != measured:
            # Only now: until here readers were best served by the shapes from before.
            unconsolidate(path)
        for group in ("estimates", "claims"):
            with quiet_zarr():
                try:
                    if coordinates != recorded:
                        regrow_group(root, path, group, recorded, coordinates)
                    else:
                        extend_group(root, group, coordinates)
                except (KeyError, FileNotFoundError, StoreError):  # what is derived can be derived again
                    create_group(root, group, coordinates)
        _describe(root, study, coordinates)
        _plan(root, study, coordinates, recorded)
        # The record comes last, in one atomic write: until then the store is what it was.
        root.attrs.update(_attributes(study, history, coordinates, statistics))
        consolidate(path)
        store = cls(path, study, tuple(name for name in statistics if name not in measured))
        store.blobs.sweep()
        store.damaged += store.journal.drop_damaged()
        store.fold()
        return store

    def index(self, cell: Cell) -> Index:
        """Where a cell stands."""
        return self._place((cell.distribution.label, cell.d, cell.n))

    def _place(self, cell: tuple[str, int, int]) -> Index:
        c = self.coordinates
        return (c["distribution"].index(cell[0]), c["d"].index(cell[1]), c["n"].index(cell[2]))

    def depth_positions(self, depths: Sequence[int]) -> list[int]:
        """Where depths stand along the depth axis."""
        return [self.coordinates["depth"].index(depth) for depth in depths]

    def done(self, cell: Cell) -> NDArray[np.bool_]:
        """(depths of the cell, trials) -> whether that is folded."""
        return np.asarray(self.status[self.index(cell)][self.depth_positions(cell.depths)] != 0)

    def prefix(self, cell: Cell) -> int:
        """Length of the contiguous run of done trials (all depths) from the study's first trial on."""
        return contiguous(np.asarray(self.done(cell).all(axis=0)), self.study.trial_range.start)

    def missing(self, cell: Cell, wanted: range) -> list[tuple[range, tuple[int, ...]]]:
        """Runs of wanted trials that lack some depths, each with the depths that it lacks."""
        lacking = ~self.done(cell)[:, wanted.start : wanted.stop]
        runs: list[tuple[range, tuple[int, ...]]] = []
        start = wanted.start
        for key, members in itertools.groupby(map(tuple, lacking.T.tolist())):
            length = sum(1 for _ in members)
            depths = tuple(depth for depth, lacks in zip(cell.depths, key, strict=True) if lacks)
            if depths:
                runs.append((range(start, start + length), depths))
            start += length
        return runs

    def fold(self) -> list[Block]:
        """Move finished blocks from the journal into zarr; returns them. Safe to repeat after any interruption."""
        blocks = list(self.journal.sound_blocks())
        by_chunk: dict[tuple[int, ...], list[Block]] = defaultdict(list)
        lengths = self._chunk_lengths()
        for block in blocks:
            place = self._place(block.cell)
            corner = tuple(i // lengths[dim] for i, dim in zip(place, ("distribution", "d", "n"), strict=True))
            first, last = block.first, block.first + block.count - 1
            for part in range(first // lengths["trial"], last // lengths["trial"] + 1):
                by_chunk[(*corner, part)].append(block)
        for chunk, members in by_chunk.items():
            self._fold_chunk(chunk, members, lengths)
        for block in blocks:
            self.journal.delete(block)
        return blocks

    def read_cell(self, place: Index, trials: range, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Trial variables of one cell, all or some, over a range of trials, depth axis first where there is one."""
        i, j, k = place
        found: dict[str, NDArray[Any]] = {}
        for name in self.variables if names is None else names:
            selection = (i, j, k, slice(None)) if self.variables[name].per_depth else (i, j, k)
            found[name] = np.asarray(self._array(name)[(*selection, slice(trials.start, trials.stop))])
        return found

    def write_group(self, group: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace whole variables of a derived group."""
        for name, values in arrays.items():
            self._array(name, group)[...] = values

    def _array(self, name: str, group: str = "trials") -> zarr.Array[Any]:
        return open_array(self.root, group, name)

    def _chunk_lengths(self) -> dict[str, int]:
        array = self._array("lambda_min")
        return dict(zip(VARIABLES["trials"]["lambda_min"].dims, array.chunks, strict=True))

    def _regions(self) -> Iterator[Region]:
        """The whole of the trials group, by chunks along all dimensions but depth (per-draw variables have none)."""
        lengths = self._chunk_lengths()
        shape = dict(zip(VARIABLES["trials"]["lambda_min"].dims, self._array("lambda_min").shape, strict=True))
        lengths["depth"] = max(shape["depth"], 1)
        ranges = [range(0, shape[dim], lengths[dim]) for dim in shape]
        for corner in itertools.product(*ranges):
            yield {
                dim: slice(start, min(start + lengths[dim], shape[dim]))
                for dim, start in zip(shape, corner, strict=True)
            }

    def _verified_status(self) -> NDArray[np.int8]:
        """Status of every trial, after reading every chunk: one that is damaged or missing counts as never run."""
        status = np.zeros(self._array("status").shape, dtype=np.int8)
        for region in self._regions():
            selection = _select(VARIABLES["trials"]["status"].dims, region)
            try:
                found = {
                    name: np.asarray(self._array(name)[_select(variable.dims, region)])
                    for name, variable in self.variables.items()
                }
            except (ValueError, OSError, RuntimeError):
                self._reset(region)
                self.damaged += 1
                continue
            here = found["status"]
            lost = _lost(found, self.variables)
            if lost.any():
                here = np.where(lost, 0, here).astype(np.int8)
                self._array("status")[selection] = here
                if self.added:
                    self.lacking += int(lost.any(axis=-2).sum())
                else:
                    self.damaged += 1
            status[selection] = here
        return status

    def _reset(self, region: Region) -> None:
        for name, variable in self.variables.items():
            selection = _select(variable.dims, region)
            shape = tuple(part.stop - part.start for part in selection)
            self._array(name)[selection] = np.full(shape, variable.fill, dtype=variable.dtype)

    def _fold_chunk(self, chunk: tuple[int, ...], blocks: list[Block], lengths: dict[str, int]) -> None:
        shape = dict(zip(VARIABLES["trials"]["status"].dims, self.status.shape, strict=True))
        region: Region = {"depth": slice(0, shape["depth"])}
        for dim, number in zip(("distribution", "d", "n", "trial"), chunk, strict=True):
            start = number * lengths[dim]
            region[dim] = slice(start, min(start + lengths[dim], shape[dim]))
        for name, variable in self.variables.items():
            selection = _select(variable.dims, region)
            content = np.array(self._array(name)[selection])
            for block in blocks:
                if name in block.arrays:  # a block of an earlier study may lack a statistic
                    self._copy(content, block, region, block.arrays[name])
            self._array(name)[selection] = content
            if name == "status":
                self.status[selection] = content

    def _copy(self, content: NDArray[Any], block: Block, region: Region, values: NDArray[Any]) -> None:
        """Copy the part of a block's variable that lies in a region into the region's content."""
        place = zip(self._place(block.cell), ("distribution", "d", "n"), strict=True)
        i, j, k = (at - region[dim].start for at, dim in place)
        start = max(block.first, region["trial"].start)
        stop = min(block.first + block.count, region["trial"].stop)
        inside = slice(start - region["trial"].start, stop - region["trial"].start)
        taken = slice(start - block.first, stop - block.first)
        if values.ndim == 1:
            # A trial that failed has no per-draw values; another depth may have measured them before.
            known = ~np.isnan(values[taken])
            content[i, j, k, inside][known] = values[taken][known]
        else:
            for row, depth in enumerate(self.depth_positions(block.depths)):
                content[i, j, k, depth, inside] = values[row, taken]


def recorded_coordinates(root: zarr.Group) -> Coordinates:
    """The coordinates of a store, by dimension: its record, in the root's attributes, is what counts."""
    record: Any = root.attrs["coordinates"]
    return {dim: list(values) for dim, values in record.items()}


def recorded_statistics(root: zarr.Group) -> tuple[str, ...]:
    """Statistics that a store's trials hold beside lambda_min."""
    record: Any = root.attrs["statistics"]
    return required(record)


def _lost(found: dict[str, NDArray[Any]], variables: dict[str, Variable]) -> NDArray[np.bool_]:
    """Trials that claim a value but lack one: a chunk file that went missing reads as fill values, without error.

    Or a statistic that claims of a later study need: such trials are computed again.
    """
    valued = (found["status"] != 0) & (found["status"] != Status.FAILED.code)
    lost = np.zeros(valued.shape, dtype=bool)
    for name, variable in variables.items():
        if name == "status":
            continue
        absent = np.isnan(found[name])
        if name == "lambda_min":
            absent &= found["status"] != Status.DECIDED.code
        lost |= valued & (absent if variable.per_depth else absent[..., None, :])
    return lost


def contiguous(done: NDArray[np.bool_], start: int) -> int:
    """Number of consecutive True from position `start` on.

    >>> contiguous(np.array([True, True, False, True]), 0)
    2
    """
    tail = done[start:]
    return len(tail) if tail.all() else int(np.argmin(tail))


def check_identity(path: Path, study: Study) -> None:
    """Refuse a store that is not there, not ours, of another schema, or of a study with another identity."""
    attributes = read_attributes(path)
    found = attributes["identity"]
    wanted = study.identity()
    for key, value in wanted.items():
        if found.get(key) != value:
            raise StoreError(
                f"{path}: holds results of another study: {key} is {_short(found.get(key))} there and "
                f"{_short(value)} here; choose another store (--store) for this study"
            )


def read_attributes(path: Path) -> dict[str, Any]:
    """Root attributes of a store, or a `StoreError` that says what the path is instead."""
    if not path.exists():
        raise StoreError(f"{path}: no such store")
    try:
        root = zarr.open_group(str(path), mode="r", use_consolidated=False)
        attributes = dict(root.attrs)
    except Exception:  # whatever is there, it is not one of ours
        attributes = {}
    if attributes.get("software") != SOFTWARE:
        raise StoreError(f"{path}: exists and is not an ntkmc store (it is left untouched)")
    if attributes.get("schema") != VERSION:
        raise StoreError(f"{path}: has store schema {attributes.get('schema')}, this version reads {VERSION}")
    return attributes


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _select(dims: Iterable[str], region: Region) -> tuple[slice, ...]:
    return tuple(region[dim] for dim in dims)


def _attributes(
    study: Study, history: list[Any], coordinates: Coordinates, statistics: tuple[str, ...]
) -> dict[str, Any]:
    entry = {"study": study.digest(), "document": study.document(), "provenance": provenance()}
    return {
        "software": SOFTWARE,
        "schema": VERSION,
        "identity": study.identity(),
        "identity_hash": hash_document(study.identity()),
        "study": study.document(),
        "study_hash": study.digest(),
        "coordinates": coordinates,
        "statistics": list(statistics),
        "history": [*history, entry],
        "provenance": entry["provenance"],
    }


def _coordinates(study: Study) -> Coordinates:
    """Coordinates that a study needs, in its own order."""
    return {
        "distribution": list(dict.fromkeys(cell.distribution.label for cell in study.cells)),
        "d": list(dict.fromkeys(cell.d for cell in study.cells)),
        "n": list(dict.fromkeys(cell.n for cell in study.cells)),
        "depth": sorted({depth for cell in study.cells for depth in cell.depths}),
        "lambda_0": list(study.event.lambda_0),
        "quantile": list(QUANTILES),
        "axis": list(AXES),
        "claim": claim_labels(study),
    }


def claim_labels(study: Study) -> list[str]:
    """Labels of all claim instances that a study asks for."""
    labels = [instance.label for instance in study.instances]
    if NONDEGENERATE in select(study.claims):
        labels += [label(NONDEGENERATE.id, {"lambda_0": value}) for value in study.event.lambda_0]
    return labels


def _union(known: Coordinates, wanted: Coordinates) -> Coordinates:
    return {dim: list(dict.fromkeys([*known[dim], *wanted[dim]])) for dim in wanted}


def _describe(root: zarr.Group, study: Study, coordinates: Coordinates) -> None:
    laws = {cell.distribution.label: cell.distribution for cell in study.cells}
    for group in VARIABLES:
        write_descriptions(root, group, coordinates["distribution"], laws)


def _plan(root: zarr.Group, study: Study, coordinates: Coordinates, recorded: Coordinates) -> None:
    array = open_array(root, "trials", "planned")
    planned = np.zeros(array.shape, dtype=np.int64)
    # Beyond the record there may be plans of an extension that was killed.
    known = tuple(slice(len(recorded[dim])) for dim in ("distribution", "d", "n"))
    planned[known] = read_whole(root, "trials", "planned")[known]
    for cell in study.cells:
        place = (
            coordinates["distribution"].index(cell.distribution.label),
            coordinates["d"].index(cell.d),
            coordinates["n"].index(cell.n),
        )
        planned[place] = max(planned[place], study.trial_range.stop)
    array[...] = planned
