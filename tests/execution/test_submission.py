"""Batch scripts as text, for queues that cannot run here too, against the grammar of their manuals."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from ntkmc.errors import InputError
from ntkmc.execution.batch.driver_job import Submission, batch_script
from ntkmc.execution.batch.schedulers import DIALECTS
from ntkmc.execution.batch.worker_jobs import job_arguments
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.job_resources import Layout
from ntkmc.execution.profile_schema import Limits, Profile, cluster_class, load_profile
from ntkmc.experiment.store.location import Location

LAYOUT = Layout(jobs=3, workers=4, worker_bytes=2 * 2**30, walltime=7200, driver=20000, others=1, longest=1.0)

# One directive of each queue's manual page; a job's name begins with a letter, and has no character that one forbids.
GRAMMAR = {
    "slurm": r"#SBATCH (-J [A-Za-z][\w.-]*|-[eo] /\S+|-n \d+|-t \d+:\d\d:\d\d|--[a-z-]+(=\S+)?|-[pA] \S+)",
    "pbs": r"#PBS (-N [A-Za-z][\w.-]*|-[eo] /\S+/|-l select=\d+:ncpus=\d+:mem=\d+[kMG]?B|-l walltime=\d+:\d\d:\d\d|"
    r"-r [yn]|-[qA] \S+)",
    "lsf": r"#BSUB (-J [A-Za-z][\w.-]*|-[eo] /\S+|-n \d+|-M \d+|-W \d+:\d\d|-R \"span\[hosts=1\]\"|-r|-q \S+|"
    r"-P \"\S+\")",
    "sge": r"#\$ (-N [A-Za-z][\w.-]*|-[eo] /\S+/|-l \w+=\d+[MG]|-l h_rt=\d+:\d\d:\d\d|-cwd|-j y|-r y|-[qP] \S+|"
    r"-pe \w+ \d+)",
}
QUEUES = sorted(GRAMMAR)


def submission(tmp_path: Path, **changes: object) -> Submission:
    fields = {
        "study": tmp_path / "my study.yaml",
        "store": Location.of(tmp_path / "s.zarr"),
        "profile": "slurm",
        "folder": tmp_path,
        "python": "/opt/python",
    }
    return Submission(**fields | changes)  # type: ignore[arg-type]


def directives(script: str) -> list[str]:
    return [line for line in script.splitlines() if re.match(r"#(SBATCH|PBS|BSUB|\$)", line)]


def valid_bash(script: str) -> bool:
    return subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0


@pytest.mark.parametrize("queue", QUEUES)
def test_driver_scripts(queue: str, tmp_path: Path) -> None:
    script = batch_script(submission(tmp_path), load_profile(queue), LAYOUT)
    assert script == batch_script(submission(tmp_path), load_profile(queue), LAYOUT)
    assert script.startswith("#!/usr/bin/env bash\n")
    lines = directives(script)
    assert len(lines) >= 5
    for line in lines:
        assert re.fullmatch(GRAMMAR[queue], line), line
    assert any(re.search("5:3[34]", line) for line in lines)  # 20,000 s, for LSF in whole minutes, upwards
    assert "[ $SECONDS -lt 19700 ] || ask" in script
    assert f"run '{tmp_path}/my study.yaml' --store {tmp_path}/s.zarr --profile slurm &" in script
    assert "--chain 19" in script
    assert valid_bash(script)
    assert not list(tmp_path.iterdir())  # writing a script makes nothing


@pytest.mark.parametrize("queue", QUEUES)
def test_worker_scripts(queue: str, tmp_path: Path) -> None:
    """Of dask-jobqueue, from the shipped profiles: sizes, lifetimes, threads, TLS, loopback, node-local scratch."""
    profile = load_profile(queue)
    factory = cluster_class(profile.cluster)
    arguments = job_arguments(profile, LAYOUT, Workspace(tmp_path / "s.zarr"), DIALECTS[queue])
    arguments.pop("shared_temp_directory")
    script = factory.job_cls("tls://10.0.0.1:8786", name="w", **arguments).job_script()
    for line in directives(script):
        assert re.fullmatch(GRAMMAR[queue], line), line
    assert "--nthreads 1 --memory-limit 2.00GiB --nworkers 4 --nanny" in script
    assert "--lifetime 6478s --lifetime-stagger 600s" in script  # within 7200 s, 120 + 2 s before the end
    assert "--local-directory ${TMPDIR:-/tmp}" in script
    assert "--dashboard-address 127.0.0.1:0" in script
    assert "\nexport OPENBLAS_NUM_THREADS=1\n" in script
    assert "\nexport DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP=300s\n" in script
    assert profile.tls is True
    assert profile.dashboard is not None
    assert profile.dashboard.startswith("127.0.0.1:")
    assert valid_bash(script)


def test_what_a_site_sets(tmp_path: Path) -> None:
    """Queue, account and prologue hold for the driver too; sizes are its own; nothing is asked for that is not set."""
    plain = batch_script(submission(tmp_path), load_profile("slurm"), LAYOUT)
    assert not re.search(r"^#SBATCH -[pA]", plain, flags=re.M)
    mine = tmp_path / "mine.yaml"
    mine.write_text(
        "extends: slurm\narguments:\n  queue: long\n  account: abc\n  memory: 90GiB\n"
        "  job_extra_directives: [--qos=low]\n  job_script_prologue: [module load python]\n"
    )
    script = batch_script(submission(tmp_path), load_profile(str(mine)), LAYOUT)
    lines = directives(script)
    assert {"#SBATCH -p long", "#SBATCH -A abc", "#SBATCH --qos=low", "#SBATCH --requeue", "#SBATCH --mem=2G"} <= set(
        lines
    )
    assert "\nmodule load python\n" in script


def test_a_store_at_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its logs are where it was submitted from."""
    monkeypatch.chdir(tmp_path)
    script = batch_script(submission(tmp_path, store=Location.of("s3://bucket/s.zarr")), load_profile("slurm"), LAYOUT)
    assert "--store s3://bucket/s.zarr" in script
    assert f"#SBATCH -o {tmp_path}/s.zarr.jobs/logs/ntkmc-s-driver-%J.out" in directives(script)


def test_allocation_script(tmp_path: Path) -> None:
    layout = Layout(jobs=1, workers=4, worker_bytes=2**30, walltime=600, driver=600, others=2, longest=1.0)
    script = batch_script(submission(tmp_path, chain=0), load_profile("slurm-allocation"), layout)
    assert {"#SBATCH --ntasks=6", "#SBATCH --mem-per-cpu=1024M"} <= set(directives(script))
    assert not re.search("-n 1|--cpus-per-task|--mem=", script)
    assert "srun --kill-on-bad-exit=1 /opt/python -m ntkmc run" in script
    assert "[ 0 -gt 0 ]" in script


# A driver that stands in for `python -m ntkmc`: `run` ends as it is told, `submit` says that it was called.
STAND_IN = """#!/bin/bash
if [ "$3" = submit ]; then echo "SUBMIT ${*: -2}"; exit 0; fi
trap 'echo asked; exit 130' TERM
echo running
sleep "${AFTER:-0}"
[ -n "$CODE" ] && exit "$CODE"
while :; do sleep 0.05; done
"""


@pytest.mark.long
@pytest.mark.parametrize(("code", "again"), [(0, False), (2, False), (3, False), (130, True), (137, True), (1, True)])
def test_who_follows(tmp_path: Path, code: int, again: bool) -> None:
    """The script itself, run: the next is submitted unless the study is done, refused, or cells failed."""
    done = run_script(tmp_path, {"CODE": str(code), "AFTER": "3.2" if again else "0"})
    assert ("SUBMIT --chain 19" in done.stdout) is again
    assert done.returncode == (0 if again else code)


def test_a_driver_that_fails_at_once_is_not_followed(tmp_path: Path) -> None:
    """The next would too, and so on: twenty jobs for nothing."""
    done = run_script(tmp_path, {"CODE": "1"})
    assert done.stdout == "running\n"
    assert done.returncode == 1


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ntkmc.execution.batch.driver_job.SOONEST", 3)


def run_script(
    tmp_path: Path, environment: dict[str, str], walltime: int = 60, **changes: object
) -> subprocess.CompletedProcess[str]:
    python = tmp_path / "python"
    python.write_text(STAND_IN)
    python.chmod(0o700)
    profile = load_profile("slurm")
    layout = Layout(jobs=1, workers=1, worker_bytes=2**30, walltime=600, driver=walltime, others=1, longest=1.0)
    script = batch_script(submission(tmp_path, python=str(python), **changes), profile, layout)
    (tmp_path / "script").write_text(script)
    return subprocess.run(
        ["bash", "script"],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.long
def test_before_the_walltime(tmp_path: Path) -> None:
    """Of six seconds, four: asked to stop, it stops, and the next is submitted, unless the chain has ended."""
    done = run_script(tmp_path, {}, walltime=6)
    assert done.stdout.split("\n")[:2] == ["running", "asked"]
    assert "SUBMIT --chain 19" in done.stdout
    last = run_script(tmp_path, {}, walltime=6, chain=0)
    assert "SUBMIT" not in last.stdout
    assert last.returncode == 130


def test_a_cancelled_driver_is_not_followed(tmp_path: Path) -> None:
    """SIGTERM to the batch shell reaches the driver, and is the end."""
    run_script(tmp_path, {"CODE": "0"})
    with subprocess.Popen(["bash", "script"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "running\n"
        process.terminate()
        assert process.stdout.read() == "asked\n"
        assert process.wait(timeout=30) == 130


def test_nothing_to_submit_to(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"distributed.LocalCluster is not a batch queue: use ntkmc run"):
        batch_script(submission(tmp_path), load_profile("local"), LAYOUT)
    wrong = Profile(cluster="dask_jobqueue.SLURMCluster", limits=Limits(), arguments={"quue": "x"})
    batch_script(submission(tmp_path), wrong, LAYOUT)  # the driver does not take what only workers take
    with pytest.raises(InputError, match="no spaces"):
        batch_script(
            submission(tmp_path, store=Location.of(tmp_path / "my store.zarr")), load_profile("slurm"), LAYOUT
        )
