"""One tile of a Gram matrix, or of its Cholesky factor: pure functions of a few arrays, wherever they are held.

A matrix of order n is cut into block rows of `block` rows; tile (i, j), j <= i, is the part of block row i in the
columns of block row j. Tiles of a factor L, K = L L', are kept as they are written on paper: C-ordered, `L[i, j]`
below the diagonal. SciPy's BLAS works on their transposes, which are Fortran-ordered views of the same memory.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import blas, lapack

from ntkmc.compiled import compiled, fma
from ntkmc.linalg.eigen.rows import Rows
from ntkmc.linalg.gram.matrix import CODE, NTK, begun
from ntkmc.numeric import Matrix
from ntkmc.theory.kernels import diagonal_value
from ntkmc.theory.kernels.arccos import NEARLY_PARALLEL, first_layer, first_layer_parallel, next_layer

_LANE: Final = 64
"""Entries whose recursion runs side by side, so that it is vectorized and stays in the first cache."""

Tile = NDArray[np.float64] | NDArray[np.float32]
"""Rows by columns; a proof works in float64, what is only proposed may be of half the precision."""

Span = tuple[int, int]
"""First row of a block row, and the row after its last."""


def spans(n: int, block: int) -> list[Span]:
    """Block rows of a matrix of order n.

    >>> spans(5, 2)
    [(0, 2), (2, 4), (4, 5)]
    """
    return [(first, min(first + block, n)) for first in range(0, n, block)]


def cosine_tile(rows: Rows, down: Span, across: Span) -> Matrix:
    """Cosines between two block rows, by BLAS; of a block row with itself, exactly symmetric."""
    return np.ascontiguousarray(rows.unit[slice(*down)] @ rows.unit[slice(*across)].T)


def gram_tile(rows: Rows, kernel: str, depth: int, down: Span, across: Span) -> Matrix:
    """One tile of the Gram matrix that `ntkmc.linalg.gram.matrix` computes whole; the same bound holds for its
    entries.

    A tile on the diagonal is exactly symmetric, its diagonal exact up to the rounding of the norms.
    """
    T = cosine_tile(rows, down, across)
    norms = rows.norms
    code = CODE[kernel]
    _evaluate(
        T, rows.unit[slice(*down)], rows.unit[slice(*across)], norms[slice(*down)], norms[slice(*across)], code, depth
    )
    if down == across:
        np.fill_diagonal(T, gram_diagonal(rows, kernel, depth)[slice(*down)])
    return T


def gram_diagonal(rows: Rows, kernel: str, depth: int) -> Matrix:
    """The Gram matrix's diagonal, (n,), to the same bits as in its tiles."""
    return np.asarray(diagonal_value(kernel, depth) * (rows.norms * rows.norms))


@compiled
def _evaluate(
    T: Matrix, left: Matrix, right: Matrix, norms_left: Matrix, norms_right: Matrix, code: int, depth: int
) -> None:
    """Replace cosines by |x_i| |x_j| k(rho_ij), all layers of an entry one after the other."""
    s, k, kappa_0 = np.empty(_LANE), np.empty(_LANE), np.empty(_LANE)
    for i in range(T.shape[0]):
        for first in range(0, T.shape[1], _LANE):
            row = T[i, first : min(first + _LANE, T.shape[1])]
            count = len(row)
            if depth == 1:
                k[:count] = row
            else:
                for j in range(count):
                    f, kappa_0[j], s[j] = first_layer(row[j])
                    k[j] = begun(code, f, kappa_0[j], s[j])
                for j in range(count):
                    if abs(row[j]) > NEARLY_PARALLEL:
                        f, kappa_0[j], s[j] = first_layer_parallel(left[i], right[first + j])
                        k[j] = begun(code, f, kappa_0[j], s[j])
                for _ in range(2, depth):
                    for j in range(count):
                        s[j], kappa_0[j] = next_layer(s[j])
                    for j in range(count):
                        grown = k[j] * kappa_0[j] if code == NTK else 0.0
                        k[j] = grown + (1.0 - 2.0 * s[j])
            for j in range(count):
                row[j] = (norms_left[i] * norms_right[first + j]) * k[j]


class PairSums(NamedTuple):
    """Statistics of the pairs in a tile of cosines: see `ntkmc.linalg.gram.matrix.coherence`.

    Attributes
    ----------
    coherence : float
        max |rho_ij|.
    inner_max, inner_sum, square_sum : float
        Of the inner products |x_i| |x_j| rho_ij: largest absolute one, sum, sum of squares.
    cosine_max : float
        max rho_ij.
    first : float
        rho_21, if it is among them, else 0.
    """

    coherence: float
    inner_max: float
    inner_sum: float
    square_sum: float
    cosine_max: float
    first: float

    def joined(self, other: PairSums) -> PairSums:
        """Those of both tiles together."""
        return PairSums(
            max(self.coherence, other.coherence),
            max(self.inner_max, other.inner_max),
            self.inner_sum + other.inner_sum,
            self.square_sum + other.square_sum,
            max(self.cosine_max, other.cosine_max),
            self.first + other.first,
        )


NO_PAIRS: Final = PairSums(0.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def pair_sums(rows: Rows, down: Span, across: Span) -> PairSums:
    """Sums over the pairs i > j of a tile of cosines."""
    R = cosine_tile(rows, down, across)
    norms, unit = rows.norms, rows.unit
    found = _pair_sums(
        R, unit[slice(*down)], unit[slice(*across)], norms[slice(*down)], norms[slice(*across)], down == across
    )
    here = down[0] <= 1 < down[1] and across[0] == 0  # the second row, in the first one's column
    return PairSums(*found, float(R[1 - down[0], 0]) if here else 0.0)


@compiled
def _pair_sums(
    R: Matrix, left: Matrix, right: Matrix, norms_left: Matrix, norms_right: Matrix, diagonal: bool
) -> tuple[float, float, float, float, float]:
    coherence, largest, total, squares, closest = 0.0, 0.0, 0.0, 0.0, -1.0
    for i in range(R.shape[0]):
        for j in range(i if diagonal else R.shape[1]):
            size = abs(R[i, j])
            if size > NEARLY_PARALLEL:
                size = abs(first_layer_parallel(left[i], right[j])[0])
            coherence = max(coherence, size)
            inner = (norms_left[i] * norms_right[j]) * R[i, j]
            largest = max(largest, abs(inner))
            total += inner
            squares += inner * inner
            closest = max(closest, R[i, j])
    return coherence, largest, total, squares, closest


class EntrySums(NamedTuple):
    """Statistics of the off-diagonal entries in tiles: see `experiment.measuring.matrix_statistics`.

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

    def joined(self, other: EntrySums) -> EntrySums:
        """Of the tiles of both."""
        return EntrySums(
            self.absolute + other.absolute,
            self.plain + other.plain,
            min(self.pair_bound, other.pair_bound),
            max(self.entry_max, other.entry_max),
            self.square_sum + other.square_sum,
        )


@compiled
def survey_tile(
    T: Matrix, diagonal: bool, down: Matrix, across: Matrix, sums_down: Matrix, sums_across: Matrix
) -> tuple[float, float, float]:
    """Add a tile's row sums, (2, rows) and (2, columns); and its share of the other three.

    `down`, `across`: the matrix's diagonal at its rows and columns.
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


def update(C: Tile, left: Tile, right: Tile) -> None:
    """C := C - left right', in place: what a step of a factorization takes off a tile."""
    gemm = blas.sgemm if C.dtype == np.float32 else blas.dgemm
    gemm(-1.0, right.T, left.T, beta=1.0, c=C.T, trans_a=1, overwrite_c=1)


def update_corner(C: Tile, left: Tile) -> None:
    """C := C - left left', in place, in the lower triangle of a diagonal tile alone."""
    syrk = blas.ssyrk if C.dtype == np.float32 else blas.dsyrk
    syrk(-1.0, left.T, beta=1.0, c=C.T, trans=1, lower=0, overwrite_c=1)


def factor_tile(C: Tile) -> Tile | None:
    """The lower Cholesky factor of a diagonal tile, whose lower triangle is read, in its place.

    None if it broke down or is not finite.
    """
    potrf = lapack.spotrf if C.dtype == np.float32 else lapack.dpotrf
    factored, info = potrf(C.T, lower=0, overwrite_a=1, clean=1)
    if info != 0 or not np.isfinite(np.diagonal(factored)).all():
        return None
    return np.ascontiguousarray(factored.T)


def below(C: Tile, corner: Tile) -> None:
    """C := C corner'**-1, in place: a tile of the factor below the diagonal tile `corner`."""
    trsm = blas.strsm if C.dtype == np.float32 else blas.dtrsm
    trsm(1.0, corner.T, C.T, side=0, lower=0, trans_a=1, overwrite_b=1)


def solve_corner(corner: Tile, x: Tile, *, transposed: bool) -> Tile:
    """corner**-1 x, or corner'**-1 x, for x (rows,) of the same precision."""
    trsv = blas.strsv if corner.dtype == np.float32 else blas.dtrsv
    solved: Tile = trsv(corner.T, x, lower=0, trans=0 if transposed else 1)
    return solved


@compiled
def exact_tile(T: Matrix, x: Matrix, y: Matrix, diagonal: bool, across: Matrix, down: Matrix) -> None:
    """Add T x to the double-double `down`, (2, rows), and T' y to `across`, (2, columns); T x alone on the diagonal.

    Sums of error-free products, their errors gathered apart, as in `ntkmc.linalg.eigen.rayleigh.exact_product`:
    another order of summation, on which no bound there depends.
    """
    rows, columns = T.shape
    for i in range(rows):
        top, bottom = down[0, i], down[1, i]
        for j in range(columns):
            product = T[i, j] * x[j]
            updated = top + product
            back = updated - top
            bottom += ((top - (updated - back)) + (product - back)) + fma(T[i, j], x[j], -product)
            top = updated
        down[0, i], down[1, i] = top, bottom
        if diagonal:
            continue
        weight = y[i]
        for j in range(columns):
            product = T[i, j] * weight
            updated = across[0, j] + product
            back = updated - across[0, j]
            across[1, j] += ((across[0, j] - (updated - back)) + (product - back)) + fma(T[i, j], weight, -product)
            across[0, j] = updated
