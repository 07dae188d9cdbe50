"""A group of the store with a value for each trial, as its one writer sees it: verified, folded into, read.

Trials of one cell, read variable by variable as a claim looks at them: a cell may have a million.
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

from ntkmc.experiment.schema.variables import Variable
from ntkmc.experiment.store.arrays import Coordinates, check_declared, chunk_lengths, open_array
from ntkmc.experiment.store.journal import Block
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.study.measurements import PLAIN, Part
from ntkmc.linalg.eigen import Status

Place = tuple[int, ...]
"""Position of a cell along (distribution, d, n), and along a further axis where a group has one."""

Region = dict[str, slice]

T = TypeVar("T")

REQUESTS: Final = 16
"""Variables that are read from, or written to, an object store at once."""


class PerTrial:
    """The variables of one group that have a value for each trial, with the status of every trial in memory.

    Parameters
    ----------
    variables : mapping of str to Variable
        Among them `status`, with all the group's dimensions; some may lack depth.
    incomplete : bool
        Whether trials may lack variables because nobody asked for them when they ran.
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
        shape = {dim: len(values) for dim, values in coordinates.items()}
        shape["trial"] = self.array("status").shape[-1]
        for name, variable in self.variables.items():
            check_declared(self.array(name), variable, shape)
        self.damaged = 0
        self.lacking = 0
        self.status = self._verified_status()

    def place(self, cell: tuple[str, int, int], part: Part = PLAIN) -> Place:
        """Where a part of a cell stands."""
        values = dict(zip(("distribution", "d", "n"), cell, strict=True)) | part.place
        return tuple(self._coordinates[dim].index(values[dim]) for dim in self.axes)

    def statuses(self, place: Place) -> NDArray[np.int8]:
        """(depths, trials) of a cell."""
        return np.asarray(self.status[self._at(place)])

    def read(self, place: Place, trials: range, names: Sequence[str] | None = None) -> dict[str, NDArray[Any]]:
        """Variables of one cell, all or some, over a range of trials, depth axis first where there is one."""

        def read(name: str) -> NDArray[Any]:
            selection = self._at(place) if self.variables[name].per_depth else place
            return np.asarray(self.array(name)[(*selection, slice(trials.start, trials.stop))])

        chosen = list(self.variables) if names is None else list(names)
        return dict(zip(chosen, self.each(read, chosen), strict=True))

    def forget(self, place: Place, trials: Sequence[int] | None = None) -> None:
        """Let trials of a cell, or all of them, count as never run."""
        chosen = slice(None) if trials is None else np.asarray(trials)
        at = self._at(place)
        self.status[at][:, chosen] = 0
        self.array("status")[at] = self.status[at]

    def fold(self, blocks: Iterable[Block]) -> None:
        """Put blocks into zarr, chunk by chunk."""
        by_chunk: dict[tuple[int, ...], list[Block]] = defaultdict(list)
        lengths = self._chunk_lengths()
        for block in blocks:
            place = self.place(block.cell, block.part)
            corner = tuple(i // lengths[dim] for i, dim in zip(place, self.axes, strict=True))
            first, last = block.first, block.first + block.count - 1
            for part in range(first // lengths["trial"], last // lengths["trial"] + 1):
                by_chunk[(*corner, part)].append(block)
        for chunk, members in by_chunk.items():
            self._fold_chunk(chunk, members, lengths)

    def each(self, work: Callable[[str], T], names: Iterable[str]) -> list[T]:
        """Do something for each variable; at an object store, whose answers take long, for many at once."""
        if not self._location.remote:
            return [work(name) for name in names]
        with ThreadPoolExecutor(REQUESTS) as pool:
            return list(pool.map(work, names))

    def array(self, name: str) -> zarr.Array[Any]:
        """A variable; its shape stays what it is while the store is open."""
        if name not in self._arrays:
            self._arrays[name] = open_array(self._root, self.variables[name].group, name)
        return self._arrays[name]

    def _at(self, place: Place) -> tuple[Any, ...]:
        """An index that selects all depths and trials of a cell: all that follows the last axis may be left out."""
        index: dict[str, Any] = dict(zip(self.axes, place, strict=True))
        return tuple(index.get(dim, slice(None)) for dim in self.dims[:-1])

    def _chunk_lengths(self) -> dict[str, int]:
        return dict(zip(self.dims, chunk_lengths(self.array("status")), strict=True))

    def _regions(self) -> Iterator[Region]:
        """The whole group, by chunks along all dimensions but depth (per-draw variables have none)."""
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
        """Status of every trial, after reading every chunk: one that is damaged or missing counts as never run."""
        status = np.zeros(self.array("status").shape, dtype=np.int8)
        for region in self._regions():
            selection = _select(self.dims, region)
            try:
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
        """Status of the trials in a region, and which of them claim a value but lack one.

        A chunk file that went missing reads as fill values, without error. Or a trial lacks a statistic that claims
        of a later study need. One variable at a time: chunks may be large.
        """
        status = np.asarray(self.array("status")[_select(self.dims, region)])
        valued = (status != 0) & (status != Status.FAILED.code)

        def lacking(name: str) -> NDArray[np.bool_]:
            variable = self.variables[name]
            absent = np.isnan(self.array(name)[_select(variable.dims, region)])
            if variable.behind:
                absent = absent.reshape(*status.shape, -1)[..., 0]  # where a curve is, it begins
            if name == "lambda_min":
                absent &= status != Status.DECIDED.code
            return absent if variable.per_depth else absent[..., None, :]

        lost = np.zeros(status.shape, dtype=bool)
        names = [name for name in self.variables if name != "status"]
        for start in range(0, len(names), REQUESTS):
            for absent in self.each(lacking, names[start : start + REQUESTS]):
                lost |= valued & absent
        return status, lost

    def _reset(self, region: Region) -> None:
        def reset(name: str) -> None:
            variable = self.variables[name]
            selection = _select(variable.dims, region)
            lengths = dict(zip(variable.dims, self.array(name).shape, strict=True))
            shape = tuple(
                len(range(*part.indices(lengths[dim]))) for dim, part in zip(variable.dims, selection, strict=True)
            )
            self.array(name)[selection] = np.full(shape, variable.fill, dtype=variable.dtype)

        self.each(reset, self.variables)

    def _fold_chunk(self, chunk: tuple[int, ...], blocks: list[Block], lengths: dict[str, int]) -> None:
        shape = dict(zip(self.dims, self.status.shape, strict=True))
        region: Region = {"depth": slice(0, shape["depth"])}
        for dim, number in zip((*self.axes, "trial"), chunk, strict=True):
            start = number * lengths[dim]
            region[dim] = slice(start, min(start + lengths[dim], shape[dim]))

        def fold(name: str) -> None:
            selection = _select(self.variables[name].dims, region)
            content = np.array(self.array(name)[selection])
            for block in blocks:
                if name in block.arrays:  # a block of an earlier study may lack a statistic
                    self._copy(content, block, region, block.arrays[name])
            self.array(name)[selection] = content
            if name == "status":
                self.status[selection] = content

        self.each(fold, [name for name in self.variables if name != "status"])
        fold("status")  # last: a trial counts as done by it

    def _copy(self, content: NDArray[Any], block: Block, region: Region, values: NDArray[Any]) -> None:
        """Copy the part of a block's variable that lies in a region into the region's content."""
        place = self.place(block.cell, block.part)
        at = {dim: i - region[dim].start for i, dim in zip(place, self.axes, strict=True)}
        start = max(block.first, region["trial"].start)
        stop = min(block.first + block.count, region["trial"].stop)
        inside = slice(start - region["trial"].start, stop - region["trial"].start)
        taken = slice(start - block.first, stop - block.first)
        if values.ndim == 1:
            # A trial that failed has no per-draw values; another depth may have measured them before.
            known = ~np.isnan(values[taken])
            content[(*at.values(), inside)][known] = values[taken][known]
        else:
            depths = self._coordinates["depth"]
            for row, depth in enumerate(block.depths):
                index = at | {"depth": depths.index(depth), "trial": inside}
                content[tuple(index[dim] for dim in self.dims)] = values[row, taken]


def _select(dims: Iterable[str], region: Region) -> tuple[slice, ...]:
    """All of a dimension that the region does not speak of: one behind the trial."""
    return tuple(region.get(dim, slice(None)) for dim in dims)


HELD: Final = 4 * 2**20
"""Bytes of a cell's variables that are kept: all of a cell of some ten thousand trials, some of a larger one."""


class CellTrials(Mapping[str, NDArray[Any]]):
    """Variables of a group at one cell (and place beside it): (depths, T), or (T,) where they are the draw's.

    Those looked at last are held, up to `HELD` bytes in all; the memory that a cell's verdicts take is that of the
    few variables that one claim needs, not of the dozens that there are.
    """

    def __init__(self, group: PerTrial, place: Place) -> None:
        self._group = group
        self._place = place
        self._names = group.variables
        self._held: OrderedDict[str, NDArray[Any]] = OrderedDict()
        self._all = range(group.status.shape[-1])

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name == "status":  # which the store has in memory, every chunk of it verified
            return self._group.statuses(self._place)
        if name not in self._held:
            if name not in self._names:
                raise KeyError(name)
            self._held[name] = self._group.read(self._place, self._all, [name])[name]
            while len(self._held) > 1 and sum(each.nbytes for each in self._held.values()) > HELD:
                self._held.popitem(last=False)
        self._held.move_to_end(name)
        return self._held[name]

    def per_depth(self, name: str) -> bool:
        """Whether a variable has an axis of depths, which comes first."""
        return name == "status" or self._names[name].per_depth

    def __contains__(self, name: object) -> bool:
        return name in self._names  # a Mapping's own would read the variable

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class DepthTrials(Mapping[str, NDArray[Any]]):
    """Variables (T,) of a cell at one depth, over a span of trials; `others` stand beside the cell's own.

    Parameters
    ----------
    others : mapping of str to (CellTrials, str, int)
        Further names, each with the cell, the variable and the row that it is.
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
        """The same variables over another span."""
        return DepthTrials(self._cell, self._row, span, self._others)

    def beside(self, other: CellTrials, prefix: str) -> DepthTrials:
        """The same, with what claims about another part need, behind its prefix: a trial is one of that part."""
        mine = {f"{prefix}{name}": (other, name, self._row) for name in other if name != "status"}
        status = {"status": (other, "status", self._row)}
        return DepthTrials(self._cell, self._row, self._span, {**self._others, **mine, **status})

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
