"""The derived groups, `estimates` and `claims`: recomputed from `trials`, cell by cell, written whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.arrays import Coordinates, read_coordinates
from ntkmc.experiment.evaluation import Rules, Values, estimate, judge, judge_event, overall, overall_event
from ntkmc.experiment.schema import VARIABLES
from ntkmc.experiment.store import Index, Store, contiguous
from ntkmc.theory.claims import CellContext, instances
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.event import NONDEGENERATE

Arrays = dict[str, NDArray[Any]]


class Derived:
    """Estimates and verdicts of a store, kept in memory (their size is the grid's, not the trials')."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.study = store.study
        self.axes: dict[str, Coordinates] = {
            group: read_coordinates(store.root, group) for group in ("estimates", "claims")
        }
        self.estimates = self._empty("estimates")
        self.claims = self._empty("claims")
        self.instances = {instance.label: instance for instance in instances()}
        self._fill_structure()

    def refresh(self, places: Iterable[Index]) -> None:
        """Recompute some cells from the store's trials."""
        for place in places:
            self._refresh_cell(place)

    def write(self) -> None:
        """Put both groups into the store, with what all cells together say."""
        self._judge_overall()
        self.store.write_group("estimates", self.estimates)
        self.store.write_group("claims", self.claims)

    def used(self, place: Index, depth_at: int) -> int:
        """Length of the prefix that estimates rest on: the study's last look that the done trials reach."""
        reached = contiguous(self.store.status[(*place, depth_at)] != 0, self.study.trial_range.start)
        return max((look for look in self.study.looks if look <= reached), default=0)

    def half_width(self, place: Index, depths: Iterable[int]) -> float:
        """Largest half-width of a cell's confidence sequences over thresholds and depths."""
        at = [(*place, row) for row in self.store.depth_positions(tuple(depths))]
        ends = [self.estimates["probability_upper"][i] - self.estimates["probability_lower"][i] for i in at]
        return float(np.max(ends)) / 2.0 if ends else 1.0

    def _empty(self, group: str) -> Arrays:
        axes = self.axes[group]
        return {
            name: np.full(tuple(len(axes[dim]) for dim in variable.dims), variable.fill, dtype=variable.dtype)
            for name, variable in VARIABLES[group].items()
        }

    def _fill_structure(self) -> None:
        self._event = [label(NONDEGENERATE.id, {"lambda_0": value}) for value in self.axes["estimates"]["lambda_0"]]
        self._claim = {name: number for number, name in enumerate(self.axes["claims"]["claim"])}

    def _refresh_cell(self, place: Index) -> None:
        span = self.study.trial_range
        trials = self.store.read_cell(place, span)
        law = self.store.coordinates["distribution"][place[0]]
        d, n = self.store.coordinates["d"][place[1]], self.store.coordinates["n"][place[2]]
        unit = self.study.normalize == "unit" or law == "sphere"
        for depth_at, depth in enumerate(self.store.coordinates["depth"]):
            here = (*place, depth_at)
            at_depth = {name: values[depth_at] if values.ndim == 2 else values for name, values in trials.items()}
            if not at_depth["status"].any():
                continue
            used = self.used(place, depth_at)
            prefix = {name: values[:used] for name, values in at_depth.items()}
            found = estimate(prefix, self._rules(used))
            for name, value in found.items():
                self.estimates[name][here] = value
            context = CellContext(self.study.kernel, depth, n, d, unit)
            self._judge_cell(context, at_depth, found, here)

    def _rules(self, used: int) -> Rules:
        fixed = not self.study.adaptive and used == len(self.study.trial_range)
        thresholds = np.array(self.axes["estimates"]["lambda_0"], dtype=np.float64)
        return Rules(thresholds, self.study.event.delta, self.study.confidence, fixed)

    def _judge_cell(self, context: CellContext, trials: Arrays, estimates: Values, here: tuple[int, ...]) -> None:
        for name, at in self._claim.items():
            if name in self.instances:
                verdict = judge(self.instances[name], context, trials, self.study.trial_range.start)
            else:
                position = self._event.index(name)
                verdict = judge_event(estimates, position, self.axes["estimates"]["lambda_0"][position])
            for variable, value in verdict.items():
                self.claims[variable][(at, *here)] = value

    def _judge_overall(self) -> None:
        for name, at in self._claim.items():
            if name in self.instances:
                self.claims["overall"][at] = overall(self.claims["verdict"][at].ravel().tolist())
            else:
                position = self._event.index(name)
                run = self.estimates["trials_used"] > 0
                self.claims["overall"][at] = overall_event(
                    self.estimates["proved"][..., position][run],
                    self.estimates["undecided"][..., position][run],
                    self.estimates["trials_used"][run],
                    self._rules(0),
                )
