"""What a distribution is, how it is named, and how it is drawn."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import InputError, did_you_mean
from ntkmc.registry import Registry
from ntkmc.theory.distributions.hypotheses import UNKNOWN, Hypotheses

Matrix = NDArray[np.float64]
Spec = str | Mapping[str, Any]
"""A name, or {name: {parameter: value}}; the name of a registered law, of an entry point, or `module:function`."""


class Distribution(ABC):
    """The law of one data row. Subclasses are frozen dataclasses; their fields are the parameters.

    A law must draw by rows: with one generator state, `sample(n, d, rng)[:m]` equals `sample(m, d, rng)`, so that
    nested studies can take the first n rows of a larger draw.
    """

    name: ClassVar[str]
    example: ClassVar[Mapping[str, int | float | str] | None] = {}
    """Parameters with which the law is listed and tested; None where there are none that always work."""

    @abstractmethod
    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """n rows in dimension d, as an (n, d) float64 array."""

    @abstractmethod
    def second_moment(self, d: int) -> float:
        """E |x|**2 in dimension d; `InputError` where it does not exist."""

    def check(self, n: int, d: int) -> None:  # noqa: B027  (most laws exist for every n and d)
        """Refuse an n or d for which the law cannot be drawn (`InputError`)."""

    def hypotheses(self, d: int) -> Hypotheses:
        """What is proved about a row as drawn in dimension d; theorems are tried where they apply by this."""
        return UNKNOWN

    @property
    def unit_norm(self) -> bool:
        """Whether every row has norm 1 as drawn."""
        return False

    def labels(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """Labels of the law's own of the rows that `sample` draws from the same state, (n,); `InputError` if none."""
        raise InputError(
            f"{self.name} has no labels of its own: that takes a data set, {{dataset: {{..., column: 0}}}}"
        )

    def parameters(self) -> dict[str, int | float | str]:
        """Parameters that make the law what it is, by name, canonical: 3.0 is 3."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return {name: canonical(value) for name, value in sorted(values)}

    @property
    def label(self) -> str:
        """Name with its parameters, keys sorted: what the store shows and what enters an address."""
        inside = ",".join(f"{name}={value}" for name, value in self.parameters().items())
        return f"{self.name}({inside})" if inside else self.name

    def stored(self, spec: Any) -> Any:
        """What stands for `spec`, of which this was built, in a stored study: free of the working directory."""
        return spec


def canonical(value: Any) -> int | float | str:
    """A parameter's value as it enters a label: a number or a string, 3.0 as 3 (`InputError` for anything else)."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53:
        return int(value)
    if isinstance(value, int | float | str):
        return value
    raise InputError(f"a distribution's parameter must be a number or a string, got {value!r}")


DISTRIBUTIONS: Final[Registry[type[Distribution]]] = Registry("distribution")


def register(law: type[Distribution]) -> type[Distribution]:
    """Class decorator: enter a law into the registry under its `name`."""
    return DISTRIBUTIONS.add(law.name, law)


def instantiate(law: type[Distribution], name: str, given: Mapping[str, Any]) -> Distribution:
    """A law with the parameters that a study gives it, called `name` in messages (`InputError`)."""
    fields = {field.name: field for field in dataclasses.fields(law) if field.init}  # type: ignore[arg-type]
    wanted = ", ".join(fields) or "none"
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
            f"(parameters: {wanted})"
        )
    return law(**given)


def number(
    law: str, parameter: str, value: Any, wanted: str, allowed: Callable[[float], bool] = lambda value: True
) -> float:
    """`value` as a finite float that is `allowed`, or an `InputError` that names law and parameter.

    >>> number("sparse", "p", 2, "a number in (0, 1]", lambda p: 0.0 < p <= 1.0)
    Traceback (most recent call last):
    ntkmc.errors.InputError: distribution sparse: p must be a number in (0, 1], got 2
    """
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if isinstance(value, bool) or not (math.isfinite(found) and allowed(found)):
        raise InputError(f"distribution {law}: {parameter} must be {wanted}, got {value!r}")
    return found


def positive(law: str, parameter: str, value: Any) -> float:
    """`value` as a positive finite float, or an `InputError` that names law and parameter."""
    return number(law, parameter, value, "a positive number", lambda found: found > 0.0)


def count(law: str, parameter: str, value: Any) -> int:
    """`value` as a positive integer, or an `InputError` that names law and parameter; 3.0 is 3."""
    return int(number(law, parameter, value, "a positive integer", lambda found: found >= 1.0 and found.is_integer()))
