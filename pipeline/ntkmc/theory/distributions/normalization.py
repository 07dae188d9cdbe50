"""Normalization of drawn rows before a kernel is evaluated."""

from __future__ import annotations

import math
from typing import Final, Literal

import numpy as np

from ntkmc.errors import InputError
from ntkmc.numeric import Matrix
from ntkmc.theory.distributions.base import Distribution

Normalization = Literal["unit", "mean", "none"]

DEFAULT: Final[dict[str, Normalization]] = {"h-infinity": "unit", "ntk": "mean", "conjugate": "mean"}
"""Default mode per kernel. H-infinity is defined for unit rows; for deep kernels fluctuating norms matter."""


def normalize(X: Matrix, distribution: Distribution, mode: Normalization) -> Matrix:
    """Scale the rows so that E|x|**2 = 1, or leave them unchanged.

    Parameters
    ----------
    X : ndarray, (n, d)
        Rows before normalization.
    mode : {"unit", "mean", "none"}
        `unit` divides each row by its norm; `mean` divides all of X by the constant sqrt(E|x|**2), so that norms
        still fluctuate; `none` leaves X as it is.

    Raises
    ------
    InputError
        For `unit` and a zero row, or `mean` where the second moment does not exist.

    Examples
    --------
    >>> from ntkmc.theory.distributions import build
    >>> normalize(np.array([[3.0, 4.0]]), build("gaussian", trusted=True), "unit").tolist()
    [[0.6, 0.8]]
    """
    if mode == "none":
        return X
    if mode == "mean":
        return np.asarray(X / math.sqrt(distribution.second_moment(X.shape[1])))
    largest = np.max(np.abs(X), axis=1)
    if not largest.all():
        raise InputError(
            f"row {int(np.argmin(largest))} is zero and cannot be normalized; use normalize: mean or none"
        )
    # Scaling by a power of two is exact, and prevents overflow and underflow of squares.
    scaled = np.ldexp(X, -np.frexp(largest)[1][:, None])
    return np.asarray(scaled / np.sqrt(np.sum(scaled * scaled, axis=1))[:, None])


def second_moment_of(mode: Normalization, distribution: Distribution, d: int) -> float | None:
    """Return E|x|**2 of normalized rows; None if it does not exist."""
    if mode != "none":
        return 1.0
    try:
        return distribution.second_moment(d)
    except InputError:
        return None


def standard_scale(second_moment: float | None, d: int) -> float:
    """Return the factor after which rows with this E|x|**2 have E|x|**2 = d; 1 if that moment does not exist.

    >>> standard_scale(1.0, 16), standard_scale(None, 16)
    (4.0, 1.0)
    """
    return 1.0 if second_moment is None else math.sqrt(d / second_moment)
