"""Declaration of stored variables and groups: dimensions, units, codes, and descriptions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ntkmc.linalg.eigen import Status

CELL: Final = ("distribution", "d", "n")
DRAW: Final = (*CELL, "trial")
DEEP: Final = (*CELL, "depth")
DEEP_DRAW: Final = (*CELL, "depth", "trial")

STATUS: Final = {"not-run": 0} | {status.name.lower().replace("_", "-"): status.code for status in Status}
NAN: Final = math.nan


@dataclass(frozen=True)
class Variable:
    """One variable of one group.

    Attributes
    ----------
    group, name : str
    dims : tuple of str
    dtype : str
        `f8`, `i1`, `i8` or `str`.
    fill : float, int or str
        Value where nothing was written.
    unit : str
        `1` for a pure number.
    sentence : str
        Description, stored as the attribute `long_name`.
    flags : dict of str to int
        Integer codes by meaning; empty for a variable without codes.
    """

    group: str
    name: str
    dims: tuple[str, ...]
    dtype: str
    fill: float | int | str
    unit: str
    sentence: str
    flags: dict[str, int] = field(default_factory=dict)

    @property
    def per_depth(self) -> bool:
        """True if there is one value per depth."""
        return "depth" in self.dims

    @property
    def trailing_dims(self) -> tuple[str, ...]:
        """Dimensions that follow `trial`, if the value of a trial is an array.

        >>> real("curve", (*DRAW, "step"), "a curve").trailing_dims
        ('step',)
        """
        # Chunks and folds treat all dimensions up to `trial` alike; what follows is stored as one value of a trial.
        return self.dims[self.dims.index("trial") + 1 :] if "trial" in self.dims else ()

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the array: unit, description, codes."""
        attributes: dict[str, Any] = {"units": self.unit, "long_name": self.sentence}
        if self.flags:
            attributes["flag_values"] = list(self.flags.values())
            attributes["flag_meanings"] = " ".join(self.flags)
        return attributes


@dataclass(frozen=True)
class Group:
    """One group of a store: its name, its description, and its variables by name.

    A fold writes variables in their order, and a trial counts as done by its status: in a group with one value per
    trial, `status` is the last variable.
    """

    name: str
    long_name: str
    variables: Mapping[str, Variable]

    @classmethod
    def of(cls, name: str, long_name: str, variables: Iterable[Variable]) -> Group:
        """Return a group with the given variables, which become variables of this group."""
        return cls(name, long_name, {variable.name: replace(variable, group=name) for variable in variables})


def real(name: str, dims: tuple[str, ...], sentence: str) -> Variable:
    """Return a dimensionless float64 variable."""
    return Variable("", name, dims, "f8", NAN, "1", sentence)


def count(name: str, dims: tuple[str, ...], sentence: str) -> Variable:
    """Return an integer variable that counts trials."""
    return Variable("", name, dims, "i8", 0, "trials", sentence)


def code(name: str, dims: tuple[str, ...], sentence: str, flags: dict[str, int] | None = None) -> Variable:
    """Return a variable of integer codes."""
    return Variable("", name, dims, "i1", 0, "1", sentence, flags or {})


def status(dims: tuple[str, ...]) -> Variable:
    """Return the status of every trial."""
    return code("status", dims, "how the trial ended", STATUS)


def trials_used(dims: tuple[str, ...]) -> Variable:
    """Return the number of trials on which the estimates of an additional measurement rest."""
    return count("trials_used", dims, "length of the prefix that these estimates rest on")


def bounds(name: str, dims: tuple[str, ...], sentence: str) -> tuple[Variable, ...]:
    """Return two variables with a lower and an upper bound; braces in the sentence are replaced by which one."""
    return tuple(real(f"{name}_{end}", dims, sentence.format(end)) for end in ("lower", "upper"))


def estimate(name: str, dims: tuple[str, ...], sentence: str, scope: str = "") -> tuple[Variable, ...]:
    """Return three variables: an estimate and its confidence limits, which hold in the given scope."""
    return real(name, dims, sentence), *bounds(name, dims, "its {} confidence limit" + scope)


def coordinate(name: str, dtype: str, sentence: str, dim: str = "") -> Variable:
    """Return the coordinate of a dimension; `dim` is given for one that does not have its name."""
    fills: dict[str, float | int | str] = {"str": "", "i8": 0, "f8": NAN}
    return Variable("", name, (dim or name,), dtype, fills[dtype], "1", sentence)
