"""What the Study page costs a scheduler with 10,000 cells: CPU time of a scheduler in a process of its own.

python tests/benchmarks/study_page.py [cells] [seconds]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import timeit
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from bokeh.client import pull_session
from distributed import Client

from ntkmc.execution.progress.study_page.plugin import NAME, StudyPlugin, send


def seed(cells: int) -> dict[str, object]:
    laws, dimensions = 10, 25
    sizes = max(cells // (laws * dimensions), 1)
    keys = [
        (f"law-{i}", 4 * (j + 1), 2 * (k + 1)) for i in range(laws) for j in range(dimensions) for k in range(sizes)
    ]
    return {
        "study": "large", "store": "large.zarr", "run": "r", "cells": [f"{law},d={d},n={n}" for law, d, n in keys],
        "distribution": [law for law, _, _ in keys], "d": np.array([d for _, d, _ in keys]),
        "n": np.array([n for _, _, n in keys]), "planned": np.full(len(keys), 100_000),
        "done": np.zeros(len(keys), dtype=int), "depths": [2, 3, 5], "thresholds": [0.1, 0.2, 0.3, 0.4],
    }  # fmt: skip


def go_on(client: Client, cells: int, seconds: float) -> None:
    """What a run with 800 blocks a second tells: counts twice a second, estimates of the touched cells every five."""
    rng = np.random.default_rng(0)
    done = np.zeros(cells, dtype=int)
    begun, number = time.monotonic(), 0
    while time.monotonic() - begun < seconds:
        at = np.unique(rng.integers(0, cells, 400))
        done[at] += 100
        message: dict[str, object] = {"done": (at, done[at]), "computed": 1.0}
        if number % 10 == 0:
            here = np.unique(rng.integers(0, cells, 4000))
            p = rng.random((1, len(here), 3, 4))
            message["estimates"] = here, np.concatenate([p, 0.9 * p, 1.0 - 0.9 * (1.0 - p)])
            message["verdicts"] = {f"claim-{i}": "holds" for i in range(60)}
        send(client, "r", message)
        number += 1
        time.sleep(max(0.0, begun + 0.5 * number - time.monotonic()))


def connected(file: Path) -> Any:
    return Client(scheduler_file=str(file), timeout=60)


def cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def opened(dask_scheduler: Any = None) -> int:
    return int(dask_scheduler.plugins[NAME].viewers.updates)


def main(cells: int, seconds: float) -> None:
    plugin = StudyPlugin()
    step = {"action": "compute", "start": 0.0, "stop": 1.0}
    for start, finish in (("processing", "memory"), ("waiting", "processing")):
        call = partial(plugin.transition, ("block", "x"), start, finish, startstops=[step])
        print(f"transition {start} -> {finish}: {1e9 * timeit.timeit(call, number=100_000) / 100_000:.0f} ns")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "scheduler.json"
        command = [
            sys.executable,
            "-m",
            "distributed.cli.dask_scheduler",
            "--scheduler-file",
            str(file),
            "--host",
            "127.0.0.1",
        ]
        command += ["--dashboard-address", "127.0.0.1:0", "--preload", "ntkmc.execution.progress.study_page.plugin"]
        server = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            with connected(file) as client:
                process = psutil.Process(server.pid)
                used = partial(cpu, process)
                begun = used()
                time.sleep(seconds)
                print(f"scheduler alone: {100 * (used() - begun) / seconds:.2f} % of a core")
                large = seed(cells)
                send(client, "r", {"seed": large})
                cells = len(large["cells"])  # type: ignore[arg-type]
                begun = used()
                go_on(client, cells, seconds)
                print(f"{cells:,} cells, messages alone: {100 * (used() - begun) / seconds:.2f} %")
                url = client.dashboard_link.removesuffix("/status") + "/study"
                viewer = subprocess.Popen([sys.executable, __file__, "--view", url])
                while not client.run_on_scheduler(opened):
                    time.sleep(0.5)
                begun = used()
                go_on(client, cells, seconds)
                print(f"{cells:,} cells, messages and one page: {100 * (used() - begun) / seconds:.2f} %")
                spent = client.run_on_scheduler(lambda dask_scheduler: vars(dask_scheduler.plugins[NAME].viewers))
                print(
                    f"page: {spent['updates']} updates, {1e3 * spent['spent'] / max(spent['updates'], 1):.1f} ms each"
                )
                viewer.terminate()
        finally:
            server.terminate()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--view"]:
        session = pull_session(url=sys.argv[2])
        while True:
            session.force_roundtrip()
            time.sleep(1.0)
    main(*(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000, float(sys.argv[2]) if len(sys.argv) > 2 else 60.0))
