"""Finite widths from a study to the store: right numbers, equal bits, added later, merged, compacted, repaired."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import yaml
import zarr

from calling import called
from ntkmc import empirical_ntk, gram, open_results
from ntkmc.api import repair
from ntkmc.errors import InputError, StoreError
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, CellDone, Event, Note, RunStarted
from ntkmc.execution.plan import check_plan, make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.maintenance.compact import compact
from ntkmc.experiment.maintenance.merge import merge
from ntkmc.experiment.maintenance.recompute import claim_margins, compare_trial
from ntkmc.experiment.maintenance.verify import verify
from ntkmc.experiment.schema.groups import GROUPS, declared
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.study.address import Purpose, seed_sequence, spawn_key
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.measurements import MeasurementKey
from ntkmc.experiment.trial.draw import TrialConfig, draw
from ntkmc.experiment.trial.run import BlockTask, run_block
from ntkmc.linalg.networks import empirical_ntk as empirical_ntk_module
from ntkmc.theory.claims import find_instance
from ntkmc.views.cells import open_grid
from ntkmc.views.evidence import trial_values

DATA: dict[str, Any] = {
    "name": "networks",
    "seed": 11,
    "kernel": "h-infinity",
    "grid": {"distribution": ["sphere", "gaussian"], "d": 4, "n": [3, 9], "depth": 2},
    "trials": 40,
    "event": {"lambda-0": [0.05, 0.2], "delta": 0.1},
    "widths": [2, 50, 400],
    "claims": [
        "det-diag-upper",
        "prob-width-hoeffding",
        "bernstein-width",
        "chernoff-width",
        "width-jensen",
        "width-rank",
        "claim-width-n6",
        "claim-width-n6-eigenvalue",
    ],
}
DEEP = DATA | {"kernel": "ntk", "grid": DATA["grid"] | {"n": [3], "depth": [2, 3, 4]}, "trials": 9, "widths": [3, 20]}


def ran(data: dict[str, Any], path: Path, client: Any, block_length: int | None = None) -> list[Event]:
    events: list[Event] = []
    outcome = drive(parse_study(data, trusted=True), path, client, [events.append], block_length)
    assert not outcome.failed
    assert not outcome.failed_trials
    return events


def computed(events: list[Event]) -> dict[int, int]:
    """Trials that were computed, by width; 0: of the limiting kernel."""
    found: dict[int, int] = {}
    for event in events:
        if isinstance(event, BlockDone):
            width = int(event.measurement.value)
            found[width] = found.get(width, 0) + event.trials
    return found


def networks(path: Path) -> xr.Dataset:
    """As plain xarray reads it."""
    opened: xr.Dataset = xr.open_zarr(path, group="finite_width").load()
    return opened


def assert_same(one: Path, other: Path) -> None:
    here, there = networks(one), networks(other)
    axes = {dim: here[dim].values for dim in ("distribution", "d", "n", "depth", "width")}
    trials = min(here.sizes["trial"], there.sizes["trial"])
    for name in declared("finite_width"):
        a = here[name].isel(trial=slice(trials)).values
        b = there.sel(axes)[name].isel(trial=slice(trials)).values
        assert a.tobytes() == b.tobytes(), name


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("networks") / "s"
    events = ran(DATA, path, client)
    assert computed(events) == {0: 160, 2: 160, 50: 160, 400: 160}
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert (started.cells, started.trials_planned, started.additional) == (4, 640, 3)
    assert sum(isinstance(event, CellDone) for event in events) == 4
    return path


def test_everything_is_there_and_declared(finished: Path) -> None:
    tree = open_results(finished)
    assert (tree["finite_width/status"] != 0).all()
    for group in ("finite_width", "convergence"):
        assert set(tree[group].data_vars) == set(declared(group))
        for name, variable in declared(group).items():
            array = tree[f"{group}/{name}"]
            assert array.dims == variable.dims
            assert array.attrs["long_name"] == variable.sentence
            assert array.attrs["units"] == variable.unit
    assert networks(finished)["lambda_min"].dims == ("distribution", "d", "n", "depth", "width", "trial")
    assert tree.attrs["identity"]["finite_width"] == empirical_ntk_module.NUMERICS


@pytest.mark.parametrize("data", [DATA, DEEP], ids=["two layers", "deep"])
def test_numbers_are_those_of_the_networks(data: dict[str, Any], tmp_path: Path, client: Any) -> None:
    """Against NumPy's eigenvalues of the public kernels, from the address of the draw and of the network."""
    study = parse_study(data | {"trials": 3}, trusted=True)
    drive(study, tmp_path / "s", client)
    stored = networks(tmp_path / "s")
    for cell in study.cells:
        X = draw(TrialConfig.of(study), cell.distribution, cell.d, cell.n, 2)
        for width in study.networks:
            key = spawn_key(cell.distribution.label, cell.d, cell.n, 2, Purpose.NETWORK, width)
            assert key[1] == 1
            assert key[-1] == width
            for depth in cell.depths:
                here = stored.sel(
                    distribution=cell.distribution.label, d=cell.d, n=cell.n, depth=depth, width=width
                ).isel(trial=2)
                found = empirical_ntk(X, width, study.kernel, depth, seed=seed_sequence(study.seed, key))
                limit = gram(X, study.kernel, depth)
                expected = {
                    "lambda_min": np.linalg.eigvalsh(found)[0],
                    "deviation": np.linalg.norm(found - limit, 2),
                    "entry_deviation": np.abs(found - limit).max(),
                    "data_norm": np.linalg.norm(X, 2) ** 2,
                    "kernel_norm": np.linalg.norm(limit, 2),
                }
                for name, value in expected.items():
                    low, high = (float(here[f"{name}_{end}"]) for end in ("lower", "upper"))
                    assert low - 1e-12 <= value <= high + 1e-12, name
                    assert high - low <= 1e-8, name


def test_no_widths_no_traces(tmp_path: Path, client: Any) -> None:
    plain = {key: value for key, value in DATA.items() if key != "widths"}
    ran(plain | {"trials": 4}, tmp_path / "s", client)
    assert set(open_results(tmp_path / "s").children) == set(GROUPS)
    assert not list((tmp_path / "s").rglob("*width*"))
    study = parse_study(plain, trusted=True)
    assert "widths" not in study.document()
    assert "finite_width" not in study.identity()
    assert not [each.label for each in study.instances if each.measurement]
    assert study.statistics == parse_study(DATA, trusted=True).statistics
    everything = parse_study(plain | {"claims": "everything"}, trusted=True)
    assert not [each.label for each in everything.instances if each.measurement]


@pytest.mark.long
def test_widths_that_are_added_recompute_nothing_else(finished: Path, tmp_path: Path, client: Any) -> None:
    path = tmp_path / "s"
    plain = {key: value for key, value in DATA.items() if key != "widths"}
    assert computed(ran(plain, path, client, 7)) == {0: 160}
    assert computed(ran(DATA | {"widths": [400]}, path, client, 11)) == {400: 160}
    events = ran(DATA | {"widths": [50, 2, 400]}, path, client)
    assert computed(events) == {50: 160, 2: 160}
    assert not [event for event in events if isinstance(event, Note)]
    assert_same(path, finished)
    assert computed(ran(DATA, path, client)) == {}
    # A study that asks for none leaves them where they are, and what was said of them.
    assert computed(ran(plain, path, client)) == {}
    verdicts = open_results(path)["claims/overall"].sel(claim="chernoff-width[delta=0.1,m=400]")
    assert int(verdicts) == int(open_results(finished)["claims/overall"].sel(claim="chernoff-width[delta=0.1,m=400]"))
    more = DATA | {"grid": DATA["grid"] | {"n": [3, 9, 5]}, "trials": 50}
    assert computed(ran(more, path, client)) == dict.fromkeys((0, 2, 50, 400), 2 * 50 + 4 * 10)
    assert_same(finished, path)


@pytest.mark.long
def test_depths_that_are_added_recompute_nothing_else(tmp_path: Path, client: Any) -> None:
    ran(DEEP, tmp_path / "whole", client)
    shallow = DEEP | {"grid": DEEP["grid"] | {"depth": [3]}}
    ran(shallow, tmp_path / "s", client)
    assert computed(ran(DEEP, tmp_path / "s", client)) == {0: 18, 3: 18, 20: 18}
    assert_same(tmp_path / "s", tmp_path / "whole")


@pytest.mark.long
def test_blocks_in_the_journal_count(finished: Path, tmp_path: Path, client: Any) -> None:
    """A reader sees them at once, and a run that is resumed folds them instead of computing them again."""
    path = tmp_path / "s"
    ran({key: value for key, value in DATA.items() if key != "widths"}, path, client)
    ran(DATA | {"trials": 5}, path, client)
    study = parse_study(DATA, trusted=True)
    cell = study.cells[1]
    measurement = MeasurementKey("finite_width", 50)
    task = BlockTask(
        TrialConfig.of(study), cell.distribution, cell.d, cell.n, cell.depths, cell.folder, 5, 10, measurement
    )
    key = (cell.distribution.label, cell.d, cell.n)
    block = Block(cell.folder, key, 5, 10, cell.depths, run_block(task), {}, measurement)
    assert block.name.endswith("5-10.L2.m50.npz")
    Journal(Location.of(path).blobs("journal")).put(block)
    seen = open_results(path)["finite_width"].to_dataset().sel(distribution=key[0], d=key[1], n=key[2], width=50)
    there = networks(finished).sel(distribution=key[0], d=key[1], n=key[2], width=50)
    assert np.array_equal(seen["deviation_upper"][:, 5:15], there["deviation_upper"][:, 5:15])
    assert (seen["status"][:, 15:] == 0).all()
    assert computed(ran(DATA, path, client)) == {2: 140, 50: 130, 400: 140}
    assert_same(path, finished)


@pytest.mark.long
def test_stores_are_merged(finished: Path, tmp_path: Path, client: Any) -> None:
    parts = [
        DATA | {"trials": {"from": 0, "count": 25}, "widths": [2, 50]},
        DATA | {"trials": {"from": 25, "count": 15}, "widths": [400, 2]},
    ]
    for number, part in enumerate(parts):
        ran(part, tmp_path / str(number), client)
    merged = merge(tmp_path / "m", [tmp_path / "0", tmp_path / "1"])
    assert merged.study.networks == (2, 50, 400)
    assert merged.missing == 4 * (15 + 25)
    assert computed(ran(DATA, tmp_path / "m", client)) == {50: 60, 400: 100}
    assert_same(tmp_path / "m", finished)
    report = verify(tmp_path / "m", sample=5)
    assert not report.findings
    plain = {key: value for key, value in DATA.items() if key != "widths"}
    ran(plain | {"trials": 5}, tmp_path / "plain", client)
    assert merge(tmp_path / "plain", [tmp_path / "0"]).missing == 4 * 0
    assert int((networks(tmp_path / "plain")["status"] != 0).sum()) == 4 * 2 * 25


@pytest.mark.long
def test_compacted_stores_hold_the_same_and_go_on(finished: Path, tmp_path: Path, client: Any) -> None:
    ran(DATA | {"trials": 30}, tmp_path / "s", client)
    before = open_results(tmp_path / "s")["convergence"].to_dataset().load()
    compact(tmp_path / "s")
    files = [each for each in (tmp_path / "s" / "finite_width" / "deviation_lower").rglob("*") if each.is_file()]
    assert len(files) == 2  # its values, and what they are
    assert before.identical(open_results(tmp_path / "s")["convergence"].to_dataset().load())
    assert computed(ran(DATA, tmp_path / "s", client)) == dict.fromkeys((0, 2, 50, 400), 40)
    assert_same(tmp_path / "s", finished)


@pytest.mark.long
def test_what_is_damaged_is_found_and_computed_again(finished: Path, tmp_path: Path, client: Any) -> None:
    path = tmp_path / "s"
    ran(DATA, path, client)
    assert not verify(path, sample=10).findings
    array = zarr.open_array(str(path), path="finite_width/deviation_lower", mode="r+")
    array[1, 0, 1, 0, 2, 7] = 9.0  # above its upper end
    report = verify(path, sample=0)
    (finding,) = [each for each in report.findings if each.cell]
    assert (finding.cell, finding.trials, finding.measurement) == (
        "gaussian,d=4,n=9",
        (7,),
        MeasurementKey("finite_width", 400),
    )
    assert not repair(path, report, client=client, progress=False).findings
    assert_same(path, finished)
    chunk = next(each for each in (path / "finite_width" / "lambda_min_upper" / "c").rglob("*") if each.is_file())
    chunk.write_bytes(chunk.read_bytes()[:-4] + b"oops")
    assert verify(path, sample=0).findings
    again = computed(ran(DATA, path, client))
    assert set(again) == {2, 50, 400}
    assert_same(path, finished)


def test_a_trial_is_recomputed_alone(finished: Path) -> None:
    rows = compare_trial(finished, "gaussian,d=4,n=9", 17)
    names = {name for name, *_ in rows}
    assert {"lambda_min", "network_lambda_min[m=2]", "network_deviation_lower[m=400]"} <= names
    assert all(here == there or (here != here and there != there) for _, _, here, there in rows)
    (margin,) = claim_margins(finished, "gaussian,d=4,n=9", 17, "width-rank[m=2]")
    assert margin[0] == "width-rank[m=2]"
    assert margin[2:4] == (0.0, 0.0)
    assert margin[-1] == "holds"


@pytest.mark.long
def test_networks_of_an_adaptive_study_follow_its_trials(tmp_path: Path, client: Any) -> None:
    adaptive = DATA | {"trials": {"at-least": 20, "at-most": 300, "half-width": 0.2}}
    plain = {key: value for key, value in adaptive.items() if key != "widths"}
    ran(adaptive, tmp_path / "s", client)
    ran(plain, tmp_path / "later", client)
    assert set(computed(ran(adaptive, tmp_path / "later", client))) == {2, 50, 400}
    for path in (tmp_path / "s", tmp_path / "later"):
        tree = open_results(path)
        trials = (tree["trials"].to_dataset()["status"] != 0).sum("trial")
        assert int(trials.max()) < 300
        mine = (tree["finite_width"].to_dataset()["status"] != 0).sum("trial")
        assert (mine == trials).all()
        used = tree["estimates/trials_used"]
        assert (tree["convergence/trials_used"] == used).all()
    assert_same(tmp_path / "s", tmp_path / "later")


def test_other_numerics_are_refused(finished: Path, monkeypatch: pytest.MonkeyPatch, client: Any) -> None:
    monkeypatch.setitem(empirical_ntk_module.NUMERICS, "block", 17)
    with pytest.raises(StoreError, match=r"finite_width\.block is 4096 there and 17 here"):
        drive(parse_study(DATA, trusted=True), finished, client)


def test_verdicts_and_estimates(finished: Path) -> None:
    """What is proved holds, and 40 trials are enough to say so of the wide networks."""
    tree = open_results(finished)
    overall = {
        str(label): Verdict(int(word)) for label, word in tree["claims"].to_dataset()["overall"].to_series().items()
    }
    assert overall["width-rank[m=2]"] is Verdict.HOLDS
    assert overall["width-rank[m=50]"] is Verdict.NOT_APPLICABLE
    for claim in ("prob-width-hoeffding", "bernstein-width", "chernoff-width"):
        words = [overall[f"{claim}[delta=0.1,m={width}]"] for width in (2, 50, 400)]
        assert set(words) <= {Verdict.SUPPORTED, Verdict.UNDECIDED, Verdict.VACUOUS}, claim
    assert overall["width-jensen[m=2]"] in (Verdict.SUPPORTED, Verdict.UNDECIDED)
    found = tree["convergence"].to_dataset().load().sel(d=4, depth=2)
    assert (found["trials_used"] == 40).all()
    assert ((found["exponent"] > -0.6) & (found["exponent"] < -0.4)).all()
    assert ((found["exponent_lower"] <= found["exponent"]) & (found["exponent"] <= found["exponent_upper"])).all()
    assert (found["norm_share"] <= found["eigenvalue_share"] + 1e-12).all()  # Weyl
    assert (found["deviation_median"].diff("width") < 0).all()
    limit = tree["trials/lambda_min"].sel(d=4, depth=2).median("trial")
    np.testing.assert_allclose(
        found["printed_width"], (found["n"] ** 6 / limit**4).transpose(*found["printed_width"].dims), rtol=1e-6
    )


def test_commands_show_networks(
    finished: Path, tmp_path: Path, client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert called(monkeypatch, "show", str(finished), "--widths") == 0
    said = capsys.readouterr().out
    assert "Tangent kernels of finite networks" in said
    assert max(map(len, said.splitlines())) <= 80
    assert called(monkeypatch, "show", str(finished), "m=50,distribution=sphere", "--widths", "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["distribution"], row["n"], row["width"]) for row in rows] == [("sphere", 3, 50), ("sphere", 9, 50)]
    stored = open_results(finished)["convergence"].to_dataset().sel(distribution="sphere", d=4, depth=2, n=9, width=50)
    assert rows[1]["norm_share"] == pytest.approx(float(stored["norm_share"]))
    assert called(monkeypatch, "show", str(finished), "--widths", "--claims") == 2
    assert (
        called(
            monkeypatch, "trial", str(finished), "sphere,d=4,n=9", "3", "--claim", "chernoff-width[delta=0.1,m=400]"
        )
        == 0
    )
    assert "bit for bit" in capsys.readouterr().out
    assert called(monkeypatch, "verify", str(finished), "--sample", "3") == 0
    plain = {key: value for key, value in DATA.items() if key != "widths"} | {"trials": 3}
    ran(plain, tmp_path / "plain", client)
    assert called(monkeypatch, "show", str(tmp_path / "plain"), "--widths") == 2
    assert "no study in this store asked for finite widths" in capsys.readouterr().err


def test_a_plan_counts_networks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """More networks take more of everything, and too large ones are refused with the number to change."""
    found = []
    for widths in (None, [64], [64, 4096]):
        study = parse_study(
            {key: value for key, value in DATA.items() if key != "widths"} | {"widths": widths}, trusted=True
        )
        found.append(make_plan(study, load_profile("local")))
    for less, more in itertools.pairwise(found):
        assert less.core_hours < more.core_hours
        assert less.worker_bytes <= more.worker_bytes
        assert less.disk_bytes < more.disk_bytes
        assert less.files <= more.files
    huge = make_plan(parse_study(DEEP | {"widths": 2**31}, trusted=True), load_profile("local"))
    with pytest.raises(InputError, match="GiB per worker"):
        check_plan(huge)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(DATA))
    assert called(monkeypatch, "plan", str(tmp_path / "study.yaml")) == 0
    assert "2, 50, 400: a network of each is drawn in every trial" in capsys.readouterr().out


def test_findings_of_networks_are_evidenced(finished: Path) -> None:
    """The explorer's and the report's way to a single trial of a claim about networks."""
    grid = open_grid(str(finished))
    place = grid.place("sphere", d=4, n=9, depth=2)
    instance = find_instance("bernstein-width[delta=0.1,m=400]")
    assert instance is not None
    values = trial_values(grid, instance, place, 5)
    stored = networks(finished).sel(distribution="sphere", d=4, n=9, depth=2, width=400).isel(trial=5)
    assert values["network_deviation_upper"].tolist() == [float(stored["deviation_upper"])]
