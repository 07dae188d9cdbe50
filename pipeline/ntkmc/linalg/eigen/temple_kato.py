"""The tight lower end: one Cholesky that proves how many eigenvalues lie below beta, and sharpens the vector.

Let v be close to the eigenvector of lambda_1, theta its Rayleigh quotient and theta < beta < lambda_2. If
A + tau v v' - beta I is positive definite then lambda_2(A) >= beta, since a positive update of rank one moves at most
one eigenvalue past beta (Weyl). Temple and Kato (T. Kato, J. Phys. Soc. Japan 4 (1949) 334-339) then give

    theta - |Av - theta v|**2 / (beta - theta) <= lambda_1 <= theta        for unit v,

whose width is quadratic in the residual. The allowance c of the factorization, about n u tr(A) / 2, need only be below
the *gap* lambda_2 - lambda_1: it does not enter the width.

The same factor is a shift-invert solver, (A - beta I)**-1 by Sherman and Morrison, and beta lies much closer to
lambda_1 than to lambda_2, so that two or three solves bring a float32 vector to working precision.
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
"""beta - theta in units of the gap: small, since each solve shrinks the error by about this much, but above what
theta may still be off for a vector that passed `krylov.CONVERGED`."""

STRENGTH: Final = 16.0
"""tau in units of the gap: enough that the deflated direction does not return below beta."""

MOST_SOLVES: Final = 5

WIDTH: Final = 2.0**-37
"""Relative width of the enclosure (about 1e-11) at which sharpening stops: the kernel's entries are no better."""

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
    """Enclose lambda_1 where one eigenvalue alone lies near the quotient of v.

    Parameters
    ----------
    A : ndarray, (n, n)
        The symmetric matrix, both triangles; its strict lower triangle is not changed.
    W : ndarray, (n, n)
        Takes the factor in its upper triangle; may be A.
    diagonal : ndarray, (n,)
        A's diagonal, kept apart.
    v : ndarray, (n,)
        Approximate eigenvector.
    gap : float
        Estimate of lambda_2 - lambda_1; nothing is claimed if it is wrong.
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
        Solves spent on it.

    Notes
    -----
    Forming the deflated matrix rounds each entry at most four times: in norm by at most
    4 u (n max |a_ij| + |shift| + tau |v|**2), which is added to the allowance.
    """
    unit = v / np.sqrt(np.dot(v, v))
    image = np.empty_like(unit)
    product(A, unit, image)
    theta = np.dot(unit, image)
    tau, shift, above, c, rounding = plan_deflation(diagonal, unit, theta, gap, largest)
    proved, solves = -np.inf, 0
    if shift > theta:
        shifted = _form(A, W, diagonal, unit, tau, shift)
        if allowance(shifted) <= c and factor(W) == 0:
            proved = proved_by_deflation(shift, c, rounding)
            unit, solves = _sharpen(A, W, diagonal, unit, image - shift * unit, tau, shift, above)
    quotient = rayleigh_quotient(A, diagonal, unit, largest)
    return quotient, temple_kato(quotient, proved), unit, solves


@compiled
def plan_deflation(
    diagonal: Matrix, unit: Matrix, theta: float, gap: float, largest: float
) -> tuple[float, float, float, float, float]:
    """Return the matrix to factor for a unit vector with quotient theta: (tau, shift, above, c, rounding).

    K + tau v v' - shift I is to be factored, and `proved_by_deflation` says what that proves; where the gap is within
    rounding the shift is -inf: there is nothing to factor. `above` is beta - theta, `c` the allowance, `rounding` what
    forming the matrix may do to it.
    """
    tau = STRENGTH * gap
    c = 1.01 * allowance(diagonal + (tau * unit * unit - theta))
    size = len(unit) * largest  # bounds the norm of A
    rounding = 4.0 * UNIT_ROUNDOFF * (size + 1.01 * (abs(theta) + gap + tau)) * UP + TINY
    above = max(FRACTION * gap, 2.0 * (c + rounding))
    possible = above < 0.25 * gap and np.isfinite(theta)
    return tau, theta + above + c + rounding if possible else -np.inf, above, c, rounding


@compiled
def proved_by_deflation(shift: float, c: float, rounding: float) -> float:
    """The lower bound on lambda_2 that a completed factorization proves."""
    return float(np.nextafter((shift - c) - rounding - 4.0 * UNIT_ROUNDOFF * abs(shift), -np.inf))


@compiled
def temple_kato(quotient: Quotient, next_above: float) -> float:
    """Lower bound on lambda_1 from a quotient and a lower bound on lambda_2; NaN unless the quotient is below that.

    The bound theta - r**2 / (beta - theta) is taken with every number at its worst end.

    Examples
    --------
    >>> 0.99 < temple_kato(Quotient(1.0, 0.0, 1e-3, 0.0), 1.5) <= 1.0 - 2e-6
    True
    """
    room = np.nextafter(np.nextafter(next_above - quotient.value, -np.inf) - quotient.error, -np.inf)
    if not room > 0.0:
        return np.nan
    residual = (quotient.residual + quotient.residual_error) * UP
    loss = residual * residual / room * UP + TINY
    if not np.isfinite(loss):
        return np.nan
    return float(np.nextafter(quotient.value - (quotient.error + loss) * UP, -np.inf))


@compiled
def _form(A: Matrix, W: Matrix, diagonal: Matrix, v: Matrix, tau: float, shift: float) -> Matrix:
    """Upper triangle of W := A + tau v v' - shift I, the diagonal rounded down; returns that diagonal."""
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
    """Inverse iteration y = (A - shift I)**-1 x while the residual falls.

    Until residual**2 / above is WIDTH / 2 of the quotient in hand: that of the first vector may be far too high.
    M = A + tau v v' - shift I is factored: y = z + w tau v'z / (1 - tau v'w) with M z = x, M w = v. No Rayleigh-Ritz
    on x and y: lambda_1 was proved to stand alone below the shift, so that each solve gains as much by itself.
    `image` is A v - shift v.
    """
    w = v.copy()
    solve(M, w)
    weight = tau / (1.0 - tau * np.dot(v, w))
    x, By, previous = v, image, v
    best = np.inf
    for k in range(MOST_SOLVES + 1):
        quotient = np.dot(x, By)
        left = By - quotient * x
        residual = np.sqrt(np.dot(left, left))
        if not residual < best:
            return previous, k
        if residual * residual <= 0.5 * above * WIDTH * abs(shift + quotient) or k == MOST_SOLVES:
            return x, k
        previous, best = x, residual
        y = x.copy()
        solve(M, y)
        y += (weight * np.dot(v, y)) * w
        x = y / np.sqrt(np.dot(y, y))
        By = np.empty_like(x)
        product(A, x, By)
        for i in range(len(x)):  # the factor's diagonal may be stored in A
            By[i] += (diagonal[i] - A[i, i] - shift) * x[i]
    return x, MOST_SOLVES
