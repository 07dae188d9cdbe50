"""Faults without number: what a cluster does to a run in a month, in minutes.

A study of small blocks is run by `ntkmc run`, time and again, while workers and drivers are killed, writes fail, and
files are damaged between runs. What is counted: faults, and trials whose computation was begun.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from ntkmc.experiment.schema.groups import VARIABLES
from ntkmc.experiment.store.location import Location

FAULTY = r'''
"""Loaded into every process of a tortured run: writes fail at random, and work that is begun is counted."""

import errno, os, random

from ntkmc.execution import worker as tasks
from ntkmc.experiment.store.location import DirectoryBlobs
from zarr.storage import LocalStore

rate, log = float(os.environ["TORTURE_RATE"]), os.environ["TORTURE_LOG"]
dice = random.Random(os.getpid())


def note(text):
    with open(log, "a") as file:
        file.write(text + "\n")


def fails():
    if dice.random() < rate:
        note("fault write")
        raise OSError(*dice.choice([(errno.ENOSPC, "No space left on device"), (errno.EIO, "Input/output error")]))


def before(function):
    def call(*arguments, **named):
        fails()
        return function(*arguments, **named)
    return call


def before_async(function):
    async def call(*arguments, **named):
        fails()
        return await function(*arguments, **named)
    return call


def counted(function):
    def call(task, *more):
        note(f"begun {task.count}")
        return function(task, *more)
    return call


# Once a process: a worker that is spawned imports the driver's main module, and has this as its preload too.
if not hasattr(tasks, "tortured"):
    tasks.tortured = True
    DirectoryBlobs.put = before(DirectoryBlobs.put)
    if os.environ.get("TORTURE_ROLE") == "driver":
        LocalStore.set = before_async(LocalStore.set)
    tasks.run_block = counted(tasks.run_block)


def dask_setup(worker):
    pass
'''

DRIVER = """
import os, sys
os.environ["TORTURE_ROLE"] = "driver"
import faulty
os.environ["TORTURE_ROLE"] = "worker"
from ntkmc.cli import main

if __name__ == "__main__":
    main()
"""

SCHEDULED = """
import os, sys
os.environ["TORTURE_ROLE"] = "driver"
import faulty
os.environ["TORTURE_ROLE"] = "worker"
from ntkmc import load_study
from ntkmc.errors import ExecutionError, StoreError
from ntkmc.execution.driver import drive
from ntkmc.execution.profiles import Profile, connect

if __name__ == "__main__":
    try:
        with connect(Profile(cluster="distributed.Client", arguments={"address": sys.argv[1]})) as client:
            outcome = drive(load_study("study.yaml"), "s", client, block_length=int(sys.argv[2]))
    except (ExecutionError, StoreError, OSError) as error:
        print(error)
        sys.exit(3)
    sys.exit(3 if outcome.failed else 0)
"""


@dataclass
class Torture:
    """One tortured study.

    Attributes
    ----------
    folder : Path
        Of the study, the store `s`, and everything else.
    block : int
        Trials a block.
    rate : float
        Probability that a write fails.
    faults : dict of str to int
        What was done to it.
    forgiven : int
        Trials that were lost because a file was damaged on purpose.
    """

    folder: Path
    study: dict[str, Any]
    block: int
    rate: float
    seed: int
    faults: dict[str, int] = field(default_factory=dict)
    forgiven: int = 0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.seed)
        self._begun_at_damage = 0
        for name, text in {"faulty.py": FAULTY, "driver.py": DRIVER, "scheduled.py": SCHEDULED}.items():
            (self.folder / name).write_text(text)
        (self.folder / "study.yaml").write_text(yaml.safe_dump(self.study))
        profile = {
            "cluster": "distributed.LocalCluster",
            "arguments": {"n_workers": 2, "threads_per_worker": 1, "processes": True},
            "dashboard": None,
            "config": {"distributed.worker.preload": ["ntkmc.execution.preload", str(self.folder / "faulty.py")]},
        }
        (self.folder / "local.yaml").write_text(yaml.safe_dump(profile))

    @property
    def store(self) -> Path:
        return self.folder / "s"

    @property
    def begun(self) -> int:
        """Trials whose computation was begun, by whomever."""
        lines = (self.folder / "log").read_text().splitlines()
        return sum(int(line.split()[1]) for line in lines if line.startswith("begun"))

    @property
    def total(self) -> int:
        """Faults of all kinds."""
        lines = (self.folder / "log").read_text().splitlines()
        return sum(self.faults.values()) + sum(line.startswith("fault") for line in lines)

    def run_local(self, seconds: float, worker_deaths: int) -> int | None:
        """A driver with workers of its own: some of them are killed, then the driver with all that is left.

        Returns its exit code if it ended by itself.
        """
        command = [sys.executable, "driver.py", "run", "study.yaml", "--store", "s", "--profile", "local.yaml"]
        driver = self._start([*command, "--block", str(self.block)])
        if not self._wait_for_work(driver):
            return self._ended(driver)
        for number in range(worker_deaths):
            if driver.poll() is not None:
                break
            if number:  # the first at once: a short study may be done before long
                time.sleep(seconds / worker_deaths)
            workers = [child for child in self._children(driver) if "multiprocessing.spawn" in " ".join(child)]
            if workers:
                self._kill(int(self.dice.choice(workers)[0]), "worker")
        time.sleep(seconds / max(worker_deaths, 1))
        if driver.poll() is None:
            self._count("driver")
            os.killpg(driver.pid, signal.SIGKILL)
            driver.communicate()
            return None
        return self._ended(driver)

    def run_scheduled(self, seconds: float) -> int:
        """A scheduler that is killed under the driver and its workers; the driver must say so and end by itself."""
        file = self.folder / "scheduler.json"
        file.unlink(missing_ok=True)
        dask = [sys.executable, "-m", "distributed.cli.dask_scheduler"]
        scheduler = self._start([*dask, "--port", "0", "--no-dashboard", "--scheduler-file", str(file)])
        deadline = time.monotonic() + 120
        while not file.exists() or not file.read_text().strip():
            assert time.monotonic() < deadline, "no scheduler"
            time.sleep(0.1)
        address = yaml.safe_load(file.read_text())["address"]
        worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
        others = [self._start([*worker, "--preload", str(self.folder / "faulty.py")]) for _ in range(2)]
        driver = self._start([sys.executable, "scheduled.py", address, str(self.block)])
        if self._wait_for_work(driver):
            time.sleep(seconds)
            self._count("scheduler")
        os.killpg(scheduler.pid, signal.SIGKILL)
        output, errors = driver.communicate(timeout=240)
        self.said.append(output + errors)
        for process in (*others, scheduler):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        return driver.returncode

    def damage(self) -> None:
        """Cut one chunk of the trials short, and flip a bit in another; what they held is forgiven."""
        import numpy as np
        import zarr

        names = [name for name, each in VARIABLES["trials"].items() if "trial" in each.dims]
        files = [
            path
            for name in names
            if (self.store / "trials" / name / "c").exists()
            for path in sorted((self.store / "trials" / name / "c").rglob("*"))
            if path.is_file() and not path.name.endswith(".partial")
        ]
        if len(files) < 2:
            return
        status = np.asarray(Location.of(self.store).open("r")["trials/status"][...])  # type: ignore[index]
        assert isinstance(Location.of(self.store).open("r")["trials/status"], zarr.Array)
        lost: dict[tuple[int, ...], int] = {}
        for kind, path in zip(("truncated", "flipped"), self.dice.sample(files, 2), strict=True):
            content = bytearray(path.read_bytes())
            if kind == "truncated":
                path.write_bytes(content[: len(content) // 2])
            else:
                content[self.dice.randrange(len(content))] ^= 1 << self.dice.randrange(8)
                path.write_bytes(content)
            parts = path.relative_to(self.store / "trials").parts
            i, j, k = (int(each) for each in parts[2:5])  # a chunk is one cell here
            lost[i, j, k] = int((status[i, j, k] != 0).any(axis=0).sum())
            self._count(kind)
        if self.begun > self._begun_at_damage:  # else what was damaged last has not been noticed yet
            self.forgiven += sum(lost.values())
        self._begun_at_damage = self.begun

    def finish(self) -> None:
        """Undisturbed runs until nothing is missing."""
        self.rate = 0.0
        command = [sys.executable, "driver.py", "run", "study.yaml", "--store", "s", "--profile", "local.yaml"]
        done = subprocess.run(
            [*command, "--block", str(self.block)],
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=900,
        )
        assert done.returncode == 0, done.stderr
        self.said.append(done.stderr)

    def _environment(self) -> dict[str, str]:
        return os.environ | {
            "TORTURE_RATE": str(self.rate),
            "TORTURE_LOG": str(self.folder / "log"),
            "TORTURE_ROLE": "worker",
            "PYTHONPATH": str(self.folder),
            "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s",
        }

    def _start(self, command: list[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def _wait_for_work(self, driver: subprocess.Popen[str]) -> bool:
        """Until a first block is begun; False if the driver ends before."""
        log = self.folder / "log"
        before = log.stat().st_size if log.exists() else 0
        deadline = time.monotonic() + 240
        while not log.exists() or log.stat().st_size <= before:
            if driver.poll() is not None:
                return False
            assert time.monotonic() < deadline, "no work was begun"
            time.sleep(0.05)
        return True

    def _ended(self, driver: subprocess.Popen[str]) -> int:
        output, errors = driver.communicate(timeout=240)
        self.said.append(output + errors)
        return driver.returncode

    def _children(self, driver: subprocess.Popen[str]) -> list[tuple[str, ...]]:
        found = []
        for child in psutil.Process(driver.pid).children():
            try:
                found.append((str(child.pid), *child.cmdline()))
            except psutil.Error:
                continue
        return found

    def _kill(self, pid: int, kind: str) -> None:
        try:
            os.kill(pid, signal.SIGKILL)
            self._count(kind)
        except ProcessLookupError:
            return

    def _count(self, kind: str) -> None:
        self.faults[kind] = self.faults.get(kind, 0) + 1
