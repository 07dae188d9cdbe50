"""A run from a study to a results tree: right numbers, equal bits, resumable, extendable."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

from ntkmc import open_results, run
from ntkmc.errors import StoreError
from ntkmc.execution.driver import drive
from ntkmc.execution.events import BlockDone, CellDone, Event, RunFinished, RunStarted
from ntkmc.experiment.maintenance.recompute import compare_trial
from ntkmc.experiment.schema.groups import VARIABLES, group_variables, trial_variables
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import DirectoryBlobs, Location
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.model import Study
from ntkmc.experiment.trial.draw import TrialConfig
from ntkmc.experiment.trial.run import BlockTask, run_block
from ntkmc.statistics import confidence_sequence
from stores import assert_equal_bits, results_of, trials_of


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory, client: Any) -> tuple[Path, Study]:
    from conftest import SMALL

    study = parse_study(SMALL, trusted=True)
    path = tmp_path_factory.mktemp("finished") / "small.zarr"
    run(study, path, client=client, progress=False)
    return path, study


def test_everything_is_there(finished: tuple[Path, Study]) -> None:
    path, study = finished
    tree = open_results(path)
    status = tree["trials/status"]
    for cell in study.cells:
        here = status.sel(distribution=cell.distribution.label, d=cell.d, n=cell.n)
        assert (here != 0).all()
    assert int(tree["trials/planned"].sum()) == 60 * len(study.cells)
    assert sorted(path.glob("journal/*/*")) == []
    assert tuple(tree.attrs["statistics"]) == study.statistics
    for group in VARIABLES:
        variables = group_variables(group, study.statistics)
        assert set(tree[group].data_vars) == set(variables)
        for name, variable in variables.items():
            array = tree[f"{group}/{name}"]
            assert array.dims == variable.dims
            assert array.attrs["long_name"] == variable.sentence
            assert array.attrs["units"] == variable.unit
    assert tree.attrs["provenance"]["packages"]["numpy"]
    assert tree.attrs["study"]["name"] == "small"
    assert set(tree["estimates"].coords) >= {"distribution_name", "distribution_params"}


def test_xarray_alone_reproduces_the_probabilities(finished: tuple[Path, Study]) -> None:
    """In a process where ntkmc cannot be imported; warnings are errors there."""
    path, _ = finished
    script = f"""
import sys, warnings
sys.modules["ntkmc"] = None
warnings.simplefilter("error")
import numpy as np, xarray as xr
trials = xr.open_zarr({str(path)!r}, group="trials")
estimates = xr.open_zarr({str(path)!r}, group="estimates")
xr.open_zarr({str(path)!r}, group="claims").load()
checked = 0
for law in estimates.distribution.values:
    for d in estimates.d.values:
        for n in estimates.n.values:
            for depth in estimates.depth.values:
                cell = dict(distribution=law, d=d, n=n, depth=depth)
                used = int(estimates.trials_used.sel(cell))
                if used == 0:
                    continue
                values = trials.lambda_min.sel(cell).isel(trial=slice(used))
                for threshold in estimates.lambda_0.values:
                    share = float((values >= threshold).mean())
                    assert share == float(estimates.probability.sel(cell).sel(lambda_0=threshold))
                    checked += 1
print(checked)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == 12 * 2 * 2


def test_estimates_carry_the_confidence_sequence(finished: tuple[Path, Study]) -> None:
    estimates = open_results(finished[0])["estimates"].to_dataset().load()
    used = estimates["trials_used"].values > 0
    lower, upper = confidence_sequence(
        estimates["proved"].values[used], np.repeat(estimates["trials_used"].values[used][:, None], 2, axis=1)
    )
    assert np.array_equal(lower, estimates["probability_lower"].values[used])
    assert np.all(upper <= estimates["probability_upper"].values[used])
    assert np.all(estimates["trials_used"].values[used] == 60)


def test_claims_hold(finished: tuple[Path, Study]) -> None:
    claims = open_results(finished[0])["claims"].to_dataset().load()
    labels = [str(value) for value in claims["claim"].values]
    assert int(claims["violations"].sel(claim=[name for name in labels if name.startswith("det-")]).sum()) == 0
    overall = dict(zip(labels, claims["overall"].values.tolist(), strict=True))
    assert overall["det-pair-upper"] == Verdict.HOLDS
    assert overall["printed/det-depth-monotone"] == Verdict.VIOLATED
    assert overall["det-depth-monotone"] == Verdict.HOLDS
    assert "det-gershgorin-coherence" not in overall  # of another kernel
    assert claims["overall"].attrs["flag_meanings"].split()[Verdict.HOLDS] == "holds"


def values_of_a_trial(study: Study, cell: Cell) -> int:
    """How many numbers the store holds of one trial."""
    return sum(len(cell.depths) if each.per_depth else 1 for each in trial_variables(study.statistics).values())


@pytest.mark.parametrize("number", [0, 31, 59])
def test_any_trial_alone_equals_the_store(finished: tuple[Path, Study], number: int) -> None:
    path, study = finished
    for cell in study.cells[::4]:
        rows = compare_trial(path, cell.name, number)
        assert len(rows) == values_of_a_trial(study, cell)
        assert all(np.float64(here).tobytes() == np.float64(stored).tobytes() for _, _, here, stored in rows)


@pytest.mark.long
def test_a_trial_needs_no_dask(finished: tuple[Path, Study]) -> None:
    """Recomputed from its address in a process where Dask cannot be imported."""
    path, study = finished
    script = f"""
import sys
for name in ("dask", "distributed"):
    sys.modules[name] = None
from ntkmc.experiment.maintenance.recompute import compare_trial
rows = compare_trial({str(path)!r}, {study.cells[5].name!r}, 11)
assert all(here == stored for _, _, here, stored in rows)
print(len(rows))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == values_of_a_trial(study, study.cells[5])


@pytest.mark.long
def test_an_extension_killed_halfway(tmp_path: Path, client: Any, small: dict[str, Any]) -> None:
    """A coordinate that was lengthened but not yet written is no value; the next run extends anew."""
    import zarr

    path = tmp_path / "s"
    run(parse_study(small | {"event": {"lambda-0": [0.5]}}, trusted=True), path, client=client, progress=False)
    for group, name in (("trials", "distribution"), ("trials", "d"), ("estimates", "lambda_0")):
        array = zarr.open_array(path, path=f"{group}/{name}", mode="r+")
        array.resize((array.shape[0] + 2,))
    larger = parse_study(small | {"event": {"lambda-0": [0.2, 0.5]}}, trusted=True)
    run(larger, path, client=client, progress=False)
    trials = trials_of(path)
    assert trials["distribution"].values.tolist() == ["sphere", "rademacher", "student-t(df=3)"]
    assert trials["d"].values.tolist() == [5, 8]
    assert open_results(path)["estimates"].to_dataset()["lambda_0"].values.tolist() == [0.5, 0.2]


@pytest.mark.parametrize("length", [7, 50])
def test_blocks_leave_no_trace(finished: tuple[Path, Study], tmp_path: Path, client: Any, length: int) -> None:
    path, study = finished
    assert not drive(study, tmp_path / "s", client, block_length=length).failed
    assert_equal_bits(trials_of(path), trials_of(tmp_path / "s"))


@pytest.mark.long
def test_order_of_lists_leaves_no_trace(
    finished: tuple[Path, Study], tmp_path: Path, client: Any, small: dict[str, Any]
) -> None:
    small["grid"] = {key: list(reversed(value)) for key, value in small["grid"].items()}
    run(parse_study(small, trusted=True), tmp_path / "s", client=client, progress=False)
    assert_equal_bits(trials_of(finished[0]), trials_of(tmp_path / "s"))


def test_a_grid_extended_later(
    finished: tuple[Path, Study], tmp_path: Path, client: Any, small: dict[str, Any]
) -> None:
    """Fewer trials, depths, laws and thresholds first, then the whole: nothing old runs again, all bits are equal."""
    less = small | {
        "grid": {"distribution": ["rademacher"], "d": [8], "n": [4], "depth": [3]},
        "trials": 25,
        "event": {"lambda-0": [0.5], "delta": 0.1},
    }
    run(parse_study(less, trusted=True), tmp_path / "s", client=client, progress=False)
    events: list[Event] = []
    drive(parse_study(small, trusted=True), tmp_path / "s", client, [events.append])
    whole = trials_of(tmp_path / "s")
    assert_equal_bits(trials_of(finished[0]), whole)
    first = trials_of(finished[0])
    assert set(first["distribution"].values.tolist()) == set(whole["distribution"].values.tolist())
    # 12 cells of 60 trials; the 25 old ones run once more, but only for the depth that they lacked.
    assert sum(event.trials for event in events if isinstance(event, BlockDone)) == 720
    reference = open_results(finished[0])["estimates"].to_dataset().load()
    mine = open_results(tmp_path / "s")["estimates"].to_dataset().load()
    for name in ("probability", "probability_lower", "lambda_min_quantile", "trials_used"):
        expected = reference[name]
        found = mine[name].sel({dim: expected[dim].values for dim in expected.dims})
        np.testing.assert_array_equal(expected.values, found.transpose(*expected.dims).values)


def test_resuming_does_nothing_twice(finished: tuple[Path, Study], client: Any) -> None:
    path, study = finished
    events: list[Event] = []
    drive(study, path, client, [events.append])
    assert not [event for event in events if isinstance(event, BlockDone)]
    (started,) = [event for event in events if isinstance(event, RunStarted)]
    assert started.trials_done == started.trials_planned == 720
    assert sum(isinstance(event, CellDone) for event in events) == len(study.cells)
    assert isinstance(events[-1], RunFinished)


@pytest.mark.long
def test_shifted_trials(tmp_path: Path, client: Any, finished: tuple[Path, Study], small: dict[str, Any]) -> None:
    """`from: 40` gives trials 40 ... 59 of the same sequence, and estimates from these."""
    shifted = parse_study(small | {"trials": {"from": 40, "count": 20}}, trusted=True)
    tree = run(shifted, tmp_path / "s", client=client, progress=False)
    mine, whole = trials_of(tmp_path / "s"), trials_of(finished[0])
    assert (mine["status"].isel(trial=slice(0, 40)) == 0).all()
    for name in results_of(mine):
        a, b = (data[name].isel(trial=slice(40, 60)).values for data in (mine, whole))
        assert a.tobytes() == b.tobytes()
    assert int(tree["estimates/trials_used"].max()) == 20


@pytest.mark.long
def test_adaptive_stops_on_the_schedule(tmp_path: Path, client: Any, small: dict[str, Any]) -> None:
    study = parse_study(small | {"trials": {"at-least": 20, "at-most": 150, "half-width": 0.12}}, trusted=True)
    tree = run(study, tmp_path / "s", client=client, progress=False)
    estimates = tree["estimates"].to_dataset().load()
    used = estimates["trials_used"].values
    assert set(np.unique(used)) - {0} <= set(study.looks)
    half = (estimates["probability_upper"] - estimates["probability_lower"]).max(["lambda_0", "depth"]).values / 2
    cells = used[..., 0] > 0
    assert np.all((half[cells] <= 0.12) | (used[..., 0][cells] == 150))
    assert len(set(np.unique(used))) > 2  # some cells stopped early, others did not


def test_another_identity_is_refused(finished: tuple[Path, Study], client: Any, small: dict[str, Any]) -> None:
    path, _ = finished
    for change, said in (
        ({"seed": 8}, "seed is 7 there and 8 here"),
        ({"kernel": "conjugate"}, "kernel is ntk there"),
    ):
        with pytest.raises(StoreError, match=said):
            run(parse_study(small | change, trusted=True), path, client=client, progress=False)


def test_foreign_places_are_left_alone(tmp_path: Path, client: Any, small_study: Study) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("precious")
    (tmp_path / "file").write_text("precious")
    for place in ("thesis", "file"):
        with pytest.raises(StoreError, match="is not an ntkmc store"):
            run(small_study, tmp_path / place, client=client, progress=False)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["chapter.tex", "file", "thesis"]


def test_one_writer(finished: tuple[Path, Study], client: Any) -> None:
    path, study = finished
    with Lease(path), pytest.raises(StoreError, match="another run is writing"):
        run(study, path, client=client, progress=False)


@pytest.mark.long
def test_a_damaged_chunk_is_computed_again(tmp_path: Path, client: Any, finished: tuple[Path, Study]) -> None:
    path, study = tmp_path / "s", finished[1]
    run(study, path, client=client, progress=False)
    chunks = sorted(file for file in (path / "trials" / "lambda_min" / "c").rglob("*") if file.is_file())
    flipped = bytearray(chunks[3].read_bytes())
    flipped[len(flipped) // 2] ^= 0x40
    chunks[3].write_bytes(flipped)
    status = sorted(file for file in (path / "trials" / "status" / "c").rglob("*") if file.is_file())
    status[-1].write_bytes(status[-1].read_bytes()[:-3])
    events: list[Event] = []
    drive(study, path, client, [events.append])
    again = sum(event.trials for event in events if isinstance(event, BlockDone))
    assert 0 < again <= 120
    assert_equal_bits(trials_of(finished[0]), trials_of(path))


@pytest.mark.long
def test_what_can_be_derived_is_mended(tmp_path: Path, client: Any, finished: tuple[Path, Study]) -> None:
    """A damaged coordinate, a damaged estimate, a deleted group: the next run restores them from what it knows."""
    import shutil

    path, study = tmp_path / "s", finished[1]
    shutil.copytree(finished[0], path)
    for name in ("trials/d", "estimates/probability"):
        (chunk,) = (file for file in (path / name / "c").rglob("*") if file.is_file())
        chunk.write_bytes(b"rot")
    shutil.rmtree(path / "claims")
    with pytest.raises(StoreError, match="running its study again mends"):
        open_results(path)
    run(study, path, client=client, progress=False)
    assert_equal_bits(trials_of(finished[0]), trials_of(path))
    for group in ("estimates", "claims"):
        xr.testing.assert_identical(
            open_results(path)[group].to_dataset().load(), open_results(finished[0])[group].to_dataset().load()
        )


@pytest.mark.long
def test_folding_twice_is_folding_once(tmp_path: Path, client: Any, finished: tuple[Path, Study]) -> None:
    """Journal files that a crash left behind after their fold are folded again, to the same bits."""
    path, study = tmp_path / "s", finished[1]
    run(study, path, client=client, progress=False)
    cell = study.cells[3]
    task = BlockTask(
        TrialConfig(study.seed, study.kernel, study.normalize),
        cell.distribution,
        cell.d,
        cell.n,
        cell.depths,
        cell.folder,
        10,
        5,
    )
    Journal(DirectoryBlobs(path / "journal")).put(
        Block(cell.folder, (cell.distribution.label, cell.d, cell.n), 10, 5, cell.depths, run_block(task), {})
    )
    run(study, path, client=client, progress=False)
    assert_equal_bits(trials_of(finished[0]), trials_of(path))
    assert sorted(path.glob("journal/*/*")) == []


def test_open_results_shows_the_journal(tmp_path: Path, client: Any, small: dict[str, Any]) -> None:
    few, more = parse_study(small | {"trials": 5}, trusted=True), parse_study(small, trusted=True)
    path = tmp_path / "s"
    run(few, path, client=client, progress=False)
    from ntkmc.experiment.store.store import Store

    with Lease(path):
        Store.prepare(Location.of(path), more)  # as a driver does at its start: sixty trials planned, five done
    cell = more.cells[0]
    task = BlockTask(TrialConfig(7, "ntk", "mean"), cell.distribution, cell.d, cell.n, cell.depths, cell.folder, 5, 3)
    Journal(DirectoryBlobs(path / "journal")).put(
        Block(cell.folder, (cell.distribution.label, cell.d, cell.n), 5, 3, cell.depths, run_block(task), {})
    )
    shown = (
        open_results(path)["trials"]
        .to_dataset()["status"]
        .sel(distribution="sphere", d=cell.d, n=cell.n, depth=2)
        .values
    )
    assert np.count_nonzero(shown) == 8
    folded = trials_of(path)["status"].sel(distribution="sphere", d=cell.d, n=cell.n, depth=2).values
    assert np.count_nonzero(folded) == 5


def test_failed_trials_are_data(
    tmp_path: Path, client: Any, small: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A trial that fails numerically has a status; its cell goes on; both limits know of it."""
    from ntkmc.experiment.trial import run as module

    original = module.run_trial

    def failing(config: Any, law: Any, d: int, n: int, depths: Any, number: int) -> Any:
        if number == 3:
            raise np.linalg.LinAlgError("planted")
        return original(config, law, d, n, depths, number)

    monkeypatch.setattr(module, "run_trial", failing)
    small["grid"] = {"distribution": "sphere", "d": 5, "n": 4, "depth": 2}
    outcome = drive(parse_study(small | {"trials": 20}, trusted=True), tmp_path / "s", client)
    assert outcome.failed_trials == {"sphere,d=5,n=4": 1}
    estimates = open_results(tmp_path / "s")["estimates"].to_dataset().load()
    assert estimates["undecided"].values.ravel().tolist() == [1, 1]
    assert int(estimates["trials_used"].item()) == 20
