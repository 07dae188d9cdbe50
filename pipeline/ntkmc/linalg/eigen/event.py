"""Decision of the event lambda_min >= lambda_0, by one factorization where possible."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.compiled import compiled
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.cholesky_bound import allowance, factor_shifted
from ntkmc.linalg.eigen.lapack import solve_leading
from ntkmc.linalg.eigen.rayleigh import Quotient, rayleigh_quotient
from ntkmc.linalg.eigen.result import Bracket
from ntkmc.linalg.eigen.smallest import enclose, scaled
from ntkmc.linalg.eigen.symmetric import Symmetric, as_symmetric, with_workspace
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
        True from one completed Cholesky of K - (lambda_0 + c) I, with c the allowance for its rounding; False from
        the vector that the break-down of such a factorization exhibits, its Rayleigh quotient being proved to lie
        below `lambda_0`; None if lambda_0 is within rounding of lambda_min. Only within 2 c of lambda_min is more
        than one factorization spent.

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
    if abs(exponent) > 200:  # as in `smallest_eigenvalue`; what underflows lies between two numbers
        A, largest = as_symmetric(scaled(A, -exponent))
        slack = len(A) * 2.0**-1074
        low, high = scaled(np.array([low, high]), -exponent).tolist()
        low, high = step_down(low - slack), step_up(high + slack)
    with with_workspace(A, largest) as matrix:
        proved, upper = reaches(matrix, high)
        if proved:
            return True
        if upper < low:
            return False
        answer = enclose(matrix)
    if answer.upper < low:
        return False
    return True if answer.lower >= high else None


def _as_threshold(lambda_0: float) -> tuple[float, float]:
    """Two float64 numbers around lambda_0, equal if it is one."""
    try:
        nearest = float(lambda_0)
        exact = bool(nearest == lambda_0)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"lambda_0 must be a number, got {lambda_0!r} ({error})") from error
    if not np.isfinite(nearest):
        raise InputError(f"lambda_0 must be finite, got {lambda_0}")
    return (nearest, nearest) if exact else (step_down(nearest), step_up(nearest))


def reaches(matrix: Symmetric, threshold: float) -> tuple[bool | None, float]:
    """`event_holds` by one factorization alone, of a matrix with both triangles in place.

    Returns
    -------
    holds : bool or None
        None if neither could be proved.
    upper : float
        A proved upper bound on lambda_min; infinity if the factorization ran through.
    """
    c = allowance(matrix.diagonal - threshold)
    shift = step_up(threshold + c * (1.0 + 2.0**-20))
    info, spent = factor_shifted(matrix.A, matrix.W, matrix.diagonal, shift)
    if info == 0:
        return (True if step_down(shift - spent) >= threshold else None), np.inf
    upper = witness(matrix, info).upper
    return (False if upper < threshold else None), upper


def bracket(matrix: Symmetric, thresholds: Sequence[float], error: float) -> Bracket:
    """Decide lambda_min >= t for every t of an increasing sequence, for every matrix within `error` of this one.

    That matrix is known to be positive semi-definite. One or two thresholds take a factorization each at most; with
    more of them, or where one is within rounding of lambda_min, this is enclosed in full, which costs about two.
    """
    lower, upper = 0.0, step_up(matrix.diagonal.min() + error)
    first, last = 0, len(thresholds)  # those before `first` are reached, those from `last` on are not
    fresh = True
    while True:
        while last > first and upper < thresholds[last - 1]:
            last -= 1
        if first == last:
            return _consistent(lower, upper)
        if last - first > 2:
            return _in_full(matrix, lower, upper, error)
        middle = (first + last) // 2
        threshold = thresholds[middle]
        if not fresh:
            matrix.restore()
        fresh = False
        holds, seen = reaches(matrix, step_up(threshold + error))
        upper = min(upper, step_up(seen + error))
        if holds:
            lower, first = threshold, middle + 1
        elif not upper < threshold:
            matrix.restore()
            return _in_full(matrix, lower, upper, error)


def _in_full(matrix: Symmetric, lower: float, upper: float, error: float) -> Bracket:
    answer = enclose(matrix)
    lower = max(lower, step_down(answer.lower - error))
    upper = min(upper, step_up(answer.upper + error))
    return _consistent(lower, upper)


def _consistent(lower: float, upper: float) -> Bracket:
    if upper < lower:
        raise ArithmeticError("two proofs about one matrix contradict each other: please report this, with the matrix")
    return Bracket(lower, upper)


def witness(matrix: Symmetric, info: int) -> Quotient:
    """Quotient of the vector that a factorization shows when it breaks down at the minor of order `info`.

    With the factor L of the minor before and the row l of L that belongs to the next one, x = (-L'**-1 l, 1) has
    x'Bx = the pivot that was not positive.
    """
    x = _direction(matrix.W, info)
    return rayleigh_quotient(matrix.A, matrix.diagonal, x, matrix.largest)


@compiled
def _direction(W: Matrix, info: int) -> Matrix:
    x = np.zeros(W.shape[0])
    for j in range(info - 1):
        x[j] = -W[j, info - 1]
    solve_leading(W, x, info - 1)
    x[info - 1] = 1.0
    return x
