"""Independent truth at 50 digits: kernels by their definition, eigenvalues by mpmath."""

from __future__ import annotations

from typing import Any

import mpmath as mp
import numpy as np
from numpy.typing import NDArray

from ntkmc.numeric import Matrix


def exact_kernel(rho: Any, kernel: str, depth: int) -> Any:
    """k(rho) from the textbook formulas, rho an mpf."""

    def kappa_0(r: Any) -> Any:
        return (mp.pi - mp.acos(r)) / mp.pi

    def kappa_1(r: Any) -> Any:
        return (mp.sqrt(1 - r * r) + (mp.pi - mp.acos(r)) * r) / mp.pi

    if kernel == "h-infinity":
        return rho * kappa_0(rho) / 2
    f = k = rho
    for _ in range(depth - 1):
        q = kappa_0(f)
        f = kappa_1(f)
        k = k * q + f
    return k if kernel == "ntk" else f


def exact_gram(X: Matrix, kernel: str, depth: int) -> tuple[Any, list[Any]]:
    """(Gram matrix, norms) of float64 rows, as mpmath numbers."""
    rows = [[mp.mpf(float(entry)) for entry in row] for row in X]
    norms = [mp.sqrt(mp.fsum(entry * entry for entry in row)) for row in rows]
    n = len(rows)
    K = mp.matrix(n, n)
    for i in range(n):
        for j in range(i + 1):
            product = mp.fsum(a * b for a, b in zip(rows[i], rows[j], strict=True))
            rho = max(min(product / (norms[i] * norms[j]), mp.mpf(1)), mp.mpf(-1))
            K[i, j] = K[j, i] = exact_kernel(rho, kernel, depth) * norms[i] * norms[j]
    return K, norms


def exact_lambda_min(K: Any) -> Any:
    """Smallest eigenvalue of a symmetric matrix (array of float64, or mpmath matrix), at the working precision."""
    A = K if isinstance(K, mp.matrix) else mp.matrix(np.asarray(K, dtype=float).tolist())
    return min(mp.eigsy(A, eigvals_only=True))


def hadamard(n: int) -> Matrix:
    """Sylvester's Hadamard matrix, n a power of two."""
    H = np.ones((1, 1))
    while len(H) < n:
        H = np.block([[H, H], [H, -H]])
    return H


def planted(weights: NDArray[Any]) -> Matrix:
    """H diag(w) H / n: its eigenvalues are exactly w if w are multiples of 2**-30 in [-2, 2]."""
    n = len(weights)
    H = hadamard(n)
    return np.asarray((H * weights) @ H / n)


def polygon(n: int) -> Matrix:
    """Regular n-gon on the unit circle."""
    angles = 2.0 * np.pi * np.arange(n) / n
    return np.column_stack([np.cos(angles), np.sin(angles)])
