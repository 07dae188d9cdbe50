"""Evidence for a verdict: its numbers, the first violating trial, and the command that recomputes that trial."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from ntkmc.errors import InputError
from ntkmc.experiment.schema import CLAIM, VARIABLES, Verdict
from ntkmc.experiment.study.address import spawn_key
from ntkmc.experiment.study.measurements import MeasurementKey
from ntkmc.theory.claims import Claim, InequalityClaim, Instance, find_instance
from ntkmc.theory.distributions import Unimported
from ntkmc.views.cells import CellDepth, Grid
from ntkmc.views.frames import registered_claim

Interval = tuple[float, float]

_NUMBERS: Final = [
    name for name, variable in VARIABLES["claims"].items() if variable.dims == CLAIM and name != "verdict"
]


@dataclass(frozen=True)
class TrialEvidence:
    """A trial beyond a claimed bound.

    Attributes
    ----------
    trial : int
        Its number.
    seed : int
    address : tuple of int
        Spawn key of its random numbers, which with the seed determine the draw.
    quantity, bound : (float, float) or None
        Enclosures of the bounded quantity and of the bound, disjoint on the wrong side. None if the store's claim is
        not registered here, or if the distribution is a user's own, which is not imported.
    command : str
        Recomputes the trial alone, and compares it with the store.
    """

    trial: int
    seed: int
    address: tuple[int, ...]
    quantity: Interval | None
    bound: Interval | None
    command: str


@dataclass(frozen=True)
class Evidence:
    """Evidence for a verdict.

    Attributes
    ----------
    claim : str
        With its parameters, as in the store.
    place : CellDepth
    verdict : str
    statement : Claim or None
        None if the claim is not registered here.
    numbers : dict of str to (float, str)
        Values in the group `claims` of the store, each with its description.
    violation : TrialEvidence or None
        The first trial beyond the bound.
    command : str
        Shows the same row.
    """

    claim: str
    place: CellDepth
    verdict: str
    statement: Claim | None
    numbers: dict[str, tuple[float, str]]
    violation: TrialEvidence | None
    command: str


def evidence(grid: Grid, store: str, claim: str, place: CellDepth) -> Evidence:
    """Return the evidence for a verdict.

    Parameters
    ----------
    grid : Grid
    store : str
        Name of the store in the commands.
    claim : str
        With its parameters: `det-khatri-rao-gershgorin[r=4]`.
    place : CellDepth

    Raises
    ------
    InputError
        If the store has no such claim.
    """
    group = grid.tree["claims"].to_dataset()
    if claim not in group["claim"].to_numpy().tolist():
        raise InputError(f"the store has no claim {claim!r}; ntkmc show {store} --table claims lists them")
    row = group[["verdict", *_NUMBERS]].sel(claim=claim, **place.labels).load()
    numbers = {}
    for name in _NUMBERS:
        value, variable = float(row[name]), VARIABLES["claims"][name]
        # The group has one row for all kinds of claims: most numbers are missing for each kind.
        if not math.isnan(value) and value != variable.fill:
            numbers[name] = value, variable.sentence
    first = int(row["first_violation"])
    selection = f"claim={claim},{place.selection}"
    return Evidence(
        claim,
        place,
        Verdict(int(row["verdict"])).word,
        registered_claim(claim),
        numbers,
        _violation(grid, store, claim, place, first) if first >= 0 else None,
        f"ntkmc show {shlex.quote(store)} {shlex.quote(selection)} --table claims",
    )


def _violation(grid: Grid, store: str, claim: str, place: CellDepth, trial: int) -> TrialEvidence:
    # Nested designs draw the rows of all n at once, at the address of n = 0.
    address = spawn_key(place.distribution, place.d, 0 if grid.study.nested else place.n, trial)
    quantity, bound = _enclosures(grid, claim, place, trial)
    command = f"ntkmc trial {shlex.quote(store)} {shlex.quote(place.cell)} {trial}"
    return TrialEvidence(trial, grid.study.seed, address, quantity, bound, command)


def _enclosures(grid: Grid, claim: str, place: CellDepth, trial: int) -> tuple[Interval | None, Interval | None]:
    """Return the enclosures of quantity and bound at one trial, from the stored statistics."""
    instance = find_instance(claim)
    # Neither the event nor a scaling claim bounds a quantity of one trial.
    if instance is None or not isinstance(instance.claim, InequalityClaim):
        return None, None
    # A bound may depend on moments and hypotheses of the distribution, which the store does not hold.
    if isinstance(grid.cells[place.cell].distribution, Unimported):
        return None, None
    context = grid.study.context(grid.cells[place.cell], place.depth)
    values = trial_values(grid, instance, place, trial)
    bound, quantity = instance.bound(context, values), instance.claim.quantity(context, values)
    return (float(quantity.lower[0]), float(quantity.upper[0])), (float(bound.lower[0]), float(bound.upper[0]))


def trial_values(grid: Grid, instance: Instance, place: CellDepth, trial: int) -> dict[str, Any]:
    """Return the stored values of one trial that a claim may depend on, as arrays with a first axis of length 1.

    They are the statistics of the draw, those at the next smaller depth (`shallower_*`) and n (`fewer_*`) if the claim
    needs them, and the measurements that the claim is about.
    """
    statistics = grid.trials.sel(place.labels).isel(trial=trial).load()
    values = {str(name): np.atleast_1d(statistics[name].to_numpy()) for name in statistics.data_vars}
    context = grid.study.context(grid.cells[place.cell], place.depth)
    for prefix, axis, value in (("shallower", "depth", context.shallower), ("fewer", "n", context.fewer)):
        if value is not None and any(need.startswith(prefix) for need in instance.needs):
            smaller = grid.trials.sel(place.labels | {axis: value}).isel(trial=trial)
            for end in ("lower", "upper"):
                values[f"{prefix}_{end}"] = np.atleast_1d(smaller[f"lambda_min_{end}"].to_numpy())
    measurement = MeasurementKey.of(instance)
    if not measurement.is_draws:
        group = grid.tree[measurement.group].to_dataset()
        measured = group.sel(place.labels | measurement.coordinates).isel(trial=trial).load()
        prefix = measurement.axis.prefix
        values |= {f"{prefix}{name}": measured[name].to_numpy()[None] for name in measured.data_vars}
    return values
