"""Model of a study: validated, immutable, unknown keys refused."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_serializer,
    field_validator,
    model_validator,
)

from ntkmc.errors import InputError
from ntkmc.experiment.study.cells import Cell, evaluate_size
from ntkmc.experiment.study.measurements import (
    DRAWS,
    MEASUREMENTS,
    SPECTRA_NUMERICS,
    MeasurementKey,
    requested_keys,
    values_by_group,
)
from ntkmc.experiment.study.numerics import NUMERICS
from ntkmc.linalg.networks import LARGEST_WIDTH, training
from ntkmc.linalg.networks import empirical_ntk as empirical_ntk_module
from ntkmc.linalg.sketching import features as feature_maps
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import Instance, instances, select
from ntkmc.theory.claims.trial_statistics import EDGES, SPECTRUM, required
from ntkmc.theory.distributions import Dataset, Unimported, build
from ntkmc.theory.distributions.normalization import DEFAULT, Normalization, second_moment_of
from ntkmc.theory.kernels import check_kernel
from ntkmc.theory.targets import TARGETS, check_target

Kernel = Literal["h-infinity", "ntk", "conjugate"]


def _as_list(value: Any) -> Any:
    """Wrap a single value in a list."""
    return value if isinstance(value, list | tuple) else [value]


def _reject_bool(value: Any) -> Any:
    """Refuse a boolean: YAML reads `yes` as True, and pydantic would convert it to 1."""
    if isinstance(value, bool):
        raise ValueError(f"must be a number, got {str(value).lower()}")
    return value


MOST_TRIALS = 10_000_000
"""Largest number of trials of one cell: a driver holds one byte per trial and depth in memory."""

PositiveInt = Annotated[int, BeforeValidator(_reject_bool), Field(ge=1, lt=2**32)]


Width = Annotated[int, BeforeValidator(_reject_bool), Field(ge=1, le=LARGEST_WIDTH)]

StepSize = Annotated[float, BeforeValidator(_reject_bool), Field(gt=0.0, allow_inf_nan=False)] | Literal["max"]

Scale = Annotated[float, BeforeValidator(_reject_bool), Field(gt=0.0, allow_inf_nan=False)]

Features = Annotated[int, BeforeValidator(_reject_bool), Field(ge=2, le=LARGEST_WIDTH)]

Depth = Annotated[int, BeforeValidator(_reject_bool), Field(ge=1, le=1000)]
"""The error bounds of the recursion were not tested beyond 1000 layers."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Grid(_Model):
    """Full product of distributions, dimensions, numbers of rows and depths; n may be an expression in d."""

    distribution: Annotated[tuple[Any, ...], BeforeValidator(_as_list), Field(min_length=1)]
    d: Annotated[tuple[PositiveInt, ...], BeforeValidator(_as_list), Field(min_length=1)]
    n: Annotated[tuple[PositiveInt | str, ...], BeforeValidator(_as_list), Field(min_length=1)]
    depth: Annotated[tuple[Depth, ...], BeforeValidator(_as_list), Field(min_length=1)] = (2,)
    normalize: Normalization | None = None

    @field_validator("distribution", mode="before")
    @classmethod
    def _resolve(cls, value: Any, info: ValidationInfo) -> Any:
        context = info.context or {}
        # Without the key `trusted` no code is imported, since the document may come from a store.
        base, trusted = context.get("base"), context.get("trusted", False)
        return [build(spec, base, trusted=trusted).stored(spec) for spec in _as_list(value)]

    @field_serializer("distribution")
    def _specs(self, value: tuple[Any, ...]) -> list[Any]:
        return [entry.spec if isinstance(entry, Unimported) else entry for entry in value]

    @field_validator("n")
    @classmethod
    def _expressions(cls, value: tuple[int | str, ...], info: ValidationInfo) -> tuple[int | str, ...]:
        for entry in value:
            for d in info.data.get("d", ()):
                if isinstance(entry, str):
                    evaluate_size(entry, d)
        return value


class FixedTrials(_Model):
    """A number of trials fixed in advance: `first`, ..., `first + count - 1` in every cell."""

    first: Annotated[int, BeforeValidator(_reject_bool), Field(alias="from", ge=0)] = 0
    count: Annotated[int, BeforeValidator(_reject_bool), Field(ge=1)]

    @model_validator(mode="after")
    def _bounded(self) -> FixedTrials:
        if self.first + self.count > MOST_TRIALS:
            raise ValueError(f"trials are numbered up to {MOST_TRIALS}, got {self.first} + {self.count}")
        return self


class AdaptiveTrials(_Model):
    """A number of trials chosen per cell: until the half-width of its interval is small enough, within limits."""

    at_least: PositiveInt = Field(alias="at-least")
    at_most: PositiveInt = Field(alias="at-most", le=MOST_TRIALS)
    half_width: float = Field(alias="half-width", gt=0.0, lt=0.5)

    @model_validator(mode="after")
    def _ordered(self) -> AdaptiveTrials:
        if self.at_least > self.at_most:
            raise ValueError(f"at-least ({self.at_least}) must not exceed at-most ({self.at_most})")
        return self


class Event(_Model):
    """The event lambda_min >= lambda_0 for one or more thresholds, and the allowed failure probability delta."""

    lambda_0: Annotated[
        tuple[Annotated[float, BeforeValidator(_reject_bool), Field(gt=0.0, allow_inf_nan=False)], ...],
        BeforeValidator(_as_list),
        Field(alias="lambda-0", min_length=1),
    ]
    delta: float = Field(default=0.05, gt=0.0, lt=1.0)

    @field_validator("lambda_0")
    @classmethod
    def _sorted(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(value)))


class Training(_Model):
    """Networks trained by gradient descent on every target: all pairs of a width and an initial scale."""

    widths: Annotated[tuple[Width, ...], BeforeValidator(_as_list), Field(min_length=1)]
    kappa: Annotated[tuple[Scale, ...], BeforeValidator(_as_list), Field(min_length=1)] = (1.0,)
    steps: Annotated[int, BeforeValidator(_reject_bool), Field(ge=1, le=training.MOST_STEPS)] = 1000


def _trials(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"must be at least 1, got {value}")
        return FixedTrials(count=value)
    if isinstance(value, dict):
        return (FixedTrials if set(value) & {"from", "count"} else AdaptiveTrials).model_validate(value)
    if isinstance(value, FixedTrials | AdaptiveTrials):
        return value
    raise ValueError("must be a number, {at-least, at-most, half-width} or {from, count}")


class Study(_Model):
    """Study: the grid of draws, the kernel, the event, the number of trials, and optional measurements.

    Read a study with `load_study`, or build it in Python with `Study.model_validate({...})`. Pass
    `context={"trusted": True}` if it names laws as `module:attribute`, which are not imported otherwise.
    """

    name: Annotated[str, Field(max_length=60, pattern=r"^\w[\w .+\-]*$")]  # the name of a folder too
    seed: Annotated[int, BeforeValidator(_reject_bool), Field(ge=0, lt=2**128)]
    kernel: Kernel
    grid: Annotated[tuple[Grid, ...], BeforeValidator(_as_list), Field(min_length=1)]
    trials: Annotated[FixedTrials | AdaptiveTrials, BeforeValidator(_trials)]
    event: Event
    widths: Annotated[tuple[Width, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    targets: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    step_size: tuple[StepSize, ...] | None = Field(default=None, alias="step-size", min_length=1)
    train: Training | None = None
    features: Annotated[tuple[Features, ...], BeforeValidator(_as_list), Field(min_length=1)] | None = None
    sketch: Literal["random-features", "tensor-sketch"] | None = None
    nested: bool = False
    measure: Literal["lambda-min", "event"] = "lambda-min"
    spectrum: Literal["edges", "full"] | None = None
    claims: Annotated[tuple[str, ...], BeforeValidator(_as_list), Field(min_length=1)] = ("all",)
    confidence: float = Field(default=0.95, gt=0.0, le=1.0 - 1e-9)

    @field_validator("step_size", mode="before")
    @classmethod
    def _step_sizes(cls, value: Any) -> Any:
        return None if value is None else _as_list(value)

    @field_validator("targets")
    @classmethod
    def _targets(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        for name in value or ():
            _with_location("targets", check_target, name)
        return value

    @field_validator("claims")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        select(value)
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        if self.spectrum and self.measure == "event":
            raise ValueError("spectrum: needs measure: lambda-min, got measure: event; leave one of them out")
        modes = {grid.normalize or DEFAULT[self.kernel] for grid in self.grid}
        if len(modes) > 1:
            raise ValueError(f"grid: all grids of a study must share one normalize, got {', '.join(sorted(modes))}")
        for number, grid in enumerate(self.grid):
            where = f"grid[{number}]" if len(self.grid) > 1 else "grid"
            for depth in grid.depth:
                _with_location(where + ".depth", check_kernel, self.kernel, depth)
        if self.networks:
            depths = {depth for cell in self.cells for depth in cell.depths}
            _with_location("widths", empirical_ntk_module.check_network_kernel, self.kernel, sorted(depths))
            if 1 in depths:
                raise ValueError("widths: a network of depth 1 has no hidden layer; leave depth 1 out of the grid")
        if self.targets is None and (self.train or self.step_size):
            given = "train" if self.train else "step-size"
            raise ValueError(f"{given}: nothing to train on; name targets: {', '.join(TARGETS)}")
        if self.train and self.kernel != "h-infinity":
            raise ValueError(f"train: networks are trained whose kernel is h-infinity, not {self.kernel}")
        if self.sketch and not self.features:
            raise ValueError(f"sketch: {self.sketch} of how many features? Add features: [256, 1024]")
        if self.features:
            depths = {depth for cell in self.cells for depth in cell.depths}
            _with_location("features", feature_maps.check_features, self.kernel, sorted(depths), self.method)
        for cell in self.cells:
            if isinstance(cell.distribution, Unimported):
                continue  # read from a store, and checked when it was run
            _with_location("grid", cell.distribution.check, cell.n, cell.d)
            if any(check_target(name).own for name in self.targets or ()):
                _with_location("targets", cell.distribution.labels, 1, cell.d, np.random.default_rng(0))
            if self.normalize == "mean":
                _with_location("grid", cell.distribution.second_moment, cell.d)
            if self.normalize == "unit" and isinstance(cell.distribution, Dataset):
                zero = cell.distribution.zero_row()
                if zero is not None:
                    raise ValueError(
                        f"grid: dataset {cell.distribution.path}: row {zero} is zero and cannot be normalized; "
                        "remove it, or use normalize: mean or none"
                    )
        return self

    @property
    def networks(self) -> tuple[int, ...]:
        """Distinct widths of the finite networks of the study; empty if it has none."""
        return tuple(dict.fromkeys(self.widths or ()))

    @property
    def method(self) -> str:
        """Name of the method that makes feature maps."""
        return self.sketch or feature_maps.METHODS[0]

    @cached_property
    def additional_measurements(self) -> tuple[MeasurementKey, ...]:
        """Measurements on every draw in addition to those of the limiting kernel."""
        return requested_keys(self)

    @property
    def measurements(self) -> tuple[MeasurementKey, ...]:
        """All that a trial measures: the draw with its limiting kernel, and the additional measurements."""
        return (DRAWS, *self.additional_measurements)

    @property
    def normalize(self) -> Normalization:
        """Normalization of rows; the same in all grids of the study."""
        return self.grid[0].normalize or DEFAULT[self.kernel]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells without duplicates, in the order of the grids. Equal cells of several grids unite their depths."""
        by_key: dict[tuple[str, int, int], Cell] = {}
        for grid in self.grid:
            for spec in grid.distribution:
                # Laws of an untrusted document are `Unimported` by now, which `build` returns as they are.
                distribution = build(spec, trusted=True)
                for d in grid.d:
                    for entry in grid.n:
                        n = entry if isinstance(entry, int) else evaluate_size(entry, d)
                        key = (distribution.label, d, n)
                        depths = set(grid.depth) | set(by_key[key].depths if key in by_key else ())
                        by_key[key] = Cell(distribution, d, n, tuple(sorted(depths)))
        return tuple(by_key.values())

    @property
    def trial_range(self) -> range:
        """Range of trials that a cell has at most."""
        if isinstance(self.trials, FixedTrials):
            return range(self.trials.first, self.trials.first + self.trials.count)
        return range(self.trials.at_most)

    @property
    def adaptive(self) -> bool:
        """True if the number of trials depends on their results."""
        return isinstance(self.trials, AdaptiveTrials)

    @cached_property
    def looks(self) -> tuple[int, ...]:
        """Prefix lengths at which estimates are taken and stopping is decided.

        The schedule depends on the study alone. The trials finished so far would be a biased sample if the duration
        of a trial depends on its result; contiguous prefixes of fixed lengths are not biased. The lengths grow
        geometrically with ratio 1.5, so that at most half of the trials are unused.
        """
        # An adaptive study must not look before `at-least`; a fixed number of trials is first looked at after 16.
        total = len(self.trial_range)
        least = self.trials.at_least if isinstance(self.trials, AdaptiveTrials) else min(16, total)
        lengths = []
        length = least
        while length < total:
            lengths.append(length)
            length = max(length + 1, math.ceil(1.5 * length))
        return (*lengths, total)

    @cached_property
    def instances(self) -> tuple[Instance, ...]:
        """Instances of the claims under test, one per set of parameters, without the event."""
        return tuple(instances(self.claims, self.kernel, values_by_group(self.additional_measurements)))

    @cached_property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics measured in addition to lambda_min: those that claims need, and spectra."""
        # A function of the claims, the kernel and `spectrum` alone: if the grid entered, trials measured before the
        # grid has grown would lack statistics.
        spectrum_names = {None: (), "edges": EDGES, "full": SPECTRUM}[self.spectrum]
        return required([*spectrum_names, *(name for instance in self.instances for name in instance.needs)])

    def context(self, cell: Cell, depth: int) -> CellContext:
        """Return the facts about a cell at one depth that claims may use."""
        law, d = cell.distribution, cell.d
        try:
            moment = law.second_moment(d)
        except InputError:
            moment = None
        unit = self.normalize == "unit" or law.unit_norm
        # `scale` multiplies unit rows back to rows of the law; None where no such factor is known.
        scale = {"unit": None, "none": 1.0, "mean": None if moment is None else math.sqrt(moment)}[self.normalize]
        if self.normalize == "unit" and law.unit_norm:
            scale = 1.0  # the division changes nothing but roundings
        smaller_sizes = [n for label, other, n in self._sizes if label == law.label and other == d and n < cell.n]
        return CellContext(
            kernel=self.kernel,
            depth=depth,
            n=cell.n,
            d=d,
            unit_rows=unit,
            law=law.name,
            hypotheses=law.hypotheses(d),
            scale=scale,
            second_moment=second_moment_of(self.normalize, law, d),
            shallower=max((other for other in cell.depths if other < depth), default=None),
            fewer=max(smaller_sizes, default=None) if self.nested else None,
        )

    @cached_property
    def _sizes(self) -> tuple[tuple[str, int, int], ...]:
        return tuple((cell.distribution.label, cell.d, cell.n) for cell in self.cells)

    def document(self) -> dict[str, Any]:
        """Return the study as plain JSON data with resolved paths, readable by `Study.model_validate`."""
        data: dict[str, Any] = self.model_dump(mode="json", by_alias=True, exclude_none=True)
        if not self.features:
            data.pop("sketch", None)  # the store may hold feature maps of an earlier study, made by either method
        return data

    def identity(self) -> dict[str, Any]:
        """Return the settings that all studies in one store must share."""
        return {
            "seed": self.seed,
            "kernel": self.kernel,
            "normalize": self.normalize,
            "nested": self.nested,
            # Trials decide the events of their own thresholds only: at other thresholds they would be undecided.
            "measure": "lambda-min" if self.measure == "lambda-min" else {"event": list(self.event.lambda_0)},
            "numerics": NUMERICS,
            **{
                axis.group: {**axis.numerics, **axis.options(self)}
                for axis in MEASUREMENTS.values()
                if axis.values(self)
            },
            **({"spectra": dict(SPECTRA_NUMERICS)} if self.spectrum else {}),
        }

    def digest(self) -> str:
        """Return the hash of the whole study."""
        return hash_document(self.document())


def hash_document(document: Any) -> str:
    """Return the BLAKE2b-128 hash of canonical JSON, in hexadecimal."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _with_location(where: str, check: Any, *arguments: Any) -> None:
    """Call `check`, and prefix its error with the location in the study; pydantic expects a ValueError."""
    try:
        check(*arguments)
    except InputError as error:
        raise ValueError(f"{where}: {error}") from error
    except ArithmeticError as error:
        raise ValueError(f"{where}: a parameter is so large or small that numbers overflow ({error})") from error


def find_cell(cells: Iterable[Cell], name: str) -> Cell:
    """Return the cell with a name such as `sphere,d=32,n=16`; raise an InputError if there is none."""
    compact_name = name.replace(" ", "")
    candidates = list(cells)
    for cell in candidates:
        if cell.name == compact_name:
            return cell
    raise InputError(f"no cell {name!r} in this study; cells are called like {candidates[0].name!r}")
