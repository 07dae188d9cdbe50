"""Symmetric matrices with a workspace for one Cholesky factor."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.compiled import compiled
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import as_array, as_float64
from ntkmc.numeric import Matrix

TILE: Final = 64
"""Side of the tiles in which matrices are transposed: two of them, 32 KiB each, stay in a core's L2 cache. No number
depends on it."""

PAD: Final = 8
"""Extra columns of a buffer for a tile: without them its rows lie 512 bytes apart and compete for the same cache
sets."""

KEPT: Final = 2**27
"""Largest number of bytes of a buffer that a thread keeps between two matrices, 128 MiB: n = 4096."""

_kept = threading.local()


@dataclass(frozen=True)
class Symmetric:
    """A symmetric matrix whose factor may take the place of its upper triangle.

    Attributes
    ----------
    A : ndarray, (n, n)
        The matrix. Its strict lower triangle is never changed.
    W : ndarray, (n, n)
        Workspace for factors, of which only the upper triangle is used: A itself, or another array.
    diagonal : ndarray, (n,)
        A's diagonal, which a factor in A overwrites.
    largest : float
        max |a_ij|.
    """

    A: Matrix
    W: Matrix
    diagonal: Matrix
    largest: float

    @property
    def order(self) -> int:
        """n."""
        return len(self.diagonal)

    def restore(self) -> None:
        """Undo what a factorization changed in A: its upper triangle and diagonal."""
        if self.W is self.A:
            _mirror(self.A, self.diagonal)


def as_symmetric(K: ArrayLike) -> tuple[Matrix, float]:
    """Return K as a C-contiguous float64 matrix, with max |k_ij|.

    Raises
    ------
    InputError
        If K is not a square, real, finite and exactly symmetric matrix.
    """
    array = as_array(K, "K")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise InputError(f"K must be a square matrix, got shape {array.shape}")
    A = as_float64(array, "K")
    # Compiled functions would be compiled once more for the type of read-only arrays.
    if not A.flags.writeable:
        A = A.copy()
    largest, symmetric = _inspect(A)
    if not (symmetric and np.isfinite(largest)):
        if not np.isfinite(A).all():
            raise InputError("K must be finite: it holds NaN or infinity")
        with np.errstate(over="ignore"):
            gap = float(np.max(np.abs(A - A.T)))
        raise InputError(f"K must be exactly symmetric, max |K - K'| is {gap:.3g}: pass (K + K.T) / 2")
    return A, largest


@contextmanager
def workspace(A: Matrix, largest: float) -> Iterator[Symmetric]:
    """Context manager that adds a workspace for the factor to a matrix from `as_symmetric`."""
    n = len(A)
    with scratch_buffer(n * n) as buffer:
        yield Symmetric(A, buffer.reshape(n, n), np.diagonal(A).copy(), largest)


def in_place(A: Matrix) -> Symmetric:
    """Return a finite and symmetric matrix as one whose factor overwrites its upper triangle; neither is checked."""
    return Symmetric(A, A, np.diagonal(A).copy(), float(max(A.max(), -A.min())))


@contextmanager
def scratch_buffer(numbers: int) -> Iterator[Matrix]:
    """Context manager that provides memory for float64 numbers, (numbers,), not initialized."""
    # A thread keeps its last buffer for the next matrix: the operating system hands out fresh memory page by page and
    # zeroed, which takes as long as several passes over it.
    buffer: Matrix | None = _kept.__dict__.pop("last", None)
    if buffer is None or buffer.size < numbers:
        buffer = np.empty(numbers)
    try:
        yield buffer[:numbers]
    finally:
        if buffer.nbytes <= KEPT:
            _kept.last = buffer


@compiled
def _inspect(A: Matrix) -> tuple[float, bool]:
    """Return max |a_ij|, and whether A is symmetric; a NaN is not equal to itself."""
    n = A.shape[0]
    tile = np.empty((TILE, TILE + PAD))
    # One maximum per column of a tile, so that the loop over columns is vectorized.
    most = np.zeros(TILE)
    different = 0
    for i0 in range(0, n, TILE):
        rows = min(TILE, n - i0)
        for j0 in range(0, i0 + 1, TILE):
            columns = min(TILE, n - j0)
            for j in range(columns):
                row = A[j0 + j, i0 : i0 + rows]
                for i in range(rows):
                    tile[i, j] = row[i]
            for i in range(rows):
                row = A[i0 + i, j0 : j0 + columns]
                mirrored = tile[i]
                for j in range(columns):
                    different |= row[j] != mirrored[j]
                    size = abs(row[j])
                    most[j] = size if size > most[j] else most[j]
    return most.max(), different == 0


@compiled
def _mirror(A: Matrix, diagonal: Matrix) -> None:
    """Copy the strict lower triangle above the diagonal, tile by tile, and write the diagonal."""
    n = A.shape[0]
    for i0 in range(0, n, TILE):
        for j0 in range(0, i0 + 1, TILE):
            for j in range(j0, min(j0 + TILE, n)):
                for i in range(max(i0, j + 1), min(i0 + TILE, n)):
                    A[j, i] = A[i, j]
    for i in range(n):
        A[i, i] = diagonal[i]
