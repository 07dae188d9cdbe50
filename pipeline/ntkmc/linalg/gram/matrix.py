"""Gram matrices of the limiting kernels, all depths in one pass through the recursion.

The recursion of a pair needs two numbers between layers: s_l = sin(theta_l / 2)**2 and the kernel value k_l. They
share one n x n array, s below the diagonal and k above it. A pass over the lower triangle in tiles updates both in
place and writes the next Gram matrix. That takes two n x n arrays, one for the last depth, and no temporaries.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.compiled import compiled
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.symmetric import PAD, TILE
from ntkmc.numeric import Matrix
from ntkmc.theory.kernels import check_depths, diagonal_value
from ntkmc.theory.kernels.arccos import NEARLY_PARALLEL, first_layer, first_layer_parallel, next_layer

PANEL: Final = 4096
"""Rows of a panel of cosines. It decides bits: see `NUMERICS`."""

LARGEST_NORM: Final = 2.0**500
"""Largest norm of a row: products of two norms, times any depth, stay finite."""

H_INFINITY, NTK, CONJUGATE, KAPPA_0 = 0, 1, 2, 3
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

    The generator holds one n x n array, which becomes the last matrix. The caller may change every matrix.

    Parameters
    ----------
    X, kernel
        As for `gram`.
    depths : sequence of int
        In any order; repetitions count once.

    Yields
    ------
    (depth, K) : int, ndarray (n, n)

    Examples
    --------
    >>> [(depth, float(K[0, 0])) for depth, K in grams([[3.0, 4.0]], "ntk", (5, 2))]
    [(2, 50.0), (5, 125.0)]
    """
    sorted_depths = check_depths(kernel, depths)
    return grams_of_rows(split_rows(as_data(X)), kernel, sorted_depths)


def grams_of_rows(rows: Rows, kernel: str, depths: Sequence[int]) -> Iterator[tuple[int, Matrix]]:
    """Yield `grams` of rows from `split_rows`; `depths` sorted and valid."""
    return grams_of_cosines(cosines(rows), rows, kernel, depths)


def grams_of_cosines(R: Matrix, rows: Rows, kernel: str, depths: Sequence[int]) -> Iterator[tuple[int, Matrix]]:
    """Yield `grams_of_rows` from R = `cosines(rows)`, which is overwritten: the last matrix is that array."""
    check_norms(rows)
    code = CODE[kernel]
    layer = 1
    for depth in depths:
        if depth == 1:
            K = R if depth == depths[-1] else np.empty_like(R)
            _write_linear(R, rows.norms, K)
        else:
            if layer == 1:
                _start(R, rows.unit, code)
                layer = 2
            while layer < depth:
                _advance(R, code)
                layer += 1
            K = R if depth == depths[-1] else np.empty_like(R)
            _write(R, rows.norms, diagonal_value(kernel, depth), K)
        yield depth, K
        # The caller may have dropped the matrix. It must not be held here while the next depth is computed.
        del K


def check_norms(rows: Rows) -> None:
    """Raise `InputError` if a row is so long that entries of a Gram matrix overflow."""
    if rows.norms.max() > LARGEST_NORM:
        raise InputError(f"a row has norm {rows.norms.max():.3g}, its Gram matrix overflows: rescale the data")


def cosines(rows: Rows) -> Matrix:
    """Return R = unit unit', (n, n). For large n only its lower triangle is complete."""
    return row_products(rows.unit, mirrored=False)


def row_products(U: Matrix, *, mirrored: bool) -> Matrix:
    """Return U U' by BLAS, exactly symmetric; unless mirrored, what lies above the diagonal may be undefined."""
    # Large n in panels: OpenBLAS's threaded `syrk`, which NumPy calls for a product with its own transpose, crashes
    # from about n = 25,000 on (numpy issue 19685).
    n = len(U)
    if n <= PANEL:
        return np.asarray(U @ U.T)
    R = np.empty((n, n))
    for first in range(0, n, PANEL):
        panel = slice(first, min(first + PANEL, n))
        np.matmul(U[panel], U[:first].T, out=R[panel, :first])
        np.matmul(U[panel], U[panel].T, out=R[panel, panel])
        if mirrored:
            R[:first, panel] = R[panel, :first].T
    return R


def kappa_0_matrix(R: Matrix, unit: Matrix) -> Matrix:
    """Return the matrix of kappa_0(rho_ij), (n, n), with ones on the diagonal, from R = `cosines(rows)`."""
    state = R.copy()
    _start(state, unit, KAPPA_0)
    _write(state, np.ones(len(R)), 1.0, state)
    return state


@compiled
def begin_tile(R: Matrix, i0: int, j0: int, left: Matrix, right: Matrix, code: int, lower: bool, k: Matrix) -> None:
    """Replace the cosines of one TILE x TILE tile of R by s_2, and evaluate k_2 (h for h-infinity).

    Parameters
    ----------
    R : ndarray, (rows, columns)
    i0, j0 : int
        First row and column of the tile.
    left, right : ndarray, (rows, d) and (columns, d)
        Unit vectors of R's rows and columns.
    lower : bool
        Whether only entries of R below its diagonal are needed.
    k : ndarray, (TILE, .)
        Overwritten by k_2.
    """
    # Tiles are given by their position, since rows of a two-dimensional slice would not be vectorized.
    s = np.empty(TILE)
    for i in range(i0, min(i0 + TILE, R.shape[0])):
        row = R[i, j0 : min(j0 + TILE, i if lower else R.shape[1])]
        out = k[i - i0]
        # Free of branches and calls, so that it is vectorized.
        for j in range(len(row)):
            f, kappa_0, s[j] = first_layer(row[j])
            out[j] = first_layer_kernel(code, f, kappa_0, s[j])
        # Angles near 0 and pi are poorly determined by the cosine. There are few of them.
        for j in range(len(row)):
            if abs(row[j]) > NEARLY_PARALLEL:
                f, kappa_0, s[j] = first_layer_parallel(left[i], right[j0 + j])
                out[j] = first_layer_kernel(code, f, kappa_0, s[j])
        row[:] = s[: len(row)]


@compiled
def advance_tile(S: Matrix, i0: int, j0: int, code: int, lower: bool, k: Matrix) -> None:
    """Replace s_l and k_l of a tile by s_{l+1} and k_{l+1}; parameters as for `begin_tile`."""
    kappa_0 = np.empty(TILE)
    for i in range(i0, min(i0 + TILE, S.shape[0])):
        row = S[i, j0 : min(j0 + TILE, i if lower else S.shape[1])]
        out = k[i - i0]
        for j in range(len(row)):
            row[j], kappa_0[j] = next_layer(row[j])
        for j in range(len(row)):
            grown = out[j] * kappa_0[j] if code == NTK else 0.0
            out[j] = grown + (1.0 - 2.0 * row[j])


@compiled
def first_layer_kernel(code: int, f: float, kappa_0: float, s: float) -> float:
    """Return k_2 of a kernel (h for h-infinity) from the cosine f, kappa_0(f) and s_2."""
    if code == H_INFINITY:
        return 0.5 * f * kappa_0
    if code == NTK:
        return f * kappa_0 + (1.0 - 2.0 * s)
    if code == CONJUGATE:
        return 1.0 - 2.0 * s
    return kappa_0


@compiled
def _start(state: Matrix, unit: Matrix, code: int) -> None:
    """Replace cosines by s_2 below and k_2 above the diagonal, or by h above it for h-infinity."""
    n = state.shape[0]
    k = np.empty((TILE, TILE + PAD))
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            begin_tile(state, i0, j0, unit, unit, code, True, k)
            _write_transposed(state, k, i0, j0)


@compiled
def _advance(state: Matrix, code: int) -> None:
    """Replace layer l by l + 1, in place."""
    n = state.shape[0]
    k = np.empty((TILE, TILE + PAD))
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            stop = min(i0 + TILE, n)
            for j in range(j0, min(j0 + TILE, stop)):
                for i in range(max(i0, j + 1), stop):
                    k[i - i0, j - j0] = state[j, i]
            advance_tile(state, i0, j0, code, True, k)
            _write_transposed(state, k, i0, j0)


@compiled
def _write_transposed(state: Matrix, tile: Matrix, i0: int, j0: int) -> None:
    """Write the transpose of a tile above the diagonal, row by row: long strides would miss the cache and the TLB."""
    stop = min(i0 + TILE, state.shape[0])
    for j in range(j0, min(j0 + TILE, stop)):
        for i in range(max(i0, j + 1), stop):
            state[j, i] = tile[i - i0, j - j0]


@compiled
def _write(state: Matrix, norms: Matrix, diagonal: float, K: Matrix) -> None:
    """Write |x_i| |x_j| k_ij into both triangles of K, and its exact diagonal; K may be `state`."""
    n = state.shape[0]
    tile = np.empty((TILE, TILE + PAD))
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
def _write_linear(R: Matrix, norms: Matrix, K: Matrix) -> None:
    """Write |x_i| |x_j| rho_ij into both triangles of K, which may be R."""
    n = R.shape[0]
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            for i in range(i0, min(i0 + TILE, n)):
                for j in range(j0, min(j0 + TILE, i)):
                    K[i, j] = K[j, i] = (norms[i] * norms[j]) * R[i, j]
    for i in range(n):
        K[i, i] = norms[i] * norms[i]
