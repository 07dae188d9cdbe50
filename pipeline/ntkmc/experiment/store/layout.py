"""Layout of a store: create it, extend it to a study, check its identity, and read its root attributes.

The record of a store is its root attributes. They are written last, in one atomic write.
"""

from __future__ import annotations

import shutil
import uuid
from typing import Any, Final

import numpy as np
import zarr

from ntkmc.errors import StoreError
from ntkmc.experiment.schema.groups import (
    ALL_GROUPS,
    MIGRATED,
    VARIABLES,
    VERSION,
    declared,
    derived_groups,
    dimensions,
    groups_of,
)
from ntkmc.experiment.schema.variables import EXPONENT_AXES, QUANTILES
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
from ntkmc.experiment.study.measurements import MEASUREMENTS, measurements_of, values_by_group
from ntkmc.experiment.study.model import Study, hash_document
from ntkmc.theory.claims import select
from ntkmc.theory.claims.base import label
from ntkmc.theory.claims.probability import NONDEGENERATE
from ntkmc.theory.claims.trial_statistics import STATISTICS, required

SOFTWARE: Final = "ntkmc"


def create(location: Location, study: Study) -> None:
    """Create a store for a study, completely or not at all, unless it exists.

    An object store cannot rename folders. There the caller must hold the lease, and the root's attributes, which are
    written last, complete the store.

    Raises
    ------
    StoreError
        If `location` exists and is not a store of a study with the same identity, or cannot be written.
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
    # Built under another name and renamed: a store exists completely or not at all.
    aside = path.with_name(f".{path.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _build(Location(str(aside)), study)
        aside.rename(path)
    except OSError as error:
        if location.occupied():
            check_identity(location, study)  # another run was faster, and created the store
            return
        raise StoreError(f"{location}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def grow(location: Location, study: Study) -> tuple[str, ...]:
    """Extend a store to a study's grid, thresholds, claims and statistics, and add the study to its history.

    Returns
    -------
    tuple of str
        Statistics that the trials of earlier studies lack.
    """
    check_identity(location, study)
    root = location.open("r+")
    history: list[Any] = list(root.attrs.get("history", []))  # type: ignore[arg-type]
    recorded = recorded_coordinates(root)
    coordinates = _union(recorded, _coordinates(study))
    measured = recorded_statistics(root)
    # Never fewer than before: trials keep what was measured, and later trials of the store have it too.
    statistics = required([*measured, *study.statistics])
    try:
        extend_group(root, "trials", coordinates, study.trial_range.stop, statistics)
    except (KeyError, FileNotFoundError):
        raise StoreError(f"{location}: the group trials is missing; restore it from a copy") from None
    for axis in measurements_of(coordinates):
        trials = open_array(root, "trials", "status").shape[-1]
        try:
            if axis.dim in recorded:
                extend_group(root, axis.group, coordinates, trials)
            else:
                create_group(root, axis.group, coordinates, trials)
        except (KeyError, FileNotFoundError):
            raise StoreError(f"{location}: the group {axis.group} is missing; restore it from a copy") from None
    if coordinates != recorded or statistics != measured:
        # Not earlier: up to here the consolidated shapes from before the extension are valid for readers.
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
            except (KeyError, FileNotFoundError, StoreError):  # derived values can be computed again
                create_group(root, group, coordinates)
    _describe(root, study, coordinates)
    _plan(root, study, coordinates, recorded)
    # The record is written last, in one atomic write: until then the store keeps its old coordinates.
    # Keys about measurements that only earlier studies asked for stay in the identity.
    known: Any = root.attrs["identity"]
    root.attrs.update(_attributes(study, history, coordinates, statistics, known))
    consolidate(location)
    return tuple(name for name in statistics if name not in measured)


def sweep(location: Location) -> None:
    """Remove temporary files of killed writers, in the store and in its parent folder.

    Only the holder of the lease may call it.
    """
    if not location.remote:
        for group in ALL_GROUPS:  # killed between or after the two renames that replace a group
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
    """Return the coordinates of a store by dimension, from its record in the root's attributes."""
    record: Any = root.attrs["coordinates"]
    return {dim: list(values) for dim, values in record.items()}


def recorded_statistics(root: zarr.Group) -> tuple[str, ...]:
    """Return the statistics that a store's trials hold in addition to lambda_min."""
    record: Any = root.attrs["statistics"]
    return required(record)


def check_identity(location: Location, study: Study) -> None:
    """Raise `StoreError` unless a store exists, has a known schema, and has the identity of the study."""
    attributes = read_attributes(location)
    difference = identity_difference(attributes["identity"], study.identity())
    if difference:
        raise StoreError(
            f"{location}: holds results of another study: {difference}; choose another store (--store) for this study"
        )


def identity_difference(there: dict[str, Any], here: dict[str, Any]) -> str:
    """Describe the first difference between two identities; empty if there is none.

    Keys about spectra and about additional axes (such as finite widths) are compared only if the store has them.
    """
    for key, value in here.items():
        if key in (*MEASUREMENTS, "spectra") and key not in there:
            continue
        stored = there.get(key)
        if stored == value:
            continue
        if isinstance(stored, dict) and isinstance(value, dict):
            inner = next(name for name in {**stored, **value} if stored.get(name) != value.get(name))
            stored, value, key = stored.get(inner), value.get(inner), f"{key}.{inner}"
        return f"{key} is {_short(stored)} there and {_short(value)} here"
    return ""


def read_attributes(location: Location) -> dict[str, Any]:
    """Return the root attributes of a store; `StoreError` if the location is not a readable store."""
    if not location.occupied() and (location.remote or not location.path.exists()):
        raise StoreError(f"{location}: no such store")
    try:
        attributes = dict(location.open("r").attrs)
    except Exception:  # not a zarr group: any reader may fail in any way
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
    """Return the name of the first invalid root attribute; empty if all are valid."""
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
    # The record may have been edited or damaged: every coordinate must have values of its type, each once.
    dims = {dim for group in VARIABLES for dim in dimensions(group)}
    kinds = {"distribution": str, "claim": str, "axis": str, "lambda_0": float, "quantile": float}
    for dim in dims:
        values = attributes["coordinates"].get(dim)
        known = (kinds.get(dim, int), int) if kinds.get(dim) is float else kinds.get(dim, int)
        if not isinstance(values, list) or not all(isinstance(value, known) for value in values):
            return "coordinates"
        if len(set(values)) < len(values):
            return "coordinates"
    for axis in MEASUREMENTS.values():
        values = attributes["coordinates"].get(axis.dim, [])
        if not (isinstance(values, list) and all(isinstance(value, axis.value_type) for value in values)):
            return "coordinates"
        if len(set(values)) < len(values):
            return "coordinates"
    if not all(name in STATISTICS for name in attributes["statistics"]):
        return "statistics"
    return "environments" if not isinstance(attributes.get("environments", {}), dict) else ""


def _abandoned(location: Location) -> bool:
    """Return whether an object store holds only a store whose creation was interrupted."""
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
    """Return the root attributes; `known` is the identity already recorded in the store."""
    # The new keys are those of measurements that the store did not have.
    identity = known | study.identity()
    entry = {"study": study.digest(), "document": study.document(), "provenance": provenance()}
    if history and _timeless(history[-1]) == _timeless(entry):
        history = history[:-1]  # the same study, resumed: keep only the last entry
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
    """Return the coordinates that a study needs, in the order of the study."""
    values = values_by_group(study.additional_measurements)
    extra = {dim: list(steps) for group in values for dim, steps in MEASUREMENTS[group].extra_coordinates.items()}
    return (
        {MEASUREMENTS[group].dim: list(along) for group, along in values.items()}
        | extra
        | {
            "distribution": list(dict.fromkeys(cell.distribution.label for cell in study.cells)),
            "d": list(dict.fromkeys(cell.d for cell in study.cells)),
            "n": list(dict.fromkeys(cell.n for cell in study.cells)),
            "depth": sorted({depth for cell in study.cells for depth in cell.depths}),
            "lambda_0": list(study.event.lambda_0),
            "quantile": list(QUANTILES),
            "axis": list(EXPONENT_AXES),
            "claim": _claim_labels(study),
        }
    )


def _claim_labels(study: Study) -> list[str]:
    """Return the labels of all claim instances of a study."""
    labels = [instance.label for instance in study.instances]
    if NONDEGENERATE in select(study.claims):
        labels += [label(NONDEGENERATE.id, {"lambda_0": value}) for value in study.event.lambda_0]
    return labels


def _union(known: Coordinates, added: Coordinates) -> Coordinates:
    return {dim: list(dict.fromkeys([*known.get(dim, ()), *added.get(dim, ())])) for dim in {**known, **added}}


def _describe(root: zarr.Group, study: Study, coordinates: Coordinates) -> None:
    laws = {cell.distribution.label: cell.distribution for cell in study.cells}
    for group in groups_of(coordinates):
        if "distribution" in dimensions(group):
            write_descriptions(root, group, coordinates["distribution"], laws)


def _plan(root: zarr.Group, study: Study, coordinates: Coordinates, recorded: Coordinates) -> None:
    array = open_array(root, "trials", "planned")
    planned = np.zeros(array.shape, dtype=np.int64)
    # Outside the recorded coordinates there may be values of an extension that was killed.
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
