"""One trial of a store, recomputed alone from its address and laid beside what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ntkmc.errors import InputError
from ntkmc.experiment.results import open_results, stored_cells, study_of
from ntkmc.experiment.schema import trial_variables
from ntkmc.experiment.study import find_cell
from ntkmc.experiment.trial import BlockTask, Recipe, run_block
from ntkmc.theory.claims.statistics import required

Comparison = tuple[str, int | None, float, float]
"""Variable, depth (None for a per-draw variable), value here, value in the store."""


def compare_trial(store: str | Path, cell_name: str, trial: int) -> list[Comparison]:
    """Recompute one trial in this process, without Dask.

    Parameters
    ----------
    store : str or Path
    cell_name : str
        `sphere,d=32,n=16`.
    trial : int
        Its number.

    Raises
    ------
    InputError
        If the store has no such cell, or the trial has not been run there.
    """
    path = Path(store)
    tree = open_results(path)
    attributes = {str(name): value for name, value in tree.attrs.items()}
    study = study_of(attributes, path)
    cell = find_cell(stored_cells(attributes, path), cell_name)
    group = tree["trials"].to_dataset()
    here = group.sel(distribution=cell.distribution.label, d=cell.d, n=cell.n)
    if trial >= here.sizes["trial"]:
        raise InputError(
            f"trial {trial} of {cell_name} is not in {path}: it has trials up to {here.sizes['trial'] - 1}"
        )
    stored = here.isel(trial=trial).load()
    depths = tuple(depth for depth in cell.depths if int(stored["status"].sel(depth=depth)) != 0)
    if not depths:
        raise InputError(f"trial {trial} of {cell_name} has not been run yet in {path}")
    statistics = required(attributes["statistics"])
    recipe = Recipe.of(study, statistics)
    arrays = run_block(BlockTask(recipe, cell.distribution, cell.d, cell.n, depths, cell.folder, trial, 1))
    found: list[Comparison] = []
    for name, variable in trial_variables(statistics).items():
        if variable.per_depth:
            for row, depth in enumerate(depths):
                there = np.asarray(stored[name].sel(depth=depth)).item()
                found.append((name, depth, arrays[name][row, 0].item(), there))
        else:
            found.append((name, None, arrays[name][0].item(), np.asarray(stored[name]).item()))
    return found
