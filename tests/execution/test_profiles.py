"""Profiles are data: they validate, and their mistakes are one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ntkmc.errors import InputError
from ntkmc.execution.profiles import Profile, connect, load_profile


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
