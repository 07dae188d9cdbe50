"""Evidence for a verdict: its numbers, the first violating trial, and the command that recomputes that trial."""

from __future__ import annotations

import math
import shlex
from dataclasses import dataclass
from typing import Any

import numpy as np

from ntkmc.errors import InputError
from ntkmc.experiment.schema import CLAIM, VARIABLES, Verdict
from ntkmc.experiment.study.address import spawn_key
from ntkmc.experiment.study.measurements import MeasurementKey
from ntkmc.theory.claims import CLAIMS, Claim, InequalityClaim, Instance, find_instance
from ntkmc.theory.distributions import Unimported
from ntkmc.views.cells import Grid, Place


@dataclass(frozen=True)
class TrialEvidence:
    """One trial beyond a claimed bound.

    Attributes
    ----------
    trial : int
        Its number.
    seed : int
    address : tuple of int
        The spawn key of its random numbers: with the seed, all that the draw depends on.
    quantity, bound : (float, float) or None
        Enclosures of what is bounded and of the bound, disjoint on the wrong side; None where the store's claim is not
        registered here, or the law is a user's own, which is not imported.
    command : str
        Computes the trial again, alone, and compares.
    """

    trial: int
    seed: int
    address: tuple[int, ...]
    quantity: tuple[float, float] | None
    bound: tuple[float, float] | None
    command: str


@dataclass(frozen=True)
class Evidence:
    """Evidence for a verdict.

    Attributes
    ----------
    claim : str
        With its parameters, as in the store.
    place : Place
    verdict : str
        In words.
    statement : Claim or None
        None where the claim is not registered here.
    numbers : dict of str to (float, str)
        What the store's `claims` group holds of it, each with the sentence that says what it is.
    violation : TrialEvidence or None
        The first trial beyond the bound.
    command : str
        Shows the same row.
    """

    claim: str
    place: Place
    verdict: str
    statement: Claim | None
    numbers: dict[str, tuple[float, str]]
    violation: TrialEvidence | None
    command: str


_NUMBERS = [name for name, each in VARIABLES["claims"].items() if each.dims == CLAIM and name != "verdict"]


def evidence(grid: Grid, store: str, claim: str, place: Place) -> Evidence:
    """Return the evidence for a verdict.

    Parameters
    ----------
    grid : Grid
    store : str
        As the user names it, for the commands.
    claim : str
        With its parameters: `det-khatri-rao-gershgorin[r=4]`.
    place : Place

    Raises
    ------
    InputError
        If the store has no such claim.
    """
    group = grid.tree["claims"].to_dataset()
    if claim not in group["claim"].to_numpy().tolist():
        raise InputError(f"the store has no claim {claim!r}; ntkmc show {store} --table claims lists them")
    row = group[["verdict", *_NUMBERS]].sel(claim=claim, **place.labels).load()
    numbers = {
        name: (float(row[name]), VARIABLES["claims"][name].sentence)
        for name in _NUMBERS
        if _told(name, float(row[name]))
    }
    claim_id = claim.partition("[")[0]
    first = int(row["first_violation"])
    selection = f"claim={claim},{place.selection}"
    return Evidence(
        claim,
        place,
        Verdict(int(row["verdict"])).word,
        next((each for each in CLAIMS.values() if each.id == claim_id), None),
        numbers,
        _violation(grid, store, claim, place, first) if first >= 0 else None,
        f"ntkmc show {shlex.quote(store)} {shlex.quote(selection)} --table claims",
    )


def _told(name: str, value: float) -> bool:
    """Whether a number is neither NaN nor the fill value of its variable."""
    return not math.isnan(value) and value != VARIABLES["claims"][name].fill


def _violation(grid: Grid, store: str, claim: str, place: Place, trial: int) -> TrialEvidence:
    key = spawn_key(place.distribution, place.d, 0 if grid.study.nested else place.n, trial)
    quantity, bound = _sides(grid, claim, place, trial)
    command = f"ntkmc trial {shlex.quote(store)} {shlex.quote(place.cell)} {trial}"
    return TrialEvidence(trial, grid.study.seed, key, quantity, bound, command)


def _sides(
    grid: Grid, claim: str, place: Place, trial: int
) -> tuple[tuple[float, float] | None, tuple[float, float] | None]:
    """Both enclosures at one trial, by the claim's own function from the stored statistics."""
    instance = find_instance(claim)
    cell = grid.cells[place.cell]
    # Neither the event nor a scaling claim bounds a quantity of one trial.
    if instance is None or not isinstance(instance.claim, InequalityClaim):
        return None, None
    # A bound may depend on moments and hypotheses of the law, which the store does not hold.
    if isinstance(cell.distribution, Unimported):
        return None, None
    context = grid.study.context(cell, place.depth)
    values = _statistics(grid, instance, place, trial, context.shallower, context.fewer)
    bound, quantity = instance.bound(context, values), instance.claim.quantity(context, values)
    return (float(quantity.lower[0]), float(quantity.upper[0])), (float(bound.lower[0]), float(bound.upper[0]))


def _statistics(
    grid: Grid, instance: Instance, place: Place, trial: int, shallower: int | None, fewer: int | None
) -> dict[str, Any]:
    here = grid.trials.sel(place.labels).isel(trial=trial).load()
    values = {str(name): np.atleast_1d(here[name].to_numpy()) for name in here.data_vars}
    for prefix, other in (("shallower", {"depth": shallower}), ("fewer", {"n": fewer})):
        if any(need.startswith(prefix) for need in instance.needs) and None not in other.values():
            there = grid.trials.sel(place.labels | other).isel(trial=trial)
            for end in ("lower", "upper"):
                values[f"{prefix}_{end}"] = np.atleast_1d(there[f"lambda_min_{end}"].to_numpy())
    measurement = MeasurementKey.of(instance)
    if not measurement.is_draws:
        group = grid.tree[measurement.group].to_dataset()
        stored = group.sel(place.labels | measurement.coordinates).isel(trial=trial).load()
        prefix = measurement.axis.prefix
        values |= {f"{prefix}{name}": stored[name].to_numpy()[None] for name in stored.data_vars}
    return values
