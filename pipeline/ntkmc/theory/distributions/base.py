"""What a distribution is, how it is named, and how it is drawn."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import InputError, did_you_mean
from ntkmc.registry import Registry
from ntkmc.theory.hypotheses import UNKNOWN, Hypotheses

Matrix = NDArray[np.float64]
Spec = str | Mapping[str, Any]
"""A registered name, or {name: {parameter: value}}."""


class Distribution(ABC):
    """The law of one data row. Subclasses are frozen dataclasses; their fields are the parameters.

    A law must draw by rows: with one generator state, `sample(n, d, rng)[:m]` equals `sample(m, d, rng)`, so that
    nested studies can take the first n rows of a larger draw.
    """

    name: ClassVar[str]

    @abstractmethod
    def sample(self, n: int, d: int, rng: np.random.Generator) -> Matrix:
        """n rows in dimension d, as an (n, d) float64 array."""

    @abstractmethod
    def second_moment(self, d: int) -> float:
        """E |x|**2 in dimension d; `InputError` where it does not exist."""

    def check(self, n: int, d: int) -> None:  # noqa: B027  (most laws exist for every n and d)
        """Refuse an n or d for which the law cannot be drawn (`InputError`)."""

    @property
    def unit_norm(self) -> bool:
        """Whether every row has norm 1 as drawn."""
        return False

    def hypotheses(self, d: int) -> Hypotheses:
        """What is proved about a row in dimension d."""
        return UNKNOWN

    def parameters(self) -> dict[str, int | float | str]:
        """Parameters that make the law what it is, by name, canonical: 3.0 is 3."""
        values = ((field.name, getattr(self, field.name)) for field in dataclasses.fields(self))  # type: ignore[arg-type]
        return {name: _canonical(value) for name, value in sorted(values)}

    @property
    def label(self) -> str:
        """Name with its parameters, keys sorted: what the store shows and what enters an address."""
        inside = ",".join(f"{name}={value}" for name, value in self.parameters().items())
        return f"{self.name}({inside})" if inside else self.name


def _canonical(value: Any) -> int | float | str:
    if isinstance(value, float) and value.is_integer() and abs(value) < 2.0**53:
        return int(value)
    if isinstance(value, int | float | str):
        return value
    raise InputError(f"a distribution's parameter must be a number or a string, got {value!r}")


DISTRIBUTIONS: Final[Registry[type[Distribution]]] = Registry("distribution")


def register(law: type[Distribution]) -> type[Distribution]:
    """Class decorator: enter a law into the registry under its `name`."""
    return DISTRIBUTIONS.add(law.name, law)


def build(spec: Spec | Distribution, base: Path | None = None) -> Distribution:
    """The distribution that a study's entry means.

    Parameters
    ----------
    spec : str, mapping or Distribution
        `gaussian`, or `{"student-t": {"df": 3}}`; a `Distribution` is returned as it is.
    base : Path, optional
        Folder that relative paths in parameters start from; the working directory by default.

    Raises
    ------
    InputError
        For an unknown name, an unknown or missing parameter, or a value out of range.

    Examples
    --------
    >>> build({"student-t": {"df": 3.0}}).label
    'student-t(df=3)'
    """
    if isinstance(spec, Distribution):
        return spec
    if isinstance(spec, str):
        name, given = spec, {}
    elif isinstance(spec, Mapping) and len(spec) == 1:
        ((name, inner),) = spec.items()
        if not (inner is None or isinstance(inner, Mapping)):
            raise InputError(
                f"distribution {name}: parameters are written {{{name}: {{parameter: value}}}}, got {inner!r}"
            )
        given = dict(inner or {})
    else:
        raise InputError(f"a distribution is a name or {{name: {{parameter: value}}}}, got {spec!r}")
    law = DISTRIBUTIONS[str(name)]
    fields = {field.name: field for field in dataclasses.fields(law) if field.init}  # type: ignore[arg-type]
    wanted = ", ".join(fields) or "none"
    for key in given:
        if key not in fields:
            hint = did_you_mean(str(key), fields) if fields else "it has none"
            raise InputError(f"distribution {name} has no parameter {str(key)!r}: {hint}")
    missing = [
        field.name for field in fields.values() if field.default is dataclasses.MISSING and field.name not in given
    ]
    if missing:
        raise InputError(
            f"distribution {name} needs {', '.join(missing)}: write {{{name}: {{{missing[0]}: ...}}}} "
            f"(parameters: {wanted})"
        )
    if "path" in given and not isinstance(given["path"], str):
        raise InputError(f"distribution {name}: path must be a file name, got {given['path']!r}")
    if base is not None and "path" in given:
        # Not `resolve`: the law does that, and says what is wrong with a path.
        given["path"] = str(base / given["path"]) if not given["path"].startswith("~") else given["path"]
    return law(**given)


def positive(law: str, parameter: str, value: Any) -> float:
    """`value` as a positive finite float, or an `InputError` that names law and parameter."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not (number > 0.0 and math.isfinite(number)):
        raise InputError(f"distribution {law}: {parameter} must be a positive number, got {value!r}")
    return number


def sample(distribution: Spec | Distribution, n: int, d: int, rng: np.random.Generator) -> Matrix:
    """Draw a data matrix.

    Parameters
    ----------
    distribution : str, mapping or Distribution
        A registered name, or {name: {parameter: value}}.
    n, d : int
        Number of rows and their dimension.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, (n, d), float64
        Rows as drawn, not normalized.

    Raises
    ------
    InputError
        For an unknown distribution, a bad parameter, or an n or d that it cannot have.

    Examples
    --------
    >>> sample("rademacher", 2, 3, np.random.default_rng(0)).shape
    (2, 3)
    """
    law = build(distribution)
    for name, value in {"n": n, "d": d}.items():
        if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 1:
            raise InputError(f"{name} must be a positive integer, got {value!r}")
    law.check(n, d)
    return law.sample(int(n), int(d), rng)
