"""Fixtures shared by all tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import mpmath as mp
import pytest
from hypothesis import settings

from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.model import Study

pytest_plugins = ["browsing", "buckets"]  # fixtures of several folders, of which a browser is used by one alone

# Seeded, so that a run of the tests is reproducible; deadlines would measure the machine.
settings.register_profile("ntkmc", derandomize=True, deadline=None)
settings.load_profile("ntkmc")


@pytest.fixture(autouse=True)
def _fifty_digits() -> Iterator[None]:
    with mp.workdps(50):
        yield


SMALL: dict[str, Any] = {
    "name": "small",
    "seed": 7,
    "kernel": "ntk",
    "grid": {
        "distribution": ["sphere", "rademacher", {"student-t": {"df": 3}}],
        "d": [5, 8],
        "n": [4, "d"],
        "depth": [2, 3],
    },
    "trials": 60,
    "event": {"lambda-0": [0.2, 0.5], "delta": 0.1},
}


@pytest.fixture
def small() -> dict[str, Any]:
    """A study of 12 cells x 60 trials, a second of work, as plain data."""
    return {key: dict(value) if isinstance(value, dict) else value for key, value in SMALL.items()}


@pytest.fixture
def small_study(small: dict[str, Any]) -> Study:
    return parse_study(small, trusted=True)


_SESSION: list[Any] = []


@pytest.fixture(scope="session")
def client() -> Iterator[Any]:
    """A cluster inside this process: one worker, one thread, no dashboard."""
    import dask
    from distributed import Client, LocalCluster

    # A worker beside tests that keep the interpreter for minutes must not count as dead.
    with (
        dask.config.set({"distributed.scheduler.worker-ttl": None}),
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster) as connected,
    ):
        _SESSION.append(connected)
        yield connected
        _SESSION.clear()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """A session's worker that is gone is replaced, and said: the next test would wait for it for ever."""
    for connected in _SESSION:
        if not connected.nthreads():
            print(f"the session's worker was gone before {item.nodeid}")
            connected.cluster.scale(0)
            connected.cluster.scale(1)
            connected.wait_for_workers(1, timeout=60)
