"""Networks that are trained, against the same written down neuron by neuron."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from ntkmc import InputError, empirical_ntk, gram, predict_training, train
from ntkmc.linalg.networks.weights import Weights
from ntkmc.numeric import Floats


def unit_rows(n: int, d: int, seed: int = 0) -> Floats:
    X = np.random.default_rng(seed).standard_normal((n, d))
    return np.asarray(X / np.linalg.norm(X, axis=1)[:, None])


def brute_force(X: Floats, y: Floats, m: int, kappa: float, eta: float, steps: int) -> tuple[list[float], Floats]:
    """Residuals, and the weights at the end; one neuron and one row at a time."""
    weights = Weights.of(5)
    W = [kappa * w for w in weights.neurons(1, 0, m, X.shape[1])]
    a = [1.0 if value >= 0.0 else -1.0 for value in weights.neurons(2, 0, 1, m)[0]]
    residuals = []
    for step in range(steps + 1):
        u = [sum(a[r] * max(0.0, float(W[r] @ x)) for r in range(m)) / m**0.5 for x in X]
        residuals.append(float(np.linalg.norm(np.array(u) - y)))
        if step < steps:
            gradients = [
                sum((u[i] - y[i]) * a[r] / m**0.5 * X[i] * (float(W[r] @ X[i]) > 0.0) for i in range(len(X)))
                for r in range(m)
            ]
            W = [w - eta * gradient for w, gradient in zip(W, gradients, strict=True)]
    return residuals, np.array(W)


def test_it_is_gradient_descent() -> None:
    X, y = unit_rows(5, 3), np.array([1.0, -1.0, 0.5, 2.0, 0.0])
    residuals, W = brute_force(X, y, 30, 0.7, 0.9, 12)
    test = unit_rows(4, 3, seed=9)
    found = train(X, y, 30, kappa=0.7, step_size=0.9, steps=12, seed=5, X_test=test)
    np.testing.assert_allclose(found.residual, residuals, rtol=1e-10)
    a = np.where(Weights.of(5).neurons(2, 0, 1, 30)[0] < 0.0, -1.0, 1.0)
    assert found.test_outputs is not None
    np.testing.assert_allclose(found.test_outputs, np.maximum(test @ W.T, 0.0) @ a / 30**0.5, rtol=1e-9)
    before = empirical_ntk(X, 30, "h-infinity", seed=5)  # the scale of the weights does not change a gate
    gates = (X @ W.T > 0.0).astype(float)
    after = X @ X.T * (gates @ gates.T) / 30
    assert found.drift == pytest.approx(np.linalg.norm(after - before) / np.linalg.norm(before), rel=1e-9)
    shrinking = [(after / before) ** 2 for before, after in itertools.pairwise(residuals)]
    assert found.contraction == pytest.approx(max(shrinking))


def test_a_wide_network_follows_the_kernel() -> None:
    X, y = unit_rows(12, 6), np.random.default_rng(3).choice([-1.0, 1.0], 12)
    found = train(X, y, 20_000, kappa=1.0, steps=60)
    predicted = predict_training(X, y - found.start, "h-infinity", step_size=found.step_size)
    lower, upper = predicted.residual(np.arange(61))
    assert np.max(np.abs(found.residual - 0.5 * (lower + upper))) < 0.01 * np.linalg.norm(y)
    assert found.drift < 0.02
    assert found.step_size == pytest.approx(1.0 / np.linalg.eigvalsh(gram(X, "h-infinity"))[-1])


def test_a_wider_network_begins_with_the_same_neurons() -> None:
    X, y = unit_rows(4, 3), np.ones(4)
    start = [train(X, y, m, steps=0).start * m**0.5 for m in (300, 301)]
    assert not np.array_equal(*start)
    one = train(X, y, 1, steps=0, seed=3).start
    neuron, sign = Weights.of(3).neurons(1, 0, 1, 3)[0], Weights.of(3).neurons(2, 0, 1, 1)[0, 0]
    np.testing.assert_allclose(one, np.sign(sign) * np.maximum(X @ neuron, 0.0), rtol=1e-14)


def test_divergence_is_told() -> None:
    with pytest.raises(FloatingPointError, match="the step size is too large"):
        train(unit_rows(6, 3), np.ones(6), 50, step_size=1e4, steps=200)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": [1.0]}, "labels must be vectors of length 3"),
        ({"y": np.ones((2, 3))}, "y must be one vector of 3 labels"),
        ({"width": 0}, "width must be an integer from 1"),
        ({"kappa": 0.0}, "kappa must be a positive number"),
        ({"kappa": True}, "kappa must be a positive number"),
        ({"step_size": -1.0}, "step_size must be a positive number"),
        ({"steps": -1}, "steps must be an integer from 0"),
        ({"steps": 1.5}, "steps must be an integer from 0"),
        ({"X_test": np.ones((2, 4))}, "X_test must have the 3 columns of X, got 4"),
        ({"seed": -1}, "seed must be a non-negative integer"),
    ],
)
def test_bad_input_ends_in_one_line(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        train(**(dict[str, Any](X=np.eye(3), y=np.ones(3), width=8) | change))
    assert "\n" not in str(caught.value)
