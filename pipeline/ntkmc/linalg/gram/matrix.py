"""Gram matrices of the limiting kernels, all depths in one pass through the recursion.

The recursion of a pair needs two numbers between layers: s_l = sin(theta_l / 2)**2 and the kernel value k_l. They
share one n x n array, s below the diagonal and k above it, so that a pass over the lower triangle in tiles updates
both in place and writes the next Gram matrix: two n x n arrays in all, one for the last depth; no temporaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.compiled import compiled
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.numeric import Matrix
from ntkmc.theory.kernels import check_depths, diagonal_value
from ntkmc.theory.kernels.arccos import NEARLY_PARALLEL, first_layer, first_layer_parallel, next_layer

TILE: Final = 64
"""Side of a tile: two 64 x 64 tiles of float64 (a block and its mirror) fill 64 KiB, inside a core's L2 cache.
No entry depends on it."""

PANEL: Final = 4096
"""Rows of a panel of cosines. It decides bits: see `NUMERICS`."""

LARGEST_NORM: Final = 2.0**500
"""Products of two norms, times any depth, stay finite."""

_PAD: Final = 8
"""Extra columns of a tile's buffer: without them its rows lie 512 bytes apart and compete for the same cache sets."""

H_INFINITY, NTK, CONJUGATE = 0, 1, 2
NUMERICS: Final = {"panel": PANEL}

CODE: Final = {"h-infinity": H_INFINITY, "ntk": NTK, "conjugate": CONJUGATE}


def gram(X: ArrayLike, kernel: str = "ntk", depth: int = 2) -> Matrix:
    """Gram matrix of one kernel at one depth.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    kernel : {"ntk", "h-infinity", "conjugate"}
        K^(L) of Nguyen, Mondelli & Montúfar (ICML 2021, Sec. 2); H-infinity of Arora et al. (ICML 2019), for rows
        that are not unit vectors read as x_i' x_j kappa_0 / 2; or the conjugate (NNGP) kernel G^(L).
    depth : int
        Number of weight layers L; 2 for `h-infinity`.

    Returns
    -------
    ndarray, (n, n), float64
        Exactly symmetric; each entry within `entry_error` times |x_i| |x_j| of the exact kernel; the diagonal, and
        the entries of duplicate and opposite rows, exact up to the rounding of the norms.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array, or an unknown kernel or depth.

    Examples
    --------
    >>> gram([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]], depth=2).round(6).tolist()
    [[2.0, 1.81831, 0.63662], [1.81831, 4.0, 3.63662], [0.63662, 3.63662, 8.0]]
    """
    return next(grams(X, kernel, (depth,)))[1]


def grams(X: ArrayLike, kernel: str = "ntk", depths: Sequence[int] = (2,)) -> Iterator[tuple[int, Matrix]]:
    """Gram matrices at several depths, by increasing depth, in one pass through the recursion.

    Holds one n x n array of its own, the last matrix; each one yielded is the caller's to keep, change or drop.

    Parameters
    ----------
    X, kernel
        As for `gram`.
    depths : sequence of int
        Depths wanted, in any order; repetitions count once.

    Yields
    ------
    (depth, K) : int, ndarray (n, n)

    Examples
    --------
    >>> [(depth, float(K[0, 0])) for depth, K in grams([[3.0, 4.0]], "ntk", (5, 2))]
    [(2, 50.0), (5, 125.0)]
    """
    wanted = check_depths(kernel, depths)
    return grams_of_rows(split_rows(as_data(X)), kernel, wanted)


def grams_of_rows(rows: Rows, kernel: str, depths: Sequence[int]) -> Iterator[tuple[int, Matrix]]:
    """`grams` for rows that were split before; `depths` sorted and valid."""
    return grams_of_cosines(cosines(rows), rows, kernel, depths)


def grams_of_cosines(R: Matrix, rows: Rows, kernel: str, depths: Sequence[int]) -> Iterator[tuple[int, Matrix]]:
    """`grams_of_rows` from R = `cosines(rows)`, which is used up: the last matrix yielded is that array."""
    check_norms(rows)
    code = CODE[kernel]
    reached = 1
    for depth in depths:
        if depth == 1:
            K = R if depth == depths[-1] else np.empty_like(R)
            _emit_linear(R, rows.norms, K)
        else:
            if reached == 1:
                _start(R, rows.unit, code)
                reached = 2
            while reached < depth:
                _advance(R, code)
                reached += 1
            K = R if depth == depths[-1] else np.empty_like(R)
            _emit(R, rows.norms, diagonal_value(kernel, depth), K)
        yield depth, K
        del K  # the caller may have dropped it: it must not live on here while the next depth is computed


def check_norms(rows: Rows) -> None:
    """Raise `InputError` if a row is so long that entries of a Gram matrix overflow."""
    if rows.norms.max() > LARGEST_NORM:
        raise InputError(f"a row has norm {rows.norms.max():.3g}, its Gram matrix overflows: rescale the data")


def cosines(rows: Rows) -> Matrix:
    """R = unit unit' by BLAS, (n, n); all that is read of it is the lower triangle.

    For large n in panels: OpenBLAS's threaded `syrk`, which NumPy calls for a product with its own transpose, crashes
    from about n = 25,000 on (numpy issue 19685).
    """
    unit = rows.unit
    n = len(unit)
    if n <= PANEL:
        return np.asarray(unit @ unit.T)
    R = np.empty((n, n))
    for first in range(0, n, PANEL):
        stop = min(first + PANEL, n)
        np.matmul(unit[first:stop], unit[:first].T, out=R[first:stop, :first])
        np.matmul(unit[first:stop], unit[first:stop].T, out=R[first:stop, first:stop])
    return R


def coherence(rows: Rows) -> float:
    """max |rho_ij| over the pairs i < j, 0 for a single row; absolute error at most `coherence_error(d)`."""
    return coherence_of(cosines(rows), rows)


def coherence_of(R: Matrix, rows: Rows) -> float:
    """`coherence` from R = `cosines(rows)`."""
    return float(_coherence(R, rows.unit))


@compiled
def _coherence(R: Matrix, unit: Matrix) -> float:
    largest = 0.0
    for i in range(R.shape[0]):
        for j in range(i):
            size = abs(R[i, j])
            if size > NEARLY_PARALLEL:
                size = abs(first_layer_parallel(unit[i], unit[j])[0])
            largest = max(largest, size)
    return largest


@compiled
def _start(state: Matrix, unit: Matrix, code: int) -> None:
    """Replace cosines by (s_2 below, k_2 above); for h-infinity, h above."""
    n = state.shape[0]
    k = np.empty((TILE, TILE + _PAD))
    s = np.empty(TILE)
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            for i in range(i0, min(i0 + TILE, n)):
                row = state[i, j0 : min(j0 + TILE, i)]
                out = k[i - i0]
                for j in range(len(row)):  # free of branches and calls, so that it is vectorized
                    f, kappa_0, s[j] = first_layer(row[j])
                    out[j] = begun(code, f, kappa_0, s[j])
                for j in range(len(row)):
                    if abs(row[j]) > NEARLY_PARALLEL:
                        f, kappa_0, s[j] = first_layer_parallel(unit[i], unit[j0 + j])
                        out[j] = begun(code, f, kappa_0, s[j])
                row[:] = s[: len(row)]
            _mirror(state, k, i0, j0)


@compiled
def _mirror(state: Matrix, tile: Matrix, i0: int, j0: int) -> None:
    """Put the transpose of a tile above the diagonal, row by row: long strides would miss the cache and the TLB."""
    stop = min(i0 + TILE, state.shape[0])
    for j in range(j0, min(j0 + TILE, stop)):
        for i in range(max(i0, j + 1), stop):
            state[j, i] = tile[i - i0, j - j0]


@compiled
def begun(code: int, f: float, kappa_0: float, s: float) -> float:
    """k_2 of a kernel (h for h-infinity) from the cosine f, kappa_0(f) and s_2."""
    if code == H_INFINITY:
        return 0.5 * f * kappa_0
    if code == NTK:
        return f * kappa_0 + (1.0 - 2.0 * s)
    return 1.0 - 2.0 * s


@compiled
def _advance(state: Matrix, code: int) -> None:
    """One layer further, in place."""
    n = state.shape[0]
    k = np.empty((TILE, TILE + _PAD))
    kappa_0 = np.empty(TILE)
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            stop = min(i0 + TILE, n)
            for j in range(j0, min(j0 + TILE, stop)):
                for i in range(max(i0, j + 1), stop):
                    k[i - i0, j - j0] = state[j, i]
            for i in range(i0, stop):
                row = state[i, j0 : min(j0 + TILE, i)]
                out = k[i - i0]
                for j in range(len(row)):  # vectorized, as above
                    row[j], kappa_0[j] = next_layer(row[j])
                for j in range(len(row)):
                    grown = out[j] * kappa_0[j] if code == NTK else 0.0
                    out[j] = grown + (1.0 - 2.0 * row[j])
            _mirror(state, k, i0, j0)


@compiled
def _emit(state: Matrix, norms: Matrix, diagonal: float, K: Matrix) -> None:
    """K := |x_i| |x_j| k_ij, mirrored, with its exact diagonal; K may be `state`."""
    n = state.shape[0]
    tile = np.empty((TILE, TILE + _PAD))
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            stop = min(i0 + TILE, n)
            for j in range(j0, min(j0 + TILE, stop)):
                for i in range(max(i0, j + 1), stop):
                    value = (norms[i] * norms[j]) * state[j, i]
                    K[j, i] = value
                    tile[i - i0, j - j0] = value
            for i in range(i0, stop):
                for j in range(j0, min(j0 + TILE, i)):
                    K[i, j] = tile[i - i0, j - j0]
    for i in range(n):
        K[i, i] = diagonal * (norms[i] * norms[i])


@compiled
def _emit_linear(R: Matrix, norms: Matrix, K: Matrix) -> None:
    """K := |x_i| |x_j| rho_ij; K may be R."""
    n = R.shape[0]
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            for i in range(i0, min(i0 + TILE, n)):
                for j in range(j0, min(j0 + TILE, i)):
                    K[i, j] = K[j, i] = (norms[i] * norms[j]) * R[i, j]
    for i in range(n):
        K[i, i] = norms[i] * norms[i]
