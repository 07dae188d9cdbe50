"""Groups of arrays in zarr: create, extend and consolidate them as the schema declares them."""

from __future__ import annotations

import json
import math
import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from ntkmc.errors import StoreError
from ntkmc.experiment.schema.groups import (
    ALL_GROUPS,
    PER_TRIAL,
    declared,
    dimensions,
    group_variables,
)
from ntkmc.experiment.schema.variables import COORDINATES
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.study.variables import CELL, Variable
from ntkmc.theory.distributions import Distribution

Coordinates = dict[str, list[Any]]
"""Values of each dimension's coordinate, in the order of the store."""

_MOST_CHUNKS: Final = 50
"""Largest number of chunks per variable, unless a chunk would be too large: sixty variables give 3000 files."""

_LARGEST_CHUNK: Final = 2**24
"""Bytes per chunk at most: every fold that touches a chunk reads, changes and writes all of it."""

_LARGEST_SHARD: Final = 2**28
"""Bytes per shard at most: a shard is held in memory while it is written."""

_LEAST_TRIALS: Final = 1024
"""Smallest length of a chunk along the trial axis."""

_MANY_TRIALS: Final = 16384
"""Number of trials above which the trials of a cell are split into several chunks."""

_COORDINATE_CHUNK: Final = 4096

BLOCK_CHUNK: Final = 4096
"""Rows per chunk of the table of blocks, which grows by whole chunks."""

_METADATA: Final = "zarr.json"


@contextmanager
def quiet_zarr() -> Iterator[None]:
    """Suppress two zarr warnings that writing cannot avoid.

    Consolidated metadata is outside the v3 specification (readers need it to open a group quickly), and the journal
    is not part of the zarr hierarchy.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
        warnings.filterwarnings("ignore", message="Object at .* is not recognized as a component")
        yield


def trial_chunk(shape: Mapping[str, int]) -> dict[str, int]:
    """Return the chunk length per dimension for a group with one value per trial.

    A chunk holds one cell with all its depths, widths and the like while there are at most about 50 cells. With more
    cells, neighbouring cells share a chunk, first along n. The trial axis is split only if it is long, or if a chunk
    would exceed 16 MiB.

    Examples
    --------
    >>> trial_chunk({"distribution": 4, "d": 3, "n": 4, "depth": 3, "trial": 300})
    {'distribution': 1, 'd': 1, 'n': 1, 'depth': 3, 'trial': 1024}
    """
    chunk = {dim: 1 if dim in CELL else max(length, 1) for dim, length in shape.items() if dim != "block"}
    # Merge cells into chunks along n, then d, then distribution, until there are few enough chunks.
    for dim in ("n", "d", "distribution"):
        cells = math.prod(math.ceil(shape[k] / chunk[k]) for k in ("distribution", "d", "n"))
        if cells > _MOST_CHUNKS:
            chunk[dim] = min(shape[dim], math.ceil(cells / _MOST_CHUNKS))
    # 8 bytes for every type: most variables are float64, and a smaller type makes a smaller chunk.
    bytes_a_trial = 8 * math.prod(length for dim, length in chunk.items() if dim != "trial")
    # A fold rewrites the chunks that it touches: split many trials, as far as the limit on chunks leaves room.
    pieces = max(1, _MOST_CHUNKS // math.prod(math.ceil(shape[k] / chunk[k]) for k in ("distribution", "d", "n")))
    length = max(math.ceil(shape["trial"] / pieces), min(shape["trial"], _MANY_TRIALS))
    # Never shorter than _LEAST_TRIALS: a pilot run of a few trials fixes the chunks of the thousands that follow.
    chunk["trial"] = max(1, min(max(length, _LEAST_TRIALS), _LARGEST_CHUNK // bytes_a_trial))
    return chunk


def whole_shard(shape: Mapping[str, int], chunk: Mapping[str, int]) -> dict[str, int]:
    """Return the shard length per dimension of a compact group: all of a variable, up to 256 MiB.

    >>> whole_shard({"n": 5, "trial": 1000}, {"n": 2, "trial": 1024})
    {'n': 6, 'trial': 1024}
    """
    # From the last dimension to the first, so that values that are read together stay together.
    shard = dict(chunk)
    for dim in reversed(list(chunk)):
        room = _LARGEST_SHARD // (8 * math.prod(shard.values()))
        shard[dim] *= max(1, min(room, -(-shape[dim] // chunk[dim])))
    return shard


def create_group(
    root: zarr.Group,
    group: str,
    coordinates: Coordinates,
    trials: int = 0,
    folder: str | None = None,
    statistics: Sequence[str] = (),
    compact: bool = False,
) -> None:
    """Create a group with its variables and coordinates, in a folder with its own name or another.

    With `compact`, variables are stored in few large files, from which chunks can still be read one by one.
    """
    folder = folder or group
    home = root.create_group(folder, attributes={"long_name": ALL_GROUPS[group].long_name}, overwrite=True)
    shape = {dim: len(coordinates[dim]) for dim in dimensions(group)} | {"trial": trials, "block": BLOCK_CHUNK}
    whole = {dim: max(length, 1) for dim, length in shape.items()}
    chunk = trial_chunk(shape) if group in PER_TRIAL else whole
    shard = whole_shard(shape, chunk) if compact else None
    for variable in group_variables(group, statistics).values():
        create_variable(home, variable, shape, chunk, shard)
    for dim in dimensions(group):
        for name in _names_along(dim):
            create_variable(home, COORDINATES[name], shape, {dim: _COORDINATE_CHUNK})
        _write_coordinate(root, folder, dim, coordinates[dim], 0)


def regrow_group(
    root: zarr.Group, location: Location, group: str, recorded: Coordinates, coordinates: Coordinates
) -> None:
    """Replace a derived group by a larger one with the same values and one chunk per variable.

    Only values within the recorded coordinates are copied. Values beyond them may come from an interrupted extension.

    Extending the group in place would keep the chunk shape of the first study: thousands of files after a
    pilot run of one cell.
    """
    known = {
        name: tuple(slice(len(recorded[dim])) for dim in variable.dims) for name, variable in declared(group).items()
    }
    # Read everything before the group is replaced.
    values = {name: read_whole(root, group, name)[part] for name, part in known.items()}
    # A folder is filled under another name and then renamed: a reader never sees it half full.
    folder = group if location.remote else f".{group}.partial"
    create_group(root, group, coordinates, folder=folder)
    for name, part in known.items():
        open_array(root, folder, name)[part] = values[name]
    if location.remote:
        return  # an object store cannot rename: a reader may see fewer values, which the next run derives again
    replace_group(location, group)


def replace_group(location: Location, group: str) -> None:
    """Replace a group by the folder `.<group>.partial`; `layout.sweep` completes a replacement that was killed."""
    path = location.path
    shutil.rmtree(path / f".{group}.old", ignore_errors=True)
    (path / group).rename(path / f".{group}.old")
    (path / f".{group}.partial").rename(path / group)
    shutil.rmtree(path / f".{group}.old", ignore_errors=True)


def extend_group(
    root: zarr.Group, group: str, coordinates: Coordinates, trials: int = 0, statistics: Sequence[str] = ()
) -> None:
    """Extend a group to `coordinates`, which begin with the coordinates that it has.

    Statistics that it does not have are added, without values.

    The extension can be killed at any point and repeated with other coordinates: nothing beyond the recorded
    coordinates holds results, so lengths may be changed and values overwritten.
    """
    shape = {dim: len(coordinates[dim]) for dim in dimensions(group)} | {"trial": trials}
    home = root[group]
    assert isinstance(home, zarr.Group)
    chunk: dict[str, int] = {}
    for variable in group_variables(group, statistics).values():
        if f"{group}/{variable.name}" not in root:
            create_variable(home, variable, shape, chunk)
            continue
        array = open_array(root, group, variable.name)
        chunk |= dict(zip(variable.dims, chunk_lengths(array), strict=True))
        extended = tuple(
            # Trials are never given up: a study with fewer of them uses the first ones.
            max(shape[dim], length) if dim == "trial" else shape[dim]
            for dim, length in zip(variable.dims, array.shape, strict=True)
        )
        if extended != array.shape:
            array.resize(extended)
    for dim in dimensions(group):
        for name in _names_along(dim):
            array = open_array(root, group, name)
            if array.shape != (shape[dim],):
                array.resize((shape[dim],))
        _write_coordinate(root, group, dim, coordinates[dim], 0)


def open_array(root: zarr.Group, group: str, name: str) -> zarr.Array[Any]:
    """Open an array by its path from a root that was opened without consolidated metadata.

    The path is necessary: a subgroup has its own consolidated metadata, with the shapes from before an extension.
    """
    try:
        array = root[f"{group}/{name}"]
    except (KeyError, FileNotFoundError):
        raise
    except Exception as error:  # damaged metadata can raise any exception
        raise StoreError(
            f"{root.store_path}/{group}/{name}: its metadata are damaged ({type(error).__name__}); restore "
            "zarr.json in this folder from a copy"
        ) from error
    if not isinstance(array, zarr.Array):
        raise StoreError(f"{root.store_path}/{group}/{name}: is not an array; restore this folder from a copy")
    return array


def check_declared(array: zarr.Array[Any], variable: Variable, shape: Mapping[str, int]) -> None:
    """Raise `StoreError` if an array differs from the declaration of its variable.

    Parameters
    ----------
    shape : mapping of str to int
        Lengths of the known dimensions.
    """
    declared_type = "str" if variable.dtype == "str" else np.dtype(variable.dtype).name
    stored_type = "str" if array.dtype.kind in "OTU" else array.dtype.name
    lengths = dict(zip(variable.dims, array.shape, strict=False))
    sizes = {dim: length for dim, length in lengths.items() if dim in shape and shape[dim] != length}
    if array.ndim != len(variable.dims) or declared_type != stored_type or sizes:
        raise StoreError(
            f"{array.store_path}: is {stored_type} {array.shape}, which is not what the store's record says; restore "
            "zarr.json in this folder from a copy"
        )


def chunk_lengths(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Return the lengths of the unit of writing: a shard if the array has shards, else a chunk."""
    return array.shards or array.chunks


def read_whole(root: zarr.Group, group: str, name: str) -> np.ndarray[Any, np.dtype[Any]]:
    """Read a whole small array; `StoreError` if it is damaged, which only derived arrays can recover from."""
    try:
        return np.asarray(open_array(root, group, name)[...])
    except (ValueError, OSError, RuntimeError) as error:
        where = f"{root.store_path}/{group}/{name}"
        raise StoreError(
            f"{where}: is damaged ({error}); restore this folder from a copy, or use a new store"
        ) from error


def consolidate(location: Location) -> None:
    """Write consolidated metadata for each group and for the whole tree."""
    root = location.open("r+")
    with quiet_zarr():
        for group in ALL_GROUPS:
            if group in root:
                zarr.consolidate_metadata(root.store, path=f"{root.path}/{group}".strip("/"))
        zarr.consolidate_metadata(root.store, path=root.path)


def unconsolidate(location: Location) -> None:
    """Remove the consolidated metadata of the root: its shapes are about to change."""
    blobs = location.blobs()
    document = json.loads(blobs.get(_METADATA))
    if document.pop("consolidated_metadata", None) is not None:
        blobs.put(_METADATA, json.dumps(document).encode())


def is_consolidated(location: Location) -> bool:
    """Return whether the root has consolidated metadata.

    It has none while a grid grows, or after a run was killed while a grid grew.
    """
    return "consolidated_metadata" in json.loads(location.blobs().get(_METADATA))


def describe_distribution(distribution: Distribution) -> tuple[str, str]:
    """Return the name of a law and its parameters as JSON; for a dataset, with the path of its file."""
    parameters: dict[str, Any] = dict(distribution.parameters())
    path = getattr(distribution, "path", None)
    return distribution.name, json.dumps(parameters | ({"path": path} if path else {}), sort_keys=True)


def write_descriptions(root: zarr.Group, group: str, labels: Sequence[str], laws: Mapping[str, Distribution]) -> None:
    """Fill the auxiliary coordinates of `distribution` for those labels whose laws are given."""
    for name, part in (("distribution_name", 0), ("distribution_params", 1)):
        array = open_array(root, group, name)
        for at, label in enumerate(labels):
            if label in laws:
                array[at : at + 1] = np.array([describe_distribution(laws[label])[part]], dtype=object)


def _names_along(dim: str) -> tuple[str, ...]:
    return (dim, "distribution_name", "distribution_params") if dim == "distribution" else (dim,)


def create_variable(
    home: zarr.Group,
    variable: Variable,
    shape: Mapping[str, int],
    chunk: Mapping[str, int],
    shard: Mapping[str, int] | None = None,
) -> None:
    """Create an array as its variable declares it, from lengths per dimension; one file per shard, if given."""
    attributes = variable.attributes()
    if variable.group and "distribution" in variable.dims:
        attributes["coordinates"] = "distribution_name distribution_params"
    home.create_array(
        variable.name,
        shape=tuple(shape[dim] for dim in variable.dims),
        chunks=tuple(chunk[dim] for dim in variable.dims),
        shards=tuple(shard[dim] for dim in variable.dims) if shard else None,
        dtype=str if variable.dtype == "str" else np.dtype(variable.dtype),
        fill_value=variable.fill,
        dimension_names=variable.dims,
        attributes=attributes,
        # The checksum comes last, so that it covers the compressed bytes as they are on disk.
        compressors=(ZstdCodec(level=3), Crc32cCodec()),
    )


def _write_coordinate(root: zarr.Group, group: str, dim: str, values: Sequence[Any], start: int) -> None:
    if not values:
        return
    variable = COORDINATES[dim]
    kind: Any = object if variable.dtype == "str" else np.dtype(variable.dtype)
    open_array(root, group, dim)[start : start + len(values)] = np.array(values, dtype=kind)
