"""`measure: event`: the same verdicts on every trial as lambda_min itself, and an identity of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntkmc import open_results, run
from ntkmc.errors import StoreError
from ntkmc.execution.plan import make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.maintenance.recompute import compare_trial
from ntkmc.experiment.study.loading import parse_study
from ntkmc.linalg.eigen.result import Status
from ntkmc.views.cells import Grid
from ntkmc.views.frames import claims_frame
from ntkmc.views.plots.base import survival_plot
from stores import assert_equal_bits, trials_of


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, client: Any) -> tuple[Path, Path]:
    from conftest import SMALL

    folder = tmp_path_factory.mktemp("event")
    run(parse_study(SMALL, trusted=True), folder / "full.zarr", client=client, progress=False)
    run(parse_study(SMALL | {"measure": "event"}, trusted=True), folder / "event.zarr", client=client, progress=False)
    return folder / "full.zarr", folder / "event.zarr"


@pytest.mark.long
def test_same_decisions(both: tuple[Path, Path]) -> None:
    full, event = (trials_of(path) for path in both)
    done = (full["status"] != 0).values
    assert np.array_equal(done, (event["status"] != 0).values)
    assert (event["status"].values[done] == Status.DECIDED.code).all()
    assert np.isnan(event["lambda_min"].values[done]).all()
    lower, upper = (event[f"lambda_min_{end}"].values[done] for end in ("lower", "upper"))
    assert (lower <= full["lambda_min_upper"].values[done]).all()
    assert (full["lambda_min_lower"].values[done] <= upper).all()
    for threshold in (0.2, 0.5):
        assert ((lower >= threshold) ^ (upper < threshold)).all()
        assert np.array_equal(lower >= threshold, full["lambda_min_lower"].values[done] >= threshold)


def test_same_probabilities_and_no_quantiles(both: tuple[Path, Path]) -> None:
    full, event = (open_results(path)["estimates"].to_dataset() for path in both)
    for name in ("probability", "probability_lower", "probability_upper", "trials_used", "undecided", "nondegenerate"):
        assert np.array_equal(full[name].values, event[name].values, equal_nan=name.startswith("prob"))
    assert np.isnan(event["lambda_min_quantile"].values).all()
    assert np.isnan(event["lambda_0_certified"].values).all()


def test_there_is_no_figure(both: tuple[Path, Path]) -> None:
    grid = Grid(open_results(both[1]))
    assert survival_plot(grid, grid.places) is None


def test_claims_are_judged_by_what_was_proved(both: tuple[Path, Path]) -> None:
    frame = claims_frame(open_results(both[1]))
    assert set(frame["verdict"]) <= {
        "holds",
        "vacuous",
        "supported",
        "refuted",
        "undecided",
        "violated",
        "not-applicable",
    }
    assert (frame["verdict"] == "holds").any()
    assert frame[frame["verdict"] == "violated"]["claim"].str.startswith("printed/").all()


@pytest.mark.long
def test_again_and_alone(both: tuple[Path, Path], tmp_path: Path, client: Any, small: dict[str, Any]) -> None:
    """Nothing is lost or recomputed on resumption, bits are equal, and one trial alone gives the same."""
    study = parse_study(small | {"measure": "event"}, trusted=True)
    before = trials_of(both[1])
    run(study, both[1], client=client, progress=False)
    assert_equal_bits(before, trials_of(both[1]))
    for _, _, here, stored in compare_trial(both[1], study.cells[0].name, 7):
        assert here == stored or (here != here and stored != stored)


def test_other_thresholds_need_another_store(both: tuple[Path, Path], client: Any, small: dict[str, Any]) -> None:
    more = small | {"measure": "event", "event": {"lambda-0": [0.2, 0.3, 0.5], "delta": 0.1}}
    for data, path in ((more, both[1]), (small, both[1]), (small | {"measure": "event"}, both[0])):
        with pytest.raises(StoreError, match=r"measure(\.event)? is"):
            run(parse_study(data, trusted=True), path, client=client, progress=False)


def test_plan_knows_that_it_is_cheaper(small: dict[str, Any]) -> None:
    profile = load_profile("local")
    small["grid"] |= {"n": [2000], "d": [100]}
    full = make_plan(parse_study(small, trusted=True), profile)
    event = make_plan(parse_study(small | {"measure": "event"}, trusted=True), profile)
    assert event.core_hours < full.core_hours
    assert event.worker_bytes < full.worker_bytes
