"""One writer a store: on one host by the kernel's lock, elsewhere by a sign of life."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ntkmc.errors import StoreError
from ntkmc.experiment.store import lease as module
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import LEASE

QUICK: dict[str, Any] = {"beat": 0.05, "patience": 0.4}

HOLD = """
import sys, time
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import LEASE
with Lease(sys.argv[1]):
    print("held", flush=True)
    time.sleep(100)
"""


@contextmanager
def elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lease."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def written(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / ".lease").read_bytes())
    return content


def foreign(path: Path, count: int = 1, name: str = "theirs") -> None:
    """What a holder on another host leaves in the file."""
    record = {"id": name, "host": "node7", "pid": 4711, "kernel": "another", "beat": count}
    (path / ".lease").write_bytes(json.dumps(record).encode().ljust(512))


def test_a_second_writer_is_told_who_is_first(tmp_path: Path) -> None:
    with (
        elsewhere(tmp_path) as first,
        pytest.raises(StoreError, match=rf"another run is writing to this store \(process {first.pid} on "),
        Lease(tmp_path),
    ):
        pass


def test_a_dead_holder_is_not_waited_for(tmp_path: Path) -> None:
    """SIGKILL: the kernel releases the lock at once, and nobody is watched."""
    with elsewhere(tmp_path) as first:
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        assert written(tmp_path)["pid"] == first.pid
        said: list[str] = []
        with Lease(tmp_path, said.append):
            assert written(tmp_path)["pid"] == os.getpid()
        assert not said


def test_a_released_lease_is_free(tmp_path: Path) -> None:
    with Lease(tmp_path):
        pass
    assert written(tmp_path) == {}
    with Lease(tmp_path, patience=100.0):
        pass


def test_another_host_that_lives_is_respected(tmp_path: Path) -> None:
    foreign(tmp_path)
    stop = threading.Event()

    def live() -> None:
        count = 1
        while not stop.wait(0.05):
            count += 1
            foreign(tmp_path, count)

    thread = threading.Thread(target=live)
    thread.start()
    try:
        with pytest.raises(StoreError, match="process 4711 on node7"), Lease(tmp_path, **QUICK):
            pass
    finally:
        stop.set()
        thread.join()


def test_another_host_that_is_silent_is_succeeded(tmp_path: Path) -> None:
    foreign(tmp_path)
    said: list[str] = []
    start = time.monotonic()
    with Lease(tmp_path, said.append, **QUICK):
        assert written(tmp_path)["pid"] == os.getpid()
    assert time.monotonic() - start >= QUICK["patience"]
    assert said == [f"{tmp_path}: process 4711 on node7 may still be writing; watching it for 0.4 s"]


def test_a_holder_that_slept_does_not_write(tmp_path: Path) -> None:
    """Somebody took over meanwhile: the sleeper finds out before its next write, and leaves the lease alone."""
    with Lease(tmp_path, beat=100.0) as lease:
        lease.confirm()
        foreign(tmp_path, name="successor")
        with pytest.raises(StoreError, match="took this store over"):
            lease.confirm()
    assert written(tmp_path)["id"] == "successor"


def test_it_beats(tmp_path: Path) -> None:
    with Lease(tmp_path, beat=0.02):
        first = written(tmp_path)["beat"]
        deadline = time.monotonic() + 30
        while written(tmp_path)["beat"] < first + 3:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """There the sign of life decides, even on one host."""

    def flock(*arguments: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    with (
        Lease(tmp_path, **QUICK),
        pytest.raises(StoreError, match="another run is writing"),
        Lease(tmp_path, beat=0.2, patience=5.0),
    ):
        pass


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written"), Lease(tmp_path / "missing"):
        pass


def test_an_object_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """No locks there: of several that start at once one has it, and a dead one is succeeded."""
    monkeypatch.setattr(module, "_kernel", lambda: "same")
    address = "memory://lease/run.zarr"
    outcomes: list[str] = []
    over = threading.Event()

    def attempt() -> None:
        try:
            with Lease(address, beat=0.3, patience=1.5):
                outcomes.append("held")
                over.wait(20)
        except StoreError:
            outcomes.append("refused")

    threads = [threading.Thread(target=attempt) for _ in range(4)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 20
    while len(outcomes) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    over.set()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["held", "refused", "refused", "refused"]


def test_a_file_that_is_removed_under_a_newcomer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Opened before, locked after its holder removed it: the newcomer notices, and locks the file that is there."""
    holder = Lease(tmp_path)
    holder.__enter__()
    holder.remove = True
    real = fcntl.flock

    def late(*arguments: Any) -> None:
        monkeypatch.setattr(fcntl, "flock", real)
        holder.__exit__()
        real(*arguments)

    monkeypatch.setattr(fcntl, "flock", late)
    with Lease(tmp_path):
        assert (tmp_path / LEASE).exists()
        with pytest.raises(StoreError, match="another run is writing"), Lease(tmp_path):
            pass
