"""Unit roundoff, array types, directed rounding of scalars, and validation of integers."""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import InputError

UNIT_ROUNDOFF: Final = 2.0**-53
"""u: half the distance from 1.0 to the next float64, the largest relative error of one rounding."""

Matrix = NDArray[np.float64]
"""Matrix or vector of float64."""

Floats = NDArray[np.float64]
"""Array of float64 of any shape."""


# `math.nextafter`, not NumPy's: it returns a float and raises no warning at the ends of the range. Compiled functions
# call `np.nextafter` themselves, as they cannot call these.
def step_down(value: float) -> float:
    """Return the largest float64 below `value`: a lower bound on a result that was rounded to nearest.

    >>> step_down(1.0) == 1.0 - 2.0**-53
    True
    """
    return math.nextafter(value, -math.inf)


def step_up(value: float) -> float:
    """Return the smallest float64 above `value`: an upper bound on a result that was rounded to nearest.

    >>> step_up(1.0) == 1.0 + 2.0**-52
    True
    """
    return math.nextafter(value, math.inf)


def positive_integer(name: str, value: Any) -> int:
    """Return `value` as an int; raise `InputError` if it is not a positive integer.

    >>> positive_integer("n", True)
    Traceback (most recent call last):
    ntkmc.errors.InputError: n must be a positive integer, got True
    """
    return _integer(name, value, 1, math.inf, "a positive integer")


def integer_between(name: str, value: Any, least: int, most: int) -> int:
    """Return `value` as an int; raise `InputError` if it is not an integer from `least` to `most`.

    >>> integer_between("degree", 1, 2, 63)
    Traceback (most recent call last):
    ntkmc.errors.InputError: degree must be an integer from 2 to 63, got 1
    """
    return _integer(name, value, least, most, f"an integer from {least} to {most}")


def _integer(name: str, value: Any, least: float, most: float, expected: str) -> int:
    # bool is a subclass of int, but True is a mistake where a number is expected.
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not least <= value <= most:
        raise InputError(f"{name} must be {expected}, got {value!r}")
    return int(value)
