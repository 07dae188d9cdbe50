"""Every variable of the store, declared once: the declaration creates, annotates and validates the arrays."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ntkmc.linalg.eigenvalue import Status
from ntkmc.theory.claims.statistics import STATISTICS

VERSION: Final = 3
"""Version of the store's layout, in the root attribute `schema`."""

MIGRATED: Final = (2,)
"""Older versions that can be read, and that the next run brings up to date: 2 has no group `blocks`."""


class Verdict(enum.IntEnum):
    """What the data say about a claim."""

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
        """As it stands in `flag_meanings`.

        >>> Verdict.NOT_APPLICABLE.word
        'not-applicable'
        """
        return self.name.lower().replace("_", "-")


QUANTILES: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)

CELL: Final = ("distribution", "d", "n")
DRAW: Final = (*CELL, "trial")
DEEP: Final = (*CELL, "depth")
DEEP_DRAW: Final = (*CELL, "depth", "trial")
WIDE: Final = (*DEEP, "width")
WIDE_DRAW: Final = (*WIDE, "trial")
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
        What stands where nothing was written.
    unit : str
        `1` for a pure number.
    sentence : str
        What it is; travels with the file as `long_name`.
    flags : type[enum.Enum], optional
        The meaning of the integers.
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
        """Whether there is one value for each depth."""
        return "depth" in self.dims

    def attributes(self) -> dict[str, Any]:
        """Attributes of the array: unit, sentence, flags."""
        attributes: dict[str, Any] = {"units": self.unit, "long_name": self.sentence}
        if self.flags:
            attributes["flag_values"] = list(self.flags.values())
            attributes["flag_meanings"] = " ".join(self.flags)
        return attributes


_STATUS = {"not-run": 0} | {status.name.lower().replace("_", "-"): status.code for status in Status}
_VERDICT = {verdict.word: int(verdict) for verdict in Verdict}
_NAN = math.nan

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
    "lambda_0": Variable("", "lambda_0", ("lambda_0",), "f8", _NAN, "1", "threshold of the event"),
    "quantile": Variable("", "quantile", ("quantile",), "f8", _NAN, "1", "level of a quantile"),
    "axis": Variable("", "axis", ("axis",), "str", "", "1", "what an exponent is in"),
    "claim": Variable("", "claim", ("claim",), "str", "", "1", "claim, with its parameters"),
}

_VARIABLES: Final = (
    Variable("trials", "lambda_min", DEEP_DRAW, "f8", _NAN, "1", "smallest eigenvalue of the Gram matrix"),
    Variable("trials", "lambda_min_lower", DEEP_DRAW, "f8", _NAN, "1", "proved lower bound on lambda_min"),
    Variable("trials", "lambda_min_upper", DEEP_DRAW, "f8", _NAN, "1", "proved upper bound on lambda_min"),
    *(
        Variable("trials", each.name, DEEP_DRAW if each.per_depth else DRAW, "f8", _NAN, "1", each.sentence)
        for each in STATISTICS.values()
    ),
    Variable(
        "trials", "planned", CELL, "i8", 0, "1", "end of the range of trials that the study plans; 0: no such cell"
    ),
    # Last: a fold writes variables in this order, and a trial counts as done by its status.
    Variable("trials", "status", DEEP_DRAW, "i1", 0, "1", "how the trial ended", _STATUS),
    Variable("estimates", "probability", EVENT, "f8", _NAN, "1", "share of trials with lambda_min >= lambda_0"),
    Variable(
        "estimates",
        "probability_lower",
        EVENT,
        "f8",
        _NAN,
        "1",
        "lower end of the confidence sequence for P(lambda_min >= lambda_0), valid at any time of looking",
    ),
    Variable(
        "estimates",
        "probability_upper",
        EVENT,
        "f8",
        _NAN,
        "1",
        "upper end of the confidence sequence for P(lambda_min >= lambda_0), valid at any time of looking",
    ),
    Variable(
        "estimates",
        "probability_lower_fixed",
        EVENT,
        "f8",
        _NAN,
        "1",
        "lower Clopper-Pearson limit, where the number of trials was fixed in advance and reached",
    ),
    Variable(
        "estimates",
        "probability_upper_fixed",
        EVENT,
        "f8",
        _NAN,
        "1",
        "upper Clopper-Pearson limit, where the number of trials was fixed in advance and reached",
    ),
    Variable("estimates", "proved", EVENT, "i8", 0, "trials", "trials with lambda_min >= lambda_0 by proof"),
    Variable(
        "estimates", "undecided", EVENT, "i8", 0, "trials", "trials that failed or whose enclosure holds lambda_0"
    ),
    Variable(
        "estimates",
        "nondegenerate",
        EVENT,
        "i1",
        0,
        "1",
        "whether P(lambda_min >= lambda_0) >= 1 - delta, by the confidence sequence",
        _VERDICT,
    ),
    Variable("estimates", "trials_used", DEEP, "i8", 0, "trials", "length of the prefix that estimates rest on"),
    Variable("estimates", "lambda_min_quantile", (*DEEP, "quantile"), "f8", _NAN, "1", "quantiles of lambda_min"),
    Variable(
        "estimates",
        "lambda_0_certified",
        DEEP,
        "f8",
        _NAN,
        "1",
        "largest lambda_0 with P(lambda_min >= lambda_0) >= 1 - delta at the study's confidence, from an order "
        "statistic; where the number of trials was fixed in advance and reached",
    ),
    Variable("claims", "verdict", CLAIM, "i1", 0, "1", "what the data say of a claim", _VERDICT),
    Variable("claims", "evaluated", CLAIM, "i8", 0, "trials", "trials in which the claim was evaluated"),
    Variable(
        "claims",
        "violations",
        CLAIM,
        "i8",
        0,
        "trials",
        "trials beyond the claimed bound, by proof: of a deterministic claim, none may be",
    ),
    Variable("claims", "first_violation", CLAIM, "i8", -1, "1", "number of the first such trial; -1: none"),
    Variable("claims", "vacuous", CLAIM, "i8", 0, "trials", "trials in which the claimed bound says nothing"),
    Variable("claims", "bound", CLAIM, "f8", _NAN, "1", "median over trials of the claimed bound"),
    Variable(
        "claims",
        "margin",
        CLAIM,
        "f8",
        _NAN,
        "1",
        "smallest distance over trials from the bounded quantity to the bound, positive on the claimed side",
    ),
    Variable("claims", "tightness", CLAIM, "f8", _NAN, "1", "median over trials of bound / bounded quantity"),
    Variable("claims", "claimed_lower", CLAIM, "f8", _NAN, "1", "least probability of a violation that is claimed"),
    Variable("claims", "claimed_upper", CLAIM, "f8", _NAN, "1", "largest probability of a violation that is claimed"),
    Variable("claims", "frequency", CLAIM, "f8", _NAN, "1", "share of trials that violate the bound"),
    Variable(
        "claims", "frequency_lower", CLAIM, "f8", _NAN, "1", "lower end of the confidence sequence for its probability"
    ),
    Variable(
        "claims", "frequency_upper", CLAIM, "f8", _NAN, "1", "upper end of the confidence sequence for its probability"
    ),
    Variable(
        "claims", "log_e", CLAIM, "f8", _NAN, "1", "log of the e-value against the claim, valid at any time of looking"
    ),
    Variable(
        "claims",
        "rejected",
        CLAIM,
        "i1",
        0,
        "1",
        "1 where the claim is rejected with the false discovery rate over its cells at 1 - confidence (e-BH)",
    ),
    Variable("claims", "cell_constant", CLAIM, "f8", _NAN, "1", "the fitted constant in one cell"),
    Variable("claims", "cell_constant_lower", CLAIM, "f8", _NAN, "1", "its lower confidence limit"),
    Variable("claims", "cell_constant_upper", CLAIM, "f8", _NAN, "1", "its upper confidence limit"),
    Variable(
        "claims",
        "tail",
        CLAIM,
        "f8",
        _NAN,
        "1",
        "exponent of a function's quantiles against those of a normal law, towards the end of the tail",
    ),
    Variable("claims", "tail_lower", CLAIM, "f8", _NAN, "1", "its lower confidence limit"),
    Variable("claims", "tail_upper", CLAIM, "f8", _NAN, "1", "its upper confidence limit"),
    Variable(
        "claims", "ceiling", CLAIM, "f8", _NAN, "1", "value that the constant is proved not to exceed; inf: none"
    ),
    Variable(
        "claims",
        "proved",
        CLAIM,
        "i1",
        0,
        "1",
        "what is proved of a scaling claim for the law: 1 that it is true, -1 that it is false, 0 nothing",
    ),
    Variable("claims", "overall", ("claim",), "i1", 0, "1", "what all cells together say of a claim", _VERDICT),
    Variable(
        "claims",
        "constant",
        ("claim",),
        "f8",
        _NAN,
        "1",
        "smallest constant consistent with all cells (largest, for lower bounds)",
    ),
    Variable("claims", "constant_lower", ("claim",), "f8", _NAN, "1", "its lower simultaneous confidence limit"),
    Variable("claims", "constant_upper", ("claim",), "f8", _NAN, "1", "its upper simultaneous confidence limit"),
    Variable(
        "claims",
        "exponent",
        FAMILY,
        "f8",
        _NAN,
        "1",
        "fitted exponent of the constant in n or d, over the cells of one distribution and depth",
    ),
    Variable("claims", "exponent_lower", FAMILY, "f8", _NAN, "1", "its lower simultaneous confidence limit"),
    Variable("claims", "exponent_upper", FAMILY, "f8", _NAN, "1", "its upper simultaneous confidence limit"),
    Variable("blocks", "id", BLOCK, "i8", 0, "1", "random number of the block, so that it is entered once"),
    Variable("blocks", "distribution", BLOCK, "str", "", "1", "law of a data row"),
    Variable("blocks", "d", BLOCK, "i8", 0, "1", "dimension of a data row"),
    Variable("blocks", "n", BLOCK, "i8", 0, "1", "number of data rows"),
    Variable(
        "blocks", "depths", BLOCK, "str", "", "1", "depths that it measured; networks: and their width, as in 2,3;m=64"
    ),
    Variable("blocks", "first", BLOCK, "i8", 0, "1", "number of its first trial"),
    Variable("blocks", "seconds", BLOCK, "f8", _NAN, "s", "what it took the worker"),
    Variable("blocks", "method", BLOCK, "str", "", "1", "how eigenvectors were found, and how many of them each way"),
    Variable("blocks", "worker", BLOCK, "str", "", "1", "host and process that computed it"),
    Variable("blocks", "job", BLOCK, "str", "", "1", "the queue's job, if there was one"),
    Variable("blocks", "environment", BLOCK, "str", "", "1", "key into the root attribute `environments`"),
    Variable("blocks", "finished", BLOCK, "i8", 0, "s", "when, in seconds since 1970 UTC"),
    # Last: a row without trials is not there yet.
    Variable("blocks", "count", BLOCK, "i8", 0, "trials", "trials in it; 0: this row of the table is not used"),
)

VARIABLES: Final[dict[str, dict[str, Variable]]] = {
    group: {variable.name: variable for variable in _VARIABLES if variable.group == group}
    for group in ("trials", "estimates", "claims", "blocks")
}

_OF_NETWORK: Final = {
    "lambda_min": "smallest eigenvalue of the network's tangent kernel",
    "deviation": "operator norm of the network's tangent kernel less its limit",
    "entry_deviation": "largest absolute entry of the network's tangent kernel less its limit",
    "data_norm": "largest eigenvalue of X X'",
    "kernel_norm": "largest eigenvalue of the limiting kernel's Gram matrix",
}

_SUCCESS: Final = {
    "norm": "P(|network's kernel - limit| <= lambda_min / 4)",
    "eigenvalue": "P(lambda_min of the network's kernel >= 3/4 lambda_min)",
}

_OF_WIDTHS: Final = (
    Variable("", "lambda_min", WIDE_DRAW, "f8", _NAN, "1", _OF_NETWORK["lambda_min"]),
    *(
        Variable("", f"{name}_{end}", WIDE_DRAW, "f8", _NAN, "1", f"proved {end} bound on the {sentence}")
        for name, sentence in _OF_NETWORK.items()
        for end in ("lower", "upper")
    ),
    Variable("", "status", WIDE_DRAW, "i1", 0, "1", "how the trial ended", _STATUS),  # last, as above
)

_OF_CONVERGENCE: Final = (
    Variable("", "trials_used", WIDE, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    Variable("", "lambda_min_median", WIDE, "f8", _NAN, "1", f"median of the {_OF_NETWORK['lambda_min']}"),
    Variable("", "deviation_median", WIDE, "f8", _NAN, "1", f"median of the {_OF_NETWORK['deviation']}"),
    *(
        Variable(
            "", f"deviation_median_{end}", WIDE, "f8", _NAN, "1", f"its {end} confidence limit, for all widths at once"
        )
        for end in ("lower", "upper")
    ),
    *(
        variable
        for name, sentence in _SUCCESS.items()
        for variable in (
            Variable("", f"{name}_share", WIDE, "f8", _NAN, "1", f"share of trials for {sentence}"),
            Variable(
                "",
                f"{name}_share_lower",
                WIDE,
                "f8",
                _NAN,
                "1",
                f"lower end of the confidence sequence for {sentence}",
            ),
            Variable(
                "",
                f"{name}_share_upper",
                WIDE,
                "f8",
                _NAN,
                "1",
                f"upper end of the confidence sequence for {sentence}",
            ),
            Variable(
                "",
                f"{name}_width",
                DEEP,
                "f8",
                _NAN,
                "1",
                f"least tried width from which on the share for {sentence} is at least 1 - delta; NaN: none",
            ),
            Variable(
                "",
                f"{name}_width_lower",
                DEEP,
                "f8",
                _NAN,
                "1",
                f"largest tried width at which {sentence} is proved to be below 1 - delta, for all tried widths at "
                "once; 0: none",
            ),
            Variable(
                "",
                f"{name}_width_upper",
                DEEP,
                "f8",
                _NAN,
                "1",
                f"least tried width from which on {sentence} is proved to be at least 1 - delta, for all tried widths "
                "at once; inf: none",
            ),
        )
    ),
    Variable("", "printed_width", DEEP, "f8", _NAN, "1", "n^6 / lambda_0^4, lambda_0 the median of lambda_min"),
    Variable("", "exponent", DEEP, "f8", _NAN, "1", "exponent of the median deviation in the width"),
    Variable("", "exponent_lower", DEEP, "f8", _NAN, "1", "its lower confidence limit"),
    Variable("", "exponent_upper", DEEP, "f8", _NAN, "1", "its upper confidence limit"),
)

WIDTH_VARIABLES: Final[dict[str, dict[str, Variable]]] = {
    group: {each.name: replace(each, group=group) for each in variables}
    for group, variables in (("finite_width", _OF_WIDTHS), ("convergence", _OF_CONVERGENCE))
}
"""Groups that a store has once a study asks for finite widths."""

WIDTH_GROUPS: Final = {
    "finite_width": "one value per draw, depth and width: the tangent kernel of a random network beside its limit",
    "convergence": "how networks' kernels tend to their limit, per cell: shares, smallest widths, exponents",
}

GROUPS: Final = {
    "trials": "one value per draw (and depth): lambda_min with its enclosure, and what claims need",
    "estimates": "probability of lambda_min >= lambda_0 per cell, with intervals",
    "claims": "verdicts on the theorems, per cell",
    "blocks": "who computed which trials, when, and how long it took",
}

PER_TRIAL: Final = ("trials", "finite_width")
"""Groups with a value for each trial."""

DERIVED_GROUPS: Final = ("estimates", "claims")
"""Groups that follow from `trials`."""


def declared(group: str) -> dict[str, Variable]:
    """Variables of a group, by name.

    >>> list(declared("finite_width"))[0]
    'lambda_min'
    """
    return VARIABLES[group] if group in VARIABLES else WIDTH_VARIABLES[group]


def groups_of(dims: Iterable[str]) -> dict[str, str]:
    """Groups of a store whose record has these dimensions, each with its sentence.

    >>> [len(groups_of(dims)) for dims in ((), ("width",))]
    [4, 6]
    """
    return GROUPS | (WIDTH_GROUPS if "width" in set(dims) else {})


def derived_groups(dims: Iterable[str]) -> tuple[str, ...]:
    """Groups that follow from trials, in a store whose record has these dimensions."""
    return (*DERIVED_GROUPS, *(("convergence",) if "width" in set(dims) else ()))


def trial_variables(statistics: Iterable[str]) -> dict[str, Variable]:
    """Variables of the `trials` group that have one value a trial, where these statistics are measured.

    >>> list(trial_variables(["coherence"]))
    ['lambda_min', 'lambda_min_lower', 'lambda_min_upper', 'coherence', 'status']
    """
    chosen = set(statistics)
    return {
        name: variable
        for name, variable in VARIABLES["trials"].items()
        if "trial" in variable.dims and (name not in STATISTICS or name in chosen)
    }


def group_variables(group: str, statistics: Iterable[str]) -> dict[str, Variable]:
    """Variables of a group in a store that holds these statistics."""
    chosen = set(statistics)
    return {name: each for name, each in declared(group).items() if name not in STATISTICS or name in chosen}


def dimensions(group: str) -> tuple[str, ...]:
    """Dimensions of a group that have coordinates, in order of appearance (`trial` and `block` have
    none: they are positions)."""
    found: dict[str, None] = {}
    for variable in declared(group).values():
        found |= dict.fromkeys(dim for dim in variable.dims if dim not in ("trial", "block"))
    return tuple(found)
