"""Groups with one value per trial: verify them, fold blocks into them, and read the trials of one cell.

The trials of a cell are read one variable at a time, because a cell may have a million trials.
"""

from __future__ import annotations

import itertools
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from ntkmc.experiment.store.arrays import Coordinates, check_declared, chunk_lengths, open_array
from ntkmc.experiment.store.journal import Block
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.study.measurements import DRAWS, MeasurementKey
from ntkmc.experiment.study.variables import Variable
from ntkmc.linalg.eigen import Status

CellIndex = tuple[int, ...]
"""Position of a cell along (distribution, d, n), and along the additional axis of a group, if it has one."""

Region = dict[str, slice]

T = TypeVar("T")

REQUESTS: Final = 16
"""Number of variables that are read from, or written to, an object store concurrently."""


class TrialGroup:
    """Variables of a group with one value per trial; the status of every trial is held in memory.

    Parameters
    ----------
    variables : mapping of str to Variable
        Among them `status`, with all the group's dimensions; some may lack depth.
    incomplete : bool
        Whether trials may lack variables that were not part of the study when they ran.
    """

    def __init__(
        self,
        location: Location,
        root: zarr.Group,
        variables: Mapping[str, Variable],
        coordinates: Coordinates,
        *,
        writing: bool,
        incomplete: bool = False,
    ) -> None:
        self._location = location
        self._root = root
        self._coordinates = coordinates
        self._writing = writing
        self._incomplete = incomplete
        self._arrays: dict[str, zarr.Array[Any]] = {}
        self.variables = dict(variables)
        self.dims = self.variables["status"].dims
        self.axes = tuple(dim for dim in self.dims if dim not in ("depth", "trial"))
        # The trial dimension has no coordinate: the array of the status says how many there are.
        shape = {dim: len(values) for dim, values in coordinates.items()}
        shape["trial"] = self.array("status").shape[-1]
        for name, variable in self.variables.items():
            check_declared(self.array(name), variable, shape)
        self.damaged = 0
        self.lacking = 0
        self.status = self._verified_status()

    def index(self, cell: tuple[str, int, int], measurement: MeasurementKey = DRAWS) -> CellIndex:
        """Return the position of a measurement of a cell in the arrays of the group."""
        values = dict(zip(("distribution", "d", "n"), cell, strict=True)) | measurement.coordinates
        return tuple(self._coordinates[dim].index(values[dim]) for dim in self.axes)

    def statuses(self, index: CellIndex) -> NDArray[np.int8]:
        """Return the status of the trials of a cell, (depths, trials)."""
        return np.asarray(self.status[self._at(index)])

    def read(self, index: CellIndex, trials: range, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Read variables of one cell over a range of trials: all or those named; a depth axis comes first."""

        def read(name: str) -> NDArray[Any]:
            selection = self._at(index) if self.variables[name].per_depth else index
            return np.asarray(self.array(name)[(*selection, slice(trials.start, trials.stop))])

        chosen = list(self.variables) if names is None else list(names)
        return dict(zip(chosen, self.for_each(read, chosen), strict=True))

    def mark_not_run(self, index: CellIndex, trials: Sequence[int] | None = None) -> None:
        """Reset the status of some or all trials of a cell, so that they count as never run."""
        chosen = slice(None) if trials is None else np.asarray(trials)
        at = self._at(index)
        self.status[at][:, chosen] = 0
        self.array("status")[at] = self.status[at]

    def fold(self, blocks: Iterable[Block]) -> None:
        """Write blocks into zarr, chunk by chunk."""
        # Collect the blocks per chunk, so that each chunk is read and written once.
        by_chunk: dict[tuple[int, ...], list[Block]] = defaultdict(list)
        lengths = self._chunk_lengths()
        for block in blocks:
            index = self.index(block.cell, block.measurement)
            corner = tuple(i // lengths[dim] for i, dim in zip(index, self.axes, strict=True))
            first, last = block.first, block.first + block.count - 1
            for number in range(first // lengths["trial"], last // lengths["trial"] + 1):
                by_chunk[(*corner, number)].append(block)
        for chunk, members in by_chunk.items():
            self._fold_chunk(chunk, members, lengths)

    def for_each(self, work: Callable[[str], T], names: Iterable[str]) -> list[T]:
        """Call a function for each variable; concurrently on an object store, whose latency is high."""
        if not self._location.remote:
            return [work(name) for name in names]
        # Threads suffice: they wait for the network most of the time.
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(work, names))

    def array(self, name: str) -> zarr.Array[Any]:
        """Open the array of a variable and keep it: its shape does not change while the store is open."""
        if name not in self._arrays:
            self._arrays[name] = open_array(self._root, self.variables[name].group, name)
        return self._arrays[name]

    def _at(self, index: CellIndex) -> tuple[Any, ...]:
        """Return an index that selects all depths and trials of a cell; trailing axes are omitted."""
        positions: dict[str, Any] = dict(zip(self.axes, index, strict=True))
        return tuple(positions.get(dim, slice(None)) for dim in self.dims[:-1])

    def _chunk_lengths(self) -> dict[str, int]:
        return dict(zip(self.dims, chunk_lengths(self.array("status")), strict=True))

    def _regions(self) -> Iterator[Region]:
        """Iterate over the group by chunks; depth is not split, as per-draw variables have no depth axis."""
        lengths = self._chunk_lengths()
        shape = dict(zip(self.dims, self.array("status").shape, strict=True))
        lengths["depth"] = max(shape["depth"], 1)
        ranges = [range(0, shape[dim], lengths[dim]) for dim in shape]
        for corner in itertools.product(*ranges):
            yield {
                dim: slice(start, min(start + lengths[dim], shape[dim]))
                for dim, start in zip(shape, corner, strict=True)
            }

    def _verified_status(self) -> NDArray[np.int8]:
        """Return the status of every trial after reading all chunks; damaged or missing chunks count as never run."""
        status = np.zeros(self.array("status").shape, dtype=np.int8)
        for region in self._regions():
            selection = _select(self.dims, region)
            try:
                # Every chunk is read once, when the store is opened: its checksum is verified, and its status is kept.
                here, lost = self._read_status(region)
            except (ValueError, OSError, RuntimeError):
                if self._writing:
                    self._reset(region)
                self.damaged += 1
                continue
            if lost.any():
                here = np.where(lost, 0, here).astype(np.int8)
                if self._writing:
                    self.array("status")[selection] = here
                if self._incomplete:
                    self.lacking += int(lost.any(axis=self.dims.index("depth")).sum())
                else:
                    self.damaged += 1
            status[selection] = here
        return status

    def _read_status(self, region: Region) -> tuple[NDArray[np.int8], NDArray[np.bool_]]:
        """Return the status of the trials in a region, and a mask of those whose status requires a missing value.

        A chunk file that is missing reads as fill values, without an error. A trial may also lack a statistic that the
        claims of a later study need. Variables are read a few at a time, because chunks may be large.
        """
        status = np.asarray(self.array("status")[_select(self.dims, region)])
        valued = (status != 0) & (status != Status.FAILED.code)

        def lacking(name: str) -> NDArray[np.bool_]:
            variable = self.variables[name]
            absent = np.isnan(self.array(name)[_select(variable.dims, region)])
            if variable.trailing_dims:
                absent = absent.reshape(*status.shape, -1)[..., 0]  # a curve is absent if its first value is
            # A trial whose event was decided by a bound has no lambda_min.
            if name == "lambda_min":
                absent &= status != Status.DECIDED.code
            return absent if variable.per_depth else absent[..., None, :]

        lost = np.zeros(status.shape, dtype=bool)
        names = [name for name in self.variables if name != "status"]
        for start in range(0, len(names), REQUESTS):
            for absent in self.for_each(lacking, names[start : start + REQUESTS]):
                lost |= valued & absent
        return status, lost

    def _reset(self, region: Region) -> None:
        def reset(name: str) -> None:
            variable = self.variables[name]
            selection = _select(variable.dims, region)
            lengths = dict(zip(variable.dims, self.array(name).shape, strict=True))
            shape = tuple(
                len(range(*bounds.indices(lengths[dim]))) for dim, bounds in zip(variable.dims, selection, strict=True)
            )
            self.array(name)[selection] = np.full(shape, variable.fill, dtype=variable.dtype)

        self.for_each(reset, self.variables)

    def _fold_chunk(self, chunk: tuple[int, ...], blocks: list[Block], lengths: dict[str, int]) -> None:
        shape = dict(zip(self.dims, self.status.shape, strict=True))
        region: Region = {"depth": slice(0, shape["depth"])}
        for dim, number in zip((*self.axes, "trial"), chunk, strict=True):
            start = number * lengths[dim]
            region[dim] = slice(start, min(start + lengths[dim], shape[dim]))

        def fold(name: str) -> None:
            selection = _select(self.variables[name].dims, region)
            # Read, change, write a whole chunk: zarr cannot write a part of one.
            content = np.array(self.array(name)[selection])
            for block in blocks:
                if name in block.arrays:  # a block of an earlier study may lack a statistic
                    self._copy(content, block, region, block.arrays[name])
            self.array(name)[selection] = content
            if name == "status":
                self.status[selection] = content

        self.for_each(fold, [name for name in self.variables if name != "status"])
        fold("status")  # last: the status marks a trial as done

    def _copy(self, content: NDArray[Any], block: Block, region: Region, values: NDArray[Any]) -> None:
        """Copy the part of a block's variable that lies in a region into the region's content."""
        index = self.index(block.cell, block.measurement)
        at = {dim: i - region[dim].start for i, dim in zip(index, self.axes, strict=True)}
        start = max(block.first, region["trial"].start)
        stop = min(block.first + block.count, region["trial"].stop)
        inside = slice(start - region["trial"].start, stop - region["trial"].start)
        taken = slice(start - block.first, stop - block.first)
        if values.ndim == 1:
            # A failed trial has no per-draw values; keep those that a block of another depth has stored.
            known = ~np.isnan(values[taken])
            content[(*at.values(), inside)][known] = values[taken][known]
        else:
            depths = self._coordinates["depth"]
            for row, depth in enumerate(block.depths):
                positions = at | {"depth": depths.index(depth), "trial": inside}
                content[tuple(positions[dim] for dim in self.dims)] = values[row, taken]


def _select(dims: Iterable[str], region: Region) -> tuple[slice, ...]:
    """Return the slices of a region; dimensions that it lacks, which follow the trial axis, are taken completely."""
    return tuple(region.get(dim, slice(None)) for dim in dims)


HELD: Final = 4 * 2**20
"""Bytes of a cell's variables that are cached: all variables for some ten thousand trials, fewer for more trials."""


class CellTrials(Mapping[str, NDArray[Any]]):
    """Variables of a group at the index of one cell: (depths, T), or (T,) for per-draw variables.

    The variables that were used last are cached, up to `HELD` bytes: verdicts of a cell need memory for the few
    variables of one claim, not for all.
    """

    def __init__(self, group: TrialGroup, index: CellIndex) -> None:
        self._group = group
        self._index = index
        self._names = group.variables
        self._held: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._all = range(group.status.shape[-1])

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name == "status":  # held in memory by the store, with every chunk verified
            return self._group.statuses(self._index)
        if name not in self._held:
            if name not in self._names:
                raise KeyError(name)
            self._held[name] = self._group.read(self._index, self._all, [name])[name]
            # Evict the least recently used variables, but never the one that was just read.
            while len(self._held) > 1 and sum(values.nbytes for values in self._held.values()) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(name)
        return self._held[name]

    def per_depth(self, name: str) -> bool:
        """Return whether a variable has a depth axis, which comes first."""
        return name == "status" or self._names[name].per_depth

    def __contains__(self, name: object) -> bool:
        return name in self._names  # the inherited method would read the variable

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class DepthTrials(Mapping[str, NDArray[Any]]):
    """Variables (T,) of a cell at one depth, over a span of trials, with `others` in addition to the cell's own.

    Parameters
    ----------
    others : mapping of str to (CellTrials, str, int)
        Additional names, each with the cell, the variable and the row that it refers to.
    """

    def __init__(
        self,
        cell: CellTrials,
        row: int,
        span: slice = slice(None),
        others: Mapping[str, tuple[CellTrials, str, int]] | None = None,
    ) -> None:
        self._cell = cell
        self._row = row
        self._span = span
        self._others = others or {}

    def over(self, span: slice) -> DepthTrials:
        """Return the same variables over another span."""
        return DepthTrials(self._cell, self._row, span, self._others)

    def with_measurement(self, other: CellTrials, prefix: str) -> DepthTrials:
        """Return the same, with the variables of a measurement under a prefix, and with its status."""
        prefixed = {f"{prefix}{name}": (other, name, self._row) for name in other if name != "status"}
        status = {"status": (other, "status", self._row)}
        return DepthTrials(self._cell, self._row, self._span, {**self._others, **prefixed, **status})

    def __getitem__(self, name: str) -> NDArray[Any]:
        cell, source, row = self._others.get(name, (self._cell, name, self._row))
        values = cell[source]
        return np.asarray((values[row] if cell.per_depth(source) else values)[self._span])

    def __contains__(self, name: object) -> bool:
        return name in self._others or name in self._cell

    def __iter__(self) -> Iterator[str]:
        yield from self._cell
        yield from self._others

    def __len__(self) -> int:
        return len(self._cell) + len(self._others)
