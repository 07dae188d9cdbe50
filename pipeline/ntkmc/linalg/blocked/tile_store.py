"""Tiles by name, in memory up to a limit and on disk beyond it."""

from __future__ import annotations

import shutil
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np

from ntkmc.linalg.blocked.tiles import Tile

Name = tuple[str, int, int]
"""Kind of tile, block row, block column."""

_Form = tuple[tuple[int, ...], np.dtype[Any]]  # shape and type of a tile on disk

# Reentrant: the garbage collector may finalize a store while this thread holds the lock.
_lock: Final = threading.RLock()
_held = 0  # bytes of tiles in the memory of this process, of all stores


class TileStore:
    """Store of tiles, each written once and read many times.

    Parameters
    ----------
    limit : int
        Bytes that all stores of this process may hold in memory together.
    folder : str or Path, optional
        Folder in which a temporary folder for the other tiles is created; the system's by default. It is removed with
        the store, unless the process is killed.
    yielding : tuple of str
        Kinds of tiles that go to disk first, in favour of other kinds.

    Examples
    --------
    >>> store = TileStore(limit=0)  # all on disk
    >>> for i in range(2):
    ...     store["K", i, 0] = np.full((1, 1), float(i))
    >>> float(store["K", 1, 0][0, 0]), store.on_disk
    (1.0, 16)
    """

    # The first tiles stay in memory, not the most recent: products scan all tiles in order, for which LRU is the worst
    # policy.

    def __init__(self, limit: int, folder: str | Path | None = None, yielding: tuple[str, ...] = ()) -> None:
        self._limit = limit
        self._tiles: dict[Name, Tile] = {}
        # Tens of thousands of tiles may be on disk: a path for each of them would take megabytes.
        self._files: dict[Name, _Form] = {}
        self._forms: dict[_Form, _Form] = {}
        self._yielding = yielding
        self._folder = Path(tempfile.mkdtemp(prefix="ntkmc-tiles-", dir=folder))
        self._finalizer = weakref.finalize(self, _close, self._folder, self._tiles)

    def __setitem__(self, name: Name, tile: Tile) -> None:
        del self[name]
        if not _reserve(tile.nbytes, self._limit) and not self._make_room(name[0], tile.nbytes):
            self._write(name, tile)
            return
        self._tiles[name] = tile

    def __getitem__(self, name: Name) -> Tile:
        if name in self._tiles:
            return self._tiles[name]
        shape, dtype = self._files[name]
        return np.fromfile(self._path(name), dtype=dtype).reshape(shape)

    def __delitem__(self, name: Name) -> None:
        if name in self._tiles:
            _reserve(-self._tiles.pop(name).nbytes, self._limit)
        if name in self._files:
            del self._files[name]
            self._path(name).unlink(missing_ok=True)

    def __contains__(self, name: object) -> bool:
        return name in self._tiles or name in self._files

    def __iter__(self) -> Iterator[Name]:
        yield from list(self._tiles)
        yield from list(self._files)

    def drop(self, kind: str) -> None:
        """Drop all tiles of a kind."""
        for name in self:
            if name[0] == kind:
                del self[name]

    @property
    def on_disk(self) -> int:
        """Bytes of tiles on disk."""
        return sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in self._files.values())

    def close(self) -> None:
        """Drop all tiles and remove the folder."""
        self._finalizer()
        self._files.clear()

    def _make_room(self, kind: str, size: int) -> bool:
        """Write tiles of yielding kinds to disk until `size` bytes are reserved; False if that is impossible."""
        if kind in self._yielding:
            return False
        for name in [name for name in self._tiles if name[0] in self._yielding]:
            tile = self._tiles.pop(name)
            self._write(name, tile)
            _reserve(-tile.nbytes, self._limit)
            if _reserve(size, self._limit):
                return True
        return False

    def _write(self, name: Name, tile: Tile) -> None:
        tile.tofile(self._path(name))
        form = tile.shape, tile.dtype
        self._files[name] = self._forms.setdefault(form, form)

    def _path(self, name: Name) -> Path:
        return self._folder / "-".join(map(str, name))


def _reserve(size: int, limit: int) -> bool:
    """Reserve `size` bytes of memory, or release them if negative; return False if that exceeds the limit."""
    global _held
    with _lock:
        if size > 0 and _held + size > limit:
            return False
        _held += size
        return True


def _close(folder: Path, tiles: dict[Name, Tile]) -> None:
    _reserve(-sum(tile.nbytes for tile in tiles.values()), 0)
    tiles.clear()
    shutil.rmtree(folder, ignore_errors=True)
