"""The fused Gram pass beside the recursion written with NumPy arrays. One BLAS thread."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from ntkmc import gram, sample
from timing import interleaved, ratio


def with_arrays(X: np.ndarray, depth: int) -> np.ndarray:
    """K^(L) for unit rows as one would write it: a temporary for every operation, arccos of a clipped cosine."""
    f = np.clip(X @ X.T, -1.0, 1.0)
    K = f.copy()
    for _ in range(depth - 1):
        theta = np.arccos(f)
        kappa_0 = (np.pi - theta) / np.pi
        f = np.clip((np.sin(theta) + (np.pi - theta) * np.cos(theta)) / np.pi, -1.0, 1.0)
        K = K * kappa_0 + f
    return np.asarray(K)


def main(largest: int = 2000, rounds: int = 5) -> None:
    """Print milliseconds and the ratio."""
    print("Sphere data, d = n / 4; median of", rounds, "rounds, interleaved, one BLAS thread")
    print(f"{'n':>5} {'L':>3} {'fused ms':>10} {'arrays ms':>10} {'arrays / fused':>15}")
    for n in (size for size in (100, 500, 1000, 2000) if size <= largest):
        X = sample("sphere", n, max(2, n // 4), np.random.default_rng(1))
        for depth in (2, 3, 5):
            pair = {"fused": partial(gram, X, "ntk", depth), "arrays": partial(with_arrays, X, depth)}
            seconds = interleaved(pair, rounds)
            fused, arrays = (1e3 * float(np.median(seconds[name])) for name in ("fused", "arrays"))
            print(f"{n:>5} {depth:>3} {fused:>10.2f} {arrays:>10.2f} {ratio(seconds, 'arrays', 'fused'):>15.2f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main(*map(int, sys.argv[1:]))
