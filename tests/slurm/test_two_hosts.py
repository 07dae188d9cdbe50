"""Two hosts for real: two network namespaces with addresses of their own, and a link between them that can be cut."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ntkmc.execution.driver import drive
from ntkmc.execution.profiles import connect, load_profile
from ntkmc.execution.security import own_security, write_certificates
from ntkmc.experiment.study.loading import parse_study
from rig import wait_until
from stores import assert_equal_bits, trials_of

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]

HERE, THERE = "ntkmc-here", "ntkmc-there"
ADDRESS = {HERE: "10.203.77.1", THERE: "10.203.77.2"}
SCHEDULER = f"tls://{ADDRESS[HERE]}:8786"
# As the shipped profiles have it: a link may be away for five minutes.
PATIENT = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "300s", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
CUT = 60.0  # seconds

STUDY: dict[str, Any] = {
    "name": "hosts",
    "seed": 12,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere"], "d": [30], "n": [40, 60], "depth": [2, 3]},
    "trials": 6000,
    "event": {"lambda-0": [0.2, 0.5], "delta": 0.1},
}


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@pytest.fixture
def hosts() -> Iterator[None]:
    if os.getuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2, to make two network namespaces")
    try:
        for host in (HERE, THERE):
            ip("netns", "add", host)
        ip("link", "add", "veth-here", "netns", HERE, "type", "veth", "peer", "name", "veth-there", "netns", THERE)
    except subprocess.CalledProcessError as error:
        _remove()
        pytest.skip(f"network namespaces cannot be made here: {error.stderr.decode().strip()}")
    for host, device in ((HERE, "veth-here"), (THERE, "veth-there")):
        ip("-n", host, "address", "add", f"{ADDRESS[host]}/24", "dev", device)
        ip("-n", host, "link", "set", device, "up")
        ip("-n", host, "link", "set", "lo", "up")
    yield
    _remove()


def _remove() -> None:
    for host in (HERE, THERE):
        subprocess.run(["ip", "netns", "delete", host], capture_output=True, check=False)


def on(host: str, *command: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *command],
        cwd=folder,
        env=os.environ | PATIENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def stop(process: subprocess.Popen[str]) -> str:
    process.terminate()
    try:
        return process.communicate(timeout=30)[0]
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()[0]


INTRUDER = """
import sys
from distributed import Client
from distributed.security import Security
address, kind = sys.argv[1:]
security = Security.temporary() if kind == "stranger" else None
try:
    Client(address, security=security, timeout=5)
except Exception as error:
    print("refused", type(error).__name__)
else:
    print("ADMITTED")
"""


def test_over_a_network(hosts: None, tmp_path: Path) -> None:
    """Workers on the other host, over TLS; strangers stay outside; a link that is away for a minute costs time."""
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (tmp_path / "intruder.py").write_text(INTRUDER)
    files = write_certificates(own_security(), tmp_path / "tls")
    tls = ["--tls-ca-file", files.ca, "--tls-cert", files.cert, "--tls-key", files.key]
    mine = {"extends": "scheduler", "arguments": {"address": SCHEDULER}, "tls": files.model_dump()}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(mine))
    scheduler = on(
        HERE, sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", ADDRESS[HERE], "--port", "8786",
        "--protocol", "tls", "--no-dashboard", *tls, folder=tmp_path,
    )  # fmt: skip
    worker = on(
        THERE, sys.executable, "-m", "distributed.cli.dask_worker", SCHEDULER, "--host", ADDRESS[THERE],
        "--nthreads", "1", "--nworkers", "1", "--dashboard-address", "127.0.0.1:0", "--death-timeout", "600", *tls,
        folder=tmp_path,
    )  # fmt: skip
    run = on(
        HERE, sys.executable, "-m", "ntkmc", "run", "study.yaml", "--store", "s", "--profile", "mine.yaml",
        folder=tmp_path,
    )  # fmt: skip
    try:
        journal = tmp_path / "s" / "journal"
        wait_until(lambda: run.poll() is not None or list(journal.glob("*/*.npz")), 180, "blocks are finished")
        assert run.poll() is None, run.communicate()[0]
        for kind, address in (("plain", SCHEDULER.replace("tls", "tcp")), ("stranger", SCHEDULER)):
            intruder = on(THERE, sys.executable, "intruder.py", address, kind, folder=tmp_path)
            assert "refused" in intruder.communicate(timeout=120)[0], kind
        assert run.poll() is None, "the study is too small: it ended before the link was cut"
        ip("-n", THERE, "link", "set", "veth-there", "down")
        time.sleep(CUT)
        assert run.poll() is None, run.communicate()[0]
        ip("-n", THERE, "link", "set", "veth-there", "up")
        told, _ = run.communicate(timeout=600)
        assert run.returncode == 0, told
        assert worker.poll() is None, "the worker that was cut off is the one that went on"
    finally:
        for process in (run, worker, scheduler):
            stop(process)
    with connect(load_profile("local")) as client:
        assert not drive(parse_study(STUDY, trusted=True), tmp_path / "undisturbed", client).failed
    assert_equal_bits(trials_of(tmp_path / "undisturbed"), trials_of(tmp_path / "s"))
