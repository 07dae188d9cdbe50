"""Feature maps in a run: numbers, methods, verdicts, plans, and what the commands show.

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
from ntkmc import gram, ntk_features, open_results
from ntkmc.errors import InputError, StoreError
from ntkmc.execution.driver import drive
from ntkmc.execution.plan import check_plan, make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.maintenance.merge import merge
from ntkmc.experiment.maintenance.recompute import claim_margins, compare_trial
from ntkmc.experiment.maintenance.verify import verify
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.study.address import Purpose, seed_sequence, spawn_key
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.trial.draw import TrialConfig, draw
from stores import assert_equal_groups, computed_trials, group_of, run_study

DATA: dict[str, Any] = {
    "name": "sketches",
    "seed": 11,
    "kernel": "ntk",
    "grid": {"distribution": "gaussian", "d": 4, "n": [3, 9], "depth": [2, 3]},
    "trials": 8,
    "event": {"lambda-0": [0.05, 0.2], "delta": 0.2},
    "features": [4, 60, 300],
    "claims": ["det-diag-upper", "sketch-rank", "sketch-weyl"],
}
PLAIN = {key: value for key, value in DATA.items() if key != "features"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("sketches") / "s"
    assert computed_trials(run_study(DATA, path, client)) == {0: 16, 4: 16, 60: 16, 300: 16}
    return path


@pytest.mark.parametrize("method", ["random-features", "tensor-sketch"])
def test_numbers_are_those_of_the_maps(method: str, tmp_path: Path, client: Any) -> None:
    """Against NumPy's eigenvalues of the public features, from the address of the draw and of the map."""
    study = parse_study(DATA | {"trials": 2, "sketch": method, "features": [7, 60]}, trusted=True)
    drive(study, tmp_path / "s", client)
    stored = group_of(tmp_path / "s", "sketching")
    for cell, features, depth in itertools.product(study.cells, (7, 60), (2, 3)):
        X = draw(TrialConfig.of(study), cell.distribution, cell.d, cell.n, 1)
        key = spawn_key(cell.distribution.label, cell.d, cell.n, 1, Purpose.SKETCH, features)
        assert (key[1], key[-1]) == (3, features)
        place = {"distribution": cell.distribution.label, "d": cell.d, "n": cell.n, "depth": depth}
        here = stored.sel(place | {"features": features}).isel(trial=1)
        seed = seed_sequence(study.seed, key)
        Phi = ntk_features(X, features, "ntk", depth, method=method, seed=seed)
        S, K = Phi @ Phi.T, gram(X, "ntk", depth)
        expected = {
            "lambda_min": np.linalg.eigvalsh(S)[0],
            "deviation": np.linalg.norm(S - K, 2),
            "entry_deviation": np.abs(S - K).max(),
            "kernel_norm": np.linalg.norm(K, 2),
        }
        for name, value in expected.items():
            low, high = (float(here[f"{name}_{end}"]) for end in ("lower", "upper"))
            assert low - 1e-12 <= value <= high + 1e-12, name
            assert high - low <= 1e-8, name


@pytest.mark.long
def test_another_method_is_another_store(finished: Path, tmp_path: Path, client: Any) -> None:
    """But an explicit default is not, and a store without maps takes any; the method survives a study without them."""
    assert computed_trials(run_study(DATA | {"sketch": "random-features"}, finished, client)) == {}
    other = DATA | {"sketch": "tensor-sketch", "trials": 3, "features": 60}
    with pytest.raises(StoreError, match=r"sketching\.method is random-features there and tensor-sketch here"):
        drive(parse_study(other, trusted=True), finished, client)
    run_study(PLAIN | {"trials": 3}, tmp_path / "s", client)
    assert computed_trials(run_study(other, tmp_path / "s", client)) == {60: 6}
    assert computed_trials(run_study(PLAIN | {"trials": 3}, tmp_path / "s", client)) == {}
    assert not verify(tmp_path / "s", sample=6).findings
    assert not verify(tmp_path / "s", sample=6, study=parse_study(PLAIN | {"trials": 3}, trusted=True)).findings
    rows = compare_trial(tmp_path / "s", "gaussian,d=4,n=9", 2)
    assert "sketch_deviation_upper[s=60]" in {name for name, *_ in rows}
    assert all(here == there for _, _, here, there in rows)
    merged = merge(tmp_path / "m", [tmp_path / "s"])  # whose last study had no maps
    assert (merged.study.features, merged.study.method, merged.missing) == ((60,), "tensor-sketch", 0)
    assert_equal_groups("sketching", tmp_path / "m", tmp_path / "s")


def test_verdicts_and_estimates(finished: Path) -> None:
    tree = open_results(finished)
    overall = tree["claims/overall"].to_series()
    words = {str(label): Verdict(int(word)) for label, word in overall.items()}
    assert words["sketch-rank[s=4]"] is Verdict.HOLDS
    assert words["sketch-rank[s=60]"] is Verdict.NOT_APPLICABLE
    assert {words[f"sketch-weyl[s={s}]"] for s in (4, 60, 300)} == {Verdict.HOLDS}
    found = tree["sketch_accuracy"].to_dataset().load().sel(d=4)
    assert (found["trials_used"] == 8).all()
    assert (found["deviation_quantile"].diff("quantile") >= 0).all()
    assert (found["deviation_quantile"].sel(quantile=0.5) == found["deviation_median"]).all()
    assert (found["norm_share"] <= found["eigenvalue_share"] + 1e-12).all()  # Weyl
    assert (found["entry_deviation_quantile"] <= found["deviation_quantile"]).all()
    assert (found["deviation_median"].diff("features") < 0).all()
    assert ((found["exponent"] > -0.9) & (found["exponent"] < -0.2)).all()
    (margin,) = claim_margins(finished, "gaussian,d=4,n=9", 7, "sketch-rank[s=4]")[:1]
    assert margin[-1] == "holds"


def test_commands_show_features(
    finished: Path, tmp_path: Path, client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert called(monkeypatch, "show", str(finished), "--features") == 0
    said = capsys.readouterr().out
    assert "Feature maps by random-features" in said
    assert max(map(len, said.splitlines())) <= 80
    assert called(monkeypatch, "show", str(finished), "s=60,distribution=gaussian", "--features", "-f", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["n"], row["depth"], row["features"]) for row in rows] == [
        (3, 2, 60),
        (3, 3, 60),
        (9, 2, 60),
        (9, 3, 60),
    ]
    stored = open_results(finished)["sketch_accuracy"].to_dataset()
    here = stored.sel(distribution="gaussian", d=4, n=9, depth=3, features=60)
    assert rows[3]["entry_deviation_q90"] == pytest.approx(float(here["entry_deviation_quantile"].sel(quantile=0.9)))
    assert rows[3]["map_size"] == 8 * 9 * 60
    assert called(monkeypatch, "show", str(finished), "--features", "--widths") == 2
    assert "choose one" in capsys.readouterr().err
    run_study(PLAIN | {"trials": 3}, tmp_path / "plain", client)
    assert called(monkeypatch, "show", str(tmp_path / "plain"), "--features") == 2
    assert "no study in this store asked for feature maps" in capsys.readouterr().err


def test_a_plan_counts_features(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for features in (None, [64], [64, 4096]):
        found.append(make_plan(parse_study(DATA | {"features": features}, trusted=True), load_profile("local")))
    for less, more in itertools.pairwise(found):
        assert less.core_hours < more.core_hours
        assert less.worker_bytes <= more.worker_bytes
        assert less.disk_bytes < more.disk_bytes
    with pytest.raises(InputError, match="iB per worker"):
        check_plan(make_plan(parse_study(DATA | {"features": 2**31}, trusted=True), load_profile("local")))
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(DATA))
    assert called(monkeypatch, "plan", str(tmp_path / "study.yaml")) == 0
    assert "4, 60, 300: a feature map with so many columns is drawn in every trial" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"features": 1}, r"features\[0\]: should be greater than or equal to 2, got 1"),
        ({"features": [True]}, r"features\[0\]: must be a number, got true"),
        ({"sketch": "fourier"}, "sketch: should be 'random-features' or 'tensor-sketch', got 'fourier'"),
        ({"features": None, "sketch": "tensor-sketch"}, "sketch: tensor-sketch of how many features"),
        ({"grid": DATA["grid"] | {"depth": [1, 2]}}, "features: a kernel of depth 1 is linear"),
    ],
)
def test_bad_studies_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_study(DATA | change, trusted=True)
