"""log det, quadratic forms and lambda_max: the truth lies between the bounds."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import gram, kernel_spectrum, spectrum
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.cholesky_bound import allowance
from reference import exact_gram, planted


@settings(max_examples=100)
@given(st.integers(1, 12), st.integers(1, 8), st.integers(0, 2**32 - 1), st.floats(-3, 3))
def test_against_mpmath(n: int, d: int, seed: int, decades: float) -> None:
    rng = np.random.default_rng(seed)
    K = gram(rng.standard_normal((n, d)) * 10.0**decades, "ntk", 3)
    labels = rng.standard_normal((2, n))
    found = spectrum(K, labels)
    M = mp.matrix(K.tolist())
    eigenvalues = mp.eigsy(M, eigvals_only=True)
    assert found.lambda_min.lower <= min(eigenvalues) <= found.lambda_min.upper
    assert found.lambda_max.lower <= max(eigenvalues) <= found.lambda_max.upper
    if found.log_det is None or found.quadratic_forms is None:
        assert min(eigenvalues) <= 4.0 * allowance(np.diagonal(K))
        return
    assert found.log_det.lower <= mp.log(mp.det(M)) <= found.log_det.upper
    for y, form in zip(labels, found.quadratic_forms, strict=True):
        vector = mp.matrix(y.tolist())
        truth = (vector.T * mp.lu_solve(M, vector))[0]
        assert form.lower <= truth <= form.upper
        assert form.upper - form.lower <= 1e-6 * form.value


@settings(max_examples=60)
@given(st.integers(2, 6), st.integers(0, 2**32 - 1), st.floats(-6, 0))
def test_bounds_speak_of_the_exact_kernel(n: int, seed: int, closeness: float) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 4))
    X[1] = X[0] + 10.0**closeness * X[1]
    y = rng.standard_normal(n)
    found = kernel_spectrum(X, "ntk", 3, y)
    M = exact_gram(X, "ntk", 3)[0]
    vector = mp.matrix(y.tolist())
    eigenvalues = mp.eigsy(M, eigvals_only=True)
    assert found.lambda_max.lower <= max(eigenvalues) <= found.lambda_max.upper
    assert found.log_det is not None
    assert found.quadratic_forms is not None
    assert found.log_det.lower <= mp.log(mp.det(M)) <= found.log_det.upper
    assert found.quadratic_forms[0].lower <= (vector.T * mp.lu_solve(M, vector))[0] <= found.quadratic_forms[0].upper


@pytest.mark.parametrize("kind", ["mean", "no mean", "tied"])
def test_lambda_max_of_planted_spectra(kind: str) -> None:
    """With a dominant eigenvalue the enclosure is tight; without one it is |K|_F, and still right."""
    w = np.sort(np.random.default_rng(4).integers(2**26, 2**27, size=256)) * 2.0**-30
    if kind == "mean":
        w[-1] = 1.9375
    elif kind == "tied":
        w[-2:] = w[-1]
    found = spectrum(planted(w)).lambda_max
    assert found.lower <= w[-1] <= found.upper
    if kind == "mean":
        assert found.upper - found.lower < 1e-12


def test_singular_matrices_have_no_determinant() -> None:
    found = spectrum(np.ones((4, 4)), np.ones(4))
    assert found.log_det is None
    assert found.quadratic_forms is None
    assert found.lambda_max.lower <= 4.0 <= found.lambda_max.upper
    zero = spectrum(np.zeros((3, 3)))
    assert zero.lambda_max.lower <= 0.0 <= zero.lambda_max.upper


def test_inputs() -> None:
    K = np.eye(3)
    for labels, said in (
        (np.ones(4), "length 3"),
        ([1.0, np.nan, 0.0], "finite"),
        (["a", "b", "c"], "real"),
        (np.ones((2, 2, 3)), "length 3"),
    ):
        with pytest.raises(InputError, match=said):
            spectrum(K, labels)
    with pytest.raises(InputError, match="rescale"):
        spectrum(1e70 * K)
    with pytest.raises(InputError, match="rescale"):
        kernel_spectrum(1e60 * K)
    with pytest.raises(InputError, match="length 3"):
        kernel_spectrum(K, labels=np.ones(2))
    before = K.copy()
    spectrum(K, np.ones(3))
    assert np.array_equal(K, before)


def test_labels_of_any_size() -> None:
    """Squares of labels under- and overflow, the enclosure does not: against rational arithmetic."""
    from fractions import Fraction

    K = np.array([[1.0, 1.0], [1.0, 1.0 + 2.0**-40]]) * 2.0**-190
    k = [[Fraction(float(entry)) for entry in row] for row in K]
    for exponent in (-700, -530, -500, 0, 300):
        y = np.array([1.0, -1.0]) * 2.0**exponent
        (form,) = spectrum(K, y).quadratic_forms or ()
        a, b = (Fraction(float(entry)) for entry in y)
        truth = (k[1][1] * a * a - 2 * k[0][1] * a * b + k[0][0] * b * b) / (k[0][0] * k[1][1] - k[0][1] ** 2)
        assert Fraction(form.lower) <= truth <= Fraction(form.upper)
    (zero,) = spectrum(np.eye(2), [0.0, 0.0]).quadratic_forms or ()
    assert (zero.lower, zero.value, zero.upper) == (0.0, 0.0, 0.0)
    with pytest.raises(InputError, match="overflow"):
        spectrum(np.eye(2), [1e200, 1e200])
