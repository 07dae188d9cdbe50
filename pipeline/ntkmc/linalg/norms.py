"""Norms of symmetric matrices, enclosed: the largest eigenvalue, and how far two matrices are from each other."""

from __future__ import annotations

import numpy as np

from ntkmc.linalg.rows import Matrix
from ntkmc.linalg.smallest import enclose
from ntkmc.linalg.symmetric import own
from ntkmc.theory.kernels.functions import UNIT_ROUNDOFF

Ends = tuple[float, float]


def largest_eigenvalue(A: Matrix, error: float) -> Ends:
    """Ends of the largest eigenvalue of any matrix within `error` of A in norm; A, symmetric, is used up."""
    answer = enclose(own(np.negative(A, out=A)))
    return _below(-answer.upper - error), _above(-answer.lower + error)


def difference_norms(difference: Matrix, error: float) -> tuple[Ends, Ends]:
    """Ends of the operator norm and of the largest absolute entry of A - B, for A and B within `error` together.

    `difference` is what is computed of A - B, symmetric, each entry rounded once; it is used up.
    """
    largest = float(max(difference.max(), -difference.min()))
    error = (error + len(difference) * UNIT_ROUNDOFF * largest) * (1.0 + 2.0**-30)
    return _norm(difference, error), _around(largest, error)


def _norm(difference: Matrix, error: float) -> Ends:
    """Ends of the operator norm of any matrix within `error` of a symmetric one, which is used up."""
    matrix = own(difference)
    low = enclose(matrix)
    matrix.restore()
    high = enclose(own(np.negative(difference, out=difference)))
    lower = max(-low.upper, -high.upper)
    upper = max(-low.lower, -high.lower)
    return max(0.0, _below(lower - error)), max(0.0, _above(upper + error))


def _around(value: float, error: float) -> Ends:
    """An absolute value with an error; no entry of an error exceeds its norm."""
    return max(0.0, _below(value - error)), _above(value + error)


def _below(value: float) -> float:
    return float(np.nextafter(value, -np.inf))


def _above(value: float) -> float:
    return float(np.nextafter(value, np.inf))
