"""Trials of one cell, read variable by variable as a claim looks at them: a cell may have a million."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.pertrial import PerTrial, Place

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
