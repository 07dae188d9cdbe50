"""What is measured beside a draw, along each axis of `parts.AXES`, and what that takes."""

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
    """What was measured at one part of a trial.

    Attributes
    ----------
    values : dict of int to dict of str to float
        All variables of the part's group, the code of `status` among them, by depth.
    methods : tuple of str
        How eigenvectors were found, each time.
    """

    values: dict[int, dict[str, Any]]
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measure:
    """How the parts of one kind are measured.

    Attributes
    ----------
    measure : callable
        (subject, value of the part) -> `Found`. A function of the trial's address, the depth and the value alone: no
        bit depends on which other depths or values are asked for.
    seconds : callable
        (study, cell, value) -> rough wall time of a trial on one core.
    memory : callable
        (study, cell, value) -> peak bytes of a trial above an idle worker.
    """

    measure: Callable[[Subject, Any], Found]
    seconds: Callable[[Any, Cell, Any], float]
    memory: Callable[[Any, Cell, Any], int]


def measure_width(subject: Subject, width: int) -> Found:
    """A network of one width: by depth, its kernel beside the limit."""
    weights = Weights.of(subject.seed(Purpose.NETWORK, width))
    found: dict[int, dict[str, Any]] = {}
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
        found[depth] = _values(network.smallest, ends)
        methods.append(network.smallest.method)
    return Found(found, tuple(methods))


def measure_target(subject: Subject, target: str) -> Found:
    """What the kernel predicts of training on a target."""
    return Found(measure_training(subject, target))


def measure_descent(subject: Subject, network: str) -> Found:
    """A network that is trained."""
    return Found(measure_trained(subject, network))


def _trained_width(network: str) -> int:
    return NetworkLabel.parse(network).width


def measure_sketch(subject: Subject, features: int) -> Found:
    """A feature map of so many columns: by depth, its Gram matrix beside the kernel."""
    recipe = subject.recipe
    randomness = Randomness.of(subject.seed(Purpose.SKETCH, features))
    found: dict[int, dict[str, Any]] = {}
    methods = []
    for depth, sketch in measure_features(
        subject.rows(), features, recipe.kernel, sorted(subject.depths), recipe.method, randomness
    ):
        ends = {
            "deviation": sketch.deviation,
            "entry_deviation": sketch.entry_deviation,
            "kernel_norm": sketch.kernel_norm,
        }
        found[depth] = _values(sketch.smallest, ends)
        methods.append(sketch.smallest.method)
    return Found(found, tuple(methods))


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
"""By kind of the part."""


def measure_part(subject: Subject, kind: str, value: Value) -> Found:
    """What there is to be known of a trial at one part beside the draw."""
    return MEASURES[kind].measure(subject, value)
