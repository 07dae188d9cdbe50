"""The derived groups, `estimates` and `claims`: recomputed from `trials`, cell by cell, written whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.arrays import read_whole
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.evaluation import (
    Rules,
    Values,
    estimate,
    first_precise,
    judge,
    judge_event,
    overall,
    overall_event,
)
from ntkmc.experiment.schema import VARIABLES
from ntkmc.experiment.store import Store, contiguous
from ntkmc.experiment.study import AdaptiveTrials
from ntkmc.theory.claims import CellContext, instances
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.event import NONDEGENERATE

Arrays = dict[str, NDArray[Any]]


class Derived:
    """Estimates and verdicts of a store, kept in memory (their size is the grid's, not the trials').

    Cells of the study are recomputed; those of earlier studies in the same store keep what was said of them.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.study = store.study
        self.axes = store.coordinates
        self.estimates = self._read("estimates")
        self.claims = self._read("claims")
        self._bounds = {instance.label: instance for instance in instances()}
        self._event = [label(NONDEGENERATE.id, {"lambda_0": value}) for value in self.axes["lambda_0"]]
        self._claim = {name: number for number, name in enumerate(self.axes["claim"])}
        self._looked: dict[str, tuple[int, ...]] = {}
        self._stopped: dict[str, int | None] = {}
        self._stale: dict[str, Cell] = {}
        self._drop_torn()

    def refresh(self, cells: Iterable[Cell]) -> None:
        """Recompute those of the cells whose trials reach a new look; the others wait for it, or for `finish`."""
        for cell in cells:
            looks = tuple(self._reached(cell, row) for row in self.store.depth_positions(cell.depths))
            if self._looked.get(cell.name) == looks:
                self._stale[cell.name] = cell  # its claims rest on all done trials, not on looks
            else:
                self._looked[cell.name] = looks
                self._stale.pop(cell.name, None)
                self._refresh_cell(cell)

    def finish(self) -> None:
        """Recompute the cells that wait."""
        for cell in self._stale.values():
            self._refresh_cell(cell)
        self._stale.clear()

    def write(self) -> None:
        """Put both groups into the store, with what all cells together say."""
        self._judge_overall()
        self.store.write_group("estimates", self.estimates)
        self.store.write_group("claims", self.claims)

    def stopped(self, cell: Cell) -> bool:
        """Whether an adaptive cell was found precise enough, when it was last refreshed."""
        return self._stopped.get(cell.name) is not None

    def _read(self, group: str) -> Arrays:
        found: Arrays = {}
        for name, variable in VARIABLES[group].items():
            try:
                found[name] = read_whole(self.store.root, group, name).copy()
            except StoreError:  # derived from trials, it will be written again
                shape = tuple(len(self.axes[dim]) for dim in variable.dims)
                found[name] = np.full(shape, variable.fill, dtype=variable.dtype)
        return found

    def _drop_torn(self) -> None:
        """Forget estimates whose variables contradict each other: a run was killed between writing two of them."""
        counted = self.estimates["proved"] + self.estimates["undecided"]
        torn = (counted > self.estimates["trials_used"][..., None]).any(axis=-1)
        for name, variable in VARIABLES["estimates"].items():
            self.estimates[name][torn] = variable.fill

    def _reached(self, cell: Cell, row: int) -> int:
        done = self.store.status[(*self.store.index(cell), row)] != 0
        reached = contiguous(done, self.study.trial_range.start)
        return max((look for look in self.study.looks if look <= reached), default=0)

    def _stopping_look(self, cell: Cell, bounds: tuple[NDArray[Any], NDArray[Any]]) -> int | None:
        """The first look at which every threshold of the study is known precisely enough, at every depth.

        A function of the trials alone: what else the store holds, and what was decided before, does not enter.
        """
        if not isinstance(self.study.trials, AdaptiveTrials):
            return None
        reached = self.store.prefix(cell)
        looks = [look for look in self.study.looks if look <= reached]
        thresholds = np.array(self.study.event.lambda_0)
        return first_precise(*bounds, thresholds, looks, self.study.trials.half_width, self.study.confidence)

    def _refresh_cell(self, cell: Cell) -> None:
        place = self.store.index(cell)
        first = self.study.trial_range.start
        everything = self.store.read_cell(place, range(self.store.status.shape[-1]))
        unit = self.study.normalize == "unit" or cell.distribution.unit_norm
        rows = self.store.depth_positions(cell.depths)
        span = slice(first, self.study.trial_range.stop)
        bounds = everything["lambda_min_lower"][rows, span], everything["lambda_min_upper"][rows, span]
        stop = self._stopped[cell.name] = self._stopping_look(cell, bounds)
        for depth, row in zip(cell.depths, rows, strict=True):
            here = (*place, row)
            trials = {name: values[row] if values.ndim == 2 else values for name, values in everything.items()}
            if not trials["status"].any():
                continue
            used = self._reached(cell, row) if stop is None else stop
            prefix = {name: values[first : first + used] for name, values in trials.items()}
            found = estimate(prefix, self._rules(used))
            for name, value in found.items():
                self.estimates[name][here] = value
            self._judge_cell(CellContext(self.study.kernel, depth, cell.n, cell.d, unit), trials, found, here)

    def _rules(self, used: int) -> Rules:
        fixed = not self.study.adaptive and used == len(self.study.trial_range)
        thresholds = np.array(self.axes["lambda_0"], dtype=np.float64)
        return Rules(thresholds, self.study.event.delta, self.study.confidence, fixed)

    def _judge_cell(self, context: CellContext, trials: Arrays, estimates: Values, here: tuple[int, ...]) -> None:
        for name, at in self._claim.items():
            if name in self._bounds:
                verdict = judge(self._bounds[name], context, trials)
            elif name in self._event:
                position = self._event.index(name)
                verdict = judge_event(estimates, position, self.axes["lambda_0"][position])
            else:
                continue  # a claim that was registered when the store was written, and is not now
            for variable, value in verdict.items():
                self.claims[variable][(at, *here)] = value

    def _judge_overall(self) -> None:
        used = self.estimates["trials_used"]
        mine = np.zeros(used.shape, dtype=bool)
        for cell in self.study.cells:
            mine[self.store.index(cell)][self.store.depth_positions(cell.depths)] = True
        for name, at in self._claim.items():
            if name in self._bounds:
                self.claims["overall"][at] = overall(self.claims["verdict"][at].ravel().tolist())
            elif name in self._event:
                position = self._event.index(name)
                # A cell of an earlier study says nothing of a threshold that was added after it.
                told = (used > 0) & ~np.isnan(self.estimates["probability_upper"][..., position])
                tried = mine | told
                self.claims["overall"][at] = overall_event(
                    self.estimates["proved"][..., position][tried],
                    self.estimates["undecided"][..., position][tried],
                    used[tried],
                    self._rules(0),
                )
