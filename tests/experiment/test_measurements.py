"""Conformance of the additional measurements: declared, written, added, interrupted, merged, damaged, recomputed."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from ntkmc import open_results
from ntkmc.errors import StoreError
from ntkmc.execution.plan import make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.analysis.update import ESTIMATE, Derived
from ntkmc.experiment.maintenance.compact import compact
from ntkmc.experiment.maintenance.merge import merge
from ntkmc.experiment.maintenance.recompute import compare_trial
from ntkmc.experiment.maintenance.verify import mark_not_run, verify
from ntkmc.experiment.schema.groups import ALL_GROUPS, GROUPS, PER_TRIAL
from ntkmc.experiment.schema.variables import COORDINATES
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.layout import create, grow, identity_difference
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.store import Store
from ntkmc.experiment.study import DRAWS, MEASUREMENTS, MeasurementKey
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.measurements import Measurement
from ntkmc.experiment.study.model import Study
from ntkmc.experiment.trial.draw import TrialConfig
from ntkmc.experiment.trial.measurements import COST, MEASURE
from ntkmc.experiment.trial.run import BlockTask, blank, run_block
from ntkmc.linalg.eigen import Status
from ntkmc.theory.claims import CLAIMS
from stores import assert_equal_groups, group_of

PLAIN: dict[str, Any] = {
    "name": "measurements",
    "seed": 11,
    "kernel": "h-infinity",
    "grid": {"distribution": ["sphere", "gaussian"], "d": 4, "n": [3, 9], "depth": 2},
    "trials": 8,
    "event": {"lambda-0": [0.05, 0.2], "delta": 0.2},
    "claims": ["det-diag-upper"],
}
NTK = {"kernel": "ntk", "grid": PLAIN["grid"] | {"depth": [2, 3]}}
TRAIN = {"widths": [8, 16], "kappa": [0.5], "steps": 8}

ASKED: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "finite_width": (NTK | {"widths": [2, 50]}, NTK | {"widths": [50]}),
    "training": ({"targets": ["linear", "random-sign"]}, {"targets": ["random-sign"]}),
    "trained": ({"targets": "linear", "train": TRAIN}, {"targets": "linear", "train": TRAIN | {"widths": [16]}}),
    "sketching": (NTK | {"features": [4, 60]}, NTK | {"features": [60]}),
}
"""Keys of a study that asks for two values along each axis, and for the last of them alone."""


@pytest.fixture(scope="module", params=list(MEASUREMENTS))
def axis(request: pytest.FixtureRequest) -> Measurement:
    return MEASUREMENTS[request.param]


def whole(axis: Measurement) -> dict[str, Any]:
    claims = [
        claim.id for claim in CLAIMS.values() if claim.group is axis.claims and not claim.id.startswith("printed")
    ]
    return PLAIN | ASKED[axis.group][0] | {"claims": ["det-diag-upper", *claims]}


def half(axis: Measurement) -> dict[str, Any]:
    return whole(axis) | ASKED[axis.group][1]


def without(axis: Measurement) -> dict[str, Any]:
    dropped = {other.key for other in MEASUREMENTS.values()}
    return {key: value for key, value in whole(axis).items() if key not in dropped}


def tasks_of(store: Store, study: Study, block_length: int) -> list[BlockTask]:
    """Blocks that a run would compute, cell by cell."""
    config = TrialConfig.of(study, store.statistics)
    return [
        BlockTask(config, cell.distribution, cell.d, cell.n, depths, cell.folder, first, len(trials), measurement)
        for cell in study.cells
        for measurement in study.measurements
        for span, depths in store.missing(cell, study.trial_range, measurement)
        for first in range(span.start, span.stop, block_length)
        for trials in [range(first, min(first + block_length, span.stop))]
    ]


def run(data: dict[str, Any], path: Path, block_length: int = 5, blocks: int | None = None) -> Counter[MeasurementKey]:
    """Run a study without a cluster, and return the numbers of trials by measurement.

    With `blocks`, the run is killed after so many blocks: they stay in the journal, and there are no estimates.
    """
    study, location = parse_study(data, trusted=True), Location.of(path)
    counts: Counter[MeasurementKey] = Counter()
    create(location, study)
    with Lease(location):
        store = Store.prepare(location, study)
        for task in tasks_of(store, study, block_length)[:blocks]:
            cell = (task.distribution.label, task.d, task.n)
            arrays = run_block(task)
            assert (arrays["status"] != Status.FAILED.code).all()
            store.journal.put(
                Block(task.folder, cell, task.first, task.count, task.depths, arrays, {}, task.measurement)
            )
            counts[task.measurement] += task.count
        if blocks is None:
            store.fold()
            derived = Derived(store)
            derived.refresh(study.cells)
            derived.finish()
            derived.write()
    return counts


def assert_same(axis: Measurement, one: Path, other: Path) -> None:
    """Equal trials, and estimates that are equal up to the order of sums."""
    assert_equal_groups(axis.group, one, other)
    here, there = group_of(one, axis.estimates.name), group_of(other, axis.estimates.name)
    there = there.sel({dim: here[dim].values for dim in here["trials_used"].dims})
    for name in axis.estimates.variables:
        np.testing.assert_allclose(here[name], there[name], rtol=1e-9, err_msg=name)


@pytest.fixture(scope="module")
def finished(axis: Measurement, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp(axis.group) / "s"
    study = parse_study(whole(axis), trusted=True)
    assert run(whole(axis), path) == dict.fromkeys(study.measurements, 8 * len(study.cells))
    return path


def test_functions_are_registered() -> None:
    assert list(MEASUREMENTS) == list(ASKED)
    for functions in (MEASURE, COST, ESTIMATE):
        assert functions.keys() == MEASUREMENTS.keys()
    assert set(PER_TRIAL) == {"trials", *MEASUREMENTS}
    names = [name for axis in MEASUREMENTS.values() for name in (axis.group, axis.estimates.name)]
    assert set(ALL_GROUPS) == {*GROUPS, *names}
    assert len(set(names)) == 2 * len(MEASUREMENTS)
    for letters in ("symbol", "prefix", "dim", "key"):
        assert len({getattr(axis, letters) for axis in MEASUREMENTS.values()}) == len(MEASUREMENTS)


def test_declarations_are_complete(axis: Measurement) -> None:
    assert axis.group == axis.claims.name
    assert list(axis.trials.variables)[-1] == "status"  # a trial counts as done by its status, which is folded last
    assert (axis.coordinate.dtype == "str") == axis.claims.named
    keys = {field.alias or name for name, field in Study.model_fields.items()}
    assert {axis.key, *axis.settings} <= keys
    for group in (axis.trials, axis.estimates):
        for name, variable in group.variables.items():
            assert (variable.group, variable.name) == (group.name, name)
            assert variable.sentence
            assert set(variable.dims) <= {*COORDINATES, "trial"}
    for variable in axis.trials.variables.values():
        assert variable.dims[:6] == ("distribution", "d", "n", "depth", axis.dim, "trial")
        assert set(variable.trailing_dims) <= set(axis.extra_coordinates)
    assert set(axis.open_ended) <= {name.removesuffix("_lower") for name in axis.trials.variables}
    assert axis.description.format("x") != axis.description


def test_keys_are_read_back(axis: Measurement) -> None:
    values = axis.values(parse_study(whole(axis), trusted=True))
    assert len(values) == 2
    for value in values:
        key = MeasurementKey(axis.group, value)
        assert MeasurementKey.parse(key.label) == MeasurementKey.at({"d": 4} | key.coordinates) == key
        assert key.tag.startswith(axis.symbol)
        assert str(value) in key.description
        assert key.axis is axis


def test_what_is_written_is_declared(axis: Measurement, finished: Path) -> None:
    tree = open_results(finished)
    assert (tree[f"{axis.group}/status"] != 0).all()
    for group in (axis.trials, axis.estimates):
        assert set(tree[group.name].data_vars) == set(group.variables)
        assert tree[group.name].attrs["long_name"] == group.long_name
        for name, variable in group.variables.items():
            array = tree[group.name][name]
            assert array.dims == variable.dims
            assert array.dtype == np.dtype(variable.dtype)
            assert variable.attributes().items() <= array.attrs.items()
        assert tree[group.name][axis.dim].attrs["long_name"] == axis.coordinate.sentence
    for dim, values in axis.extra_coordinates.items():
        assert tree[axis.group][dim].to_numpy().tolist() == list(values)
    study = parse_study(whole(axis), trusted=True)
    assert tree.attrs["identity"][axis.group] == {**axis.numerics, **axis.options(study)}
    for name in axis.enclosed:
        lower, upper = (tree[f"{axis.group}/{name}_{end}"] for end in ("lower", "upper"))
        assert (np.isfinite(lower) & np.isfinite(upper) & (lower <= upper)).all()


def test_blocks_hold_what_is_declared(axis: Measurement) -> None:
    study = parse_study(half(axis), trusted=True)
    (key,) = [key for key in study.additional_measurements if key.group == axis.group]
    cell = study.cells[0]
    task = BlockTask(TrialConfig.of(study), cell.distribution, cell.d, cell.n, cell.depths, cell.folder, 3, 2, key)
    empty, arrays = blank(task), run_block(task)
    assert list(arrays) == list(empty) == list(axis.trials.variables)
    for name, values in arrays.items():
        assert values.shape == empty[name].shape
        assert not np.isnan(values).any(), name


def test_claims_need_declared_variables(axis: Measurement) -> None:
    study = parse_study(whole(axis) | {"claims": "everything"}, trusted=True)
    known = {axis.prefix + name for name in axis.trials.variables}
    about = [instance for instance in study.instances if instance.claim.group is axis.claims]
    assert {MeasurementKey.of(instance) for instance in about} <= set(study.additional_measurements)
    for instance in about:
        assert {need for need in instance.needs if need.startswith(axis.prefix)} <= known, instance.label


def test_no_traces_in_other_studies(axis: Measurement, tmp_path: Path) -> None:
    run(without(axis) | {"trials": 2}, tmp_path / "s")
    assert set(open_results(tmp_path / "s").children) == set(GROUPS)
    assert not list((tmp_path / "s").rglob(f"*{axis.dim}*"))
    study = parse_study(without(axis), trusted=True)
    assert axis.key not in study.document()
    assert axis.group not in study.identity()
    assert not [instance.label for instance in study.instances if instance.measurement]
    assert study.statistics == parse_study(whole(axis), trusted=True).statistics
    everything = parse_study(without(axis) | {"claims": "everything"}, trusted=True)
    assert not [instance.label for instance in everything.instances if instance.measurement]
    with pytest.raises(StoreError, match=axis.absent):
        Store(Location.of(tmp_path / "s"), study, writing=False).group(MeasurementKey(axis.group, 0))


def test_other_numerics_are_refused(axis: Measurement) -> None:
    identity = parse_study(whole(axis), trusted=True).identity()
    for name in identity[axis.group]:
        other = identity | {axis.group: identity[axis.group] | {name: "another"}}
        assert identity_difference(identity, other).startswith(f"{axis.group}.{name} is ")
    absent = {key: value for key, value in identity.items() if key != axis.group}
    assert not identity_difference(absent, identity)  # a store without the measurement takes any


@pytest.mark.long
def test_values_that_are_added_recompute_nothing_else(axis: Measurement, finished: Path, tmp_path: Path) -> None:
    path = tmp_path / "s"
    cells = len(parse_study(whole(axis), trusted=True).cells)
    assert run(without(axis), path, 3) == {DRAWS: 8 * cells}
    seen = {DRAWS}
    for data in (half(axis), whole(axis)):
        added = [key for key in parse_study(data, trusted=True).measurements if key not in seen]
        assert run(data, path, 7) == dict.fromkeys(added, 8 * cells)
        seen |= set(added)
    assert_same(axis, path, finished)
    assert not run(whole(axis), path)
    before = group_of(path, axis.estimates.name)
    assert not run(without(axis), path)  # a study that asks for none leaves what is there
    assert before.identical(group_of(path, axis.estimates.name))
    longer = whole(axis) | {"trials": 10}
    assert run(longer, path) == dict.fromkeys(seen, 2 * cells)
    assert_equal_groups(axis.group, path, finished)


@pytest.mark.long
def test_depths_that_are_added_recompute_nothing_else(axis: Measurement, tmp_path: Path) -> None:
    if axis.group == "trained":
        pytest.skip("networks that are trained have depth 2")
    grid = PLAIN["grid"] | {"distribution": "sphere", "n": 5, "depth": [2, 3]}
    data = half(axis) | {"kernel": "ntk", "grid": grid, "trials": 4}
    run(data, tmp_path / "whole")
    run(data | {"grid": data["grid"] | {"depth": 3}}, tmp_path / "s")
    assert set(run(data, tmp_path / "s").values()) == {4}
    assert_same(axis, tmp_path / "s", tmp_path / "whole")


def test_an_interrupted_run_equals_an_uninterrupted_one(axis: Measurement, finished: Path, tmp_path: Path) -> None:
    """Blocks in the journal are seen by readers, and folded instead of computed again."""
    path = tmp_path / "s"
    study = parse_study(whole(axis), trusted=True)
    done = run(whole(axis), path, 3, blocks=10)
    key = next(key for key in done if key.group == axis.group)
    seen = open_results(path)[axis.group].to_dataset()
    cell = study.cells[0]
    at = {"distribution": cell.distribution.label, "d": cell.d, "n": cell.n} | key.coordinates
    here, there = seen.sel(at), group_of(finished, axis.group).sel(at)
    for name in axis.trials.variables:
        assert np.array_equal(here[name][:, :3], there[name][:, :3]), name
    names = Journal(Location.of(path).blobs("journal")).names()
    assert any(f".{key.tag}.npz" in name for name in names)
    rest = run(whole(axis), path, 5)
    assert done + rest == dict.fromkeys(study.measurements, 8 * len(study.cells))
    assert_same(axis, path, finished)


@pytest.mark.long
def test_merged_and_compacted_stores_equal_one_run(axis: Measurement, finished: Path, tmp_path: Path) -> None:
    parts = whole(axis) | {"trials": {"from": 0, "count": 5}}, half(axis) | {"trials": {"from": 5, "count": 3}}
    for number, data in enumerate(parts):
        run(data, tmp_path / str(number))
    merged = merge(tmp_path / "m", [tmp_path / "0", tmp_path / "1"])
    studies = [parse_study(data, trusted=True) for data in parts]
    cells = studies[0].cells
    assert merged.study.measurements == studies[0].measurements
    lacking = set(studies[0].measurements) - set(studies[1].measurements)
    assert merged.missing == 3 * len(cells) * len(lacking)
    compact(tmp_path / "m")
    (values,) = {len([*(tmp_path / "m" / axis.group / name).rglob("*.json")]) for name in axis.trials.variables}
    assert values == 1
    assert run(whole(axis), tmp_path / "m") == dict.fromkeys(lacking, 3 * len(cells))
    assert_same(axis, tmp_path / "m", finished)
    assert not verify(tmp_path / "m", sample=4).findings
    run(without(axis) | {"trials": 5}, tmp_path / "plain")
    assert merge(tmp_path / "plain", [tmp_path / "0"]).missing == 0
    assert_equal_groups(axis.group, tmp_path / "plain", tmp_path / "0")


@pytest.mark.long
def test_what_is_damaged_is_found_and_computed_again(axis: Measurement, finished: Path, tmp_path: Path) -> None:
    path, study = tmp_path / "s", parse_study(whole(axis), trusted=True)
    run(whole(axis), path)
    key = [key for key in study.additional_measurements if key.group == axis.group][1]
    name = f"{axis.enclosed[0]}_lower" if axis.enclosed else "gap"
    array = zarr.open_array(str(path), path=f"{axis.group}/{name}", mode="r+")
    array[1, 0, 1, 0, 1, 7] = 1e6  # above its upper end
    report = verify(path, sample=0 if axis.enclosed else 400)
    found = {(finding.cell, finding.trials, finding.measurement) for finding in report.findings if finding.cell}
    assert found == {("gaussian,d=4,n=9", (7,) if axis.enclosed else None, key)}
    location = Location.of(path)
    with Lease(location):
        mark_not_run(Store.prepare(location, study), report)
    assert set(run(whole(axis), path)) == {key}
    assert_same(axis, path, finished)
    last = list(axis.trials.variables)[-2]
    chunks = [file for file in (path / axis.group / last / "c").rglob("*") if file.is_file()]
    chunks[0].write_bytes(chunks[0].read_bytes()[:-4] + b"oops")
    chunks[1].unlink()  # reads as fill values, without an error
    assert verify(path, sample=0).findings
    assert {key.group for key in run(whole(axis), path)} == {axis.group}
    assert_same(axis, path, finished)


def test_trials_are_recomputed(axis: Measurement, finished: Path) -> None:
    rows = compare_trial(finished, "gaussian,d=4,n=9", 7)
    assert all(here == there for _, _, here, there in rows)
    keys = [key for key in parse_study(whole(axis), trusted=True).additional_measurements if key.group == axis.group]
    names = {name for name, *_ in rows}
    for name, variable in axis.trials.variables.items():
        if not variable.trailing_dims:
            assert {f"{axis.prefix}{name}[{key.label[1:]}]" for key in keys} <= names
    report = verify(finished, sample=6)
    assert (report.recomputed, report.findings) == (6, ())


def test_more_values_cost_more(axis: Measurement) -> None:
    plans = [
        make_plan(parse_study(data(axis), trusted=True), load_profile("local")) for data in (without, half, whole)
    ]
    for less, more in itertools.pairwise(plans):
        assert less.core_hours < more.core_hours
        assert less.worker_bytes <= more.worker_bytes
        assert less.disk_bytes < more.disk_bytes
        assert less.files <= more.files
    study = parse_study(half(axis), trusted=True)
    for _, value in [key for key in study.additional_measurements if key.group == axis.group]:
        small, large = (replace(study.cells[0], n=n) for n in (16, 512))
        assert 0.0 < COST[axis.group].seconds(study, small, value) < COST[axis.group].seconds(study, large, value)
        assert 0 < COST[axis.group].memory(study, small, value) < COST[axis.group].memory(study, large, value)


def test_studies_are_joined(axis: Measurement) -> None:
    halves = [parse_study(data, trusted=True).document() for data in (whole(axis), half(axis), without(axis))]
    assert axis.joined(halves[1], halves[0])[axis.key] is not None
    for one, other in ((1, 0), (0, 2), (2, 0), (0, 0)):
        document = halves[0] | axis.joined(halves[one], halves[other])
        values = axis.values(parse_study(document, trusted=True))
        assert set(values) == set(axis.values(parse_study(whole(axis), trusted=True)))
    assert not axis.joined(halves[2], halves[2])


@pytest.mark.long
def test_growing_a_killed_extension_is_repeated(axis: Measurement, tmp_path: Path) -> None:
    """A store that was extended and then abandoned takes another extension."""
    path = tmp_path / "s"
    run(without(axis) | {"trials": 2}, path)
    with Lease(Location.of(path)):
        grow(Location.of(path), parse_study(half(axis), trusted=True))
    run(whole(axis) | {"trials": 2}, path)
    run(whole(axis) | {"trials": 2}, tmp_path / "whole")
    assert_same(axis, path, tmp_path / "whole")
