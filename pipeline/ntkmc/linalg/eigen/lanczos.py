"""Lanczos in NumPy: quadrature of spectral measures, and the smallest Ritz pair of an operator.

`ntkmc.linalg.eigen.krylov` has the compiled version in float32, which proposes eigenvectors of matrices in memory.

y' f(K) y is the integral of f over a measure with mass (v_i'y)**2 at each eigenvalue. j steps of Lanczos from y give
the Gauss rule with j nodes. With one node fixed at or below the smallest eigenvalue they give the Gauss-Radau rule. If
the derivatives of f alternate in sign (even ones positive), as those of (1 - eta x)**(2k) up to 1 / eta and of
exp(-t x), the first is a lower and the second an upper bound (Golub & Meurant, Matrices, Moments and Quadrature, 2010,
ch. 6). Their difference decides when to stop. No eigendecomposition of K is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, eigh_tridiagonal, solveh_banded

from ntkmc.linalg.eigen.krylov import CONVERGED
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix

FIRST_LOOK: Final = 8
"""Steps before the first check whether they suffice. Each later check is after half as many steps again."""

_EXHAUSTED: Final = 16.0
"""A Lanczos vector is rounding if it is this short, in units of roundoff and of the size of the operator: the Krylov
space is complete."""

NUMERICS: Final = {"first_look": FIRST_LOOK, "exhausted": _EXHAUSTED}

Rule = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Nodes and weights; the weights add up to |y|**2."""

Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""Function of nodes, (j,), with values along the last axis."""


class Projection(NamedTuple):
    """Symmetric operator projected onto a Krylov space of j dimensions: a tridiagonal matrix.

    Attributes
    ----------
    diagonal : ndarray, (j,)
    off : ndarray, (j,)
        Off-diagonal entries, and last the length of the vector that the next step would add.
    basis : ndarray, (j, n)
        Orthonormal rows.
    """

    diagonal: Matrix
    off: Matrix
    basis: Matrix


def lanczos_steps(apply: Callable[[Matrix], Matrix], start: Matrix, most: int | None = None) -> Iterator[Projection]:
    """Yield the projection after each step of Lanczos with full orthogonalization; at most n steps, or `most`.

    The caller stops the iteration when `off[-1]` is rounding. Memory: n numbers per step.

    Parameters
    ----------
    apply : callable
        The operator on (n,); the matrix itself may be held elsewhere.
    start : ndarray, (n,)
        Unit vector.
    """
    n = len(start)
    most = n if most is None else min(n, most)
    basis = np.empty((min(most, FIRST_LOOK), n))
    basis[0] = start
    diagonal, off = np.empty(most), np.empty(most)
    for step in range(1, most + 1):
        q = basis[step - 1]
        # In float64, even if the operator is a factor in float32.
        w = np.array(apply(q), dtype=np.float64)
        diagonal[step - 1] = q @ w
        # Twice: one Gram-Schmidt pass loses orthogonality to Ritz vectors that have converged, and would find their
        # eigenvalues again.
        w -= basis[:step].T @ (basis[:step] @ w)
        w -= basis[:step].T @ (basis[:step] @ w)
        off[step - 1] = np.linalg.norm(w)
        yield Projection(diagonal[:step], off[:step], basis[:step])
        if step == most:
            return
        # Grown by doubling, as few problems take all steps.
        if step == len(basis):
            basis = np.vstack([basis, np.empty((min(most, 2 * step) - step, n))])
        basis[step] = w / off[step - 1]


def smallest_ritz_pair(
    apply: Callable[[Matrix], Matrix], start: Matrix, most: int, *, first: int, stride: int
) -> tuple[Matrix, Matrix, float, int]:
    """Compute the smallest Ritz value and its vector, until the vector is within `krylov.CONVERGED`.

    Parameters
    ----------
    apply : callable
        The operator on (n,).
    start : ndarray, (n,)
        Start vector of any length.
    most : int
        Largest number of steps.
    first : int
        Steps before the first check of convergence. After one or two steps, a start vector close to any eigenvector
        would pass as converged.
    stride : int
        Steps between checks.

    Returns
    -------
    values : ndarray, (1,) or (2,)
        Smallest Ritz values.
    vector : ndarray, (n,)
        Ritz vector of the first.
    ratio : float
        Its residual over the gap to the second, about the sine of the angle to the eigenvector.
    steps : int

    Examples
    --------
    >>> diagonal = np.array([1.0, 2.0, 3.0, 5.0])
    >>> values, vector, ratio, steps = smallest_ritz_pair(lambda q: diagonal * q, np.ones(4), 4, first=2, stride=2)
    >>> round(float(values[0]), 12), steps
    (1.0, 4)
    """
    n = len(start)
    most = min(n, most)
    size = 0.0
    for diagonal, off, basis in lanczos_steps(apply, start / np.linalg.norm(start), most):
        steps, length = len(diagonal), float(off[-1])
        size = max(size, abs(float(diagonal[-1])), length)
        # Negated, so that NaN ends the iteration.
        closed = steps == n or not length > _EXHAUSTED * 2.0 * UNIT_ROUNDOFF * size
        last = closed or steps == most
        if not last and (steps < first or (steps - first) % stride != 0):
            continue
        values, vectors = eigh_tridiagonal(diagonal, off[:-1], select="i", select_range=(0, min(1, steps - 1)))
        gap = float(values[1] - values[0]) if len(values) > 1 else 0.0
        residual = 0.0 if closed else abs(length * float(vectors[-1, 0]))
        ratio = residual / gap if gap > 0.0 else (0.0 if closed else np.inf)
        if last or ratio <= CONVERGED:
            return np.asarray(values), vectors[:, 0] @ basis, ratio, steps
    raise AssertionError("the last step returns")


@dataclass(frozen=True)
class SpectralMeasure:
    """Spectral measure of a matrix with respect to a vector, bounded by two quadrature rules.

    Attributes
    ----------
    below, above : (ndarray, ndarray)
        Rules whose sums are a lower and an upper bound on y' f(K) y for f with alternating derivatives.
    steps : int
        Number of Lanczos steps.
    complete : bool
        Whether the rules equal the measure, up to rounding: y has no component along further eigenvectors.
    """

    below: Rule
    above: Rule
    steps: int
    complete: bool

    def integral(self, function: Function) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return a lower and an upper bound on y' f(K) y."""
        lower, upper = (function(nodes) @ weights for nodes, weights in (self.below, self.above))
        # Rounding may exchange two bounds that are nearly equal.
        return np.minimum(lower, upper), np.maximum(lower, upper)


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
        A lower bound on all eigenvalues, and an upper bound.
    enough : callable
        Return whether a measure suffices; without it, Lanczos continues until the Krylov space is complete.

    Examples
    --------
    >>> measure = spectral_measure(np.diag([1.0, 2.0, 4.0]), np.array([1.0, 0.0, 2.0]), (1.0, 4.0))
    >>> measure.steps, [end.round(12).tolist() for end in measure.integral(lambda x: 1.0 / x)]
    (2, [2.0, 2.0])
    """
    n = len(y)
    square = float(y @ y)
    if square == 0.0:
        empty = np.array([ends[0]]), np.zeros(1)
        return SpectralMeasure(empty, empty, 0, True)
    tiny = _EXHAUSTED * UNIT_ROUNDOFF * np.sqrt(n) * max(abs(ends[0]), abs(ends[1]))
    next_look = FIRST_LOOK
    for projection in lanczos_steps(lambda q: A @ q, y / np.sqrt(square)):
        steps = len(projection.diagonal)
        complete = steps == n or bool(projection.off[-1] <= tiny)
        if complete or steps >= next_look:
            measure = _rules(projection.diagonal, projection.off, square, ends, complete)
            if complete or enough(measure):
                return measure
            next_look = steps + steps // 2
    raise AssertionError("n steps are complete")


def _rules(diagonal: Matrix, off: Matrix, square: float, ends: tuple[float, float], complete: bool) -> SpectralMeasure:
    """Return the Gauss and the Gauss-Radau rule after j steps, from `Projection.diagonal` and `Projection.off`."""
    steps = len(diagonal)
    below = _rule(diagonal, off[:-1], square, ends)
    if complete:
        return SpectralMeasure(below, below, steps, True)
    # Gauss-Radau: the last diagonal entry that makes ends[0] an eigenvalue of the matrix with one row more.
    band = np.vstack([np.concatenate([[0.0], off[:-1]]), diagonal - ends[0]])
    right = np.zeros(steps)
    right[-1] = off[-1] ** 2
    try:
        last = ends[0] + float(solveh_banded(band, right)[-1])
    except LinAlgError:  # ends[0] is a node already, up to rounding
        return SpectralMeasure(below, below, steps, False)
    above = _rule(np.append(diagonal, last), off, square, ends)
    return SpectralMeasure(below, above, steps, False)


def _rule(diagonal: Matrix, off: Matrix, square: float, ends: tuple[float, float]) -> Rule:
    nodes, vectors = eigh_tridiagonal(diagonal, off)
    return np.clip(nodes, *ends), square * vectors[0] ** 2
