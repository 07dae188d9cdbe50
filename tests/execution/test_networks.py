"""Finite widths in a run: numbers, verdicts, plans, and what the commands show.

`tests/experiment/test_measurements.py` tests what all additional measurements have in common.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from calling import called
from ntkmc import empirical_ntk, gram, open_results
from ntkmc.errors import InputError
from ntkmc.execution.driver import drive
from ntkmc.execution.events import CellDone, RunStarted
from ntkmc.execution.plan import check_plan, make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.maintenance.recompute import claim_margins
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.study.address import Purpose, seed_sequence, spawn_key
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.trial.draw import TrialConfig, draw
from ntkmc.theory.claims import find_instance
from ntkmc.views.cells import open_grid
from ntkmc.views.evidence import trial_values
from stores import assert_equal_groups, computed_trials, group_of, run_study

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


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("networks") / "s"
    events = run_study(DATA, path, client)
    assert computed_trials(events) == {0: 160, 2: 160, 50: 160, 400: 160}
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert (started.cells, started.trials_planned, started.additional) == (4, 640, 3)
    assert sum(isinstance(event, CellDone) for event in events) == 4
    return path


@pytest.mark.parametrize("data", [DATA, DEEP], ids=["two layers", "deep"])
def test_numbers_are_those_of_the_networks(data: dict[str, Any], tmp_path: Path, client: Any) -> None:
    """Against NumPy's eigenvalues of the public kernels, from the address of the draw and of the network."""
    study = parse_study(data | {"trials": 3}, trusted=True)
    drive(study, tmp_path / "s", client)
    stored = group_of(tmp_path / "s", "finite_width")
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


def test_a_claim_is_evaluated_in_one_trial(finished: Path) -> None:
    (margin,) = claim_margins(finished, "gaussian,d=4,n=9", 17, "width-rank[m=2]")
    assert margin[0] == "width-rank[m=2]"
    assert margin[2:4] == (0.0, 0.0)
    assert margin[-1] == "holds"


@pytest.mark.long
def test_networks_of_an_adaptive_study_follow_its_trials(tmp_path: Path, client: Any) -> None:
    adaptive = DATA | {"trials": {"at-least": 20, "at-most": 300, "half-width": 0.2}}
    plain = {key: value for key, value in adaptive.items() if key != "widths"}
    run_study(adaptive, tmp_path / "s", client)
    run_study(plain, tmp_path / "later", client)
    assert set(computed_trials(run_study(adaptive, tmp_path / "later", client))) == {2, 50, 400}
    for path in (tmp_path / "s", tmp_path / "later"):
        tree = open_results(path)
        trials = (tree["trials"].to_dataset()["status"] != 0).sum("trial")
        assert int(trials.max()) < 300
        mine = (tree["finite_width"].to_dataset()["status"] != 0).sum("trial")
        assert (mine == trials).all()
        used = tree["estimates/trials_used"]
        assert (tree["convergence/trials_used"] == used).all()
    assert_equal_groups("finite_width", tmp_path / "s", tmp_path / "later")


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
    run_study(plain, tmp_path / "plain", client)
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
    with pytest.raises(InputError, match="iB per worker"):
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
    stored = group_of(finished, "finite_width").sel(distribution="sphere", d=4, n=9, depth=2, width=400).isel(trial=5)
    assert values["network_deviation_upper"].tolist() == [float(stored["deviation_upper"])]
