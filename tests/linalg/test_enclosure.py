"""The two halves of the certificate, each against exact arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ntkmc.linalg.eigen.cholesky_bound import allowance, factor_shifted, gershgorin, pair_bound
from ntkmc.linalg.eigen.rayleigh import rayleigh_quotient
from reference import planted


@given(st.integers(1, 8), st.integers(0, 2**32 - 1), st.floats(-8, 8))
@example(7, 592, 0.0)  # v / max |v|, which rounds, has another quotient
def test_quotient_error_is_a_bound(n: int, seed: int, decades: float) -> None:
    """Against rational arithmetic, with cancellation by many decades."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((n, n)) * 10.0**decades
    A = A + A.T
    v = rng.standard_normal(n)
    found = rayleigh_quotient(A, np.diagonal(A).copy(), v, float(np.abs(A).max()))
    exact_v = [Fraction(float(x)) for x in v]
    terms = [exact_v[i] * Fraction(float(A[i, j])) * exact_v[j] for i in range(n) for j in range(n)]
    exact = sum(terms, Fraction(0)) / sum((x * x for x in exact_v), Fraction(0))
    assert abs(Fraction(found.value) - exact) <= Fraction(found.error)
    assert Fraction(found.upper) >= exact


def proves_lower(A: np.ndarray, shift: float) -> float | None:
    info, c = factor_shifted(A, np.empty_like(A), np.diagonal(A).copy(), shift)
    return float(np.nextafter(shift - c, -np.inf)) if info == 0 else None


@pytest.mark.parametrize("n", [16, 128, 512])
def test_cholesky_never_proves_too_much(n: int) -> None:
    """Shifts across the true lambda_min: whatever is proved is true, and shifts below by 2 c are always proved."""
    w = np.sort(np.random.default_rng(n).integers(2**26, 2**31, size=n)) * 2.0**-30
    A = planted(w)
    c = allowance(np.diagonal(A) - w[0])
    for steps in (-100.0, -2.0, -1.0, -0.5, -0.1, 0.0, 0.1, 1.0, 100.0):
        lower = proves_lower(A, w[0] + steps * c)
        if lower is not None:
            assert lower <= w[0]
        if steps <= -1.0:
            assert lower is not None
    assert proves_lower(A, w[0] + 1e-3) is None


def test_allowance_formula() -> None:
    b = np.array([1.0, 2.0, 3.0])
    assert allowance(b) == pytest.approx((4 * 1 + 5 * 2 + 6 * 3) * 2.0**-53, rel=1e-8)
    assert allowance(b) >= (4 * 1 + 5 * 2 + 6 * 3) * 2.0**-53
    assert allowance(-b) > 0.0


def test_crude_bounds() -> None:
    A = np.array([[2.0, -1.0, 0.5], [-1.0, 3.0, 0.0], [0.5, 0.0, 1.0]])
    assert gershgorin(A) == 0.5
    smallest = min(np.linalg.eigvalsh(A[np.ix_(p, p)])[0] for p in ([0, 1], [0, 2], [1, 2]))
    assert pair_bound(A) == pytest.approx(smallest, rel=1e-15)
    assert pair_bound(np.array([[7.0]])) == 7.0
    assert pair_bound(np.array([[1e200, 1e199], [1e199, 1e200]])) == pytest.approx(9e199)
