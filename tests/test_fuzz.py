"""Whatever stands in a study file or a store: success, or one clear line; no traceback, nobody else's file changed."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fuzzing import harm, harmed_documents, harmed_texts, harms
from ntkmc import open_results, run
from ntkmc.errors import NtkmcError
from ntkmc.execution.driver import drive
from ntkmc.execution.plan import check_plan, make_plan
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.maintenance.verify import verify
from ntkmc.experiment.study.loading import load_study, parse_study
from ntkmc.views.frames import claims_frame, estimates_frame
from ntkmc.views.tables import probabilities

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [path.read_text() for path in sorted((ROOT / "data" / "studies").glob("*.yaml"))]

TINY: dict[str, Any] = {
    "name": "tiny",
    "seed": 3,
    "kernel": "ntk",
    "grid": {"distribution": ["sphere", {"student-t": {"df": 3}}], "d": [5], "n": [4, "d"], "depth": [2]},
    "trials": 12,
    "event": {"lambda-0": [0.2], "delta": 0.1},
    "claims": ["det-gershgorin-rows", "claim-nondegenerate"],
}

quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


def assert_one_line(error: NtkmcError) -> None:
    text = str(error)
    assert text
    assert "\n" not in text
    assert len(text) < 1500


def try_study(folder: Path, text: str) -> None:
    """Load and plan a study file; whatever it says, it takes no long time and leaves its neighbours alone."""
    (folder / "study.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
    start = time.monotonic()
    try:
        study = load_study(folder / "study.yaml")
        check_plan(make_plan(study, load_profile("local")))
    except NtkmcError as error:
        assert_one_line(error)
    assert time.monotonic() - start < 60.0  # not a speed: a hang
    assert (folder / "neighbour").read_text() == "mine"
    assert sorted(path.name for path in folder.iterdir()) == ["neighbour", "study.yaml"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "neighbour").write_text("mine")
    return tmp_path


@settings(max_examples=300, suppress_health_check=quiet)
@given(data=st.data())
def test_mutated_texts_of_studies(folder: Path, data: st.DataObject) -> None:
    try_study(folder, data.draw(harmed_texts(data.draw(st.sampled_from(TEXTS)))))


@settings(max_examples=300, suppress_health_check=quiet)
@given(data=st.data())
def test_mutated_documents_of_studies(folder: Path, data: st.DataObject) -> None:
    document = yaml.safe_load(data.draw(st.sampled_from(TEXTS)))
    try_study(folder, yaml.safe_dump(data.draw(harmed_documents(document))))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=2000, suppress_health_check=quiet)
@given(data=st.data())
def test_many_mutated_studies(folder: Path, data: st.DataObject) -> None:
    text = data.draw(st.sampled_from(TEXTS))
    if data.draw(st.booleans()):
        text = data.draw(harmed_texts(text))
    else:
        text = yaml.safe_dump(data.draw(harmed_documents(yaml.safe_load(text))))
    try_study(folder, text)


def test_a_parameter_that_overflows(folder: Path) -> None:
    """MeasuredValues by the test above: the square of a mixture's separation is beyond the largest number."""
    document = yaml.safe_load((ROOT / "data" / "studies" / "heavy-tails.yaml").read_text())
    document["grid"]["distribution"] = [{"mixture": {"clusters": 4, "separation": 1e200}}]
    with pytest.raises(NtkmcError, match="numbers overflow"):
        parse_study(document, trusted=True)
    try_study(folder, yaml.safe_dump(document))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    """A store with folded trials, and with one block in its journal."""
    path = tmp_path_factory.mktemp("sound") / "s"
    run(parse_study(TINY, trusted=True), path, client=client, progress=False)
    return path


def contents(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.blake2b(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lease"
    }


def try_store(sound: Path, folder: Path, client: Any, what: list[Any]) -> None:
    """Look at a harmed store, verify it, resume it; looking changes nothing."""
    path = folder / "s"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(sound, path)
    files = sorted(contents(sound))
    for each in what:
        harm(path, each, files)
    before = contents(path)
    for look in (_show, lambda store: verify(store, sample=3)):
        try:
            look(path)
        except NtkmcError as error:
            assert_one_line(error)
        assert contents(path) == before
    try:
        drive(parse_study(TINY, trusted=True), path, client)
    except NtkmcError as error:
        assert_one_line(error)
    assert (folder / "neighbour").read_text() == "mine"


def _show(path: Path) -> None:
    from ntkmc.cli.app import reading

    with reading(str(path)):
        tree = open_results(path)
        frame = estimates_frame(tree)
        claims_frame(tree)
        if len(frame):
            probabilities(frame, 0.1)


FILES = ["zarr.json", "trials/zarr.json", "trials/lambda_min/zarr.json", "trials/distribution/c/0"]


@pytest.mark.long
@settings(max_examples=12, suppress_health_check=quiet)
@given(data=st.data())
def test_mutated_stores(sound: Path, folder: Path, client: Any, data: st.DataObject) -> None:
    try_store(sound, folder, client, data.draw(harms(sorted(contents(sound)) + FILES * 5)))


@pytest.mark.slow
@pytest.mark.timeout(3600)
@settings(max_examples=500, suppress_health_check=quiet)
@given(data=st.data())
@example(data=None)
def test_many_mutated_stores(sound: Path, folder: Path, client: Any, data: st.DataObject | None) -> None:
    if data is not None:
        try_store(sound, folder, client, data.draw(harms(sorted(contents(sound)) + FILES * 5)))


@pytest.mark.parametrize("kind", ["file", "folder", "somebody's zarr", "git"])
def test_what_is_not_ours_is_not_touched(tmp_path: Path, client: Any, kind: str) -> None:
    """A store's place that is taken is refused in one line, and nothing there changes."""
    import zarr

    place = tmp_path / "taken"
    if kind == "file":
        place.write_text("mine")
    elif kind == "folder":
        place.mkdir()
        (place / "journal").mkdir()
        (place / "journal" / ".a.partial").write_text("mine")
    elif kind == "git":
        (place / ".git").mkdir(parents=True)
        (place / ".git" / "HEAD").write_text("ref: refs/heads/main")
    else:
        zarr.open_group(place, mode="w", attributes={"title": "mine"}).create_array("a", data=np.arange(3))
    before = contents(tmp_path)
    with pytest.raises(NtkmcError, match="exists and is not an ntkmc store"):
        drive(parse_study(TINY, trusted=True), place, client)
    assert contents(tmp_path) == before
    assert json.dumps(before)
