"""Running studies in tests; reading and comparing finished stores."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import xarray as xr

from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, Event
from ntkmc.experiment.schema.groups import declared, trial_variables
from ntkmc.experiment.study.loading import parse_study


def run_study(data: dict[str, Any], path: Path, client: Any, block_length: int | None = None) -> list[Event]:
    """Events of a run in which no cell and no trial fails."""
    events: list[Event] = []
    outcome = drive(parse_study(data, trusted=True), path, client, [events.append], block_length)
    assert not outcome.failed
    assert not outcome.failed_trials
    return events


def computed_trials(events: Iterable[Event]) -> dict[int | str, int]:
    """Trials that were computed, by the value of the measurement; 0: of the draws."""
    counts: Counter[int | str] = Counter()
    for event in events:
        if isinstance(event, BlockDone):
            counts[event.measurement.value] += event.trials
    return dict(counts)


def group_of(path: Path, name: str) -> xr.Dataset:
    """A group as plain xarray reads it."""
    group: xr.Dataset = xr.open_zarr(path, group=name).load()
    return group


def assert_equal_groups(name: str, one: Path, other: Path) -> None:
    """Equal bits of an additional measurement at equal coordinates, whatever their order."""
    here, there = group_of(one, name), group_of(other, name)
    trials = slice(min(here.sizes["trial"], there.sizes["trial"]))
    there = there.sel({dim: here[dim].values for dim in here["status"].dims if dim != "trial"})
    for variable in declared(name):
        a, b = here[variable].isel(trial=trials).values, there[variable].isel(trial=trials).values
        assert a.tobytes() == b.tobytes(), variable


def trials_of(path: Path) -> xr.Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # plain xarray must read a store without complaint
        trials: xr.Dataset = xr.open_zarr(path, group="trials").load()
    return trials


def results_of(trials: xr.Dataset) -> list[str]:
    """Variables with a value for each trial."""
    return list(trial_variables(map(str, trials)))


def assert_equal_bits(one: xr.Dataset, other: xr.Dataset) -> None:
    """Equal values at equal coordinates, whatever the order of coordinates."""
    aligned = other.sel({dim: one[dim].values for dim in ("distribution", "d", "n", "depth")})
    trials = min(one.sizes["trial"], aligned.sizes["trial"])
    assert set(one) == set(other)
    for name in results_of(one):
        a = one[name].isel(trial=slice(trials)).values
        b = aligned[name].transpose(*one[name].dims).isel(trial=slice(trials)).values
        assert a.tobytes() == b.tobytes(), name
