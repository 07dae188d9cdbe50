"""Enclosures of bounds: bounds that are computed from rounded statistics, with their rounding errors.

A trial violates a claim only if the enclosure of lambda_min and that of the bound are disjoint on the wrong side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ntkmc.numeric import UNIT_ROUNDOFF, Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Evaluate, Parameters, Quantity, Statistics
from ntkmc.theory.kernels.functions import coherence_error, diagonal_value, entry_error


def around(value: Floats, error: Floats | float) -> Bound:
    """Return the enclosure [value - error, value + error]."""
    return Bound(np.asarray(value - error), np.asarray(value + error))


def exactly(value: Floats | float, statistics: Statistics) -> Bound:
    """Return an enclosure of one number for every trial, with a relative error of 16 units of roundoff."""
    # `norm_min` is always measured, and so gives the number of trials.
    full = np.full_like(statistics["norm_min"], value)
    return around(full, 16.0 * UNIT_ROUNDOFF * np.abs(full))


def constant(value: Callable[[CellContext, Parameters], float]) -> Evaluate:
    """Return the function that evaluates a bound which is the same number in every trial of a cell."""
    return lambda context, statistics, parameters: exactly(value(context, parameters), statistics)


def at_delta(value: Callable[[CellContext, float], float]) -> Evaluate:
    """Return the function that evaluates a bound which is a number given by the cell and the parameter delta."""
    return constant(lambda context, parameters: value(context, float(parameters["delta"])))


def ends(*names: str) -> tuple[str, ...]:
    """Return the names of both ends of statistics that are stored as enclosures.

    >>> ends("lambda_min")
    ('lambda_min_lower', 'lambda_min_upper')
    """
    return tuple(f"{name}_{end}" for name in names for end in ("lower", "upper"))


def read_quantity(name: str) -> Quantity:
    """Return the function that reads a quantity which is stored as an enclosure."""
    return lambda context, statistics: enclosed(statistics, name)


def read_bound(name: str) -> Evaluate:
    """Return the function that reads a bound which is stored as an enclosure."""
    return lambda context, statistics, parameters: enclosed(statistics, name)


def zero(name: str) -> Evaluate:
    """Return the function that evaluates the bound 0, with as many trials as the statistic `name`."""

    def evaluate(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
        zeros = np.zeros_like(statistics[name])
        return Bound(zeros, zeros)

    return evaluate


def enclosed(statistics: Statistics, name: str) -> Bound:
    """Return the enclosure of a statistic that is stored with both ends."""
    return Bound(statistics[f"{name}_lower"], statistics[f"{name}_upper"])


def scaled(bound: Bound, factor: Floats | float, relative: float = 8.0 * UNIT_ROUNDOFF) -> Bound:
    """Return a bound times a non-negative factor that has a relative error of at most `relative`."""
    products = np.stack(np.broadcast_arrays(bound.lower * factor, bound.upper * factor))
    # Ends may be negative: the slack is relative to their size, and widens the enclosure on both sides.
    slack = relative * np.abs(products)
    return Bound(products[0] - slack[0], products[1] + slack[1])


def positive_part(bound: Bound) -> Bound:
    """Return max(bound, 0), for eigenvalues of positive semi-definite matrices."""
    return Bound(np.maximum(bound.lower, 0.0), np.maximum(bound.upper, 0.0))


def decreasing(function: Callable[[Floats], Floats], context: CellContext, statistics: Statistics) -> Bound:
    """Return the enclosure of a decreasing function of the coherence, whose error is at most (d + 8) u."""
    cosine = statistics["coherence"]
    error = coherence_error(context.d)
    # Monotone, so that the ends of the coherence give the ends of the bound. An error may lead out of [0, 1].
    low = function(np.clip(cosine - error, 0.0, 1.0))
    high = function(np.clip(cosine + error, 0.0, 1.0))
    # The recursions for k and for its coefficients add up L numbers of size l, each with a few roundings: L**3 in all.
    deep = 8.0 + context.depth**2
    rounding = 8.0 * deep * context.n * UNIT_ROUNDOFF * diagonal_value(context.kernel, context.depth)
    return Bound(high - rounding, low + rounding)


def largest_entry(context: CellContext, statistics: Statistics) -> Floats:
    """Return the largest diagonal entry of K."""
    return diagonal_value(context.kernel, context.depth) * statistics["norm_max"] ** 2


def evaluation_error(context: CellContext, statistics: Statistics) -> Floats:
    """Return a bound on the absolute evaluation error of an entry of K, from |x_i| |x_j| <= max |x|**2."""
    return entry_error(context.kernel, context.depth, context.d, 1.0) * statistics["norm_max"] ** 2
