"""All eigenvalues of a symmetric matrix, with a bound on their error."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import eigh

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import as_data, split_rows
from ntkmc.linalg.eigen.spectrum import SUM, Enclosed
from ntkmc.linalg.eigen.symmetric import as_symmetric
from ntkmc.linalg.gram.enclosures import check_moderate_norms, grams_with_errors
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix
from ntkmc.theory.kernels import check_depths

DECAY_RANKS: Final = (1 / 16, 1 / 2)
"""Ranks, from the largest eigenvalue on and as fractions of n, over which the exponent of the decay is fitted.

The head is left out because it holds the mean and the linear part. The tail is left out because there the eigenvalues
of n sampled rows no longer follow those of the integral operator.
"""

NUMERICS: Final = {"decay_ranks": list(DECAY_RANKS), "driver": "dsyevd"}


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
        """Return the smallest eigenvalue that at least a fraction `level` of all do not exceed.

        >>> Eigenvalues(np.array([1.0, 2.0, 3.0, 4.0]), 0.0).quantile(0.5)
        2.0
        """
        if not 0.0 < level <= 1.0:
            raise InputError(f"a quantile level must lie in (0, 1], got {level}")
        return float(self.values[rank_of(level, len(self.values))])

    def decay_exponent(self) -> Enclosed | None:
        """Return the slope of log(k-th largest eigenvalue) in log k, by least squares over the ranks of `DECAY_RANKS`.

        None for fewer than three such ranks, or where one of these eigenvalues is not proved to be positive.

        >>> exponent = Eigenvalues(np.arange(64.0, 0.0, -1.0) ** -1.5, 1e-12).decay_exponent()
        >>> round(exponent.value, 9)
        -1.5
        """
        ranks = decay_ranks(len(self.values))
        if len(ranks) < 3:
            return None
        lower, upper = self.lower[::-1][ranks - 1], self.upper[::-1][ranks - 1]
        if lower[-1] <= 0.0:
            return None
        centred = np.log(ranks) - np.mean(np.log(ranks))
        weights = centred / np.sum(centred**2)
        value = float(weights @ np.log(self.values[::-1][ranks - 1]))
        low, high = np.log(lower), np.log(upper)
        rounding = 32.0 * UNIT_ROUNDOFF * len(ranks) * float(np.abs(weights) @ (np.abs(low) + np.abs(high) + 1.0))
        # The slope is linear in the logarithms: each bound takes the end that its weight's sign calls for.
        ends = (float(np.where(weights > 0.0, a, b) @ weights) for a, b in ((low, high), (high, low)))
        lowest, highest = next(ends) - rounding, next(ends) + rounding
        return Enclosed(min(max(value, lowest), highest), lowest, highest)


def rank_of(level: float, n: int) -> int:
    """Return the position, from 0, of the quantile of a level among n sorted numbers.

    >>> [rank_of(level, 10) for level in (0.02, 0.1, 0.5, 0.98)]
    [0, 0, 4, 9]
    """
    # 1e-9 covers the rounding of level * n, as in 0.1 * 30.
    return max(0, math.ceil(level * n - 1e-9) - 1)


def decay_ranks(n: int) -> NDArray[np.int64]:
    """Return the ranks over which the decay is fitted; the largest eigenvalue has rank 1, and is never included.

    >>> decay_ranks(64)[[0, -1]].tolist()
    [4, 32]
    """
    first, last = DECAY_RANKS
    return np.arange(max(2, math.ceil(first * n)), math.floor(last * n) + 1)


def eigenvalues(K: ArrayLike) -> Eigenvalues:
    """Compute all eigenvalues of a symmetric matrix, with a proved bound on their error, rounding included.

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
    >>> result = eigenvalues([[2.0, 1.0], [1.0, 2.0]])
    >>> result.values.round(12).tolist(), result.radius < 1e-14
    ([1.0, 3.0], True)
    """
    A, largest = as_symmetric(K)
    if largest > 1e60 or 0.0 < largest < 1e-60:
        raise InputError(f"K has entries of size {largest:.3g}: rescale it to between 1e-60 and 1e60")
    return enclose_all(A)


def kernel_eigenvalues(X: ArrayLike, kernel: str = "ntk", depth: int = 2) -> Eigenvalues:
    """Compute `eigenvalues` of a kernel's Gram matrix, from data: the bounds hold for the exact kernel.

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
    >>> kernel_eigenvalues([[1.0, 0.0], [0.0, 1.0]], "h-infinity").values.round(12).tolist()
    [0.5, 0.5]
    """
    depths = check_depths(kernel, (depth,))
    rows = split_rows(as_data(X))
    check_moderate_norms(rows, 90)
    _, K, error = next(grams_with_errors(rows, kernel, depths))
    return enclose_all(K, error)


def enclose_all(A: Matrix, error: float = 0.0) -> Eigenvalues:
    """Enclose the eigenvalues of all matrices within `error` in norm of a matrix that is stored in full."""
    n, u = len(A), UNIT_ROUNDOFF
    # Its result is only a proposal, so that the driver decides bits but no bound.
    w, V = eigh(A, driver="evd", check_finite=False)
    V = np.ascontiguousarray(V)
    frobenius, sizes = float(np.linalg.norm(A)), np.sqrt(np.sum(V * V, axis=0)) * SUM
    scaled = V * w
    residual = A @ V
    residual -= scaled
    # Rounding of the product, of V diag(w), and of their difference.
    rounding = (n + 2) * u * frobenius * float(np.linalg.norm(sizes))
    rounding += 2.0 * u * (float(np.linalg.norm(scaled)) + float(np.linalg.norm(residual)))
    r = float(np.linalg.norm(residual)) + rounding
    del scaled, residual
    E = np.abs(V.T @ V - np.eye(n))
    E += (n + 3) * u * np.multiply.outer(sizes, sizes) + 2.0 * u * E
    e = float(np.linalg.norm(E)) * SUM
    if not e < 0.5:
        raise np.linalg.LinAlgError("LAPACK's eigenvectors are not orthogonal")
    E *= np.abs(np.subtract.outer(w, w))
    spread = float(w[-1] - w[0])
    radius = (r + 0.5 * float(np.linalg.norm(E)) + 0.5 * e**2 * spread) / math.sqrt(1.0 - e)
    return Eigenvalues(w, float((radius + error) * SUM + n * 2.0**-900))
