"""A block is in the journal whole, or not at all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntkmc.errors import StoreError
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.location import DirectoryBlobs


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(DirectoryBlobs(tmp_path / "journal"))


def block(first: int = 0) -> Block:
    arrays: dict[str, Any] = {"status": np.ones((2, 3), dtype=np.int8), "coherence": np.array([0.1, 0.2, np.nan])}
    return Block("sphere-00.d3.n4", ("sphere", 3, 4), first, 3, (2, 5), arrays, {"host": "here"})


def test_round_trip(journal: Journal) -> None:
    journal.put(block())
    (name,) = journal.names()
    found = journal.read(name)
    assert (found.folder, found.first, found.count, found.depths) == ("sphere-00.d3.n4", 0, 3, (2, 5))
    assert found.provenance == {"host": "here"}
    for key, values in block().arrays.items():
        assert np.array_equal(found.arrays[key], values, equal_nan=key == "coherence")
        assert found.arrays[key].dtype == values.dtype


def test_putting_twice_is_once(journal: Journal) -> None:
    journal.put(block())
    journal.put(block())
    journal.put(block(3))
    assert len(journal.names()) == 2


@pytest.mark.parametrize("harm", ["truncate", "flip", "empty", "rename"])
def test_damage_is_found(journal: Journal, harm: str) -> None:
    journal.put(block())
    journal.put(block(3))
    (path, _) = sorted((Path(journal.blobs.address)).rglob("*.npz"))
    content = bytearray(path.read_bytes())
    if harm == "truncate":
        path.write_bytes(content[: len(content) // 2])
    elif harm == "flip":
        content[len(content) // 2] ^= 0x10
        path.write_bytes(content)
    elif harm == "empty":
        path.write_bytes(b"")
    else:
        path.rename(path.with_name("9-3.L2.5.npz"))
    name = next(name for name in journal.names() if not name.endswith("/3-3.L2.5.npz"))
    with pytest.raises(StoreError, match="damaged"):
        journal.read(name)
    assert [found.first for found in journal.sound_blocks()] == [3]
    assert journal.drop_damaged() == 1
    assert len(journal.names()) == 1


def test_a_killed_write_leaves_nothing_that_counts(journal: Journal) -> None:
    journal.put(block())
    leftover = Path(journal.blobs.address) / "sphere-00.d3.n4" / ".0-3.L2.5.npz.abc.partial"
    leftover.write_bytes(b"half")
    assert len(journal.names()) == 1
    journal.blobs.sweep()
    assert not leftover.exists()


def test_a_failing_write_leaves_nothing(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        journal.put(block())
    assert journal.names() == []
    assert list((Path(journal.blobs.address) / "sphere-00.d3.n4").iterdir()) == []


def test_no_pickle(journal: Journal) -> None:
    harmful = Block("a", ("a", 1, 1), 0, 1, (2,), {"status": np.array([object()])}, {})
    with pytest.raises((ValueError, TypeError)):
        journal.put(harmful)
    assert journal.names() == []
