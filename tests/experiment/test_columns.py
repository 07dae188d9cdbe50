"""Results do not depend on how much of a cell is cached, or of a journal is folded at a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import SMALL
from ntkmc.execution.driver import drive
from ntkmc.experiment.analysis import verdicts
from ntkmc.experiment.analysis.update import Derived
from ntkmc.experiment.store import store as storing
from ntkmc.experiment.store import trial_group
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.store import Store
from ntkmc.experiment.store.trial_group import CellTrials
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.model import Study
from stores import assert_equal_bits, trials_of


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, client: Any) -> Path:
    path = tmp_path_factory.mktemp("columns") / "s"
    assert not drive(parse_study(SMALL, trusted=True), path, client).failed
    return path


@pytest.mark.long
def test_verdicts_piece_by_piece(path: Path, small_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable at a time, and seven trials at a time: the same counts, and bounds to the last digits."""
    store = Store(Location.of(path), small_study, writing=False)
    whole, pieces = Derived(store), Derived(store)
    whole.refresh(small_study.cells)
    monkeypatch.setattr(trial_group, "HELD", 1)
    monkeypatch.setattr(verdicts, "_AT_ONCE", 7)
    pieces.refresh(small_study.cells)
    assert (whole.claims["violations"] > 0).any()
    for group in ("estimates", "claims"):
        for name, expected in getattr(whole, group).items():
            found = getattr(pieces, group)[name]
            if expected.dtype.kind == "f":
                np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-14, err_msg=name)
            else:
                np.testing.assert_array_equal(found, expected, err_msg=name)


@pytest.mark.long
def test_the_variables_used_last_are_cached(path: Path, small_study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(Location.of(path), small_study, writing=False)
    trials = CellTrials(store.trials, store.index(small_study.cells[0]))
    read, reads = store.trials.read, list[str]()

    def counting(place: Any, span: range, names: Any = None) -> Any:
        reads.extend(names)
        return read(place, span, names)

    monkeypatch.setattr(store.trials, "read", counting)
    first = trials["lambda_min"]
    assert np.array_equal(trials["lambda_min"], first)
    trials["norm_min"]
    assert reads == ["lambda_min", "norm_min"]
    monkeypatch.setattr(trial_group, "HELD", first.nbytes)
    trials["gershgorin"]
    assert np.array_equal(trials["lambda_min"], first)
    assert reads == ["lambda_min", "norm_min", "gershgorin", "lambda_min"]
    assert set(trials) == set(store.variables)
    with pytest.raises(KeyError):
        trials["nonsense"]


@pytest.mark.long
def test_folding_block_by_block(
    path: Path, tmp_path: Path, client: Any, small_study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storing, "_BYTES_AT_ONCE", 1)
    assert not drive(small_study, tmp_path / "s", client, block_length=9).failed
    assert_equal_bits(trials_of(path), trials_of(tmp_path / "s"))
