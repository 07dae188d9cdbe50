"""The derived groups, `estimates`, `claims` and those of further axes, such as `convergence`: recomputed from trials,
cell by cell, written whole."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.analysis.convergence import convergence, sketch_accuracy
from ntkmc.experiment.analysis.estimates import Rules, Values, estimate, first_precise
from ntkmc.experiment.analysis.overall import overall, overall_event, overall_probability, overall_scaling
from ntkmc.experiment.analysis.training import dynamics, predicted
from ntkmc.experiment.analysis.verdicts import judge, judge_event
from ntkmc.experiment.schema.groups import VARIABLES, declared
from ntkmc.experiment.schema.variables import CLAIM, Verdict
from ntkmc.experiment.store.arrays import read_whole
from ntkmc.experiment.store.store import Store, contiguous
from ntkmc.experiment.store.trial_group import CellTrials, DepthTrials
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import AXES, Axis, Part, axes_of, part_of, values_by_kind
from ntkmc.experiment.study.model import AdaptiveTrials
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import Instance, instances
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.probability import NONDEGENERATE

Arrays = dict[str, NDArray[Any]]

Estimator = Callable[[NDArray[Any], Sequence[DepthTrials], int, Rules], Values]

ESTIMATORS: Final[dict[str, Estimator]] = {
    "finite_width": convergence,
    "training": predicted,
    "trained": dynamics,
    "sketching": sketch_accuracy,
}
"""By kind of the parts: (their values, for each the trials that count, n, rules) -> variables of the axis' derived
group at one cell and depth, along the axis or not."""

_MORE = 4
"""Times as many trials as at the last time, from which verdicts are looked at again while a run goes on."""


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
        self.beside = {axis.derived: self._read(axis.derived) for axis in axes_of(store.coordinates)}
        asked = values_by_kind(store.beside)
        self._bounds = {instance.label: instance for instance in instances(beside=asked)}
        self._event = [label(NONDEGENERATE.id, {"lambda_0": value}) for value in self.axes["lambda_0"]]
        self._claim = {name: number for number, name in enumerate(self.axes["claim"])}
        # Limits of fitted constants hold for all cells and depths of the study at once (Bonferroni).
        every = sum(len(cell.depths) for cell in self.study.cells)
        self._together = 1.0 - (1.0 - self.study.confidence) / every
        self._cell_variables = [name for name, each in VARIABLES["claims"].items() if each.dims == CLAIM]
        self._looked: dict[str, tuple[int, ...]] = {}
        self._judged: dict[str, int] = {}
        self._stopped: dict[str, int | None] = {}
        self._stale: dict[str, Cell] = {}
        self._drop_torn()

    def refresh(self, cells: Iterable[Cell]) -> None:
        """Estimate anew those of the cells whose trials reach a new look; the others wait for it, or for `finish`.

        Verdicts, which cost more, follow at every few looks: what they lag behind, `finish` makes up for.
        """
        for cell in cells:
            looks = tuple(self._reached(cell, row) for row in self.store.depth_positions(cell.depths))
            beside = tuple(self._reached_beside(cell, part) for part in self.study.beside)
            reached = min(looks) + sum(beside)
            whole = len(self.study.trial_range) * (1 + len(beside))
            judging = reached >= _MORE * self._judged.get(cell.name, 0) or reached == whole
            if self._looked.get(cell.name) != (*looks, *beside):
                self._looked[cell.name] = (*looks, *beside)
                self._refresh_cell(cell, judging)
                if judging:
                    self._judged[cell.name] = reached
                    self._stale.pop(cell.name, None)
                    continue
            self._stale[cell.name] = cell  # deterministic claims rest on all done trials, not on looks

    def finish(self) -> None:
        """Recompute the cells that wait; in a nested study all of them, whose smaller ones may have grown since."""
        cells = self.study.cells if self.study.nested else self._stale.values()
        for cell in list(cells):
            self._refresh_cell(cell, judging=True)
        self._stale.clear()

    def write(self) -> None:
        """Put the groups into the store, with what all cells together say."""
        self._judge_overall()
        self.store.write_group("estimates", self.estimates)
        self.store.write_group("claims", self.claims)
        for group, arrays in self.beside.items():
            self.store.write_group(group, arrays)

    def stopped(self, cell: Cell) -> bool:
        """Whether an adaptive cell was found precise enough, when it was last refreshed."""
        return self._stopped.get(cell.name) is not None

    def _read(self, group: str) -> Arrays:
        found: Arrays = {}
        for name, variable in declared(group).items():
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

    def _reached_beside(self, cell: Cell, part: Part) -> int:
        """The look that a part beside the draws reaches, at all depths."""
        done = self.store.done(cell, part).all(axis=0)
        reached = contiguous(np.asarray(done), self.study.trial_range.start)
        return max((look for look in self.study.looks if look <= reached), default=0)

    def _stopping_look(self, cell: Cell, trials: CellTrials, rows: list[int], span: slice) -> int | None:
        """The first look at which every threshold of the study is known precisely enough, at every depth.

        A function of the trials alone: what else the store holds, and what was decided before, does not enter.
        """
        if not isinstance(self.study.trials, AdaptiveTrials):
            return None
        reached = self.store.prefix(cell)
        looks = [look for look in self.study.looks if look <= reached]
        thresholds = np.array(self.study.event.lambda_0)
        lower, upper = (trials[f"lambda_min_{end}"][rows, span] for end in ("lower", "upper"))
        return first_precise(lower, upper, thresholds, looks, self.study.trials.half_width, self.study.confidence)

    def _refresh_cell(self, cell: Cell, judging: bool) -> None:
        place = self.store.index(cell)
        first = self.study.trial_range.start
        everything = CellTrials(self.store.trials, place)
        rows = self.store.depth_positions(cell.depths)
        span = slice(first, self.study.trial_range.stop)
        stop = self._stopped[cell.name] = self._stopping_look(cell, everything, rows, span)
        fewer = self._fewer(cell) if judging else None
        others = self._others(cell) if judging else {}
        for depth, row in zip(cell.depths, rows, strict=True):
            here = (*place, row)
            if not everything["status"][row].any():
                continue
            used = self._reached(cell, row) if stop is None else stop
            prefix = slice(first, first + used)
            found = estimate(DepthTrials(everything, row, prefix), self._rules(used))
            for name, value in found.items():
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
            beside = {
                part: (trials.beside(other, AXES[part.kind].prefix), slice(first, first + min(used, reached)))
                for part, (other, reached) in others.items()
            }
            self._judge_cell(context, trials, prefix, found, here, beside)
            for axis in AXES.values():
                mine = {part: each for part, each in beside.items() if part.kind == axis.kind}
                if mine:
                    self._estimate_beside(axis, cell, mine, here)

    def _others(self, cell: Cell) -> dict[Part, tuple[CellTrials, int]]:
        """What a cell has beside its draws, of earlier studies too, and how many of the trials count."""
        key = (cell.distribution.label, cell.d, cell.n)
        found = {}
        for part in self.store.beside:
            group, reached = self.store.group(part), self._reached_beside(cell, part)
            if reached or part in self.study.beside:
                found[part] = CellTrials(group, group.place(key, part)), reached
        return found

    def _estimate_beside(
        self, axis: Axis, cell: Cell, beside: dict[Part, tuple[DepthTrials, slice]], here: tuple[int, ...]
    ) -> None:
        values = np.array([part.value for part in beside])
        over = [trials.over(span) for trials, span in beside.values()]
        found = ESTIMATORS[axis.kind](values, over, cell.n, self._rules(0))
        at = [self.axes[axis.dim].index(part.value) for part in beside]
        group = self.beside[axis.derived]
        for name, value in found.items():
            if axis.dim in declared(axis.derived)[name].dims:
                group[name][here][at] = value
            else:
                group[name][here] = value

    def _fewer(self, cell: Cell) -> CellTrials | None:
        """Trials of the cell with the next smaller n, of which those of a nested study are the first rows."""
        fewer = self.study.context(cell, cell.depths[0]).fewer
        if fewer is None:
            return None
        smaller = Cell(cell.distribution, cell.d, fewer, cell.depths)
        return CellTrials(self.store.trials, self.store.index(smaller))

    def _judge_family(self, instance: Instance, at: int) -> None:
        claims, verdicts = self.claims, self.claims["verdict"][at]
        pending = self._pending(instance, verdicts)
        match instance.claim.kind:
            case "deterministic":
                claims["overall"][at] = overall(np.unique(verdicts).tolist())
            case "probability":
                word, rejected = overall_probability(
                    verdicts, claims["log_e"][at], self.study.confidence, bool(pending.any())
                )
                claims["overall"][at], claims["rejected"][at] = word, rejected
            case "scaling":
                cells = {name: claims[name][at] for name in self._cell_variables}
                found = overall_scaling(instance.claim, cells, self.axes["n"], self.axes["d"], pending)
                for name, values in found.items():
                    claims[name][at] = values

    def _pending(self, instance: Instance, verdicts: NDArray[Any]) -> NDArray[np.bool_]:
        """Cells of the study to which a claim applies, and of which nothing is said yet."""
        found = np.zeros(verdicts.shape, dtype=bool)
        for cell in self.study.cells:
            place = self.store.index(cell)
            for depth, row in zip(cell.depths, self.store.depth_positions(cell.depths), strict=True):
                if verdicts[(*place, row)] == Verdict.NOT_EVALUATED:
                    found[(*place, row)] = instance.applies(self.study.context(cell, depth))
        return found

    def _fixed(self, used: int) -> bool:
        """Whether so many trials are those that were fixed in advance."""
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
        beside: dict[Part, tuple[DepthTrials, slice]],
    ) -> None:
        for name, at in self._claim.items():
            if name in self._bounds:
                instance = self._bounds[name]
                part = part_of(instance)
                if not part.plain and part not in beside:
                    continue  # of an earlier study: what was said of its networks stays
                mine, span = (trials, prefix) if part.plain else beside[part]
                confidence = self._together if instance.claim.kind == "scaling" else self.study.confidence
                verdict = judge(
                    instance,
                    context,
                    mine,
                    mine.over(span),
                    confidence,
                    first=span.start,
                    fixed=self._fixed(span.stop - span.start),
                )
            elif name in self._event:
                position = self._event.index(name)
                verdict = judge_event(estimates, position, self.axes["lambda_0"][position])
            else:
                continue  # a claim that was registered when the store was written, and is not now
            for variable in self._cell_variables:
                self.claims[variable][(at, *here)] = verdict.get(variable, VARIABLES["claims"][variable].fill)

    def _judge_overall(self) -> None:
        used = self.estimates["trials_used"]
        mine = np.zeros(used.shape, dtype=bool)
        for cell in self.study.cells:
            mine[self.store.index(cell)][self.store.depth_positions(cell.depths)] = True
        for name, at in self._claim.items():
            if name in self._bounds:
                self._judge_family(self._bounds[name], at)
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
