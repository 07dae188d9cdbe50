"""What is measured beside a draw, along each axis of `parts.AXES`, and what that takes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ntkmc.experiment.address import Purpose
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.drawing import Subject
from ntkmc.experiment.parts import Value
from ntkmc.experiment.study import Study
from ntkmc.linalg.cost import network_bytes, network_seconds
from ntkmc.linalg.finite_width import measure_network
from ntkmc.linalg.network import Weights


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
    seconds: Callable[[Study, Cell, Any], float]
    memory: Callable[[Study, Cell, Any], int]


def measure_width(subject: Subject, width: int) -> Found:
    """A network of one width: by depth, its kernel beside the limit."""
    weights = Weights.of(subject.seed(Purpose.NETWORK, width))
    found: dict[int, dict[str, Any]] = {}
    methods = []
    for depth, network in measure_network(
        subject.rows(), width, subject.recipe.kernel, sorted(subject.depths), weights
    ):
        smallest = network.smallest
        values = {"lambda_min": smallest.value, "status": smallest.status.code}
        ends = {
            "lambda_min": (smallest.lower, smallest.upper),
            "deviation": network.deviation,
            "entry_deviation": network.entry_deviation,
            "data_norm": network.data_norm,
            "kernel_norm": network.kernel_norm,
        }
        for name, (lower, upper) in ends.items():
            values |= {f"{name}_lower": lower, f"{name}_upper": upper}
        found[depth] = values
        methods.append(smallest.method)
    return Found(found, tuple(methods))


MEASURES: Final = {
    "finite_width": Measure(
        measure_width,
        lambda study, cell, width: network_seconds(cell.n, cell.d, cell.depths, width),
        lambda study, cell, width: network_bytes(cell.n, cell.d, study.kernel, cell.depths, width),
    ),
}
"""By kind of the part."""


def measure_part(subject: Subject, kind: str, value: Value) -> Found:
    """What there is to be known of a trial at one part beside the draw."""
    return MEASURES[kind].measure(subject, value)
