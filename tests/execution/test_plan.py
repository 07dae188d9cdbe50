"""Predictions before a run."""

from __future__ import annotations

from typing import Any

import pytest

from ntkmc.errors import InputError
from ntkmc.execution.plan import check_plan, make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.study.loading import parse_study


def test_counts(small: dict[str, Any]) -> None:
    plan = make_plan(parse_study(small, trusted=True), load_profile("local"))
    assert (plan.cells, plan.trials) == (12, 720)
    assert plan.workers >= 1
    check_plan(plan)


def test_too_large_is_refused_with_a_number(small: dict[str, Any]) -> None:
    small["grid"] = {"distribution": "sphere", "d": 8, "n": [10, 300_000], "depth": 2}
    plan = make_plan(parse_study(small, trusted=True), load_profile("local"))
    with pytest.raises(InputError, match=r"n=300000 needs .* lower n below \d+") as caught:
        check_plan(plan)
    assert "\n" not in str(caught.value)


def test_files_are_few(small: dict[str, Any]) -> None:
    small["grid"] = {"distribution": "sphere", "d": list(range(1, 34)), "n": list(range(1, 31)), "depth": 2}
    plan = make_plan(parse_study(small | {"trials": 1000}, trusted=True), load_profile("local"))
    assert plan.cells == 990
    assert plan.files < 2500
