"""Decision of the event lambda_min >= lambda_0, by one factorization where possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.compiled import compiled
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.cholesky_bound import allowance, factor_shifted
from ntkmc.linalg.eigen.lapack import solve_leading
from ntkmc.linalg.eigen.rayleigh import rayleigh_quotient
from ntkmc.linalg.eigen.result import Bracket
from ntkmc.linalg.eigen.smallest import enclose, scaled
from ntkmc.linalg.eigen.symmetric import Symmetric, as_symmetric, workspace
from ntkmc.numeric import Matrix, step_down, step_up


def event_holds(K: ArrayLike, lambda_0: float) -> bool | None:
    """Decide rigorously whether lambda_min(K) >= lambda_0.

    Parameters
    ----------
    K : array_like, (n, n)
        Real, finite, exactly symmetric. It is not changed.
    lambda_0 : float
        Threshold.

    Returns
    -------
    bool or None
        True from one completed Cholesky factorization of K - (lambda_0 + c) I, with c the allowance for its rounding.
        False from the vector at which such a factorization breaks down, whose Rayleigh quotient is proved to lie
        below `lambda_0`. None if lambda_0 is within rounding of lambda_min. More than one factorization is used only
        within 2 c of lambda_min.

    Raises
    ------
    InputError
        If K is not a square, real, finite, symmetric matrix, or lambda_0 is not finite.

    Examples
    --------
    >>> K = [[2.0, 1.0], [1.0, 2.0]]
    >>> event_holds(K, 0.9), event_holds(K, 1.1)
    (True, False)
    """
    A, largest = as_symmetric(K)
    low, high = _as_threshold(lambda_0)
    exponent = int(np.frexp(max(largest, abs(low), abs(high)))[1])
    # Scaled as in `smallest_eigenvalue`. A threshold that underflows is replaced by the two numbers around it.
    if abs(exponent) > 200:
        A, largest = as_symmetric(scaled(A, -exponent))
        slack = len(A) * 2.0**-1074
        low, high = scaled(np.array([low, high]), -exponent).tolist()
        low, high = step_down(low - slack), step_up(high + slack)
    with workspace(A, largest) as matrix:
        proved, upper = decide(matrix, high)
        if proved:
            return True
        if upper < low:
            return False
        answer = enclose(matrix)
    if answer.upper < low:
        return False
    return True if answer.lower >= high else None


def _as_threshold(lambda_0: float) -> tuple[float, float]:
    """Return the float64 numbers around lambda_0, which are equal if it is one."""
    try:
        nearest = float(lambda_0)
        exact = bool(nearest == lambda_0)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"lambda_0 must be a number, got {lambda_0!r} ({error})") from error
    if not np.isfinite(nearest):
        raise InputError(f"lambda_0 must be finite, got {lambda_0}")
    return (nearest, nearest) if exact else (step_down(nearest), step_up(nearest))


def decide(matrix: Symmetric, threshold: float) -> tuple[bool | None, float]:
    """Decide lambda_min >= threshold by one factorization, of a matrix with both triangles in place.

    Returns
    -------
    holds : bool or None
        None if neither could be proved.
    upper : float
        A proved upper bound on lambda_min; infinity if the factorization was completed.
    """
    # A completed factorization proves lambda_min >= shift - c, hence the shift. The factor covers the change of c with
    # the shift.
    c = allowance(matrix.diagonal - threshold)
    shift = step_up(threshold + c * (1.0 + 2.0**-20))
    info, c = factor_shifted(matrix.A, matrix.W, matrix.diagonal, shift)
    if info == 0:
        return (True if step_down(shift - c) >= threshold else None), np.inf
    direction = _breakdown_direction(matrix.W, info)
    upper = rayleigh_quotient(matrix.A, matrix.diagonal, direction, matrix.largest).upper
    return (False if upper < threshold else None), upper


def bracket(matrix: Symmetric, thresholds: Sequence[float], error: float) -> Bracket:
    """Decide which thresholds t satisfy lambda_min >= t, for all matrices within `error` of the given one.

    These matrices must be positive semi-definite. The thresholds are increasing.
    """
    lower, upper = 0.0, step_up(matrix.diagonal.min() + error)
    # The thresholds before `first` are reached, those from `last` on are not.
    first, last = 0, len(thresholds)
    fresh = True
    while True:
        while last > first and upper < thresholds[last - 1]:
            last -= 1
        if first == last:
            return _consistent(lower, upper)
        # One or two thresholds take a factorization each. An enclosure of lambda_min takes about two, and decides any
        # number of thresholds.
        if last - first > 2:
            return _enclosed(matrix, lower, upper, error)
        middle = (first + last) // 2
        threshold = thresholds[middle]
        if not fresh:
            matrix.restore()
        fresh = False
        holds, bound = decide(matrix, step_up(threshold + error))
        upper = min(upper, step_up(bound + error))
        if holds:
            lower, first = threshold, middle + 1
        elif not upper < threshold:
            matrix.restore()
            return _enclosed(matrix, lower, upper, error)


def _enclosed(matrix: Symmetric, lower: float, upper: float, error: float) -> Bracket:
    answer = enclose(matrix)
    return _consistent(max(lower, step_down(answer.lower - error)), min(upper, step_up(answer.upper + error)))


def _consistent(lower: float, upper: float) -> Bracket:
    if upper < lower:
        raise ArithmeticError("two proofs about one matrix contradict each other: please report this, with the matrix")
    return Bracket(lower, upper)


@compiled
def _breakdown_direction(W: Matrix, info: int) -> Matrix:
    """Return a vector x with x'Bx <= 0, from a factorization of B that broke down at the minor of order `info`.

    With the factor L of the minor before and the row l of L that belongs to the next one, x = (-L'**-1 l, 1) has
    x'Bx = the pivot that was not positive.
    """
    x = np.zeros(W.shape[0])
    for j in range(info - 1):
        x[j] = -W[j, info - 1]
    solve_leading(W, x, info - 1)
    x[info - 1] = 1.0
    return x
