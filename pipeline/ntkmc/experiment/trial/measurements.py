"""Computation and cost of additional measurements, by their group in `ntkmc.experiment.study.measurements`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ntkmc.experiment.study.address import Purpose
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.measurements import TEST_ROWS
from ntkmc.experiment.study.model import Study
from ntkmc.experiment.trial.draw import TrialContext
from ntkmc.experiment.trial.training import measure_trained, measure_training
from ntkmc.linalg.cost import (
    descent_bytes,
    descent_seconds,
    network_bytes,
    network_seconds,
    training_bytes,
    training_seconds,
)
from ntkmc.linalg.eigen.spectrum import Ends
from ntkmc.linalg.gram.comparison import Comparison
from ntkmc.linalg.networks import Weights
from ntkmc.linalg.networks.empirical_ntk import measure_network
from ntkmc.linalg.sketching import feature_bytes, feature_seconds, measure_features
from ntkmc.linalg.sketching.features import Randomness
from ntkmc.theory.targets import NetworkLabel


class MeasuredValues(NamedTuple):
    """Values of one additional measurement on one draw.

    Attributes
    ----------
    values : dict of int to dict of str to float
        All variables of the group, including the code of `status`, by depth.
    methods : tuple of str
        Names of the methods that computed eigenvectors, one per computation.
    """

    values: dict[int, dict[str, Any]]
    methods: tuple[str, ...] = ()


@dataclass(frozen=True)
class Cost:
    """Estimated cost of an additional measurement on one draw.

    Attributes
    ----------
    seconds : callable
        (study, cell, value) -> estimated wall time on one core.
    memory : callable
        (study, cell, value) -> peak memory in bytes, in addition to that of an idle worker.
    """

    seconds: Callable[[Study, Cell, Any], float]
    memory: Callable[[Study, Cell, Any], int]


def measure_width(context: TrialContext, width: int) -> MeasuredValues:
    """Draw a network of one width, and compare its tangent kernel with the limiting kernel at each depth."""
    # The width is the replicate of the address: networks of different widths are independent.
    weights = Weights.of(context.seed(Purpose.NETWORK, width))
    values: dict[int, dict[str, Any]] = {}
    methods = []
    for depth, network in measure_network(
        context.rows(), width, context.config.kernel, sorted(context.depths), weights
    ):
        values[depth] = _values(network, {"data_norm": network.data_norm})
        methods.append(network.smallest.method)
    return MeasuredValues(values, tuple(methods))


def _trained_width(network: str) -> int:
    return NetworkLabel.parse(network).width


def measure_sketch(context: TrialContext, features: int) -> MeasuredValues:
    """Draw a feature map of `features` columns, and compare its Gram matrix with the kernel at each depth."""
    config = context.config
    # The number of features is the replicate of the address: maps of different sizes are independent.
    randomness = Randomness.of(context.seed(Purpose.SKETCH, features))
    values: dict[int, dict[str, Any]] = {}
    methods = []
    for depth, sketch in measure_features(
        context.rows(), features, config.kernel, sorted(context.depths), config.method, randomness
    ):
        values[depth] = _values(sketch)
        methods.append(sketch.smallest.method)
    return MeasuredValues(values, tuple(methods))


def _values(comparison: Comparison, ends: dict[str, Ends] | None = None) -> dict[str, Any]:
    """Return the variables of a comparison with the kernel, and those of further quantities given by their ends."""
    smallest = comparison.smallest
    values: dict[str, Any] = {"lambda_min": smallest.value, "status": smallest.status.code}
    # Both ends are stored, never a midpoint alone: estimates and claims decide by proved bounds.
    ends = {
        "lambda_min": (smallest.lower, smallest.upper),
        "deviation": comparison.deviation,
        "entry_deviation": comparison.entry_deviation,
        "kernel_norm": comparison.kernel_norm,
    } | (ends or {})
    for name, (lower, upper) in ends.items():
        values |= {f"{name}_lower": lower, f"{name}_upper": upper}
    return values


MEASURE: Final[dict[str, Callable[[TrialContext, Any], MeasuredValues]]] = {
    "finite_width": measure_width,
    "training": lambda context, target: MeasuredValues(measure_training(context, target)),
    "trained": lambda context, network: MeasuredValues(measure_trained(context, network)),
    "sketching": measure_sketch,
}
"""Computations by group: (context, value along the axis) -> `MeasuredValues`.

The result at one depth depends on the address of the trial, the depth and the value alone. No bit depends on which
other depths or values the study asks for."""

COST: Final = {
    "finite_width": Cost(
        lambda study, cell, width: network_seconds(cell.n, cell.d, cell.depths, width),
        lambda study, cell, width: network_bytes(cell.n, cell.d, study.kernel, cell.depths, width),
    ),
    "training": Cost(
        lambda study, cell, target: training_seconds(cell.n, cell.d, cell.depths, TEST_ROWS),
        lambda study, cell, target: training_bytes(cell.n, cell.d, cell.depths, TEST_ROWS),
    ),
    "trained": Cost(
        lambda study, cell, network: descent_seconds(
            cell.n, cell.d, _trained_width(network), study.train.steps if study.train else 0
        ),
        lambda study, cell, network: descent_bytes(cell.n, cell.d, _trained_width(network)),
    ),
    "sketching": Cost(
        lambda study, cell, features: feature_seconds(
            cell.n, cell.d, study.kernel, cell.depths, features, study.method
        ),
        lambda study, cell, features: feature_bytes(cell.n, cell.d, study.kernel, cell.depths, features, study.method),
    ),
}
"""Costs by group."""
