"""The event alone: decided by proof, with little more than one factorization."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import event_holds
from ntkmc.errors import InputError
from ntkmc.linalg.eigen import event
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.event import bracket, decide
from ntkmc.linalg.eigen.symmetric import as_symmetric, in_place, workspace
from reference import planted

UNIT = 2.0**-30


@settings(max_examples=500)
@given(st.integers(0, 7), st.integers(0, 2**32 - 1), st.integers(-(2**32), 2**32), st.booleans())
def test_never_wrong(power: int, seed: int, step: int, near: bool) -> None:
    rng = np.random.default_rng(seed)
    w = rng.integers(-(2**20) if seed % 2 else 1, 2**31, size=2**power) * UNIT
    A = planted(w)
    threshold = float(w.min()) + step * (2.0**-60 if near else UNIT)
    holds = event_holds(A, threshold)
    if holds is not None:
        assert holds == (w.min() >= threshold)
    elif not near:
        assert abs(threshold - w.min()) <= 4.0 * allowance(np.diagonal(A) - threshold)


def test_one_factorization_decides_away_from_the_threshold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event, "enclose", None)  # would raise if it were called
    w = np.sort(np.random.default_rng(0).integers(2**20, 2**31, size=256)) * UNIT
    A = planted(w)
    for threshold in (-1.0, 0.0, 0.5 * w[0], w[0] - 1e-9, w[0] + 1e-6, w[1], 0.5, 1.0, 3.0):
        assert event_holds(A, threshold) is bool(w[0] >= threshold)


def test_input_is_not_changed_and_bad_input_is_refused() -> None:
    A = planted(np.array([0.5, 1.0, 1.5, 1.75]))
    before = A.copy()
    assert event_holds(A, 0.25) is True
    assert event_holds(A, 0.75) is False
    assert np.array_equal(A, before)
    for threshold in (np.nan, np.inf):
        with pytest.raises(InputError, match="finite"):
            event_holds(A, threshold)
    with pytest.raises(InputError, match="symmetric"):
        event_holds([[1.0, 2.0], [3.0, 4.0]], 0.0)


@pytest.mark.parametrize("exponent", [-600, 0, 600])
def test_any_scale(exponent: int) -> None:
    A = np.ldexp(planted(np.array([0.5, 1.0, 1.5, 1.75])), exponent)
    assert event_holds(A, np.ldexp(0.25, exponent)) is True
    assert event_holds(A, np.ldexp(0.75, exponent)) is False
    assert event_holds(A, 1e-300) is True
    assert event_holds(A, -1e-300) is True


@settings(max_examples=300)
@given(st.integers(0, 6), st.integers(0, 2**32 - 1), st.integers(1, 6), st.sampled_from([0.0, 1e-13, 1e-6]))
def test_bracket_decides_every_threshold(power: int, seed: int, count: int, error: float) -> None:
    """Every threshold that is not within rounding of lambda_min lies on the proved side of the bracket."""
    rng = np.random.default_rng(seed)
    w = rng.integers(2**22, 2**31, size=2**power) * UNIT
    A = planted(w)
    thresholds = np.sort(rng.uniform(1e-3, 1.5 * w.min() + 1e-2, size=count))
    found = bracket(in_place(A.copy()), thresholds.tolist(), error)
    assert found.lower <= w.min() <= found.upper
    assert np.isnan(found.value)
    for threshold in thresholds:
        if abs(threshold - w.min()) > 2.0 * error + 4.0 * allowance(np.diagonal(A)):
            assert (found.lower >= threshold) if w.min() >= threshold else (found.upper < threshold)


def test_a_threshold_that_is_the_eigenvalue() -> None:
    """The enclosure is one number, and equal to the threshold: the event holds."""
    assert event_holds(np.zeros((3, 3)), 0.0) is True
    assert event_holds([[0.5]], 0.5) is True
    assert event_holds([[0.5]], np.nextafter(0.5, 1.0)) is False


def test_a_threshold_within_rounding_is_enclosed_in_full() -> None:
    w = np.array([0.5, 1.0, 1.5, 1.75])
    found = bracket(in_place(planted(w)), [0.5], 0.0)
    assert 0.5 - 1e-12 <= found.lower <= 0.5 <= found.upper <= 0.5 + 1e-12
    with workspace(*as_symmetric(planted(w))) as matrix:
        assert decide(matrix, 0.5)[0] is None


def test_thresholds_that_float64_does_not_hold() -> None:
    assert event_holds([[2.0**53]], 2**53 + 1) is not True
    assert event_holds([[2.0**53, 0.0], [0.0, 2.0**54]], 2**53 - 1000) is True
    if np.longdouble(1) + np.longdouble(2) ** -60 != 1:
        above: Any = np.longdouble(1) + np.longdouble(2) ** -60
        assert event_holds([[1.0]], above) is not True
    for bad in ("a", None, 10**400, [1.0, 2.0]):
        with pytest.raises(InputError, match="lambda_0"):
            event_holds([[1.0]], bad)  # type: ignore[arg-type]


def test_error_is_honoured() -> None:
    """lambda_min = 0.5 of the matrix in hand; that of one within 0.01 may be below 0.495 or above 0.505."""
    A = planted(np.array([0.5, 1.0, 1.5, 1.75]))
    for threshold in (0.495, 0.505):
        found = bracket(in_place(A.copy()), [threshold], 0.01)
        assert found.lower < threshold <= found.upper
    assert bracket(in_place(A.copy()), [0.48], 0.01).lower == 0.48
    assert bracket(in_place(A.copy()), [0.52], 0.01).upper < 0.52
