"""Profiles are data: they validate, and their mistakes are one line."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.plan import make_plan
from ntkmc.execution.profile_schema import cluster_class
from ntkmc.execution.profiles import Profile, connect, load_profile
from ntkmc.execution.security import await_certificates, given_security, own_security, write_certificates
from ntkmc.experiment.study.model import Study


def test_shipped_profile() -> None:
    profile = load_profile("local")
    assert profile.environment["OPENBLAS_NUM_THREADS"] == "1"
    assert profile.dashboard is not None
    assert profile.dashboard.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cluster: 3", "cluster: should be a valid string"),
        ("arguments: {}", "cluster: this key is missing"),
        ("cluster: distributed.LocalCluster\nclaster: 1", "unknown key, did you mean 'cluster'"),
        ("- 1", "a profile is a mapping"),
        ("cluster: nowhere", "cluster: "),
        ("cluster: distributed.LocalCluster\ndashboard: somewhere", "dashboard: "),
    ],
)
def test_bad_profiles(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_profile(str(path))
    assert "\n" not in str(caught.value)


def test_all_shipped_profiles_load() -> None:
    names = {path.stem for path in (Path(__file__).parents[2] / "cluster").glob("*.yaml")}
    assert names == {"local", "threads", "slurm", "slurm-allocation", "pbs", "lsf", "sge", "scheduler"}
    for name in names:
        profile = load_profile(name)
        # A running scheduler has a certificate of its own.
        crosses_a_network = name not in ("local", "threads", "scheduler")
        assert profile.batch is (profile.tls is True) is crosses_a_network, name
        assert profile.dashboard is None or profile.dashboard.startswith("127.0.0.1:")
        assert not profile.batch or not {"queue", "account", "project"} & set(profile.arguments)


def test_a_profile_extends_another(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("extends: slurm\narguments: {queue: long, cores: 4}\nlimits: {workers: 48}\n")
    (tmp_path / "mine.yaml").write_text("extends: site.yaml\narguments: {account: abc, cores: 2}\n")
    profile = load_profile(str(tmp_path / "mine.yaml"))
    assert profile.cluster == "dask_jobqueue.SLURMCluster"
    assert profile.arguments["queue"] == "long"
    assert (profile.arguments["account"], profile.arguments["cores"]) == ("abc", 2)
    assert profile.limits is not None
    assert (profile.limits.workers, profile.limits.walltime) == (48, 86400)
    (tmp_path / "site.yaml").write_text("extends: mine.yaml\n")
    with pytest.raises(InputError, match=r"extends itself, by way of"):
        load_profile(str(tmp_path / "mine.yaml"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("scaling: {jbs: 3}", "scaling.jbs: unknown key, did you mean 'jobs'"),
        ("limits: {walltime: tomorrow}", "limits.walltime: should be a duration such as '01:30:00'"),
        ("limits: {memory: much}", "limits.memory: should be a size such as '4GiB'"),
        ("tls: {ca: a.pem}", "tls.cert: this key is missing"),
        ("tls: maybe", "tls: should be a valid boolean"),
        ("extends: slrum", "did you mean 'slurm'"),
        ("extends: [slurm]", "extends: should be the name of a profile"),
    ],
)
def test_bad_queue_profiles(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(text if "extends" in text else f"extends: slurm\n{text}\n")
    with pytest.raises(InputError, match=said) as caught:
        load_profile(str(tmp_path / "mine.yaml"))
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named_with_the_pip_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(InputError, match=r"needs the package dask_jobqueue: pip install 'ntkmc\[hpc\]'"):
        cluster_class("dask_jobqueue.SLURMCluster")
    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(InputError, match=r"needs the package cryptography: pip install 'ntkmc\[hpc\]'"):
        own_security()


def test_ctrl_c_stays_the_drivers() -> None:
    """dask-jobqueue takes SIGINT for itself when it is imported."""
    before = signal.getsignal(signal.SIGINT)
    cluster_class("dask_jobqueue.slurm.SLURMRunner")
    assert signal.getsignal(signal.SIGINT) is before


def test_joining_a_running_scheduler(client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address = client.scheduler_info()["address"]
    monkeypatch.delenv("DASK_SCHEDULER_ADDRESS", raising=False)
    if address.startswith("inproc"):
        profile = Profile(cluster="distributed.Client", arguments={"address": address}, dashboard=None)
        with connect(profile) as joined:
            assert joined.submit(sum, [1, 2]).result() == 3
        assert client.status == "running"
    with pytest.raises(InputError, match="which scheduler"), connect(load_profile("scheduler")):
        pass
    nowhere = Profile(cluster="distributed.Client", arguments={"address": "tcp://127.0.0.1:1", "timeout": "1s"})
    with pytest.raises(ExecutionError, match=r"tcp://127.0.0.1:1 was not reached"), connect(nowhere):
        pass


@pytest.mark.parametrize(("tls", "protocol"), [(False, "inproc://"), (True, "tls://")])
def test_one_process(tls: bool, protocol: str) -> None:
    """The profile `threads`: one worker, one thread, no process beside this one; encrypted if that is asked for."""
    with connect(load_profile("threads").model_copy(update={"tls": tls})) as here:
        assert list(here.nthreads().values()) == [1]
        assert here.submit(os.getpid).result() == os.getpid()
        assert here.scheduler_info()["address"].startswith(protocol)


def test_a_queue_profile_needs_a_plan() -> None:
    with pytest.raises(InputError, match="needs a study"), connect(load_profile("slurm")):
        pass


def test_outside_an_allocation(small_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = load_profile("slurm-allocation")
    layout, store = make_plan(small_study, profile).layout, tmp_path / "s"
    for name in ("SLURM_PROCID", "SLURM_NTASKS"):
        monkeypatch.delenv(name, raising=False)
    with (
        pytest.raises(InputError, match="ntkmc submit makes one"),
        connect(profile, layout=layout, store=store),
    ):
        pass
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    with (
        pytest.raises(InputError, match="needs 3 tasks or more"),
        connect(profile, layout=layout, store=store),
    ):
        pass


def test_certificates_are_for_their_owner_alone(tmp_path: Path) -> None:
    files = write_certificates(own_security(), tmp_path / "tls")
    assert {Path(path).stat().st_mode & 0o777 for path in files.model_dump().values()} == {0o600}
    assert given_security(files).get_connection_args("client")["require_encryption"] is True
    with pytest.raises(InputError, match=r"tls: key: .*: no such file"):
        given_security(files.model_copy(update={"key": str(tmp_path / "none")}))
    with pytest.raises(ExecutionError, match="shared by all nodes"):
        await_certificates(tmp_path / "elsewhere", patience=0.2)


def test_unknown_profile() -> None:
    with pytest.raises(InputError, match="did you mean 'local'"):
        load_profile("locale")


@pytest.mark.parametrize(
    ("cluster", "arguments", "said"),
    [
        ("no_such_package.Cluster", {}, "pip install no_such_package"),
        ("distributed.NoCluster", {}, "has no class 'NoCluster'"),
        ("distributed.LocalCluster", {"n_wrokers": 1, "processes": False}, "does not take these arguments"),
    ],
)
def test_clusters_that_cannot_be_made(cluster: str, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said), connect(Profile(cluster=cluster, arguments=arguments)):
        pass
