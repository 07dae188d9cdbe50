"""Update of the groups derived from trials: `estimates`, `claims`, and one group per additional axis.

The groups are recomputed from trials cell by cell, and written as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.analysis.estimates import Rules, Values, estimate
from ntkmc.experiment.analysis.kernel_convergence import convergence, sketch_accuracy
from ntkmc.experiment.analysis.overall import overall, overall_event, overall_probability, overall_scaling
from ntkmc.experiment.analysis.stopping import first_precise
from ntkmc.experiment.analysis.training import dynamics, predicted
from ntkmc.experiment.analysis.verdicts import judge, judge_event
from ntkmc.experiment.schema.groups import VARIABLES, declared
from ntkmc.experiment.schema.variables import CLAIM, Verdict
from ntkmc.experiment.store.arrays import read_whole
from ntkmc.experiment.store.store import Store, contiguous
from ntkmc.experiment.store.trial_group import CellTrials, DepthTrials
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import (
    MEASUREMENTS,
    Measurement,
    MeasurementKey,
    measurements_of,
    values_by_group,
)
from ntkmc.experiment.study.model import AdaptiveTrials
from ntkmc.experiment.trial.run import Arrays
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import DeterministicClaim, Instance, ProbabilityClaim, ScalingClaim, instances
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.probability import NONDEGENERATE

Estimator = Callable[[NDArray[Any], Sequence[DepthTrials], int, Rules], Values]

ESTIMATE: Final[dict[str, Estimator]] = {
    "finite_width": convergence,
    "training": predicted,
    "trained": dynamics,
    "sketching": sketch_accuracy,
}
"""Estimators by group of the measurement: (values along the axis, trials per value, n, rules) -> variables of
`Measurement.estimates` at one cell and depth."""

_MORE = 4
"""Factor by which the number of trials must have grown until verdicts are recomputed during a run.

Verdicts cost more than estimates; a factor keeps their total cost proportional to the last update."""


class Derived:
    """Estimates and verdicts of a store, held in memory. Their size depends on the grid, not on the number of trials.

    Cells of the study are recomputed. Cells of earlier studies in the same store keep their estimates and verdicts.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        self.study = store.study
        self.axes = store.coordinates
        self.estimates = self._read("estimates")
        self.claims = self._read("claims")
        self.additional = {axis.group: self._read(axis.estimates.name) for axis in measurements_of(store.coordinates)}
        values = values_by_group(store.additional_measurements)
        self._bounds = {instance.label: instance for instance in instances(values=values)}
        self._event = [label(NONDEGENERATE.id, {"lambda_0": value}) for value in self.axes["lambda_0"]]
        self._claim = {name: number for number, name in enumerate(self.axes["claim"])}
        # Limits of fitted constants hold for all cells and depths of the study simultaneously (Bonferroni).
        depth_count = sum(len(cell.depths) for cell in self.study.cells)
        self._together = 1.0 - (1.0 - self.study.confidence) / depth_count
        self._cell_variables = [name for name, variable in VARIABLES["claims"].items() if variable.dims == CLAIM]
        self._looked: dict[str, tuple[int, ...]] = {}
        self._judged: dict[str, int] = {}
        self._stopped: dict[str, int | None] = {}
        self._stale: dict[str, Cell] = {}
        self._drop_torn()

    def refresh(self, cells: Iterable[Cell]) -> None:
        """Recompute the estimates of cells whose trials reach a new look; other cells wait for it, or for `finish`.

        Verdicts cost more, and are recomputed at every few looks. `finish` brings them up to date.
        """
        for cell in cells:
            looks = tuple(self._reached(cell, row) for row in self.store.depth_positions(cell.depths))
            additional = tuple(
                self._reached_at_all_depths(cell, measurement) for measurement in self.study.additional_measurements
            )
            reached = min(looks) + sum(additional)
            whole = len(self.study.trial_range) * (1 + len(additional))
            # The last update of a cell always judges, so that a finished run has verdicts on all trials.
            judging = reached >= _MORE * self._judged.get(cell.name, 0) or reached == whole
            if self._looked.get(cell.name) != (*looks, *additional):
                self._looked[cell.name] = (*looks, *additional)
                self._refresh_cell(cell, judging)
                if judging:
                    self._judged[cell.name] = reached
                    self._stale.pop(cell.name, None)
                    continue
            self._stale[cell.name] = cell  # deterministic claims use all finished trials, not only those up to a look

    def finish(self) -> None:
        """Recompute all cells that wait."""
        # Cells of a nested study use trials of smaller cells, which may have grown since: all are recomputed.
        cells = self.study.cells if self.study.nested else self._stale.values()
        for cell in list(cells):
            self._refresh_cell(cell, judging=True)
        self._stale.clear()

    def write(self) -> None:
        """Compute the verdicts over all cells, and write the groups to the store."""
        self._judge_overall()
        self.store.write_group("estimates", self.estimates)
        self.store.write_group("claims", self.claims)
        for group, arrays in self.additional.items():
            self.store.write_group(MEASUREMENTS[group].estimates.name, arrays)

    def stopped(self, cell: Cell) -> bool:
        """Return whether an adaptive cell was precise enough at its last refresh."""
        return self._stopped.get(cell.name) is not None

    def _read(self, group: str) -> Arrays:
        arrays: Arrays = {}
        for name, variable in declared(group).items():
            try:
                arrays[name] = read_whole(self.store.root, group, name).copy()
            except StoreError:  # derived from trials: a damaged array can be recomputed
                shape = tuple(len(self.axes[dim]) for dim in variable.dims)
                arrays[name] = np.full(shape, variable.fill, dtype=variable.dtype)
        return arrays

    def _drop_torn(self) -> None:
        """Reset estimates whose variables contradict each other: a run was killed between writing two of them."""
        counted = self.estimates["proved"] + self.estimates["undecided"]
        torn = (counted > self.estimates["trials_used"][..., None]).any(axis=-1)
        for name, variable in VARIABLES["estimates"].items():
            self.estimates[name][torn] = variable.fill

    def _reached(self, cell: Cell, row: int) -> int:
        done = self.store.status[(*self.store.index(cell), row)] != 0
        reached = contiguous(done, self.study.trial_range.start)
        return max((look for look in self.study.looks if look <= reached), default=0)

    def _reached_at_all_depths(self, cell: Cell, measurement: MeasurementKey) -> int:
        """Return the last look that an additional measurement has reached at all depths."""
        done = self.store.done(cell, measurement).all(axis=0)
        reached = contiguous(np.asarray(done), self.study.trial_range.start)
        return max((look for look in self.study.looks if look <= reached), default=0)

    def _stopping_look(self, cell: Cell, trials: CellTrials, rows: list[int], span: slice) -> int | None:
        """Return the first look at which the intervals of all thresholds are narrow enough at every depth, or None.

        The result depends on the trials alone, not on other content of the store or on earlier decisions.
        """
        # A fixed number of trials never stops early.
        if not isinstance(self.study.trials, AdaptiveTrials):
            return None
        reached = self.store.prefix(cell)
        looks = [look for look in self.study.looks if look <= reached]
        thresholds = np.array(self.study.event.lambda_0)
        lower, upper = (trials[f"lambda_min_{end}"][rows, span] for end in ("lower", "upper"))
        return first_precise(lower, upper, thresholds, looks, self.study.trials.half_width, self.study.confidence)

    def _refresh_cell(self, cell: Cell, judging: bool) -> None:
        index = self.store.index(cell)
        first = self.study.trial_range.start
        everything = CellTrials(self.store.trials, index)
        rows = self.store.depth_positions(cell.depths)
        span = slice(first, self.study.trial_range.stop)
        stop = self._stopped[cell.name] = self._stopping_look(cell, everything, rows, span)
        fewer = self._fewer(cell) if judging else None
        others = self._additional(cell) if judging else {}
        for depth, row in zip(cell.depths, rows, strict=True):
            here = (*index, row)
            # No trial at this depth yet: its estimates keep their fill values.
            if not everything["status"][row].any():
                continue
            used = self._reached(cell, row) if stop is None else stop
            prefix = slice(first, first + used)
            estimates = estimate(DepthTrials(everything, row, prefix), self._rules(used))
            for name, value in estimates.items():
                self.estimates[name][here] = value
            if not judging:
                continue
            context = self.study.context(cell, depth)
            related: dict[str, tuple[CellTrials, str, int]] = {}
            for end in ("lower", "upper"):
                if context.shallower is not None:
                    other = self.store.depth_positions((context.shallower,))[0]
                    related[f"shallower_{end}"] = everything, f"lambda_min_{end}", other
                if fewer is not None:
                    related[f"fewer_{end}"] = fewer, f"lambda_min_{end}", row
            trials = DepthTrials(everything, row, others=related)
            additional = {
                measurement: (
                    trials.with_measurement(other, measurement.axis.prefix),
                    slice(first, first + min(used, reached)),
                )
                for measurement, (other, reached) in others.items()
            }
            self._judge_cell(context, trials, prefix, estimates, here, additional)
            for axis in MEASUREMENTS.values():
                along_axis = {
                    measurement: trials_and_span
                    for measurement, trials_and_span in additional.items()
                    if measurement.group == axis.group
                }
                if along_axis:
                    self._estimate_along(axis, cell, along_axis, here)

    def _additional(self, cell: Cell) -> dict[MeasurementKey, tuple[CellTrials, int]]:
        """Return the additional measurements of a cell, of earlier studies too: trials, and how many of them count."""
        key = (cell.distribution.label, cell.d, cell.n)
        measured = {}
        for measurement in self.store.additional_measurements:
            group, reached = self.store.group(measurement), self._reached_at_all_depths(cell, measurement)
            # Measurements of earlier studies keep their verdicts if this study has no trials of them.
            if reached or measurement in self.study.additional_measurements:
                measured[measurement] = CellTrials(group, group.index(key, measurement)), reached
        return measured

    def _estimate_along(
        self,
        axis: Measurement,
        cell: Cell,
        measured: dict[MeasurementKey, tuple[DepthTrials, slice]],
        here: tuple[int, ...],
    ) -> None:
        values = np.array([measurement.value for measurement in measured])
        over = [trials.over(span) for trials, span in measured.values()]
        estimates = ESTIMATE[axis.group](values, over, cell.n, self._rules(0))
        # The store may hold more values than were estimated here, and in another order.
        at = [self.axes[axis.dim].index(measurement.value) for measurement in measured]
        arrays = self.additional[axis.group]
        for name, value in estimates.items():
            if axis.dim in axis.estimates.variables[name].dims:
                arrays[name][here][at] = value
            else:
                arrays[name][here] = value

    def _fewer(self, cell: Cell) -> CellTrials | None:
        """Return the trials of the cell with the next smaller n, whose rows are the first rows in a nested study."""
        fewer = self.study.context(cell, cell.depths[0]).fewer
        if fewer is None:
            return None
        smaller = Cell(cell.distribution, cell.d, fewer, cell.depths)
        return CellTrials(self.store.trials, self.store.index(smaller))

    def _judge_family(self, instance: Instance, at: int) -> None:
        claims, verdicts = self.claims, self.claims["verdict"][at]
        pending = self._pending(instance, verdicts)
        match instance.claim:
            case DeterministicClaim():
                claims["overall"][at] = overall(np.unique(verdicts).tolist())
            case ProbabilityClaim():
                word, rejected = overall_probability(
                    verdicts, claims["log_e"][at], self.study.confidence, bool(pending.any())
                )
                claims["overall"][at], claims["rejected"][at] = word, rejected
            case ScalingClaim() as claim:
                cells = {name: claims[name][at] for name in self._cell_variables}
                scaling = overall_scaling(claim, cells, self.axes["n"], self.axes["d"], pending)
                for name, values in scaling.items():
                    claims[name][at] = values

    def _pending(self, instance: Instance, verdicts: NDArray[Any]) -> NDArray[np.bool_]:
        """Return a mask of the cells of the study to which a claim applies and that are not evaluated yet."""
        pending = np.zeros(verdicts.shape, dtype=bool)
        for cell in self.study.cells:
            index = self.store.index(cell)
            for depth, row in zip(cell.depths, self.store.depth_positions(cell.depths), strict=True):
                if verdicts[(*index, row)] == Verdict.NOT_EVALUATED:
                    pending[(*index, row)] = instance.applies(self.study.context(cell, depth))
        return pending

    def _fixed(self, used: int) -> bool:
        """Return whether the number of trials is the one that was fixed in advance."""
        return not self.study.adaptive and used == len(self.study.trial_range)

    def _rules(self, used: int) -> Rules:
        thresholds = np.array(self.axes["lambda_0"], dtype=np.float64)
        return Rules(thresholds, self.study.event.delta, self.study.confidence, self._fixed(used))

    def _judge_cell(
        self,
        context: CellContext,
        trials: DepthTrials,
        prefix: slice,
        estimates: Values,
        here: tuple[int, ...],
        additional: dict[MeasurementKey, tuple[DepthTrials, slice]],
    ) -> None:
        for name, claim in self._claim.items():
            if name in self._bounds:
                instance = self._bounds[name]
                measurement = MeasurementKey.of(instance)
                if not measurement.is_draws and measurement not in additional:
                    continue  # measured by an earlier study: its verdicts stay
                measured, span = (trials, prefix) if measurement.is_draws else additional[measurement]
                confidence = self._together if isinstance(instance.claim, ScalingClaim) else self.study.confidence
                verdict = judge(
                    instance,
                    context,
                    measured,
                    measured.over(span),
                    confidence,
                    first=span.start,
                    fixed=self._fixed(span.stop - span.start),
                )
            elif name in self._event:
                position = self._event.index(name)
                verdict = judge_event(estimates, position, self.axes["lambda_0"][position])
            else:
                continue  # a claim that is no longer registered
            for variable in self._cell_variables:
                self.claims[variable][(claim, *here)] = verdict.get(variable, VARIABLES["claims"][variable].fill)

    def _judge_overall(self) -> None:
        used = self.estimates["trials_used"]
        of_study = np.zeros(used.shape, dtype=bool)
        for cell in self.study.cells:
            of_study[self.store.index(cell)][self.store.depth_positions(cell.depths)] = True
        for name, claim in self._claim.items():
            if name in self._bounds:
                self._judge_family(self._bounds[name], claim)
            elif name in self._event:
                position = self._event.index(name)
                # A cell of an earlier study has no estimates at a threshold that was added later.
                of_earlier_studies = (used > 0) & ~np.isnan(self.estimates["probability_upper"][..., position])
                tried = of_study | of_earlier_studies
                self.claims["overall"][claim] = overall_event(
                    self.estimates["proved"][..., position][tried],
                    self.estimates["undecided"][..., position][tried],
                    used[tried],
                    self._rules(0),
                )
