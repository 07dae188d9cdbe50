"""Where a store lives: a folder of this machine (or of a file system that it shares), or an object store's URL.

Small files, put whole or not at all: below a folder, or below an address that fsspec knows (`s3://bucket/key`).
"""

from __future__ import annotations

import os
import re
import uuid
import zipfile
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, Any, Final, Literal, Protocol

import zarr

from ntkmc.errors import InputError, StoreError

PARTIAL: Final = ".partial"
"""End of the names of files that are being written."""


class Blobs(Protocol):
    """The few things that a store asks of the place it lives in, beside zarr itself."""

    @property
    def address(self) -> str:
        """A path, or a URL."""

    def put(self, name: str, content: bytes) -> None:
        """Store under `name`, whole or not at all."""

    def list(self) -> list[str]:
        """All names at any depth, `/` between folders; not what is being written."""

    def get(self, name: str) -> bytes:
        """What was put; `FileNotFoundError` if nothing was."""

    def delete(self, name: str) -> None:
        """Forget; without complaint if there is nothing."""

    def sweep(self) -> int:
        """Remove what killed writers left behind; returns how much. For the holder of the lease alone."""


@dataclass(frozen=True)
class DirectoryBlobs:
    """Blobs as files below a folder: written aside, synced, then renamed."""

    root: Path

    @property
    def address(self) -> str:
        """The folder's path."""
        return str(self.root)

    def put(self, name: str, content: bytes) -> None:
        """Atomic on POSIX: a reader sees the old file, none, or the whole new one."""
        target = self.root / name
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}{PARTIAL}")
        try:
            with _opened(aside) as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(target)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise

    def list(self) -> list[str]:
        """Names relative to the root."""
        found = []
        for folder, _, files in os.walk(self.root):
            inside = Path(folder).relative_to(self.root)
            found += [(inside / file).as_posix() for file in files if not file.endswith(PARTIAL)]
        return sorted(found)

    def get(self, name: str) -> bytes:
        """The whole file."""
        return (self.root / name).read_bytes()

    def delete(self, name: str) -> None:
        """Remove the file."""
        (self.root / name).unlink(missing_ok=True)

    def sweep(self) -> int:
        """Remove half-written files, zarr's own among them (`c/0.<uuid>.partial`), and empty folders."""
        swept = 0
        for folder, _, files in os.walk(self.root, topdown=False):
            for file in files:
                if file.endswith(PARTIAL):
                    (Path(folder) / file).unlink(missing_ok=True)
                    swept += 1
            with suppress(OSError):  # it is not empty
                Path(folder).rmdir()
        return swept


def _opened(file: Path) -> IO[bytes]:
    """A new file in a folder that may not exist, or that a sweep may remove at this moment."""
    for _ in range(9):
        file.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            return file.open("wb")
    return file.open("wb")


@dataclass(frozen=True)
class ObjectBlobs:
    """Blobs as objects below a URL that fsspec knows. A put is atomic by the nature of an object store."""

    url: str

    @property
    def address(self) -> str:
        """The URL."""
        return self.url

    @cached_property
    def _place(self) -> tuple[Any, str]:
        return filesystem(self.url)

    def _path(self, name: str) -> str:
        return f"{self._place[1]}/{name}" if name else self._place[1]

    def put(self, name: str, content: bytes) -> None:
        """One request; nobody sees half of it."""
        self._place[0].pipe_file(self._path(name), content)

    def list(self) -> list[str]:
        """Names relative to the URL."""
        fs, root = self._place
        fs.invalidate_cache()
        try:
            found = fs.find(root)
        except FileNotFoundError:
            return []
        return sorted(path[len(root) + 1 :] for path in found)

    def get(self, name: str) -> bytes:
        """The whole object."""
        content: bytes = self._place[0].cat_file(self._path(name))
        return content

    def delete(self, name: str) -> None:
        """Remove the object."""
        try:
            self._place[0].rm_file(self._path(name))
        except FileNotFoundError:
            return

    def sweep(self) -> int:
        """Nothing: an object store keeps no halves."""
        return 0


@dataclass(frozen=True)
class ZipBlobs:
    """Files in a zip file, which can be read and nothing else."""

    file: Path

    @property
    def address(self) -> str:
        """The file's path."""
        return str(self.file)

    def put(self, name: str, content: bytes) -> None:
        """Refused."""
        raise self._refusal()

    def list(self) -> list[str]:
        """Names in it."""
        with zipfile.ZipFile(self.file) as packed:
            return sorted(packed.namelist())

    def get(self, name: str) -> bytes:
        """The whole file."""
        with zipfile.ZipFile(self.file) as packed:
            try:
                return packed.read(name)
            except KeyError:
                raise FileNotFoundError(name) from None

    def delete(self, name: str) -> None:
        """Refused."""
        raise self._refusal()

    def sweep(self) -> int:
        """Nothing."""
        return 0

    def _refusal(self) -> StoreError:
        return StoreError(f"{self.file}: is an archive; to go on with it, unzip it into a folder")


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it (`InputError` if that kind is not known or not installed).

    Listings are not cached: other processes write too.
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
    """The address of a store.

    Attributes
    ----------
    address : str
        An absolute path, or a URL that fsspec knows.

    Examples
    --------
    >>> Location.of("s3://bucket/run.zarr/").address
    's3://bucket/run.zarr'
    """

    address: str

    @classmethod
    def of(cls, store: str | Path | Location) -> Location:
        """From what a user gives."""
        if isinstance(store, Location):
            return store
        text = str(store)
        if isinstance(store, str) and _URL.match(text):
            if not text.startswith("file://"):
                return cls(text.rstrip("/"))
            text = text.removeprefix("file://")
        return cls(str(Path(text).expanduser().resolve()))

    def __str__(self) -> str:
        return self.address

    @property
    def remote(self) -> bool:
        """Whether it is a URL."""
        return _URL.match(self.address) is not None

    @property
    def archived(self) -> bool:
        """Whether it is a zip file, as `ntkmc compact --archive` makes one."""
        return not self.remote and self.address.endswith(".zip") and self.path.is_file()

    @property
    def path(self) -> Path:
        """The folder, of a location that is one."""
        return Path(self.address)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rpartition("/")[2]

    @property
    def storage_options(self) -> dict[str, Any] | None:
        """What zarr and xarray pass on to fsspec. Endpoints and keys come from its environment variables."""
        return {"use_listings_cache": False} if self.remote else None

    @property
    def source(self) -> Any:
        """What zarr and xarray open it by."""
        return zarr.storage.ZipStore(self.path, mode="r") if self.archived else self.address

    def blobs(self, folder: str = "") -> Blobs:
        """Files below it, or below a folder in it (of an archive, all of them)."""
        if self.archived:
            return ZipBlobs(self.path)
        address = f"{self.address}/{folder}" if folder else self.address
        return ObjectBlobs(address) if self.remote else DirectoryBlobs(Path(address))

    def open(self, mode: Literal["r", "r+", "a"] = "r", attributes: dict[str, Any] | None = None) -> zarr.Group:
        """The root group, without consolidated metadata, which speaks of the shapes from before an extension.

        `a` makes one with these attributes if there is none.
        """
        if mode == "a":
            return zarr.open_group(
                self.source, mode="a", zarr_format=3, attributes=attributes, storage_options=self.storage_options
            )
        if self.archived and mode != "r":
            raise StoreError(f"{self}: is an archive; to go on with it, unzip it into a folder")
        return zarr.open_group(self.source, mode=mode, use_consolidated=False, storage_options=self.storage_options)

    def occupied(self) -> bool:
        """Whether something is there already: anything but an empty folder, and a lease.

        Raises
        ------
        StoreError
            If an object store does not answer.
        """
        if not self.remote:
            return self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir()))
        try:
            return any(name != LEASE for name in self.blobs().list())
        except Exception as error:  # botocore's errors share no class with anybody else's
            raise StoreError(f"{self}: cannot be reached ({' '.join(str(error).split())[:200]})") from error


LEASE = ".lease"
"""Name of the file in which the one writer of a store shows that it is alive."""
