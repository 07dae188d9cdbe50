"""Parts of a trial, and the axes of measurements that a study may add to the draws.

A part is either the draw with its limiting kernel, or one value on an additional axis, such as networks of one width.
A block of trials, its task, its file, its location in the store and its cost all refer to one part.

A new axis needs an entry in each of these tables:

- `AXES` in this module;
- `BESIDE_VARIABLES` in `ntkmc.experiment.schema.groups`: the stored variables;
- `MEASURES` in `ntkmc.experiment.trial.measurements`: the computation and its cost;
- `ESTIMATORS` in `ntkmc.experiment.analysis.update`.

No other code distinguishes axes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from ntkmc.experiment.study.address import Purpose
from ntkmc.linalg.gram import eigenvalues
from ntkmc.linalg.networks import empirical_ntk as empirical_ntk_module
from ntkmc.linalg.networks import training
from ntkmc.linalg.sketching import features
from ntkmc.theory.claims import Instance
from ntkmc.theory.claims.trial_statistics import (
    FINITE_WIDTH,
    LARGEST_SPECTRUM,
    LEVELS,
    SKETCHING,
    TRAINED,
    TRAINING,
    MeasuredGroup,
)
from ntkmc.theory.targets import CHECKPOINTS, NetworkLabel

Value = int | str

TEST_ROWS: Final = 256
"""Number of additional rows on which test losses are measured; fewer if a data set is too short."""


SPECTRA_NUMERICS: Final[dict[str, Any]] = {
    "version": 1,
    "largest_order": LARGEST_SPECTRUM,
    "levels": list(LEVELS),
    **eigenvalues.NUMERICS,
}
"""Constants that can change a bit of the statistics of all eigenvalues (`ntkmc.experiment.trial.statistics`).

They are part of the identity of a store once a study asks for spectra. The version must change with the laws to which
distances are measured."""


class TrainingLike(Protocol):
    """Interface of the networks that a study trains."""

    @property
    def widths(self) -> Sequence[int]:
        """Widths of the networks."""

    @property
    def kappa(self) -> Sequence[float]:
        """Scales of the initial weights."""

    @property
    def steps(self) -> int:
        """Steps of gradient descent."""


class StudyLike(Protocol):
    """Attributes of a study that the axes read.

    A protocol, because `ntkmc.experiment.study.model` imports this module and not the reverse.
    """

    @property
    def widths(self) -> Sequence[int] | None:
        """Widths of finite networks."""

    @property
    def targets(self) -> Sequence[str] | None:
        """Names of targets."""

    @property
    def step_size(self) -> Sequence[float | str] | None:
        """Step sizes; `"max"` is 1 / lambda_max."""

    @property
    def train(self) -> TrainingLike | None:
        """Networks that are trained on every target."""

    @property
    def features(self) -> Sequence[int] | None:
        """Numbers of columns of feature maps."""

    @property
    def method(self) -> str:
        """Name of the method that makes feature maps."""


class Part(NamedTuple):
    """One part of a trial; a block of trials measures one part.

    Attributes
    ----------
    kind : str
        Group of the store that holds one value of the part per trial.
    value : int or str
        Coordinate of the part on the axis of that group.
    """

    kind: str
    value: Value = 0

    @property
    def plain(self) -> bool:
        """Whether the part is the draw with its limiting kernel."""
        return self.kind == PLAIN.kind

    @property
    def tag(self) -> str:
        """Suffix for names of files; empty for a plain part.

        >>> PLAIN.tag, Part("finite_width", 64).tag
        ('', 'm64')
        """
        return "" if self.plain else re.sub(r"[^\w.\-]", "_", f"{AXES[self.kind].symbol}{self.value}")

    @property
    def label(self) -> str:
        """Readable suffix to the name of a cell; empty for a plain part.

        >>> "sphere,d=3,n=4" + Part("finite_width", 64).label
        'sphere,d=3,n=4,m=64'
        """
        return "" if self.plain else f",{AXES[self.kind].symbol}={self.value}"

    @property
    def words(self) -> str:
        """Description in words; empty for a plain part.

        >>> Part("finite_width", 64).words
        'networks of width 64'
        """
        return "" if self.plain else AXES[self.kind].words.format(self.value)

    @property
    def place(self) -> dict[str, Value]:
        """Mapping from the dimension of the group to the value of the part; empty for a plain part."""
        return {} if self.plain else {AXES[self.kind].dim: self.value}


PLAIN: Final = Part("trials")
"""The draw: lambda_min of its limiting kernel, and the statistics of the draw and of the kernel matrix."""


@dataclass(frozen=True)
class Axis:
    """Axis of additional measurements: each of its values is measured on every draw.

    Attributes
    ----------
    claims : MeasuredGroup
        Group of the store with one value per trial, as claims refer to it.
    enclosed : tuple of str
        Names of variables whose `_lower` and `_upper` are both finite in every trial that did not fail.
    dim : str
        Dimension of that group, declared in `variables.COORDINATES`.
    derived : str
        Group of the estimates computed from it.
    key : str
        Key of the study that asks for it.
    asked : callable
        Study -> values that the study asks for, without duplicates.
    numerics : mapping
        Constants that can change a bit of the measurements: part of the identity of studies that ask for them.
    purpose : Purpose
        Purpose of the random numbers of the measurements.
    words, plan, none : str
        Sentences for messages: a part, with braces for its value; all parts, in a plan; a store without the axis.
    options : callable
        Study -> settings that can change a bit of the measurements: part of the identity as `numerics` is.
    settings : tuple of str
        Keys of the study from which `options` are taken.
    further : mapping of str to tuple
        Dimensions, with their coordinates, that follow the dimension `trial` in some variables.
    join : callable or None
        (document of a study, of another) -> their union, for keys of the study that are not plain lists.
    """

    claims: MeasuredGroup
    enclosed: tuple[str, ...]
    dim: str
    derived: str
    key: str
    asked: Callable[[StudyLike], tuple[Value, ...]]
    numerics: Mapping[str, Any]
    purpose: Purpose
    words: str
    plan: str
    none: str
    options: Callable[[StudyLike], Mapping[str, Any]] = lambda study: {}
    settings: tuple[str, ...] = ()
    further: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    join: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]] | None = None

    def joined(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        """Return the union of what two studies, as documents, ask for."""
        if self.join is not None:
            return self.join(one, other)
        values = _union(one, other, self.key)
        return {self.key: values} if values else {}

    @property
    def kind_of_value(self) -> type:
        """Type of the values on the axis."""
        return str if self.claims.named else int

    @property
    def symbol(self) -> str:
        """Symbol of the value in names and in parameters of claims."""
        return self.claims.symbol

    @property
    def kind(self) -> str:
        """Name of the group with one value per trial; kind of the parts along the axis."""
        return self.claims.name

    @property
    def prefix(self) -> str:
        """Prefix of the names of its variables where they are joined with variables of the draws."""
        return self.claims.prefix


AXES: Final = {
    axis.kind: axis
    for axis in (
        Axis(
            claims=FINITE_WIDTH,
            enclosed=("lambda_min", "deviation", "entry_deviation", "data_norm", "kernel_norm"),
            dim="width",
            derived="convergence",
            key="widths",
            asked=lambda study: tuple(dict.fromkeys(study.widths or ())),
            numerics=empirical_ntk_module.NUMERICS,
            purpose=Purpose.NETWORK,
            words="networks of width {}",
            plan="a network of each is drawn in every trial",
            none="holds no finite networks; run a study with widths into it",
        ),
        Axis(
            claims=TRAINING,
            enclosed=("label_energy", "lambda_max"),
            dim="target",
            derived="prediction",
            key="targets",
            asked=lambda study: _targets(study),
            numerics=training.NUMERICS | {"test_rows": TEST_ROWS},
            purpose=Purpose.LABELS,
            words="training on {}",
            plan="what the kernel predicts of training on each of these labels",
            none="holds nothing about training; run a study with targets into it",
            further={"step": CHECKPOINTS},
            join=lambda one, other: {
                key: _union(one, other, key) for key in ("targets", "step-size") if key in one or key in other
            },
        ),
        Axis(
            claims=TRAINED,
            enclosed=(),
            dim="network",
            derived="dynamics",
            key="train",
            asked=lambda study: _networks(study),
            numerics=training.NUMERICS | training.DESCENT_NUMERICS | {"test_rows": TEST_ROWS},
            purpose=Purpose.NETWORK,
            words="the trained network {}",
            plan="a network of each, trained by gradient descent",
            none="holds no trained networks; run a study with train into it",
            options=lambda study: {"steps": study.train.steps} if study.train else {},
            further={"step": CHECKPOINTS},
            join=lambda one, other: _joined_train(one, other),
        ),
        Axis(
            claims=SKETCHING,
            enclosed=("lambda_min", "deviation", "entry_deviation", "kernel_norm"),
            dim="features",
            derived="sketch_accuracy",
            key="features",
            asked=lambda study: tuple(dict.fromkeys(study.features or ())),
            numerics=features.NUMERICS,
            purpose=Purpose.SKETCH,
            words="{} features",
            plan="a feature map with so many columns is drawn in every trial",
            none="holds no sketches; run a study with features into it",
            options=lambda study: {"method": study.method},
            settings=("sketch",),
        ),
    )
}
"""Axes of additional measurements, by kind."""


def _targets(study: StudyLike) -> tuple[str, ...]:
    """Return labels of all pairs of target and step size; the default step size 1 / lambda_max has no suffix."""
    sizes = ("" if size == "max" else f"@{size!r}" for size in study.step_size or ("max",))
    return tuple(dict.fromkeys(f"{target}{size}" for size in sizes for target in study.targets or ()))


def _networks(study: StudyLike) -> tuple[str, ...]:
    if study.train is None:
        return ()
    every = itertools.product(_targets(study), study.train.widths, study.train.kappa)
    return tuple(dict.fromkeys(str(NetworkLabel(*combination)) for combination in every))


def _union(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> list[Any]:
    return list(dict.fromkeys([*one.get(key, []), *other.get(key, [])]))


def _joined_train(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the union of the widths and scales of two studies."""
    # Both have the same number of steps: it is part of the identity that studies in one store share.
    first, second = one.get("train"), other.get("train")
    if not (first and second):
        return {"train": first or second} if first or second else {}
    return {"train": first | {key: _union(first, second, key) for key in ("widths", "kappa")}}


def axes_of(dims: Iterable[str]) -> list[Axis]:
    """Return the axes of a store, from the dimensions of its record.

    >>> [axis.kind for axis in axes_of(["d", "width"])]
    ['finite_width']
    """
    dimensions = set(dims)
    return [axis for axis in AXES.values() if axis.dim in dimensions]


def parts_beside(study: StudyLike) -> tuple[Part, ...]:
    """Return the parts that a study measures in addition to the draws."""
    return tuple(Part(axis.kind, value) for axis in AXES.values() for value in axis.asked(study))


def parts_in(coordinates: Mapping[str, Iterable[Value]]) -> tuple[Part, ...]:
    """Return the additional parts of a store, from its coordinates.

    >>> parts_in({"d": [3], "width": [2, 64]})
    (Part(kind='finite_width', value=2), Part(kind='finite_width', value=64))
    """
    return tuple(Part(axis.kind, value) for axis in axes_of(coordinates) for value in coordinates[axis.dim])


def values_by_kind(parts: Iterable[Part]) -> dict[str, tuple[Value, ...]]:
    """Return the values of parts by their kind, as expected by `ntkmc.theory.claims.instances`."""
    values: dict[str, tuple[Value, ...]] = {}
    for part in parts:
        values[part.kind] = (*values.get(part.kind, ()), part.value)
    return values


def part_of(instance: Instance) -> Part:
    """Return the part that an instance of a claim refers to."""
    return Part(*instance.measurement) if instance.measurement else PLAIN


def labelled(label: str) -> Part:
    """Return the part with a label; the plain part if no axis has its symbol.

    >>> labelled(",m=64"), labelled("")
    (Part(kind='finite_width', value=64), Part(kind='trials', value=0))
    """
    symbol, _, value = label.removeprefix(",").partition("=")
    return next((Part(axis.kind, axis.kind_of_value(value)) for axis in AXES.values() if axis.symbol == symbol), PLAIN)


def placed(place: Mapping[str, Any]) -> Part:
    """Return the part whose `place` is contained in a mapping; the plain part if there is none.

    >>> placed({"first": 3, "width": 64})
    Part(kind='finite_width', value=64)
    """
    return next((Part(axis.kind, place[axis.dim]) for axis in AXES.values() if axis.dim in place), PLAIN)
