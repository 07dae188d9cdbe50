"""Predicted residuals against full eigendecompositions, and against gradient descent itself."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import InputError, gram, predict_training
from ntkmc.linalg.eigen.lanczos import spectral_measure
from ntkmc.linalg.networks.training import accuracy
from ntkmc.numeric import Floats
from ntkmc.theory.targets import CHECKPOINTS


def unit_rows(n: int, d: int, seed: int = 0) -> Floats:
    X = np.random.default_rng(seed).standard_normal((n, d))
    return np.asarray(X / np.linalg.norm(X, axis=1)[:, None])


def by_eigenvalues(K: Floats, y: Floats, function: Any) -> Floats:
    """Square root of y' f(K) y for f that is given values at eigenvalues, one row for each time."""
    values, vectors = np.linalg.eigh(K)
    return np.asarray(np.sqrt(function(values) @ (vectors.T @ y) ** 2))


@given(
    spectrum=st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=30),
    seed=st.integers(0, 2**32 - 1),
    time=st.floats(0.0, 1e3),
    stop=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_rules_enclose(spectrum: list[float], seed: int, time: float, stop: bool) -> None:
    """Whenever Lanczos stops, the two rules are on either side of the integral; at the end they are the integral."""
    rng = np.random.default_rng(seed)
    Q, _ = np.linalg.qr(rng.standard_normal((len(spectrum),) * 2))
    A = Q * np.array(spectrum) @ Q.T
    A = 0.5 * (A + A.T)
    y = rng.standard_normal(len(spectrum))
    found = spectral_measure(A, y, (0.9 * min(spectrum), 1.0), lambda measure: stop)
    assert found.complete or stop
    for function in (lambda x: np.exp(-time * x), lambda x: (1.0 - 0.999 * x) ** (2 * round(time)), lambda x: 1.0 / x):
        exact = float(by_eigenvalues(A, y, function) ** 2)
        lower, upper = (float(end) for end in found.integral(function))
        slack = 1e-9 * max(1.0, exact)
        assert lower - slack <= exact <= upper + slack
        if found.complete:
            assert upper - lower <= slack


@pytest.mark.parametrize("kernel", ["h-infinity", "ntk", "conjugate"])
@pytest.mark.parametrize(("n", "d"), [(1, 3), (7, 4), (60, 10), (120, 5)])
def test_curves_are_those_of_the_eigenvalues(kernel: str, n: int, d: int) -> None:
    """To 1e-8 of |y|, for labels that are a function of the rows and for such that are none."""
    X = unit_rows(n, d)
    K = gram(X, kernel, 2)
    k = np.array(CHECKPOINTS, dtype=np.float64)
    for y in (X[:, 0], np.random.default_rng(1).choice([-1.0, 1.0], n)):
        found = predict_training(X, y, kernel, 2)
        eta, norm = found.step_size, float(np.linalg.norm(y))
        assert eta * np.linalg.eigvalsh(K)[-1] == pytest.approx(1.0, rel=1e-9)
        descent = by_eigenvalues(K, y, lambda x: np.abs(1.0 - eta * x) ** (2.0 * k[:, None]))  # noqa: B023
        flow = by_eigenvalues(K, y, lambda x: np.exp(-2.0 * eta * x * k[:, None]))  # noqa: B023
        for ends, exact in ((found.residual(k), descent), (found.flow(eta * k), flow)):
            for end in ends:
                np.testing.assert_allclose(end, exact, atol=1e-8 * norm)
            assert (ends[0] <= ends[1]).all()


def test_few_steps_suffice() -> None:
    """Labels that the kernel learns easily: a tenth of the steps that would exhaust the space."""
    X = unit_rows(400, 20)
    found = predict_training(X, X[:, 0], "h-infinity")
    assert not found.spectral.complete
    assert found.spectral.steps <= 60


@pytest.mark.parametrize("factor", [0.3, 1.0, 1.7])
def test_descent_with_the_kernel_follows_the_formula(factor: float) -> None:
    """u <- u - eta K (u - y), step by step; also where components overshoot."""
    X = unit_rows(20, 6)
    K, y = gram(X, "ntk", 3), np.sin(5.0 * X[:, 0])
    eta = factor / float(np.linalg.eigvalsh(K)[-1])
    found = predict_training(X, y, "ntk", 3, step_size=eta)
    epsilon = accuracy(found.label_norm, 20)
    u = np.zeros(20)
    residual: list[float] = []
    while not residual or residual[-1] > epsilon:
        residual.append(float(np.linalg.norm(u - y)))
        u -= eta * (K @ (u - y))
    lower, upper = found.residual(np.arange(len(residual)))
    np.testing.assert_allclose(lower, residual, atol=1e-9)
    np.testing.assert_allclose(upper, residual, atol=1e-9)
    assert found.steps_to(epsilon) == (len(residual) - 1, len(residual) - 1)


def test_steps_that_diverge_or_take_for_ever() -> None:
    X = unit_rows(5, 3)
    y = X[:, 0]
    largest = predict_training(X, y, "h-infinity").lambda_max.value
    assert predict_training(X, y, "h-infinity", step_size=2.1 / largest).steps_to(0.1) == (np.inf, np.inf)
    assert predict_training(X, y, "h-infinity", step_size=2.1 / largest).steps_to(10.0) == (0.0, 0.0)
    twice = predict_training(np.vstack([X, X[:1]]), [*y[:5], 9.0], "h-infinity")  # one row, two labels
    assert twice.steps_to(1e-3) == (np.inf, np.inf)
    assert (twice.label_form, twice.weights) == (None, None)
    zero = predict_training(X, np.zeros(5), "h-infinity")
    assert zero.steps_to(0.0) == (0.0, 0.0)
    assert zero.residual([0, 5])[1].tolist() == [0.0, 0.0]


def test_label_forms_with_forty_digits() -> None:
    X = unit_rows(6, 3)
    K, y = gram(X, "h-infinity"), np.arange(1.0, 7.0)
    found = predict_training(X, y, "h-infinity")
    with mpmath.workdps(40):
        exact = mpmath.matrix(K.tolist())
        right = mpmath.matrix(y.tolist())
        form = float((right.T * mpmath.lu_solve(exact, right))[0])
        energy = float((right.T * exact * right)[0])
    assert found.label_form is not None
    assert found.weights is not None
    assert found.label_form.lower <= form <= found.label_form.upper
    assert found.label_energy.lower <= energy <= found.label_energy.upper
    assert found.label_form.upper - found.label_form.lower < 1e-9 * form
    np.testing.assert_allclose(K @ found.weights, y, atol=1e-9)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [1.0]}, "labels must be vectors of length 3"),
        ({"y": np.ones((2, 3))}, "y must be one vector of 3 labels, got 2"),
        ({"y": [1.0, np.nan, 0.0]}, "labels must be finite"),
        ({"step_size": 0.0}, "step_size must be a positive number"),
        ({"step_size": True}, "step_size must be a positive number"),
        ({"X": np.zeros((3, 2))}, "Gram matrix is zero"),
        ({"X": 1e40 * np.eye(3)}, "rescale the data"),
        ({"kernel": "nkt"}, "unknown kernel"),
    ],
)
def test_bad_input_ends_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        predict_training(**({"X": np.eye(3), "y": np.ones(3)} | change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("size", [2.0**-100, 2.0**100])
def test_rows_out_of_range_are_refused(size: float) -> None:
    with pytest.raises(InputError, match="rescale the data"):
        predict_training(size * np.eye(2), [1.0, 2.0], "ntk", 2)
    inside = size * 2.0 if size < 1.0 else size / 2.0
    assert np.isfinite(predict_training(inside * np.eye(2), [1.0, 2.0], "ntk", 2).step_size)
