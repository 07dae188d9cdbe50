"""Where a store lives: a folder of this machine (or of a file system that it shares), or an object store's URL."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import zarr

from ntkmc.errors import StoreError
from ntkmc.experiment.blobs import Blobs, DirectoryBlobs, ObjectBlobs, ZipBlobs

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
