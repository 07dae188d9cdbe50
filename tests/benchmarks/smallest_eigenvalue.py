"""lambda_min with its proof, beside what one would call instead (which proves nothing).

python tests/benchmarks/smallest_eigenvalue.py [--largest 8000] [--rounds 5] [--threads 1] [--figure bench.png]
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import eigh, lapack
from scipy.sparse.linalg import eigsh, lobpcg
from threadpoolctl import threadpool_limits

from ntkmc import event_holds, gram, sample, smallest_eigenvalue
from timing import Contestant, interleaved, ratio

SIZES = (50, 100, 200, 500, 1000, 2000, 4000, 8000)

DATA: dict[str, tuple[Any, float, int]] = {
    "sphere, d = n/4, L = 3": ("sphere", 0.25, 3),
    "gaussian, d = n, L = 2": ("gaussian", 1.0, 2),
    "student-t(3), d = n/4, L = 5": ({"student-t": {"df": 3}}, 0.25, 5),
    "rademacher, d = n/20, L = 2": ("rademacher", 0.05, 2),
}
"""Name -> law, d / n, depth. The first is timed beside everything, the others beside the main contestants."""

MAIN = ("ntkmc auto", "numpy eigvalsh", "one dpotrf")

AT_MOST = {"eigsh SA": 1000, "lobpcg": 2000, "ntkmc dense": 4000, "scipy eigh subset": 4000, "eigsh sigma=0": 4000}
"""Contestants that are left out beyond some n: minutes each, and no news."""


def contestants(K: np.ndarray) -> dict[str, Contestant]:
    """Everything that is timed on one matrix. The yardstick, one Cholesky, works in place, its copy is not timed."""
    work = np.empty_like(K)
    start = np.random.default_rng(0).standard_normal((len(K), 4))
    value = smallest_eigenvalue(K).value
    return {
        "ntkmc auto": lambda: smallest_eigenvalue(K),
        "one dpotrf": (lambda: np.copyto(work, K), lambda: lapack.dpotrf(work.T, lower=1, clean=0, overwrite_a=1)),
        "numpy eigvalsh": lambda: np.linalg.eigvalsh(K),
        "ntkmc event, true": lambda: event_holds(K, 0.9 * value),
        "ntkmc event, false": lambda: event_holds(K, 1.1 * value),
        "ntkmc dense": lambda: smallest_eigenvalue(K, method="dense"),
        "scipy eigh subset": lambda: eigh(K, eigvals_only=True, subset_by_index=[0, 0]),
        "eigsh sigma=0": lambda: eigsh(K, k=1, sigma=0.0, return_eigenvectors=False),
        "eigsh SA": lambda: eigsh(K, k=1, which="SA", return_eigenvectors=False, maxiter=10 * len(K)),
        "lobpcg": lambda: lobpcg(K, start, largest=False, maxiter=200),
    }


def matrix(name: str, n: int) -> np.ndarray:
    """Gram matrix of one of `DATA`, E|x|^2 = 1."""
    law, share, depth = DATA[name]
    d = max(3, int(share * n))
    X = sample(law, n, d, np.random.default_rng(1))
    return gram(X / np.sqrt(np.mean(np.sum(X**2, axis=1))), "ntk", depth)


def main(largest: int, rounds: int, figure: Path | None) -> None:
    """Print a table of times, in units of one Cholesky, and of how often each fits into eigvalsh; draw it."""
    drawn: dict[str, dict[str, tuple[list[int], list[float]]]] = {}
    for name in DATA:
        print(f"\n{name}\n{'n':>5}  {'method':<18} {'ms':>9}  {'x dpotrf':>9}  {'eigvalsh / it':>13}  status, width")
        for n in (size for size in SIZES if size <= largest):
            K = matrix(name, n)
            answer = smallest_eigenvalue(K)
            entrants = {
                entrant: function
                for entrant, function in contestants(K).items()
                if (name == next(iter(DATA)) or entrant in MAIN) and n <= AT_MOST.get(entrant, largest)
            }
            seconds = interleaved(entrants, rounds if n <= 1000 else 3 if n <= 4000 else 1)
            for entrant, times in seconds.items():
                in_cholesky, faster = ratio(seconds, entrant, "one dpotrf"), ratio(seconds, "numpy eigvalsh", entrant)
                said = f"{answer.status.name}, {answer.relative_width:.0e}" if entrant == "ntkmc auto" else ""
                print(
                    f"{n:>5}  {entrant:<18} {1e3 * float(np.median(times)):>9.3f}  {in_cholesky:>9.2f}  "
                    f"{faster:>13.2f}  {said}",
                    flush=True,
                )
                sizes, ratios = drawn.setdefault(name, {}).setdefault(entrant, ([], []))
                sizes.append(n)
                ratios.append(in_cholesky)
    if figure is not None:
        draw(drawn, figure)


def draw(drawn: dict[str, dict[str, tuple[list[int], list[float]]]], path: Path) -> None:
    """One panel per data set: time in units of one Cholesky against n."""
    from matplotlib.figure import Figure

    chart = Figure(figsize=(11, 7), layout="constrained")
    panels = chart.subplots(2, 2, sharex=True, sharey=True)
    for panel, (name, entrants) in zip(panels.flat, drawn.items(), strict=False):
        for entrant, (sizes, ratios) in entrants.items():
            if entrant != "one dpotrf":
                panel.loglog(sizes, ratios, marker="o", markersize=3, label=entrant)
        panel.axhline(1.0, color="black", linewidth=0.8)
        panel.set_title(name, fontsize=10)
        panel.grid(alpha=0.3, which="both")
    panels[0, 0].legend(fontsize=7)
    chart.supxlabel("n")
    chart.supylabel("time, in units of one dpotrf")
    path.parent.mkdir(parents=True, exist_ok=True)
    chart.savefig(path, dpi=150)
    print(f"figure: {path}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--largest", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--figure", type=Path)
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    print(
        f"medians of {asked.rounds} rounds (3 above n = 1000, 1 above 4000), interleaved; {asked.threads} BLAS threads"
    )
    with threadpool_limits(asked.threads):
        main(asked.largest, asked.rounds, asked.figure)
