"""Training beside a draw: what the kernel predicts for a target, and networks that are actually trained on it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import InputError
from ntkmc.experiment.study.address import Purpose
from ntkmc.experiment.study.measurements import TEST_ROWS
from ntkmc.experiment.trial.draw import Subject, draw
from ntkmc.linalg.eigen import Rows, Status, as_data, split_rows
from ntkmc.linalg.gram import grams_of_rows
from ntkmc.linalg.networks import TrainingPrediction, Weights
from ntkmc.linalg.networks.training import accuracy, descend, predictions
from ntkmc.theory.distributions import Distribution
from ntkmc.theory.targets import CHECKPOINTS, NetworkLabel, Target, labels, split_label

Matrix = NDArray[np.float64]


def measure_training(subject: Subject, target: str) -> dict[int, dict[str, Any]]:
    """What the kernel predicts of training on a target, by depth: variables of the group `training`."""
    label, step_size = split_label(target)
    X, test = _rows(subject)
    y, wanted = _labels(subject, label, X, test)
    rows, depths = split_rows(as_data(X)), sorted(subject.depths)
    cross = _cross_kernels(X, test, subject.recipe.kernel, depths) if len(test) else {}
    found = {}
    for depth, predicted in predictions(rows, y, subject.recipe.kernel, depths, step_size):
        found[depth] = _values(predicted, len(y))
        if predicted.weights is not None and len(test):
            found[depth]["regression_loss"] = loss(cross[depth] @ predicted.weights, wanted)
    return found


def _values(predicted: TrainingPrediction, n: int) -> dict[str, Any]:
    form = predicted.label_form
    residual = predicted.residual(CHECKPOINTS)
    flow = predicted.flow(predicted.step_size * np.array(CHECKPOINTS, dtype=np.float64))
    steps = predicted.steps_to(accuracy(predicted.label_norm, n))
    values: dict[str, Any] = {
        "step_size": predicted.step_size,
        "label_norm": predicted.label_norm,
        "regression_loss": np.inf,
        "status": predicted.lambda_min.status.code,
    }
    ends = {
        "label_energy": (predicted.label_energy.lower, predicted.label_energy.upper),
        "label_form": (0.0, np.inf) if form is None else (form.lower, form.upper),
        "lambda_max": (predicted.lambda_max.lower, predicted.lambda_max.upper),
        "steps": steps,
        "residual": residual,
        "flow": flow,
    }
    for name, (lower, upper) in ends.items():
        values |= {f"{name}_lower": lower, f"{name}_upper": upper}
    return values


def measure_trained(subject: Subject, network: str) -> dict[int, dict[str, Any]]:
    """A network that is trained on a target, beside what the kernel predicts: variables of the group `trained`."""
    label = NetworkLabel.parse(network)
    target, step_size = split_label(label.target)
    X, test = _rows(subject)
    y, wanted = _labels(subject, target, X, test)
    rows, steps = split_rows(as_data(X)), subject.recipe.steps
    weights = Weights.of(subject.seed(Purpose.NETWORK, label.width))
    found = {}
    for depth, predicted in predictions(rows, y, subject.recipe.kernel, sorted(subject.depths), step_size):
        eta = predicted.step_size
        trained = descend(X, y, weights, label.width, label.kappa, eta, steps, test if len(test) else None)
        started = next(predictions(rows, y - trained.start, subject.recipe.kernel, [depth], eta))[1]
        norm = predicted.label_norm
        curve = np.full(len(CHECKPOINTS), np.inf)
        reached = [step for step in CHECKPOINTS if step <= steps]
        curve[: len(reached)] = trained.residual[reached]
        found[depth] = {
            "step_size": eta,
            "start": float(np.linalg.norm(trained.start)) / norm,
            "gap": _gap(trained.residual, predicted) / norm,
            "gap_started": _gap(trained.residual, started) / norm,
            "contraction": trained.contraction,
            "drift": trained.drift,
            "test_loss": np.inf if trained.test_outputs is None else loss(trained.test_outputs, wanted),
            "residual": curve,
            "status": Status.CERTIFIED.code,
        }
    return found


def _gap(observed: Matrix, predicted: TrainingPrediction) -> float:
    """Largest distance between two curves over all steps."""
    lower, upper = predicted.residual(np.arange(len(observed)))
    return float(np.max(np.abs(observed - 0.5 * (lower + upper))))


def loss(outputs: Matrix, wanted: Matrix) -> float:
    """Mean of min(1, |f - y|): 1-Lipschitz, between 0 and 1.

    >>> loss(np.array([0.0, 0.5, 9.0]), np.array([0.0, 0.0, 0.0]))
    0.5
    """
    return float(np.mean(np.minimum(1.0, np.abs(outputs - wanted))))


def _rows(subject: Subject) -> tuple[Matrix, Matrix]:
    """The draw, and further rows: a law draws by rows, so that the draw is how a longer one begins."""
    n, recipe, law = subject.n, subject.recipe, subject.distribution
    more = rows_to_test(law, subject.d, n)
    X = draw(recipe, law, subject.d, n, subject.trial, more)
    return np.ascontiguousarray(X[:n]), np.ascontiguousarray(X[n:])


def rows_to_test(law: Distribution, d: int, n: int) -> int:
    """How many rows beyond n a law has to test on: `TEST_ROWS`, fewer for a short data set."""
    for more in (TEST_ROWS, *(TEST_ROWS >> shift for shift in range(1, TEST_ROWS.bit_length()))):
        try:
            law.check(n + more, d)
        except InputError:
            continue
        return more
    return 0


def _labels(subject: Subject, target: Target, X: Matrix, test: Matrix) -> tuple[Matrix, Matrix]:
    """Labels of the rows and of the test rows, from randomness of the target's own, or the law's."""
    if target.own:
        y = subject.own_labels(len(test))
        return y[: len(X)], y[len(X) :]
    word = int.from_bytes(hashlib.blake2b(target.name.encode(), digest_size=4).digest(), "little")
    rng = np.random.Generator(np.random.Philox(subject.seed(Purpose.LABELS, word)))
    y = labels(target, np.concatenate([X, test]), rng)
    return y[: len(X)], y[len(X) :]


def _cross_kernels(X: Matrix, test: Matrix, kernel: str, depths: list[int]) -> dict[int, Matrix]:
    """k(x, x_i) for test rows x, (t, n), by depth."""
    both: Rows = split_rows(as_data(np.concatenate([X, test])))
    n = len(X)
    return {depth: K[n:, :n].copy() for depth, K in grams_of_rows(both, kernel, depths)}
