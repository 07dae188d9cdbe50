"""All eigenvalues of a symmetric matrix with a bound on their error, and the largest one alone where n is large."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import as_data, split_rows
from ntkmc.linalg.eigen.spectrum import Enclosed
from ntkmc.linalg.eigen.symmetric import as_symmetric
from ntkmc.linalg.gram.enclosures import kernel_error
from ntkmc.linalg.gram.matrix import coherence_of, cosines, grams_of_cosines
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix
from ntkmc.theory.kernels import check_depths

DECAY_RANKS: Final = (1 / 16, 1 / 2)
"""Ranks, from the largest eigenvalue on and as shares of n, over which the exponent of the decay is fitted.

The head is left out because it holds the mean and the linear part, the tail because there a sample of n rows no longer
looks like the law that it is drawn from.
"""

NUMERICS: Final = {"decay_ranks": list(DECAY_RANKS), "driver": "dsyevd"}

_SUM: Final = 1.0 + 2.0**-20
"""Covers the roundings of plain sums of n**2 terms of one sign, as in `ntkmc.linalg.eigen.spectrum`."""


@dataclass(frozen=True, eq=False)
class Eigenvalues:
    """All eigenvalues of a symmetric matrix.

    Attributes
    ----------
    values : ndarray, (n,)
        Increasing.
    radius : float
        The k-th smallest eigenvalue is within this of values[k], proved, for every k.
    """

    values: NDArray[np.float64]
    radius: float

    @property
    def lower(self) -> NDArray[np.float64]:
        """Proved lower bounds, (n,)."""
        return np.nextafter(self.values - self.radius, -np.inf)

    @property
    def upper(self) -> NDArray[np.float64]:
        """Proved upper bounds, (n,)."""
        return np.nextafter(self.values + self.radius, np.inf)

    def quantile(self, level: float) -> float:
        """The least eigenvalue that at least this share of all do not exceed.

        >>> Eigenvalues(np.array([1.0, 2.0, 3.0, 4.0]), 0.0).quantile(0.5)
        2.0
        """
        if not 0.0 < level <= 1.0:
            raise InputError(f"a quantile level must lie in (0, 1], got {level}")
        return float(self.values[rank_of(level, len(self.values))])

    def decay_exponent(self) -> Enclosed | None:
        """Slope of log(k-th largest eigenvalue) in log k, by least squares over the ranks of `DECAY_RANKS`.

        None for fewer than three such ranks, or where one of these eigenvalues is not proved to be positive.

        >>> found = Eigenvalues(np.arange(64.0, 0.0, -1.0)[:] ** -1.5, 1e-12).decay_exponent()
        >>> round(found.value, 9)
        -1.5
        """
        ranks = decay_ranks(len(self.values))
        if len(ranks) < 3:
            return None
        lower, upper = self.lower[::-1][ranks - 1], self.upper[::-1][ranks - 1]
        if lower[-1] <= 0.0:
            return None
        away = np.log(ranks) - np.mean(np.log(ranks))
        weights = away / np.sum(away**2)
        value = float(weights @ np.log(self.values[::-1][ranks - 1]))
        low, high = np.log(lower), np.log(upper)
        rounding = 32.0 * UNIT_ROUNDOFF * len(ranks) * float(np.abs(weights) @ (np.abs(low) + np.abs(high) + 1.0))
        ends = (float(np.where(weights > 0.0, a, b) @ weights) for a, b in ((low, high), (high, low)))
        lowest, highest = next(ends) - rounding, next(ends) + rounding
        return Enclosed(min(max(value, lowest), highest), lowest, highest)


def rank_of(level: float, n: int) -> int:
    """Position, from 0, of the quantile of a level among n sorted numbers.

    >>> [rank_of(level, 10) for level in (0.02, 0.1, 0.5, 0.98)]
    [0, 0, 4, 9]
    """
    return max(0, math.ceil(level * n - 1e-9) - 1)


def decay_ranks(n: int) -> NDArray[np.int64]:
    """Ranks over which the decay is fitted, from 1 for the largest eigenvalue, never the first.

    >>> decay_ranks(64)[[0, -1]].tolist()
    [4, 32]
    """
    first, last = DECAY_RANKS
    return np.arange(max(2, math.ceil(first * n)), math.floor(last * n) + 1)


def eigenvalues(K: ArrayLike) -> Eigenvalues:
    """All eigenvalues of a symmetric matrix, with a bound on their error that is proved, rounding included.

    Parameters
    ----------
    K : array_like, (n, n)
        Real, finite, exactly symmetric, entries between 1e-60 and 1e60 in size, or all zero; it is not changed.

    Returns
    -------
    Eigenvalues

    Raises
    ------
    InputError
        If K is not such a matrix.

    Notes
    -----
    LAPACK's `dsyevd` proposes V and w; neither is trusted. Let R = KV - V diag(w), E = V'V - I,
    H = (V'V)^(1/2) and U = V H^-1, which is orthogonal. Then KU - U diag(w) = (R + U [H - I, diag(w)]) H^-1, and by
    Weyl's inequality

        |lambda_k - w_k| <= (|R| + |[E, diag(w)]|_F / 2 + |E|**2 (w_n - w_1) / 2) / (1 - |E|)**(1/2),

    since H - I is E / 2 to within |E|**2 / 2. The roundings of KV, V'V and of what follows are at most (n + 2) u
    |K| |V| and so on, in any order of summation (Jeannerod & Rump, SIMAX 2013).

    Examples
    --------
    >>> found = eigenvalues([[2.0, 1.0], [1.0, 2.0]])
    >>> found.values.round(12).tolist(), found.radius < 1e-14
    ([1.0, 3.0], True)
    """
    A, largest = as_symmetric(K)
    if largest > 1e60 or 0.0 < largest < 1e-60:
        raise InputError(f"K has entries of size {largest:.3g}: rescale it to between 1e-60 and 1e60")
    return enclose_all(A)


def kernel_eigenvalues(X: ArrayLike, kernel: str = "ntk", depth: int = 2) -> Eigenvalues:
    """`eigenvalues` of a kernel's Gram matrix, from data: the bounds hold for the exact kernel.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, the largest with a norm between 2**-90 and 2**90; or all zero.
    kernel, depth
        As for `ntkmc.gram`.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array of that range, or an unknown kernel or depth.

    Examples
    --------
    >>> found = kernel_eigenvalues([[1.0, 0.0], [0.0, 1.0]], "h-infinity")
    >>> found.values.round(12).tolist()
    [0.5, 0.5]
    """
    wanted = check_depths(kernel, (depth,))
    rows = split_rows(as_data(X))
    if rows.norms.any() and not 2.0**-90 < rows.norms.max() < 2.0**90:
        raise InputError(
            f"the largest row has norm {rows.norms.max():.3g}: rescale the data to between 2**-90 and 2**90"
        )
    R = cosines(rows)
    error = kernel_error(rows, kernel, depth, coherence_of(R, rows))
    return enclose_all(next(grams_of_cosines(R, rows, kernel, wanted))[1], error)


def enclose_all(A: Matrix, error: float = 0.0) -> Eigenvalues:
    """`eigenvalues` of a matrix with both triangles in place, or of any within `error` of it in norm."""
    n, u = len(A), UNIT_ROUNDOFF
    w, V = eigh(A, driver="evd", check_finite=False)
    V = np.ascontiguousarray(V)
    frobenius, sizes = float(np.linalg.norm(A)), np.sqrt(np.sum(V * V, axis=0)) * _SUM
    scaled = V * w
    residual = A @ V
    residual -= scaled
    # Of the product, of V diag(w), and of their difference.
    wrong = (n + 2) * u * frobenius * float(np.linalg.norm(sizes))
    wrong += 2.0 * u * (float(np.linalg.norm(scaled)) + float(np.linalg.norm(residual)))
    r = float(np.linalg.norm(residual)) + wrong
    del scaled, residual
    E = np.abs(V.T @ V - np.eye(n))
    E += (n + 3) * u * np.multiply.outer(sizes, sizes) + 2.0 * u * E
    e = float(np.linalg.norm(E)) * _SUM
    if not e < 0.5:
        raise np.linalg.LinAlgError("LAPACK's eigenvectors are not orthogonal")
    E *= np.abs(np.subtract.outer(w, w))
    spread = float(w[-1] - w[0])
    radius = (r + 0.5 * float(np.linalg.norm(E)) + 0.5 * e**2 * spread) / math.sqrt(1.0 - e)
    return Eigenvalues(w, float((radius + error) * _SUM + n * 2.0**-900))
