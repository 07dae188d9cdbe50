"""pytest plugin of the run that maps tests to lines: one coverage context and the processor time of each test."""

from __future__ import annotations

import json
import os
from collections.abc import Generator
from pathlib import Path

import coverage
import pytest

_seconds: dict[str, float] = {}
_not_passed: set[str] = set()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    measurement = coverage.Coverage.current()
    if measurement is not None:
        measurement.switch_context(item.nodeid)
    before = sum(os.times()[:4])
    try:
        return (yield)
    finally:
        _seconds[item.nodeid] = sum(os.times()[:4]) - before


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.outcome != "passed":
        _not_passed.add(report.nodeid)


def pytest_sessionfinish() -> None:
    """Each process writes down the tests that it has run itself."""
    passed = {test: round(seconds, 3) for test, seconds in _seconds.items() if test not in _not_passed}
    Path(os.environ["MUTATION_SECONDS"], f"{os.getpid()}.json").write_text(json.dumps(passed))
