"""Recompute single trials of a store from their addresses, and compare them with the stored values."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr

from ntkmc.errors import InputError
from ntkmc.experiment.analysis.verdicts import judge
from ntkmc.experiment.schema.groups import trial_variables
from ntkmc.experiment.store.layout import check_identity
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.reading import as_stored, open_results, stored_cells, study_of
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import (
    DRAWS,
    Measurement,
    MeasurementKey,
    measurements_of,
    stored_keys,
    values_by_group,
)
from ntkmc.experiment.study.model import Study, find_cell
from ntkmc.experiment.trial.draw import TrialConfig
from ntkmc.experiment.trial.run import Arrays, BlockTask, run_block
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import CLAIMS, DeterministicClaim, InequalityClaim, instances
from ntkmc.theory.claims.trial_statistics import STATISTICS, required

Comparison = tuple[str, int | None, float, float]
"""Variable, depth (None for a per-draw variable), recomputed value, stored value."""


def compare_trial(store: str | Path, cell_name: str, trial: int, study: Study | None = None) -> list[Comparison]:
    """Recompute one trial in this process, without Dask, and list its values with those of the store.

    Parameters
    ----------
    store : str or Path
    cell_name : str
        Such as `sphere,d=32,n=16`.
    trial : int
        Number of the trial.
    study : Study, optional
        Study that provides the code of the user's own laws, which is never imported from a store.

    Raises
    ------
    InputError
        If the store has no such cell, the trial has not been run, or its law is code that no study provides.
    """
    location = Location.of(store)
    tree = open_results(store)
    origin = str(location)
    # Another seed or kernel would give other bits, and every comparison would fail.
    if study is not None:
        check_identity(location, study)
    own = study.cells if study is not None else ()
    cell = find_cell((*own, *stored_cells(tree.attrs, origin)), cell_name)
    group = tree["trials"].to_dataset()
    here = group.sel(distribution=cell.distribution.label, d=cell.d, n=cell.n)
    if trial >= here.sizes["trial"]:
        raise InputError(
            f"trial {trial} of {cell_name} is not in {origin}: it has trials up to {here.sizes['trial'] - 1}"
        )
    stored = here.isel(trial=trial).load()
    # Only depths at which the trial has run; no bit of one depends on which others are measured.
    depths = tuple(depth for depth in here["depth"].to_numpy().tolist() if int(stored["status"].sel(depth=depth)) != 0)
    if not depths:
        raise InputError(f"trial {trial} of {cell_name} has not been run yet in {origin}")
    statistics = required(tree.attrs["statistics"])
    trusted = as_stored(study, tree.attrs) if study else study_of(tree.attrs, origin)
    arrays = recomputed(trusted, statistics, cell, depths, trial)
    comparisons: list[Comparison] = []
    for name, variable in trial_variables(statistics).items():
        if variable.per_depth:
            for row, depth in enumerate(depths):
                there = np.asarray(stored[name].sel(depth=depth)).item()
                comparisons.append((name, depth, arrays[name][row, 0].item(), there))
        else:
            comparisons.append((name, None, arrays[name][0].item(), np.asarray(stored[name]).item()))
    for axis in measurements_of(tree.attrs["coordinates"]):
        axis_data = tree[axis.group].to_dataset().sel(distribution=cell.distribution.label, d=cell.d, n=cell.n)
        comparisons += _compare_along(axis, trusted, axis_data, cell, trial)
    return comparisons


def _compare_along(axis: Measurement, study: Study, stored: xr.Dataset, cell: Cell, trial: int) -> list[Comparison]:
    """Return the comparisons along an additional axis, with names such as `network_lambda_min[m=64]`."""
    comparisons: list[Comparison] = []
    for value in stored[axis.dim].to_numpy().tolist():
        stored_trial = stored.sel({axis.dim: value}).isel(trial=trial).load()
        depths = tuple(
            depth_value
            for depth_value in stored_trial["depth"].to_numpy().tolist()
            if stored_trial["status"].sel(depth=depth_value) != 0
        )
        if not depths:
            continue
        arrays = recomputed(study, (), cell, depths, trial, MeasurementKey(axis.group, value))
        for name, values in arrays.items():
            for row, depth in enumerate(depths):
                other = stored_trial[name].sel(depth=depth)
                # One comparison per number: a difference in a curve is shown with its step.
                for at in np.ndindex(other.shape):  # a scalar, or a curve
                    steps = "".join(
                        f",{dim}={stored_trial[dim].to_numpy()[i]}"
                        for dim, i in zip(stored_trial[name].dims[-len(at) :] if at else (), at, strict=True)
                    )
                    value_name = f"{axis.prefix}{name}[{axis.symbol}={value}{steps}]"
                    comparisons.append((value_name, depth, values[(row, 0, *at)].item(), other.to_numpy()[at].item()))
    return comparisons


Margin = tuple[str, int, float, float, float, float, str]
"""Claim's label, depth, ends of the bound, ends of the bounded quantity, and the verdict for the trial."""


def claim_margins(
    store: str | Path, cell_name: str, trial: int, claim: str | None = None, study: Study | None = None
) -> list[Margin]:
    """Evaluate claims in one trial, recomputed in this process: each bound and the quantity that it bounds.

    Parameters
    ----------
    store, cell_name, trial, study
        As in `compare_trial`. Call that function first: it raises informative errors for invalid values.
    claim : str, optional
        An id, or a label with its parameters; without it, the claims that the trial violates.

    Raises
    ------
    InputError
        If there is no such claim, it has no bound for a single trial, or it does not apply to the cell.
    """
    tree = open_results(store)
    own = as_stored(study, tree.attrs) if study else study_of(tree.attrs, str(Location.of(store)))
    cells = stored_cells(tree.attrs, str(Location.of(store)))
    cell = find_cell((*(study.cells if study is not None else ()), *cells), cell_name)
    claim_id = None if claim is None else CLAIMS[claim.partition("[")[0]].id
    chosen = [
        (instance, instance.claim)
        for instance in instances(values=values_by_group(stored_keys(tree.attrs["coordinates"])))
        if isinstance(instance.claim, InequalityClaim)
        # A label selects one instance; an id selects all instances of a claim.
        and (claim is None or (claim in (instance.label, claim_id) and instance.claim.id == claim_id))
    ]
    if not chosen:
        raise InputError(f"{claim} is not a bound that a single trial keeps to or violates")
    lacking = sorted({name for instance, _ in chosen for name in instance.needs} & set(STATISTICS)) if claim else []
    statistics = required([*tree.attrs["statistics"], *lacking])
    arrays = recomputed(own, statistics, cell, cell.depths, trial)
    others = {
        measurement: recomputed(own, (), cell, cell.depths, trial, measurement)
        for measurement in dict.fromkeys(MeasurementKey.of(instance) for instance, _ in chosen)
        if not measurement.is_draws
    }
    margins: list[Margin] = []
    applied = False
    for row, depth in enumerate(cell.depths):
        context = own.context(cell, depth)
        values = {name: array[row] if array.ndim == 2 else array for name, array in arrays.items()}
        values |= _neighbours(own, cell, context, arrays, trial)
        for instance, inequality in chosen:
            measurement = MeasurementKey.of(instance)
            measured = values
            if not measurement.is_draws:
                measured = values | {
                    f"{measurement.axis.prefix}{name}": array[row] for name, array in others[measurement].items()
                }
                measured["status"] = others[measurement]["status"][row]
            if not instance.applies(context) or any(name not in measured for name in instance.needs):
                continue
            applied = True
            bound, quantity = instance.bound(context, measured), inequality.quantity(context, measured)
            ends = [float(end[0]) for end in (bound.lower, bound.upper, quantity.lower, quantity.upper)]
            verdict = judge(instance, context, measured, measured, own.confidence, first=trial)
            word = "violated" if verdict.get("violations") else "vacuous" if verdict.get("vacuous") else "holds"
            if claim is not None or (word == "violated" and isinstance(inequality, DeterministicClaim)):
                margins.append((instance.label, depth, ends[0], ends[1], ends[2], ends[3], word))
    if claim is not None and not applied:
        raise InputError(f"{claim} does not apply to {cell_name}: ntkmc claims {claim_id} says where it does")
    return margins


def _neighbours(study: Study, cell: Cell, context: CellContext, arrays: Arrays, trial: int) -> Arrays:
    """Return lambda_min of the same draw at the next smaller depth, and of its first rows."""
    neighbours: Arrays = {}
    if context.shallower is not None:
        row = cell.depths.index(context.shallower)
        neighbours |= {f"shallower_{end}": arrays[f"lambda_min_{end}"][row] for end in ("lower", "upper")}
    if context.fewer is not None:
        # Its rows are the first rows of this draw, as the study is nested.
        smaller = Cell(cell.distribution, cell.d, context.fewer, (context.depth,))
        other = recomputed(study, required(()), smaller, smaller.depths, trial)
        neighbours |= {f"fewer_{end}": other[f"lambda_min_{end}"][0] for end in ("lower", "upper")}
    return neighbours


def recomputed(
    study: Study,
    statistics: tuple[str, ...],
    cell: Cell,
    depths: tuple[int, ...],
    trial: int,
    measurement: MeasurementKey = DRAWS,
) -> Arrays:
    """Recompute all variables of one measurement of a trial as a block of length one: (depths, 1) or (1,)."""
    config = TrialConfig.of(study, statistics)
    return run_block(BlockTask(config, cell.distribution, cell.d, cell.n, depths, cell.folder, trial, 1, measurement))
