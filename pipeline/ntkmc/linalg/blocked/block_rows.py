"""Block rows of a Gram matrix and of its factor that one worker holds, and the operations on them.

Everything here runs where the tiles are, on arrays of a few block rows. `ntkmc.linalg.blocked.solver` puts the shares
together; who carries messages between them (Dask, or a loop in a test) is its caller's business.

The factorization is left-looking, by block rows: a tile of the factor is written once, when all to its left are there,
from the tile of the matrix that is needed at that moment alone. What moves is one finished block row at a time, from
its owner to all others, n**2 / 2 numbers to each worker in all.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ntkmc.linalg.blocked.tile_store import TileStore
from ntkmc.linalg.blocked.tiles import (
    NO_PAIRS,
    EntrySums,
    PairSums,
    Tile,
    below,
    exact_tile,
    factor_tile,
    gram_diagonal,
    gram_tile,
    pair_sums,
    solve_corner,
    spans,
    survey_tile,
    update,
    update_corner,
)
from ntkmc.linalg.eigen.rows import Rows
from ntkmc.numeric import Matrix

Panel = list[Tile] | None
"""A block row of a factor, tile by tile up to the diagonal; None if the factorization broke down there."""


class Shifted(NamedTuple):
    """A matrix to factor: K + strength v v' off the diagonal, and a diagonal of its own.

    Attributes
    ----------
    number : int
        Which factorization of its matrix it is.
    diagonal : ndarray, (n,)
        As it is to be, every rounding done.
    vector : ndarray, (n,)
    strength : float
        0 if nothing is deflated.
    single : bool
        Factor in float32, for solves that nothing is proved with.
    """

    number: int
    diagonal: Matrix
    vector: Matrix
    strength: float
    single: bool = False


class StaleShareError(Exception):
    """Raised when block rows lack data that a step needs and have to be updated first."""


class BlockRows:
    """Block rows of a Gram matrix, of its factor, with the operations on them.

    Parameters
    ----------
    rows : Rows
        The data, all of them.
    kernel : str
    block : int
        Rows of a block row.
    mine : sequence of int
        Block rows that are held here.
    limit : int
        Bytes of tiles that may be held in memory; the rest goes to disk.
    folder : str or Path, optional
        Where it goes to.
    single : bool
        Hold the matrix in float32, for products alone: the entries that a proof needs are evaluated anew.
    """

    def __init__(
        self,
        rows: Rows,
        kernel: str,
        block: int,
        mine: Sequence[int],
        limit: int,
        folder: str | Path | None = None,
        *,
        single: bool = False,
    ) -> None:
        self.rows = rows
        self.kernel = kernel
        self.spans = spans(len(rows.norms), block)
        self.mine = tuple(sorted(mine))
        self.depth = 0
        self.single = single
        self.vault = TileStore(limit, folder, yielding=("matrix",))
        self._shifted: Shifted | None = None
        self._corners: dict[int, Tile] = {}  # diagonal tiles on their way: what the columns so far left of them
        self._reached = -1
        self._broken = False
        self._preconditioner: dict[int, Tile] = {}

    def __reduce__(self) -> Any:
        raise TypeError("a share of a matrix stays where it is: another worker makes it anew")

    def pair_sums(self) -> PairSums:
        """Of the cosines here."""
        found = NO_PAIRS
        for i in self.mine:
            for j in range(i + 1):
                found = found.joined(pair_sums(self.rows, self.spans[i], self.spans[j]))
        return found

    def build(self, depth: int) -> None:
        """Evaluate the tiles at a depth, in place of those at another; nothing if they are there."""
        if self.depth == depth:
            return
        self.vault.drop("matrix")
        self.forget()
        self._preconditioner.clear()
        for i in self.mine:
            for j in range(i + 1):
                tile = gram_tile(self.rows, self.kernel, depth, self.spans[i], self.spans[j])
                self.vault["matrix", i, j] = tile.astype(np.float32) if self.single else tile
        self.depth = depth

    def entries(self, i: int, j: int) -> Matrix:
        """A tile of the matrix in float64, not to be changed."""
        tile = self._tile(i, j)
        if tile.dtype == np.float64:
            return np.asarray(tile, dtype=np.float64)
        return gram_tile(self.rows, self.kernel, self.depth, self.spans[i], self.spans[j])

    def product(self, V: Matrix) -> Matrix:
        """Return the contribution of these tiles to K V, for V (n, k)."""
        image = np.zeros_like(V)
        V = V.astype(np.float32 if self.single else np.float64, copy=False)
        for i in self.mine:
            down = slice(*self.spans[i])
            for j in range(i):
                across = slice(*self.spans[j])
                tile = self._tile(i, j)
                image[down] += tile @ V[across]
                image[across] += tile.T @ V[down]
            image[down] += self._tile(i, i) @ V[down]
        return image

    def exact_product(self, v: Matrix) -> Matrix:
        """The same for one vector (n,), in double-double: (2, n), as `ntkmc.linalg.eigen.rayleigh.exact_product`
        sums."""
        image = np.zeros((2, len(v)))
        for i in self.mine:
            down = slice(*self.spans[i])
            for j in range(i + 1):
                across = slice(*self.spans[j])
                exact_tile(self.entries(i, j), v[across], v[down], i == j, image[:, across], image[:, down])
        return image

    def survey(self) -> EntrySums:
        """Of the entries here, off the diagonal."""
        sums = np.zeros((2, len(self.rows.norms)))
        smallest, largest, squares = np.inf, 0.0, 0.0
        diagonal = gram_diagonal(self.rows, self.kernel, self.depth)
        for i in self.mine:
            down = slice(*self.spans[i])
            for j in range(i + 1):
                across = slice(*self.spans[j])
                found = survey_tile(
                    self.entries(i, j), i == j, diagonal[down], diagonal[across], sums[:, down], sums[:, across]
                )
                smallest, largest, squares = min(smallest, found[0]), max(largest, found[1]), squares + found[2]
        return EntrySums(sums[0], sums[1], smallest, largest, squares)

    def begin(self, shifted: Shifted) -> None:
        """Start a factorization; nothing if it has begun."""
        if self._shifted is not None and self._shifted.number == shifted.number:
            return
        self.forget()
        self._shifted = shifted
        for i in self.mine:
            corner = self._shifted_tile(i, i)
            corner.flat[:: len(corner) + 1] = shifted.diagonal[slice(*self.spans[i])]
            self._corners[i] = corner

    def standing(self) -> tuple[int, int, int]:
        """Depth of the tiles, number of the factorization, and its last block column that is finished here."""
        return self.depth, self._shifted.number if self._shifted else 0, self._reached

    def finished_row(self, number: int, j: int) -> Panel:
        """Block row j of factorization `number`, which is held here, its diagonal tile factored if it was not yet."""
        self._going_on(number)
        if self._broken:
            return None
        if ("factor", j, j) not in self.vault:
            if j > 0 and ("factor", j, j - 1) not in self.vault:
                raise StaleShareError
            corner = factor_tile(self._corners.pop(j))
            if corner is None:
                self._broken = True
                return None
            self.vault["factor", j, j] = corner
        return [self.vault["factor", j, k] for k in range(j + 1)]

    def finished_corner(self, number: int, j: int) -> bool | None:
        """Whether block row j could be finished, None if not, without moving it."""
        return None if self.finished_row(number, j) is None else True

    def column(self, number: int, panel: Panel, j: int, chosen: Sequence[int] | None = None) -> bool:
        """Block column j of the factor in block rows below it here, all or the chosen ones; False if it broke down."""
        self._going_on(number)
        if panel is None or self._broken:
            self._broken = True
            return False
        for i in self.mine if chosen is None else chosen:
            if i <= j or ("factor", i, j) in self.vault:
                continue
            if j > 0 and ("factor", i, j - 1) not in self.vault:
                raise StaleShareError
            tile = self._shifted_tile(i, j)
            for k in range(j):
                update(tile, self.vault["factor", i, k], panel[k])
            below(tile, panel[j])
            update_corner(self._corners[i], tile)
            self.vault["factor", i, j] = tile
        if chosen is None:
            self._reached = max(self._reached, j)
        return True

    def next_row(self, number: int, panel: Panel, j: int, i: int) -> Panel:
        """Block row i, which is held here, as `finished_row` has it, after block column j alone was lacking there."""
        self.column(number, panel, j, (i,))
        return self.finished_row(number, i)

    def forward(self, chosen: Sequence[int], x: Matrix) -> Matrix:
        """Go on with L y = b through the chosen block rows; x (n,) holds y above them, and b from there on.

        In the precision of the factor.
        """
        y = np.array(x, dtype=self._precision())
        for i in chosen:
            down = slice(*self.spans[i])
            for j in range(i):
                y[down] -= self._factor(i, j) @ y[slice(*self.spans[j])]
            y[down] = solve_corner(self._factor(i, i), y[down], transposed=False)
        return y

    def backward(self, chosen: Sequence[int], y: Matrix) -> Matrix:
        """The same with L' x = y, from the last of the chosen block rows up."""
        x = np.array(y, dtype=self._precision())
        for i in reversed(chosen):
            down = slice(*self.spans[i])
            x[down] = solve_corner(self._factor(i, i), x[down], transposed=True)
            for j in range(i):
                x[slice(*self.spans[j])] -= self._factor(i, j).T @ x[down]
        return x

    def turn(self, chosen: Sequence[int], x: Matrix) -> Matrix:
        """Down through the last block rows, and up again."""
        return self.backward(chosen, self.forward(chosen, x))

    def expect(self, panel: Panel) -> None:
        """Nothing: a block row that is asked for early has travelled by the time it is needed."""

    def precondition(self, V: Matrix) -> Matrix:
        """Diagonal tiles here, solved with: block Jacobi's share of the image of V (n, k)."""
        image = np.zeros_like(V)
        for i in self.mine:
            down = slice(*self.spans[i])
            if i not in self._preconditioner:
                corner = factor_tile(np.array(self.entries(i, i)))
                if corner is None:  # singular to working precision: its diagonal serves
                    corner = np.diag(np.sqrt(np.maximum(np.diagonal(self.entries(i, i)), np.finfo(float).tiny)))
                self._preconditioner[i] = corner
            for k in range(V.shape[1]):
                half = solve_corner(self._preconditioner[i], np.array(V[down, k]), transposed=False)
                image[down, k] = solve_corner(self._preconditioner[i], half, transposed=True)
        return image

    def on_disk(self) -> int:
        """Bytes of tiles that did not fit into memory."""
        return self.vault.on_disk

    def forget(self) -> None:
        """Drop the factor."""
        self.vault.drop("factor")
        self._corners.clear()
        self._shifted, self._reached, self._broken = None, -1, False

    def close(self) -> None:
        """Let go of memory and disk."""
        self.vault.close()

    def _precision(self) -> type[np.floating[Any]]:
        return np.float32 if self._shifted is not None and self._shifted.single else np.float64

    def _going_on(self, number: int) -> None:
        if self._shifted is None or self._shifted.number != number:
            raise StaleShareError

    def _tile(self, i: int, j: int) -> Tile:
        """As it is held."""
        if ("matrix", i, j) not in self.vault:
            raise StaleShareError
        return self.vault["matrix", i, j]

    def _factor(self, i: int, j: int) -> Tile:
        if ("factor", i, j) not in self.vault:
            raise StaleShareError
        return self.vault["factor", i, j]

    def _shifted_tile(self, i: int, j: int) -> Tile:
        """K + strength v v', a new array, off the diagonal."""
        if self._shifted is None:
            raise StaleShareError
        _, _, v, strength, single = self._shifted
        if single:
            return np.array(self._tile(i, j), dtype=np.float32)
        tile = np.array(self.entries(i, j))
        if strength:
            tile += (strength * v[slice(*self.spans[i])])[:, None] * v[slice(*self.spans[j])]
        return tile
