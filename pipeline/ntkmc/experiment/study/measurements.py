"""Parts of a trial: the draw itself, and what a study asks for beside it, along axes of their own.

A block of trials, and all that knows of one (its task, its file, its place in the store, its cost), is about one part.
A further axis is a table entry here, one in `schema.BESIDE_VARIABLES` (what is stored), one in `beside.MEASURES` (what
computes it, and what that takes), and, if anything is estimated or claimed of it, one in `derived.ESTIMATORS` and in
`ntkmc.theory.claims.base.BESIDE`. Nothing else asks which axis it is.
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
from ntkmc.theory.claims.base import BESIDE, Instance
from ntkmc.theory.claims.trial_statistics import LARGEST_SPECTRUM, LEVELS
from ntkmc.theory.targets import CHECKPOINTS, NetworkLabel

Value = int | str

TEST_ROWS: Final = 256
"""Further rows of the law, on which losses are measured; fewer where a data set has no more."""


SPECTRA_NUMERICS: Final[dict[str, Any]] = {
    "version": 1,
    "largest_order": LARGEST_SPECTRUM,
    "levels": list(LEVELS),
    **eigenvalues.NUMERICS,
}
"""Constants that can change a bit of the statistics of all eigenvalues (`ntkmc.experiment.trial.statistics`); part
of a store's identity once a study asks for them. Change the version with the laws that distances are measured to."""


class TrainingLike(Protocol):
    """Networks that a study asks to be trained."""

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
    """Attributes of a study that the axes read. `ntkmc.experiment.study.model` imports this module, not the
    reverse."""

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
    """What a block of trials is about.

    Attributes
    ----------
    kind : str
        The group of the store that has a value for each trial of it.
    value : int or str
        Where it stands on the axis of that group.
    """

    kind: str
    value: Value = 0

    @property
    def plain(self) -> bool:
        """Whether it is the draws themselves, with the limiting kernel."""
        return self.kind == PLAIN.kind

    @property
    def tag(self) -> str:
        """For names of files; empty where it is plain.

        >>> PLAIN.tag, Part("finite_width", 64).tag
        ('', 'm64')
        """
        return "" if self.plain else re.sub(r"[^\w.\-]", "_", f"{AXES[self.kind].symbol}{self.value}")

    @property
    def label(self) -> str:
        """For people, behind the name of a cell; empty where it is plain.

        >>> "sphere,d=3,n=4" + Part("finite_width", 64).label
        'sphere,d=3,n=4,m=64'
        """
        return "" if self.plain else f",{AXES[self.kind].symbol}={self.value}"

    @property
    def words(self) -> str:
        """What it is, in words; empty where it is plain.

        >>> Part("finite_width", 64).words
        'networks of width 64'
        """
        return "" if self.plain else AXES[self.kind].words.format(self.value)

    @property
    def place(self) -> dict[str, Value]:
        """Its value by the dimension of its group; nothing where it is plain."""
        return {} if self.plain else {AXES[self.kind].dim: self.value}


PLAIN: Final = Part("trials")
"""The draws themselves: lambda_min of the limiting kernel, and all that is measured beside it."""


@dataclass(frozen=True)
class Axis:
    """An axis beside the draws: for each of its values something is measured on every draw.

    Attributes
    ----------
    kind : str
        Group of the store with a value for each trial; kind of the parts along it.
    dim : str
        Dimension of that group, declared in `variables.COORDINATES`.
    derived : str
        Group of the estimates that follow from it.
    key : str
        Key of the study that asks for it.
    asked : callable
        Study -> values asked for, each once.
    numerics : mapping
        Constants that can change a bit of it: part of the identity of studies that ask, and of no others.
    purpose : Purpose
        What its random numbers are for.
    words, plan, none : str
        What a part is, its value in braces; what a plan says of all of them; what a store without any says.
    options : callable
        Study -> what else of it decides how this is computed, beside `numerics`: part of the same identity.
    settings : tuple of str
        Further keys of the study that say so.
    further : mapping of str to tuple
        Dimensions, with their coordinates, that some of its variables have behind the trial.
    open_ended : tuple of str
        Those of its enclosed variables of which an end may be infinite.
    join : callable or None
        (document of a study, of another) -> what stands in both together, where its key is no list.
    """

    kind: str
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
    open_ended: tuple[str, ...] = ()
    join: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]] | None = None

    def joined(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        """What two studies, as documents, ask for together."""
        if self.join is not None:
            return self.join(one, other)
        values = _union(one, other, self.key)
        return {self.key: values} if values else {}

    @property
    def kind_of_value(self) -> type:
        """Of its values."""
        return str if BESIDE[self.kind].named else int

    @property
    def symbol(self) -> str:
        """What its value is called in names and in parameters of claims."""
        return BESIDE[self.kind].symbol

    @property
    def enclosed(self) -> tuple[str, ...]:
        """Variables with a `_lower` and an `_upper`, both finite in every trial that did not fail."""
        return tuple(name for name in BESIDE[self.kind].enclosed if name not in self.open_ended)

    @property
    def prefix(self) -> str:
        """What precedes names of its variables where those of the draws stand beside them."""
        return BESIDE[self.kind].prefix


AXES: Final = {
    axis.kind: axis
    for axis in (
        Axis(
            kind="finite_width",
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
            kind="training",
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
            open_ended=("label_form", "steps", "residual", "flow"),
            join=lambda one, other: {
                key: _union(one, other, key) for key in ("targets", "step-size") if key in one or key in other
            },
        ),
        Axis(
            kind="trained",
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
            kind="sketching",
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
"""Axes beside the draws, by kind."""


def _targets(study: StudyLike) -> tuple[str, ...]:
    """Targets, each with every step size; that of 1 / lambda_max is not written."""
    sizes = ("" if size == "max" else f"@{size!r}" for size in study.step_size or ("max",))
    return tuple(dict.fromkeys(f"{target}{size}" for size in sizes for target in study.targets or ()))


def _networks(study: StudyLike) -> tuple[str, ...]:
    if study.train is None:
        return ()
    every = itertools.product(_targets(study), study.train.widths, study.train.kappa)
    return tuple(dict.fromkeys(str(NetworkLabel(*each)) for each in every))


def _union(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> list[Any]:
    return list(dict.fromkeys([*one.get(key, []), *other.get(key, [])]))


def _joined_train(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Widths and scales of both; that they train for equally many steps is part of their identity."""
    first, second = one.get("train"), other.get("train")
    if not (first and second):
        return {"train": first or second} if first or second else {}
    return {"train": first | {key: _union(first, second, key) for key in ("widths", "kappa")}}


def axes_of(dims: Iterable[str]) -> list[Axis]:
    """Axes that a store has room for whose record has these dimensions.

    >>> [axis.kind for axis in axes_of(["d", "width"])]
    ['finite_width']
    """
    known = set(dims)
    return [axis for axis in AXES.values() if axis.dim in known]


def parts_beside(study: StudyLike) -> tuple[Part, ...]:
    """Parts that a study asks for beside the draws."""
    return tuple(Part(axis.kind, value) for axis in AXES.values() for value in axis.asked(study))


def parts_in(coordinates: Mapping[str, Iterable[Value]]) -> tuple[Part, ...]:
    """Parts beside the draws that a store has room for.

    >>> parts_in({"d": [3], "width": [2, 64]})
    (Part(kind='finite_width', value=2), Part(kind='finite_width', value=64))
    """
    return tuple(Part(axis.kind, value) for axis in axes_of(coordinates) for value in coordinates[axis.dim])


def values_by_kind(parts: Iterable[Part]) -> dict[str, tuple[Value, ...]]:
    """Values of parts, by their kind: what `ntkmc.theory.claims.instances` asks for."""
    found: dict[str, tuple[Value, ...]] = {}
    for part in parts:
        found[part.kind] = (*found.get(part.kind, ()), part.value)
    return found


def part_of(instance: Instance) -> Part:
    """What a claim with its parameters is about."""
    return Part(*instance.beside) if instance.beside else PLAIN


def labelled(label: str) -> Part:
    """The part with a label.

    >>> labelled(",m=64"), labelled("")
    (Part(kind='finite_width', value=64), Part(kind='trials', value=0))
    """
    symbol, _, value = label.removeprefix(",").partition("=")
    return next((Part(axis.kind, axis.kind_of_value(value)) for axis in AXES.values() if axis.symbol == symbol), PLAIN)


def placed(place: Mapping[str, Any]) -> Part:
    """The part with a `place`, among other things.

    >>> placed({"first": 3, "width": 64})
    Part(kind='finite_width', value=64)
    """
    return next((Part(axis.kind, place[axis.dim]) for axis in AXES.values() if axis.dim in place), PLAIN)
