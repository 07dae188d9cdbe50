"""Polynomials that stand for a kernel where a sketch can only make powers of the cosine."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import InputError
from ntkmc.theory.kernels import diagonal_value, kernel_function
from ntkmc.theory.series import series_coefficients

LARGEST_DEGREE: Final = 63

_NOTHING: Final = 1e-13
"""Sums of coefficients that are zero, but for their rounding."""


@lru_cache(maxsize=256)
def surrogate(kernel: str, depth: int, degree: int) -> NDArray[np.float64]:
    """Coefficients, all non-negative, of a polynomial p of a degree with p(1) = k(1) and p(-1) = k(-1) (read-only).

    Those of k's power series, except that all even powers beyond the degree are counted at the largest even one within
    it, and all odd ones at the largest odd one. A series that is merely cut off would lack on the diagonal what its
    tail sums to, of which K's smallest eigenvalue is largely made, and the tail falls with the root of the degree
    alone. So |p - k| at a cosine rho is at most p - k at |rho|, which is not negative, 0 at 0 and 1, and for degree q
    at most what the tail sums to times |rho|**(q - 1).

    Parameters
    ----------
    kernel, depth
        See `ntkmc.theory.kernels`.
    degree : int
        From 2 to 63.

    Returns
    -------
    ndarray, (degree + 1,)

    Raises
    ------
    InputError
        For an unknown kernel or depth, or another degree.

    Examples
    --------
    >>> surrogate("ntk", 2, 4).round(6).tolist()
    [0.31831, 1.0, 0.477465, 0.0, 0.204225]
    >>> float(surrogate("ntk", 2, 4).sum())
    2.0
    """
    if isinstance(degree, bool) or not isinstance(degree, int) or not 2 <= degree <= LARGEST_DEGREE:
        raise InputError(f"degree must be an integer from 2 to {LARGEST_DEGREE}, got {degree!r}")
    coefficients = np.array(series_coefficients(kernel, depth, degree + 1))
    ends = diagonal_value(kernel, depth), float(kernel_function(-1.0, kernel, depth))
    totals = 0.5 * (ends[0] + ends[1]), 0.5 * (ends[0] - ends[1])  # of the even and of the odd ones
    for last in (degree - 1, degree):
        parity = last % 2
        rest = totals[parity] - float(coefficients[parity:last:2].sum())
        coefficients[last] = rest if rest > _NOTHING else 0.0
    coefficients.setflags(write=False)
    return coefficients
