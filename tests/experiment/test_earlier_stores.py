"""Stores that an earlier version wrote are read, verified and continued."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from calling import called
from ntkmc import load_study, open_results, run
from ntkmc.experiment.maintenance.recompute import compare_trial
from ntkmc.experiment.store.provenance import bits_of, environment
from ntkmc.experiment.study.model import Study

FOLDER = Path(__file__).parents[1] / "stores_of_earlier_versions"

# Groups with a value for each trial, and the dimension that each has beside those of the draws.
MEASURED = {
    "networks": {
        "trials": None,
        "finite_width": "width",
        "training": "target",
        "trained": "network",
        "sketching": "features",
    },
    "deep": {"trials": None, "sketching": "features"},
}
DERIVED = {
    "networks": ("estimates", "claims", "convergence", "prediction", "dynamics", "sketch_accuracy"),
    "deep": ("estimates", "claims", "sketch_accuracy"),
}


@pytest.fixture(params=sorted(MEASURED))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A store of an earlier version, unpacked: an interrupted extension, with finished blocks in its journal."""
    with tarfile.open(FOLDER / f"{request.param}.tar.gz") as archive:
        archive.extractall(tmp_path, filter="data")
    path: Path = tmp_path / request.param
    assert list((path / "journal").rglob("*.npz"))
    return path


def groups(store: Path) -> dict[str, xr.Dataset]:
    """Groups with a value for each trial, those of the journal included."""
    tree = open_results(store)
    return {group: tree[group].to_dataset().load() for group in MEASURED[store.name]}


def extended(store: Path) -> Study:
    return load_study(FOLDER / f"{store.name}-extended.yaml")


def finished(trials: xr.Dataset) -> np.ndarray[Any, Any]:
    """Where a group has values, with the dimensions of `status`."""
    return np.asarray(trials["status"].to_numpy() != 0)


def measured(trials: xr.Dataset) -> list[str]:
    return [str(name) for name, variable in trials.variables.items() if "trial" in variable.dims and name != "trial"]


def same_numerics(store: Path) -> bool:
    """Whether equal bits are promised: the store was computed with this BLAS, on such a processor."""
    environments = open_results(store).attrs["environments"]
    return all(bits_of(each) == bits_of(environment()) for each in environments.values())


def assert_equal_bits(one: xr.Dataset, other: xr.Dataset, chosen: np.ndarray[Any, Any]) -> None:
    """Equal bits of every variable in the chosen trials, which have the dimensions of `status`."""
    status = one["status"]
    mask = xr.DataArray(chosen, dims=status.dims)
    for name in measured(one):
        # A variable without depth is compared where any depth is chosen.
        lacking = [dim for dim in status.dims if dim not in one[name].dims]
        where = mask.any(lacking) if lacking else mask
        dims = [str(dim) for dim in where.dims]
        further = [str(dim) for dim in one[name].dims if dim not in dims]
        a, b = (each[name].transpose(*dims, *further).values[where.values] for each in (one, other))
        assert a.tobytes() == b.tobytes(), name


def assert_overlap(one: xr.Dataset, other: xr.Dataset) -> None:
    assert bool((one["lambda_min_lower"] <= other["lambda_min_upper"]).all())
    assert bool((other["lambda_min_lower"] <= one["lambda_min_upper"]).all())


def test_it_opens(store: Path) -> None:
    tree = open_results(store)
    for group, dim in MEASURED[store.name].items():
        trials = xr.open_zarr(store, group=group).load()
        assert dim is None or dim in trials.dims
        # Plain xarray sees what is folded, `open_results` the journal too.
        folded = finished(trials)
        assert_equal_bits(trials, tree[group].to_dataset().load(), folded)
        assert bool((trials["status"] == 1).any())
        if group == "trials":
            done = finished(tree[group].to_dataset())
            assert folded.sum() < done.sum() < done.size
    for group in DERIVED[store.name]:
        assert xr.open_zarr(store, group=group).load().equals(tree[group].to_dataset().load())
    blocks = xr.open_zarr(store, group="blocks").load()
    assert int(blocks["count"].sum()) > 0


@pytest.mark.parametrize(
    "arguments",
    [["show"], ["show", "--claims"], ["show", "--features"], ["verify"]],
    ids=lambda words: " ".join(words),
)
def test_commands_accept_it(
    store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    command, *options = arguments
    assert called(monkeypatch, command, store, *options) == 0
    printed = capsys.readouterr().out
    assert printed.strip()
    if command == "verify":
        assert "all is well" in printed


def test_its_constants_are_those_of_today(store: Path) -> None:
    """Every constant that can change a bit: runs with another one are refused, so a change must be deliberate."""
    assert json.loads(json.dumps(extended(store).identity())) == open_results(store).attrs["identity"]


def test_a_trial_keeps_its_bits(store: Path) -> None:
    compared = compare_trial(store, extended(store).cells[-1].name, 0)
    assert len(compared) >= 60
    if same_numerics(store):
        assert not [(name, depth, new, old) for name, depth, new, old in compared if new != old and new == new]


@pytest.mark.long
def test_it_is_continued(store: Path, tmp_path: Path, client: Any) -> None:
    """Trials that were done keep their bits, and the others are those of a fresh run."""
    before, numerics = groups(store), same_numerics(store)
    run(extended(store), store, client=client, progress=False)
    after = groups(store)
    run(extended(store), tmp_path / "fresh" / store.name, client=client, progress=False)
    fresh = groups(tmp_path / "fresh" / store.name)
    assert not list((store / "journal").rglob("*.npz"))
    for group, old in before.items():
        done = finished(old)
        assert_equal_bits(old, after[group], done)
        if numerics:
            assert_equal_bits(fresh[group], after[group], np.ones_like(done))
        elif group == "trials":
            assert_overlap(fresh[group], after[group])
    assert open_results(store)["estimates"].sizes == open_results(tmp_path / "fresh" / store.name)["estimates"].sizes
