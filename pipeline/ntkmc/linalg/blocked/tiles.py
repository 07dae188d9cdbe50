"""Tiles of a Gram matrix and of its Cholesky factor, as functions of a few arrays.

A matrix of order n is cut into block rows of `block` rows; tile (i, j), j <= i, is the part of block row i in the
columns of block row j. Tiles of a factor L, K = L L', are C-ordered, with `L[i, j]` below the diagonal. SciPy's BLAS
works on their transposes, which are Fortran-ordered views of the same memory.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from ntkmc.compiled import compiled
from ntkmc.linalg.eigen.rayleigh import LANES, add_dot, add_multiple
from ntkmc.linalg.eigen.rows import Rows
from ntkmc.linalg.eigen.symmetric import PAD, TILE
from ntkmc.linalg.gram.matrix import CODE, advance_tile, begin_tile
from ntkmc.linalg.gram.pairs import PairSums, pair_sums
from ntkmc.numeric import Matrix
from ntkmc.theory.kernels import diagonal_value

Tile = NDArray[np.float64] | NDArray[np.float32]
"""Array (rows, columns); in float64 for proofs, in float32 for what only proposes a vector."""

Span = tuple[int, int]
"""First row of a block row, and the row after its last."""


def spans(n: int, block: int) -> list[Span]:
    """Return the block rows of a matrix of order n.

    >>> spans(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + block, n)) for first in range(0, n, block)]


def cosine_tile(rows: Rows, down: Span, across: Span) -> Matrix:
    """Return the cosines between two block rows, by BLAS; of a block row with itself, exactly symmetric."""
    return np.ascontiguousarray(rows.unit[slice(*down)] @ rows.unit[slice(*across)].T)


def gram_tile(rows: Rows, kernel: str, depth: int, down: Span, across: Span) -> Matrix:
    """Return one tile of `ntkmc.linalg.gram.matrix.gram`, with the same bound on the error of its entries.

    A tile on the diagonal is exactly symmetric, its diagonal exact up to the rounding of the norms.
    """
    T = cosine_tile(rows, down, across)
    left, right = _part(rows, down), _part(rows, across)
    _evaluate(T, left.unit, right.unit, left.norms, right.norms, CODE[kernel], depth)
    if down == across:
        np.fill_diagonal(T, gram_diagonal(rows, kernel, depth)[slice(*down)])
    return T


def gram_diagonal(rows: Rows, kernel: str, depth: int) -> Matrix:
    """Return the Gram matrix's diagonal, (n,), with the same bits as in its tiles."""
    return np.asarray(diagonal_value(kernel, depth) * (rows.norms * rows.norms))


def _part(rows: Rows, span: Span) -> Rows:
    return Rows(rows.unit[slice(*span)], rows.norms[slice(*span)])


@compiled
def _evaluate(
    T: Matrix, left: Matrix, right: Matrix, norms_left: Matrix, norms_right: Matrix, code: int, depth: int
) -> None:
    """Replace cosines by |x_i| |x_j| k(rho_ij)."""
    rows, columns = T.shape
    k = np.empty((TILE, TILE + PAD))
    # All layers of a small tile before the next one, so that it stays in a core's caches.
    for i0 in range(0, rows, TILE):
        for j0 in range(0, columns, TILE):
            if depth > 1:
                begin_tile(T, i0, j0, left, right, code, False, k)
            for _ in range(2, depth):
                advance_tile(T, i0, j0, code, False, k)
            for i in range(i0, min(i0 + TILE, rows)):
                for j in range(j0, min(j0 + TILE, columns)):
                    T[i, j] = (norms_left[i] * norms_right[j]) * (k[i - i0, j - j0] if depth > 1 else T[i, j])


def tile_pair_sums(rows: Rows, down: Span, across: Span) -> PairSums:
    """Return the sums over the pairs i > j of a tile of cosines."""
    R = cosine_tile(rows, down, across)
    sums = pair_sums(R, _part(rows, down), _part(rows, across), diagonal=down == across)
    has_first_pair = down[0] <= 1 < down[1] and across[0] == 0
    return sums._replace(first=float(R[1 - down[0], 0])) if has_first_pair else sums


class EntrySums(NamedTuple):
    """Statistics of off-diagonal entries, for `ntkmc.experiment.trial.statistics.surveyed_statistics`.

    Attributes
    ----------
    absolute, plain : ndarray, (n,)
        Row sums of |k_ij| and of k_ij, j != i.
    pair_bound, entry_max, square_sum : float
        The smallest eigenvalue of the 2 x 2 minors, inf without a pair; max |k_ij|; the sum of k_ij**2 over i > j.
    """

    absolute: Matrix
    plain: Matrix
    pair_bound: float
    entry_max: float
    square_sum: float

    def merged(self, other: EntrySums) -> EntrySums:
        """Return the statistics of the entries of both."""
        return EntrySums(
            self.absolute + other.absolute,
            self.plain + other.plain,
            min(self.pair_bound, other.pair_bound),
            max(self.entry_max, other.entry_max),
            self.square_sum + other.square_sum,
        )


@compiled
def add_entry_sums(
    T: Matrix, diagonal: bool, down: Matrix, across: Matrix, sums_down: Matrix, sums_across: Matrix
) -> tuple[float, float, float]:
    """Add a tile's sums of |k_ij| and k_ij to those of its rows, (2, rows), and columns, (2, columns).

    `down`, `across`: the matrix's diagonal at the rows and columns. Returns the other fields of `EntrySums`.
    """
    smallest, largest, squares = np.inf, 0.0, 0.0
    for i in range(T.shape[0]):
        for j in range(i if diagonal else T.shape[1]):
            entry = T[i, j]
            size = abs(entry)
            sums_down[0, i] += size
            sums_across[0, j] += size
            sums_down[1, i] += entry
            sums_across[1, j] += entry
            root = math.hypot(0.5 * (down[i] - across[j]), entry)
            smallest = min(smallest, 0.5 * (down[i] + across[j]) - root)
            largest = max(largest, size)
            squares += entry * entry
    return smallest, largest, squares


def subtract_product(C: Tile, left: Tile, right: Tile) -> None:
    """Subtract left right' from C, in place: an update of a tile below the diagonal."""
    gemm = blas.sgemm if C.dtype == np.float32 else blas.dgemm
    gemm(-1.0, right.T, left.T, beta=1.0, c=C.T, trans_a=1, overwrite_c=1)


def subtract_square(C: Tile, left: Tile) -> None:
    """Subtract left left' from the lower triangle of C, in place: an update of a diagonal tile."""
    syrk = blas.ssyrk if C.dtype == np.float32 else blas.dsyrk
    syrk(-1.0, left.T, beta=1.0, c=C.T, trans=1, lower=0, overwrite_c=1)


def factor_tile(C: Tile) -> Tile | None:
    """Return the lower Cholesky factor of a diagonal tile, of which the lower triangle is read; C is overwritten.

    None if the factorization broke down or is not finite.
    """
    potrf = lapack.spotrf if C.dtype == np.float32 else lapack.dpotrf
    factored, info = potrf(C.T, lower=0, overwrite_a=1, clean=1)
    if info != 0 or not np.isfinite(np.diagonal(factored)).all():
        return None
    return np.ascontiguousarray(factored.T)


def divide_by_corner(C: Tile, corner: Tile) -> None:
    """Replace C by C corner'**-1: a tile of the factor, below the diagonal tile `corner`."""
    trsm = blas.strsm if C.dtype == np.float32 else blas.dtrsm
    trsm(1.0, corner.T, C.T, side=0, lower=0, trans_a=1, overwrite_b=1)


def solve_corner(corner: Tile, x: Tile, *, transposed: bool) -> Tile:
    """Return corner**-1 x, or corner'**-1 x, for x (rows,) of the same precision."""
    trsv = blas.strsv if corner.dtype == np.float32 else blas.dtrsv
    solution: Tile = trsv(corner.T, x, lower=0, trans=0 if transposed else 1)
    return solution


@compiled
def add_exact_products(
    T: Matrix,
    x: Matrix,
    y: Matrix,
    diagonal: bool,
    high_across: Matrix,
    low_across: Matrix,
    high_down: Matrix,
    low_down: Matrix,
) -> None:
    """Add T x in double-double to `down`, (rows,), and T' y to `across`, (columns,); T x alone on the diagonal.

    The order of summation differs from `ntkmc.linalg.eigen.rayleigh.exact_product`; no error bound depends on it.
    """
    lane, lane_low = np.empty(LANES), np.empty(LANES)
    for i in range(T.shape[0]):
        high_down[i], low_down[i] = add_dot(T, i, len(x), x, high_down[i], low_down[i], lane, lane_low)
        if not diagonal:
            add_multiple(T, i, len(x), y[i], high_across, low_across)
