"""The numbers of every view are those of `estimates` and `claims`, and of the trials behind them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import InputError, open_results, run
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.study.address import generator, spawn_key
from ntkmc.experiment.study.loading import parse_study
from ntkmc.statistics import dkw_band
from ntkmc.theory.claims import instances
from ntkmc.views.cells import CellDepth, Grid
from ntkmc.views.curves import Curve, median_exponents, medians_frame, probabilities_at, surface_frame, survival
from ntkmc.views.evidence import evidence
from ntkmc.views.explorer_data import Selection, first_selection, from_query, nearest, options, overlays, readout
from ntkmc.views.frames import claims_frame, estimates_frame, overall_frame, parse_selection, select
from ntkmc.views.plots import base
from ntkmc.views.report import report_html
from ntkmc.views.summary import describe_results, describe_run, totals

SPARSE = {"sparse": {"p": 0.5}}  # of few coordinates: some rows are zero, and their trials fail


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    """A store with failed trials, an earlier study with other rules, and a violated printed form."""
    study = {
        "name": "views", "seed": 3, "kernel": "ntk", "trials": 40, "claims": ["all", "printed/det-depth-monotone"],
        "grid": {"distribution": ["gaussian", SPARSE], "d": [3, 6], "n": [4, 6], "depth": [2, 3], "normalize": "unit"},
        "event": {"lambda-0": [0.1, 0.4, 0.8], "delta": 0.1},
    }  # fmt: skip
    path = tmp_path_factory.mktemp("views") / "views.zarr"
    run(parse_study(study, trusted=True), path, client=client, progress=False)
    later = study | {
        "grid": {"distribution": ["gaussian"], "d": [6, 9], "n": [4, 6], "depth": [2, 3], "normalize": "unit"},
        "trials": {"from": 10, "count": 60},
        "event": {"lambda-0": [0.4, 0.6], "delta": 0.2},
        "confidence": 0.9,
    }
    run(parse_study(later, trusted=True), path, client=client, progress=False)
    return path


@pytest.fixture(scope="module")
def tree(store: Path) -> xr.DataTree:
    return open_results(store)


@pytest.fixture(scope="module")
def grid(tree: xr.DataTree) -> Grid:
    return Grid(tree)


def rows(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def place_of(row: dict[str, Any]) -> CellDepth:
    return CellDepth(row["distribution"], row["d"], row["n"], row["depth"])


def test_the_store_has_failed_trials(grid: Grid) -> None:
    assert totals(grid).status["failed"] > 0


def test_probabilities_are_the_estimates(grid: Grid) -> None:
    """At the study's thresholds, of both studies, in every field: by computing them anew from the trials."""
    frame = estimates_frame(grid.tree)
    assert len(frame) > 60
    for row in rows(frame):
        place = place_of(row)
        (found,) = probabilities_at(grid, place, [row["lambda_0"]])
        for name in ("probability", "lower", "upper", "lower_fixed", "upper_fixed", "trials", "undecided", "proved"):
            np.testing.assert_equal(getattr(found, name), row[name], err_msg=f"{place} {name}")
        assert found.nondegenerate == row["nondegenerate"]


@settings(max_examples=60)
@given(st.data())
def test_any_threshold(grid: Grid, data: st.DataObject) -> None:
    """Between the study's thresholds: the share of trials, inside its interval; curve and surface agree."""
    place = data.draw(st.sampled_from(grid.places))
    threshold = data.draw(st.floats(0.0, 2.0))
    (found,) = probabilities_at(grid, place, [threshold])
    trials = grid.prefix(place)
    values = trials["lambda_min"]
    assert found.probability == np.sum(values >= threshold) / len(values)
    assert found.lower <= found.proved / found.trials <= (found.proved + found.undecided) / found.trials <= found.upper
    curve = survival(trials, grid.confidence(place))
    assert curve.at(threshold) == found.probability
    surface = surface_frame(grid, place.distribution, place.depth, threshold)
    here = surface[(surface["d"] == place.d) & (surface["n"] == place.n)]
    assert here[["probability", "lower", "upper"]].to_numpy().tolist() == [
        [found.probability, found.lower, found.upper]
    ]


@settings(max_examples=60)
@given(st.lists(st.floats(0.0, 3.0), min_size=1, max_size=40), st.integers(0, 5), st.sampled_from([0.5, 0.9, 0.99]))
def test_survival_band(values: list[float], failures: int, confidence: float) -> None:
    """Without failures it is the distribution function's band upside down; a failure widens it by its share."""
    exact = np.array(values)
    both = np.concatenate([exact, np.full(failures, np.nan)])
    trials = dict.fromkeys(("lambda_min", "lambda_min_lower", "lambda_min_upper"), both)
    curve = survival(trials | {"status": np.ones(len(both))}, confidence)
    total = len(both)
    half = float(np.sqrt(np.log(2.0 / (1.0 - confidence)) / (2.0 * total)))
    for point, p, low, high in zip(curve.points, curve.probability, curve.lower, curve.upper, strict=True):
        share = np.sum(exact >= point) / total
        assert p == share
        assert low == pytest.approx(max(share - half, 0.0), abs=1e-12)
        assert high == pytest.approx(min(share + failures / total + half, 1.0), abs=1e-12)
    if not failures and len(set(values)) == len(values):
        points, lower, upper = dkw_band(exact, confidence)
        np.testing.assert_allclose(curve.lower[1:], np.maximum(1.0 - upper[:-1], 0.0), atol=1e-12)
        np.testing.assert_allclose(curve.upper[1:], 1.0 - lower[:-1], atol=1e-12)
        assert points.tolist() == curve.points.tolist()


def test_thinned_curve_keeps_its_ends() -> None:
    points = np.arange(1000.0)
    curve = Curve(points, points, points, points, 1000).thinned(10)
    assert len(curve.points) == 10
    assert curve.points[[0, -1]].tolist() == [0.0, 999.0]


def test_medians(grid: Grid) -> None:
    """The stored quantile, and limits that hold it."""
    quantiles = grid.estimates["lambda_min_quantile"].load()
    for law in ("gaussian", "sparse(p=0.5)"):
        frame = medians_frame(grid, law, 3)
        assert len(frame) >= 4
        for row in rows(frame):
            here = quantiles.sel(distribution=law, d=row["d"], n=row["n"], depth=3)
            assert row["median"] == float(here.sel(quantile=0.5))
            assert row["low"] == float(here.sel(quantile=0.05))
            assert row["lower"] <= row["median"] <= row["upper"]
    assert set(median_exponents(medians_frame(grid, "gaussian", 3))) == {"n", "d"}
    assert median_exponents(medians_frame(grid, "gaussian", 99)) == {}


def test_evidence_of_every_verdict(grid: Grid, store: Path) -> None:
    """Numbers are the row's; the commands are run in `test_evidence_commands`."""
    frame = claims_frame(grid.tree)
    sample = frame.iloc[:: max(len(frame) // 60, 1)]
    for row in rows(sample):
        place = place_of(row)
        found = evidence(grid, str(store), row["claim"], place)
        assert found.verdict == row["verdict"]
        for name, (value, sentence) in found.numbers.items():
            assert value == row[name]
            assert sentence
        assert (found.violation is not None) == (row["first_violation"] >= 0)


def test_evidence_of_a_violation(grid: Grid, store: Path) -> None:
    """Down to the trial: its enclosures are disjoint on the wrong side, and its address draws the same rows."""
    frame = claims_frame(grid.tree)
    violated = frame[(frame["claim"] == "printed/det-depth-monotone") & (frame["verdict"] == "violated")]
    assert len(violated) > 4
    for row in rows(violated):
        place = place_of(row)
        violation = evidence(grid, str(store), row["claim"], place).violation
        assert violation is not None
        assert violation.quantity is not None
        assert violation.bound is not None
        assert violation.quantity[0] > violation.bound[1]  # K^(3)'s lambda_min is larger than K^(2)'s
        here = grid.trials.sel(place.labels).isel(trial=violation.trial)
        assert violation.quantity == (float(here["lambda_min_lower"]), float(here["lambda_min_upper"]))
        other = grid.trials.sel(place.labels | {"depth": 2}).isel(trial=violation.trial)
        assert violation.bound == (float(other["lambda_min_lower"]), float(other["lambda_min_upper"]))
        assert violation.address == spawn_key(place.distribution, place.d, place.n, violation.trial)
        X = grid.cells[place.cell].distribution.sample(place.n, place.d, generator(violation.seed, violation.address))
        assert np.linalg.norm(X, axis=1).max() > 0.0


def test_evidence_commands(
    grid: Grid, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is printed to be typed works, quoting and all."""
    import shlex
    import sys

    from ntkmc.cli import main

    frame = claims_frame(grid.tree)
    row = frame[frame["verdict"] == "violated"].iloc[-1]
    found = evidence(grid, str(store), row["claim"], CellDepth(row["distribution"], row["d"], row["n"], row["depth"]))
    assert found.violation is not None
    for command, said in ((found.command, "violated"), (found.violation.command, "bit for bit")):
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 0
        assert said in capsys.readouterr().out


def test_selection_with_brackets() -> None:
    assert parse_selection("claim=claim-x[delta=0.1,r=2],d=8") == {"claim": "claim-x[delta=0.1,r=2]", "d": "8"}


@given(
    st.builds(
        Selection, st.sampled_from(["gaussian", "sparse(p=0.5)", "gone"]), st.integers(1, 12), st.integers(1, 12),
        st.integers(1, 5), st.floats(0.0, 2.0),
    )
)  # fmt: skip
def test_selections_lead_somewhere(grid: Grid, wanted: Selection) -> None:
    """Whatever a link says, there is such a place; every option offered is one; and a good link is kept."""
    found = nearest(grid, wanted)
    assert found.place in grid.places
    assert found.lambda_0 == wanted.lambda_0
    assert nearest(grid, found) == found
    offered = options(grid, found)
    for name in ("distribution", "d", "n", "depth"):
        assert getattr(found, name) in offered[name]
    query = {name: str(getattr(found, name)) for name in ("distribution", "d", "n", "depth")}
    assert from_query(grid, query | {"lambda_0": repr(found.lambda_0)}) == found


def test_strange_links(grid: Grid) -> None:
    start = first_selection(grid)
    assert from_query(grid, {}) == start
    assert from_query(grid, {"d": "x", "lambda_0": "?", "tab": "7"}) == start


def test_overlays_are_the_bounds(grid: Grid) -> None:
    frame = claims_frame(grid.tree)
    place = CellDepth("gaussian", 6, 6, 2)
    drawn = overlays(grid, place).set_index("name")
    bound = select(frame, {"claim": "det-pair-upper", "d": "6", "n": "6", "depth": "2", "distribution": "gaussian"})
    assert drawn.loc["det-pair-upper", "value"] == bound["bound"].iloc[0]
    assert drawn.loc["det-pair-upper", "kind"] == "upper bound"
    assert (drawn["value"] > 0.0).all()


def test_readout_shows_the_estimate(grid: Grid) -> None:
    (found,) = probabilities_at(grid, CellDepth("gaussian", 6, 6, 2), [0.4])
    shown = readout(grid, Selection("gaussian", 6, 6, 2, 0.4))
    for value in (found.probability, found.lower, found.upper):
        assert f"{value:.4f}" in shown


def test_report_numbers(grid: Grid, store: Path) -> None:
    """Every estimate and every overall verdict of the store stands in the report."""
    page = report_html(grid, str(store))
    for row in rows(estimates_frame(grid.tree)):
        assert f"{row['probability']:.3f} [{row['lower']:.3f}, {row['upper']:.3f}]" in page
    overall = overall_frame(grid.tree)
    for row in rows(overall[~overall["overall"].isin(["not-applicable", "not-evaluated"])]):
        cells = re.search(rf">{re.escape(row['claim'])}</th>(.*?)</tr>", page)
        if cells is None:  # a printed form stands in its own table, without the prefix
            assert row["claim"].startswith("printed/")
            cells = re.search(rf">{re.escape(row['claim'].removeprefix('printed/'))}</th>(.*?)</tr>", page)
        assert cells is not None
        assert f"{row['overall']}</span>" in cells[1]
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)  # no network
    assert page.count("<img ") == len(re.findall(r'<img [^>]*alt="[^"]{20,}"', page)) > 2


def test_sentences_count_right(grid: Grid) -> None:
    told = " ".join([*describe_run(grid), *describe_results(grid)])
    frame = estimates_frame(grid.tree)
    counts = frame["nondegenerate"].value_counts()
    assert f"Of {len(frame):,} pairs" in told
    assert f"{counts['supported']:,} are (λ_0, 0.2)-non-degenerate" in told
    assert f"seed {grid.study.seed}" in told
    status = grid.trials["status"].to_numpy()
    assert f"{int((status != 0).sum()):,} eigenvalues" in told
    assert "printed/det-depth-monotone" in told
    best = re.search(r"The tightest lower bound is (\S+): ", told)
    assert best is not None
    assert [each.claim.side for each in instances() if each.label == best[1] and not each.claim.hypothesis] == [
        "lower"
    ]


def test_plots_draw_the_frames(grid: Grid) -> None:
    """What comes with a figure is what is drawn, and equals the store."""
    surface = base.surface_plot(grid, 0.4)
    assert surface is not None
    frame = estimates_frame(grid.tree)
    frame = frame[frame["lambda_0"] == 0.4]
    merged = surface.data.merge(frame, on=["distribution", "d", "n", "depth"], suffixes=("", "_stored"))
    assert len(merged) == len(frame) == len(surface.data)
    for name in ("probability", "lower", "upper"):
        assert merged[name].tolist() == merged[f"{name}_stored"].tolist()
    tight = base.tightness_plot(grid)
    assert tight is not None
    overall = overall_frame(grid.tree).set_index("claim")["tightness"]
    assert tight.data.set_index("claim")["median"].to_dict() == {
        claim: overall[claim] for claim in tight.data["claim"]
    }


def test_empty_store(tmp_path: Path) -> None:
    """Before the first trial every view says what to do, and none fails."""
    from ntkmc.experiment.store.layout import create
    from ntkmc.experiment.store.location import Location

    study = parse_study({
        "name": "empty", "seed": 3, "kernel": "ntk", "trials": 40, "event": {"lambda-0": [0.1], "delta": 0.1},
        "grid": {"distribution": ["gaussian"], "d": [3], "n": [4], "depth": [2], "normalize": "unit"},
    }, trusted=True)  # fmt: skip
    create(Location.of(tmp_path / "s"), study)
    empty = Grid(open_results(tmp_path / "s"))
    assert "run the study" in describe_results(empty)[0]
    assert "run the study" in report_html(empty, "s")
    assert "The study is not finished" in " ".join(describe_run(empty))
    at = first_selection(empty)
    assert "No estimate here yet" in readout(empty, at)
    assert overlays(empty, at.place)["kind"].isin(["prediction"]).all()
    assert surface_frame(empty, "gaussian", 2, 0.1).empty
    assert base.survival_plot(empty, empty.places) is None


def test_events_alone(tmp_path: Path, client: Any) -> None:
    """A store of decided events answers its own thresholds, and has no curve."""
    study = parse_study({
        "name": "events", "seed": 3, "kernel": "ntk", "trials": 30, "event": {"lambda-0": [0.3], "delta": 0.1},
        "measure": "event", "grid": {"distribution": ["gaussian"], "d": [6], "n": [4], "depth": [2]},
    }, trusted=True)  # fmt: skip
    grid = Grid(run(study, tmp_path / "s", client=client, progress=False))
    place = grid.places[0]
    (found,) = probabilities_at(grid, place, [0.3])
    assert found.probability == estimates_frame(grid.tree)["probability"].iloc[0]
    with pytest.raises(InputError, match=r"lambda_0 = 0.5 was not decided .* answers 0.3"):
        probabilities_at(grid, place, [0.5])
    with pytest.raises(InputError, match="no distribution of lambda_min"):
        survival(grid.prefix(place), 0.95)
    assert "was not decided" in readout(grid, Selection("gaussian", 6, 4, 2, 0.5))
    assert "<h2" in report_html(grid, "s")


@pytest.mark.long
def test_report_command(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import sys

    from ntkmc.cli import main

    figures = tmp_path / "figures"
    monkeypatch.setattr(
        sys, "argv", ["ntkmc", "report", str(store), "-o", str(tmp_path / "r.html"), "--figures", str(figures)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert "report in" in capsys.readouterr().err
    assert (tmp_path / "r.html").stat().st_size < 3e6
    written = {path.suffix for path in figures.iterdir()}
    assert written == {".pdf", ".png", ".csv"}
    survival_points = pd.read_csv(figures / "survival.csv")
    assert {"lambda_0", "probability", "band_lower", "band_upper"} <= set(survival_points)
    monkeypatch.setattr(sys, "argv", ["ntkmc", "report", str(tmp_path / "none")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "no such store" in capsys.readouterr().err


def test_missing_panel_is_named(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from ntkmc.views.explorer import serve

    monkeypatch.setitem(sys.modules, "panel", None)
    with pytest.raises(InputError, match=r"pip install 'ntkmc\[dashboard\]'"):
        serve(str(store))


def test_verdict_words_have_colours() -> None:
    from ntkmc.palette import SIGNS, VERDICTS

    assert set(VERDICTS) == {verdict.word for verdict in Verdict}
    assert set(SIGNS) <= set(VERDICTS)


def test_an_app_of_ones_own(tmp_path: Path) -> None:
    from ntkmc.views.explorer import load_app

    (tmp_path / "mine.py").write_text("from mine_too import word\n\ndef app(store):\n    return word + store\n")
    (tmp_path / "mine_too.py").write_text("word = 'hello '\n")
    assert load_app(str(tmp_path / "mine.py"))("s") == "hello s"
    with pytest.raises(InputError, match=r"has no function app\(store\)"):
        load_app(str(tmp_path / "mine_too.py"))
    with pytest.raises(InputError, match="did you mean 'explorer'"):
        load_app("explorar")
