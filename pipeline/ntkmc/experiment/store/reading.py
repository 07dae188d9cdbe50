"""Readers of a store: lazy, without write access, also while a run is writing.

A store may be damaged in any way; readers report damage as a one-line `StoreError`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from ntkmc.errors import InputError, NtkmcError, StoreError
from ntkmc.experiment.schema.groups import PER_TRIAL, declared, groups_of
from ntkmc.experiment.store.arrays import is_consolidated
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.layout import read_attributes
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.store import JOURNAL
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.model import Study
from ntkmc.theory.claims.trial_statistics import STATISTICS
from ntkmc.theory.distributions import DISTRIBUTIONS, Unimported
from ntkmc.theory.distributions.base import canonical

UNREADABLE: Final = (
    ValueError,
    OSError,
    RuntimeError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    AssertionError,
)
"""Exceptions that zarr, xarray, and code that relies on the schema raise for damaged files."""


@contextmanager
def translate_store_errors(store: Any) -> Iterator[None]:
    """Convert exceptions raised by a damaged store into `StoreError`."""
    try:
        yield
    except NtkmcError:
        raise
    except UNREADABLE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise StoreError(
            f"{Location.of(store)}: cannot be read ({reason}); running its study again mends damaged pieces, "
            "`ntkmc verify` names them"
        ) from error


_ATTEMPTS: Final = 4
_PAUSE: Final = 0.3  # seconds between attempts


def open_results(store: str | Path) -> xr.DataTree:
    """Open the results of a store as a tree with the groups `trials`, `estimates`, `claims` and `blocks`.

    Studies of finite widths add the groups `finite_width` and `convergence`; studies of features add `sketching` and
    `sketch_accuracy`.

    Parameters
    ----------
    store : str or Path
        A folder that `ntkmc run` wrote, or is writing; the URL of one (`s3://bucket/run.zarr`); or its archive.

    Returns
    -------
    xarray.DataTree
        Lazy: values are read when they are accessed. Finished blocks that are not yet folded are included; only if
        there are any is the `trials` group held in memory.

    Raises
    ------
    StoreError
        If there is no ntkmc store of this schema, or it cannot be opened.
    """
    location = Location.of(store)
    # A run extends a store within a second; a store that is still unreadable then is damaged.
    for _ in range(_ATTEMPTS):
        attributes = read_attributes(location)
        try:
            return _opened(location, attributes)
        except StoreError:  # a run may be extending the store, whose shapes then change one by one
            time.sleep(_PAUSE)
    return _opened(location, attributes)


def _opened(location: Location, attributes: dict[str, Any]) -> xr.DataTree:
    with translate_store_errors(location):
        # Without consolidated metadata a run is extending the store: read the metadata of each array.
        whole = is_consolidated(location)
        groups = {
            name: xr.open_dataset(
                location.source,
                engine="zarr",
                group=name,
                chunks=None,
                consolidated=whole,
                storage_options=location.storage_options,
            )
            for name in groups_of(attributes["coordinates"])
            if name != "blocks" or attributes["schema"] > 2
        }
        for name, dataset in groups.items():
            # Statistics depend on the claims of the studies; all other variables must be there.
            lacking = set(declared(name)) - set(map(str, dataset.variables)) - set(STATISTICS)
            if lacking:
                raise KeyError(f"{name}/{min(lacking)} is missing")
        groups |= _with_journal({name: groups[name] for name in PER_TRIAL if name in groups}, location)
        tree = xr.DataTree.from_dict({f"/{name}": dataset for name, dataset in groups.items()})
    tree.attrs = attributes
    return tree


def study_of(attributes: Mapping[Any, Any], origin: str) -> Study:
    """Return the study that a store was last run with, without importing the user's own laws."""
    return as_stored(parse_study(attributes["study"], origin=origin, trusted=False), attributes)


def as_stored(study: Study, attributes: Mapping[Any, Any]) -> Study:
    """Return the study with the sketching method of the store, if the study itself has no features."""
    known = attributes["identity"].get("sketching")
    return study.model_copy(update={"sketch": known["method"]}) if known and not study.features else study


def stored_studies(attributes: Mapping[Any, Any], origin: str) -> tuple[Study, ...]:
    """Return the distinct studies that a store was run with, in the order of their last runs."""
    # From the last run back, so that each study is kept at the position of its last run.
    documents = {entry["study"]: entry["document"] for entry in reversed(attributes["history"])}
    return tuple(parse_study(document, origin=origin, trusted=False) for document in reversed(documents.values()))


def stored_cells(attributes: Mapping[Any, Any], origin: str) -> tuple[Cell, ...]:
    """Return the distinct cells of all studies in a store's history, with all their depths."""
    return united_cells(stored_studies(attributes, origin))


def united_cells(studies: Iterable[Study]) -> tuple[Cell, ...]:
    """Return the distinct cells of several studies, with all their depths."""
    cells: dict[str, Cell] = {}
    for study in studies:
        for cell in study.cells:
            depths = set(cell.depths) | set(cells[cell.name].depths if cell.name in cells else ())
            cells[cell.name] = Cell(cell.distribution, cell.d, cell.n, tuple(sorted(depths)))
    return tuple(cells.values())


Parameters = dict[str, int | float | str]


def attributes_without_imports(tree: xr.DataTree) -> dict[str, Any]:
    """Return the attributes of a results tree, with every law that is not built in replaced by its description.

    `parse_study(..., trusted=False)` imports no `module:function`, but it does import the laws of installed packages:
    their parameters, which are part of a label, are complete only in code. Views import nothing. They take the
    parameters from the coordinates `distribution_name` and `distribution_params`.

    Parameters
    ----------
    tree : xarray.DataTree
        As returned by `open_results`.

    Returns
    -------
    dict
        As `tree.attrs`; laws of installed packages in `study` and `history` are `Unimported`.

    Raises
    ------
    InputError
        If several laws of the store fit what a study says of one.
    """
    attributes = {str(key): value for key, value in tree.attrs.items()}
    documents = [attributes["study"], *(entry["document"] for entry in attributes["history"])]
    named = [law for document in documents for law in map(_package_law, _laws(document)) if law]
    if not named:
        return attributes
    trials = tree["trials"]
    stored = list(
        zip(
            trials["distribution_name"].to_numpy().tolist(),
            map(json.loads, trials["distribution_params"].to_numpy().tolist()),
            strict=True,
        )
    )
    attributes["study"] = _described(attributes["study"], named, stored)
    attributes["history"] = [
        entry | {"document": _described(entry["document"], named, stored)} for entry in attributes["history"]
    ]
    return attributes


def _laws(document: Any) -> list[Any]:
    """Return what a study's document names as laws."""
    try:
        return [law for grid in document["grid"] for law in grid["distribution"]]
    except (TypeError, KeyError):
        return []  # damaged: `parse_study` says how


def _package_law(spec: Any) -> tuple[str, Parameters] | None:
    """Return name and given parameters of a law of an installed package; None for any other law."""
    name, given = next(iter(spec.items())) if isinstance(spec, Mapping) and len(spec) == 1 else (spec, {})
    given = given or {}
    if not isinstance(name, str) or name in DISTRIBUTIONS or ":" in name or not isinstance(given, Mapping):
        return None
    return name, {key: canonical(value) for key, value in given.items()}


def _described(document: Any, named: list[tuple[str, Parameters]], stored: list[tuple[str, Parameters]]) -> Any:
    def describe(spec: Any) -> Any:
        law = _package_law(spec)
        return spec if law is None else Unimported(law[0], tuple(sorted(_complete(law, named, stored).items())))

    if not _laws(document):
        return document
    grids = [grid | {"distribution": [describe(spec) for spec in grid["distribution"]]} for grid in document["grid"]]
    return document | {"grid": grids}


def _complete(
    law: tuple[str, Parameters], named: list[tuple[str, Parameters]], stored: list[tuple[str, Parameters]]
) -> Parameters:
    """Return all parameters of a law, defaults included, by the laws that the store holds."""
    fitting = [candidate for candidate in stored if _fits(law, candidate)]
    # Each law of the store was named by some study: if only this name fits a law of the store, it is that law's.
    only = [candidate for candidate in fitting if all(other == law for other in named if _fits(other, candidate))]
    chosen = only or fitting
    if len(chosen) > 1:
        raise InputError(f"distribution {law[0]}: {len(chosen)} laws of the store fit its parameters {law[1]}")
    return chosen[0][1] if chosen else law[1]


def _fits(law: tuple[str, Parameters], stored: tuple[str, Parameters]) -> bool:
    return law[0] == stored[0] and law[1].items() <= stored[1].items()


def _with_journal(groups: dict[str, xr.Dataset], location: Location) -> dict[str, xr.Dataset]:
    """Return the groups with one value per trial; those with blocks in the journal in memory, with the blocks."""
    loaded = dict(groups)
    for block in Journal(location.blobs(JOURNAL)).sound_blocks():
        name = block.measurement.group
        if name not in groups:
            continue  # of an axis that was added after this reader opened the store
        # Only a group that has blocks in the journal is loaded into memory.
        if loaded[name] is groups[name]:
            loaded[name] = groups[name].load().copy()
        _enter(loaded[name], block)
    return loaded


def _enter(loaded: xr.Dataset, block: Block) -> None:
    """Copy the values of a block into the loaded group."""
    label, d, n = block.cell
    block_coordinates: dict[str, list[Any]] = {
        "distribution": [label],
        "d": [d],
        "n": [n],
        "depth": list(block.depths),
    }
    block_coordinates |= {dim: [value] for dim, value in block.measurement.coordinates.items()}
    known = {dim: loaded[dim].to_numpy().tolist() for dim in block_coordinates}
    within = block.first + block.count <= loaded.sizes["trial"]
    if not within or not all(set(values) <= set(known[dim]) for dim, values in block_coordinates.items()):
        return  # of an extension that began after this reader opened the store
    at: dict[str, Any] = {dim: known[dim].index(values[0]) for dim, values in block_coordinates.items()}
    at["trial"] = slice(block.first, block.first + block.count)
    for name, values in block.arrays.items():
        if name not in loaded:
            continue  # a statistic of a study that began after this reader opened the store
        target, dims = loaded[name].to_numpy(), list(map(str, loaded[name].dims))
        if values.ndim == 1:
            measured = ~np.isnan(values)  # as in a fold: a failed trial does not erase values of its draw
            target[tuple(at[dim] for dim in dims)][measured] = values[measured]
        else:
            for row, depth in enumerate(block.depths):
                here = at | {"depth": known["depth"].index(depth)}
                target[tuple(here.get(dim, slice(None)) for dim in dims)] = values[row]
