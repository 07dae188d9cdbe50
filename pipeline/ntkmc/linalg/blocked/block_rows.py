"""Block rows of a Gram matrix and of its factor that one worker holds, and the operations on them.

Everything here runs where the tiles are, on arrays of a few block rows. `ntkmc.linalg.blocked.solver` combines the
shares of all workers. The transport of messages is up to the caller: Dask, or a loop in a test.

The factorization is left-looking, by block rows: a tile of the factor is written once, when all tiles to its left are
there, and only the tile of the matrix that it replaces is needed for it. One finished block row at a time is sent from
its owner to all others, n**2 / 2 numbers to each worker in total.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ntkmc.linalg.blocked.tile_store import TileStore
from ntkmc.linalg.blocked.tiles import (
    EntrySums,
    Tile,
    add_entry_sums,
    add_exact_products,
    divide_by_corner,
    factor_tile,
    gram_diagonal,
    gram_tile,
    solve_corner,
    spans,
    subtract_product,
    subtract_square,
    tile_pair_sums,
)
from ntkmc.linalg.eigen.rows import Rows
from ntkmc.linalg.gram.pairs import NO_PAIRS, PairSums
from ntkmc.numeric import Matrix

Panel = list[Tile] | None
"""A block row of a factor, tile by tile up to the diagonal; None if the factorization broke down there."""


class Shifted(NamedTuple):
    """A matrix to factor: K + strength v v' off the diagonal, with the given diagonal.

    Attributes
    ----------
    number : int
        Number of the factorization among those of its matrix.
    diagonal : ndarray, (n,)
        With all roundings done.
    vector : ndarray, (n,)
    strength : float
        0 if nothing is deflated.
    single : bool
        Factor in float32, for solves that no proof depends on.
    """

    number: int
    diagonal: Matrix
    vector: Matrix
    strength: float
    single: bool = False


class StaleShareError(Exception):
    """Raised when block rows lack data that a step needs and have to be updated first."""


class BlockRows:
    """Block rows of a Gram matrix and of its factor, with the operations on them.

    Parameters
    ----------
    rows : Rows
        The data, all rows.
    kernel : str
    block : int
        Rows per block row.
    indices : sequence of int
        Block rows that are held here.
    limit : int
        Bytes of tiles that may be held in memory; the rest goes to disk.
    folder : str or Path, optional
        Folder for tiles on disk.
    single : bool
        Hold the matrix in float32, for products only: the entries that a proof needs are evaluated again.
    """

    def __init__(
        self,
        rows: Rows,
        kernel: str,
        block: int,
        indices: Sequence[int],
        limit: int,
        folder: str | Path | None = None,
        *,
        single: bool = False,
    ) -> None:
        self.rows = rows
        self.kernel = kernel
        self.spans = spans(len(rows.norms), block)
        self.indices = tuple(sorted(indices))
        self.depth = 0
        self.single = single
        # Tiles of the matrix go to disk first: a factorization reads each of them once, but tiles of the factor often.
        self.tiles = TileStore(limit, folder, yielding=("matrix",))
        self._shifted: Shifted | None = None
        # Diagonal tiles of the factorization, after the updates by the block columns so far.
        self._corners: dict[int, Tile] = {}
        self._last_column = -1
        self._broken = False
        self._preconditioner: dict[int, Tile] = {}

    def __reduce__(self) -> Any:
        raise TypeError("a share of a matrix stays where it is: another worker makes it anew")

    def pair_sums(self) -> PairSums:
        """Return the sums over the pairs of rows in these tiles."""
        sums = NO_PAIRS
        for i in self.indices:
            for j in range(i + 1):
                sums = sums.merged(tile_pair_sums(self.rows, self.spans[i], self.spans[j]))
        return sums

    def build(self, depth: int) -> None:
        """Evaluate the tiles at a depth and drop those of another; does nothing if they are there."""
        if self.depth == depth:
            return
        self.tiles.drop("matrix")
        self.drop_factor()
        self._preconditioner.clear()
        for i in self.indices:
            for j in range(i + 1):
                tile = gram_tile(self.rows, self.kernel, depth, self.spans[i], self.spans[j])
                self.tiles["matrix", i, j] = tile.astype(np.float32) if self.single else tile
        self.depth = depth

    def entries(self, i: int, j: int) -> Matrix:
        """Return a tile of the matrix in float64, read-only by convention."""
        tile = self._tile("matrix", i, j)
        if tile.dtype == np.float64:
            return np.asarray(tile, dtype=np.float64)
        return gram_tile(self.rows, self.kernel, self.depth, self.spans[i], self.spans[j])

    def product(self, V: Matrix) -> Matrix:
        """Return the contribution of these tiles to K V, for V (n, k)."""
        image = np.zeros_like(V)
        V = V.astype(np.float32 if self.single else np.float64, copy=False)
        for i in self.indices:
            down = slice(*self.spans[i])
            for j in range(i):
                across = slice(*self.spans[j])
                tile = self._tile("matrix", i, j)
                image[down] += tile @ V[across]
                image[across] += tile.T @ V[down]
            image[down] += self._tile("matrix", i, i) @ V[down]
        return image

    def exact_product(self, v: Matrix) -> Matrix:
        """Return the contribution of these tiles to K v in double-double, (2, n), for v (n,)."""
        high, low = image = np.zeros((2, len(v)))
        for i in self.indices:
            down = slice(*self.spans[i])
            for j in range(i + 1):
                across = slice(*self.spans[j])
                add_exact_products(
                    self.entries(i, j), v[across], v[down], i == j, high[across], low[across], high[down], low[down]
                )
        return image

    def entry_sums(self) -> EntrySums:
        """Return the sums over the off-diagonal entries in these tiles."""
        sums = np.zeros((2, len(self.rows.norms)))
        pair_bound, entry_max, square_sum = np.inf, 0.0, 0.0
        diagonal = gram_diagonal(self.rows, self.kernel, self.depth)
        for i in self.indices:
            down = slice(*self.spans[i])
            for j in range(i + 1):
                across = slice(*self.spans[j])
                smallest, largest, squares = add_entry_sums(
                    self.entries(i, j), i == j, diagonal[down], diagonal[across], sums[:, down], sums[:, across]
                )
                pair_bound, entry_max = min(pair_bound, smallest), max(entry_max, largest)
                square_sum += squares
        return EntrySums(sums[0], sums[1], pair_bound, entry_max, square_sum)

    def start_factor(self, shifted: Shifted) -> None:
        """Start a factorization; does nothing if it was started."""
        if self._shifted is not None and self._shifted.number == shifted.number:
            return
        self.drop_factor()
        self._shifted = shifted
        for i in self.indices:
            corner = self._shifted_tile(i, i)
            corner.flat[:: len(corner) + 1] = shifted.diagonal[slice(*self.spans[i])]
            self._corners[i] = corner

    def progress(self) -> tuple[int, int, int]:
        """Return the depth of the tiles, the number of the factorization, and its last block column finished here."""
        return self.depth, self._shifted.number if self._shifted else 0, self._last_column

    def finish_row(self, number: int, j: int) -> Panel:
        """Return block row j of factorization `number`, which is held here; factor its diagonal tile if need be."""
        self._check_number(number)
        if self._broken:
            return None
        if ("factor", j, j) not in self.tiles:
            if j > 0 and ("factor", j, j - 1) not in self.tiles:
                raise StaleShareError
            corner = factor_tile(self._corners.pop(j))
            if corner is None:
                self._broken = True
                return None
            self.tiles["factor", j, j] = corner
        return [self.tiles["factor", j, k] for k in range(j + 1)]

    def finish_corner(self, number: int, j: int) -> bool | None:
        """Finish block row j without sending it; return True, or None if the factorization broke down."""
        return None if self.finish_row(number, j) is None else True

    def compute_column(self, number: int, panel: Panel, j: int, chosen: Sequence[int] | None = None) -> bool:
        """Compute block column j in the block rows below it, from block row j; False if the factorization broke down.

        In all block rows held here, or in the chosen ones only.
        """
        self._check_number(number)
        if panel is None or self._broken:
            self._broken = True
            return False
        for i in self.indices if chosen is None else chosen:
            if i <= j or ("factor", i, j) in self.tiles:
                continue
            if j > 0 and ("factor", i, j - 1) not in self.tiles:
                raise StaleShareError
            tile = self._shifted_tile(i, j)
            for k in range(j):
                subtract_product(tile, self.tiles["factor", i, k], panel[k])
            divide_by_corner(tile, panel[j])
            subtract_square(self._corners[i], tile)
            self.tiles["factor", i, j] = tile
        if chosen is None:
            self._last_column = max(self._last_column, j)
        return True

    def compute_next_row(self, number: int, panel: Panel, j: int, i: int) -> Panel:
        """Return `finish_row` of block row i, held here, in which only block column j is missing."""
        self.compute_column(number, panel, j, (i,))
        return self.finish_row(number, i)

    def solve_forward(self, chosen: Sequence[int], x: Matrix) -> Matrix:
        """Continue the solution of L y = b with the chosen block rows; x (n,) is y above them, and b from there on.

        In the precision of the factor.
        """
        y = np.array(x, dtype=self._precision())
        for i in chosen:
            down = slice(*self.spans[i])
            for j in range(i):
                y[down] -= self._tile("factor", i, j) @ y[slice(*self.spans[j])]
            y[down] = solve_corner(self._tile("factor", i, i), y[down], transposed=False)
        return y

    def solve_backward(self, chosen: Sequence[int], y: Matrix) -> Matrix:
        """Continue the solution of L' x = y with the chosen block rows, from the last one upwards."""
        x = np.array(y, dtype=self._precision())
        for i in reversed(chosen):
            down = slice(*self.spans[i])
            x[down] = solve_corner(self._tile("factor", i, i), x[down], transposed=True)
            for j in range(i):
                x[slice(*self.spans[j])] -= self._tile("factor", i, j).T @ x[down]
        return x

    def solve_last(self, chosen: Sequence[int], x: Matrix) -> Matrix:
        """Solve forward and backward with the last block rows of the matrix, in one step."""
        return self.solve_backward(chosen, self.solve_forward(chosen, x))

    def receive(self, panel: Panel) -> None:
        """Do nothing: as an argument of a task, the panel is transferred before it is needed."""

    def precondition(self, V: Matrix) -> Matrix:
        """Return the rows held here of the block Jacobi solution for V (n, k), zeros elsewhere."""
        image = np.zeros_like(V)
        for i in self.indices:
            down = slice(*self.spans[i])
            if i not in self._preconditioner:
                corner = factor_tile(np.array(self.entries(i, i)))
                if corner is None:  # singular to working precision: Jacobi instead
                    corner = np.diag(np.sqrt(np.maximum(np.diagonal(self.entries(i, i)), np.finfo(float).tiny)))
                self._preconditioner[i] = corner
            for k in range(V.shape[1]):
                half = solve_corner(self._preconditioner[i], np.array(V[down, k]), transposed=False)
                image[down, k] = solve_corner(self._preconditioner[i], half, transposed=True)
        return image

    def on_disk(self) -> int:
        """Return the number of bytes of tiles on disk."""
        return self.tiles.on_disk

    def drop_factor(self) -> None:
        """Drop the factor, and the factorization if one is in progress."""
        self.tiles.drop("factor")
        self._corners.clear()
        self._shifted, self._last_column, self._broken = None, -1, False

    def close(self) -> None:
        """Free memory and disk."""
        self.tiles.close()

    def _precision(self) -> type[np.floating[Any]]:
        return np.float32 if self._shifted is not None and self._shifted.single else np.float64

    def _check_number(self, number: int) -> None:
        if self._shifted is None or self._shifted.number != number:
            raise StaleShareError

    def _tile(self, kind: str, i: int, j: int) -> Tile:
        if (kind, i, j) not in self.tiles:
            raise StaleShareError
        return self.tiles[kind, i, j]

    def _shifted_tile(self, i: int, j: int) -> Tile:
        """Return a tile of K + strength v v' as a new array; its diagonal is not that of `Shifted`."""
        if self._shifted is None:
            raise StaleShareError
        _, _, v, strength, single = self._shifted
        if single:
            return np.array(self._tile("matrix", i, j), dtype=np.float32)
        tile = np.array(self.entries(i, j))
        if strength:
            tile += (strength * v[slice(*self.spans[i])])[:, None] * v[slice(*self.spans[j])]
        return tile
