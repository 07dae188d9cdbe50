"""A results store that is open for its single writer: fold blocks, and list missing trials."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
import zarr
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.schema.groups import trial_variables
from ntkmc.experiment.store.arrays import Coordinates, open_array
from ntkmc.experiment.store.block_table import BlockLog
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.layout import grow, recorded_coordinates, recorded_statistics, sweep
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.trial_group import CellIndex, TrialGroup
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import DRAWS, MeasurementKey, measurements_of, stored_keys
from ntkmc.experiment.study.model import Study
from ntkmc.experiment.study.variables import Variable

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
        self._groups = {DRAWS.group: self.trials} | {
            axis.group: self._per_trial(axis.trials.variables) for axis in measurements_of(self.coordinates)
        }
        self.damaged = sum(group.damaged for group in self._groups.values())
        self._arrays: dict[tuple[str, str], zarr.Array[Any]] = {}
        self._log: BlockLog | None = None

    @classmethod
    def prepare(cls, location: Location, study: Study) -> Store:
        """Open an existing store: extend it to the study, remove temporary files, and fold the journal."""
        if not location.remote and not os.access(location.path, os.W_OK):
            raise StoreError(f"{location}: cannot be written (permission denied)")
        # The holder of the lease is the only writer: temporary files are of writers that were killed.
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
    def additional_measurements(self) -> tuple[MeasurementKey, ...]:
        """Measurements in addition to the draws, such as finite widths."""
        return stored_keys(self.coordinates)

    @property
    def measurements(self) -> tuple[MeasurementKey, ...]:
        """All that the store may hold of a cell, the draws first."""
        return (DRAWS, *self.additional_measurements)

    def index(self, cell: Cell) -> CellIndex:
        """Return the position of a cell in the arrays of the store."""
        return self.trials.index((cell.distribution.label, cell.d, cell.n))

    def depth_positions(self, depths: Sequence[int]) -> list[int]:
        """Return the positions of depths along the depth axis."""
        return [self.coordinates["depth"].index(depth) for depth in depths]

    def statuses(self, cell: Cell, measurement: MeasurementKey = DRAWS) -> NDArray[np.int8]:
        """Return the status of a measurement of a cell, (depths of the store, trials)."""
        group = self.group(measurement)
        return group.statuses(group.index((cell.distribution.label, cell.d, cell.n), measurement))

    def group(self, measurement: MeasurementKey = DRAWS) -> TrialGroup:
        """Return the group that holds the trials of a measurement; `StoreError` if the store has none."""
        if measurement.group not in self._groups:
            raise StoreError(f"{self.location}: {measurement.axis.absent}")
        return self._groups[measurement.group]

    def done(self, cell: Cell, measurement: MeasurementKey = DRAWS) -> NDArray[np.bool_]:
        """Return a mask (depths of the cell, trials) of the trials of a measurement that are stored."""
        return np.asarray(self.statuses(cell, measurement)[self.depth_positions(cell.depths)] != 0)

    def prefix(self, cell: Cell) -> int:
        """Return the number of contiguous trials, done at all depths, from the study's first trial on."""
        return contiguous(np.asarray(self.done(cell).all(axis=0)), self.study.trial_range.start)

    def missing(
        self, cell: Cell, trials: range, measurement: MeasurementKey = DRAWS
    ) -> list[tuple[range, tuple[int, ...]]]:
        """Return the runs of trials in a range that lack some depths, each with the depths that it lacks."""
        lacking = ~self.done(cell, measurement)[:, trials.start : trials.stop]
        runs: list[tuple[range, tuple[int, ...]]] = []
        start = trials.start
        # Consecutive trials that lack the same depths form one run, which can be cut into blocks.
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
        for name, group in self._groups.items():
            group.fold(block for block in blocks if block.measurement.group == name)
        # Values first, then the table, then the deletion: a crash in between only repeats the fold.
        if self._log is None:
            self._log = BlockLog(self.location, self.root)
        self._log.enter(blocks)
        for block in blocks:
            self.journal.delete(block)

    def mark_not_run(
        self, cell: Cell, trials: Sequence[int] | None = None, measurement: MeasurementKey = DRAWS
    ) -> None:
        """Reset the status of some or all trials of a measurement of a cell, so that they count as never run."""
        group = self.group(measurement)
        group.mark_not_run(group.index((cell.distribution.label, cell.d, cell.n), measurement), trials)

    def write_group(self, group: str, arrays: dict[str, NDArray[Any]]) -> None:
        """Replace whole variables of a derived group."""

        def write(name: str) -> None:
            if (group, name) not in self._arrays:
                self._arrays[group, name] = open_array(self.root, group, name)
            self._arrays[group, name][...] = arrays[name]

        self.trials.for_each(write, arrays)

    def _per_trial(self, variables: Mapping[str, Variable], *, incomplete: bool = False) -> TrialGroup:
        return TrialGroup(
            self.location, self.root, variables, self.coordinates, writing=self.writing, incomplete=incomplete
        )


def contiguous(done: NDArray[np.bool_], start: int) -> int:
    """Return the number of consecutive True values from position `start` on.

    >>> contiguous(np.array([True, True, False, True]), 0)
    2
    """
    tail = done[start:]
    return len(tail) if tail.all() else int(np.argmin(tail))
