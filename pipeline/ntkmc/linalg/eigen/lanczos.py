"""Lanczos quadrature: bounds on y' f(K) y from the spectral measure of a symmetric matrix.

y' f(K) y is an integral of f over a measure with a mass (v_i'y)**2 at each eigenvalue. j steps of Lanczos from y give
the rule of Gauss with j nodes, and, with one node fixed at or below the smallest eigenvalue, that of Gauss and Radau.
Where derivatives of f alternate in sign (even ones positive), as those of (1 - eta x)**(2k) up to 1 / eta and of
exp(-t x), the first is a lower and the second an upper bound (Golub & Meurant, Matrices, Moments and Quadrature, 2010,
ch. 6), so that one knows when to stop. No eigendecomposition of K is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, eigh_tridiagonal, solveh_banded

from ntkmc.numeric import UNIT_ROUNDOFF, Matrix

FIRST_LOOK: Final = 8
"""Steps before the first look at whether they suffice; the next looks are half as far on again."""

_EXHAUSTED: Final = 16.0
"""A Lanczos vector this short, in units of roundoff, of the largest eigenvalue and of sqrt(n), is rounding."""

NUMERICS: Final = {"first_look": FIRST_LOOK, "exhausted": _EXHAUSTED}

Rule = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Nodes and weights; the weights add up to |y|**2."""

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Of nodes, shape (j,), to values with the nodes along the last axis."""


@dataclass(frozen=True)
class SpectralMeasure:
    """Spectral measure of a matrix with respect to a vector, bounded by two quadrature rules.

    Attributes
    ----------
    below, above : (ndarray, ndarray)
        Rules whose sums are a lower and an upper bound on y' f(K) y for f with alternating derivatives.
    steps : int
        Steps of Lanczos that were made.
    complete : bool
        Whether the rules are the measure itself, up to rounding: K has no more eigenvalues that y sees.
    """

    below: Rule
    above: Rule
    steps: int
    complete: bool

    def integral(self, function: Function) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """A lower and an upper bound on y' f(K) y."""
        lower, upper = (function(nodes) @ weights for nodes, weights in (self.below, self.above))
        return np.minimum(lower, upper), np.maximum(lower, upper)  # rounding may exchange what is nearly equal


def spectral_measure(
    A: Matrix,
    y: Matrix,
    ends: tuple[float, float],
    enough: Callable[[SpectralMeasure], bool] = lambda measure: False,
) -> SpectralMeasure:
    """Compute the spectral measure of a symmetric matrix with respect to y.

    Parameters
    ----------
    A : ndarray, (n, n)
        Both triangles.
    y : ndarray, (n,)
    ends : (float, float)
        Numbers that no eigenvalue is below, and above.
    enough : callable
        Return whether a measure suffices; without it, Lanczos goes on until the space is complete.

    Notes
    -----
    Vectors are orthogonalized against all before, twice, so that no eigenvalue is found again: n steps are complete.
    Memory: n numbers a step.

    Examples
    --------
    >>> found = spectral_measure(np.diag([1.0, 2.0, 4.0]), np.array([1.0, 0.0, 2.0]), (1.0, 4.0))
    >>> found.steps, [end.round(12).tolist() for end in found.integral(lambda x: 1.0 / x)]
    (2, [2.0, 2.0])
    """
    n = len(y)
    square = float(y @ y)
    if square == 0.0:
        nothing = np.array([ends[0]]), np.zeros(1)
        return SpectralMeasure(nothing, nothing, 0, True)
    basis = np.empty((min(n, FIRST_LOOK), n))
    basis[0] = y / np.sqrt(square)
    diagonal, off = np.empty(n), np.empty(n)
    tiny = _EXHAUSTED * UNIT_ROUNDOFF * np.sqrt(n) * max(abs(ends[0]), abs(ends[1]))
    look = FIRST_LOOK
    for step in range(1, n + 1):
        q = basis[step - 1]
        w = A @ q
        diagonal[step - 1] = q @ w
        w -= basis[:step].T @ (basis[:step] @ w)
        w -= basis[:step].T @ (basis[:step] @ w)
        off[step - 1] = length = float(np.linalg.norm(w))
        complete = step == n or length <= tiny
        if complete or step >= look:
            found = _rules(diagonal[:step], off[:step], square, ends, complete)
            if complete or enough(found):
                return found
            look = step + step // 2
        if step == len(basis):
            basis = np.vstack([basis, np.empty((min(n, 2 * step) - step, n))])
        basis[step] = w / length
    raise AssertionError("n steps are complete")


def _rules(diagonal: Matrix, off: Matrix, square: float, ends: tuple[float, float], complete: bool) -> SpectralMeasure:
    """The two rules after j steps, of which `off` holds the length of the vector that would come next, too."""
    steps = len(diagonal)
    below = _rule(diagonal, off[:-1], square, ends)
    if complete:
        return SpectralMeasure(below, below, steps, True)
    # The last diagonal entry that makes ends[0] an eigenvalue of the matrix of one step more.
    band = np.vstack([np.concatenate([[0.0], off[:-1]]), diagonal - ends[0]])
    right = np.zeros(steps)
    right[-1] = off[-1] ** 2
    try:
        last = ends[0] + float(solveh_banded(band, right)[-1])
    except LinAlgError:  # ends[0] is a node already, to rounding
        return SpectralMeasure(below, below, steps, False)
    above = _rule(np.append(diagonal, last), off, square, ends)
    return SpectralMeasure(below, above, steps, False)


def _rule(diagonal: Matrix, off: Matrix, square: float, ends: tuple[float, float]) -> Rule:
    nodes, vectors = eigh_tridiagonal(diagonal, off)
    return np.clip(nodes, *ends), square * vectors[0] ** 2
