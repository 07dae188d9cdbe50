"""Verdicts, coordinates, and dimensions of the groups of a store."""

from __future__ import annotations

import enum
from typing import Final

from ntkmc.experiment.study.measurements import MEASUREMENTS
from ntkmc.experiment.study.variables import DEEP, coordinate


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


VERDICT: Final = {verdict.word: int(verdict) for verdict in Verdict}

QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

EXPONENT_AXES: Final = ("n", "d")
"""Values of the dimension `axis`: the sizes in which exponents of claimed constants are fitted."""

EVENT: Final = (*DEEP, "lambda_0")
CLAIM: Final = ("claim", *DEEP)
BLOCK: Final = ("block",)
FAMILY: Final = ("claim", "distribution", "depth", "axis")

COORDINATES: Final = {
    variable.name: variable
    for variable in (
        coordinate("distribution", "str", "law of a data row"),
        coordinate("distribution_name", "str", "name of the law, without parameters", dim="distribution"),
        coordinate("distribution_params", "str", "parameters of the law, as JSON", dim="distribution"),
        coordinate("d", "i8", "dimension of a data row"),
        coordinate("n", "i8", "number of data rows"),
        coordinate("depth", "i8", "number of weight layers L"),
        *(axis.coordinate for axis in MEASUREMENTS.values()),
        coordinate("step", "i8", "step k of gradient descent"),
        coordinate("lambda_0", "f8", "threshold of the event"),
        coordinate("quantile", "f8", "level of a quantile"),
        coordinate("axis", "str", "what an exponent is in"),
        coordinate("claim", "str", "claim, with its parameters"),
    )
}
