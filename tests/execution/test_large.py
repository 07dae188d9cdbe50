"""Cells whose matrices no worker can hold, from the study to the store; and, slow, the sizes of the promise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dask
import numpy as np
import psutil
import pytest
import yaml
from distributed import Client, LocalCluster

from ntkmc import Eigenvalue, lambda_min, open_results
from ntkmc.execution.blocked.matrix import DaskBlockedMatrix
from ntkmc.execution.cluster import SCHEDULER
from ntkmc.numeric import Matrix

THREADS = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}

STUDY: dict[str, Any] = {
    "name": "large",
    "seed": 3,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere"], "d": [50], "n": [20, 3200], "depth": [2, 3]},
    "trials": 1,
    "event": {"lambda-0": [0.1, 0.5], "delta": 0.1},
}


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ntkmc", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=400, check=False)


@pytest.mark.long
def test_from_the_study_to_the_store(tmp_path: Path) -> None:
    """By workers of 490 MiB: nobody asks for it, `plan` says it, and the claims of both cells are tried."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    small = {"extends": "local", "arguments": {"n_workers": 2, "memory_limit": "490MiB"}, "dashboard": None}
    (tmp_path / "small.yaml").write_text(yaml.safe_dump(small))
    planned = run(tmp_path, "plan", "study.yaml", "--profile", "small.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "blocked sphere,d=50,n=3200 over 2 workers" in planned.stdout
    done = run(tmp_path, "run", "study.yaml", "--profile", "small.yaml", "--store", "s")
    assert done.returncode == 0, done.stderr
    assert "its matrix is blocked over the workers" in done.stderr
    tree = open_results(tmp_path / "s")
    here = tree["trials"].to_dataset().load().sel(distribution="sphere", d=50).isel(trial=0)
    assert (here["status"] != 0).all()
    for name, values in here.items():
        assert not values.isnull().any(), name
    assert (here["lambda_min_lower"].sel(n=3200) <= here["lambda_min_upper"].sel(n=3200)).all()
    assert float(here["lambda_min_lower"].sel(n=3200, depth=3)) > 0.0
    overall = dict(zip(tree["claims"]["claim"].to_numpy(), tree["claims"]["overall"].to_numpy(), strict=True))
    held = [name for name in overall if str(name).startswith("det-")]
    assert held
    assert not [name for name in held if overall[name] == 2]  # violated
    checked = run(tmp_path, "verify", "s")
    assert checked.returncode == 0, checked.stdout
    assert "all is well" in checked.stdout


@contextmanager
def two_workers(limit: int | str) -> Iterator[Client]:
    config = SCHEDULER | {
        "distributed.nanny.environ": THREADS,
        "distributed.worker.preload": ["ntkmc.execution.preload"],
    }
    with (
        dask.config.set(config),
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=limit, dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        yield client


def data(n: int) -> Matrix:
    return np.asarray(np.random.default_rng(n).standard_normal((n, 64)) / 8.0)


def overlap(one: Eigenvalue, other: Eigenvalue) -> bool:
    return max(one.lower, other.lower) <= min(one.upper, other.upper)


@pytest.mark.slow
@pytest.mark.parametrize("killed", [False, True])
def test_at_4000(killed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A SIGKILL in the middle of the factorization: the same enclosure, and one share alone is made anew."""
    X = data(4000)
    there = lambda_min(X, "ntk", (3,))[3]
    fleets: list[DaskBlockedMatrix] = []
    factor = DaskBlockedMatrix.factor
    with two_workers("4GiB") as client:

        def killing(self: DaskBlockedMatrix, shifted: Any) -> bool:
            if not fleets and killed:
                processes = client.run(os.getpid)
                victim = processes[max(processes)]
                threading.Timer(0.3, os.kill, (victim, signal.SIGKILL)).start()
            fleets.append(self)
            return factor(self, shifted)

        monkeypatch.setattr(DaskBlockedMatrix, "factor", killing)
        here = lambda_min(X, "ntk", (3,), client=client)[3]
    assert overlap(here, there)
    assert here.upper - here.lower <= 1.1 * (there.upper - there.lower)
    assert fleets[0].replaced == int(killed)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_at_12000_with_a_third_of_the_triangle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may use what they take idle, and a third of the lower triangle: most tiles lie on disk."""
    n = 12_000
    X = data(n)
    there = lambda_min(X, "ntk", (3,))[3]
    with two_workers("4GiB") as client:
        idle = max(client.run(lambda: psutil.Process().memory_info().rss).values())
    on_disk: list[int] = []
    close = DaskBlockedMatrix.close

    def looked(self: DaskBlockedMatrix) -> None:
        on_disk.append(self.on_disk())
        close(self)

    monkeypatch.setattr(DaskBlockedMatrix, "close", looked)
    with two_workers(idle + 4 * n * n // 3) as client:
        here = lambda_min(X, "ntk", (3,), client=client)[3]
    assert overlap(here, there)
    assert on_disk[0] > 4 * n * n
