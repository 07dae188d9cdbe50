"""Temple-Kato enclosure: one Cholesky factorization that proves lambda_2 >= beta, and sharpens the vector.

Let v be close to the eigenvector of lambda_1, theta its Rayleigh quotient and theta < beta < lambda_2. If
A + tau v v' - beta I is positive definite then lambda_2(A) >= beta, since a positive update of rank one moves at most
one eigenvalue past beta (Weyl). Temple and Kato (T. Kato, J. Phys. Soc. Japan 4 (1949) 334-339) then give

    theta - |Av - theta v|**2 / (beta - theta) <= lambda_1 <= theta        for unit v,

whose width is quadratic in the residual. The allowance c of the factorization, about n u tr(A) / 2, need only be below
the *gap* lambda_2 - lambda_1: it does not enter the width.

The same factor solves with A - beta I, by Sherman and Morrison. As beta lies much closer to lambda_1 than to lambda_2,
two or three steps of inverse iteration bring a float32 vector to working precision.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from ntkmc.compiled import compiled
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.lapack import factor, product, solve
from ntkmc.linalg.eigen.rayleigh import TINY, UP, Quotient, rayleigh_quotient
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix

FRACTION: Final = 1.0 / 64.0
"""beta - theta in units of the gap: small, since a solve reduces the error by about this factor, but above the error
that theta may have for a vector that passed `krylov.CONVERGED`."""

STRENGTH: Final = 16.0
"""tau in units of the gap: enough that the deflated direction does not return below beta."""

MOST_SOLVES: Final = 5
"""Largest number of solves that sharpen a vector; two or three are usual."""

WIDTH: Final = 2.0**-37
"""Relative width of the enclosure, about 1e-11, at which sharpening stops: the kernel's entries are no better."""

NUMERICS: Final = {
    "fraction": FRACTION,
    "strength": STRENGTH,
    "most_solves": MOST_SOLVES,
    "width": WIDTH,
}


@compiled
def temple_kato_enclosure(
    A: Matrix, W: Matrix, diagonal: Matrix, v: Matrix, gap: float, largest: float
) -> tuple[Quotient, float, Matrix, int]:
    """Enclose lambda_1, if only one eigenvalue lies near the quotient of v.

    Parameters
    ----------
    A : ndarray, (n, n)
        The symmetric matrix, both triangles; its strict lower triangle is not changed.
    W : ndarray, (n, n)
        Its upper triangle is overwritten by the factor; may be A.
    diagonal : ndarray, (n,)
        A's diagonal, in an array of its own.
    v : ndarray, (n,)
        Approximate eigenvector.
    gap : float
        Estimate of lambda_2 - lambda_1. A wrong estimate may cost the lower bound, but never makes it false.
    largest : float
        max |a_ij|.

    Returns
    -------
    quotient : Quotient
        Of the sharpened vector.
    lower : float
        Proved lower bound on lambda_1; NaN if nothing was proved.
    vector : ndarray, (n,)
        The sharpened vector.
    solves : int
        Number of solves that sharpened it.
    """
    unit = v / np.sqrt(np.dot(v, v))
    image = np.empty_like(unit)
    product(A, unit, image)
    theta = np.dot(unit, image)
    tau, shift, above, c, rounding = plan_deflation(diagonal, unit, theta, gap, largest)
    second, solves = -np.inf, 0
    if shift > theta:
        shifted = _form(A, W, diagonal, unit, tau, shift)
        if allowance(shifted) <= c and factor(W) == 0:
            second = bound_by_deflation(shift, c, rounding)
            unit, solves = _sharpen(A, W, diagonal, unit, image - shift * unit, tau, shift, above)
    quotient = rayleigh_quotient(A, diagonal, unit, largest)
    return quotient, temple_kato(quotient, second), unit, solves


@compiled
def plan_deflation(
    diagonal: Matrix, unit: Matrix, theta: float, gap: float, largest: float
) -> tuple[float, float, float, float, float]:
    """Choose the matrix K + tau v v' - shift I to factor, for a unit vector v with quotient theta.

    Returns
    -------
    tau, shift : float
        The shift is -inf if the gap is within rounding, so that a factorization could prove nothing.
    above : float
        beta - theta.
    c : float
        Bound on the allowance of the factorization.
    rounding : float
        Bound on the norm of the error of forming the matrix: each entry is rounded at most four times, hence
        4 u (n max |a_ij| + |shift| + tau |v|**2).
    """
    tau = STRENGTH * gap
    c = 1.01 * allowance(diagonal + (tau * unit * unit - theta))
    size = len(unit) * largest  # bounds the norm of A
    rounding = 4.0 * UNIT_ROUNDOFF * (size + 1.01 * (abs(theta) + gap + tau)) * UP + TINY
    above = max(FRACTION * gap, 2.0 * (c + rounding))
    # With beta further up, an inaccurate gap would put it above lambda_2, and the factorization would fail.
    possible = above < 0.25 * gap and np.isfinite(theta)
    return tau, theta + above + c + rounding if possible else -np.inf, above, c, rounding


@compiled
def bound_by_deflation(shift: float, c: float, rounding: float) -> float:
    """Return the lower bound on lambda_2 that a completed factorization proves."""
    return float(np.nextafter((shift - c) - rounding - 4.0 * UNIT_ROUNDOFF * abs(shift), -np.inf))


@compiled
def temple_kato(quotient: Quotient, second: float) -> float:
    """Return a lower bound on lambda_1, given that lambda_2 >= `second`; NaN unless the quotient is below `second`.

    The bound theta - r**2 / (beta - theta) is evaluated with the worst end of every interval.

    Examples
    --------
    >>> 0.99 < temple_kato(Quotient(1.0, 0.0, 1e-3, 0.0), 1.5) <= 1.0 - 2e-6
    True
    """
    distance = np.nextafter(np.nextafter(second - quotient.value, -np.inf) - quotient.error, -np.inf)
    if not distance > 0.0:
        return np.nan
    residual = (quotient.residual + quotient.residual_error) * UP
    loss = residual * residual / distance * UP + TINY
    if not np.isfinite(loss):
        return np.nan
    return float(np.nextafter(quotient.value - (quotient.error + loss) * UP, -np.inf))


@compiled
def _form(A: Matrix, W: Matrix, diagonal: Matrix, v: Matrix, tau: float, shift: float) -> Matrix:
    """Write A + tau v v' - shift I into the upper triangle of W; return its diagonal, which is rounded down."""
    n = len(v)
    shifted = np.empty(n)
    for j in range(n):
        source, target, other = A[j, j:], W[j, j:], v[j:]
        x = tau * v[j]
        for i in range(len(source)):
            target[i] = source[i] + x * other[i]
        shifted[j] = np.nextafter((diagonal[j] + x * v[j]) - shift, -np.inf)
        W[j, j] = shifted[j]
    return shifted


@compiled
def _sharpen(
    A: Matrix, M: Matrix, diagonal: Matrix, v: Matrix, image: Matrix, tau: float, shift: float, above: float
) -> tuple[Matrix, int]:
    """Inverse iteration with B = A - shift I, from M = B + tau v v', factored; `image` is B v.

    `ntkmc.linalg.blocked.solver` has the same loop for matrices that compiled code cannot reach.
    """
    # No Rayleigh-Ritz on x and y: lambda_1 is proved to be the only eigenvalue below the shift, so that every solve
    # reduces the error by the same factor.
    w = v.copy()
    solve(M, w)
    weight = tau / (1.0 - tau * np.dot(v, w))
    x, Bx, previous, best = v, image, v, np.inf
    for k in range(MOST_SOLVES + 1):
        quotient, residual = residual_of(x, Bx)
        # A residual that does not fall has reached rounding.
        if not residual < best:
            return previous, k
        if k == MOST_SOLVES or is_sharp(residual, above, shift + quotient):
            return x, k
        previous, best = x, residual
        y = x.copy()
        solve(M, y)
        x = undo_deflation(y, v, w, weight)
        Bx = np.empty_like(x)
        product(A, x, Bx)
        # The diagonal of A may hold the factor's.
        for i in range(len(x)):
            Bx[i] += (diagonal[i] - A[i, i] - shift) * x[i]
    return x, MOST_SOLVES


@compiled
def residual_of(x: Matrix, Bx: Matrix) -> tuple[float, float]:
    """Return x'Bx and |Bx - (x'Bx) x| for a unit vector x."""
    quotient = np.dot(x, Bx)
    residual = Bx - quotient * x
    return quotient, np.sqrt(np.dot(residual, residual))


@compiled
def is_sharp(residual: float, above: float, value: float) -> bool:
    """Return whether residual**2 / above is at most half of `WIDTH`, relative to `value`.

    `value` is the Rayleigh quotient of the current vector. The quotient of the first vector may be much too large.
    """
    return residual * residual <= 0.5 * above * WIDTH * abs(value)


@compiled
def undo_deflation(y: Matrix, v: Matrix, w: Matrix, weight: float) -> Matrix:
    """Return the direction of B**-1 x as a unit vector, from y = M**-1 x and w = M**-1 v, M = B + tau v v'.

    Sherman and Morrison: B**-1 x = y + w weight v'y with weight = tau / (1 - tau v'w). y is overwritten.
    """
    y += (weight * np.dot(v, y)) * w
    unit: Matrix = y / np.sqrt(np.dot(y, y))
    return unit
