"""What is in the store is right, whatever was interrupted, lost or damaged on the way; each case was once a bug."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from ntkmc import open_results, run
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, Event
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.store.block_table import BlockLog
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import DirectoryBlobs, Location
from ntkmc.experiment.store.store import Store
from ntkmc.experiment.study.loading import parse_study
from ntkmc.linalg.eigen.result import Status
from stores import assert_equal_bits, trials_of


class Killed(BaseException):
    """Stands for SIGKILL: nothing in the package catches it."""


@pytest.fixture
def laws(small: dict[str, Any]) -> dict[str, Any]:
    """A study of one law; tests add others."""
    small["grid"] = {"distribution": ["sphere"], "d": [8], "n": [4], "depth": [2]}
    return small | {"trials": 40}


def medians(path: Path) -> dict[str, float]:
    quantiles = (
        open_results(path)["estimates"].to_dataset()["lambda_min_quantile"].sel(quantile=0.5, d=8, n=4, depth=2)
    )
    return {
        str(law): float(value) for law, value in zip(quantiles["distribution"].values, quantiles.values, strict=True)
    }


@pytest.mark.long
@pytest.mark.parametrize("step", range(0, 60, 4))
def test_an_extension_killed_at_any_step(
    tmp_path: Path, client: Any, laws: dict[str, Any], monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """Killed at the k-th change of an array of a growing grid, then extended in another order: no law is swapped."""
    path = tmp_path / "s"
    run(parse_study(laws, trusted=True), path, client=client, progress=False)
    others = {"d": [8], "n": [4], "depth": [2]}
    one = parse_study(laws | {"grid": others | {"distribution": ["sphere", "gaussian", "rademacher"]}}, trusted=True)
    other = parse_study(laws | {"grid": others | {"distribution": ["rademacher", "sphere", "gaussian"]}}, trusted=True)
    calls = iter(range(10**6))
    originals = zarr.Array.resize, zarr.Array.__setitem__

    def dying(original: Any) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(calls) == step:
                raise Killed
            return original(*arguments, **named)

        return call

    with monkeypatch.context() as patched, Lease(path):
        patched.setattr(zarr.Array, "resize", dying(originals[0]))
        patched.setattr(zarr.Array, "__setitem__", dying(originals[1]))
        with contextlib.suppress(Killed):
            Store.prepare(Location.of(path), one)
    assert np.isfinite(medians(path)["sphere"])  # a reader in between sees what was there
    run(other, path, client=client, progress=False)
    run(other, tmp_path / "fresh", client=client, progress=False)
    assert medians(path) == medians(tmp_path / "fresh")
    assert_equal_bits(trials_of(tmp_path / "fresh"), trials_of(path))


def test_a_block_damaged_on_its_way_is_computed_again(
    tmp_path: Path, client: Any, laws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker says done, but what it wrote cannot be read: its word does not count."""
    original = DirectoryBlobs.put
    harmed: list[str] = []

    def put(self: DirectoryBlobs, name: str, content: bytes) -> None:
        if len(harmed) < 2:
            harmed.append(name)
            content = content[: len(content) // 2]
        original(self, name, content)

    monkeypatch.setattr(DirectoryBlobs, "put", put)
    events: list[Event] = []
    outcome = drive(parse_study(laws, trusted=True), tmp_path / "s", client, [events.append], block_length=10)
    assert not outcome.failed
    assert len([event for event in events if isinstance(event, BlockDone)]) == 6
    assert (trials_of(tmp_path / "s")["status"] != 0).all()


def test_blocks_that_never_arrive_set_the_cell_aside(
    tmp_path: Path, client: Any, laws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DirectoryBlobs, "put", lambda self, name, content: None)
    outcome = drive(parse_study(laws, trusted=True), tmp_path / "s", client)
    assert "do not appear in the store" in outcome.failed["sphere,d=8,n=4"]


@pytest.mark.parametrize("name", ["lambda_min", "coherence", "status"])
def test_a_missing_chunk_is_computed_again(tmp_path: Path, client: Any, laws: dict[str, Any], name: str) -> None:
    """A chunk file that was purged reads as fill values, without any error."""
    path, study = tmp_path / "s", parse_study(laws, trusted=True)
    run(study, path, client=client, progress=False)
    shutil.copytree(path, tmp_path / "whole")
    for chunk in (path / "trials" / name / "c").rglob("*"):
        if chunk.is_file():
            chunk.unlink()
    run(study, path, client=client, progress=False)
    assert_equal_bits(trials_of(tmp_path / "whole"), trials_of(path))


def test_a_failure_at_one_depth_leaves_the_others(
    tmp_path: Path, client: Any, laws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Depth 2 done; depth 3 added, where one trial fails: what was measured of its draw stays."""
    from ntkmc.experiment.trial import run as module

    path = tmp_path / "s"
    run(parse_study(laws, trusted=True), path, client=client, progress=False)
    before = trials_of(path)
    deeper = parse_study(laws | {"grid": laws["grid"] | {"depth": [2, 3]}}, trusted=True)
    original = module.run_trial

    def failing(config: Any, law: Any, d: int, n: int, depths: Any, number: int) -> Any:
        if number == 7:
            raise np.linalg.LinAlgError("planted")
        return original(config, law, d, n, depths, number)

    with monkeypatch.context() as patched:
        patched.setattr(module, "run_trial", failing)
        first = drive(deeper, path, client)
    assert first.failed_trials == {"sphere,d=8,n=4": 1}
    again = drive(deeper, path, client)  # it failed then, and the store remembers
    assert again.failed_trials == {"sphere,d=8,n=4": 1}
    after = trials_of(path)
    assert np.array_equal(after["coherence"].values, before["coherence"].values)
    statuses = after["status"].isel(trial=7).values.ravel().tolist()
    assert statuses == [Status.CERTIFIED.code, Status.FAILED.code]


@pytest.mark.long
def test_adaptive_stopping_does_not_know_the_past(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    """Trials of earlier runs, and thresholds of earlier studies, do not move the look at which a cell stops."""
    adaptive = {"trials": {"at-least": 20, "at-most": 300, "half-width": 0.15}, "event": {"lambda-0": [0.7]}}
    run(parse_study(laws | adaptive, trusted=True), tmp_path / "fresh", client=client, progress=False)
    run(parse_study(laws | {"trials": 200}, trusted=True), tmp_path / "old", client=client, progress=False)
    run(parse_study(laws | adaptive, trusted=True), tmp_path / "old", client=client, progress=False)
    fresh, old = (open_results(tmp_path / name)["estimates"].to_dataset().load() for name in ("fresh", "old"))
    assert int(fresh["trials_used"].item()) == int(old["trials_used"].item()) < 200
    assert float(fresh["probability_lower"].item()) == float(old["probability_lower"].sel(lambda_0=0.7).item())


def test_other_cells_keep_their_estimates(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    """A smaller study on the same store, with another delta and confidence, speaks of its own cells alone."""
    path = tmp_path / "s"
    wide = laws | {"grid": laws["grid"] | {"distribution": ["sphere", "gaussian"]}}
    run(parse_study(wide, trusted=True), path, client=client, progress=False)
    before = open_results(path)["estimates"].to_dataset().load()
    narrow = laws | {"trials": 20, "confidence": 0.5, "event": {"lambda-0": [0.2], "delta": 0.4}}
    run(parse_study(narrow, trusted=True), path, client=client, progress=False)
    after = open_results(path)["estimates"].to_dataset().load()
    gaussian = {"distribution": "gaussian"}
    assert before.sel(gaussian).identical(after.sel(gaussian))
    assert int(after["trials_used"].sel(distribution="sphere").item()) == 20


def test_claims_remember_all_trials(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    """Deterministic verdicts rest on every trial in the store, also beyond the present study's range."""
    path = tmp_path / "s"
    run(parse_study(laws, trusted=True), path, client=client, progress=False)
    run(parse_study(laws | {"trials": {"from": 5, "count": 10}}, trusted=True), path, client=client, progress=False)
    claims = open_results(path)["claims"].to_dataset().load()
    assert int(claims["evaluated"].sel(claim="det-pair-upper").item()) == 40


def test_nothing_is_supported_before_it_was_tried(
    tmp_path: Path, client: Any, laws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of two cells never runs: the event is not supported as a whole."""
    from ntkmc.experiment.trial.run import run_block

    def refusing(task: Any, methods: Any) -> Any:
        if task.distribution.label == "gaussian":
            raise RuntimeError("planted")
        return run_block(task, methods)

    monkeypatch.setattr("ntkmc.execution.worker.run_block", refusing)
    study = laws | {"grid": laws["grid"] | {"distribution": ["sphere", "gaussian"]}, "trials": 300}
    outcome = drive(parse_study(study | {"event": {"lambda-0": [1e-6]}}, trusted=True), tmp_path / "s", client)
    assert list(outcome.failed) == ["gaussian,d=8,n=4"]
    overall = (
        open_results(tmp_path / "s")["claims"].to_dataset()["overall"].sel(claim="claim-nondegenerate[lambda_0=1e-06]")
    )
    assert int(overall) == Verdict.UNDECIDED


def test_a_finished_store_needs_no_dataset(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    """Results are read where the data file is not; and the same rows at another path go on with them."""
    rows = np.random.default_rng(0).standard_normal((30, 8))
    np.save(tmp_path / "rows.npy", rows)
    grid = laws["grid"] | {"distribution": {"dataset": {"path": "rows.npy"}}}
    study = parse_study(laws | {"grid": grid}, base=tmp_path, trusted=True)
    run(study, tmp_path / "s", client=client, progress=False)
    (tmp_path / "rows.npy").rename(tmp_path / "moved.npy")
    assert float(open_results(tmp_path / "s")["estimates"].to_dataset()["trials_used"].item()) == 40
    moved = laws | {"grid": grid | {"distribution": {"dataset": {"path": "moved.npy"}}}}
    events: list[Event] = []
    drive(parse_study(moved, base=tmp_path, trusted=True), tmp_path / "s", client, [events.append])
    assert not [event for event in events if isinstance(event, BlockDone)]


@pytest.mark.parametrize("scale", [1e-170, 1e160, 1e300])
def test_unit_rows_of_any_size(tmp_path: Path, client: Any, laws: dict[str, Any], scale: float) -> None:
    """Squares of such rows overflow or vanish; their directions do not."""
    rows = np.random.default_rng(0).standard_normal((30, 8))
    results = []
    for name, data in (("plain", rows), ("scaled", rows * scale)):
        np.save(tmp_path / f"{name}.npy", data)
        grid = laws["grid"] | {"distribution": {"dataset": {"path": f"{name}.npy"}}, "normalize": "unit"}
        tree = run(
            parse_study(laws | {"grid": grid}, base=tmp_path, trusted=True),
            tmp_path / name,
            client=client,
            progress=False,
        )
        trials = tree["trials"].to_dataset().load()
        assert np.allclose(trials["norm_max"].values, 1.0, rtol=1e-14)
        results.append(tree["claims"].to_dataset()["violations"].to_numpy())
    assert results[1][:-2].sum() == 0  # all but the event


@pytest.mark.long
def test_estimates_are_written_while_a_run_goes_on(
    tmp_path: Path, client: Any, laws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ntkmc.execution import driver

    monkeypatch.setattr(driver, "_FOLD_EVERY", 0.0)
    monkeypatch.setattr(driver, "_MIN_FOLD_INTERVAL", 0.0)
    seen: list[int] = []

    def look(event: Event) -> None:
        if isinstance(event, BlockDone):
            seen.append(int(open_results(tmp_path / "s")["estimates"].to_dataset()["trials_used"].max()))

    drive(parse_study(laws | {"trials": 300}, trusted=True), tmp_path / "s", client, [look], block_length=10)
    assert 0 < max(seen) <= 300
    assert sorted(seen) == seen


def test_a_pilot_run_does_not_fix_small_chunks(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    path = tmp_path / "s"
    run(parse_study(laws | {"trials": 2}, trusted=True), path, client=client, progress=False)
    run(parse_study(laws | {"trials": 300}, trusted=True), path, client=client, progress=False)
    assert len([chunk for chunk in (path / "trials" / "lambda_min" / "c").rglob("*") if chunk.is_file()]) == 1


def test_an_added_threshold_is_not_evidence(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    """A cell of an earlier study was never asked about a threshold that came later: it says nothing of it."""
    path = tmp_path / "s"
    run(
        parse_study(laws | {"trials": 300, "event": {"lambda-0": [0.05]}}, trusted=True),
        path,
        client=client,
        progress=False,
    )
    later = laws | {"grid": laws["grid"] | {"n": [5]}, "trials": 300, "event": {"lambda-0": [1e-3]}}
    run(parse_study(later, trusted=True), path, client=client, progress=False)
    claims = open_results(path)["claims"].to_dataset().load()
    assert int(claims["overall"].sel(claim="claim-nondegenerate[lambda_0=0.001]")) == Verdict.SUPPORTED


def test_torn_estimates_are_forgotten(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    """A run killed between writing two variables: cells that nobody refreshes must not stop later runs."""
    path = tmp_path / "s"
    run(parse_study(laws, trusted=True), path, client=client, progress=False)
    array = zarr.open_array(path, path="estimates/trials_used", mode="r+")
    array[...] = np.asarray(array[...]) // 4
    run(parse_study(laws | {"grid": laws["grid"] | {"n": [5]}}, trusted=True), path, client=client, progress=False)
    run(parse_study(laws, trusted=True), path, client=client, progress=False)
    assert set(open_results(path)["estimates"].to_dataset()["trials_used"].to_numpy().ravel().tolist()) == {40}


@pytest.mark.long
def test_growing_a_pilot_keeps_files_few(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    path = tmp_path / "s"
    run(parse_study(laws | {"trials": 2}, trusted=True), path, client=client, progress=False)
    wide = laws["grid"] | {"d": [4, 5, 6], "n": [2, 3, 4, 5], "depth": [2, 3]}
    run(parse_study(laws | {"grid": wide, "trials": 2}, trusted=True), path, client=client, progress=False)
    for group in ("estimates", "claims"):
        for name in open_results(path)[group].data_vars:
            assert len([file for file in (path / group / str(name) / "c").rglob("*") if file.is_file()]) <= 1
    assert not list(path.glob(".*.partial"))
    assert not list(path.glob(".*.old"))


def test_zero_rows_are_data(tmp_path: Path, client: Any, laws: dict[str, Any]) -> None:
    np.save(tmp_path / "zero.npy", np.zeros((6, 8)))
    grid = laws["grid"] | {"distribution": {"dataset": {"path": "zero.npy"}}, "normalize": "none"}
    study = parse_study(laws | {"grid": grid, "trials": 3}, base=tmp_path, trusted=True)
    assert not drive(study, tmp_path / "s", client).failed_trials
    assert set(trials_of(tmp_path / "s")["status"].values.ravel().tolist()) == {Status.SINGULAR.code}


def test_a_fold_that_failed_halfway_tells_of_all_cells(
    tmp_path: Path, client: Any, laws: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some blocks are in the store and off the journal when the disk fails: their cells are estimated all the same."""
    monkeypatch.setattr("ntkmc.experiment.store.store._AT_ONCE", 1)
    enter, calls = BlockLog.enter, iter(range(1000))

    def failing(self: BlockLog, blocks: list[Any]) -> None:
        if next(calls) == 1:
            raise OSError(28, "No space left on device")
        enter(self, blocks)

    monkeypatch.setattr(BlockLog, "enter", failing)
    study = parse_study(laws | {"grid": laws["grid"] | {"distribution": ["sphere", "gaussian"]}}, trusted=True)
    outcome = drive(study, tmp_path / "s", client)
    assert next(calls) > 2
    assert not outcome.failed
    assert set(open_results(tmp_path / "s")["estimates"].to_dataset()["trials_used"].to_numpy().ravel().tolist()) == {
        40
    }
