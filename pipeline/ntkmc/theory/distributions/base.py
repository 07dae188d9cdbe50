"""Base class of distributions, their registry, and the validation of their parameters."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import numpy as np

from ntkmc.errors import InputError, did_you_mean
from ntkmc.numeric import Matrix
from ntkmc.registry import Registry
from ntkmc.theory.distributions.hypotheses import UNKNOWN, Hypotheses

Spec = str | Mapping[str, Any]
"""A name, or {name: {parameter: value}}; the name of a registered law, of an entry point, or `module:function`."""


class Distribution(ABC):
    """Base class of the laws of one data row. Subclasses are frozen dataclasses whose fields are the parameters.

    A law must draw row by row: from one generator state, `sample(n, d, rng)[:m]` equals `sample(m, d, rng)`, so that
    nested studies can take the first n rows of a larger draw.
    """

    name: ClassVar[str]
    example: ClassVar[Mapping[str, int | float | str] | None] = {}
    """Parameters with which the law is listed and tested; None if no fixed choice is always valid."""

    @abstractmethod
    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Draw n rows in dimension d, as an (n, d) float64 array."""

    @abstractmethod
    def second_moment(self, d: int) -> float:
        """Return E |x|**2 in dimension d; `InputError` where it does not exist."""

    def check(self, n: int, d: int) -> None:  # noqa: B027  (most laws exist for every n and d)
        """Raise `InputError` for an n or d for which the law cannot be drawn."""

    def hypotheses(self, d: int) -> Hypotheses:
        """Return the proved properties of a row as drawn in dimension d; they decide which theorems apply."""
        return UNKNOWN

    @property
    def unit_norm(self) -> bool:
        """True if every row has norm 1 before normalization."""
        return False

    def labels(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Return the law's labels, (n,), of the rows that `sample` draws from the same state; `InputError` if none."""
        raise InputError(
            f"{self.name} has no labels of its own: that takes a data set, {{dataset: {{..., column: 0}}}}"
        )

    def parameters(self) -> dict[str, int | float | str]:
        """Return the parameters that determine the law, by name, in canonical form (3.0 becomes 3)."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return {name: canonical(value) for name, value in sorted(values)}

    @property
    def label(self) -> str:
        """Name with its parameters, sorted by key; it is stored, and enters the address of a cell."""
        inside = ",".join(f"{name}={value}" for name, value in self.parameters().items())
        return f"{self.name}({inside})" if inside else self.name

    def stored(self, spec: Any) -> Any:
        """Return the form in which `spec`, the entry of this law, is stored: independent of the working directory."""
        return spec


def canonical(value: Any) -> int | float | str:
    """Return a parameter's value as in a label: a number (3.0 as 3) or a string; otherwise raise `InputError`."""
    # 3 and 3.0 are one law, and need one label. From 2**53 on, a float stands for more than one integer.
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53:
        return int(value)
    if isinstance(value, int | float | str):
        return value
    raise InputError(f"a distribution's parameter must be a number or a string, got {value!r}")


DISTRIBUTIONS: Final[Registry[type[Distribution]]] = Registry("distribution")


def register(law: type[Distribution]) -> type[Distribution]:
    """Class decorator: add a law to the registry under its `name`."""
    return DISTRIBUTIONS.add(law.name, law)


def instantiate(law: type[Distribution], name: str, given: Mapping[str, Any]) -> Distribution:
    """Return a law with given parameters; `InputError`, in which the law is called `name`, if they are invalid."""
    fields = {field.name: field for field in dataclasses.fields(law) if field.init}  # type: ignore[arg-type]
    accepted = ", ".join(fields) or "none"
    # Checked before the constructor, whose TypeError would not name the law.
    for key in given:
        if key not in fields:
            hint = did_you_mean(str(key), fields) if fields else "it has none"
            raise InputError(f"distribution {name} has no parameter {str(key)!r}: {hint}")
    missing = [
        field.name
        for field in fields.values()
        if field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        and field.name not in given
    ]
    if missing:
        raise InputError(
            f"distribution {name} needs {', '.join(missing)}: write {{{name}: {{{missing[0]}: ...}}}} "
            f"(parameters: {accepted})"
        )
    return law(**given)


def number(
    law: str, parameter: str, value: Any, requirement: str, allowed: Callable[[float], bool] = lambda value: True
) -> float:
    """Return `value` as a finite float that is `allowed`; otherwise raise `InputError` with law and parameter.

    >>> number("sparse", "p", 2, "a number in (0, 1]", lambda p: 0.0 < p <= 1.0)
    Traceback (most recent call last):
    ntkmc.errors.InputError: distribution sparse: p must be a number in (0, 1], got 2
    """
    try:
        converted = float(value)
    except (TypeError, ValueError, OverflowError):
        converted = math.nan
    # bool is a subclass of int, but True is a mistake where a number is expected.
    if isinstance(value, bool) or not (math.isfinite(converted) and allowed(converted)):
        raise InputError(f"distribution {law}: {parameter} must be {requirement}, got {value!r}")
    return converted


def positive(law: str, parameter: str, value: Any) -> float:
    """Return `value` as a positive finite float; otherwise raise `InputError` with law and parameter."""
    return number(law, parameter, value, "a positive number", lambda x: x > 0.0)


def count(law: str, parameter: str, value: Any) -> int:
    """Return `value` as a positive integer (3.0 as 3); otherwise raise `InputError` with law and parameter."""
    return int(number(law, parameter, value, "a positive integer", lambda x: x >= 1.0 and x.is_integer()))
