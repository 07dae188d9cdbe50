"""Cells of large n go to workers that have declared the memory for them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from distributed import Client, SpecCluster, Worker
from distributed.diagnostics.plugin import SchedulerPlugin
from distributed.scheduler import Scheduler

from ntkmc import open_results
from ntkmc.execution.cluster import MEMORY, ClusterCapacity, memory_limit_for, needed_bytes
from ntkmc.execution.driver import drive
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.model import Study


@pytest.fixture
def study(small: dict[str, Any]) -> Study:
    """Of two cells, one of which needs 60 MiB more than an idle worker."""
    grid = {"distribution": ["sphere"], "d": [20], "n": [5, 1000], "depth": [2]}
    return parse_study(small | {"grid": grid, "trials": 6, "claims": ["claim-nondegenerate"]}, trusted=True)


@contextmanager
def workers_with(*memory: float | None) -> Iterator[tuple[Client, Any]]:
    """Workers in this process, which declare so much."""
    spec = {
        number: {
            "cls": Worker,
            "options": {"nthreads": 1, "name": f"w{number}", "resources": {} if each is None else {MEMORY: each}},
        }
        for number, each in enumerate(memory)
    }
    scheduler = {"cls": Scheduler, "options": {"dashboard": False}}
    with SpecCluster(workers=spec, scheduler=scheduler) as cluster, Client(cluster, set_as_default=False) as client:
        client.wait_for_workers(len(memory), timeout=60)
        yield client, cluster


class Seen(SchedulerPlugin):
    """Which worker ran which block."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, str]] = []

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        if start == "processing" and finish == "memory":
            self.ran.append((str(key), kwargs["worker"]))


def large(study: Study) -> int:
    return needed_bytes(study, study.cells[1])


def test_large_cells_go_where_they_fit(study: Study, tmp_path: Path) -> None:
    enough = memory_limit_for(large(study))  # Dask ends a worker before it has used all
    with workers_with(large(study) + 1, enough, enough - 1) as (client, cluster):
        seen = Seen()
        cluster.scheduler.add_plugin(seen)
        roomy = next(a for a, each in client.scheduler_info()["workers"].items() if each["name"] == "w1")
        assert ClusterCapacity(client).eligible_workers(large(study)) == 1
        assert ClusterCapacity(client).eligible_workers(needed_bytes(study, study.cells[0])) is None
        outcome = drive(study, tmp_path / "s", client, block_length=1)
    assert not outcome.failed
    assert [worker for key, worker in seen.ran if study.cells[1].folder in key] == [roomy] * 6


@pytest.mark.long
def test_a_cell_that_fits_nowhere_is_blocked_over_all(study: Study, tmp_path: Path) -> None:
    with workers_with(large(study) - 1, large(study) - 2) as (client, _):
        assert not drive(study, tmp_path / "s", client).failed
    with workers_with(None) as (client, _):
        assert not drive(study, tmp_path / "t", client).failed
    there, here = (open_results(tmp_path / name)["trials"].to_dataset().load() for name in "ts")
    assert (here["status"] == 1).all()
    assert (here["lambda_min_lower"] <= there["lambda_min_upper"]).all()
    assert (there["lambda_min_lower"] <= here["lambda_min_upper"]).all()
    for name in ("coherence", "norm_min", "norm_max"):
        np.testing.assert_allclose(here[name], there[name], rtol=1e-12)
    methods = [str(each) for each in open_results(tmp_path / "s")["blocks"]["method"].to_numpy()]
    assert sum("blocked lanczos" in each for each in methods) == 6


def test_nothing_is_asked_where_nothing_is_declared(study: Study, tmp_path: Path) -> None:
    with workers_with(None, None) as (client, _):
        assert ClusterCapacity(client).eligible_workers(large(study)) is None
        assert not drive(study, tmp_path / "s", client).failed
