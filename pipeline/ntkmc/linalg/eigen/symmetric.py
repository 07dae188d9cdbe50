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

_TILE: Final = 64
"""A tile and its transpose, 32 KiB each, stay in a core's caches. No number depends on it."""

_PAD: Final = 8
"""Extra columns of the buffer, so that its rows do not compete for the same cache sets."""

KEPT: Final = 2**27
"""Bytes of room that a thread keeps between two matrices at most: n = 4096."""

_rooms = threading.local()


@dataclass(frozen=True)
class Symmetric:
    """A symmetric matrix whose factor may take the place of its upper triangle.

    Attributes
    ----------
    A : ndarray, (n, n)
        The matrix. Its strict lower triangle is never changed.
    W : ndarray, (n, n)
        Room for factors, of which only the upper triangle is touched: A itself, or an array of its own.
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
        """Make A's upper triangle and diagonal those of the matrix again."""
        if self.W is self.A:
            _mirror(self.A, self.diagonal)


def as_symmetric(K: ArrayLike) -> tuple[Matrix, float]:
    """K as a C-contiguous float64 matrix, with max |k_ij|.

    Raises
    ------
    InputError
        If K is not a square, real, finite and exactly symmetric matrix.
    """
    array = as_array(K, "K")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise InputError(f"K must be a square matrix, got shape {array.shape}")
    A = as_float64(array, "K")
    if not A.flags.writeable:  # compiled code would be compiled anew for the type of read-only arrays
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
def with_workspace(A: Matrix, largest: float) -> Iterator[Symmetric]:
    """Context manager that adds a workspace for the factor to a matrix from `as_symmetric`."""
    n = len(A)
    with borrowed(n * n) as room:
        yield Symmetric(A, room.reshape(n, n), np.diagonal(A).copy(), largest)


def in_place(A: Matrix) -> Symmetric:
    """A matrix that is known to be finite and symmetric, and whose upper triangle may be overwritten."""
    return Symmetric(A, A, np.diagonal(A).copy(), float(max(A.max(), -A.min())))


@contextmanager
def borrowed(numbers: int) -> Iterator[Matrix]:
    """Room for so many float64 numbers, without values.

    A thread keeps the last room of at most `KEPT` bytes for its next matrix: the system hands fresh memory out page by
    page and zeroed, which takes as long as several passes over it.
    """
    room: Matrix | None = _rooms.__dict__.pop("last", None)
    if room is None or room.size < numbers:
        room = np.empty(numbers)
    try:
        yield room[:numbers]
    finally:
        if room.nbytes <= KEPT:
            _rooms.last = room


@compiled
def _inspect(A: Matrix) -> tuple[float, bool]:
    """max |a_ij|, and whether A is symmetric (a NaN is not equal to itself)."""
    n = A.shape[0]
    tile = np.empty((_TILE, _TILE + _PAD))
    most = np.zeros(_TILE)
    different = 0
    for i0 in range(0, n, _TILE):
        rows = min(_TILE, n - i0)
        for j0 in range(0, i0 + 1, _TILE):
            columns = min(_TILE, n - j0)
            for j in range(columns):
                row = A[j0 + j, i0 : i0 + rows]
                for i in range(rows):
                    tile[i, j] = row[i]
            for i in range(rows):
                row = A[i0 + i, j0 : j0 + columns]
                mirrored = tile[i]
                for j in range(columns):  # one lane a column, so that it is vectorized
                    different |= row[j] != mirrored[j]
                    size = abs(row[j])
                    most[j] = size if size > most[j] else most[j]
    return most.max(), different == 0


@compiled
def _mirror(A: Matrix, diagonal: Matrix) -> None:
    """Copy the strict lower triangle above the diagonal, tile by tile, and put the diagonal back."""
    n = A.shape[0]
    for i0 in range(0, n, _TILE):
        for j0 in range(0, i0 + 1, _TILE):
            for j in range(j0, min(j0 + _TILE, n)):
                for i in range(max(i0, j + 1), min(i0 + _TILE, n)):
                    A[j, i] = A[i, j]
    for i in range(n):
        A[i, i] = diagonal[i]
