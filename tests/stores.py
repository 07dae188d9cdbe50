"""Reading and comparing finished stores."""

from __future__ import annotations

import warnings
from pathlib import Path

import xarray as xr

from ntkmc.experiment.schema.groups import trial_variables


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
