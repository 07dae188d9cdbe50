"""Nothing is lost, doubled or changed, whatever is done to a run; and little is computed in vain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import xarray as xr

from ntkmc.execution.driver import drive
from ntkmc.experiment.maintenance.verify import verify
from ntkmc.experiment.study.loading import parse_study
from stores import assert_equal_bits, trials_of
from torture import Torture

STUDY: dict[str, Any] = {
    "name": "tortured",
    "seed": 11,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere", "gaussian"], "d": [12], "n": [40, 48], "depth": [2, 3]},
    "event": {"lambda-0": [0.2, 0.5], "delta": 0.1},
    "claims": ["det-gershgorin-rows", "claim-data-scaling", "claim-nondegenerate"],
}


def assert_unharmed(torture: Torture, client: Any) -> None:
    """The store is what an undisturbed run gives, and sound; every message was one for people."""
    undisturbed = torture.folder / "undisturbed"
    assert not drive(parse_study(torture.study, trusted=True), undisturbed, client).failed
    assert_equal_bits(trials_of(undisturbed), trials_of(torture.store))
    for group in ("estimates", "claims"):
        one, other = (xr.open_zarr(path, group=group).load() for path in (undisturbed, torture.store))
        assert one.equals(other), group
    report = verify(torture.store, sample=20)
    assert not report.findings, report.findings
    assert not list(torture.store.rglob("*.partial"))
    for said in torture.said:
        assert "Traceback" not in said, said


@pytest.mark.slow
def test_a_little_torture(tmp_path: Path, client: Any) -> None:
    """Each kind of fault at least once."""
    torture = Torture(tmp_path, STUDY | {"trials": 400}, block=10, rate=0.005, seed=1)
    torture.run_local(2.0, 3)
    torture.run_scheduled(0.5)
    for _ in range(10):
        torture.damage()  # nothing, as long as nothing is folded
        if "flipped" in torture.faults:
            break
        torture.run_local(2.0, 1)
    torture.finish()
    assert torture.faults.keys() >= {"truncated", "flipped", "scheduler", "worker"}
    assert_unharmed(torture, client)


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_torture(tmp_path: Path, client: Any) -> None:
    """2,000 blocks under at least 200 faults; at most 1.2 times the trials are begun, damaged ones aside."""
    trials = 4 * 5000
    torture = Torture(tmp_path, STUDY | {"trials": 5000}, block=10, rate=0.002, seed=2)
    rounds = 0
    while torture.faults.get("worker", 0) + torture.faults.get("driver", 0) < 190 and rounds < 60:
        rounds += 1
        code = torture.run_scheduled(1.0) if rounds % 8 == 0 else torture.run_local(6.0, 5)
        assert code in (None, 0, 2, 3)  # 2: not even the store could be opened for writing
        if rounds % 5 == 0:
            torture.damage()
    torture.finish()
    print(f"{torture.faults}, {torture.total} faults; {torture.begun} trials begun, {torture.forgiven} forgiven")
    assert torture.total >= 200
    assert torture.begun - torture.forgiven <= 1.2 * trials
    assert_unharmed(torture, client)
