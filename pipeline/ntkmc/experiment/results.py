"""Reading a store: lazily, without any right to write, also while a run is going on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from ntkmc.errors import StoreError
from ntkmc.experiment.arrays import is_consolidated
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.journal import DirectoryBlobs, Journal
from ntkmc.experiment.loading import parse_study
from ntkmc.experiment.schema import GROUPS
from ntkmc.experiment.store import read_attributes
from ntkmc.experiment.study import Study


def open_results(store: str | Path) -> xr.DataTree:
    """The results tree of a store: groups `trials`, `estimates` and `claims`.

    Parameters
    ----------
    store : str or Path
        A directory that `ntkmc run` wrote, or is writing.

    Returns
    -------
    xarray.DataTree
        Lazy: values are read when they are looked at, and no file but the store's is needed. Blocks that are finished
        but not yet folded are shown too; only then is the `trials` group held in memory.

    Raises
    ------
    StoreError
        If there is no ntkmc store of this schema, or it cannot be opened.
    """
    path = Path(store)
    attributes = read_attributes(path)
    try:
        whole = is_consolidated(path)
        groups = {
            name: xr.open_dataset(path, engine="zarr", group=name, chunks=None, consolidated=whole) for name in GROUPS
        }
    except (OSError, KeyError, ValueError) as error:
        raise StoreError(
            f"{path}: cannot be opened ({error}); running its study again mends what can be mended"
        ) from error
    groups["trials"] = _with_journal(groups["trials"], path)
    tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})
    tree.attrs = attributes
    return tree


def study_of(attributes: dict[str, Any], path: Path) -> Study:
    """The study that a store was last run with."""
    return parse_study(attributes["study"], origin=str(path))


def stored_cells(attributes: dict[str, Any], path: Path) -> tuple[Cell, ...]:
    """Cells of all studies in a store's history, each once, with all their depths."""
    found: dict[str, Cell] = {}
    for entry in attributes["history"]:
        for cell in parse_study(entry["document"], origin=str(path)).cells:
            depths = set(cell.depths) | set(found[cell.name].depths if cell.name in found else ())
            found[cell.name] = Cell(cell.distribution, cell.d, cell.n, tuple(sorted(depths)))
    return tuple(found.values())


def _with_journal(trials: xr.Dataset, path: Path) -> xr.Dataset:
    blocks = list(Journal(DirectoryBlobs(path / "journal")).sound_blocks())
    if not blocks:
        return trials
    loaded = trials.load()
    positions = {
        dim: {value: i for i, value in enumerate(loaded[dim].to_numpy().tolist())}
        for dim in ("distribution", "d", "n", "depth")
    }
    for block in blocks:
        label, d, n = block.cell
        known = label in positions["distribution"] and d in positions["d"] and n in positions["n"]
        within = block.first + block.count <= loaded.sizes["trial"]
        if not known or not within or not set(block.depths) <= set(positions["depth"]):
            continue  # of an extension that began after this reader opened the store
        place = (positions["distribution"][label], positions["d"][d], positions["n"][n])
        span = slice(block.first, block.first + block.count)
        depths = [positions["depth"][depth] for depth in block.depths]
        for name, values in block.arrays.items():
            if name not in loaded:
                continue  # a statistic of a study that began after this reader opened the store
            target = loaded[name].to_numpy()
            if values.ndim == 1:
                measured = ~np.isnan(values)  # as in a fold: a failed trial does not erase what is known of its draw
                target[(*place, span)][measured] = values[measured]
            else:
                for row, depth in enumerate(depths):
                    target[(*place, depth, span)] = values[row]
    return loaded
