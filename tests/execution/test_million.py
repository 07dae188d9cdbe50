"""A million trials: the driver's memory stays small, and what it was."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from ntkmc import open_results

STUDY: dict[str, Any] = {
    "name": "million",
    "seed": 5,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere", "gaussian"], "d": [8, 16], "n": [4], "depth": [2]},
    "trials": 250_000,
    "event": {"lambda-0": [0.8, 1.0], "delta": 0.1},
}


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_million_trials(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    command = [sys.executable, "-m", "ntkmc", "run", "study.yaml", "--store", "s"]
    with (tmp_path / "log").open("w") as log:
        driver = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    used: list[float] = []
    while driver.poll() is None:
        try:
            used.append(psutil.Process(driver.pid).memory_info().rss / 2**20)
        except psutil.Error:
            break
        time.sleep(0.5)
    assert driver.wait() == 0, (tmp_path / "log").read_text()
    assert int((open_results(tmp_path / "s")["trials"]["status"] != 0).sum()) == 1_000_000
    quarter, end = max(used[: len(used) // 4]), max(used[len(used) * 3 // 4 :])
    print(f"driver: at most {max(used):.0f} MiB, {quarter:.0f} in the first quarter, {end:.0f} in the last")
    assert max(used) < 500.0
    assert end <= 1.1 * quarter
