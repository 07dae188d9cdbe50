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
    read_coordinates,
    read_whole,
    write_descriptions,
)
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.journal import Block, DirectoryBlobs, Journal
from ntkmc.experiment.provenance import provenance
from ntkmc.experiment.schema import QUANTILES, VARIABLES, VERSION, dimensions
from ntkmc.experiment.study import Study, hash_document
from ntkmc.theory.claims import instances
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.event import NONDEGENERATE

Index = tuple[int, int, int]
"""Position of a cell along (distribution, d, n)."""

Region = dict[str, slice]

SOFTWARE: Final = "ntkmc"


class Store:
    """A results store, open for writing. Hold its `Lease` while using it; make one with `Store.prepare`."""

    def __init__(self, path: Path, study: Study) -> None:
        self.path = path
        self.study = study
        self.blobs = DirectoryBlobs(path / "journal")
        self.journal = Journal(self.blobs)
        self.root = zarr.open_group(str(path), mode="r+", use_consolidated=False)
        self.coordinates = read_coordinates(self.root, "trials")
        self.damaged = 0
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
                root = zarr.open_group(str(aside), mode="w", zarr_format=3, attributes=_attributes(study, []))
                for group, coordinates in _coordinates(study).items():
                    create_group(root, group, coordinates, study.trial_range.stop)
                _describe(root, study)
                _plan(root, study)
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
        history = list(root.attrs.get("history", []))  # type: ignore[arg-type]
        for group, wanted in _coordinates(study).items():
            extend_group(root, group, _union(read_coordinates(root, group), wanted), study.trial_range.stop)
        _describe(root, study)
        _plan(root, study)
        root.attrs.update(_attributes(study, history))
        consolidate(path)
        store = cls(path, study)
        store.blobs.sweep()
        store.damaged += store.journal.drop_damaged()
        store.fold()
        return store

    def index(self, cell: Cell) -> Index:
        """Where a cell stands."""
        c = self.coordinates
        return (c["distribution"].index(cell.distribution.label), c["d"].index(cell.d), c["n"].index(cell.n))

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
        folders = {cell.folder: cell for cell in self.study.cells}
        blocks = [block for block in self.journal.sound_blocks() if block.folder in folders]
        by_chunk: dict[tuple[int, ...], list[Block]] = defaultdict(list)
        lengths = self._chunk_lengths()
        for block in blocks:
            place = self.index(folders[block.folder])
            corner = tuple(i // lengths[dim] for i, dim in zip(place, ("distribution", "d", "n"), strict=True))
            first, last = block.first, block.first + block.count - 1
            for part in range(first // lengths["trial"], last // lengths["trial"] + 1):
                by_chunk[(*corner, part)].append(block)
        for chunk, members in by_chunk.items():
            self._fold_chunk(chunk, members, folders, lengths)
        for block in blocks:
            self.journal.delete(block)
        return blocks

    def read_cell(self, place: Index, trials: range) -> dict[str, NDArray[Any]]:
        """All trial variables of one cell over a range of trials, depth axis first where there is one."""
        i, j, k = place
        found: dict[str, NDArray[Any]] = {}
        for variable in VARIABLES["trials"].values():
            if "trial" in variable.dims:
                selection = (i, j, k, slice(None)) if "depth" in variable.dims else (i, j, k)
                found[variable.name] = np.asarray(
                    self._array(variable.name)[(*selection, slice(trials.start, trials.stop))]
                )
        return found

    def write_group(self, group: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace whole variables of a derived group."""
        for name, values in arrays.items():
            self._array(name, group)[...] = values

    def planned_cells(self) -> list[Index]:
        """Cells of this and all earlier studies in the store."""
        planned = np.asarray(self._array("planned")[...])
        return [(int(i), int(j), int(k)) for i, j, k in np.argwhere(planned > 0)]

    def _array(self, name: str, group: str = "trials") -> zarr.Array[Any]:
        return open_array(self.root, group, name)

    def _chunk_lengths(self) -> dict[str, int]:
        array = self._array("lambda_min")
        return dict(zip(VARIABLES["trials"]["lambda_min"].dims, array.chunks, strict=True))

    def _regions(self) -> Iterator[Region]:
        """Chunk by chunk, the whole of the trials group."""
        lengths = self._chunk_lengths()
        shape = dict(zip(VARIABLES["trials"]["lambda_min"].dims, self._array("lambda_min").shape, strict=True))
        ranges = [range(0, shape[dim], lengths[dim]) for dim in shape]
        for corner in itertools.product(*ranges):
            yield {
                dim: slice(start, min(start + lengths[dim], shape[dim]))
                for dim, start in zip(shape, corner, strict=True)
            }

    def _verified_status(self) -> NDArray[np.int8]:
        """Status of every trial, after reading every chunk: one that is damaged counts as never run."""
        status = np.zeros(self._array("status").shape, dtype=np.int8)
        for region in self._regions():
            try:
                for name, variable in VARIABLES["trials"].items():
                    if "trial" in variable.dims:
                        content = self._array(name)[_select(variable.dims, region)]
            except (ValueError, OSError, RuntimeError):
                self._reset(region)
                self.damaged += 1
                continue
            status[_select(VARIABLES["trials"]["status"].dims, region)] = np.asarray(content)  # status is read last
        return status

    def _reset(self, region: Region) -> None:
        for name, variable in VARIABLES["trials"].items():
            if "trial" in variable.dims:
                selection = _select(variable.dims, region)
                shape = tuple(part.stop - part.start for part in selection)
                self._array(name)[selection] = np.full(shape, variable.fill, dtype=variable.dtype)

    def _fold_chunk(
        self, chunk: tuple[int, ...], blocks: list[Block], folders: dict[str, Cell], lengths: dict[str, int]
    ) -> None:
        shape = dict(zip(VARIABLES["trials"]["status"].dims, self.status.shape, strict=True))
        region: Region = {"depth": slice(0, shape["depth"])}
        for dim, number in zip(("distribution", "d", "n", "trial"), chunk, strict=True):
            start = number * lengths[dim]
            region[dim] = slice(start, min(start + lengths[dim], shape[dim]))
        for name, variable in VARIABLES["trials"].items():
            if "trial" not in variable.dims:
                continue
            selection = _select(variable.dims, region)
            content = np.array(self._array(name)[selection])
            for block in blocks:
                self._place(content, block, folders[block.folder], region, block.arrays[name])
            self._array(name)[selection] = content
            if name == "status":
                self.status[selection] = content

    def _place(self, content: NDArray[Any], block: Block, cell: Cell, region: Region, values: NDArray[Any]) -> None:
        """Copy the part of a block's variable that lies in a region into the region's content."""
        i, j, k = (
            at - region[dim].start for at, dim in zip(self.index(cell), ("distribution", "d", "n"), strict=True)
        )
        start = max(block.first, region["trial"].start)
        stop = min(block.first + block.count, region["trial"].stop)
        inside = slice(start - region["trial"].start, stop - region["trial"].start)
        taken = slice(start - block.first, stop - block.first)
        if values.ndim == 1:
            content[i, j, k, inside] = values[taken]
        else:
            for row, depth in enumerate(self.depth_positions(block.depths)):
                content[i, j, k, depth, inside] = values[row, taken]


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
        raise StoreError(f"{path}: exists and is not an ntkmc store; choose another place (it is left untouched)")
    if attributes.get("schema") != VERSION:
        raise StoreError(f"{path}: has store schema {attributes.get('schema')}, this version reads {VERSION}")
    return attributes


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _select(dims: Iterable[str], region: Region) -> tuple[slice, ...]:
    return tuple(region[dim] for dim in dims)


def _attributes(study: Study, history: list[Any]) -> dict[str, Any]:
    entry = {"study": study.digest(), "document": study.document(), "provenance": provenance()}
    return {
        "software": SOFTWARE,
        "schema": VERSION,
        "identity": study.identity(),
        "identity_hash": hash_document(study.identity()),
        "study": study.document(),
        "study_hash": study.digest(),
        "history": [*history, entry],
        "provenance": entry["provenance"],
    }


def _coordinates(study: Study) -> dict[str, Coordinates]:
    """Coordinates that a study needs, in its own order, by group."""
    values: Coordinates = {
        "distribution": list(dict.fromkeys(cell.distribution.label for cell in study.cells)),
        "d": list(dict.fromkeys(cell.d for cell in study.cells)),
        "n": list(dict.fromkeys(cell.n for cell in study.cells)),
        "depth": sorted({depth for cell in study.cells for depth in cell.depths}),
        "lambda_0": list(study.event.lambda_0),
        "quantile": list(QUANTILES),
        "claim": claim_labels(study),
    }
    return {group: {dim: values[dim] for dim in dimensions(group)} for group in VARIABLES}


def claim_labels(study: Study) -> list[str]:
    """Labels of all claim instances that a study asks for."""
    ids = None if study.claims == "all" else study.claims
    labels = [instance.label for instance in instances(ids)]
    if ids is None or NONDEGENERATE.id in ids:
        labels += [label(NONDEGENERATE.id, {"lambda_0": value}) for value in study.event.lambda_0]
    return labels


def _union(known: Coordinates, wanted: Coordinates) -> Coordinates:
    return {dim: list(dict.fromkeys([*known[dim], *wanted[dim]])) for dim in wanted}


def _describe(root: zarr.Group, study: Study) -> None:
    laws = {cell.distribution.label: cell.distribution for cell in study.cells}
    for group in VARIABLES:
        write_descriptions(root, group, laws)


def _plan(root: zarr.Group, study: Study) -> None:
    coordinates = read_coordinates(root, "trials")
    planned = read_whole(root, "trials", "planned").copy()
    for cell in study.cells:
        place = (
            coordinates["distribution"].index(cell.distribution.label),
            coordinates["d"].index(cell.d),
            coordinates["n"].index(cell.n),
        )
        planned[place] = max(planned[place], study.trial_range.stop)
    open_array(root, "trials", "planned")[...] = planned
