"""Validation of data rows; accurate norms and unit rows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.compiled import compiled, fma
from ntkmc.errors import InputError
from ntkmc.numeric import Matrix


@dataclass(frozen=True)
class Rows:
    """X split into norms and directions.

    Attributes
    ----------
    unit : ndarray, (n, d)
        Rows divided by their norm; a zero row stays zero.
    norms : ndarray, (n,)
        Euclidean norms, relative error at most 1.5 u each.
    """

    unit: Matrix
    norms: Matrix


def as_array(values: ArrayLike, what: str) -> np.ndarray[Any, np.dtype[Any]]:
    """Return `values` as an array; raise `InputError` if rows have different lengths."""
    try:
        return np.asarray(values)
    except ValueError as error:
        raise InputError(f"{what} must be a rectangular array of numbers ({error})") from error


def as_float64(array: np.ndarray[Any, np.dtype[Any]], what: str) -> Matrix:
    """Return real numbers as C-contiguous float64; raise `InputError` if a number would change."""
    if array.dtype.kind not in "fiub":
        raise InputError(f"{what} must be real numbers, got dtype {array.dtype}")
    converted = np.ascontiguousarray(array, dtype=np.float64)
    if array.dtype.kind in "iu":
        exact = bool(np.all(np.abs(converted) <= 2.0**53))
    else:
        exact = array.dtype.itemsize <= 8 or bool(np.all((converted == array) | np.isnan(array)))
    if not exact:
        raise InputError(f"{what} of dtype {array.dtype} is not exact in float64: round it first, as you see fit")
    return converted


def as_data(X: ArrayLike) -> Matrix:
    """Return X as a C-contiguous (n, d) float64 array.

    Raises
    ------
    InputError
        If X is not a real, finite, two-dimensional array with n >= 1 and d >= 1.
    """
    array = as_array(X, "data")
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"data must be an (n, d) array with n, d >= 1, got shape {array.shape}")
    data = as_float64(array, "data")
    finite = np.isfinite(data).all(axis=1)
    if not finite.all():
        raise InputError(f"data must be finite: row {int(np.argmin(finite))} holds NaN or infinity")
    return data


def split_rows(X: Matrix) -> Rows:
    """Return norms and unit rows of X (n, d); duplicate and opposite rows stay exact duplicates and opposites."""
    # Compiled functions would be compiled once more for the type of read-only arrays.
    if not X.flags.writeable:
        X = X.copy()
    unit = np.empty_like(X)
    norms = np.empty(X.shape[0])
    _split(X, unit, norms)
    return Rows(unit, norms)


@compiled
def _split(X: Matrix, unit: Matrix, norms: Matrix) -> None:
    n, d = X.shape
    for i in range(n):
        largest = 0.0
        for j in range(d):
            largest = max(largest, abs(X[i, j]))
        if largest == 0.0:
            norms[i] = 0.0
            unit[i, :] = 0.0
            continue
        # A power of two: scaling by it is exact, and squares neither overflow nor underflow.
        exponent = math.frexp(largest)[1]
        total = 0.0
        lost = 0.0
        for j in range(d):
            entry = math.ldexp(X[i, j], -exponent)
            unit[i, j] = entry
            square = entry * entry
            square_lost = fma(entry, entry, -square)
            updated = total + square
            # Knuth's two-sum: the rounding error of `total + square`, exactly.
            back = updated - total
            lost += ((total - (updated - back)) + (square - back)) + square_lost
            total = updated
        norm = math.sqrt(total + lost)
        for j in range(d):
            unit[i, j] /= norm
        norms[i] = math.ldexp(norm, exponent)
