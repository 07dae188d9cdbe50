"""Claims about training and labels: their formulas from dense linear algebra, and that what is proved holds."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from measured import quantity_of
from ntkmc import gram
from ntkmc.experiment.analysis.verdicts import judge
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.trial.draw import TrialConfig, TrialContext
from ntkmc.experiment.trial.training import measure_training
from ntkmc.linalg.eigen.result import Status
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import CLAIMS, Instance, find_instance, instances
from ntkmc.theory.claims.trial_statistics import TRAINING
from ntkmc.theory.distributions import build
from ntkmc.theory.targets import CHECKPOINTS, TARGETS, labels

CONTEXT = CellContext("h-infinity", 2, 12, 6, True)
OF_TRAINING = [claim for claim in CLAIMS.values() if claim.group is TRAINING]


def found(label: str) -> Instance:
    instance = find_instance(label)
    assert instance is not None, label
    return instance


def measured(target: str, kernel: str = "h-infinity", trials: int = 4, step: str = "") -> dict[str, Any]:
    """Statistics as in the store, of a few draws, beside lambda_min by NumPy."""
    rows: list[dict[str, Any]] = []
    for trial in range(trials):
        subject = TrialContext(TrialConfig(3, kernel, "unit"), build("sphere", trusted=True), 6, 12, (2,), trial)
        values = measure_training(subject, target + step)[2]
        mine = {f"training_{name}": value for name, value in values.items() if name != "status"}
        rows_here = subject.rows()
        least = float(np.linalg.eigvalsh(gram(rows_here.unit * rows_here.norms[:, None], kernel))[0])
        rows.append(mine | {"lambda_min_lower": least * (1 - 1e-10), "lambda_min_upper": least * (1 + 1e-10)})
    stacked = {name: np.array([row[name] for row in rows]) for name in rows[0]}
    return stacked | {"status": np.full(trials, Status.CERTIFIED.code)}


@pytest.mark.parametrize("name", ["lower", "upper"])
def test_labels_that_are_all_zero(name: str) -> None:
    """Rectified labels of few rows may all be 0: bounds and form are 0, without a warning. NaN stays unknown."""
    zero = np.zeros(3)
    nothing = {f"training_label_{each}": zero for each in ("energy_lower", "energy_upper", "form_lower", "form_upper")}
    statistics = nothing | {"training_label_norm": np.array([0.0, 0.0, np.nan])}
    statistics |= {"lambda_min_lower": np.array([0.5, 0.0, 0.5]), "lambda_min_upper": np.array([0.5, 0.0, 0.5])}
    bound = found(f"det-target-sandwich-{name}[target=relu]").bound(CONTEXT, statistics)
    np.testing.assert_array_equal(bound.lower, [0.0, 0.0, np.nan])
    np.testing.assert_array_equal(bound.upper, [0.0, 0.0, np.nan])


@pytest.mark.parametrize("target", [name for name, target in TARGETS.items() if not target.own])
def test_mean_square_is_one(target: str) -> None:
    """On the sphere, by a z-test at level 1e-6; of quadratic labels it is d / (d + 2)."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((20_000, 10))
    y = labels(TARGETS[target], X / np.linalg.norm(X, axis=1)[:, None], rng) ** 2
    wanted = 10.0 / 12.0 if target == "quadratic" else 1.0
    assert abs(y.mean() - wanted) <= 4.9 * y.std() / math.sqrt(len(y)) + 1e-12


def test_label_forms_by_hand() -> None:
    """4 alpha^2 for linear labels and 2 pi alpha^2 for quadratic ones, of H-infinity; the printed 9 p^2 is above."""
    values = measured("linear")
    bound = found("det-label-form[target=linear]").bound(CONTEXT, values).value
    assert bound == pytest.approx(4.0 * 6.0, rel=1e-9)
    bound = found("det-label-form[target=quadratic]").bound(CONTEXT, measured("quadratic")).value
    assert bound == pytest.approx(2.0 * math.pi * 36.0 / 3.0, rel=1e-9)
    deep = replace(CONTEXT, kernel="ntk", depth=3)
    assert found("det-label-form[target=linear]").bound(deep, values).value == pytest.approx(6.0 / 0.958113064251)
    assert not found("det-label-form[target=relu]").applies(CONTEXT)
    assert not found("det-label-form[target=random-sign]").applies(CONTEXT)
    assert not found("det-label-form[target=quadratic]").applies(replace(CONTEXT, unit_rows=False))
    assert found("det-label-form[target=linear@0.5]").applies(replace(CONTEXT, unit_rows=False))


@pytest.mark.parametrize("target", ["linear", "random-sign"])
def test_formulas_from_the_eigenvalues(target: str) -> None:
    """Each bound and each quantity, written down from a dense eigendecomposition of the same draw."""
    values = measured(target)
    for trial in range(4):
        subject = TrialContext(TrialConfig(3, "h-infinity", "unit"), build("sphere", trusted=True), 6, 12, (2,), trial)
        lam, V = np.linalg.eigh(gram(subject.rows().unit, "h-infinity"))
        norm, eta = values["training_label_norm"][trial], values["training_step_size"][trial]
        assert eta == pytest.approx(1.0 / lam[-1], rel=1e-9)
        k = np.array(CHECKPOINTS, dtype=np.float64)
        residual = 0.5 * (values["training_residual_lower"] + values["training_residual_upper"])[trial]
        form = 0.5 * (values["training_label_form_lower"] + values["training_label_form_upper"])[trial]
        energy = 0.5 * (values["training_label_energy_lower"] + values["training_label_energy_upper"])[trial]
        wanted = {
            "det-target-sandwich-lower": (norm**4 / energy, form),
            "det-target-sandwich-upper": (norm**2 / lam[0], form),
            "claim-iterations": (
                math.log(12 / 0.1),
                (values["training_steps_upper"][trial] - 1) * eta * lam[0],
            ),
            "claim-residual-slowest": (0.0, float(np.max(residual / norm - (1 - eta * lam[0]) ** k))),
            "claim-residual-fastest": (
                0.0,
                float(np.min(residual / norm - np.maximum(1 - eta * lam[-1], 0.0) ** k)),
            ),
            "claim-flow-slowest": (
                0.0,
                float(
                    np.max(
                        0.5 * (values["training_flow_lower"] + values["training_flow_upper"])[trial] / norm
                        - np.exp(-eta * lam[0] * k)
                    )
                ),
            ),
        }
        for claim, (bound, quantity) in wanted.items():
            instance = found(f"{claim}[target={target}]")
            assert instance.bound(CONTEXT, values).value[trial] == pytest.approx(bound, rel=1e-7, abs=1e-7), claim
            here = quantity_of(instance, CONTEXT, values).value[trial]
            assert here == pytest.approx(quantity, rel=1e-7, abs=1e-7), claim
        ratio = found(f"claim-generalization[delta=0.5,target={target}]").bound(CONTEXT, values).value[trial]
        assert ratio == pytest.approx(math.sqrt(2.0 * form / 6.0), rel=1e-9)
        assert V.shape == (12, 12)


def test_every_claim_about_training_is_tried_here() -> None:
    tried = {
        "det-label-form",
        "det-target-sandwich-lower",
        "det-target-sandwich-upper",
        "claim-iterations",
        "claim-residual-slowest",
        "claim-residual-fastest",
        "claim-flow-slowest",
        "claim-generalization",
    }
    assert {claim.id for claim in OF_TRAINING} == tried


@pytest.mark.parametrize("kernel", ["h-infinity", "ntk", "conjugate"])
@pytest.mark.parametrize("step", ["", "@0.05", "@1000.0"])
def test_nothing_that_is_proved_is_violated(kernel: str, step: str) -> None:
    context = replace(CONTEXT, kernel=kernel)
    for target in (name for name, target in TARGETS.items() if not target.own):
        values = measured(target, kernel, 3, step)
        for instance in instances(values={"training": (target + step,)}):
            if instance.measurement and instance.claim.kind == "deterministic" and instance.applies(context):
                verdict = Verdict(judge(instance, context, values, values, 0.95)["verdict"])
                assert verdict in (Verdict.HOLDS, Verdict.VACUOUS), instance.label


@pytest.mark.parametrize(
    ("claim", "name", "factor"),
    [
        ("det-label-form", "label_form", 10.0),
        ("det-target-sandwich-lower", "label_form", 0.1),
        ("det-target-sandwich-upper", "label_form", 1e4),
        ("claim-iterations", "steps", 100.0),
        ("claim-residual-slowest", "residual", 1.5),
        ("claim-residual-fastest", "residual", 0.5),
        ("claim-flow-slowest", "flow", 1.5),
    ],
)
def test_what_is_false_is_found_violated(claim: str, name: str, factor: float) -> None:
    """A quantity that was made so large, or small, that the statement is false of it."""
    values = measured("linear")
    values |= {f"training_{name}_{end}": factor * values[f"training_{name}_{end}"] for end in ("lower", "upper")}
    verdict = judge(found(f"{claim}[target=linear]"), CONTEXT, values, values, 0.95)
    assert (verdict["verdict"], verdict["violations"]) == (Verdict.VIOLATED, 4)


def test_instances_are_found_by_their_labels() -> None:
    for instance in instances(values={"training": ("linear", "relu@0.01")}):
        again = find_instance(instance.label)
        assert again is not None
        assert (again.label, again.claim, again.measurement) == (instance.label, instance.claim, instance.measurement)
