"""Compact a store into few large files, or pack it into one zip archive, for file systems with quotas on files."""

from __future__ import annotations

import itertools
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import zarr

from ntkmc.errors import InputError, StoreError
from ntkmc.experiment.store.arrays import (
    chunk_lengths,
    consolidate,
    create_group,
    open_array,
    quiet_zarr,
    replace_group,
)
from ntkmc.experiment.store.layout import read_attributes, sweep
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import LEASE, PARTIAL, Location, atomic_path
from ntkmc.experiment.store.reading import study_of
from ntkmc.experiment.store.store import Store


@dataclass(frozen=True)
class Compacted:
    """Number of files and bytes of a store, before and after compaction."""

    files_before: int
    files_after: int
    bytes_before: int
    bytes_after: int


def compact(store: str | Path) -> Compacted:
    """Rewrite every per-trial variable in shards of up to 256 MiB, and remove temporary files.

    The store remains readable with plain xarray, chunk by chunk, and can be extended by further runs.

    Raises
    ------
    InputError
        If the store is an object store, for which the number of objects has no limit.
    StoreError
        If it is not a store, is damaged, or another run is writing to it.
    """
    location = Location.of(store)
    if location.remote:
        raise InputError(f"{location}: an object store does not count objects; copy it to a folder to compact it")
    attributes = read_attributes(location)
    with Lease(location) as lease:
        before = _size(location.path)
        opened = Store.prepare(location, study_of(attributes, str(location)))
        if opened.damaged:
            raise StoreError(f"{location}: is damaged: ntkmc verify {location} --repair")
        root = location.open("r+")
        # Write each group under a temporary name and verify it; only then replace the original.
        for group in dict.fromkeys(measurement.group for measurement in opened.measurements):
            folder = f".{group}{PARTIAL}"
            with quiet_zarr():
                trials = open_array(root, group, "status").shape[-1]
                create_group(root, group, opened.coordinates, trials, folder, opened.statistics, compact=True)
            home = root[folder]
            assert isinstance(home, zarr.Group)
            for name, array in home.arrays():
                _copy(open_array(root, group, name), array)
            replace_group(location, group)
        consolidate(location)
        sweep(location)
        # A compacted store is copied and archived: no file of this host should remain in it.
        lease.remove = True
    after = _size(location.path)
    return Compacted(before[0], after[0], before[1], after[1])


def archive(store: str | Path, file: str | Path) -> Path:
    """Pack a store into one zip file that zarr, xarray and ntkmc can read directly.

    Raises
    ------
    InputError
        For an object store.
    StoreError
        If it is not a store, another run is writing to it, or the file exists.
    """
    location, target = Location.of(store), Path(file)
    if location.remote:
        raise InputError(f"{location}: only a folder can be packed; copy it first")
    read_attributes(location)
    if target.exists():
        raise StoreError(f"{target}: exists and is not overwritten; name another file")
    try:
        # Stored without compression: the chunks are compressed already.
        with (
            Lease(location),
            atomic_path(target) as aside,
            zipfile.ZipFile(aside, "w", zipfile.ZIP_STORED, allowZip64=True) as packed,
        ):
            for name in location.blobs().list():
                if name != LEASE:
                    packed.write(location.path / name, name)
    except OSError as error:
        raise StoreError(f"{target}: cannot be written ({error.strerror or error})") from error
    return target


def _copy(source: zarr.Array, target: zarr.Array) -> None:  # type: ignore[type-arg]
    """Copy an array file by file and read each region back, because the caller deletes the source afterwards."""
    lengths = chunk_lengths(target)
    ranges = [range(0, size, length) for size, length in zip(target.shape, lengths, strict=True)]
    for corner in itertools.product(*ranges):
        region = tuple(slice(start, start + length) for start, length in zip(corner, lengths, strict=True))
        values = np.asarray(source[region])
        target[region] = values
        back = np.asarray(target[region])
        if not np.array_equal(back, values, equal_nan=values.dtype.kind == "f"):
            raise StoreError(f"{source.name}: did not arrive as it was written; is the file system sound?")


def _size(folder: Path) -> tuple[int, int]:
    """Return the number of files below a folder, and their total size in bytes."""
    sizes = [(Path(home) / name).stat().st_size for home, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)
