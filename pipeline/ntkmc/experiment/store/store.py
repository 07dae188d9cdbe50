"""A results store that is open for its single writer: fold blocks, and list missing trials."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.schema.groups import BESIDE_VARIABLES, trial_variables
from ntkmc.experiment.schema.variables import Variable
from ntkmc.experiment.store.arrays import Coordinates, open_array
from ntkmc.experiment.store.block_table import BlockLog
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.layout import grow, recorded_coordinates, recorded_statistics, sweep
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.trial_group import PerTrial, Place
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import AXES, PLAIN, Part, axes_of, parts_in
from ntkmc.experiment.study.model import Study

JOURNAL: Final = "journal"
"""Folder of the journal in a store."""

_AT_ONCE: Final = 512
"""Largest number of blocks that a fold holds in memory."""

_BYTES_AT_ONCE: Final = 8 * 2**20
"""Largest number of bytes of arrays that a fold holds in memory: after a delay there are many blocks to fold."""


class Store:
    """A results store that is open for writing. Hold its `Lease` while using it; open it with `Store.prepare`.

    With `writing=False` nothing is changed: a damaged chunk also counts as never run, but is not reset.
    """

    def __init__(self, location: Location, study: Study, added: tuple[str, ...] = (), *, writing: bool = True) -> None:
        self.location = location
        self.study = study
        self.writing = writing
        self.journal = Journal(location.blobs(JOURNAL))
        self.root = location.open("r+" if writing else "r")
        self.coordinates: Coordinates = recorded_coordinates(self.root)
        self.statistics = recorded_statistics(self.root)
        self.added = added
        self.trials = self._per_trial(trial_variables(self.statistics), incomplete=bool(added))
        self._beside = {axis.kind: self._per_trial(BESIDE_VARIABLES[axis.kind]) for axis in axes_of(self.coordinates)}
        self.damaged = sum(group.damaged for group in (self.trials, *self._beside.values()))
        self._arrays: dict[tuple[str, str], zarr.Array[Any]] = {}
        self._log: BlockLog | None = None

    @classmethod
    def prepare(cls, location: Location, study: Study) -> Store:
        """Open an existing store: extend it to the study, remove temporary files, and fold the journal."""
        if not location.remote and not os.access(location.path, os.W_OK):
            raise StoreError(f"{location}: cannot be written (permission denied)")
        sweep(location)
        store = cls(location, study, grow(location, study))
        store.damaged += store.journal.drop_damaged()
        store.fold()
        return store

    @property
    def variables(self) -> dict[str, Variable]:
        """Variables of the `trials` group with one value per trial."""
        return self.trials.variables

    @property
    def status(self) -> NDArray[np.int8]:
        """Status of every trial, (distributions, d, n, depths, trials)."""
        return self.trials.status

    @property
    def lacking(self) -> int:
        """Number of trials that lack one of the statistics in `added`."""
        return self.trials.lacking

    @property
    def beside(self) -> tuple[Part, ...]:
        """Parts other than the plain draws, such as finite widths, along the axes of the store."""
        return parts_in(self.coordinates)

    @property
    def parts(self) -> tuple[Part, ...]:
        """All parts along the axes of the store, the plain draws first."""
        return (PLAIN, *self.beside)

    def index(self, cell: Cell) -> Place:
        """Return the position of a cell."""
        return self.trials.place((cell.distribution.label, cell.d, cell.n))

    def depth_positions(self, depths: Sequence[int]) -> list[int]:
        """Return the positions of depths along the depth axis."""
        return [self.coordinates["depth"].index(depth) for depth in depths]

    def statuses(self, cell: Cell, part: Part = PLAIN) -> NDArray[np.int8]:
        """Return the status of a part of a cell, (depths of the store, trials)."""
        group = self.group(part)
        return group.statuses(group.place((cell.distribution.label, cell.d, cell.n), part))

    def group(self, part: Part = PLAIN) -> PerTrial:
        """Return the group that holds the trials of a part; `StoreError` if the store has none."""
        if part.plain:
            return self.trials
        if part.kind not in self._beside:
            raise StoreError(f"{self.location}: {AXES[part.kind].none}")
        return self._beside[part.kind]

    def done(self, cell: Cell, part: Part = PLAIN) -> NDArray[np.bool_]:
        """Return whether each trial of a part is folded, (depths of the cell, trials)."""
        return np.asarray(self.statuses(cell, part)[self.depth_positions(cell.depths)] != 0)

    def prefix(self, cell: Cell) -> int:
        """Return the number of contiguous trials, done at all depths, from the study's first trial on."""
        return contiguous(np.asarray(self.done(cell).all(axis=0)), self.study.trial_range.start)

    def missing(self, cell: Cell, wanted: range, part: Part = PLAIN) -> list[tuple[range, tuple[int, ...]]]:
        """Return the runs of trials in a range that lack some depths, each with the depths that it lacks."""
        lacking = ~self.done(cell, part)[:, wanted.start : wanted.stop]
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
        """Move finished blocks from the journal into zarr; return them without their arrays.

        Safe to repeat after any interruption.
        """
        folded: list[Block] = []
        waiting: list[Block] = []
        held = 0
        for block in self.journal.sound_blocks(self.journal.names()):
            waiting.append(block)
            held += sum(values.nbytes for values in block.arrays.values())
            # Fold in batches: each batch rewrites the chunks that it touches once, and bounds the memory.
            if held >= _BYTES_AT_ONCE or len(waiting) == _AT_ONCE:
                self._fold(waiting)
                folded += [replace(stored, arrays={}) for stored in waiting]
                waiting, held = [], 0
        if waiting:
            self._fold(waiting)
        return folded + [replace(stored, arrays={}) for stored in waiting]

    def _fold(self, blocks: list[Block]) -> None:
        for kind, group in {PLAIN.kind: self.trials, **self._beside}.items():
            group.fold(block for block in blocks if block.part.kind == kind)
        # Values first, then the table, then the deletion: a crash in between only repeats the fold.
        if self._log is None:
            self._log = BlockLog(self.location, self.root)
        self._log.enter(blocks)
        for block in blocks:
            self.journal.delete(block)

    def forget(self, cell: Cell, trials: Sequence[int] | None = None, part: Part = PLAIN) -> None:
        """Reset the status of some or all trials of a part of a cell, so that they count as never run."""
        group = self.group(part)
        group.forget(group.place((cell.distribution.label, cell.d, cell.n), part), trials)

    def write_group(self, group: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace whole variables of a derived group."""

        def write(name: str) -> None:
            if (group, name) not in self._arrays:
                self._arrays[group, name] = open_array(self.root, group, name)
            self._arrays[group, name][...] = arrays[name]

        self.trials.each(write, arrays)

    def _per_trial(self, variables: dict[str, Variable], *, incomplete: bool = False) -> PerTrial:
        return PerTrial(
            self.location, self.root, variables, self.coordinates, writing=self.writing, incomplete=incomplete
        )


def contiguous(done: NDArray[np.bool_], start: int) -> int:
    """Return the number of consecutive True values from position `start` on.

    >>> contiguous(np.array([True, True, False, True]), 0)
    2
    """
    tail = done[start:]
    return len(tail) if tail.all() else int(np.argmin(tail))
