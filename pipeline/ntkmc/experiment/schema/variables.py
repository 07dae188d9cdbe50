"""Variables of a store: dimensions, coordinates, units, and meanings of integer codes."""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass, field
from typing import Any, Final

from ntkmc.linalg.eigen import Status


class Verdict(enum.IntEnum):
    """Verdict of the data on a claim."""

    NOT_EVALUATED = 0
    HOLDS = 1
    VIOLATED = 2
    SUPPORTED = 3
    REFUTED = 4
    UNDECIDED = 5
    VACUOUS = 6
    NOT_APPLICABLE = 7

    @property
    def word(self) -> str:
        """Name of the verdict in the attribute `flag_meanings`.

        >>> Verdict.NOT_APPLICABLE.word
        'not-applicable'
        """
        return self.name.lower().replace("_", "-")


QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

CELL: Final = ("distribution", "d", "n")
DRAW: Final = (*CELL, "trial")
DEEP: Final = (*CELL, "depth")
DEEP_DRAW: Final = (*CELL, "depth", "trial")
EVENT: Final = (*DEEP, "lambda_0")
CLAIM: Final = ("claim", *DEEP)
BLOCK: Final = ("block",)
FAMILY: Final = ("claim", "distribution", "depth", "axis")

AXES: Final = ("n", "d")


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
        """Whether there is one value per depth."""
        return "depth" in self.dims

    @property
    def behind(self) -> tuple[str, ...]:
        """Dimensions that follow `trial`, if the value of a trial is an array.

        >>> Variable("g", "curve", (*DRAW, "step"), "f8", NAN, "1", "a curve").behind
        ('step',)
        """
        return self.dims[self.dims.index("trial") + 1 :] if "trial" in self.dims else ()

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of the array: unit, description, codes."""
        attributes: dict[str, Any] = {"units": self.unit, "long_name": self.sentence}
        if self.flags:
            attributes["flag_values"] = list(self.flags.values())
            attributes["flag_meanings"] = " ".join(self.flags)
        return attributes


STATUS: Final = {"not-run": 0} | {status.name.lower().replace("_", "-"): status.code for status in Status}
VERDICT: Final = {verdict.word: int(verdict) for verdict in Verdict}
NAN: Final = math.nan

COORDINATES: Final = {
    "distribution": Variable("", "distribution", ("distribution",), "str", "", "1", "law of a data row"),
    "distribution_name": Variable(
        "", "distribution_name", ("distribution",), "str", "", "1", "name of the law, without parameters"
    ),
    "distribution_params": Variable(
        "", "distribution_params", ("distribution",), "str", "", "1", "parameters of the law, as JSON"
    ),
    "d": Variable("", "d", ("d",), "i8", 0, "1", "dimension of a data row"),
    "n": Variable("", "n", ("n",), "i8", 0, "1", "number of data rows"),
    "depth": Variable("", "depth", ("depth",), "i8", 0, "1", "number of weight layers L"),
    "width": Variable("", "width", ("width",), "i8", 0, "1", "neurons in every hidden layer of a finite network"),
    "target": Variable("", "target", ("target",), "str", "", "1", "labels; behind @ the step size"),
    "network": Variable("", "network", ("network",), "str", "", "1", "target, width and kappa of a network"),
    "step": Variable("", "step", ("step",), "i8", 0, "1", "step k of gradient descent"),
    "features": Variable("", "features", ("features",), "i8", 0, "1", "columns of a feature map"),
    "lambda_0": Variable("", "lambda_0", ("lambda_0",), "f8", NAN, "1", "threshold of the event"),
    "quantile": Variable("", "quantile", ("quantile",), "f8", NAN, "1", "level of a quantile"),
    "axis": Variable("", "axis", ("axis",), "str", "", "1", "what an exponent is in"),
    "claim": Variable("", "claim", ("claim",), "str", "", "1", "claim, with its parameters"),
}
