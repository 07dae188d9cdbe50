"""Gradient descent on actual two-layer ReLU networks, to lay beside what the kernel predicts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntkmc.errors import InputError
from ntkmc.linalg.gram import gram
from ntkmc.linalg.lapack import Matrix
from ntkmc.linalg.network import NUMERICS as NETWORK
from ntkmc.linalg.network import Weights, check_width
from ntkmc.linalg.rows import as_data
from ntkmc.linalg.spectrum import as_labels
from ntkmc.linalg.training import check_step_size

MOST_STEPS: Final = 1_000_000

NUMERICS: Final = {**NETWORK, "descent": 1}
"""The order of operations below, which decides the last bits."""


@dataclass(frozen=True)
class TrainedNetwork:
    """A network's way through gradient descent.

    Attributes
    ----------
    step_size : float
        eta.
    residual : ndarray, (steps + 1,)
        |y - u(k)| before each step, and after the last.
    start : ndarray, (n,)
        Outputs u(0) on the rows.
    drift : float
        |H_T - H_0| / |H_0| in Frobenius norm, H_t the network's tangent kernel on the rows before and after training.
    test_outputs : ndarray (t,) or None
        Outputs on further rows after training.
    """

    step_size: float
    residual: NDArray[np.float64]
    start: Matrix
    drift: float
    test_outputs: Matrix | None

    @property
    def contraction(self) -> float:
        """Largest |y - u(k+1)|**2 / |y - u(k)|**2 over all steps before the residual is rounding."""
        before, after = self.residual[:-1], self.residual[1:]
        telling = before > 1e-10 * self.residual[0]
        return float(np.max((after[telling] / before[telling]) ** 2, initial=0.0))


def train(
    X: ArrayLike,
    y: ArrayLike,
    width: int,
    *,
    kappa: float = 1.0,
    step_size: float | None = None,
    steps: int = 1000,
    seed: int | np.random.SeedSequence = 0,
    X_test: ArrayLike | None = None,
) -> TrainedNetwork:
    """Train x -> sum_r a_r max(0, w_r'x) / sqrt(m) by gradient descent on half the sum of squared errors.

    The first layer is trained, from w_r ~ N(0, kappa**2 I); the signs a_r are frozen: the network whose limit is
    `h-infinity` (Du et al., ICLR 2019; Arora et al., ICML 2019).

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    y : array_like, (n,)
        Labels.
    width : int
        Neurons m.
    kappa : float
        Scale of the initial weights, positive; outputs begin at that scale, the kernel does not depend on it.
    step_size : float, optional
        eta, positive; by default 1 / lambda_max of the limiting kernel.
    steps : int
        Steps of gradient descent.
    seed : int or numpy.random.SeedSequence
        Of the initial weights: a wider network begins with the same neurons.
    X_test : array_like, (t, d), optional
        Rows on which the trained network is evaluated.

    Returns
    -------
    TrainedNetwork

    Raises
    ------
    InputError
        For data or labels that are not finite or do not fit, or a width, scale, step size or number of steps out of
        range.
    FloatingPointError
        If training diverges: the step size is too large.

    Notes
    -----
    Two products of 2 n m d operations a step; memory for 3 n m + 2 m d numbers.

    Examples
    --------
    >>> X, y = np.eye(3), [1.0, -1.0, 2.0]
    >>> found = train(X, y, 4000, steps=20)  # lambda = 1/2, three times: one step does nearly all
    >>> bool(found.residual[1] < 0.1 * found.residual[0]), bool(found.drift < 0.1)
    (True, True)
    """
    rows = as_data(X)
    n, d = rows.shape
    labels = as_labels(y, n)
    if len(labels) != 1:
        raise InputError(f"y must be one vector of {n} labels, got {len(labels)} of them")
    check_step_size(step_size)
    check_width(width)
    if isinstance(kappa, bool) or not isinstance(kappa, int | float | np.number) or not 0.0 < kappa < np.inf:
        raise InputError(f"kappa must be a positive number, got {kappa!r}")
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or not 0 <= steps <= MOST_STEPS:
        raise InputError(f"steps must be an integer from 0 to {MOST_STEPS}, got {steps!r}")
    test = None if X_test is None else as_data(X_test)
    if test is not None and test.shape[1] != d:
        raise InputError(f"X_test must have the {d} columns of X, got {test.shape[1]}")
    if step_size is None:
        step_size = 1.0 / float(np.linalg.eigvalsh(gram(rows, "h-infinity"))[-1])
    return descend(rows, labels[0], Weights.of(seed), int(width), float(kappa), float(step_size), int(steps), test)


def descend(
    X: Matrix,
    y: Matrix,
    weights: Weights,
    width: int,
    kappa: float,
    step_size: float,
    steps: int,
    test: Matrix | None = None,
) -> TrainedNetwork:
    """`train` for arguments that are known to be right."""
    n, d = X.shape
    W = weights.neurons(1, 0, width, d)
    W *= kappa
    output = np.where(weights.neurons(2, 0, 1, width)[0] < 0.0, -1.0, 1.0) / np.sqrt(width)
    XT = np.ascontiguousarray(X.T)
    residual = np.empty(steps + 1)
    gates = gates_before = np.zeros((0, 0), dtype=bool)
    start = np.empty(0)
    Z = np.empty((width, n))
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(steps + 1):
            np.matmul(W, XT, out=Z)
            gates = Z > 0.0
            error = output @ np.maximum(Z, 0.0, out=Z)
            if not k:
                start, gates_before = error.copy(), gates
            error -= y
            residual[k] = np.sqrt(error @ error)
            if k < steps:
                np.multiply(gates, error, out=Z)
                Z *= output[:, None]
                W -= step_size * (Z @ X)
    if not np.isfinite(residual).all():
        raise FloatingPointError("training diverges: the step size is too large")
    linear = X @ XT
    before, after = (linear * _shared(each) for each in (gates_before, gates))
    size = float(np.linalg.norm(before))
    drift = float(np.linalg.norm(after - before)) / size if size > 0.0 else 0.0
    outputs = None if test is None else output @ np.maximum(W @ test.T, 0.0)
    return TrainedNetwork(step_size, residual, start, drift, outputs)


def _shared(gates: NDArray[np.bool_]) -> Matrix:
    """Share of neurons that are open at both of two rows: exact, as in `empirical`."""
    counts = gates.astype(np.float32)
    return np.asarray(counts.T @ counts, dtype=np.float64) / len(gates)
