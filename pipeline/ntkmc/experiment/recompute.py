"""Trials of a store, recomputed alone from their addresses and laid beside what is stored."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ntkmc.errors import InputError
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.creating import check_identity
from ntkmc.experiment.location import Location
from ntkmc.experiment.results import open_results, stored_cells, study_of
from ntkmc.experiment.schema import trial_variables
from ntkmc.experiment.study import Study, find_cell
from ntkmc.experiment.trial import Arrays, BlockTask, Recipe, run_block
from ntkmc.theory.claims.statistics import required

Comparison = tuple[str, int | None, float, float]
"""Variable, depth (None for a per-draw variable), value here, value in the store."""


def compare_trial(store: str | Path, cell_name: str, trial: int, study: Study | None = None) -> list[Comparison]:
    """Recompute one trial in this process, without Dask.

    Parameters
    ----------
    store : str or Path
    cell_name : str
        `sphere,d=32,n=16`.
    trial : int
        Its number.
    study : Study, optional
        Where the code of laws of your own comes from, which is not imported on the store's word.

    Raises
    ------
    InputError
        If the store has no such cell, or the trial has not been run there, or its law is code that no study names.
    """
    location = Location.of(store)
    tree = open_results(store)
    origin = str(location)
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
    depths = tuple(depth for depth in here["depth"].to_numpy().tolist() if int(stored["status"].sel(depth=depth)) != 0)
    if not depths:
        raise InputError(f"trial {trial} of {cell_name} has not been run yet in {origin}")
    statistics = required(tree.attrs["statistics"])
    arrays = recomputed(study or study_of(tree.attrs, origin), statistics, cell, depths, trial)
    found: list[Comparison] = []
    for name, variable in trial_variables(statistics).items():
        if variable.per_depth:
            for row, depth in enumerate(depths):
                there = np.asarray(stored[name].sel(depth=depth)).item()
                found.append((name, depth, arrays[name][row, 0].item(), there))
        else:
            found.append((name, None, arrays[name][0].item(), np.asarray(stored[name]).item()))
    return found


def recomputed(study: Study, statistics: tuple[str, ...], cell: Cell, depths: tuple[int, ...], trial: int) -> Arrays:
    """All variables of one trial, as blocks of length one: (depths, 1) or (1,)."""
    recipe = Recipe.of(study, statistics)
    return run_block(BlockTask(recipe, cell.distribution, cell.d, cell.n, depths, cell.folder, trial, 1))
