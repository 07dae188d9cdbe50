"""Location of a store (a folder, a zip archive, or an object store's URL) and atomic access to its small files.

URLs are those that fsspec supports, such as `s3://bucket/key`.
"""

from __future__ import annotations

import os
import re
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

import zarr

from ntkmc.errors import InputError, StoreError

PARTIAL: Final = ".partial"
"""Suffix of the names of files that are being written."""


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a temporary path in the folder of `target`, and rename it to `target` at the end.

    A rename is atomic on POSIX: a reader sees the old file, no file, or the complete new one. After an exception the
    temporary file is removed. The caller syncs the file if it has to survive a crash of the machine.
    """
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PARTIAL}")
    try:
        yield aside
        aside.replace(target)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


class Blobs(Protocol):
    """Interface to small files below a folder or URL, for those parts of a store that are not zarr arrays."""

    @property
    def address(self) -> str:
        """Path or URL."""

    def put(self, name: str, content: bytes) -> None:
        """Write `content` under `name`, completely or not at all."""

    def list(self) -> list[str]:
        """Return all names at any depth, with `/` between folders, without files that are being written."""

    def get(self, name: str) -> bytes:
        """Read the content of `name`; `FileNotFoundError` if it does not exist."""

    def delete(self, name: str) -> None:
        """Delete `name`, if it exists."""

    def sweep(self) -> int:
        """Remove temporary files of killed writers; return their number. Only for the holder of the lease."""


@dataclass(frozen=True)
class DirectoryBlobs:
    """Files below a folder: written under a temporary name, synced, then renamed."""

    root: Path

    @property
    def address(self) -> str:
        """Path of the folder."""
        return str(self.root)

    def put(self, name: str, content: bytes) -> None:
        """Write a file atomically, and sync it before the rename, so that no crash leaves an incomplete file."""
        with atomic_path(self.root / name) as aside, _opened(aside) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def list(self) -> list[str]:
        """Return all names relative to the folder, sorted."""
        names = []
        for folder, _, files in os.walk(self.root):
            inside = Path(folder).relative_to(self.root)
            names += [(inside / file).as_posix() for file in files if not file.endswith(PARTIAL)]
        return sorted(names)

    def get(self, name: str) -> bytes:
        """Read the file `name`."""
        return (self.root / name).read_bytes()

    def delete(self, name: str) -> None:
        """Delete the file `name`, if it exists."""
        (self.root / name).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove incomplete files, including those of zarr (`c/0.<uuid>.partial`), and empty folders."""
        swept = 0
        # From the innermost folder up, so that a folder that becomes empty is removed too.
        for folder, _, files in os.walk(self.root, topdown=False):
            for file in files:
                if file.endswith(PARTIAL):
                    (Path(folder) / file).unlink(missing_ok=True)
                    swept += 1
            with suppress(OSError):  # it is not empty
                Path(folder).rmdir()
        return swept


def _opened(file: Path) -> IO[bytes]:
    """Open a new file in a folder that may not exist, or that a concurrent sweep may remove."""
    # A sweep removes empty folders, and may do so between the two calls; nine failures in a row have another cause.
    for _ in range(9):
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return file.open("wb")
    return file.open("wb")


@dataclass(frozen=True)
class ObjectBlobs:
    """Objects below a URL that fsspec supports. Object stores write each object atomically."""

    url: str

    @property
    def address(self) -> str:
        """URL below which the objects are."""
        return self.url

    @cached_property
    def _place(self) -> tuple[Any, str]:
        return filesystem(self.url)

    def _path(self, name: str) -> str:
        return f"{self._place[1]}/{name}" if name else self._place[1]

    def put(self, name: str, content: bytes) -> None:
        """Write an object in one request."""
        self._place[0].pipe_file(self._path(name), content)

    def list(self) -> list[str]:
        """Return all names relative to the URL, sorted."""
        fs, root = self._place
        # Workers write blocks all the time: a cached listing would hide them.
        fs.invalidate_cache()
        try:
            paths = fs.find(root)
        except FileNotFoundError:
            return []
        return sorted(path[len(root) + 1 :] for path in paths)

    def get(self, name: str) -> bytes:
        """Read the object `name`."""
        content: bytes = self._place[0].cat_file(self._path(name))
        return content

    def delete(self, name: str) -> None:
        """Delete the object `name`, if it exists."""
        try:
            self._place[0].rm_file(self._path(name))
        except FileNotFoundError:
            return

    def sweep(self) -> int:
        """Do nothing: an object store keeps no incomplete objects."""
        return 0


@dataclass(frozen=True)
class ZipBlobs:
    """Files in a zip archive, which is read-only."""

    file: Path

    @property
    def address(self) -> str:
        """Path of the archive."""
        return str(self.file)

    def put(self, name: str, content: bytes) -> None:
        """Raise `StoreError`."""
        raise self._refusal()

    def list(self) -> list[str]:
        """Return all names in the archive, sorted."""
        with zipfile.ZipFile(self.file) as packed:
            return sorted(packed.namelist())

    def get(self, name: str) -> bytes:
        """Read the file `name`."""
        with zipfile.ZipFile(self.file) as packed:
            try:
                return packed.read(name)
            except KeyError:
                raise FileNotFoundError(name) from None

    def delete(self, name: str) -> None:
        """Raise `StoreError`."""
        raise self._refusal()

    def sweep(self) -> int:
        """Do nothing: an archive has no incomplete files."""
        return 0

    def _refusal(self) -> StoreError:
        return StoreError(f"{self.file}: is an archive; to go on with it, unzip it into a folder")


def filesystem(url: str) -> tuple[Any, str]:
    """Return the fsspec file system of a URL and the path in it; `InputError` if fsspec cannot open that kind of URL.

    Listings are not cached, because other processes write to the store.
    """
    import fsspec

    try:
        fs, path = fsspec.core.url_to_fs(url, use_listings_cache=False, skip_instance_cache=True)
    except ImportError as error:
        extra = "'ntkmc[s3]'" if url.startswith(("s3:", "s3a:")) else (error.name or "the package that it names")
        raise InputError(f"{url}: {' '.join(str(error).split())[:120]}; pip install {extra}") from error
    except ValueError as error:
        raise InputError(f"{url}: not an address of a store ({error}); a folder, or a URL such as s3://...") from error
    return fs, str(path).rstrip("/")


_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*(::[A-Za-z]\w*)*://")


@dataclass(frozen=True)
class Location:
    """Address of a store.

    Attributes
    ----------
    address : str
        An absolute path, or a URL that fsspec supports.

    Examples
    --------
    >>> Location.of("s3://bucket/run.zarr/").address
    's3://bucket/run.zarr'
    """

    address: str

    @classmethod
    def of(cls, store: str | Path | Location) -> Location:
        """Convert a path or URL to a location; relative paths become absolute."""
        if isinstance(store, Location):
            return store
        text = str(store)
        # A local URL becomes a path: only paths have locks and renames.
        if isinstance(store, str) and _URL.match(text):
            if not text.startswith("file://"):
                return cls(text.rstrip("/"))
            text = text.removeprefix("file://")
        return cls(str(Path(text).expanduser().resolve()))

    def __str__(self) -> str:
        return self.address

    @property
    def remote(self) -> bool:
        """True if the location is a URL."""
        return _URL.match(self.address) is not None

    @property
    def archived(self) -> bool:
        """True if the location is a zip file, as `ntkmc compact --archive` writes it."""
        return not self.remote and self.address.endswith(".zip") and self.path.is_file()

    @property
    def path(self) -> Path:
        """Path of the folder or archive; only for a location that is not remote."""
        return Path(self.address)

    @property
    def name(self) -> str:
        """Last component of the address."""
        return self.address.rpartition("/")[2]

    @property
    def storage_options(self) -> dict[str, Any] | None:
        """Options that zarr and xarray pass to fsspec; endpoints and keys come from environment variables."""
        return {"use_listings_cache": False} if self.remote else None

    @property
    def source(self) -> Any:
        """Argument with which zarr and xarray open the location."""
        return zarr.storage.ZipStore(self.path, mode="r") if self.archived else self.address

    def blobs(self, folder: str = "") -> Blobs:
        """Return an interface to the files in the location or a subfolder, or to all files of an archive."""
        if self.archived:
            return ZipBlobs(self.path)
        address = f"{self.address}/{folder}" if folder else self.address
        return ObjectBlobs(address) if self.remote else DirectoryBlobs(Path(address))

    def open(self, mode: Literal["r", "r+", "a"] = "r", attributes: dict[str, Any] | None = None) -> zarr.Group:
        """Open the root group without consolidated metadata, which may hold the shapes from before an extension.

        Mode `a` creates the group with the given attributes if it does not exist.
        """
        if mode == "a":
            return zarr.open_group(
                self.source, mode="a", zarr_format=3, attributes=attributes, storage_options=self.storage_options
            )
        if self.archived and mode != "r":
            raise StoreError(f"{self}: is an archive; to go on with it, unzip it into a folder")
        return zarr.open_group(self.source, mode=mode, use_consolidated=False, storage_options=self.storage_options)

    def occupied(self) -> bool:
        """Return whether the location exists and is not empty; on an object store, a lease does not count.

        Raises
        ------
        StoreError
            If an object store does not answer.
        """
        if not self.remote:
            return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        try:
            return any(name != LEASE for name in self.blobs().list())
        except Exception as error:  # errors of botocore share no base class with those of other clients
            raise StoreError(f"{self}: cannot be reached ({' '.join(str(error).split())[:200]})") from error


LEASE = ".lease"
"""Name of the file with the lease of a store."""
