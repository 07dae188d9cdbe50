"""What feature maps cost beside the exact Gram matrix: seconds, and what the model says. One BLAS thread."""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
from scipy.sparse.linalg import eigsh
from threadpoolctl import threadpool_limits

from ntkmc import gram, ntk_features, sample
from ntkmc.linalg.sketching.cost import feature_flops, kernel_flops, map_bytes
from ntkmc.linalg.sketching.features import METHODS
from timing import interleaved


def size_of(A: np.ndarray) -> float:
    """Operator norm of a symmetric matrix, to four digits."""
    return float(np.abs(eigsh(A, k=1, which="LM", tol=1e-4, return_eigenvectors=False)[0]))


def main(largest: int = 2000, rounds: int = 3) -> None:
    """Print seconds, operations and bytes of each, and the distance to the kernel in units of its norm."""
    print("Sphere data, d = 50; median of", rounds, "rounds, interleaved, one BLAS thread")
    print(f"{'n':>5} {'L':>2} {'':>16} {'s':>5} {'seconds':>8} {'Gflop':>7} {'MiB':>6} {'|S - K| / |K|':>14}")
    for n in (size for size in (1000, 2000, 4000) if size <= largest):
        X = sample("sphere", n, 50, np.random.default_rng(1))
        for depth in (2, 3, 5):
            K = gram(X, "ntk", depth)
            norm = size_of(K)
            contestants = {("exact", n): partial(gram, X, "ntk", depth)} | {
                (method, features): partial(ntk_features, X, features, "ntk", depth, method=method)
                for method in METHODS
                for features in (256, 1024)
            }
            seconds = interleaved({f"{name} {size}": each for (name, size), each in contestants.items()}, rounds)
            for name, size in contestants:
                error, flops, held = 0.0, kernel_flops(n, 50, depth), 8 * n * n
                if name != "exact":
                    Phi = ntk_features(X, size, "ntk", depth, method=name)
                    error = size_of(Phi @ Phi.T - K) / norm
                    flops = feature_flops(n, 50, "ntk", depth, size, name)
                    held = map_bytes(n, 50, "ntk", (depth,), size, name)
                took = float(np.median(seconds[f"{name} {size}"]))
                columns = "" if name == "exact" else str(size)
                print(
                    f"{n:>5} {depth:>2} {name:>16} {columns:>5} {took:>8.3f} {flops / 1e9:>7.2f} "
                    f"{held / 2**20:>6.0f} {error:>14.4f}"
                )


if __name__ == "__main__":
    with threadpool_limits(1):
        main(*map(int, sys.argv[1:]))
