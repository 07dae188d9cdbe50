"""Small files, put whole or not at all: one behaviour for a folder and for an object store."""

from __future__ import annotations

import uuid
import zipfile
from pathlib import Path

import pytest

from ntkmc.errors import InputError, StoreError
from ntkmc.experiment.store.location import Blobs, DirectoryBlobs, Location


@pytest.fixture(params=["folder", "objects"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    if request.param == "folder":
        return Location.of(tmp_path / "s").blobs("journal")
    return Location.of(f"memory://blobs-{uuid.uuid4().hex}/s").blobs("journal")


def test_put_list_get_delete(blobs: Blobs) -> None:
    assert blobs.list() == []
    blobs.put("cell/0-9.npz", b"one")
    blobs.put("cell/0-9.npz", b"two")
    blobs.put("other/0-9.npz", b"three")
    assert blobs.list() == ["cell/0-9.npz", "other/0-9.npz"]
    assert blobs.get("cell/0-9.npz") == b"two"
    blobs.delete("cell/0-9.npz")
    blobs.delete("cell/0-9.npz")
    with pytest.raises(FileNotFoundError):
        blobs.get("cell/0-9.npz")
    assert blobs.list() == ["other/0-9.npz"]
    assert blobs.sweep() == 0


def test_a_sweep_removes_halves_and_empty_folders_alone(tmp_path: Path) -> None:
    blobs = DirectoryBlobs(tmp_path)
    blobs.put("a/whole", b"1")
    (tmp_path / "a" / ".whole.123.partial").write_bytes(b"half")
    (tmp_path / "b").mkdir()
    assert blobs.sweep() == 1
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "whole"]


@pytest.mark.parametrize(
    ("given", "address"),
    [
        ("s3://bucket/run.zarr/", "s3://bucket/run.zarr"),
        ("file:///tmp/run.zarr", "/tmp/run.zarr"),
        ("/tmp/../tmp/run.zarr", "/tmp/run.zarr"),
    ],
)
def test_addresses(given: str, address: str) -> None:
    assert Location.of(given).address == address
    assert Location.of(given).remote == given.startswith("s3")


def test_an_unknown_kind_of_address() -> None:
    with pytest.raises(InputError, match=r"nosuch://x: .*(pip install|not an address)"):
        Location.of("nosuch://x").blobs().put("a", b"")


def test_an_archive_is_read_only(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "s.zip", "w") as packed:
        packed.writestr("a/b", b"content")
    blobs = Location.of(tmp_path / "s.zip").blobs()
    assert blobs.list() == ["a/b"]
    assert blobs.get("a/b") == b"content"
    with pytest.raises(FileNotFoundError):
        blobs.get("a/c")
    with pytest.raises(StoreError, match="unzip it"):
        blobs.put("a/c", b"")
