"""Verified, repaired, merged, compacted, packed, migrated: what is done to a store that is there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from ntkmc import open_results, run
from ntkmc.api import repair
from ntkmc.errors import InputError, StoreError
from ntkmc.experiment.maintenance import compact as compact_module
from ntkmc.experiment.maintenance.compact import archive, compact
from ntkmc.experiment.maintenance.merge import merge
from ntkmc.experiment.maintenance.verify import verify
from ntkmc.experiment.study.loading import parse_study
from stores import assert_equal_bits, trials_of

STUDY: dict[str, Any] = {
    "name": "kept",
    "seed": 3,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere", "gaussian"], "d": [5], "n": [4, 6], "depth": [2, 3]},
    "trials": 60,
    "event": {"lambda-0": [0.2, 0.5], "delta": 0.1},
    "claims": ["det-gershgorin-rows", "claim-data-scaling", "claim-nondegenerate"],
}


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("kept") / "s"
    run(parse_study(STUDY, trusted=True), path, client=client, progress=False)
    return path


@pytest.fixture
def store(original: Path, tmp_path: Path) -> Path:
    shutil.copytree(original, tmp_path / "s")
    return tmp_path / "s"


def assert_same(one: Path, other: Path) -> None:
    assert_equal_bits(trials_of(one), trials_of(other))
    for group in ("estimates", "claims"):
        assert xr.open_zarr(one, group=group).load().equals(xr.open_zarr(other, group=group).load()), group


def chunk(store: Path, name: str) -> Path:
    return sorted(path for path in (store / name / "c").rglob("*") if path.is_file())[0]


def flip(store: Path) -> None:
    content = bytearray(chunk(store, "trials/lambda_min").read_bytes())
    content[len(content) // 2] ^= 4
    chunk(store, "trials/lambda_min").write_bytes(content)


def cut(store: Path) -> None:
    path = chunk(store, "trials/coherence")
    path.write_bytes(path.read_bytes()[:-7])


def lose(store: Path) -> None:
    chunk(store, "trials/norm_max").unlink()


def shift(store: Path) -> None:
    """A value that is where it cannot be, with a checksum that is right."""
    array = zarr.open_array(store, path="trials/lambda_min_lower", mode="r+")
    array[0, 0, 0, 0, 7] = float(np.asarray(array[0, 0, 0, 0, 7])) + 1.0


def exchange(store: Path) -> None:
    """Enclosures that nest, of another matrix: only computing again can tell."""
    for name in ("lambda_min", "lambda_min_lower", "lambda_min_upper"):
        array = zarr.open_array(store, path=f"trials/{name}", mode="r+")
        array[1, 0, 0] = np.asarray(array[1, 0, 0])[:, ::-1]


def embellish(store: Path) -> None:
    array = zarr.open_array(store, path="estimates/probability_lower", mode="r+")
    array[...] = np.minimum(np.asarray(array[...]) + 0.01, 1.0)


def litter(store: Path) -> None:
    (store / "journal" / "x.d1.n1").mkdir(parents=True)
    (store / "journal" / "x.d1.n1" / "0-9.L2.npz").write_bytes(b"PK not an archive")


CASES: dict[str, dict[Callable[[Path], None], str]] = {
    "files": {
        flip: "trials/lambda_min[0:1, 0:1, 0:1, 0:2, 0:60]: its checksum does not match",
        cut: "trials/coherence[0:1, 0:1, 0:1, 0:60]: its checksum does not match",
        litter: "journal/x.d1.n1/0-9.L2.npz: block x.d1.n1/0-9.L2.npz is damaged",
    },
    "a file that is gone": {lose: "trials: some that are marked as finished have no value"},
    "values": {
        shift: "sphere,d=5,n=4, trial 7: lower <= lambda_min <= upper does not hold (1 such trials)",
        exchange: "computed again it differs in lambda_min, lambda_min_lower, lambda_min_upper",
    },
    "estimates": {embellish: "estimates/probability_lower at 16 places: does not follow from the trials"},
}


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_damage_is_found_and_mended(original: Path, store: Path, client: Any, case: str) -> None:
    for harm in CASES[case]:
        harm(store)
    report = verify(store, sample=60)
    for says in CASES[case].values():
        assert any(says in f"{each.where}: {each.what}" for each in report.findings), report.findings
    mended = repair(store, report, client=client, progress=False)
    assert not mended.findings
    assert_same(original, store)


def test_a_sound_store_is_sound(original: Path) -> None:
    report = verify(original, sample=30)
    assert not report.findings
    assert (report.trials, report.recomputed, report.last_bits) == (480, 30, 0)
    assert report.chunks > 80


def test_a_law_of_ones_own_is_not_imported_on_a_stores_word(tmp_path: Path, client: Any) -> None:
    """Code runs where a study is run that names it; looking at a store that names it runs nothing."""
    (tmp_path / "my_kept_law.py").write_text(
        "import pathlib\n"
        "def cube(n, d, rng, side=1.0):\n"
        "    pathlib.Path(__file__).with_name('imported').touch()\n"
        "    return rng.uniform(-side, side, size=(n, d))\n"
        "cube.second_moment = lambda d, side: d * side**2 / 3.0\n"
    )
    study = parse_study(
        STUDY | {"grid": STUDY["grid"] | {"distribution": ["my_kept_law:cube"]}, "trials": 20},
        base=tmp_path,
        trusted=True,
    )
    run(study, tmp_path / "s", client=client, progress=False)
    (tmp_path / "imported").unlink()
    open_results(tmp_path / "s")["estimates"].load()
    report = verify(tmp_path / "s")
    assert report.recomputed == 0
    names = [f"my_kept_law:cube(side=1),d=5,n={n} (its law is code beside a study: --study FILE)" for n in (4, 6)]
    assert list(report.skipped) == names
    with pytest.raises(InputError, match="not imported on a store's word"):
        repair(tmp_path / "s", report, client=client, progress=False)
    assert not (tmp_path / "imported").exists()
    report = verify(tmp_path / "s", study=study)
    assert not report.findings
    assert report.recomputed == 20
    assert (tmp_path / "imported").exists()


@pytest.mark.long
def test_two_halves_are_one(original: Path, tmp_path: Path, client: Any) -> None:
    """Trials 0 to 34 here, 25 to 59 there; another grid there, too. Merged they are what one run gives."""
    grid = STUDY["grid"]
    run(
        parse_study(STUDY | {"trials": {"from": 0, "count": 35}}, trusted=True),
        tmp_path / "a",
        client=client,
        progress=False,
    )
    second = STUDY | {"trials": {"from": 25, "count": 35}, "grid": grid | {"distribution": ["gaussian", "sphere"]}}
    run(parse_study(second, trusted=True), tmp_path / "b", client=client, progress=False)
    first = merge(tmp_path / "c", [tmp_path / "a", tmp_path / "b"])
    assert (first.trials, first.missing) == (240, 0)
    assert_equal_bits(trials_of(original), trials_of(tmp_path / "c"))
    again = merge(tmp_path / "c", [tmp_path / "b", tmp_path / "a"])
    assert again.trials == 0
    assert not verify(tmp_path / "c", sample=30).findings
    blocks = xr.open_zarr(tmp_path / "c", group="blocks").load()
    assert int(blocks["count"].sum()) == 240
    assert (blocks["seconds"] > 0).sum() == (blocks["count"] > 0).sum()


@pytest.mark.long
def test_a_merge_that_was_killed_is_repeated(
    original: Path, tmp_path: Path, client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ntkmc.experiment.store.journal import Journal

    run(
        parse_study(STUDY | {"trials": {"from": 0, "count": 30}}, trusted=True),
        tmp_path / "a",
        client=client,
        progress=False,
    )
    run(
        parse_study(STUDY | {"trials": {"from": 30, "count": 30}}, trusted=True),
        tmp_path / "b",
        client=client,
        progress=False,
    )
    calls = iter(range(100))

    class Killed(BaseException):
        pass

    def put(self: Journal, block: Any) -> None:
        if next(calls) == 5:
            raise Killed
        original_put(self, block)

    original_put = Journal.put
    with monkeypatch.context() as patched, contextlib.suppress(Killed):
        patched.setattr(Journal, "put", put)
        merge(tmp_path / "c", [tmp_path / "a", tmp_path / "b"])
    assert next(calls) == 6
    merge(tmp_path / "c", [tmp_path / "a", tmp_path / "b"])
    assert_same(original, tmp_path / "c")


@pytest.mark.parametrize(
    ("other", "says"),
    [
        ({"seed": 4}, "seed is 4 there and 3 here"),
        ({"kernel": "conjugate"}, "kernel is conjugate there and ntk here"),
        ({"event": {"lambda-0": [0.2], "delta": 0.2}}, r"event\.delta is 0\.1 in .*/s and 0\.2 in .*/other"),
        ({"trials": {"at-least": 5, "at-most": 9, "half-width": 0.4}}, "trials are counted differently"),
        ({"claims": ["det-diag-upper"]}, "did not measure .* which the others did"),
    ],
)
def test_what_cannot_be_merged_says_why(store: Path, client: Any, other: dict[str, Any], says: str) -> None:
    small = STUDY | {"trials": 5} | other
    run(parse_study(small, trusted=True), store.parent / "other", client=client, progress=False)
    with pytest.raises((InputError, StoreError), match=says):
        merge(store, [store.parent / "other"])


@pytest.mark.long
def test_compact_is_the_same_store(original: Path, store: Path, client: Any, tmp_path: Path) -> None:
    """Few files, the same bits; it grows like any other."""
    before = sum(len(files) for _, _, files in os.walk(store))
    done = compact(store)
    assert done.files_before == before
    assert done.files_after == sum(len(files) for _, _, files in os.walk(store)) <= 200
    assert_same(original, store)
    assert not verify(store, sample=30).findings
    more = STUDY | {"trials": 80, "grid": STUDY["grid"] | {"n": [4, 5, 6]}}
    run(parse_study(more, trusted=True), store, client=client, progress=False)
    run(parse_study(more, trusted=True), tmp_path / "fresh", client=client, progress=False)
    assert_equal_bits(trials_of(tmp_path / "fresh"), trials_of(store))


@pytest.mark.parametrize("step", range(4))
def test_a_compaction_that_was_killed(original: Path, store: Path, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    """Killed while it copies, or at one of the renames: the next run, or compaction, finds a whole store."""

    class Killed(BaseException):
        pass

    def dying(*arguments: Any, **named: Any) -> None:
        raise Killed

    rename = Path.rename
    calls = iter(range(10))

    def renaming(self: Path, target: Any) -> Path:
        if next(calls) == step - 1:
            raise Killed
        return rename(self, target)

    with monkeypatch.context() as patched, contextlib.suppress(Killed):
        if step == 0:
            patched.setattr(compact_module, "_copy", dying)
        elif step == 3:
            patched.setattr("ntkmc.experiment.store.arrays.shutil.rmtree", dying)
        else:
            patched.setattr(Path, "rename", renaming)
        compact(store)
        pytest.fail("was not killed")
    compact(store)
    assert_same(original, store)


def test_an_archive_is_read_as_it_is(original: Path, tmp_path: Path) -> None:
    path = archive(original, tmp_path / "s.zip")
    assert (
        open_results(path)["estimates"]
        .to_dataset()
        .load()
        .equals(open_results(original)["estimates"].to_dataset().load())
    )
    assert not verify(path).findings
    with pytest.raises(StoreError, match="unzip it"):
        merge(path, [original])
    with pytest.raises(StoreError, match="not overwritten"):
        archive(original, path)


def test_an_object_store_is_not_compacted() -> None:
    with pytest.raises(InputError, match="does not count objects"):
        compact("memory://compact/s")


def test_an_older_store_is_migrated(original: Path, store: Path, client: Any) -> None:
    """Schema 2 had no table of blocks: it can be read, and its next run brings it up to date."""
    shutil.rmtree(store / "blocks")
    for path in [store / "zarr.json"]:
        document = json.loads(path.read_text())
        document["attributes"]["schema"] = 2
        metadata = document["consolidated_metadata"]["metadata"]
        document["consolidated_metadata"]["metadata"] = {
            key: value for key, value in metadata.items() if not key.startswith("blocks")
        }
        path.write_text(json.dumps(document))
    assert "blocks" not in open_results(store)
    assert not verify(store).findings
    run(parse_study(STUDY | {"trials": 61}, trusted=True), store, client=client, progress=False)
    assert int(open_results(store)["blocks"].to_dataset()["count"].sum()) == 4
    assert not verify(store).findings


@pytest.mark.parametrize(("schema", "says"), [(1, "has store schema 1, this version reads"), (99, "schema 99")])
def test_stores_of_other_schemas_are_refused(store: Path, schema: int, says: str) -> None:
    document = json.loads((store / "zarr.json").read_text())
    document["attributes"]["schema"] = schema
    (store / "zarr.json").write_text(json.dumps(document))
    with pytest.raises(StoreError, match=says):
        open_results(store)
