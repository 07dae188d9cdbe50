"""Additional measurements on each draw, one `Measurement` per axis: networks, targets, trained networks, features.

Each value along an axis, such as the width of networks, is measured on every draw. A `MeasurementKey` names the draws
themselves or one value along an axis. A block of trials, its task, its file, its cost and its place in the store all
refer to one key.

`MEASUREMENTS` declares all that the study file and the store need of an axis. The functions of an axis are registered
by the name of its group in the layers that can define them: `MEASURE` and `COST` in
`ntkmc.experiment.trial.measurements`, `ESTIMATE` in `ntkmc.experiment.analysis.update`. What claims need of it is its
`MeasuredGroup` in `ntkmc.theory.claims.trial_statistics`. No other code distinguishes axes.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, Protocol

from ntkmc.experiment.study.variables import (
    DEEP,
    Group,
    Variable,
    bounds,
    coordinate,
    estimate,
    real,
    status,
    trials_used,
)
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
    """Attributes of a study that measurements read.

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


class MeasurementKey(NamedTuple):
    """Key of one measurement: the draws, or one value along the axis of an additional measurement.

    Attributes
    ----------
    group : str
        Group of the store that holds one value per trial.
    value : int or str
        Coordinate along the axis of that group.
    """

    group: str
    value: Value = 0

    @classmethod
    def parse(cls, label: str) -> MeasurementKey:
        """Return the key with a label; that of the draws if no axis has its symbol.

        >>> MeasurementKey.parse(",m=64"), MeasurementKey.parse("")
        (MeasurementKey(group='finite_width', value=64), MeasurementKey(group='trials', value=0))
        """
        # A value may contain `=` itself, as names of networks do: split at the first one.
        symbol, _, value = label.removeprefix(",").partition("=")
        matching = (cls(axis.group, axis.value_type(value)) for axis in MEASUREMENTS.values() if axis.symbol == symbol)
        return next(matching, DRAWS)

    @classmethod
    def at(cls, coordinates: Mapping[str, Any]) -> MeasurementKey:
        """Return the key whose `coordinates` are contained in a mapping; that of the draws if there is none.

        >>> MeasurementKey.at({"first": 3, "width": 64})
        MeasurementKey(group='finite_width', value=64)
        """
        # The mapping may be the header of a block in the journal: no dimension has the name of another key of it.
        axes = MEASUREMENTS.values()
        return next((cls(axis.group, coordinates[axis.dim]) for axis in axes if axis.dim in coordinates), DRAWS)

    @classmethod
    def of(cls, instance: Instance) -> MeasurementKey:
        """Return the key of the measurement to which an instance of a claim refers."""
        return cls(*instance.measurement) if instance.measurement else DRAWS

    @property
    def is_draws(self) -> bool:
        """True if this is the draw with its limiting kernel."""
        return self.group == DRAWS.group

    @property
    def axis(self) -> Measurement:
        """Measurement of which this is one value; KeyError for the draws."""
        return MEASUREMENTS[self.group]

    @property
    def tag(self) -> str:
        """Suffix for names of files; empty for the draws.

        >>> DRAWS.tag, MeasurementKey("finite_width", 64).tag
        ('', 'm64')
        """
        # Names of targets and networks have characters that not every file system takes.
        return "" if self.is_draws else re.sub(r"[^\w.\-]", "_", f"{self.axis.symbol}{self.value}")

    @property
    def label(self) -> str:
        """Readable suffix to the name of a cell; empty for the draws.

        >>> "sphere,d=3,n=4" + MeasurementKey("finite_width", 64).label
        'sphere,d=3,n=4,m=64'
        """
        return "" if self.is_draws else f",{self.axis.symbol}={self.value}"

    @property
    def description(self) -> str:
        """Description in words; empty for the draws.

        >>> MeasurementKey("finite_width", 64).description
        'networks of width 64'
        """
        return "" if self.is_draws else self.axis.description.format(self.value)

    @property
    def coordinates(self) -> dict[str, Value]:
        """Mapping from the dimension of the axis to the value; empty for the draws."""
        return {} if self.is_draws else {self.axis.dim: self.value}


DRAWS: Final = MeasurementKey("trials")
"""The draw: lambda_min of its limiting kernel, and the statistics of the draw and of the kernel matrix."""


@dataclass(frozen=True)
class Measurement:
    """Additional measurement along one axis: each value of the axis is measured on every draw.

    Attributes
    ----------
    claims : MeasuredGroup
        Name of the group with one value per trial, and names for claims about it.
    key : str
        Key of the study that requests the measurement.
    coordinate : Variable
        Coordinate of the axis.
    trials : Group
        Variables per trial; `status` is the last one.
    estimates : Group
        Estimates per cell that are computed from them.
    values : callable
        Study -> distinct requested values along the axis.
    numerics : mapping
        Constants that can affect the measured values. They are part of the identity of studies with this measurement.
    description, plan, absent : str
        Message texts: for one value (in place of braces), for all values in a plan, for a store without the axis.
    options : callable
        Study -> settings that can affect the measured values. They are part of the identity, like `numerics`.
    settings : tuple of str
        Keys of the study from which `options` are taken.
    extra_coordinates : mapping of str to tuple
        Dimensions, with their coordinates, that follow the dimension `trial` in some variables.
    open_ended : tuple of str
        Enclosed variables of which an end may be infinite.
    join : callable or None
        (document of one study, document of another) -> their union, for keys that are not lists.
    """

    claims: MeasuredGroup
    key: str
    coordinate: Variable
    trials: Group
    estimates: Group
    values: Callable[[StudyLike], tuple[Value, ...]]
    numerics: Mapping[str, Any]
    description: str
    plan: str
    absent: str
    options: Callable[[StudyLike], Mapping[str, Any]] = lambda study: {}
    settings: tuple[str, ...] = ()
    extra_coordinates: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    open_ended: tuple[str, ...] = ()
    join: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, Any]] | None = None

    def joined(self, one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
        """Return the union of the measurements requested by the documents of two studies."""
        if self.join is not None:
            return self.join(one, other)
        values = _union(one, other, self.key)
        return {self.key: values} if values else {}

    @property
    def group(self) -> str:
        """Name of the group with one value per trial."""
        return self.trials.name

    @property
    def dim(self) -> str:
        """Name of the dimension."""
        return self.coordinate.name

    @property
    def value_type(self) -> type:
        """Type of the values on the axis."""
        return str if self.claims.named else int

    @property
    def symbol(self) -> str:
        """Symbol of the value in names and in parameters of claims."""
        return self.claims.symbol

    @property
    def prefix(self) -> str:
        """Prefix of the names of its variables where they are joined with variables of the draws."""
        return self.claims.prefix

    @property
    def enclosed(self) -> tuple[str, ...]:
        """Names of variables whose `_lower` and `_upper` are both finite in every trial that did not fail.

        >>> MEASUREMENTS["training"].enclosed
        ('label_energy', 'lambda_max')
        """
        names = [name.removesuffix("_lower") for name in self.trials.variables if name.endswith("_lower")]
        return tuple(name for name in names if name not in self.open_ended)


def _union(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> list[Any]:
    # In the order of first appearance: coordinates of a store are extended at their end only.
    return list(dict.fromkeys([*one.get(key, []), *other.get(key, [])]))


def _matrix_variables(dims: tuple[str, ...], quantities: Mapping[str, str]) -> tuple[Variable, ...]:
    """Return lambda_min of a random matrix, proved bounds on it and on other quantities, and the status."""
    draw = (*dims, "trial")
    enclosures = (bounds(name, draw, f"proved {{}} bound on the {text}") for name, text in quantities.items())
    return real("lambda_min", draw, quantities["lambda_min"]), *itertools.chain(*enclosures), status(draw)


def _distances(dims: tuple[str, ...], quantities: Mapping[str, str], sizes: str) -> tuple[Variable, ...]:
    """Return the estimates of medians for each size of random matrices."""
    return (
        trials_used(dims),
        real("lambda_min_median", dims, f"median of the {quantities['lambda_min']}"),
        *estimate("deviation_median", dims, f"median of the {quantities['deviation']}", f", for all {sizes} at once"),
    )


def _successes(dims: tuple[str, ...], events: Mapping[str, str], size: str, tried: str) -> tuple[Variable, ...]:
    """Return shares of success for each size of random matrices, and the least size at which they suffice."""
    dim, together = dims[-1], f"for all tried {tried} at once"
    return tuple(
        variable
        for name, event in events.items()
        for variable in (
            real(f"{name}_share", dims, f"share of trials for {event}"),
            *bounds(f"{name}_share", dims, f"{{}} end of the confidence sequence for {event}"),
            real(
                f"{name}_{dim}",
                DEEP,
                f"least tried {size} from which on the share for {event} is at least 1 - delta; NaN: none",
            ),
            real(
                f"{name}_{dim}_lower",
                DEEP,
                f"largest tried {size} at which {event} is proved to be below 1 - delta, {together}; 0: none",
            ),
            real(
                f"{name}_{dim}_upper",
                DEEP,
                f"least tried {size} from which on {event} is proved to be at least 1 - delta, {together}; inf: none",
            ),
        )
    )


_WIDE = (*DEEP, "width")

_OF_NETWORK = {
    "lambda_min": "smallest eigenvalue of the network's tangent kernel",
    "deviation": "operator norm of the network's tangent kernel less its limit",
    "entry_deviation": "largest absolute entry of the network's tangent kernel less its limit",
    "data_norm": "largest eigenvalue of X X'",
    "kernel_norm": "largest eigenvalue of the limiting kernel's Gram matrix",
}

_NETWORKS = Measurement(
    claims=FINITE_WIDTH,
    key="widths",
    coordinate=coordinate("width", "i8", "neurons in every hidden layer of a finite network"),
    trials=Group.of(
        FINITE_WIDTH.name,
        "one value per draw, depth and width: the tangent kernel of a random network beside its limit",
        _matrix_variables(_WIDE, _OF_NETWORK),
    ),
    estimates=Group.of(
        "convergence",
        "how networks' kernels tend to their limit, per cell: shares, smallest widths, exponents",
        (
            *_distances(_WIDE, _OF_NETWORK, "widths"),
            *_successes(
                _WIDE,
                {
                    "norm": "P(|network's kernel - limit| <= lambda_min / 4)",
                    "eigenvalue": "P(lambda_min of the network's kernel >= 3/4 lambda_min)",
                },
                "width",
                "widths",
            ),
            # The width that the published theorem requires, to compare with the least widths that suffice.
            real("printed_width", DEEP, "n^6 / lambda_0^4, lambda_0 the median of lambda_min"),
            *estimate("exponent", DEEP, "exponent of the median deviation in the width"),
        ),
    ),
    values=lambda study: tuple(dict.fromkeys(study.widths or ())),
    numerics=empirical_ntk_module.NUMERICS,
    description="networks of width {}",
    plan="a network of each is drawn in every trial",
    absent="holds no finite networks; run a study with widths into it",
)

_TARGET = (*DEEP, "target")
_TARGET_DRAW = (*_TARGET, "trial")


def _targets(study: StudyLike) -> tuple[str, ...]:
    """Return labels of all pairs of target and step size; the default step size 1 / lambda_max has no suffix."""
    # Step sizes vary slowest: one that is added to a study appends its labels to the coordinate.
    sizes = ("" if size == "max" else f"@{size!r}" for size in study.step_size or ("max",))
    return tuple(dict.fromkeys(f"{target}{size}" for size in sizes for target in study.targets or ()))


_PREDICTED_TRAINING = Measurement(
    claims=TRAINING,
    key="targets",
    coordinate=coordinate("target", "str", "labels; behind @ the step size"),
    trials=Group.of(
        TRAINING.name,
        "one value per draw, depth and target: what the kernel predicts of training on these labels",
        (
            real("step_size", _TARGET_DRAW, "eta"),
            real("label_norm", _TARGET_DRAW, "|y|"),
            *bounds("label_energy", _TARGET_DRAW, "{} bound on y'Ky, proved"),
            *bounds(
                "label_form",
                _TARGET_DRAW,
                "{} bound on y'K^-1 y, proved; inf where K is not definite beyond rounding",
            ),
            *bounds("lambda_max", _TARGET_DRAW, "{} bound on the largest eigenvalue of K, proved"),
            *bounds(
                "steps",
                _TARGET_DRAW,
                "{} bound on the least k with |y - u(k)| <= |y| / (10 n), up to rounding; inf: none",
            ),
            real(
                "regression_loss",
                _TARGET_DRAW,
                "mean over test rows of min(1, |f(x) - y|), f the kernel regression; inf where K or the law does not "
                "allow it",
            ),
            *bounds(
                "residual",
                (*_TARGET_DRAW, "step"),
                "{} bound on |y - u(k)| under gradient descent with the kernel, up to rounding",
            ),
            *bounds(
                "flow",
                (*_TARGET_DRAW, "step"),
                "{} bound on |y - u(t)| under gradient flow at t = eta k, up to rounding",
            ),
            status(_TARGET_DRAW),
        ),
    ),
    estimates=Group.of(
        "prediction",
        "what the kernel predicts of training, per cell: steps, residuals, the bound on the test loss",
        (
            trials_used(_TARGET),
            *estimate(
                "bound", _TARGET, "median of (2 y'K^-1 y / n)^(1/2), which bounds the test loss where K is H-infinity"
            ),
            *estimate("steps", _TARGET, "median of the least k with |y - u(k)| <= |y| / (10 n)"),
            *estimate(
                "steps_share", _TARGET, "median of that k times eta lambda_min / log(10 n), at most 1 up to one step"
            ),
            *estimate("regression_loss", _TARGET, "mean test loss of kernel regression, min(1, |f(x) - y|)"),
            real("residual", (*_TARGET, "step"), "median of |y - u(k)| / |y| under gradient descent with the kernel"),
            real("flow", (*_TARGET, "step"), "median of |y - u(t)| / |y| under gradient flow at t = eta k"),
        ),
    ),
    values=_targets,
    # Test losses depend on the number of test rows, which are drawn with the rows themselves.
    numerics=training.NUMERICS | {"test_rows": TEST_ROWS},
    description="training on {}",
    plan="what the kernel predicts of training on each of these labels",
    absent="holds nothing about training; run a study with targets into it",
    extra_coordinates={"step": CHECKPOINTS},
    # Where lambda_min may be 0 within rounding, nothing bounds these from above.
    open_ended=("label_form", "steps", "residual", "flow"),
    join=lambda one, other: {
        key: _union(one, other, key) for key in ("targets", "step-size") if key in one or key in other
    },
)

_NETWORK = (*DEEP, "network")
_NETWORK_DRAW = (*_NETWORK, "trial")

_SLOPES = {
    "gap": "gap to the prediction from output 0",
    "gap_started": "gap to the prediction from the network's own start",
    "drift": "drift of the kernel",
}


def _network_labels(study: StudyLike) -> tuple[str, ...]:
    if study.train is None:
        return ()
    every = itertools.product(_targets(study), study.train.widths, study.train.kappa)
    return tuple(dict.fromkeys(str(NetworkLabel(*combination)) for combination in every))


def _joined_train(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the union of the widths and scales of two studies."""
    # Both have the same number of steps: it is part of the identity that studies in one store share.
    first, second = one.get("train"), other.get("train")
    if not (first and second):
        return {"train": first or second} if first or second else {}
    return {"train": first | {key: _union(first, second, key) for key in ("widths", "kappa")}}


_TRAINED_NETWORKS = Measurement(
    claims=TRAINED,
    key="train",
    coordinate=coordinate("network", "str", "target, width and kappa of a network"),
    trials=Group.of(
        TRAINED.name,
        "one value per draw, depth and network: gradient descent on an actual network beside the prediction",
        (
            real("step_size", _NETWORK_DRAW, "eta"),
            real("start", _NETWORK_DRAW, "|u(0)| / |y|, u the network's outputs"),
            real(
                "gap",
                _NETWORK_DRAW,
                "largest | |y - u(k)| - what the kernel predicts from output 0 | / |y| over all steps",
            ),
            real(
                "gap_started",
                _NETWORK_DRAW,
                "the same with what the kernel predicts from the network's own start u(0)",
            ),
            real("contraction", _NETWORK_DRAW, "largest |y - u(k+1)|^2 / |y - u(k)|^2 over all steps"),
            real(
                "drift",
                _NETWORK_DRAW,
                "|H_T - H_0| / |H_0| in Frobenius norm, H_t the network's kernel along training",
            ),
            real(
                "test_loss",
                _NETWORK_DRAW,
                "mean over test rows of min(1, |f(x) - y|); inf where the law has no more rows",
            ),
            real("residual", (*_NETWORK_DRAW, "step"), "|y - u(k)|; inf beyond the last step"),
            status(_NETWORK_DRAW),
        ),
    ),
    estimates=Group.of(
        "dynamics",
        "how trained networks follow the prediction, per cell: gaps, drift of the kernel, exponents",
        (
            trials_used(_NETWORK),
            *itertools.chain(*(estimate(name, _NETWORK, f"median {text}") for name, text in _SLOPES.items())),
            *estimate("test_loss", _NETWORK, "mean test loss of the trained network, min(1, |f(x) - y|)"),
            *estimate(
                "contraction_share",
                _NETWORK,
                "share of trials in which |y - u|^2 shrinks by 1 - eta lambda_min / 2 in every step",
            ),
            *estimate(
                "contraction_width",
                _NETWORK,
                "least tried width from which on that share is 1 - delta; of networks with the same labels and scale",
            ),
            real("residual", (*_NETWORK, "step"), "median of |y - u(k)| / |y|"),
            *itertools.chain(
                *(
                    estimate(
                        f"{name}_{size}",
                        _NETWORK,
                        f"exponent in {size} of the median {text}, over the networks that are trained on the same "
                        "labels",
                    )
                    for name, text in _SLOPES.items()
                    for size in ("width", "kappa")
                )
            ),
        ),
    ),
    values=_network_labels,
    numerics=training.NUMERICS | training.DESCENT_NUMERICS | {"test_rows": TEST_ROWS},
    description="the trained network {}",
    plan="a network of each, trained by gradient descent",
    absent="holds no trained networks; run a study with train into it",
    # Maxima over all steps depend on their number; other widths and scales only add networks.
    options=lambda study: {"steps": study.train.steps} if study.train else {},
    extra_coordinates={"step": CHECKPOINTS},
    join=_joined_train,
)

_FEATURES = (*DEEP, "features")

_OF_SKETCH = {
    "lambda_min": "smallest eigenvalue of the feature map's Gram matrix",
    "deviation": "operator norm of the feature map's Gram matrix less the kernel's",
    "entry_deviation": "largest absolute entry of the feature map's Gram matrix less the kernel's",
    "kernel_norm": "largest eigenvalue of the kernel's Gram matrix",
}

_SKETCHES = Measurement(
    claims=SKETCHING,
    key="features",
    coordinate=coordinate("features", "i8", "columns of a feature map"),
    trials=Group.of(
        SKETCHING.name,
        "one value per draw, depth and number of features: a feature map's Gram matrix beside the kernel",
        _matrix_variables(_FEATURES, _OF_SKETCH),
    ),
    estimates=Group.of(
        "sketch_accuracy",
        "how feature maps tend to their kernel, per cell: errors, shares, least features, exponents",
        (
            *_distances(_FEATURES, _OF_SKETCH, "numbers of features"),
            real("relative_median", _FEATURES, f"median of the {_OF_SKETCH['deviation']}, over the kernel's own"),
            *(
                real(f"{name}_quantile", (*_FEATURES, "quantile"), f"quantiles of the {_OF_SKETCH[name]}")
                for name in ("deviation", "entry_deviation")
            ),
            *_successes(
                _FEATURES,
                {
                    "norm": "P(|feature map's Gram matrix - kernel's| <= lambda_min / 4)",
                    "eigenvalue": "P(lambda_min of the feature map's Gram matrix >= 3/4 lambda_min)",
                },
                "number of features",
                "numbers",
            ),
            *estimate("exponent", DEEP, "exponent of the median deviation in the number of features"),
        ),
    ),
    values=lambda study: tuple(dict.fromkeys(study.features or ())),
    numerics=features.NUMERICS,
    description="{} features",
    plan="a feature map with so many columns is drawn in every trial",
    absent="holds no sketches; run a study with features into it",
    # A store holds feature maps of one method, as their group has no dimension for it.
    options=lambda study: {"method": study.method},
    settings=("sketch",),
)

MEASUREMENTS: Final = {axis.group: axis for axis in (_NETWORKS, _PREDICTED_TRAINING, _TRAINED_NETWORKS, _SKETCHES)}
"""Additional measurements by the name of their group. Their order is that of the work in a run, and of plans."""


def measurements_of(dims: Iterable[str]) -> list[Measurement]:
    """Return the additional measurements of a store, from the dimensions of its record.

    >>> [axis.group for axis in measurements_of(["d", "width"])]
    ['finite_width']
    """
    dimensions = set(dims)
    return [axis for axis in MEASUREMENTS.values() if axis.dim in dimensions]


def requested_keys(study: StudyLike) -> tuple[MeasurementKey, ...]:
    """Return the keys of what a study measures in addition to the draws."""
    return tuple(MeasurementKey(axis.group, value) for axis in MEASUREMENTS.values() for value in axis.values(study))


def stored_keys(coordinates: Mapping[str, Iterable[Value]]) -> tuple[MeasurementKey, ...]:
    """Return the keys of what a store holds in addition to the draws, from its coordinates.

    >>> stored_keys({"d": [3], "width": [2, 64]})
    (MeasurementKey(group='finite_width', value=2), MeasurementKey(group='finite_width', value=64))
    """
    axes = measurements_of(coordinates)
    return tuple(MeasurementKey(axis.group, value) for axis in axes for value in coordinates[axis.dim])


def values_by_group(keys: Iterable[MeasurementKey]) -> dict[str, tuple[Value, ...]]:
    """Return the values of keys by their group, as expected by `ntkmc.theory.claims.instances`."""
    values: dict[str, tuple[Value, ...]] = {}
    for key in keys:
        values[key.group] = (*values.get(key.group, ()), key.value)
    return values
