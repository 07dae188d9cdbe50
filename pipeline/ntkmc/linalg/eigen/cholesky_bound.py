"""Rigorous bounds on the smallest eigenvalue of a float64 matrix, valid with every rounding counted.

*Upper end.* For every v, lambda_min <= v'Av / v'v, summed in double-double: `ntkmc.linalg.eigen.rayleigh`.

*Lower end.* If the Cholesky factorization of A - sI is completed in floating point, then lambda_min(A) >= s - c with
an explicit allowance c: `allowance`. A residual cannot prove this: it shows that *an* eigenvalue is near, only inertia
shows that it is the smallest. If the smallest eigenvalue is well separated, `ntkmc.linalg.eigen.temple_kato` gives a
better bound than s - c. The bounds of this module hold for every matrix.
"""

from __future__ import annotations

import math

import numpy as np

from ntkmc.compiled import compiled
from ntkmc.linalg.eigen.lapack import factor
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix


@compiled
def allowance(shifted_diagonal: Matrix) -> float:
    """Return c such that a completed Cholesky of B proves lambda_min(B) >= -c, from the diagonal b of B, (n,).

    c = sum_j (j + 3) u b_j + 6 n (n + max b) 2**-1074, j = 1 ... n. Demmel (LAPACK Working Note 14, 1989); Higham,
    *Accuracy and Stability*, Thms 10.3-10.7; Rump, BIT 46 (2006) 433-452; valid for any order of summation and any
    n < 6e7 by Rump & Jeannerod, SIMAX 35 (2014) 684-698. j + 3 rather than their j + 2 allows one more rounding
    where a BLAS multiplies by reciprocal diagonals. Not valid for Strassen-like or reduced-precision products.
    """
    n = len(shifted_diagonal)
    weighted, largest = 0.0, 0.0
    for j in range(n):
        entry = max(shifted_diagonal[j], 0.0)
        weighted += (j + 4.0) * entry
        largest = max(largest, entry)
    underflow = 6.0 * n * (n + largest) * 2.0**-1074
    # 2**-30 covers the roundings of the sum itself, n u relative, for any n that fits in memory.
    return (weighted * UNIT_ROUNDOFF + underflow) * (1.0 + 2.0**-30)


@compiled
def factor_shifted(A: Matrix, W: Matrix, diagonal: Matrix, shift: float) -> tuple[int, float]:
    """Factor A - shift I, with the diagonal rounded down, in the upper triangle of W (Cholesky).

    Reads the upper triangle of A, which may be W.

    Returns
    -------
    info : int
        0 if the factorization was completed with finite numbers, else the order of the minor that failed.
    c : float
        The allowance: with info == 0, lambda_min(A) >= shift - c.
    """
    n = len(diagonal)
    shifted = np.empty(n)
    for j in range(n):
        W[j, j:] = A[j, j:]
        shifted[j] = np.nextafter(diagonal[j] - shift, -np.inf)
        W[j, j] = shifted[j]
    return factor(W), allowance(shifted)


@compiled
def gershgorin(A: Matrix) -> float:
    """Return min_i (a_ii - sum over j != i of |a_ij|), in float64 (relative error of a sum at most n u)."""
    n = A.shape[0]
    smallest = np.inf
    for i in range(n):
        radius = 0.0
        for j in range(n):
            radius += abs(A[i, j])
        smallest = min(smallest, A[i, i] - (radius - abs(A[i, i])))
    return float(smallest)


@compiled
def pair_bound(A: Matrix) -> float:
    """Return the minimum over pairs of the smaller eigenvalue of [[a_ii, a_ij], [a_ij, a_jj]]; a_11 for n = 1.

    An upper bound on lambda_min by Cauchy's interlacing; relative error at most 8 u of the larger diagonal entry.
    """
    n = A.shape[0]
    smallest = float(A[0, 0])
    for i in range(n):
        for j in range(i):
            # Squares could overflow.
            root = math.hypot(0.5 * (A[i, i] - A[j, j]), A[i, j])
            smallest = min(smallest, 0.5 * (A[i, i] + A[j, j]) - root)
    return float(smallest)
