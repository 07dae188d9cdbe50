"""Spectra from a study to the store: right numbers, no other bit changed, added later, merged, compacted, shown."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from calling import called
from ntkmc import gram, kernel_eigenvalues, open_results
from ntkmc.errors import InputError, StoreError
from ntkmc.execution.cluster import needed_bytes
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, Event
from ntkmc.execution.plan import make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.maintenance.compact import compact
from ntkmc.experiment.maintenance.merge import joined, merge
from ntkmc.experiment.maintenance.recompute import compare_trial
from ntkmc.experiment.maintenance.verify import verify
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.measurements import SPECTRA_NUMERICS
from ntkmc.experiment.trial import statistics as measured
from ntkmc.experiment.trial.draw import TrialConfig, draw
from ntkmc.experiment.trial.run import run_trial, single_thread
from ntkmc.experiment.trial.statistics import unknown
from ntkmc.statistics import kolmogorov_distance
from ntkmc.theory.claims.trial_statistics import EDGES, LEVELS, SPECTRUM, eigenvalue_problems
from ntkmc.theory.predictions.spectral_law import free_sum_law
from ntkmc.views.cells import open_grid
from ntkmc.views.plots.spectra import coherence_plot, depth_plot, laws_plot
from ntkmc.views.report.page import report_html
from ntkmc.views.spectra import laws_frame, spectra_frame
from stores import assert_equal_bits, trials_of

DATA: dict[str, Any] = {
    "name": "spectra",
    "seed": 5,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere", "gaussian"], "d": 7, "n": [5, 12], "depth": [2, 4]},
    "trials": 8,
    "event": {"lambda-0": [0.2, 0.6], "delta": 0.1},
    "spectrum": "full",
    "claims": ["det-diag-upper", "det-depth-monotone"],
}
PLAIN = {key: value for key, value in DATA.items() if key != "spectrum"}


def ran(data: dict[str, Any], path: Path, client: Any) -> int:
    """Trials that were computed."""
    events: list[Event] = []
    outcome = drive(parse_study(data, trusted=True), path, client, [events.append])
    assert not outcome.failed
    assert not outcome.failed_trials
    return sum(event.trials for event in events if isinstance(event, BlockDone))


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("spectra") / "s"
    assert ran(DATA, path, client) == 32
    return path


def test_numbers_are_those_of_numpy(finished: Path) -> None:
    study = parse_study(DATA, trusted=True)
    trials = open_results(finished)["trials"].to_dataset().load()
    config = TrialConfig.of(study)
    for cell in study.cells:
        for trial in (0, 7):
            X = draw(config, cell.distribution, cell.d, cell.n, trial)
            for depth in cell.depths:
                here = trials.sel(distribution=cell.distribution.label, d=cell.d, n=cell.n, depth=depth, trial=trial)
                w = np.linalg.eigvalsh(gram(X, "ntk", depth))
                assert float(here["lambda_max_lower"]) <= w[-1] * (1 + 1e-13)
                assert float(here["lambda_max_upper"]) >= w[-1] * (1 - 1e-13)
                assert float(here["spectrum_radius"]) < 1e-11
                for level in LEVELS:
                    wanted = np.quantile(w, level, method="inverted_cdf")
                    assert float(here[f"eigenvalue_q{round(100 * level):02d}"]) == pytest.approx(wanted, rel=1e-12)
                law = free_sum_law("ntk", depth, cell.n, cell.d)
                distance = kolmogorov_distance(w / np.mean(np.sum(X**2, axis=1)), law.cdf)
                assert float(here["free_sum_distance"]) == pytest.approx(distance, abs=1e-7)
                ends = [float(here[f"decay_exponent_{end}"]) for end in ("lower", "upper")]
                first, last = max(2, math.ceil(cell.n / 16)), cell.n // 2
                if last - first < 2:
                    assert ends == [-np.inf, np.inf]
                    continue
                k = np.arange(first, last + 1)
                slope = np.polyfit(np.log(k), np.log(w[::-1][k - 1]), 1)[0]
                assert ends[0] - 1e-9 <= slope <= ends[1] + 1e-9


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("plain") / "s"
    assert ran(PLAIN, path, client) == 32
    return path


def test_nothing_else_changes(finished: Path, plain: Path, tmp_path: Path, client: Any) -> None:
    """A store without spectra has no trace of them; with them every other bit is the same; asked for later, too."""
    tree, before = open_results(plain), trials_of(plain)
    assert not set(before) & set(SPECTRUM)
    assert "spectra" not in tree.attrs["identity"]
    assert "spectrum" not in tree.attrs["study"]
    assert_equal_bits(before, trials_of(finished)[list(before)])
    path = tmp_path / "later"
    shutil.copytree(plain, path)
    assert ran(DATA, path, client) == 32  # the trials lack statistics
    assert_equal_bits(trials_of(finished), trials_of(path))
    assert open_results(path).attrs["identity"]["spectra"] == SPECTRA_NUMERICS


@pytest.mark.long
def test_verified_merged_compacted_recomputed(finished: Path, plain: Path, tmp_path: Path, client: Any) -> None:
    assert not verify(finished, sample=4).findings
    rows = compare_trial(finished, "gaussian,d=7,n=12", 3)
    assert set(SPECTRUM) <= {name for name, *_ in rows}
    assert all(here == there for _, _, here, there in rows)
    with pytest.raises(InputError, match=r"did not measure lambda_max_lower.* and spectrum there first"):
        merge(tmp_path / "refused", [finished, plain])
    assert joined([("a", parse_study(PLAIN, trusted=True)), ("b", parse_study(DATA, trusted=True))]).spectrum == "full"
    ran(DATA | {"trials": {"from": 0, "count": 4}}, tmp_path / "part", client)
    found = merge(tmp_path / "part", [finished])
    assert (found.missing, found.study.spectrum) == (0, "full")
    compact(tmp_path / "part")
    assert_equal_bits(trials_of(finished), trials_of(tmp_path / "part"))


def test_other_numerics_are_refused(finished: Path, monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    monkeypatch.setitem(SPECTRA_NUMERICS, "version", 7)
    with pytest.raises(StoreError, match=r"spectra\.version is 1 there and 7 here"):
        drive(parse_study(DATA, trusted=True), finished, client)


def test_large_n_has_edges_only(monkeypatch: pytest.MonkeyPatch) -> None:
    study = parse_study(DATA, trusted=True)
    cell = study.cells[1]
    config = TrialConfig.of(study)
    with single_thread():
        small = run_trial(config, cell.distribution, cell.d, cell.n, (2,), 0).deep[2]
        monkeypatch.setattr(measured, "LARGEST_SPECTRUM", 11)
        large = run_trial(config, cell.distribution, cell.d, cell.n, (2,), 0).deep[2]
    assert large["lambda_max_lower"] <= small["lambda_max_upper"]
    assert large["lambda_max_upper"] >= small["lambda_max_lower"]
    assert large["lambda_max_upper"] - large["lambda_max_lower"] < 1e-8
    nothing = unknown(SPECTRUM)  # as of a matrix that is blocked over workers
    assert {name: large[name] for name in SPECTRUM if name not in EDGES} == {
        name: nothing[name] for name in SPECTRUM if name not in EDGES
    }
    assert not any(math.isnan(value) for value in nothing.values())


def test_plan_counts_them() -> None:
    full, edges, plain = (parse_study(each, trusted=True) for each in (DATA, DATA | {"spectrum": "edges"}, PLAIN))
    assert eigenvalue_problems(edges.statistics, (2, 4), 12) == 2.0
    assert eigenvalue_problems(full.statistics, (2, 4), 12) > eigenvalue_problems(full.statistics, (2, 4), 2000) == 2.0
    hours = [make_plan(each, load_profile("local")).core_hours for each in (plain, edges, full)]
    assert hours[0] < hours[1] < hours[2]
    large = {"grid": DATA["grid"] | {"n": 1000}}
    needed = [
        needed_bytes(study, study.cells[0])
        for study in (parse_study(PLAIN | large, trusted=True), parse_study(DATA | large, trusted=True))
    ]
    assert needed[1] - needed[0] > 25 * 1000**2


def test_frames(finished: Path) -> None:
    grid = open_grid(finished)
    frame = spectra_frame(grid)
    assert len(frame) == 8
    trials = open_results(finished)["trials"].to_dataset().load()
    for row in frame.to_dict("records"):
        here = trials.sel(distribution=row["distribution"], d=row["d"], n=row["n"], depth=row["depth"])
        condition = here["lambda_max_upper"] / here["lambda_min"]
        assert row["condition"] == pytest.approx(float(condition.median()), rel=1e-9)
        assert row["condition_lower"] <= row["condition"] <= row["condition_upper"]
        assert row["eigenvalue_q50"] == float(here["eigenvalue_q50"].median())
        if row["depth"] == 4:
            before = trials.sel(distribution=row["distribution"], d=row["d"], n=row["n"], depth=2)
            share = (condition < before["lambda_max_upper"] / before["lambda_min"]).mean()
            assert row["falls"] == float(share)
            assert row["falls_lower"] <= row["falls"] <= row["falls_upper"]
        else:
            assert math.isnan(row["falls"])
    laws = laws_frame(grid)
    counted = laws.groupby("law").size().to_dict()
    assert counted == {"pred-elkaroui": 8, "pred-effective-ridge": 8, "pred-coherence": 4}
    assert ((laws["lower"] <= laws["distance"]) & (laws["distance"] <= laws["upper"])).all()
    one = laws[laws["law"].eq("pred-effective-ridge")].iloc[0]
    place = {name: one[name] for name in ("distribution", "d", "n", "depth")}
    assert one["distance"] == float(trials["free_sum_distance"].sel(place).median())


def test_of_edges_alone(tmp_path: Path, client: Any) -> None:
    path = tmp_path / "s"
    ran(DATA | {"spectrum": "edges", "trials": 4, "grid": DATA["grid"] | {"n": 5}}, path, client)
    assert set(trials_of(path)) & set(SPECTRUM) == set(EDGES)
    grid = open_grid(path)
    frame = spectra_frame(grid)
    assert frame["condition"].notna().all()
    assert frame[["eigenvalue_q50", "decay"]].isna().all().all()
    assert set(laws_frame(grid)["quantity"]) == {"coherence"}
    assert laws_plot(grid) is None
    assert depth_plot(grid) is None


def test_figures(finished: Path) -> None:
    grid = open_grid(finished)
    drawn = laws_plot(grid)
    assert drawn is not None
    data = drawn.data
    assert set(data["series"]) == {"measured", "pred-elkaroui", "pred-effective-ridge"}
    found = data[data["series"].eq("pred-effective-ridge") & data["depth"].eq(2) & data["n"].eq(12)]
    law = free_sum_law("ntk", 2, 12, 7)
    np.testing.assert_allclose(found["share"], law.cdf(found["eigenvalue"].to_numpy()), atol=1e-9)
    shared = coherence_plot(grid)
    assert shared is not None
    assert set(shared.data["series"]) == {"measured", "pred-coherence"}
    deep = depth_plot(grid)
    assert deep is not None
    assert "Spectra</h2>" in report_html(grid, "s", [deep, drawn, shared])


def test_show(
    finished: Path, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    figure = tmp_path / "laws.png"
    assert called(monkeypatch, "show", str(finished), "--spectrum", "--figure", str(figure)) == 0
    said = capsys.readouterr().out
    assert "Kolmogorov distances" in said
    assert max(map(len, said.splitlines())) <= 80
    assert figure.stat().st_size > 10_000
    assert called(monkeypatch, "show", str(finished), "--spectrum", "n=5,depth=4", "-f", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert [(row["n"], row["depth"]) for row in found["eigenvalues"]] == [(5, 4)] * 2
    assert [row["law"] for row in found["laws"]].count("pred-coherence") == 2
    assert called(monkeypatch, "show", str(finished), "--spectrum", "-f", "csv") == 0
    (tmp_path / "s.csv").write_text(capsys.readouterr().out)
    assert len(pd.read_csv(tmp_path / "s.csv")) == 8
    assert called(monkeypatch, "show", str(finished), "--spectrum", "--claims") == 2
    assert called(monkeypatch, "show", str(plain), "--spectrum") == 2
    assert "asked for spectra" in capsys.readouterr().err
    grid = open_grid(plain)
    assert laws_plot(grid) is depth_plot(grid) is coherence_plot(grid) is None


def test_a_study_is_checked() -> None:
    with pytest.raises(InputError, match="spectrum: needs measure: lambda-min, got measure: event"):
        parse_study(DATA | {"measure": "event"}, trusted=True)
    with pytest.raises(InputError, match="spectrum"):
        parse_study(DATA | {"spectrum": "all"}, trusted=True)
    found = kernel_eigenvalues(np.eye(3), "conjugate", 2)
    assert found.values[-1] == pytest.approx(1.0 + 2.0 / np.pi)
