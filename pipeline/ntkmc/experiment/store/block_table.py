"""Table of blocks: which process computed which trials, when, with which software, and in what time.

The table documents the results and does not affect them. A row is added when its block is folded. A run that is
killed before it deletes the block's file folds the block again, and recognizes its row by the block's random number.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
import zarr
from numpy.typing import NDArray

from ntkmc.errors import StoreError
from ntkmc.experiment.schema.groups import VARIABLES
from ntkmc.experiment.store.arrays import BLOCK_CHUNK, check_declared, consolidate, create_group, open_array
from ntkmc.experiment.store.journal import Block
from ntkmc.experiment.store.location import Location

_RECENT: Final = 16 * BLOCK_CHUNK
"""Number of last rows in which a repeated fold looks for its blocks: more than one fold adds."""


class BlockLog:
    """The group `blocks` of a store, open for writing. Only the holder of the lease may use it."""

    def __init__(self, location: Location, root: zarr.Group) -> None:
        self._location = location
        self._root = root
        if "blocks" not in root:
            create_group(root, "blocks", {})
        self._used, self._known = self._end()
        environments: Any = root.attrs.get("environments", {})
        self._environments: dict[str, Any] = dict(environments)

    def enter(self, blocks: Sequence[Block]) -> None:
        """Add a row for each block that has none."""
        new = [block for block in blocks if block.id not in self._known]
        if not new:
            return
        self._describe_environments(new)
        rows = {name: [_row(block)[name] for block in new] for name in VARIABLES["blocks"]}
        stop = self._used + len(new)
        # Grow by whole chunks, so that no chunk is written with two lengths.
        size = -(-stop // BLOCK_CHUNK) * BLOCK_CHUNK
        if size > self._array("count").shape[0]:
            for name in VARIABLES["blocks"]:
                self._array(name).resize((size,))
            consolidate(self._location)
        for name, variable in VARIABLES["blocks"].items():
            kind: Any = object if variable.dtype == "str" else np.dtype(variable.dtype)
            self._array(name)[self._used : stop] = np.array(rows[name], dtype=kind)
        self._used = stop
        # Only blocks that were in the journal when the store was opened can be folded twice.
        self._known |= {block.id for block in new}
        # Bounded, as a run may have millions of blocks.
        if len(self._known) > _RECENT:
            self._known = {block.id for block in new}

    def _describe_environments(self, blocks: Sequence[Block]) -> None:
        documents = {block.environment: block.provenance.get("environment") for block in blocks}
        unknown = {key: document for key, document in documents.items() if document and key not in self._environments}
        if unknown:
            self._environments |= unknown
            self._root.attrs.update({"environments": self._environments})
            consolidate(self._location)

    def _end(self) -> tuple[int, set[int]]:
        """Return the number of used rows, and the identifiers of the last of them."""
        try:
            self._forget_damaged()
        except (KeyError, FileNotFoundError, StoreError):  # an array is missing, or its metadata are damaged
            create_group(self._root, "blocks", {})
        count = self._array("count")
        start = max(0, count.shape[0] - _RECENT)
        # Rows beyond the last used one are the rest of its chunk.
        used = np.flatnonzero(np.asarray(count[start:]))
        stop = start + (int(used[-1]) + 1 if used.size else 0)
        numbers: NDArray[Any] = np.asarray(self._array("id")[start:stop])
        return stop, set(numbers.tolist())

    def _forget_damaged(self) -> None:
        """Reset the rows of chunks that cannot be read: their provenance is lost, the results are not."""
        for start in range(0, self._array("count").shape[0], BLOCK_CHUNK):
            rows = slice(start, start + BLOCK_CHUNK)
            try:
                for name, variable in VARIABLES["blocks"].items():
                    check_declared(self._array(name), variable, {"block": self._array("count").shape[0]})
                    _ = self._array(name)[rows]
            except (ValueError, OSError, RuntimeError):
                for name, variable in VARIABLES["blocks"].items():
                    kind: Any = object if variable.dtype == "str" else np.dtype(variable.dtype)
                    self._array(name)[rows] = np.full(BLOCK_CHUNK, variable.fill, dtype=kind)

    def _array(self, name: str) -> zarr.Array[Any]:
        return open_array(self._root, "blocks", name)


def read_blocks(root: zarr.Group) -> pd.DataFrame:
    """Return the table of blocks, one row per block; empty if a store has none.

    Columns: the variables of the group `blocks`.
    """
    names = list(VARIABLES["blocks"])
    if "blocks" not in root:
        return pd.DataFrame(columns=names)
    frame = pd.DataFrame({name: np.asarray(open_array(root, "blocks", name)[...]) for name in names})
    return frame[frame["count"] > 0].reset_index(drop=True)


def _row(block: Block) -> dict[str, Any]:
    label, d, n = block.cell
    made = block.provenance
    return {
        "id": block.id,
        "distribution": label,
        "d": d,
        "n": n,
        "depths": ",".join(map(str, block.depths)) + block.measurement.label.replace(",", ";", 1),
        "first": block.first,
        "seconds": made.get("seconds", np.nan),
        "method": ", ".join(f"{name} {trials}" for name, trials in sorted(made.get("methods", {}).items())),
        "worker": f"{made.get('host', '')}:{made.get('pid', '')}",
        "job": made.get("job", ""),
        "environment": block.environment,
        "finished": made.get("finished", 0),
        "count": block.count,
    }
