"""Groups of a store and their variables, each declared once.

Every store has the groups `trials`, `estimates`, `claims` and `blocks`, which this module declares. Each additional
measurement of a study has two more: one with a value per trial, and one with estimates per cell. They are declared
with the measurement, in `ntkmc.experiment.study.measurements`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from ntkmc.experiment.schema.variables import BLOCK, CLAIM, EVENT, FAMILY, VERDICT
from ntkmc.experiment.study.measurements import MEASUREMENTS, measurements_of
from ntkmc.experiment.study.variables import (
    CELL,
    DEEP,
    DEEP_DRAW,
    DRAW,
    NAN,
    Group,
    Variable,
    bounds,
    code,
    count,
    estimate,
    real,
    status,
)
from ntkmc.theory.claims.trial_statistics import STATISTICS

VERSION: Final = 3
"""Version of the layout of stores, in the root attribute `schema`."""

MIGRATED: Final = (2,)
"""Older versions that can be read, and that the next run upgrades. Version 2 has no group `blocks`."""

_TRIALS: Final = Group.of(
    "trials",
    "one value per draw (and depth): lambda_min with its enclosure, and what claims need",
    (
        real("lambda_min", DEEP_DRAW, "smallest eigenvalue of the Gram matrix"),
        *bounds("lambda_min", DEEP_DRAW, "proved {} bound on lambda_min"),
        *(
            real(statistic.name, DEEP_DRAW if statistic.per_depth else DRAW, statistic.sentence)
            for statistic in STATISTICS.values()
        ),
        Variable(
            "", "planned", CELL, "i8", 0, "1", "end of the range of trials that the study plans; 0: no such cell"
        ),
        status(DEEP_DRAW),
    ),
)

_ESTIMATES: Final = Group.of(
    "estimates",
    "probability of lambda_min >= lambda_0 per cell, with intervals",
    (
        real("probability", EVENT, "share of trials with lambda_min >= lambda_0"),
        *bounds(
            "probability",
            EVENT,
            "{} end of the confidence sequence for P(lambda_min >= lambda_0), valid at any time of looking",
        ),
        *(
            real(
                f"probability_{end}_fixed",
                EVENT,
                f"{end} Clopper-Pearson limit, where the number of trials was fixed in advance and reached",
            )
            for end in ("lower", "upper")
        ),
        count("proved", EVENT, "trials with lambda_min >= lambda_0 by proof"),
        count("undecided", EVENT, "trials that failed or whose enclosure holds lambda_0"),
        code(
            "nondegenerate",
            EVENT,
            "whether P(lambda_min >= lambda_0) >= 1 - delta, by the confidence sequence",
            VERDICT,
        ),
        count("trials_used", DEEP, "length of the prefix that estimates rest on"),
        real("lambda_min_quantile", (*DEEP, "quantile"), "quantiles of lambda_min"),
        real(
            "lambda_0_certified",
            DEEP,
            "largest lambda_0 with P(lambda_min >= lambda_0) >= 1 - delta at the study's confidence, from an order "
            "statistic; where the number of trials was fixed in advance and reached",
        ),
    ),
)

_CLAIMS: Final = Group.of(
    "claims",
    "verdicts on the theorems, per cell",
    (
        code("verdict", CLAIM, "what the data say of a claim", VERDICT),
        count("evaluated", CLAIM, "trials in which the claim was evaluated"),
        count("violations", CLAIM, "trials beyond the claimed bound, by proof: of a deterministic claim, none may be"),
        Variable("", "first_violation", CLAIM, "i8", -1, "1", "number of the first such trial; -1: none"),
        count("vacuous", CLAIM, "trials in which the claimed bound says nothing"),
        real("bound", CLAIM, "median over trials of the claimed bound"),
        real(
            "margin",
            CLAIM,
            "smallest distance over trials from the bounded quantity to the bound, positive on the claimed side",
        ),
        real("tightness", CLAIM, "median over trials of bound / bounded quantity"),
        real("claimed_lower", CLAIM, "least probability of a violation that is claimed"),
        real("claimed_upper", CLAIM, "largest probability of a violation that is claimed"),
        real("frequency", CLAIM, "share of trials that violate the bound"),
        *bounds("frequency", CLAIM, "{} end of the confidence sequence for its probability"),
        real("log_e", CLAIM, "log of the e-value against the claim, valid at any time of looking"),
        code(
            "rejected",
            CLAIM,
            "1 where the claim is rejected with the false discovery rate over its cells at 1 - confidence (e-BH)",
        ),
        *estimate("cell_constant", CLAIM, "the fitted constant in one cell"),
        *estimate(
            "tail",
            CLAIM,
            "exponent of a function's quantiles against those of a normal law, towards the end of the tail",
        ),
        real("ceiling", CLAIM, "value that the constant is proved not to exceed; inf: none"),
        code(
            "proved",
            CLAIM,
            "what is proved of a scaling claim for the law: 1 that it is true, -1 that it is false, 0 nothing",
        ),
        code("overall", ("claim",), "what all cells together say of a claim", VERDICT),
        real("constant", ("claim",), "smallest constant consistent with all cells (largest, for lower bounds)"),
        *bounds("constant", ("claim",), "its {} simultaneous confidence limit"),
        real(
            "exponent",
            FAMILY,
            "fitted exponent of the constant in n or d, over the cells of one distribution and depth",
        ),
        *bounds("exponent", FAMILY, "its {} simultaneous confidence limit"),
    ),
)

_BLOCKS: Final = Group.of(
    "blocks",
    "who computed which trials, when, and how long it took",
    (
        Variable("", "id", BLOCK, "i8", 0, "1", "random number of the block, so that it is entered once"),
        Variable("", "distribution", BLOCK, "str", "", "1", "law of a data row"),
        Variable("", "d", BLOCK, "i8", 0, "1", "dimension of a data row"),
        Variable("", "n", BLOCK, "i8", 0, "1", "number of data rows"),
        Variable(
            "", "depths", BLOCK, "str", "", "1", "depths that it measured, and what beside the draws, as in 2,3;m=64"
        ),
        Variable("", "first", BLOCK, "i8", 0, "1", "number of its first trial"),
        Variable("", "seconds", BLOCK, "f8", NAN, "s", "what it took the worker"),
        Variable("", "method", BLOCK, "str", "", "1", "how eigenvectors were found, and how many of them each way"),
        Variable("", "worker", BLOCK, "str", "", "1", "host and process that computed it"),
        Variable("", "job", BLOCK, "str", "", "1", "the queue's job, if there was one"),
        Variable("", "environment", BLOCK, "str", "", "1", "key into the root attribute `environments`"),
        Variable("", "finished", BLOCK, "i8", 0, "s", "when, in seconds since 1970 UTC"),
        # Last: a row of the table counts as written by its number of trials.
        count("count", BLOCK, "trials in it; 0: this row of the table is not used"),
    ),
)

GROUPS: Final = {group.name: group for group in (_TRIALS, _ESTIMATES, _CLAIMS, _BLOCKS)}
"""Groups of every store."""

ALL_GROUPS: Final = GROUPS | {
    group.name: group for axis in MEASUREMENTS.values() for group in (axis.trials, axis.estimates)
}
"""Groups that a store may have: those of additional measurements, once a study asks for them."""

VARIABLES: Final = {name: group.variables for name, group in GROUPS.items()}

PER_TRIAL: Final = ("trials", *MEASUREMENTS)
"""Groups with one value per trial."""


def declared(group: str) -> Mapping[str, Variable]:
    """Return the variables of a group, by name.

    >>> list(declared("finite_width"))[0]
    'lambda_min'
    """
    return ALL_GROUPS[group].variables


def groups_of(dims: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the groups of a store with the given recorded dimensions.

    >>> [len(groups_of(dims)) for dims in ((), ("width",))]
    [4, 6]
    """
    return (*GROUPS, *(name for axis in measurements_of(dims) for name in (axis.group, axis.estimates.name)))


def derived_groups(dims: Iterable[str]) -> tuple[str, ...]:
    """Return the groups computed from trials, from the dimensions of the record of a store."""
    return ("estimates", "claims", *(axis.estimates.name for axis in measurements_of(dims)))


def trial_variables(statistics: Iterable[str]) -> dict[str, Variable]:
    """Return the variables of the `trials` group with one value per trial, if the given statistics are measured.

    >>> list(trial_variables(["coherence"]))
    ['lambda_min', 'lambda_min_lower', 'lambda_min_upper', 'coherence', 'status']
    """
    # A variable with a value per trial that is no statistic is part of every store: lambda_min, its ends, the status.
    chosen = set(statistics)
    return {
        name: variable
        for name, variable in VARIABLES["trials"].items()
        if "trial" in variable.dims and (name not in STATISTICS or name in chosen)
    }


def group_variables(group: str, statistics: Iterable[str]) -> Mapping[str, Variable]:
    """Return the variables of a group in a store with the given statistics, which are variables of `trials`."""
    if group != "trials":
        return declared(group)
    chosen = set(statistics)
    return {name: variable for name, variable in declared(group).items() if name not in STATISTICS or name in chosen}


def dimensions(group: str) -> tuple[str, ...]:
    """Return the dimensions of a group that have coordinates, in order of appearance."""
    # `trial` and `block` are positions, without coordinates.
    names: dict[str, None] = {}
    for variable in declared(group).values():
        names |= dict.fromkeys(dim for dim in variable.dims if dim not in ("trial", "block"))
    return tuple(names)
