"""`submit`, `status` and `cancel` against a queue of shell scripts that answer as SLURM's commands do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from calling import called
from ntkmc import run as run_study
from ntkmc.execution.batch.status import ProgressLog, run_status
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.events import BlockDone, CellFailed, RunFinished, RunStarted
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.measurements import MeasurementKey

QUEUE = {
    "sbatch": 'if [ -e refuse ]; then cat refuse >&2; exit 1; fi; cat "$1" > submitted; echo "Submitted batch job 7"',
    "squeue": "cat jobs 2>/dev/null; exit 0",
    "scancel": 'echo "$@" >> cancelled; for job in "$@"; do sed -i "/^$job|/d" jobs; done',
}


@pytest.fixture
def place(tmp_path: Path, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a study, in which `sbatch` says 7 and `squeue` shows the file `jobs`."""
    (tmp_path / "bin").mkdir()
    for name, script in QUEUE.items():
        command = tmp_path / "bin" / name
        command.write_text(f"#!/bin/sh\n{script}\n")
        command.chmod(0o700)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


Call = Callable[..., str]


@pytest.fixture
def ntkmc(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """`ntkmc arguments ...` in this process: what it says."""

    def call(*arguments: str, code: int = 0) -> str:
        ended = called(monkeypatch, *arguments)
        captured = capsys.readouterr()
        assert ended == code, captured
        return captured.out + captured.err

    return call


SUBMIT = ("submit", "study.yaml", "--store", "s.zarr", "--profile", "slurm")


@pytest.mark.long
def test_life_of_a_submission(ntkmc: Call, place: Path, client: Any, small: dict[str, Any]) -> None:
    script = ntkmc(*SUBMIT, "--dry-run")
    assert script.startswith("#!/usr/bin/env bash\n")
    assert not (place / "s.zarr.jobs").exists()

    told = ntkmc(*SUBMIT)
    assert "job 7; check it with: ntkmc status s.zarr" in told
    assert "core-hours" in told
    assert (place / "submitted").read_text() == script
    (place / "jobs").write_text("7|PENDING|Priority|\n8|RUNNING|None|other\n")
    pending = ntkmc("status", "s.zarr")
    assert "not there yet" in pending
    assert "job 7: PENDING (Priority)" in pending
    assert "job 7 drives it already: PENDING (Priority)" in ntkmc(*SUBMIT, code=2)

    run_study(parse_study(small | {"trials": 20}, trusted=True), place / "s.zarr", client=client, progress=False)
    run_study(parse_study(small, trusted=True), place / "s.zarr", client=client, progress=False)
    (place / "jobs").write_text("7|RUNNING|None|node1\n9|RUNNING|None|node2\n10|PENDING|Resources|\n")
    Workspace(place / "s.zarr").write("workers", {"jobs": ["9", "10"]})
    running = ntkmc("status", "s.zarr")
    assert "s.zarr: done" in running
    assert "12/12 cells, 720/720 trials (100%)" in running
    assert "job 7: RUNNING on node1" in running
    assert "1 RUNNING on node2, 1 PENDING (Resources)" in running

    cancelled = ntkmc("cancel", "s.zarr")
    assert "cancelled job 7, job 9, job 10" in cancelled
    assert "12/12 cells" in cancelled
    assert (place / "cancelled").read_text() == "7\n9 10\n"  # the driver first
    assert "no job was left to cancel" in ntkmc("cancel", "s.zarr")


def test_refused(ntkmc: Call, place: Path) -> None:
    (place / "refuse").write_text("sbatch: error: Batch job submission failed: Requested time limit is invalid\n")
    told = ntkmc(*SUBMIT, code=2)
    assert told.splitlines()[-1] == (
        "ntkmc: profile: the queue refused: Batch job submission failed: Requested time limit is invalid; "
        "write in your profile: limits: {walltime: HH:MM:SS}"
    )
    assert "use ntkmc run" in ntkmc("submit", "study.yaml", "--profile", "local", code=2)
    assert "nothing was submitted" in ntkmc("cancel", "s.zarr", code=2)
    assert "no store, and nothing was submitted for one" in ntkmc("status", "s.zarr", code=2)


def test_no_jobs_for_a_store_that_another_run_holds(
    ntkmc: Call, place: Path, client: Any, small: dict[str, Any]
) -> None:
    run_study(parse_study(small, trusted=True), place / "s.zarr", client=client, progress=False)
    with Lease(place / "s.zarr"):
        said = ntkmc("run", "study.yaml", "--store", "s.zarr", "--profile", "slurm", code=2)
    assert "another run is writing to this store" in said
    assert not (place / "submitted").exists()


@pytest.mark.long
def test_run_status(place: Path, client: Any, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the trials: counts come from the store, the rate from the driver's log, errors from the jobs' logs."""
    path, workspace = place / "s.zarr", Workspace(place / "s.zarr")
    run_study(parse_study(small | {"trials": 30}, trusted=True), path, client=client, progress=False)
    document = json.loads((path / "zarr.json").read_text())
    document["attributes"]["study"]["trials"] = 60
    (path / "zarr.json").write_text(json.dumps(document))
    workspace.prepare()
    clock = [1e9]
    monkeypatch.setattr("time.time", lambda: clock[0])
    record = ProgressLog(workspace)
    record(RunStarted("small", 12, 0, 720, 1, ""))
    for _ in range(10):
        clock[0] += 3.0
        record(BlockDone("a cell", 36, 0, 1.0))
        record(BlockDone("a cell", 36, 0, 1.0, MeasurementKey("finite_width", 64)))
    status = run_status(path)
    assert (status.cells_done, status.cells, status.trials_done, status.trials) == (0, 12, 360, 720)
    assert status.rate == pytest.approx(12.0)
    assert status.seconds_left == pytest.approx(30.0)
    clock[0] += 33.0  # a silent driver: the rate falls
    assert run_status(path).rate == pytest.approx(6.0)
    document["attributes"]["study"]["trials"] = {"at-least": 30, "at-most": 60, "half-width": 0.25}
    (path / "zarr.json").write_text(json.dumps(document))
    status = run_status(path)
    assert status.cells_done == 5  # the others are not precise enough
    assert status.trials_left == 7 * 30
    record(CellFailed("a cell", "too large"))
    assert run_status(path).error == "cell a cell failed: too large"
    (workspace.logs / "ntkmc-s-9.err").write_text("fine\nslurmstepd: error: *** JOB 9 CANCELLED ***\nfine\n")
    assert run_status(path).error == f"{workspace.logs}/ntkmc-s-9.err:2: slurmstepd: error: *** JOB 9 CANCELLED ***"
    record(RunFinished(interrupted=True))
    assert run_status(path).seconds_left is None


def test_no_store_at_all(ntkmc: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no stores in data/results" in ntkmc("status")
    (tmp_path / "data/results/foreign.zarr").mkdir(parents=True)
    (tmp_path / "data/results/foreign.zarr/zarr.json").write_text("{}")
    assert "foreign.zarr" in ntkmc("status")
