"""Figures of learning: what they draw is what the store says, and a store without it draws none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntkmc import open_results
from ntkmc.execution.driver import drive
from ntkmc.experiment.study.loading import parse_study
from ntkmc.views.axis_frames import targets_frame
from ntkmc.views.cells import Grid
from ntkmc.views.plots.learning import bound_plot, sketches_plot, training_plot, widths_plot
from ntkmc.views.report.page import report_html, report_plots

STUDY: dict[str, Any] = {
    "name": "learning",
    "seed": 7,
    "kernel": "h-infinity",
    "grid": {"distribution": ["sphere", "gaussian"], "d": 5, "n": [4, 8], "depth": 2, "normalize": "unit"},
    "trials": 12,
    "event": {"lambda-0": [0.1, 0.2], "delta": 0.4},
    "targets": ["linear", "random-sign"],
    "train": {"widths": [16, 256], "kappa": [0.3, 1.0], "steps": 16},
    "widths": [8, 64],
    "features": [16, 64],
}


@pytest.fixture(scope="module")
def grid(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Grid:
    path = tmp_path_factory.mktemp("learning") / "s"
    assert not drive(parse_study(STUDY, trusted=True), path, client).failed
    return Grid(open_results(path))


def test_convergence(grid: Grid) -> None:
    for drawn, group, axis in (
        (widths_plot(grid), "convergence", "width"),
        (sketches_plot(grid), "sketch_accuracy", "features"),
    ):
        assert drawn is not None
        stored = grid.tree[group].to_dataset()["deviation_median"]
        for row in drawn.data.to_dict("records"):
            where = {key: row[key] for key in ("distribution", "d", "n", "depth", axis)}
            assert row["deviation_median"] == float(stored.sel(where))
        lines = [line for panel in drawn.figure.axes[:1] for line in panel.get_lines()]
        assert len(lines) >= 4  # two n of two laws


def test_training(grid: Grid) -> None:
    drawn = training_plot(grid)
    assert drawn is not None
    series = drawn.data["series"].unique().tolist()
    assert sorted(series) == sorted(
        [f"{target}:m={m}:kappa=1.0" for target in STUDY["targets"] for m in (16, 256)]
        + ["kernel, linear", "kernel, random-sign"]
    )
    assert drawn.data["step"].max() == 16
    one = drawn.data[drawn.data["series"].eq("linear:m=256:kappa=1.0") & drawn.data["n"].eq(8)]
    stored = (
        grid.tree["dynamics"]
        .to_dataset()["residual"]
        .sel(distribution=one["distribution"].iloc[0], d=5, n=8, depth=2, network="linear:m=256:kappa=1.0")
    )
    np.testing.assert_array_equal(one["residual"], stored.sel(step=one["step"].to_numpy()))


def test_bound(grid: Grid) -> None:
    drawn = bound_plot(grid)
    assert drawn is not None
    assert set(drawn.data["n"]) == {4, 8}
    assert np.isfinite(drawn.data.loc[drawn.data["network"].eq(""), "bound"]).all()


def test_least_width_of_contraction(grid: Grid) -> None:
    """Recomputed from the trials: the least width from which on the share is 1 - delta."""
    frame = targets_frame(grid.tree)
    frame = frame[frame["network"] != ""]
    networks, draws = grid.tree["trained"].to_dataset(), grid.trials
    seen = set()
    for _, rows in frame.groupby(["distribution", "n", "target", "kappa"]):
        rows = rows.sort_values("width")
        good = []
        for row in rows.to_dict("records"):
            where = {key: row[key] for key in ("distribution", "d", "n", "depth")}
            here = networks.sel(where | {"network": row["network"]})
            end = 1.0 - 0.5 * here["step_size"] * draws["lambda_min_upper"].sel(where)
            good.append(float((here["contraction"] <= end).mean()) >= 0.6)
            assert row["contraction_width_lower"] <= row["contraction_width_upper"]
        expected = 16.0 if all(good) else 256.0 if good[1] else np.nan
        seen.add(expected)
        np.testing.assert_equal(rows["contraction_width"].to_numpy(), [expected] * 2)
    assert len(seen) > 1


@pytest.mark.long
def test_in_the_report(grid: Grid) -> None:
    names = {plot.name for plot in report_plots(grid)}
    assert {"widths", "sketches", "training", "bound"} <= names
    page = report_html(grid, "s")
    assert "Networks, sketches and training</h2>" in page
    for name in ("widths", "sketches", "training", "bound"):
        assert f'id="figure-{name}"' in page
    assert "ntkmc show s --table targets" in page


@pytest.mark.long
def test_none_where_nothing_was_asked(tmp_path: Path, client: Any) -> None:
    plain = {key: value for key, value in STUDY.items() if key not in ("targets", "train", "widths", "features")}
    drive(parse_study(plain, trusted=True), tmp_path / "s", client)
    grid = Grid(open_results(tmp_path / "s"))
    assert widths_plot(grid) is sketches_plot(grid) is training_plot(grid) is bound_plot(grid) is None
    assert "Networks, sketches" not in report_html(grid, "s")
