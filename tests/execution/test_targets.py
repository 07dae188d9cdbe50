"""Targets and trained networks in a run: numbers, labels, estimates, verdicts, and what the commands show.

`tests/experiment/test_measurements.py` tests what all additional measurements have in common.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from calling import called
from measured import quantity_of
from ntkmc import InputError, gram, open_results, predict_training, train
from ntkmc.errors import StoreError
from ntkmc.execution.plan import check_plan, make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.maintenance.recompute import claim_margins
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.study.address import Purpose
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.measurements import MeasurementKey
from ntkmc.experiment.trial.draw import TrialConfig, TrialContext, draw
from ntkmc.experiment.trial.run import BlockTask, run_block
from ntkmc.experiment.trial.training import rows_to_test
from ntkmc.theory.claims import find_instance
from ntkmc.theory.distributions import build
from ntkmc.theory.targets import CHECKPOINTS
from ntkmc.views.cells import open_grid
from ntkmc.views.evidence import trial_values
from stores import assert_equal_groups, computed_trials, group_of, run_study

DATA: dict[str, Any] = {
    "name": "training",
    "seed": 11,
    "kernel": "h-infinity",
    "grid": {"distribution": "sphere", "d": 4, "n": [3, 9], "depth": 2},
    "trials": 10,
    "event": {"lambda-0": [0.05, 0.2], "delta": 0.1},
    "targets": ["linear", "random-sign"],
    "train": {"widths": [8, 32], "kappa": [0.5], "steps": 20},
    "claims": [
        "det-diag-upper",
        "det-label-form",
        "det-target-sandwich-upper",
        "claim-iterations",
        "claim-generalization",
    ],
}
PLAIN = {key: value for key, value in DATA.items() if key not in ("targets", "train")}
NETWORKS = [f"{target}:m={m}:kappa=0.5" for target in ("linear", "random-sign") for m in (8, 32)]
PARTS = [0, "linear", "random-sign", *NETWORKS]
GROUPS = ("training", "trained")
ONE: dict[str, Any] = {"grid": DATA["grid"] | {"n": [9]}}
"""Of the two cells the larger."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("training") / "s"
    assert computed_trials(run_study(DATA, path, client)) == dict.fromkeys(PARTS, 20)
    return path


def test_numbers_are_those_of_the_draws(finished: Path) -> None:
    """The very rows and labels, through the public functions, and their losses by dense linear algebra."""
    study = parse_study(DATA, trusted=True)
    cell = study.cells[1]
    stored = group_of(finished, "training").sel(distribution="sphere", d=4, n=9, depth=2).isel(trial=3)
    networks = group_of(finished, "trained").sel(distribution="sphere", d=4, n=9, depth=2).isel(trial=3)
    X = draw(TrialConfig.of(study), cell.distribution, 4, 9, 3, more=256)
    assert np.array_equal(X[:9], draw(TrialConfig.of(study), cell.distribution, 4, 9, 3))
    K = gram(X, "h-infinity")
    context = TrialContext(TrialConfig.of(study), cell.distribution, 4, 9, (2,), 3)
    for target in ("linear", "random-sign"):
        here = stored.sel(target=target)
        y = labels_of(context, target, X)
        found = predict_training(X[:9], y[:9], "h-infinity")
        assert here["step_size"] == pytest.approx(found.step_size, rel=1e-12)
        assert here["label_norm"] == pytest.approx(np.linalg.norm(y[:9]))
        assert found.label_form is not None
        assert here["label_form_lower"] <= found.label_form.value <= here["label_form_upper"]
        np.testing.assert_allclose(here["residual_lower"], found.residual(CHECKPOINTS)[0], atol=1e-9)
        f = K[9:, :9] @ np.linalg.solve(K[:9, :9], y[:9])
        assert here["regression_loss"] == pytest.approx(np.mean(np.minimum(1.0, np.abs(f - y[9:]))), rel=1e-6)
        network = networks.sel(network=f"{target}:m=32:kappa=0.5")
        seed = context.seed(Purpose.NETWORK, 32)
        trained = train(X[:9], y[:9], 32, kappa=0.5, step_size=found.step_size, steps=20, seed=seed, X_test=X[9:])
        np.testing.assert_allclose(network["residual"][:6], trained.residual[[0, 1, 2, 4, 8, 16]], rtol=1e-9)
        assert np.isinf(network["residual"][6:]).all()
        assert trained.test_outputs is not None
        assert network["test_loss"] == pytest.approx(
            np.mean(np.minimum(1.0, np.abs(trained.test_outputs - y[9:]))), rel=1e-6
        )
        between = 0.5 * sum(found.residual(np.arange(21)))
        assert network["gap"] == pytest.approx(np.max(np.abs(trained.residual - between)) / found.label_norm, rel=1e-6)


def labels_of(context: TrialContext, target: str, X: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Labels from their address: the purpose, and a hash of the target's name."""
    word = int.from_bytes(hashlib.blake2b(target.encode(), digest_size=4).digest(), "little")
    rng = np.random.Generator(np.random.Philox(context.seed(Purpose.LABELS, word)))
    if target == "random-sign":
        return np.where(rng.random(len(X)) < 0.5, -1.0, 1.0)
    beta = rng.standard_normal(4)
    return np.asarray(2.0 * X @ (beta / np.linalg.norm(beta)))


def test_estimates_follow_from_the_trials(finished: Path) -> None:
    trials = group_of(finished, "training").sel(target="linear").squeeze(drop=True)
    found = group_of(finished, "prediction").sel(target="linear").squeeze(drop=True)
    form = 0.5 * (trials["label_form_lower"] + trials["label_form_upper"])
    bounds = (2.0 * form / trials["n"]) ** 0.5
    middle = np.sort(bounds.transpose("n", "trial").values, axis=1)[:, 4]
    np.testing.assert_allclose(found["bound"], middle, rtol=1e-9)
    assert (found["bound_lower"] <= found["bound"]).all()
    assert (found["trials_used"] == 10).all()
    np.testing.assert_allclose(found["regression_loss"], trials["regression_loss"].mean("trial"), rtol=1e-12)
    np.testing.assert_allclose(found["residual"].isel(step=0), 1.0, rtol=1e-12)
    assert (found["residual"].diff("step") <= 1e-12).all()
    assert (found["steps_share"] <= 1.0 + found["steps_share"] / found["steps"]).all()
    followed = group_of(finished, "dynamics").sel(network=NETWORKS[:2]).squeeze(drop=True)
    assert np.array_equal(followed["gap_width"].isel(network=0), followed["gap_width"].isel(network=1))
    assert np.isfinite(followed["gap_width"]).all()
    assert np.isnan(followed["gap_kappa"]).all()  # one scale alone
    slope = np.log(followed["gap"].isel(network=1) / followed["gap"].isel(network=0)) / np.log(4.0)
    np.testing.assert_allclose(followed["gap_width"].isel(network=0), slope, rtol=1e-9)


@pytest.mark.long
def test_what_is_added_recomputes_nothing_else(finished: Path, tmp_path: Path, client: Any) -> None:
    path = tmp_path / "s"
    assert computed_trials(run_study(PLAIN | ONE | {"targets": ["random-sign"]}, path, client, 3)) == {
        0: 10,
        "random-sign": 10,
    }
    narrow = DATA | ONE | {"train": DATA["train"] | {"widths": [32]}}
    assert computed_trials(run_study(narrow, path, client, 7)) == {"linear": 10, **dict.fromkeys(NETWORKS[1::2], 10)}
    there: dict[Any, int] = dict.fromkeys((0, "linear", "random-sign", *NETWORKS[1::2]), 10)
    assert computed_trials(run_study(DATA, path, client, 4)) == there | dict.fromkeys(NETWORKS[::2], 20)
    for name in GROUPS:
        assert_equal_groups(name, path, finished)
    more = {"targets": ["linear"], "step-size": 0.25, "train": DATA["train"] | {"widths": [8], "kappa": 0.1}}
    assert computed_trials(run_study(DATA | ONE | more, path, client)) == dict.fromkeys(
        ("linear@0.25", "linear@0.25:m=8:kappa=0.1"), 10
    )
    for name in GROUPS:
        assert_equal_groups(name, finished, path)
    assert (group_of(path, "training")["step_size"].sel(target="linear@0.25", n=9) == 0.25).all()
    with pytest.raises(StoreError, match=r"trained\.steps is 20 there and 30 here"):
        run_study(DATA | {"train": DATA["train"] | {"steps": 30}}, path, client)


def test_a_claim_is_evaluated_in_one_trial(finished: Path) -> None:
    (margin,) = claim_margins(finished, "sphere,d=4,n=9", 3, "det-label-form[target=linear]")
    assert margin[3] == pytest.approx(16.0, rel=1e-6)
    assert margin[-1] == "holds"


def test_verdicts_and_evidence(finished: Path) -> None:
    claims = open_results(finished)["claims"].to_dataset()["overall"].load()
    found = {str(label): Verdict(int(claims.sel(claim=label))) for label in claims["claim"].values}
    for target in ("linear", "random-sign"):
        assert found[f"claim-iterations[target={target}]"] is Verdict.HOLDS
        assert found[f"det-target-sandwich-upper[target={target}]"] is Verdict.HOLDS
    assert found["det-label-form[target=linear]"] is Verdict.HOLDS
    assert found["det-label-form[target=random-sign]"] is Verdict.NOT_APPLICABLE
    grid = open_grid(str(finished))
    instance = find_instance("claim-residual-slowest[target=linear]")
    assert instance is not None
    place = grid.place("sphere", d=4, n=9, depth=2)
    values = trial_values(grid, instance, place, 5)
    stored = (
        group_of(finished, "training").sel(distribution="sphere", d=4, n=9, depth=2, target="linear").isel(trial=5)
    )
    assert values["training_residual_upper"].tolist() == [stored["residual_upper"].values.tolist()]
    quantity = quantity_of(instance, grid.study.context(grid.study.cells[1], 2), values)
    assert quantity.lower[0] <= 0.0 <= quantity.upper[0] + 1e-6


def test_commands_show_training(
    finished: Path, tmp_path: Path, client: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert called(monkeypatch, "show", str(finished), "--targets") == 0
    said = capsys.readouterr().out
    for title in ("Training as the kernel predicts it", "Exponents in n of the bound", "Trained networks"):
        assert title in said
    assert called(monkeypatch, "show", str(finished), "n=9,target=linear", "--targets", "--format", "json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [(row["network"], row["width"]) for row in rows] == [("", 0), *((NETWORKS[i], (8, 32)[i]) for i in (0, 1))]
    assert called(monkeypatch, "show", str(finished), "--targets", "--widths") == 2
    capsys.readouterr()
    run_study(PLAIN | {"trials": 2}, tmp_path / "plain", client)
    assert called(monkeypatch, "show", str(tmp_path / "plain"), "--targets") == 2
    assert "no study in this store asked for training" in capsys.readouterr().err


def test_a_plan_counts_training() -> None:
    studies = [parse_study(data, trusted=True) for data in (PLAIN, PLAIN | {"targets": "relu"}, DATA)]
    for less, more in itertools.pairwise(make_plan(study, load_profile("local")) for study in studies):
        assert less.core_hours < more.core_hours
        assert less.worker_bytes <= more.worker_bytes
        assert less.disk_bytes < more.disk_bytes
        assert less.files < more.files
    wide = DATA | {"train": DATA["train"] | {"widths": 2**31}}
    with pytest.raises(InputError, match="iB per worker"):
        check_plan(make_plan(parse_study(wide, trusted=True), load_profile("local")))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"targets": "linnear"}, "targets: unknown target 'linnear': .*linear"),
        ({"targets": []}, "targets: .*at least 1 item"),
        ({"step-size": 0.0}, "step-size.*greater than 0"),
        ({"step-size": "largest"}, "step-size"),
        ({"train": {"widths": [8], "kappa": 0.0}}, "train.kappa.*greater than 0"),
        ({"train": {"widths": [8], "steps": 0}}, "train.steps.*greater than or equal to 1"),
        ({"train": {"kappa": 1.0}}, "train.widths"),
        ({"kernel": "ntk"}, "train: networks are trained whose kernel is h-infinity, not ntk"),
        ({"targets": None}, "train: nothing to train on; name targets: linear"),
        ({"targets": None, "train": None, "step-size": 1.0}, "step-size: nothing to train on"),
    ],
)
def test_studies_that_cannot_be_trained(change: dict[str, Any], message: str) -> None:
    data = {key: value for key, value in (DATA | change).items() if value is not None}
    with pytest.raises(InputError, match=message) as caught:
        parse_study(data, trusted=True)
    assert "\n" not in str(caught.value)


def test_short_data_sets_have_few_rows_to_test_on(tmp_path: Path) -> None:
    np.save(tmp_path / "rows.npy", np.random.default_rng(0).standard_normal((50, 4)))
    law = build({"dataset": {"path": str(tmp_path / "rows.npy")}}, trusted=True)
    assert [rows_to_test(law, 4, n) for n in (10, 34, 49, 50)] == [32, 16, 1, 0]
    assert rows_to_test(build("sphere", trusted=True), 4, 10) == 256
    task = BlockTask(TrialConfig(1, "ntk", "unit"), law, 4, 50, (2, 3), "f", 0, 2, MeasurementKey("training", "relu"))
    found = run_block(task)
    assert np.isinf(found["regression_loss"]).all()
    assert found["residual_lower"].shape == (2, 2, len(CHECKPOINTS))
    assert (found["status"] > 0).all()


def test_a_data_set_brings_its_own_labels(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((300, 5))
    np.save(tmp_path / "rows.npy", rows)
    data = PLAIN | {
        "grid": {"distribution": {"dataset": {"path": str(tmp_path / "rows.npy"), "column": 2}}, "d": 4, "n": 20},
        "targets": ["column"],
    }
    study = parse_study(data, trusted=True)
    assert parse_study(study.document(), trusted=True).digest() == study.digest()
    (cell,) = study.cells
    assert cell.distribution.label.startswith("dataset(column=2,content=")
    context = TrialContext(TrialConfig.of(study), cell.distribution, 4, 20, (2,), 1)
    X, y = draw(context.config, cell.distribution, 4, 20, 1, more=256), context.own_labels(256)
    scale = np.sqrt(np.mean(rows[:, 2] ** 2))
    known = {tuple(np.round(row / np.linalg.norm(row), 9)): row for row in np.delete(rows, 2, axis=1)}
    for x, label in zip(X, y, strict=True):
        row = known[tuple(np.round(x, 9))]
        (at,) = np.flatnonzero((np.delete(rows, 2, axis=1) == row).all(axis=1))
        assert label == rows[at, 2] / scale
    task = BlockTask(context.config, cell.distribution, 4, 20, (2,), "f", 1, 1, MeasurementKey("training", "column"))
    assert run_block(task)["label_norm"][0, 0] == pytest.approx(np.linalg.norm(y[:20]))
    with pytest.raises(InputError, match="targets: sphere has no labels of its own"):
        parse_study(PLAIN | {"targets": ["column"]}, trusted=True)
    for column in (5, -1, True, 1.5):
        with pytest.raises(InputError, match="column must be an integer from 0 to 4"):
            build({"dataset": {"path": str(tmp_path / "rows.npy"), "column": column}}, trusted=True)
