"""On a real SLURM: whatever happens to the jobs, the store is that of an undisturbed run, bit for bit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from ntkmc.execution.driver import drive
from ntkmc.execution.profiles import connect, load_profile
from ntkmc.experiment.study.loading import parse_study
from rig import squeue, wait_until
from stores import assert_equal_bits, trials_of

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

RIG = Path(__file__).parent

# Some 15 core-seconds in blocks of a second: long enough to be killed in the middle. LONG is for walltimes, which
# SLURM counts in minutes.
STUDY: dict[str, Any] = {
    "name": "rig",
    "seed": 11,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere", "gaussian"], "d": [30], "n": [40, 60], "depth": [2, 3]},
    "trials": 4000,
    "event": {"lambda-0": [0.2, 0.5], "delta": 0.1},
}
LONG = STUDY | {"trials": 30000}


NTKMC = [sys.executable, "-m", "ntkmc"]


@pytest.fixture(scope="session")
def slurm() -> Iterator[None]:
    if os.getuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("needs root on Debian, to bring up a SLURM of its own")
    running = (
        subprocess.run(["scontrol", "ping"], capture_output=True, check=False) if shutil.which("scontrol") else None
    )
    up = subprocess.run([RIG / "up"], capture_output=True, text=True, check=False)
    if up.returncode:
        pytest.skip(f"no SLURM: {up.stderr.strip()}")
    yield
    if running is None or running.returncode:
        subprocess.run([RIG / "down"], check=False)


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of a run on this machine that nobody disturbed; shorter studies have its first trials."""
    path = tmp_path_factory.mktemp("undisturbed") / "s"
    with connect(load_profile("local")) as client:
        assert not drive(parse_study(LONG, trusted=True), path, client).failed
    return path


@pytest.fixture
def place(slurm: None, tmp_path: Path) -> Iterator[Path]:
    """A folder with the study; no job that a test leaves behind disturbs the next."""
    (tmp_path / "rig.yaml").write_text(yaml.safe_dump(STUDY))
    yield tmp_path
    jobs = subprocess.run(["squeue", "-h", "-o", "%A"], capture_output=True, text=True, check=True).stdout.split()
    if jobs:
        subprocess.run(["scancel", *jobs], check=False)
        wait_until(lambda: not squeue(), 60, "the queue is empty")


def ntkmc(place: Path, *arguments: str, code: int = 0) -> str:
    done = subprocess.run([*NTKMC, *arguments], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr, logs(place))
    return done.stdout + done.stderr


def logs(place: Path) -> str:
    return "\n".join(f"--- {log.name}\n{log.read_text()[-3000:]}" for log in sorted(place.glob("*.jobs/logs/*")))


def status(place: Path) -> str:
    return ntkmc(place, "status", "s")


def submitted(place: Path) -> list[str]:
    """Ids of the drivers, in their order."""
    return [entry["id"] for entry in json.loads((place / "s.jobs/drivers.json").read_text())["jobs"]]


def workers(place: Path) -> list[str]:
    """Ids of worker jobs that run."""
    return [line.split()[0] for line in squeue("--states=RUNNING") if line.split()[1] == "ntkmc-s"]


def trials_done(place: Path) -> int:
    """By the journal and the store, as `status` counts them."""
    text = status(place) if (place / "s/zarr.json").exists() else ""
    counted = text.partition("cells, ")[2].partition("/")[0].replace(",", "")
    return int(counted) if counted else 0


def _more_than(place: Path, trials: int) -> bool:
    return trials_done(place) > trials


def profile(place: Path, name: str = "mine", **changes: Any) -> str:
    (place / f"{name}.yaml").write_text(yaml.safe_dump({"extends": "slurm", **changes}))
    return f"{name}.yaml"


def submit(place: Path, named: str = "slurm", *options: str) -> str:
    ntkmc(place, "submit", "rig.yaml", "--store", "s", "--profile", named, *options)
    return submitted(place)[-1]


def await_done(place: Path, seconds: float = 400) -> None:
    wait_until(lambda: "s: done" in status(place), seconds, "the study is done")
    wait_until(lambda: not squeue(), 60, "the jobs are gone")


def assert_undisturbed(place: Path, undisturbed: Path) -> None:
    assert_equal_bits(trials_of(undisturbed), trials_of(place / "s"))


def test_submit_to_done(place: Path, undisturbed: Path) -> None:
    """The shipped profile, unedited, in a full queue: pending with the queue's reason, running, done."""
    blocker = subprocess.run(
        ["sbatch", "--parsable", "-N2", "--exclusive", "--output=/dev/null", "--wrap", "sleep 600"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    wait_until(lambda: any(blocker in line and "RUNNING" in line for line in squeue()), 30, "the queue is full")
    number = submit(place)
    wait_until(lambda: f"job {number}: PENDING (Resources)" in status(place), 60, "pending")
    assert "not there yet" in status(place)
    refused = ntkmc(place, "submit", "rig.yaml", "--store", "s", "--profile", "slurm", code=2)
    assert f"job {number} drives it already" in refused
    impatient = profile(place, "impatient", scaling={"jobs": 1, "pending": "5 s"})
    waited = ntkmc(place, "run", "rig.yaml", "--store", "s", "--profile", impatient, code=3)
    assert "no job has started" in waited
    assert "PENDING" in waited
    subprocess.run(["scancel", blocker], check=True)
    wait_until(lambda: f"job {number}: RUNNING on rig" in status(place), 60, "running")
    wait_until(lambda: "trials/s, expected to end" in status(place), 200, "a rate")
    assert "1 RUNNING on rig" in status(place)
    await_done(place)
    assert f"job {number}: COMPLETED" in status(place)
    (log,) = (place / "s.jobs/logs").glob(f"*driver-{number}.err")
    assert "ssh -N -L" in log.read_text()
    assert_undisturbed(place, undisturbed)


def test_two_nodes(place: Path, undisturbed: Path) -> None:
    """Two jobs of three workers, on nodes of four CPUs; a job killed in the middle is replaced."""
    named = profile(place, scaling={"jobs": 2}, arguments={"cores": 3})
    process = subprocess.Popen(
        [*NTKMC, "run", "rig.yaml", "--store", "s", "--profile", named], cwd=place, stderr=subprocess.PIPE, text=True
    )
    wait_until(lambda: len(workers(place)) == 2, 120, "two jobs run")
    assert {line.split()[-1] for line in squeue()} == {"rig1", "rig2"}
    wait_until(lambda: trials_done(place) > 0, 200, "results")
    (first, _) = workers(place)
    subprocess.run(["scancel", "--full", "-s", "KILL", first], check=True)
    wait_until(lambda: first not in workers(place) and len(workers(place)) == 2, 60, "another job in its place")
    _, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert f"lost a worker job, which is replaced: job {first}" in err
    assert_undisturbed(place, undisturbed)


def test_allocation(place: Path, undisturbed: Path) -> None:
    """One job of six processes over two nodes: scheduler, driver, four workers."""
    named = profile(place, extends="slurm-allocation", arguments={"cores": 4})
    number = submit(place, named)
    wait_until(lambda: any(line.split()[-1] == "rig[1-2]" for line in squeue()), 60, "two nodes")
    await_done(place)
    assert f"job {number}: COMPLETED" in status(place)
    (log,) = (place / "s.jobs/logs").glob(f"*driver-{number}.err")
    assert "rig: 4 cells, 4 worker threads" in log.read_text()
    assert not list((place / "s.jobs").glob("allocation-*"))  # the key is gone
    assert_undisturbed(place, undisturbed)


def test_walltime_ends_a_worker_in_the_middle(place: Path, undisturbed: Path) -> None:
    """Workers that do not retire in time are cut off by SLURM; the run goes on with others."""
    (place / "rig.yaml").write_text(yaml.safe_dump(LONG))
    named = profile(
        place, scaling={"jobs": 1}, arguments={"walltime": "00:01:00", "worker_extra_args": ["--lifetime", "1h"]}
    )
    told = ntkmc(place, "run", "rig.yaml", "--store", "s", "--profile", named)
    assert "TIMEOUT" in told
    assert_undisturbed(place, undisturbed)


def test_driver_follows_itself(place: Path, undisturbed: Path) -> None:
    """A driver with a walltime of 90 s stops before it, and submits the next, until the study is done."""
    (place / "rig.yaml").write_text(yaml.safe_dump(LONG))
    named = profile(place, scaling={"jobs": 1}, submission={"arguments": {"walltime": "00:01:30"}})
    submit(place, named, "--chain", "9")
    await_done(place, 600)
    assert len(submitted(place)) > 1
    assert "interrupted; what is finished is in" in logs(place)
    assert "DUE TO TIME LIMIT" not in "".join(log.read_text() for log in place.glob("s.jobs/logs/*driver*"))
    assert_undisturbed(place, undisturbed)


def test_driver_is_killed_twice(place: Path, undisturbed: Path) -> None:
    """SIGKILL to all of the driver's job; its workers end by themselves, and another submission goes on."""
    before = 0
    for _ in range(2):
        number = submit(place)
        wait_until(partial(_more_than, place, before), 200, "progress")
        subprocess.run(["scancel", "--full", "-s", "KILL", number], check=True)
        wait_until(lambda: not squeue(), 120, "the workers have noticed")
        before = trials_done(place)
        assert "the study is not done, ntkmc submit goes on" in status(place)
    submit(place)
    await_done(place)
    assert_undisturbed(place, undisturbed)


def test_cancel(place: Path, undisturbed: Path) -> None:
    """Driver and workers end, the driver does not follow itself, and no finished block is lost."""
    number = submit(place)
    wait_until(lambda: trials_done(place) > 0, 200, "progress")
    before = trials_done(place)
    told = ntkmc(place, "cancel", "s")
    assert f"job {number}" in told
    wait_until(lambda: not squeue(), 30, "the jobs are gone")
    assert trials_done(place) >= before
    assert submitted(place) == [number]
    submit(place)
    await_done(place)
    assert_undisturbed(place, undisturbed)


def test_requeued(place: Path, undisturbed: Path) -> None:
    """A preempted driver is put back into the queue by SLURM, under the same number, and resumes."""
    number = submit(place)
    wait_until(lambda: trials_done(place) > 0, 200, "progress")
    subprocess.run(["scontrol", "requeue", number], check=True)
    wait_until(lambda: f"job {number}: RUNNING" in status(place), 200, "runs again")
    await_done(place)
    assert submitted(place) == [number]
    assert_undisturbed(place, undisturbed)


@pytest.mark.parametrize("verb", ["run", "submit"])
def test_wrong_partition(place: Path, verb: str) -> None:
    """The queue's own words, with the line to write; nothing is left in the queue, and no store is made."""
    named = profile(place, arguments={"queue": "nowhere"})
    told = ntkmc(place, verb, "rig.yaml", "--store", "s", "--profile", named, code=2)
    assert "invalid partition specified: nowhere" in told
    assert "arguments: {queue: NAME}  # sinfo lists them" in told
    assert "Traceback" not in told
    assert not squeue()
    assert not (place / "s").exists()


def test_workers_that_cannot_start(place: Path) -> None:
    """A job that fails at once is not submitted for ever: the error names its log and what stands there."""
    named = profile(place, arguments={"job_script_prologue": ["no-such-module load python", "exit 1"]})
    told = ntkmc(place, "run", "rig.yaml", "--store", "s", "--profile", named, code=3)
    assert "jobs ended before a worker came" in told
    assert "FAILED" in told
    assert "s.jobs/logs/ntkmc-s-" in told
    assert not squeue()
