"""The certificate on spectra that are known exactly, as hard as they come."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import Status, smallest_eigenvalue
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.rayleigh import Quotient, scaled_by_power_of_two
from ntkmc.linalg.eigen.smallest import METHODS
from ntkmc.linalg.eigen.temple_kato import temple_kato, temple_kato_enclosure
from reference import planted

UNIT = 2.0**-30
"""Spectra of multiples of this, below 2, are planted without rounding."""

SPECTRA = (
    "uniform",
    "cluster",
    "few values",
    "low rank",
    "zero",
    "negative",
    "tiny",
    "geometric",
    "all equal",
    "next but one unit",
    "tied and next",
)


def spectrum(kind: str, n: int, rng: np.random.Generator) -> np.ndarray:
    """n eigenvalues in units of `UNIT`."""
    w = rng.integers(1, 2**31, size=n)
    some = int(rng.integers(1, n + 1))
    if kind == "cluster":
        w[:some] = w.min() + rng.integers(0, 20)
    elif kind == "few values":
        w = rng.choice(rng.integers(1, 2**31, size=rng.integers(1, 6)), size=n)
    elif kind == "low rank":
        w[: n // 2] = 0
    elif kind == "zero":
        w[0] = 0
    elif kind == "negative":
        w[:some] = -rng.integers(1, 2 ** int(rng.integers(1, 31)))
    elif kind == "tiny":
        w[:some] = rng.integers(1, 64)
    elif kind == "geometric":
        w = np.floor(2.0 ** rng.uniform(0, 31, size=n)).astype(np.int64)
    elif kind == "all equal":
        w[:] = w[0]
    elif kind == "next but one unit":
        w[0] = w.min() - 1
    elif kind == "tied and next":
        w[:2] = w.min() - 1, w.min()
    return w


ANY_SPECTRUM = given(st.sampled_from(SPECTRA), st.integers(1, 7), st.integers(0, 2**32 - 1), st.sampled_from(METHODS))


@pytest.mark.long
@settings(max_examples=800)
@ANY_SPECTRUM
def test_eight_hundred_spectra(kind: str, power: int, seed: int, method: str) -> None:
    assert_enclosed(kind, power, seed, method)


@pytest.mark.slow
@settings(max_examples=10_000)
@ANY_SPECTRUM
def test_ten_thousand_spectra(kind: str, power: int, seed: int, method: str) -> None:
    assert_enclosed(kind, power, seed, method)


def assert_enclosed(kind: str, power: int, seed: int, method: str) -> None:
    """The truth is enclosed, and the width is what the status promises."""
    w = spectrum(kind, 2**power, np.random.default_rng(seed)) * UNIT
    A = planted(w)
    answer = smallest_eigenvalue(A, method=method)
    truth = float(w.min())
    assert answer.lower <= truth <= answer.upper
    assert answer.lower <= answer.value <= answer.upper
    assert all(np.isfinite([answer.value, answer.lower, answer.upper, answer.residual]))
    width = answer.upper - answer.lower
    c = allowance(np.diagonal(A) - truth)
    assert answer.status is not Status.UNRESOLVED
    assert width <= max(1e-9 * abs(answer.value), 4.0 * c * (1.0 + 1e-6))
    if truth < -4.0 * c:
        assert answer.status is Status.NOT_PSD
    elif answer.status is Status.CERTIFIED:
        assert width <= 1e-9 * answer.value
    elif truth > 4.0 * c:
        assert answer.status in (Status.CLUSTERED, Status.WIDE)


def test_gap_above_rounding_is_used() -> None:
    """lambda_2 - lambda_1 is 1e-9 and c is 1e-11: plain shifts would leave 1e-10, deflation less than 1e-11."""
    rng = np.random.default_rng(0)
    w = np.sort(rng.integers(2**28, 2**31, size=512))
    w[0] = w[1] - 1
    answer = smallest_eigenvalue(planted(w * UNIT))
    assert answer.status is Status.CERTIFIED
    assert answer.relative_width < 1e-11


@pytest.mark.parametrize("gap", [2.0**-44, 2.0**-47, 2.0**-52])
def test_planted_closer_than_rounding(gap: float) -> None:
    """A smallest eigenvalue 5e-14 ... 2e-16 below the next, exactly: 2 x 2 blocks, permuted."""
    n = 64
    blocks = np.zeros((2 * n, 2 * n))
    low = 0.25
    for i in range(n):
        # [[a, b], [b, a]] has eigenvalues a - b and a + b, exactly
        lower = low if i else low - gap
        blocks[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[1.0, 1.0 - lower], [1.0 - lower, 1.0]]
    order = np.random.default_rng(1).permutation(2 * n)
    A = blocks[np.ix_(order, order)]
    for method in METHODS:
        answer = smallest_eigenvalue(A, method=method)
        assert answer.lower <= low - gap <= answer.upper
        assert answer.upper - answer.lower <= 4.0 * allowance(np.diagonal(A) - low)


@given(
    st.fractions(Fraction(-2), Fraction(2)),
    st.fractions(Fraction(1, 10**6), Fraction(3)),
    st.fractions(Fraction(0), Fraction(1)),
)
def test_temple_kato_against_a_two_by_two_matrix(low: Fraction, gap: Fraction, share: Fraction) -> None:
    """diag(low, low + gap), v = (sqrt(1 - s), sqrt(s)): quotient and residual are rational up to one square root."""
    share = share / 4
    theta = low + share * gap
    residual_square = share * (1 - share) * gap * gap
    residual = float(residual_square) ** 0.5
    quotient = Quotient(float(theta), abs(float(theta)) * 2.0**-52, residual, residual * 2.0**-50 + 2.0**-1000)
    lower = temple_kato(quotient, float(np.nextafter(float(low + gap), -np.inf)))
    assert np.isnan(lower) or Fraction(lower) <= low
    if share < Fraction(1, 8):
        assert not np.isnan(lower)


def test_temple_kato_needs_room() -> None:
    assert np.isnan(temple_kato(Quotient(1.0, 0.0, 0.1, 0.0), 1.0))
    assert np.isnan(temple_kato(Quotient(1.0, 0.0, 0.1, 0.0), -np.inf))


@pytest.mark.parametrize("gap", [0.0, np.nan, np.inf, -1.0, 1e-30, 1e30, 8.0])
@pytest.mark.parametrize("vector", ["good", "next", "zero", "nan"])
def test_nothing_false_is_proved_from_wrong_hints(gap: float, vector: str) -> None:
    rng = np.random.default_rng(3)
    w = np.sort(rng.integers(2**26, 2**31, size=64)) * UNIT
    A = planted(w)
    vectors = np.linalg.eigh(A)[1]
    v = {"good": vectors[:, 0], "next": vectors[:, 1], "zero": np.zeros(64), "nan": np.full(64, np.nan)}[vector]
    quotient, lower, _, _ = temple_kato_enclosure(
        A, np.empty_like(A), np.diagonal(A).copy(), np.ascontiguousarray(v), gap, float(np.abs(A).max())
    )
    assert quotient.upper >= w[0]
    assert np.isnan(lower) or lower <= w[0]
    if vector == "good" and gap == 8.0:
        # Too large a gap puts beta above lambda_2: the factorization must break down, and nothing is claimed.
        assert np.isnan(lower)


def test_the_factor_may_take_the_place_of_the_matrix() -> None:
    from ntkmc.linalg.eigen.smallest import enclose
    from ntkmc.linalg.eigen.symmetric import in_place

    rng = np.random.default_rng(5)
    for kind in SPECTRA:
        A = planted(spectrum(kind, 64, rng) * UNIT)
        apart = smallest_eigenvalue(A)
        shared = A.copy()
        together = enclose(in_place(shared))
        assert together.status is apart.status
        assert (together.lower, together.upper) == (apart.lower, apart.upper)
        assert np.array_equal(np.tril(shared, -1), np.tril(A, -1))


@pytest.mark.parametrize("method", METHODS)
def test_start_and_order_stay_inside(method: str, clustered_and_not: list[Any]) -> None:
    for A in clustered_and_not:
        answer = smallest_eigenvalue(A, method=method)
        n = len(A)
        order = np.random.default_rng(2).permutation(n)
        others = [
            smallest_eigenvalue(A, method=method, start=answer.vector),
            smallest_eigenvalue(A, method=method, start=np.arange(n) + 1.0),
            smallest_eigenvalue(A[np.ix_(order, order)], method=method),
        ]
        for other in others:
            assert other.lower <= answer.upper
            assert answer.lower <= other.upper


@pytest.fixture
def clustered_and_not() -> list[Any]:
    rng = np.random.default_rng(7)
    return [planted(spectrum(kind, 128, rng) * UNIT) for kind in ("uniform", "cluster", "tiny", "low rank")]


def test_threads_stay_inside() -> None:
    from threadpoolctl import threadpool_limits

    A = planted(spectrum("uniform", 512, np.random.default_rng(8)) * UNIT)
    answers = []
    for threads in (1, 2):
        with threadpool_limits(threads):
            answers.append(smallest_eigenvalue(A))
    assert answers[0].lower <= answers[1].upper
    assert answers[1].lower <= answers[0].upper
    assert all(answer.status is Status.CERTIFIED for answer in answers)


def test_room_is_lent_once_and_kept_within_bounds() -> None:
    from ntkmc.linalg.eigen.symmetric import KEPT, scratch_buffer

    with scratch_buffer(100) as one, scratch_buffer(100) as other:
        assert not np.shares_memory(one, other)
    with scratch_buffer(100) as again:
        assert np.shares_memory(again, one) or np.shares_memory(again, other)
    with scratch_buffer(KEPT // 8 + 1) as large:
        pass
    with scratch_buffer(100) as small:
        assert not np.shares_memory(small, large)


@pytest.mark.parametrize("size", [1e-299, 3e-20, 1.0, 7e80, 9e299])
def test_vectors_are_scaled_by_a_power_of_two(size: float) -> None:
    v = size * np.array([0.3, -1.0, 1e-9])
    scaled = scaled_by_power_of_two(v)
    assert 0.5 <= np.abs(scaled).max() < 1.0
    assert np.frexp(scaled[1] / v[1])[0] == 0.5
    assert np.array_equal(scaled / (scaled[1] / v[1]), v)
    for useless in (np.zeros(3), np.array([1.0, np.nan, 1.0]), np.array([np.inf, 1.0, 1.0])):
        assert scaled_by_power_of_two(useless).tolist() == [1.0] * 3
