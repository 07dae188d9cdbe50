"""A study on an object store, against a local S3: the same bits, resumed, verified, one writer at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from ntkmc import open_results, run
from ntkmc.errors import StoreError
from ntkmc.execution.driver import drive
from ntkmc.experiment.maintenance.verify import verify
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.study.loading import parse_study
from stores import assert_equal_bits, trials_of


@pytest.fixture
def tiny(small: dict[str, Any]) -> dict[str, Any]:
    grid = {"distribution": ["sphere"], "d": [5], "n": [4], "depth": [2]}
    return small | {"grid": grid, "trials": 30, "claims": ["det-gershgorin-rows", "claim-nondegenerate"]}


@pytest.mark.long
def test_a_run_on_s3(bucket: str, tmp_path: Path, client: Any, tiny: dict[str, Any]) -> None:
    url, here = f"{bucket}/deep/run.zarr", tmp_path / "s"
    run(parse_study(tiny, trusted=True), url, client=client, progress=False)
    more = parse_study(tiny | {"trials": 50}, trusted=True)
    tree = run(more, url, client=client, progress=False)
    run(more, here, client=client, progress=False)
    there = xr.open_zarr(url, group="trials").load()
    assert_equal_bits(trials_of(here), there)
    expected = open_results(here)["estimates"].to_dataset().load()
    assert tree["estimates"].to_dataset().load().equals(expected)
    assert not verify(url, sample=2).findings
    with Lease(url, beat=0.1, patience=1.0), pytest.raises(StoreError, match="another run is writing"):
        drive(more, url, client)


@pytest.mark.long
def test_an_interrupted_creation_is_made_anew(
    client: Any, tiny: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object store cannot rename: until its root says what it is, it is not there for readers."""
    from ntkmc.experiment.store import layout

    class Killed(BaseException):
        pass

    def dying(*arguments: Any) -> None:
        raise Killed

    url = "memory://objects/half.zarr"
    with monkeypatch.context() as patched:
        patched.setattr(layout, "_plan", dying)
        with pytest.raises(Killed):
            drive(parse_study(tiny, trusted=True), url, client)
    with pytest.raises(StoreError, match="not an ntkmc store"):
        open_results(url)
    assert not drive(parse_study(tiny, trusted=True), url, client).failed
    assert not verify(url, sample=5).findings


def test_a_bucket_that_is_not_there(client: Any, tiny: dict[str, Any], bucket: str) -> None:
    with pytest.raises(StoreError, match=r"s3://missing/run\.zarr: cannot be (written|reached)"):
        drive(parse_study(tiny, trusted=True), "s3://missing/run.zarr", client)
