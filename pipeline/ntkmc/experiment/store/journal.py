"""Journal of finished blocks that are not yet in zarr: one small file per block, written atomically by the worker.

A block exists completely or not at all. The driver folds the journal into zarr (`ntkmc.experiment.store.store`), then
deletes the files. Folding a block twice gives the same result, so a crash in between loses nothing.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkmc.errors import StoreError
from ntkmc.experiment.store.location import Blobs
from ntkmc.experiment.study.measurements import DRAWS, MeasurementKey
from ntkmc.experiment.trial.run import Arrays

_NAME = re.compile(r"[A-Za-z0-9.\-]+/\d+-\d+\.L([\d.]+|x[0-9a-f]{16})(\.[a-z]+[\w.\-]+)?\.npz")

_LONGEST = 80  # characters of a list of depths in a file name; longer lists are hashed, as names are limited to 255


@dataclass(frozen=True)
class Block:
    """A finished block, as it is stored in the journal.

    Attributes
    ----------
    folder : str
        The cell's folder name.
    cell : (str, int, int)
        Distribution label, d and n of the cell: they locate the block without the study.
    first, count : int
        Trials first ... first + count - 1.
    depths : tuple of int
        Depths of the rows of the per-depth arrays.
    arrays : dict
        As `run_block` returns them.
    provenance : dict
        Process that computed it, and time that it took.
    measurement : MeasurementKey
        What its trials measured.
    """

    folder: str
    cell: tuple[str, int, int]
    first: int
    count: int
    depths: tuple[int, ...]
    arrays: Arrays
    provenance: dict[str, Any]
    measurement: MeasurementKey = DRAWS

    @property
    def id(self) -> int:
        """Unique identifier; of blocks that were stored without one, a hash of name and provenance."""
        given = self.provenance.get("id")
        return int(given) if given is not None else _number(f"{self.name} {self.provenance}")

    @property
    def environment(self) -> str:
        """Hash of the document of the environment that computed it; empty without one."""
        document = self.provenance.get("environment")
        return f"{_number(json.dumps(document, sort_keys=True)):016x}" if document else ""

    @property
    def name(self) -> str:
        """Name of the file, relative to the journal. Later depths and measurements form separate blocks."""
        depths = ".".join(map(str, self.depths))
        if len(depths) > _LONGEST:
            depths = "x" + hashlib.blake2b(depths.encode(), digest_size=8).hexdigest()
        suffix = "" if self.measurement.is_draws else f".{self.measurement.tag}"
        return f"{self.folder}/{self.first}-{self.count}.L{depths}{suffix}.npz"


@dataclass(frozen=True)
class Journal:
    """Finished blocks as files below a folder or a URL."""

    blobs: Blobs

    def put(self, block: Block) -> None:
        """Write one block atomically."""
        header = {
            "folder": block.folder,
            "cell": list(block.cell),
            "first": block.first,
            "count": block.count,
            "depths": list(block.depths),
            "provenance": block.provenance,
            **block.measurement.coordinates,
        }
        # Over header and arrays: a zip archive has a checksum per member, but none over all of them.
        header["checksum"] = _checksum(header, block.arrays)
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)
        np.savez(buffer, allow_pickle=False, header=text, **block.arrays)
        self.blobs.put(block.name, buffer.getvalue())

    def names(self) -> list[str]:
        """Return the file names of finished blocks."""
        return [name for name in self.blobs.list() if _NAME.fullmatch(name)]

    def read(self, name: str) -> Block:
        """Read one block; `StoreError` if it is damaged."""
        # Names come from a folder or bucket that anybody may write to.
        if not _NAME.fullmatch(name):
            raise StoreError(f"journal: {name!r} is not the name of a block")
        content = self.blobs.get(name)
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                header = json.loads(bytes(archive["header"]))
                arrays = {key: archive[key] for key in archive.files if key != "header"}
            stated = header.pop("checksum")
            label, d, n = header["cell"]
            depths = tuple(header["depths"])
            block = Block(
                header["folder"],
                (label, d, n),
                header["first"],
                header["count"],
                depths,
                arrays,
                header["provenance"],
                MeasurementKey.at(header),
            )
        except Exception as error:  # a flipped bit can make the zip reader raise anything
            raise StoreError(f"journal: block {name} is damaged ({type(error).__name__}: {error})") from error
        # A block under another name than its own would be folded into the wrong trials.
        if stated != _checksum(header, arrays) or block.name != name:
            raise StoreError(f"journal: block {name} is damaged (its checksum does not match)")
        return block

    def sound_blocks(self, names: Iterable[str] | None = None) -> Iterator[Block]:
        """Iterate over undamaged blocks, all or those named; changes nothing, so that readers may call it."""
        for name in self.names() if names is None else names:
            try:
                yield self.read(name)
            except (FileNotFoundError, StoreError):
                continue  # folded and deleted by the driver in the meantime, or damaged

    def drop_damaged(self) -> int:
        """Delete damaged blocks, so that their trials count as missing; return their number. Only for the driver."""
        dropped = 0
        for name in self.names():
            try:
                self.read(name)
            except FileNotFoundError:
                continue
            except StoreError:
                self.blobs.delete(name)
                dropped += 1
        return dropped

    def delete(self, block: Block) -> None:
        """Delete the file of a folded block."""
        self.blobs.delete(block.name)


def _number(text: str) -> int:
    """Return a 63-bit hash of a text as an integer."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


def _checksum(header: dict[str, Any], arrays: Arrays) -> str:
    state = hashlib.blake2b(json.dumps(header, sort_keys=True).encode(), digest_size=16)
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        state.update(f"{name}:{array.dtype.str}:{array.shape};".encode())
        state.update(array.tobytes())
    return state.hexdigest()
