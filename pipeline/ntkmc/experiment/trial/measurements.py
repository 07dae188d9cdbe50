"""Additional measurements on a draw, one kind per axis of `ntkmc.experiment.study.measurements.AXES`, with costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ntkmc.experiment.study.address import Purpose
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import TEST_ROWS, Value
from ntkmc.experiment.trial.draw import Subject
from ntkmc.experiment.trial.training import measure_trained, measure_training
from ntkmc.linalg.cost import (
    descent_bytes,
    descent_seconds,
    network_bytes,
    network_seconds,
    training_bytes,
    training_seconds,
)
from ntkmc.linalg.eigen import Eigenvalue
from ntkmc.linalg.eigen.spectrum import Ends
from ntkmc.linalg.networks import Weights
from ntkmc.linalg.networks.empirical_ntk import measure_network
from ntkmc.linalg.sketching import feature_bytes, feature_seconds, measure_features
from ntkmc.linalg.sketching.features import Randomness
from ntkmc.theory.targets import NetworkLabel


class Found(NamedTuple):
    """Measured values of one part of a trial.

    Attributes
    ----------
    values : dict of int to dict of str to float
        All variables of the group of the part, including the code of `status`, by depth.
    methods : tuple of str
        Names of the methods that computed eigenvectors, one per computation.
    """

    values: dict[int, dict[str, Any]]
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """Computation of the parts of one kind, and its cost.

    Attributes
    ----------
    measure : callable
        (subject, value of the part) -> `Found`. The result at one depth depends on the address of the trial, the
        depth and the value alone. No bit depends on which other depths or values the study asks for.
    seconds : callable
        (study, cell, value) -> estimated wall time of a trial on one core.
    memory : callable
        (study, cell, value) -> peak memory of a trial in bytes, in addition to that of an idle worker.
    """

    measure: Callable[[Subject, Any], Found]
    seconds: Callable[[Any, Cell, Any], float]
    memory: Callable[[Any, Cell, Any], int]


def measure_width(subject: Subject, width: int) -> Found:
    """Draw a network of one width, and compare its tangent kernel with the limiting kernel at each depth."""
    weights = Weights.of(subject.seed(Purpose.NETWORK, width))
    values: dict[int, dict[str, Any]] = {}
    methods = []
    for depth, network in measure_network(
        subject.rows(), width, subject.recipe.kernel, sorted(subject.depths), weights
    ):
        ends = {
            "deviation": network.deviation,
            "entry_deviation": network.entry_deviation,
            "data_norm": network.data_norm,
            "kernel_norm": network.kernel_norm,
        }
        values[depth] = _values(network.smallest, ends)
        methods.append(network.smallest.method)
    return Found(values, tuple(methods))


def measure_target(subject: Subject, target: str) -> Found:
    """Measure the prediction of the kernel for training on a target."""
    return Found(measure_training(subject, target))


def measure_descent(subject: Subject, network: str) -> Found:
    """Train a network, given by its label, and compare it with the prediction of the kernel."""
    return Found(measure_trained(subject, network))


def _trained_width(network: str) -> int:
    return NetworkLabel.parse(network).width


def measure_sketch(subject: Subject, features: int) -> Found:
    """Draw a feature map of `features` columns, and compare its Gram matrix with the kernel at each depth."""
    recipe = subject.recipe
    randomness = Randomness.of(subject.seed(Purpose.SKETCH, features))
    values: dict[int, dict[str, Any]] = {}
    methods = []
    for depth, sketch in measure_features(
        subject.rows(), features, recipe.kernel, sorted(subject.depths), recipe.method, randomness
    ):
        ends = {
            "deviation": sketch.deviation,
            "entry_deviation": sketch.entry_deviation,
            "kernel_norm": sketch.kernel_norm,
        }
        values[depth] = _values(sketch.smallest, ends)
        methods.append(sketch.smallest.method)
    return Found(values, tuple(methods))


def _values(smallest: Eigenvalue, ends: dict[str, Ends]) -> dict[str, Any]:
    values: dict[str, Any] = {"lambda_min": smallest.value, "status": smallest.status.code}
    for name, (lower, upper) in {"lambda_min": (smallest.lower, smallest.upper), **ends}.items():
        values |= {f"{name}_lower": lower, f"{name}_upper": upper}
    return values


MEASURES: Final = {
    "finite_width": Measure(
        measure_width,
        lambda study, cell, width: network_seconds(cell.n, cell.d, cell.depths, width),
        lambda study, cell, width: network_bytes(cell.n, cell.d, study.kernel, cell.depths, width),
    ),
    "training": Measure(
        measure_target,
        lambda study, cell, target: training_seconds(cell.n, cell.d, cell.depths, TEST_ROWS),
        lambda study, cell, target: training_bytes(cell.n, cell.d, cell.depths, TEST_ROWS),
    ),
    "trained": Measure(
        measure_descent,
        lambda study, cell, network: descent_seconds(cell.n, cell.d, _trained_width(network), study.train.steps),
        lambda study, cell, network: descent_bytes(cell.n, cell.d, _trained_width(network)),
    ),
    "sketching": Measure(
        measure_sketch,
        lambda study, cell, features: feature_seconds(
            cell.n, cell.d, study.kernel, cell.depths, features, study.method
        ),
        lambda study, cell, features: feature_bytes(cell.n, cell.d, study.kernel, cell.depths, features, study.method),
    ),
}
"""Measures by kind of the part."""


def measure_part(subject: Subject, kind: str, value: Value) -> Found:
    """Measure one part of a trial other than the plain one."""
    return MEASURES[kind].measure(subject, value)
