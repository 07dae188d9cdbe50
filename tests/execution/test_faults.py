"""Faults, injected: whatever happens, what is finished stays, and the rest gives the same bits."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ntkmc.errors import ExecutionError
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, CellFailed, Event
from ntkmc.execution.profiles import Profile, connect
from ntkmc.execution.signals import deferred_signals
from ntkmc.experiment.store.location import DirectoryBlobs
from ntkmc.experiment.study.loading import parse_study
from stores import assert_equal_bits, trials_of

TRIALS = 150


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    from conftest import SMALL

    path = tmp_path_factory.mktemp("undisturbed") / "s"
    assert not drive(parse_study(SMALL | {"trials": TRIALS}, trusted=True), path, client).failed
    return path


def test_a_worker_is_killed(undisturbed: Path, tmp_path: Path, small: dict[str, Any]) -> None:
    """SIGKILL to a worker process in the middle of its block: the nanny starts another, nothing is lost or doubled."""
    local = {"n_workers": 2, "threads_per_worker": 1, "processes": True}
    killed: list[int] = []
    counted: list[int] = []

    def kill_once(event: Event) -> None:
        if isinstance(event, BlockDone):
            counted.append(event.trials)
            if len(counted) == 10:
                killed.append(pids[0])
                os.kill(pids[0], signal.SIGKILL)

    with connect(Profile(cluster="distributed.LocalCluster", arguments=local, dashboard=None)) as two:
        pids = list(two.run(os.getpid).values())
        outcome = drive(
            parse_study(small | {"trials": TRIALS}, trusted=True), tmp_path / "s", two, [kill_once], block_length=25
        )
    assert killed
    assert not outcome.failed
    assert sum(counted) == 12 * TRIALS  # a block that ran twice is booked once
    assert_equal_bits(trials_of(undisturbed), trials_of(tmp_path / "s"))


def start(folder: Path) -> subprocess.Popen[str]:
    """`ntkmc run study.yaml` in small blocks, in a session of its own, and wait for its first results."""
    command = [sys.executable, "-m", "ntkmc", "run", "study.yaml", "--store", "s", "--block", "10"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 120
    while len(list((folder / "s" / "journal").glob("*/*.npz"))) < 5:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process


def finish(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ntkmc", "run", "study.yaml", "--store", "s"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_no_request_to_stop_is_lost(tmp_path: Path, client: Any, small: dict[str, Any]) -> None:
    """An interrupt that arrives where all errors are swallowed still stops the run, and handlers are as before."""
    before = signal.getsignal(signal.SIGINT)

    def interrupted_inside_a_library(event: Event) -> None:
        if isinstance(event, BlockDone):
            with contextlib.suppress(BaseException):
                os.kill(os.getpid(), signal.SIGINT)
                time.sleep(0.01)

    study = parse_study(small | {"trials": TRIALS}, trusted=True)
    counted: list[int] = []
    count = lambda event: counted.append(event.trials) if isinstance(event, BlockDone) else None  # noqa: E731
    outcome = drive(study, tmp_path / "s", client, [count, interrupted_inside_a_library], block_length=10)
    assert outcome.interrupted
    assert counted == [10]
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_request_acts_at_once() -> None:
    with deferred_signals() as interruption:
        assert not interruption.requested
        signal.raise_signal(signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


@pytest.mark.long
def test_everything_is_killed(undisturbed: Path, tmp_path: Path, small: dict[str, Any]) -> None:
    """SIGKILL to the driver and all its workers at once; one command goes on."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(small | {"trials": TRIALS}))
    process = start(tmp_path)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    again = finish(tmp_path)
    assert again.returncode == 0, again.stderr
    assert "resuming" in again.stderr
    assert_equal_bits(trials_of(undisturbed), trials_of(tmp_path / "s"))


@pytest.mark.long
@pytest.mark.parametrize("which", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_is_quiet_and_resumable(
    undisturbed: Path, tmp_path: Path, small: dict[str, Any], which: signal.Signals
) -> None:
    """Ctrl-C reaches the whole process group, as in a terminal; a batch system's SIGTERM reaches the driver."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(small | {"trials": TRIALS}))
    process = start(tmp_path)
    if which is signal.SIGINT:
        os.killpg(process.pid, which)
    else:
        process.send_signal(which)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "to continue, repeat: ntkmc run study.yaml --store s" in err
    assert len(err.splitlines()) <= 4, err
    assert finish(tmp_path).returncode == 0
    assert_equal_bits(trials_of(undisturbed), trials_of(tmp_path / "s"))


@pytest.mark.long
def test_a_full_disk(
    undisturbed: Path, tmp_path: Path, client: Any, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes fail with ENOSPC: the cells concerned are named and set aside; with room again, one command goes on."""
    study = parse_study(small | {"trials": TRIALS}, trusted=True)
    original = DirectoryBlobs.put
    calls: list[int] = []

    def put(self: DirectoryBlobs, name: str, content: bytes) -> None:
        calls.append(1)
        if len(calls) > 10:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, name, content)

    events: list[Event] = []
    with monkeypatch.context() as patched:
        patched.setattr(DirectoryBlobs, "put", put)
        outcome = drive(study, tmp_path / "s", client, [events.append], block_length=50)
    assert outcome.failed
    assert all("No space left on device" in reason for reason in outcome.failed.values())
    assert {event.cell for event in events if isinstance(event, CellFailed)} == set(outcome.failed)
    assert sum(isinstance(event, BlockDone) for event in events) == 10
    assert not drive(study, tmp_path / "s", client).failed
    assert_equal_bits(trials_of(undisturbed), trials_of(tmp_path / "s"))


@pytest.mark.long
def test_the_cluster_goes_away(undisturbed: Path, tmp_path: Path, client: Any, small: dict[str, Any]) -> None:
    """The scheduler dies: the run says so instead of hanging, and another cluster finishes it."""
    from distributed import Client, LocalCluster

    study = parse_study(small | {"trials": TRIALS}, trusted=True)

    def close_after_five(event: Event) -> None:
        if isinstance(event, BlockDone):
            seen.append(event)
            if len(seen) == 5:
                cluster.close()

    seen: list[Event] = []
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as doomed,
        pytest.raises(ExecutionError, match="run again to resume"),
    ):
        drive(study, tmp_path / "s", doomed, [close_after_five], block_length=20)
    assert not drive(study, tmp_path / "s", client).failed
    assert_equal_bits(trials_of(undisturbed), trials_of(tmp_path / "s"))
