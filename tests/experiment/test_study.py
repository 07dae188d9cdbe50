"""A study file is read, or refused in one line that says what would be right."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ntkmc import load_study
from ntkmc.errors import InputError
from ntkmc.experiment.study.cells import evaluate_size
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.model import find_cell

CONTRACT = """
name: first-light
seed: 2025
kernel: ntk
grid:
  distribution: [sphere, gaussian, rademacher, {student-t: {df: 3}}]
  d: [32, 128]
  n: [16, 64, "d/2", "d^0.7"]
  depth: [2, 3, 5]
  normalize: mean
trials: 500
event: {lambda-0: [0.2, 0.4, 0.8, 1.6], delta: 0.05}
nested: false
claims: all
confidence: 0.95
"""


def test_the_contract_example(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(CONTRACT)
    study = load_study(path)
    sizes = {(cell.d, cell.n) for cell in study.cells}
    assert sizes == {(32, 16), (32, 64), (32, 11), (128, 16), (128, 64), (128, 30)}
    assert len(study.cells) == 24  # "d/2" at 32 is the 16 that stands there already
    assert len(study.trial_range) == 500
    assert study.cells[0].depths == (2, 3, 5)


def test_round_trip() -> None:
    study = parse_study(yaml.safe_load(CONTRACT), trusted=True)
    again = parse_study(study.document(), trusted=True)
    assert again == study
    assert again.digest() == study.digest()


def test_frozen(small_study: Any) -> None:
    with pytest.raises(ValueError, match="frozen"):
        small_study.seed = 1


def test_defaults() -> None:
    data = yaml.safe_load(CONTRACT) | {"kernel": "h-infinity", "grid": {"distribution": "sphere", "d": 3, "n": 4}}
    study = parse_study(data, trusted=True)
    assert (study.normalize, study.cells[0].depths) == ("unit", (2,))


def test_union_of_grids() -> None:
    grids = [
        {"distribution": "sphere", "d": 3, "n": 4, "depth": 2},
        {"distribution": "sphere", "d": 3, "n": [4, 5], "depth": 3},
    ]
    study = parse_study(yaml.safe_load(CONTRACT) | {"grid": grids}, trusted=True)
    assert [(cell.n, cell.depths) for cell in study.cells] == [(4, (2, 3)), (5, (3,))]


def test_trial_forms() -> None:
    base = yaml.safe_load(CONTRACT)
    shifted = parse_study(base | {"trials": {"from": 500, "count": 20}}, trusted=True)
    assert (shifted.trial_range, shifted.adaptive) == (range(500, 520), False)
    adaptive = parse_study(base | {"trials": {"at-least": 20, "at-most": 100, "half-width": 0.1}}, trusted=True)
    assert adaptive.adaptive
    assert adaptive.looks == (20, 30, 45, 68, 100)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sed": 3}, "sed: unknown key, did you mean 'seed'?"),
        ({"grid.depht": [2]}, "grid.depht: unknown key, did you mean 'depth'?"),
        ({"grid.n": [16, 0]}, r"grid.n\[1\]: should be greater than or equal to 1, got 0"),
        ({"grid.n": 0}, r"grid.n\[0\]: should be greater"),
        ({"grid.n": "d^"}, r"grid.n: n = 'd\^' at d = 32 is not a number from 1"),
        ({"grid.n": "__import__('os')"}, "not a number from 1"),
        ({"grid.n": []}, "at least 1 item"),
        ({"grid.depth": 0}, r"grid.depth\[0\]: should be greater"),
        ({"grid.d": ["x"]}, r"grid.d\[0\]: should be a valid integer"),
        ({"grid.distribution": "spere"}, "unknown distribution 'spere': did you mean 'sphere'"),
        ({"grid.distribution": {"student-t": {"df": -1}}}, "df must be a positive number, got -1"),
        ({"grid.distribution": {"student-t": {"df": 2}}}, "no second moment"),
        ({"kernel": "h-infinity"}, "depth must be 2, got 3"),
        ({"kernel": "relu"}, "kernel: should be 'h-infinity', 'ntk' or 'conjugate', got 'relu'"),
        ({"trials": 0}, "trials: must be at least 1, got 0"),
        ({"trials": {"at-least": 9, "at-most": 3, "half-width": 0.1}}, "must not exceed"),
        ({"widths": 0}, r"widths\[0\]: should be greater than or equal to 1, got 0"),
        ({"widths": []}, "widths: .*at least 1 item"),
        ({"widths": [64, "wide"]}, r"widths\[1\]: should be a valid integer"),
        ({"widths": [64, 2**32]}, r"widths\[1\]: should be less than or equal to 4294967295"),
        ({"widths": [True]}, r"widths\[0\]: must be a number, got true"),
        ({"widths": 64, "kernel": "conjugate"}, "widths: kernel conjugate is no network's tangent kernel"),
        ({"widths": 64, "grid.depth": [1, 2]}, "widths: a network of depth 1 has no hidden layer"),
        ({"trials": {"from": 3}}, "trials.count: this key is missing"),
        ({"event": {"lambda-0": [-1]}}, r"event.lambda-0\[0\]: should be greater than 0"),
        ({"event": {"lambda-0": 1, "delta": 2}}, "event.delta: should be less than 1"),
        ({"claims": ["det-none"]}, "unknown claim 'det-none'"),
        ({"name": "../evil"}, "name: String should match pattern"),
        ({"name": "a/b"}, "name: "),
        ({"grid.depth": 4_000_000_000}, "less than or equal to 1000"),
        ({"grid.n": "d^300"}, "not a number from 1"),
        ({"trials": {"from": 50_000_000, "count": 10}}, "trials are numbered up to"),
        ({"grid.distribution": {"student-t": 3}}, "parameters are written"),
        ({"grid.distribution": {"dataset": {"path": ["a.npy"]}}}, "path must be a file name"),
        ({"grid.distribution": {"dataset": {"path": "~nouser/x.npy"}}}, "not a usable path"),
        ({"grid.distribution": {"dataset": {"path": "x" * 5000}}}, "dataset"),
        ({"confidence": 0.9999999999999999}, "confidence: should be less than"),
        ({"seed": True}, "seed: must be a number, got true"),
        ({"grid": 5}, "grid: should be a mapping, got 5"),
        ({"nested": 3}, "nested: should be a valid boolean"),
    ],
)
def test_refusals(change: dict[str, Any], said: str) -> None:
    data = copy.deepcopy(yaml.safe_load(CONTRACT))
    for path, value in change.items():
        *parents, last = path.split(".")
        home = data
        for key in parents:
            home = home[key]
        home[last] = value
    with pytest.raises(InputError, match=said) as caught:
        parse_study(data, "study.yaml", trusted=True)
    text = str(caught.value)
    assert text.startswith("study.yaml: ")
    assert len(text) < 500
    assert "\n" not in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: [", "line 1, column 8: not YAML"),
        ("a: 1\na: 2", "key 'a' stands twice"),
        ("a: &x [1]\nb: *x", "aliases"),
        ("- 1", "a study is a mapping with the keys name, seed"),
        ("", "a study is a mapping"),
        ("!!python/object/apply:os.system ['true']", "not YAML"),
        ("\x00", "not YAML"),
    ],
)
def test_not_a_study(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=said) as caught:
        load_study(path)
    assert "\n" not in str(caught.value)


def test_unreadable(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_study(tmp_path / "none.yaml")
    with pytest.raises(InputError, match="cannot be read"):
        load_study(tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(InputError, match="UTF-8"):
        load_study(tmp_path / "binary.yaml")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.floats(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(
        [
            "name",
            "seed",
            "kernel",
            "grid",
            "trials",
            "event",
            "nested",
            "claims",
            "confidence",
            "grid.n",
            "grid.d",
            "grid.depth",
            "grid.distribution",
            "event.lambda-0",
        ]
    ),
)
def test_any_value_anywhere_is_read_or_refused(value: Any, path: str) -> None:
    data = copy.deepcopy(yaml.safe_load(CONTRACT))
    *parents, last = path.split(".")
    home = data
    for key in parents:
        home = home[key]
    home[last] = value
    try:
        parse_study(data, trusted=True)
    except InputError as error:
        said = str(error)
    else:
        said = ""
    assert "\n" not in said


@pytest.mark.parametrize(
    ("text", "d", "n"),
    [("d", 7, 7), ("d/2", 33, 17), ("d^0.7", 128, 30), ("2*d+1", 4, 9), ("sqrt(d)*log(d)", 100, 46), ("-1+d", 3, 2)],
)
def test_sizes(text: str, d: int, n: int) -> None:
    assert evaluate_size(text, d) == n


@pytest.mark.parametrize(
    "text", ["", "0", "d-d", "1/0", "e", "d.real", "lambda: 1", "9^9^9^9", "log(-d)", "f(d)", "d d"]
)
def test_bad_sizes(text: str) -> None:
    with pytest.raises(InputError, match="not a number from 1"):
        evaluate_size(text, 5)


def test_dataset_in_a_study(tmp_path: Path) -> None:
    import numpy as np

    rows = np.random.default_rng(0).standard_normal((20, 3))
    np.save(tmp_path / "rows.npy", rows)
    data = yaml.safe_load(CONTRACT) | {
        "grid": {"distribution": {"dataset": {"path": "rows.npy"}}, "d": 3, "n": 10, "normalize": "unit"}
    }
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(data))
    study = load_study(tmp_path / "study.yaml")
    assert parse_study(study.document(), trusted=True).digest() == study.digest()
    for change, said in (({"n": 21}, "has 20 rows: n must be at most 20"), ({"d": 4}, "has 3 columns: d must be 3")):
        with pytest.raises(InputError, match=said):
            parse_study(data | {"grid": data["grid"] | change}, base=tmp_path, trusted=True)
    rows[4] = 0.0
    np.save(tmp_path / "zero.npy", rows)
    with pytest.raises(InputError, match="row 4 is zero"):
        parse_study(
            data | {"grid": data["grid"] | {"distribution": {"dataset": {"path": "zero.npy"}}}},
            base=tmp_path,
            trusted=True,
        )


def test_find_cell(small_study: Any) -> None:
    assert find_cell(small_study.cells, "student-t(df=3), d=5, n=4").n == 4
    with pytest.raises(InputError, match="cells are called like 'sphere,d=5,n=4'"):
        find_cell(small_study.cells, "sphere")


def test_a_misspelt_key_of_a_section_is_met_with_the_nearest() -> None:
    """Every section of a study names its own keys, `train` included."""
    grid = {"distribution": "sphere", "d": 3, "n": 4, "depth": 2}
    study = {"name": "a", "seed": 1, "kernel": "h-infinity", "grid": grid, "trials": 3}
    for section, key, near in [
        ("train", "widhts", "widths"),
        ("event", "dleta", "delta"),
        ("grid", "dpeth", "depth"),
    ]:
        content = {**(grid if section == "grid" else {}), key: 1}
        with pytest.raises(InputError, match=f"unknown key, did you mean '{near}'"):
            parse_study({**study, section: content}, trusted=True)
