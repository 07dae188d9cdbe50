"""Fixtures shared by all tests."""

from __future__ import annotations

import contextlib
import faulthandler
import sys
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


class _SharedCluster:
    """A cluster inside this process that the tests share: one worker, one thread, no dashboard.

    It starts at the first use, and is replaced if its worker no longer answers: without a check, every later test
    would wait for that worker until its own time limit.
    """

    def __init__(self) -> None:
        self._client: Any = None
        self._stack = contextlib.ExitStack()

    def client(self) -> Any:
        """Return a client of a cluster whose worker answers."""
        if self._client is not None and not self._answers():
            print("the shared worker does not answer; threads of this process:", file=sys.__stderr__)
            faulthandler.dump_traceback(sys.__stderr__ or sys.stderr)
            self.close()
        if self._client is None:
            self._start()
        return self._client

    def close(self) -> None:
        """End the cluster; one that does not answer may refuse, which is no failure of a test."""
        self._client = None
        with contextlib.suppress(Exception):
            self._stack.close()

    def _start(self) -> None:
        import dask
        from distributed import Client, LocalCluster

        # The worker shares the interpreter with tests that keep it for minutes: it must not count as lost then.
        self._stack.enter_context(dask.config.set({"distributed.scheduler.worker-ttl": None}))
        cluster = LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None)
        self._client = self._stack.enter_context(Client(self._stack.enter_context(cluster)))

    def _answers(self) -> bool:
        try:
            return bool(self._client.submit(bool, 1, pure=False).result(timeout=60))
        except Exception:  # a timeout, or whatever a broken connection raises
            return False


_SHARED = _SharedCluster()


@pytest.fixture(scope="module")
def client() -> Any:
    """Client of the cluster that the tests of this process share."""
    return _SHARED.client()


def pytest_sessionfinish() -> None:
    _SHARED.close()
