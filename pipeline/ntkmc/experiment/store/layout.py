"""A store is made, and grows with its studies; what it is can be asked without opening it for writing."""

from __future__ import annotations

import shutil
import uuid
from typing import Any, Final

import numpy as np
import zarr

from ntkmc.errors import StoreError
from ntkmc.experiment.schema.groups import (
    BESIDE_GROUPS,
    GROUPS,
    MIGRATED,
    VARIABLES,
    VERSION,
    declared,
    derived_groups,
    dimensions,
    groups_of,
)
from ntkmc.experiment.schema.variables import AXES, QUANTILES
from ntkmc.experiment.store.arrays import (
    Coordinates,
    check_declared,
    consolidate,
    create_group,
    extend_group,
    open_array,
    quiet_zarr,
    read_whole,
    regrow_group,
    unconsolidate,
    write_descriptions,
)
from ntkmc.experiment.store.location import PARTIAL, Location
from ntkmc.experiment.store.provenance import provenance
from ntkmc.experiment.study.measurements import AXES as PARTS
from ntkmc.experiment.study.measurements import axes_of, values_by_kind
from ntkmc.experiment.study.model import Study, hash_document
from ntkmc.theory.claims import select
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.probability import NONDEGENERATE
from ntkmc.theory.claims.trial_statistics import STATISTICS, required

SOFTWARE: Final = "ntkmc"


def create(location: Location, study: Study) -> None:
    """Make a new store for a study, whole or not at all, unless there is one already.

    On an object store, which cannot rename, hold the lease: there the root's attributes, put last, make it a store.

    Raises
    ------
    StoreError
        If `location` is something else than a store of a study with the same identity, or cannot be written.
    """
    if location.archived:
        raise StoreError(f"{location}: is an archive; to go on with it, unzip it into a folder")
    if location.occupied() and not _abandoned(location):
        check_identity(location, study)
        return
    if location.remote:
        _build(location, study)
        return
    path = location.path
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _build(Location(str(aside)), study)
        aside.rename(path)
    except OSError as error:
        if location.occupied():
            check_identity(location, study)  # another run was faster; its store serves as well
            return
        raise StoreError(f"{location}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def grow(location: Location, study: Study) -> tuple[str, ...]:
    """Extend an existing store to a study's grid, thresholds, claims and statistics, and enter it in the history.

    Returns
    -------
    tuple of str
        Statistics that trials of earlier studies lack.
    """
    check_identity(location, study)
    root = location.open("r+")
    history: list[Any] = list(root.attrs.get("history", []))  # type: ignore[arg-type]
    recorded = recorded_coordinates(root)
    coordinates = _union(recorded, _coordinates(study))
    measured = recorded_statistics(root)
    statistics = required([*measured, *study.statistics])
    try:
        extend_group(root, "trials", coordinates, study.trial_range.stop, statistics)
    except (KeyError, FileNotFoundError):
        raise StoreError(f"{location}: the group trials is missing; restore it from a copy") from None
    for axis in axes_of(coordinates):
        trials = open_array(root, "trials", "status").shape[-1]
        try:
            if axis.dim in recorded:
                extend_group(root, axis.kind, coordinates, trials)
            else:
                create_group(root, axis.kind, coordinates, trials)
        except (KeyError, FileNotFoundError):
            raise StoreError(f"{location}: the group {axis.kind} is missing; restore it from a copy") from None
    if coordinates != recorded or statistics != measured:
        # Only now: until here readers were best served by the shapes from before.
        unconsolidate(location)
    if "blocks" not in root:
        create_group(root, "blocks", coordinates)
    for group in derived_groups(coordinates):
        with quiet_zarr():
            try:
                if coordinates != recorded:
                    regrow_group(root, location, group, recorded, coordinates)
                else:
                    extend_group(root, group, coordinates)
                for name, variable in declared(group).items():
                    lengths = {dim: len(coordinates[dim]) for dim in variable.dims}
                    check_declared(open_array(root, group, name), variable, lengths)
            except (KeyError, FileNotFoundError, StoreError):  # what is derived can be derived again
                create_group(root, group, coordinates)
    _describe(root, study, coordinates)
    _plan(root, study, coordinates, recorded)
    # The record comes last, in one atomic write: until then the store is what it was.
    known: Any = root.attrs["identity"]
    root.attrs.update(_attributes(study, history, coordinates, statistics, known))
    consolidate(location)
    return tuple(name for name in statistics if name not in measured)


def sweep(location: Location) -> None:
    """Remove what killed writers left behind, in the store and beside it. For the holder of the lease alone."""
    if not location.remote:
        for group in (*GROUPS, *BESIDE_GROUPS):  # killed between the two renames that replace a group, or after them
            old, new = location.path / f".{group}.old", location.path / group
            if old.exists() and not new.exists():
                old.rename(new)
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(location.path / f".{group}{PARTIAL}", ignore_errors=True)
    location.blobs().sweep()
    if not location.remote:
        for aside in location.path.parent.glob(f".{location.name}.*{PARTIAL}"):
            shutil.rmtree(aside, ignore_errors=True)


def recorded_coordinates(root: zarr.Group) -> Coordinates:
    """The coordinates of a store, by dimension: its record, in the root's attributes, is what counts."""
    record: Any = root.attrs["coordinates"]
    return {dim: list(values) for dim, values in record.items()}


def recorded_statistics(root: zarr.Group) -> tuple[str, ...]:
    """Statistics that a store's trials hold beside lambda_min."""
    record: Any = root.attrs["statistics"]
    return required(record)


def check_identity(location: Location, study: Study) -> None:
    """Refuse a store that is not there, not ours, of another schema, or of a study with another identity."""
    attributes = read_attributes(location)
    difference = identity_difference(attributes["identity"], study.identity())
    if difference:
        raise StoreError(
            f"{location}: holds results of another study: {difference}; choose another store (--store) for this study"
        )


def identity_difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """The first part of two identities that differs, in words; empty if none does.

    How networks, or anything beside the draws, and spectra are computed concerns those alone that have any.
    """
    for key, value in here.items():
        if key in (*PARTS, "spectra") and key not in there:
            continue
        found = there.get(key)
        if found == value:
            continue
        if isinstance(found, dict) and isinstance(value, dict):
            inner = next(name for name in {**found, **value} if found.get(name) != value.get(name))
            found, value, key = found.get(inner), value.get(inner), f"{key}.{inner}"
        return f"{key} is {_short(found)} there and {_short(value)} here"
    return ""


def read_attributes(location: Location) -> dict[str, Any]:
    """Root attributes of a store, or a `StoreError` that says what the location is instead."""
    if not location.occupied() and (location.remote or not location.path.exists()):
        raise StoreError(f"{location}: no such store")
    try:
        attributes = dict(location.open("r").attrs)
    except Exception:  # whatever is there, it is not one of ours
        attributes = {}
    if attributes.get("software") != SOFTWARE:
        raise StoreError(f"{location}: exists and is not an ntkmc store (it is left untouched)")
    if attributes.get("schema") not in (*MIGRATED, VERSION):
        raise StoreError(
            f"{location}: has store schema {attributes.get('schema')}, this version reads {VERSION}: use the version "
            "of ntkmc that wrote it (its attribute provenance names it), or run the study again into another store"
        )
    wrong = _wrong(attributes)
    if wrong:
        raise StoreError(f"{location}: its root attribute {wrong} is damaged; restore its zarr.json from a copy")
    return attributes


def _wrong(attributes: dict[str, Any]) -> str:
    """Name of the first root attribute that is not what it should be; empty if none is."""
    for key, kind in {
        "identity": dict,
        "study": dict,
        "history": list,
        "coordinates": dict,
        "statistics": list,
    }.items():
        if not isinstance(attributes.get(key), kind):
            return key
    for entry in attributes["history"]:
        if not (isinstance(entry, dict) and isinstance(entry.get("document"), dict)):
            return "history"
        if not (isinstance(entry.get("study"), str) and isinstance(entry.get("provenance"), dict)):
            return "history"
    wanted = {dim for group in VARIABLES for dim in dimensions(group)}
    kinds = {"distribution": str, "claim": str, "axis": str, "lambda_0": float, "quantile": float}
    for dim in wanted:
        values = attributes["coordinates"].get(dim)
        known = (kinds.get(dim, int), int) if kinds.get(dim) is float else kinds.get(dim, int)
        if not isinstance(values, list) or not all(isinstance(value, known) for value in values):
            return "coordinates"
        if len(set(values)) < len(values):
            return "coordinates"
    for axis in PARTS.values():
        values = attributes["coordinates"].get(axis.dim, [])
        if not (isinstance(values, list) and all(isinstance(value, axis.kind_of_value) for value in values)):
            return "coordinates"
        if len(set(values)) < len(values):
            return "coordinates"
    if not all(name in STATISTICS for name in attributes["statistics"]):
        return "statistics"
    return "environments" if not isinstance(attributes.get("environments", {}), dict) else ""


def _abandoned(location: Location) -> bool:
    """Whether an object store holds a store whose making was interrupted, and nothing else."""
    if not location.remote:
        return False
    try:
        return dict(location.open("r").attrs) == {"making": SOFTWARE}
    except Exception:
        return False


def _build(location: Location, study: Study) -> None:
    with quiet_zarr():
        coordinates = _coordinates(study)
        root = location.open("a", attributes={"making": SOFTWARE})
        for group in groups_of(coordinates):
            create_group(root, group, coordinates, study.trial_range.stop, statistics=study.statistics)
        _describe(root, study, coordinates)
        _plan(root, study, coordinates, coordinates)
        root.attrs.put(_attributes(study, [], coordinates, study.statistics, {}))
    consolidate(location)


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _attributes(
    study: Study,
    history: list[Any],
    coordinates: Coordinates,
    statistics: tuple[str, ...],
    known: dict[str, Any],
) -> dict[str, Any]:
    """Root attributes; `known` is the identity that the store has already."""
    identity = known | study.identity()
    entry = {"study": study.digest(), "document": study.document(), "provenance": provenance()}
    if history and _timeless(history[-1]) == _timeless(entry):
        history = history[:-1]  # the same again, as a run that is resumed time after time
    return {
        "software": SOFTWARE,
        "schema": VERSION,
        "identity": identity,
        "identity_hash": hash_document(identity),
        "study": study.document(),
        "study_hash": study.digest(),
        "coordinates": coordinates,
        "statistics": list(statistics),
        "history": [*history, entry],
        "provenance": entry["provenance"],
    }


def _timeless(entry: dict[str, Any]) -> dict[str, Any]:
    return entry | {"provenance": {key: value for key, value in entry["provenance"].items() if key != "time"}}


def _coordinates(study: Study) -> Coordinates:
    """Coordinates that a study needs, in its own order; further axes only where it asks for them."""
    beside = values_by_kind(study.beside)
    further = {dim: list(values) for kind in beside for dim, values in PARTS[kind].further.items()}
    return (
        {PARTS[kind].dim: list(values) for kind, values in beside.items()}
        | further
        | {
            "distribution": list(dict.fromkeys(cell.distribution.label for cell in study.cells)),
            "d": list(dict.fromkeys(cell.d for cell in study.cells)),
            "n": list(dict.fromkeys(cell.n for cell in study.cells)),
            "depth": sorted({depth for cell in study.cells for depth in cell.depths}),
            "lambda_0": list(study.event.lambda_0),
            "quantile": list(QUANTILES),
            "axis": list(AXES),
            "claim": _claim_labels(study),
        }
    )


def _claim_labels(study: Study) -> list[str]:
    """Labels of all claim instances that a study asks for."""
    labels = [instance.label for instance in study.instances]
    if NONDEGENERATE in select(study.claims):
        labels += [label(NONDEGENERATE.id, {"lambda_0": value}) for value in study.event.lambda_0]
    return labels


def _union(known: Coordinates, wanted: Coordinates) -> Coordinates:
    return {dim: list(dict.fromkeys([*known.get(dim, ()), *wanted.get(dim, ())])) for dim in {**known, **wanted}}


def _describe(root: zarr.Group, study: Study, coordinates: Coordinates) -> None:
    laws = {cell.distribution.label: cell.distribution for cell in study.cells}
    for group in groups_of(coordinates):
        if "distribution" in dimensions(group):
            write_descriptions(root, group, coordinates["distribution"], laws)


def _plan(root: zarr.Group, study: Study, coordinates: Coordinates, recorded: Coordinates) -> None:
    array = open_array(root, "trials", "planned")
    planned = np.zeros(array.shape, dtype=np.int64)
    # Beyond the record there may be plans of an extension that was killed.
    known = tuple(slice(len(recorded[dim])) for dim in ("distribution", "d", "n"))
    planned[known] = read_whole(root, "trials", "planned")[known]
    for cell in study.cells:
        place = (
            coordinates["distribution"].index(cell.distribution.label),
            coordinates["d"].index(cell.d),
            coordinates["n"].index(cell.n),
        )
        planned[place] = max(planned[place], study.trial_range.stop)
    array[...] = planned
