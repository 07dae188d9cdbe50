"""Training on the rows of a draw: predictions of the kernel for a target, and networks trained on it."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from ntkmc.errors import InputError
from ntkmc.experiment.study.address import Purpose
from ntkmc.experiment.study.measurements import TEST_ROWS
from ntkmc.experiment.trial.draw import TrialContext, draw
from ntkmc.linalg.eigen import Rows, Status, as_data, split_rows
from ntkmc.linalg.gram import grams_of_rows
from ntkmc.linalg.networks import TrainingPrediction, Weights
from ntkmc.linalg.networks.training import accuracy, descend, training_kernels
from ntkmc.numeric import Matrix
from ntkmc.theory.distributions import Distribution
from ntkmc.theory.targets import CHECKPOINTS, NetworkLabel, Target, labels, split_label


def measure_training(context: TrialContext, target: str) -> dict[int, dict[str, Any]]:
    """Return the prediction of the kernel for training on a target, by depth: variables of the group `training`."""
    label, step_size = split_label(target)
    X, test = _rows(context)
    y, test_labels = _labels(context, label, X, test)
    rows, depths = split_rows(as_data(X)), sorted(context.depths)
    cross = _cross_kernels(X, test, context.config.kernel, depths) if len(test) else {}
    values = {}
    for depth, kernel in training_kernels(rows, context.config.kernel, depths):
        predicted = kernel.predict(y, step_size)
        values[depth] = _values(predicted, len(y))
        # No weights: K is not definite beyond rounding, and kernel regression has no unique solution.
        if predicted.weights is not None and len(test):
            values[depth]["regression_loss"] = loss(cross[depth] @ predicted.weights, test_labels)
    return values


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


def measure_trained(context: TrialContext, network: str) -> dict[int, dict[str, Any]]:
    """Train a network and compare it with the prediction of the kernel, by depth: variables of the group `trained`."""
    label = NetworkLabel.parse(network)
    target, step_size = split_label(label.target)
    X, test = _rows(context)
    y, test_labels = _labels(context, target, X, test)
    rows, steps = split_rows(as_data(X)), context.config.steps
    weights = Weights.of(context.seed(Purpose.NETWORK, label.width))
    values = {}
    for depth, kernel in training_kernels(rows, context.config.kernel, sorted(context.depths)):
        predicted = kernel.predict(y, step_size)
        eta = predicted.step_size
        trained = descend(X, y, weights, label.width, label.kappa, eta, steps, test if len(test) else None)
        # The kernel predicts the residual from the start of the network, which need not be 0.
        started = kernel.predict(y - trained.start, eta)
        norm = predicted.label_norm
        # Checkpoints beyond the last step are infinite rather than NaN, which means that a trial failed.
        curve = np.full(len(CHECKPOINTS), np.inf)
        reached = [step for step in CHECKPOINTS if step <= steps]
        curve[: len(reached)] = trained.residual[reached]
        values[depth] = {
            "step_size": eta,
            "start": float(np.linalg.norm(trained.start)) / norm,
            "gap": _gap(trained.residual, predicted) / norm,
            "gap_started": _gap(trained.residual, started) / norm,
            "contraction": trained.contraction,
            "drift": trained.drift,
            "test_loss": np.inf if trained.test_outputs is None else loss(trained.test_outputs, test_labels),
            "residual": curve,
            "status": Status.CERTIFIED.code,
        }
    return values


def _gap(observed: Matrix, predicted: TrainingPrediction) -> float:
    """Return the largest distance between the observed and the predicted residual over all steps."""
    lower, upper = predicted.residual(np.arange(len(observed)))
    return float(np.max(np.abs(observed - 0.5 * (lower + upper))))


def loss(outputs: Matrix, y: Matrix) -> float:
    """Return the mean of min(1, |f - y|), a loss in [0, 1] that is 1-Lipschitz in f.

    >>> loss(np.array([0.0, 0.5, 9.0]), np.array([0.0, 0.0, 0.0]))
    0.5
    """
    return float(np.mean(np.minimum(1.0, np.abs(outputs - y))))


def _rows(context: TrialContext) -> tuple[Matrix, Matrix]:
    """Return the draw, (n, d), and test rows of the same law, (t, d)."""
    # Laws draw row by row: the first n rows of the longer draw are the draw itself.
    n, config, law = context.n, context.config, context.distribution
    more = rows_to_test(law, context.d, n)
    X = draw(config, law, context.d, n, context.trial, more)
    return np.ascontiguousarray(X[:n]), np.ascontiguousarray(X[n:])


def rows_to_test(law: Distribution, d: int, n: int) -> int:
    """Return the number of rows beyond n on which a law can be tested: `TEST_ROWS`, or fewer for a short data set."""
    # Halve until the data set is long enough.
    for more in (TEST_ROWS, *(TEST_ROWS >> shift for shift in range(1, TEST_ROWS.bit_length()))):
        try:
            law.check(n + more, d)
        except InputError:
            continue
        return more
    return 0


def _labels(context: TrialContext, target: Target, X: Matrix, test: Matrix) -> tuple[Matrix, Matrix]:
    """Return labels of the rows and of the test rows, drawn for the target or taken from the law."""
    if target.own:
        y = context.own_labels(len(test))
        return y[: len(X)], y[len(X) :]
    # The hash of the name is the replicate of the address: different targets have independent labels.
    replicate = int.from_bytes(hashlib.blake2b(target.name.encode(), digest_size=4).digest(), "little")
    rng = np.random.Generator(np.random.Philox(context.seed(Purpose.LABELS, replicate)))
    y = labels(target, np.concatenate([X, test]), rng)
    return y[: len(X)], y[len(X) :]


def _cross_kernels(X: Matrix, test: Matrix, kernel: str, depths: list[int]) -> dict[int, Matrix]:
    """Return the kernel between test rows and rows, (t, n), by depth."""
    both: Rows = split_rows(as_data(np.concatenate([X, test])))
    n = len(X)
    return {depth: K[n:, :n].copy() for depth, K in grams_of_rows(both, kernel, depths)}
