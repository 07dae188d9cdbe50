"""The store as its one writer sees it: folded into, and asked what is missing."""

from __future__ import annotations

import itertools
import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Final, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.arrays import Coordinates, check_declared, chunk_lengths, open_array
from ntkmc.experiment.blocklog import BlockLog
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.creating import grow, recorded_coordinates, recorded_statistics, sweep
from ntkmc.experiment.journal import Block, Journal
from ntkmc.experiment.location import Location
from ntkmc.experiment.schema import VARIABLES, trial_variables
from ntkmc.experiment.study import Study
from ntkmc.linalg.eigenvalue import Status

Index = tuple[int, int, int]
"""Position of a cell along (distribution, d, n)."""

Region = dict[str, slice]

JOURNAL: Final = "journal"
"""Folder of the journal in a store."""

T = TypeVar("T")

_REQUESTS: Final = 16
"""Variables that are read from, or written to, an object store at once."""

_AT_ONCE: Final = 512
_BYTES_AT_ONCE: Final = 8 * 2**20
"""Blocks, and bytes of their arrays, that a fold holds in memory: a driver that lags behind has many to fold."""


class Store:
    """A results store, open for writing. Hold its `Lease` while using it; make one with `Store.prepare`.

    With `writing=False` it only looks: a damaged chunk counts as never run here, too, but stays as it is.
    """

    def __init__(self, location: Location, study: Study, added: tuple[str, ...] = (), *, writing: bool = True) -> None:
        self.location = location
        self.study = study
        self.writing = writing
        self.journal = Journal(location.blobs(JOURNAL))
        self.root = location.open("r+" if writing else "r")
        self.coordinates: Coordinates = recorded_coordinates(self.root)
        self.statistics = recorded_statistics(self.root)
        self.variables = trial_variables(self.statistics)
        self._arrays: dict[tuple[str, str], zarr.Array[Any]] = {}
        shape = {dim: len(values) for dim, values in self.coordinates.items()}
        shape["trial"] = self._array("status").shape[-1]
        for name, variable in self.variables.items():
            check_declared(self._array(name), variable, shape)
        self.damaged = 0
        self.added = added
        self.lacking = 0
        self.status = self._verified_status()
        self._log: BlockLog | None = None

    @classmethod
    def prepare(cls, location: Location, study: Study) -> Store:
        """Open an existing store, extended to the study's grid, with its journal folded and swept."""
        if not location.remote and not os.access(location.path, os.W_OK):
            raise StoreError(f"{location}: cannot be written (permission denied)")
        sweep(location)
        store = cls(location, study, grow(location, study))
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
        """Move finished blocks from the journal into zarr; returns them, without their arrays.

        Safe to repeat after any interruption.
        """
        folded: list[Block] = []
        waiting: list[Block] = []
        held = 0
        for block in self.journal.sound_blocks(self.journal.names()):
            waiting.append(block)
            held += sum(values.nbytes for values in block.arrays.values())
            if held >= _BYTES_AT_ONCE or len(waiting) == _AT_ONCE:
                self._fold(waiting)
                folded += [replace(each, arrays={}) for each in waiting]
                waiting, held = [], 0
        if waiting:
            self._fold(waiting)
        return folded + [replace(each, arrays={}) for each in waiting]

    def _fold(self, blocks: list[Block]) -> None:
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
        if self._log is None:
            self._log = BlockLog(self.location, self.root)
        self._log.enter(blocks)
        for block in blocks:
            self.journal.delete(block)

    def read_cell(self, place: Index, trials: range, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Trial variables of one cell, all or some, over a range of trials, depth axis first where there is one."""
        i, j, k = place

        def read(name: str) -> NDArray[Any]:
            selection = (i, j, k, slice(None)) if self.variables[name].per_depth else (i, j, k)
            return np.asarray(self._array(name)[(*selection, slice(trials.start, trials.stop))])

        chosen = list(self.variables) if names is None else list(names)
        return dict(zip(chosen, self._each(read, chosen), strict=True))

    def forget(self, place: Index, trials: Sequence[int] | None = None) -> None:
        """Let trials of a cell, or all of them, count as never run."""
        chosen = slice(None) if trials is None else np.asarray(trials)
        self.status[place][:, chosen] = 0
        i, j, k = place
        self._array("status")[i, j, k] = self.status[place]

    def write_group(self, group: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace whole variables of a derived group."""

        def write(name: str) -> None:
            self._array(name, group)[...] = arrays[name]

        self._each(write, arrays)

    def _each(self, work: Callable[[str], T], names: Iterable[str]) -> list[T]:
        """Do something for each variable; at an object store, whose answers take long, for many at once."""
        if not self.location.remote:
            return [work(name) for name in names]
        with ThreadPoolExecutor(_REQUESTS) as pool:
            return list(pool.map(work, names))

    def _array(self, name: str, group: str = "trials") -> zarr.Array[Any]:
        """A variable; its shape stays what it is while the store is open."""
        if (group, name) not in self._arrays:
            self._arrays[group, name] = open_array(self.root, group, name)
        return self._arrays[group, name]

    def _chunk_lengths(self) -> dict[str, int]:
        return dict(zip(VARIABLES["trials"]["lambda_min"].dims, chunk_lengths(self._array("lambda_min")), strict=True))

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
                here, lost = self._read_status(region)
            except (ValueError, OSError, RuntimeError):
                if self.writing:
                    self._reset(region)
                self.damaged += 1
                continue
            if lost.any():
                here = np.where(lost, 0, here).astype(np.int8)
                if self.writing:
                    self._array("status")[selection] = here
                if self.added:
                    self.lacking += int(lost.any(axis=-2).sum())
                else:
                    self.damaged += 1
            status[selection] = here
        return status

    def _read_status(self, region: Region) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Status of the trials in a region, and which of them claim a value but lack one.

        A chunk file that went missing reads as fill values, without error. Or a trial lacks a statistic that claims
        of a later study need. One variable at a time: chunks may be large.
        """
        status = np.asarray(self._array("status")[_select(VARIABLES["trials"]["status"].dims, region)])
        valued = (status != 0) & (status != Status.FAILED.code)

        def lacking(name: str) -> NDArray[np.bool_]:
            variable = self.variables[name]
            absent = np.isnan(self._array(name)[_select(variable.dims, region)])
            if name == "lambda_min":
                absent &= status != Status.DECIDED.code
            return absent if variable.per_depth else absent[..., None, :]

        lost = np.zeros(status.shape, dtype=bool)
        names = [name for name in self.variables if name != "status"]
        for start in range(0, len(names), _REQUESTS):
            for absent in self._each(lacking, names[start : start + _REQUESTS]):
                lost |= valued & absent
        return status, lost

    def _reset(self, region: Region) -> None:
        def reset(name: str) -> None:
            variable = self.variables[name]
            selection = _select(variable.dims, region)
            shape = tuple(part.stop - part.start for part in selection)
            self._array(name)[selection] = np.full(shape, variable.fill, dtype=variable.dtype)

        self._each(reset, self.variables)

    def _fold_chunk(self, chunk: tuple[int, ...], blocks: list[Block], lengths: dict[str, int]) -> None:
        shape = dict(zip(VARIABLES["trials"]["status"].dims, self.status.shape, strict=True))
        region: Region = {"depth": slice(0, shape["depth"])}
        for dim, number in zip(("distribution", "d", "n", "trial"), chunk, strict=True):
            start = number * lengths[dim]
            region[dim] = slice(start, min(start + lengths[dim], shape[dim]))

        def fold(name: str) -> None:
            selection = _select(self.variables[name].dims, region)
            content = np.array(self._array(name)[selection])
            for block in blocks:
                if name in block.arrays:  # a block of an earlier study may lack a statistic
                    self._copy(content, block, region, block.arrays[name])
            self._array(name)[selection] = content
            if name == "status":
                self.status[selection] = content

        self._each(fold, [name for name in self.variables if name != "status"])
        fold("status")  # last: a trial counts as done by it

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


def contiguous(done: NDArray[np.bool_], start: int) -> int:
    """Number of consecutive True from position `start` on.

    >>> contiguous(np.array([True, True, False, True]), 0)
    2
    """
    tail = done[start:]
    return len(tail) if tail.all() else int(np.argmin(tail))


def _select(dims: Iterable[str], region: Region) -> tuple[slice, ...]:
    return tuple(region[dim] for dim in dims)
