"""K^(L) and H-infinity against the library neural-tangents: `data/reference/neural-tangents.json`.

In its parameterization "ntk", without biases, the kernel of L dense layers with ReLU in between is
(1 / d) prod(W_std**2) / 2**(L - 1) K^(L); that of one dense layer with a ReLU after it is W_std**2 / d H-infinity.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ntkmc import gram
from ntkmc.numeric import Matrix

TABLE = json.loads((Path(__file__).parents[2] / "data" / "reference" / "neural-tangents.json").read_text())
DATA: dict[str, Matrix] = {name: np.array(rows) for name, rows in TABLE["data"].items()}
DEEP = [entry for entry in TABLE["kernels"] if not entry["relu last"]]
TWO_LAYER = [entry for entry in TABLE["kernels"] if entry["relu last"]]


def name(entry: dict[str, Any]) -> str:
    return f"{entry['architecture']}; {entry['data']}"


def sines(X: Matrix) -> Matrix:
    """sin of the angle between each two rows, by Kahan's formula."""
    unit = X / np.linalg.norm(X, axis=1)[:, None]
    difference = np.linalg.norm(unit[:, None] - unit, axis=2)
    total = np.linalg.norm(unit[:, None] + unit, axis=2)
    return np.asarray(np.sin(2.0 * np.arctan2(difference, total)))


def tolerance(X: Matrix) -> Matrix:
    """Of an entry, relative to the size of the kernel at these two norms.

    neural-tangents takes the angle from sqrt(q q' - nngp**2), which cancels: an error of a few u in nngp is one of a
    few u / sin(theta) in theta, and of sqrt(a few u), about 2e-8, where rows are parallel or opposite. So does the
    diagonal in general (3e-9 for Gaussian rows), but not on these data: there q and nngp, although summed
    differently, are the same float64. The largest differences are 2.2e-16 / sin(theta) between rows at an angle,
    1.4e-8 between opposite or parallel ones, and 5.5e-16 on the diagonal.
    """
    allowed = 5e-15 / np.maximum(sines(X), 2e-7)
    np.fill_diagonal(allowed, 5e-15)
    return np.asarray(allowed)


def check(X: Matrix, K: Matrix, factor: float, diagonal: float, theirs: Matrix) -> None:
    norms = np.linalg.norm(X, axis=1)
    size = factor * diagonal * np.outer(norms, norms)
    assert theirs.shape == K.shape
    assert np.all(np.abs(factor * K - theirs) <= tolerance(X) * size)


@pytest.mark.parametrize("entry", DEEP, ids=name)
def test_deep_kernel(entry: dict[str, Any]) -> None:
    X, stds = DATA[entry["data"]], entry["W_std"]
    depth = len(stds)
    factor = math.prod(std**2 for std in stds) / 2 ** (depth - 1) / X.shape[1]
    check(X, gram(X, "ntk", depth), factor, depth, np.array(entry["ntk"]))


@pytest.mark.parametrize("entry", TWO_LAYER, ids=name)
def test_h_infinity(entry: dict[str, Any]) -> None:
    """Rows of other norms than 1 too: both read H-infinity as x_i' x_j kappa_0 / 2 there."""
    X = DATA[entry["data"]]
    (std,) = entry["W_std"]
    check(X, gram(X, "h-infinity"), std**2 / X.shape[1], 0.5, np.array(entry["ntk"]))


def test_table_is_complete() -> None:
    """Every architecture on all data; among the data unit rows, a pair at angle 1e-3, and opposite rows."""
    assert {len(entry["W_std"]) for entry in DEEP} == {2, 3, 4, 5}
    assert any(len(set(entry["W_std"])) > 1 for entry in DEEP)
    for architecture in {entry["architecture"] for entry in TABLE["kernels"]}:
        assert {e["data"] for e in TABLE["kernels"] if e["architecture"] == architecture} == set(DATA)
    assert any(np.allclose(np.linalg.norm(X, axis=1), 1.0, rtol=1e-15) for X in DATA.values())
    assert any(np.any(np.abs(sines(X) - 1e-3) < 1e-6) for X in DATA.values())
    assert any(np.any((X[:, None] == -X).all(axis=2)) for X in DATA.values())
