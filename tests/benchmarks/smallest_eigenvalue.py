"""lambda_min with its proof, beside what one would call instead (which proves nothing). One BLAS thread."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable

import numpy as np
from scipy.linalg import eigh, lapack
from scipy.sparse.linalg import eigsh, lobpcg
from threadpoolctl import threadpool_limits

from ntkmc import gram, sample, smallest_eigenvalue
from timing import interleaved, ratio

SIZES = (50, 100, 200, 500, 1000, 2000)


def contestants(K: np.ndarray) -> dict[str, Callable[[], object]]:
    """Everything that is timed on one matrix."""
    start = np.random.default_rng(0).standard_normal((len(K), 4))
    return {
        "ntkmc auto": lambda: smallest_eigenvalue(K),
        "ntkmc dense": lambda: smallest_eigenvalue(K, method="dense"),
        "ntkmc cholesky": lambda: smallest_eigenvalue(K, method="cholesky"),
        "numpy eigvalsh": lambda: np.linalg.eigvalsh(K),
        "scipy eigh subset": lambda: eigh(K, eigvals_only=True, subset_by_index=[0, 0]),
        "eigsh sigma=0": lambda: eigsh(K, k=1, sigma=0.0, return_eigenvectors=False),
        "eigsh SA": lambda: eigsh(K, k=1, which="SA", return_eigenvectors=False, maxiter=10 * len(K)),
        "lobpcg": lambda: lobpcg(K, start, largest=False, maxiter=200),
        "one dpotrf": lambda: lapack.dpotrf(K, lower=1),
    }


def main(largest: int = 2000, rounds: int = 5) -> None:
    """Print a table of seconds, and of times in units of one Cholesky and of eigvalsh."""
    warnings.simplefilter("ignore")
    print("Sphere data, d = n / 4, K^(3); median of", rounds, "rounds, interleaved, one BLAS thread")
    print(f"{'n':>5}  {'method':<18} {'ms':>9}  {'x dpotrf':>9}  {'eigvalsh / it':>13}")
    for n in (size for size in SIZES if size <= largest):
        X = sample("sphere", n, max(2, n // 4), np.random.default_rng(1))
        K = gram(X, "ntk", 3)
        seconds = interleaved(contestants(K), rounds if n <= 1000 else 3)
        for name, times in seconds.items():
            milliseconds = 1e3 * float(np.median(times))
            in_cholesky, faster = ratio(seconds, name, "one dpotrf"), ratio(seconds, "numpy eigvalsh", name)
            print(f"{n:>5}  {name:<18} {milliseconds:>9.3f}  {in_cholesky:>9.1f}  {faster:>13.2f}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main(*map(int, sys.argv[1:]))
