"""lambda_min blocked over workers: against the same in one process, over numbers of workers, beside the model.

`python tests/benchmarks/blocked.py --n 4000 12000 --workers 1 2 4`. The scheduler is a process of its own, so that
what it takes can be told apart. With more workers than cores the wall time says little: the model's column is for as
many cores as workers.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from distributed import Client
from numpy.typing import NDArray

from ntkmc import Eigenvalue, lambda_min
from ntkmc.linalg.blocked.cost import blocked_seconds, blocked_traffic

DEPTH = 3
D = 256


@contextmanager
def cluster(workers: int) -> Iterator[tuple[Client, psutil.Process]]:
    """A client, and the scheduler's process."""
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        dask = [sys.executable, "-m", "dask"]
        common = ["--scheduler-file", str(file), "--no-dashboard"]
        quiet = subprocess.DEVNULL
        scheduler = subprocess.Popen([*dask, "scheduler", "--port", "0", *common], stdout=quiet, stderr=quiet)
        sized = ["--nworkers", str(workers), "--nthreads", "1", "--local-directory", folder, "--memory-limit", "12GiB"]
        command = [*dask, "worker", *sized, *common]
        farm = subprocess.Popen(command, env=os.environ | threads, stdout=quiet, stderr=quiet)
        try:
            while not file.exists():
                time.sleep(0.1)
            with Client(scheduler_file=str(file)) as client:
                client.wait_for_workers(workers, timeout=60)
                yield client, psutil.Process(scheduler.pid)
        finally:
            for process in (farm, scheduler):
                process.terminate()
            for process in (farm, scheduler):
                process.wait()


def data(n: int) -> NDArray[np.float64]:
    """Gaussian rows."""
    return np.asarray(np.random.default_rng(n).standard_normal((n, D)) / np.sqrt(D))


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, nargs="+", default=[4000, 8000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--method", default="auto")
    parser.add_argument("--skip-memory", action="store_true", help="without the same in one process's memory")
    arguments = parser.parse_args()
    alone: dict[int, tuple[float, Eigenvalue]] = {}
    if not arguments.skip_memory:
        lambda_min(data(600), "ntk", (DEPTH,))  # compiled code
        for n in arguments.n:
            start = time.perf_counter()
            found = lambda_min(data(n), "ntk", (DEPTH,))[DEPTH]
            alone[n] = time.perf_counter() - start, found
    cores = psutil.cpu_count()
    print(f"kernel ntk, depth {DEPTH}, d = {D}, Gaussian rows; {cores} cores")
    print("     n workers  seconds  model  in memory  ratio  scheduler  GiB moved  method")
    for workers in arguments.workers:
        with cluster(workers) as (client, scheduler):
            lambda_min(data(600), "ntk", (DEPTH,), client=client)
            for n in arguments.n:
                X = data(n)
                before, start = sum(scheduler.cpu_times()[:2]), time.perf_counter()
                found = lambda_min(X, "ntk", (DEPTH,), method=arguments.method, client=client)[DEPTH]
                seconds = time.perf_counter() - start
                busy = (sum(scheduler.cpu_times()[:2]) - before) / seconds
                model = blocked_seconds(n, D, (DEPTH,), workers)
                moved = blocked_traffic(n, D, (DEPTH,), workers) / 2**30
                beside = "        -      -"
                if n in alone:
                    once, there = alone[n]
                    assert max(found.lower, there.lower) <= min(found.upper, there.upper)
                    beside = f"{once:9.1f} {seconds / once:6.2f}"
                print(
                    f"{n:6d} {workers:7d} {seconds:8.1f} {model:6.1f}  {beside} {busy:9.1%} {moved:10.2f}  "
                    f"{found.method} {found.iterations}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
