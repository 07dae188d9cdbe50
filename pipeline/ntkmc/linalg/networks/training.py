"""Prediction of training by the limiting kernel, and gradient descent on networks.

`predict_training` uses the limiting kernel; `train` trains two-layer ReLU networks for comparison.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.lanczos import NUMERICS as QUADRATURE
from ntkmc.linalg.eigen.lanczos import SpectralMeasure, spectral_measure
from ntkmc.linalg.eigen.lapack import solve
from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.smallest import enclose
from ntkmc.linalg.eigen.spectrum import Enclosed, as_labels, measure
from ntkmc.linalg.eigen.symmetric import Symmetric, in_place
from ntkmc.linalg.gram.enclosures import check_moderate_norms, grams_with_errors, widen_by_kernel_error
from ntkmc.linalg.gram.matrix import gram
from ntkmc.linalg.networks.weights import NUMERICS as WEIGHTS_NUMERICS
from ntkmc.linalg.networks.weights import Weights, check_width
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, integer_between
from ntkmc.theory.kernels import check_depths
from ntkmc.theory.targets import CHECKPOINTS, SHARE

# Far below what a network of finite width deviates from the kernel, far above the rounding of a Lanczos recurrence.
RESOLVED: Final = 1e-10
"""Lanczos stops when the two ends of every recorded residual are this close, in units of |y|."""

_TOP: Final = 1e-9
"""Relative distance from the computed largest eigenvalue to the end of the interval of the quadrature. It covers the
error of that eigenvalue, about 1e-12."""

_MOST_STEPS: Final = 2**46
"""Largest number of steps that is searched. An eigenvalue that needs more is comparable to its rounding error."""

NUMERICS: Final = {**QUADRATURE, "share": SHARE, "resolved": RESOLVED, "top": _TOP, "most_steps": _MOST_STEPS}


@dataclass(frozen=True)
class TrainingPrediction:
    """Residuals |y - u(k)| of gradient descent with a constant kernel, from outputs u(0) = 0.

    Attributes
    ----------
    step_size : float
        eta, for half the *sum* of squared errors as loss.
    label_norm : float
        |y|.
    lambda_min : Eigenvalue
    lambda_max : Enclosed
    label_energy : Enclosed
        y'Ky.
    label_form : Enclosed or None
        y'K**-1 y; None unless lambda_min is proved to exceed the rounding error of a Cholesky factorization.
    weights : ndarray (n,) or None
        K**-1 y, the weights of kernel regression; None as for `label_form`.
    spectral : SpectralMeasure
        Eigenvalues of K, weighted with the squared components of y.
    """

    step_size: float
    label_norm: float
    lambda_min: Eigenvalue
    lambda_max: Enclosed
    label_energy: Enclosed
    label_form: Enclosed | None
    weights: Matrix | None
    spectral: SpectralMeasure

    def residual(self, steps: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ends of |y - u(k)| = (sum_i (1 - eta lambda_i)**(2k) (v_i'y)**2)**(1/2), up to rounding."""
        k = np.asarray(steps, dtype=np.float64)[..., None]

        def powers(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                rates = np.log(np.abs(1.0 - self.step_size * nodes))
                return np.exp(np.where(k == 0.0, 0.0, 2.0 * k * rates))

        lower, upper = self.spectral.integral(powers)
        return np.sqrt(lower), np.sqrt(upper)

    def flow(self, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return ends of |y - u(t)| = (sum_i exp(-2 lambda_i t) (v_i'y)**2)**(1/2) for gradient flow."""
        t = np.asarray(times, dtype=np.float64)[..., None]
        lower, upper = self.spectral.integral(lambda nodes: np.exp(-2.0 * t * nodes))
        return np.sqrt(lower), np.sqrt(upper)

    def steps_to(self, epsilon: float) -> tuple[float, float]:
        """Return ends of the least k with |y - u(k)| <= epsilon; infinite if there is none below 2**46."""
        # Beyond 2 / lambda_max the residual grows, unless it is small enough before the first step.
        if self.step_size * self.lambda_max.value > 2.0:
            return (0.0, 0.0) if self.label_norm <= epsilon else (math.inf, math.inf)
        lower, upper = (self._first_step(epsilon, end) for end in (0, 1))
        return lower, upper

    def _first_step(self, epsilon: float, end: int) -> float:
        """Return the least k at which one end of the residual is at most epsilon."""
        # Doubling and bisection: residuals do not increase while eta lambda_max <= 2.

        def reached(k: int) -> bool:
            return bool(self.residual(k)[end] <= epsilon)

        if reached(0):
            return 0.0
        high = 1
        while not reached(high):
            if high >= _MOST_STEPS:
                return math.inf
            high *= 2
        low = high // 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if reached(middle) else (middle, high)
        return float(high)


def predict_training(
    X: ArrayLike,
    y: ArrayLike,
    kernel: str = "ntk",
    depth: int = 2,
    *,
    step_size: float | None = None,
) -> TrainingPrediction:
    """Predict training on labels y from the eigenvalues of a kernel's Gram matrix.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, the largest with a norm between 2**-100 and 2**100.
    y : array_like, (n,)
        Labels.
    kernel, depth
        As for `ntkmc.gram`.
    step_size : float, optional
        eta, positive; by default 1 / lambda_max, the largest for which no component of the residual changes its sign.

    Returns
    -------
    TrainingPrediction
        Bounds on the residuals of gradient descent and of gradient flow at any time; the number of steps to a given
        accuracy; y'K**-1 y with its enclosure.

    Raises
    ------
    InputError
        For data or labels that are not finite or do not fit, or an unknown kernel, depth or step size.

    Notes
    -----
    Lanczos quadrature from y (`ntkmc.linalg.eigen.lanczos`), with enclosures of lambda_min and lambda_max, instead of
    an eigendecomposition: n**2 operations per step, and memory for at most n**2 numbers.

    Examples
    --------
    >>> training = predict_training([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], "h-infinity")  # lambda = 1/2, twice
    >>> training.step_size, training.steps_to(1e-6), round(training.label_form.value, 9)
    (2.0, (1.0, 1.0), 50.0)
    >>> slower = predict_training([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], "h-infinity", step_size=1.0)
    >>> [end.round(6).tolist() for end in slower.residual([0, 1, 2])]
    [[5.0, 2.5, 1.25], [5.0, 2.5, 1.25]]
    """
    depths = check_depths(kernel, (depth,))
    rows = split_rows(as_data(X))
    labels = _one_vector(y, len(rows.norms))
    check_step_size(step_size)
    check_moderate_norms(rows)
    return next(training_kernels(rows, kernel, depths))[1].predict(labels, step_size)


def _one_vector(y: ArrayLike, n: int) -> Matrix:
    """Return a single vector of n labels; `InputError` for anything else."""
    labels = as_labels(y, n)
    if len(labels) != 1:
        raise InputError(f"y must be one vector of {n} labels, got {len(labels)} of them")
    return np.asarray(labels[0])


def _is_positive(value: object) -> bool:
    """Return whether a value is a positive, finite real number."""
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return bool(0.0 < value < math.inf)


def check_step_size(step_size: float | None) -> None:
    """Raise `InputError` unless the step size is a positive number or None."""
    if step_size is not None and not _is_positive(step_size):
        raise InputError(f"step_size must be a positive number, or None for 1 / lambda_max, got {step_size!r}")


@dataclass(frozen=True)
class TrainingKernel:
    """Gram matrix of a kernel at one depth, for predictions of training on any labels.

    Attributes
    ----------
    matrix : Symmetric
        The matrix, with both triangles in place.
    smallest : Eigenvalue
        Enclosure of the smallest eigenvalue of the exact kernel.
    error : float
        Bound on the norm of the error of the matrix.
    """

    matrix: Symmetric
    smallest: Eigenvalue
    error: float

    def predict(self, y: Matrix, step_size: float | None = None) -> TrainingPrediction:
        """Return the prediction for labels (n,) and a valid step size, as `predict_training`."""
        matrix, smallest = self.matrix, self.smallest
        spectrum = measure(matrix, smallest, y[None, :], self.error)
        weights, form = None, None
        if spectrum.quadratic_forms is not None:
            form = spectrum.quadratic_forms[0]
            weights = y.copy()
            solve(matrix.W, weights)  # by the factor that `measure` has left there
        matrix.restore()
        # The value, whose error is about 1e-12, and not the upper end: that is the Frobenius norm if the second
        # eigenvalue is not separated from the largest.
        largest = spectrum.lambda_max.value
        if not largest > 0.0:
            raise InputError("the kernel's Gram matrix is zero: nothing can be trained")
        eta = 1.0 / largest if step_size is None else float(step_size)
        norm = float(np.linalg.norm(y))
        energy = _energy(matrix.A, y, self.error)

        def prediction(spectral: SpectralMeasure) -> TrainingPrediction:
            return TrainingPrediction(eta, norm, smallest, spectrum.lambda_max, energy, form, weights, spectral)

        def resolved(spectral: SpectralMeasure) -> bool:
            # Quadrature rules bound an integral if the derivatives of the integrand have constant signs on the
            # interval. Those of (1 - eta x)**(2 k) change beyond 1 / eta: then only the complete measure is a bound.
            if eta * largest > 1.0 + _TOP:
                return False
            training = prediction(spectral)
            curves = training.residual(CHECKPOINTS), training.flow(eta * np.array(CHECKPOINTS, dtype=np.float64))
            if any(np.max(upper - lower) > RESOLVED * norm for lower, upper in curves):
                return False
            fewest, most = training.steps_to(accuracy(norm, len(y)))
            return fewest == most or most - fewest <= 1e-6 * most

        ends = smallest.lower, largest * (1.0 + _TOP)
        return prediction(spectral_measure(matrix.A, y, ends, resolved))


def training_kernels(rows: Rows, kernel: str, depths: Sequence[int]) -> Iterator[tuple[int, TrainingKernel]]:
    """Yield (depth, `TrainingKernel`) at several depths, sorted and valid."""
    for depth, K, error in grams_with_errors(rows, kernel, depths):
        matrix = in_place(K)
        smallest = widen_by_kernel_error(enclose(matrix), error)
        matrix.restore()
        yield depth, TrainingKernel(matrix, smallest, error)
        del K, matrix


def accuracy(norm: float, n: int) -> float:
    """Return |y| delta / n for the delta of `SHARE`: the residual for which the number of steps is recorded."""
    return norm * SHARE / n


def _energy(A: Matrix, y: Matrix, error: float) -> Enclosed:
    """Enclose y'Ky for any matrix K within `error` of A in norm."""
    absolute = np.abs(y)
    value = float(y @ (A @ y))
    # Two dot products of length n, and the norm of K - A; the last factor covers the rounding of the slack itself.
    slack = 2.0 * (len(y) + 4) * UNIT_ROUNDOFF * float(absolute @ (np.abs(A) @ absolute)) + error * float(y @ y)
    slack *= 1.0 + 2.0**-20
    return Enclosed(value, value - slack, value + slack)


MOST_STEPS: Final = 1_000_000
"""Largest number of steps of `train`: their residuals take 8 MB."""

DESCENT_NUMERICS: Final = {**WEIGHTS_NUMERICS, "descent": 1}
"""Version of the order of operations in `descend`, which determines the last bits."""


@dataclass(frozen=True)
class TrainedNetwork:
    """Course of gradient descent on a network.

    Attributes
    ----------
    step_size : float
        eta.
    residual : ndarray, (steps + 1,)
        |y - u(k)| before each step, and after the last.
    start : ndarray, (n,)
        Outputs u(0) on the rows.
    drift : float
        |H_T - H_0| / |H_0| in Frobenius norm, with H_0 and H_T the tangent kernel on the rows before and after
        training.
    test_outputs : ndarray (t,) or None
        Outputs on the test rows after training.
    """

    step_size: float
    residual: NDArray[np.float64]
    start: Matrix
    drift: float
    test_outputs: Matrix | None

    @property
    def contraction(self) -> float:
        """Return the largest |y - u(k+1)|**2 / |y - u(k)|**2 over the steps before the residual is rounding error."""
        before, after = self.residual[:-1], self.residual[1:]
        significant = before > 1e-10 * self.residual[0]
        return float(np.max((after[significant] / before[significant]) ** 2, initial=0.0))


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
        Scale of the initial weights, positive. Outputs scale with it; the kernel does not depend on it.
    step_size : float, optional
        eta, positive; by default 1 / lambda_max of the limiting kernel.
    steps : int
        Steps of gradient descent.
    seed : int or numpy.random.SeedSequence
        Determines the initial weights; a wider network begins with the same neurons.
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
    Two products of 2 n m d operations per step; memory for 3 n m + 2 m d numbers.

    Examples
    --------
    >>> X, y = np.eye(3), [1.0, -1.0, 2.0]
    >>> trained = train(X, y, 4000, steps=20)  # lambda = 1/2, three times: the first step nearly suffices
    >>> bool(trained.residual[1] < 0.1 * trained.residual[0]), bool(trained.drift < 0.1)
    (True, True)
    """
    rows = as_data(X)
    n, d = rows.shape
    labels = _one_vector(y, n)
    check_step_size(step_size)
    width = check_width(width)
    if not _is_positive(kappa):
        raise InputError(f"kappa must be a positive number, got {kappa!r}")
    steps = integer_between("steps", steps, 0, MOST_STEPS)
    test = None if X_test is None else as_data(X_test)
    if test is not None and test.shape[1] != d:
        raise InputError(f"X_test must have the {d} columns of X, got {test.shape[1]}")
    if step_size is None:
        step_size = 1.0 / float(np.linalg.eigvalsh(gram(rows, "h-infinity"))[-1])
    return descend(rows, labels, Weights.of(seed), width, float(kappa), float(step_size), steps, test)


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
    """Train a network as `train` does, for valid arguments."""
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
            if k == 0:
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
    before, after = linear * _open_shares(gates_before), linear * _open_shares(gates)
    norm = float(np.linalg.norm(before))
    drift = float(np.linalg.norm(after - before)) / norm if norm > 0.0 else 0.0
    outputs = None if test is None else output @ np.maximum(W @ test.T, 0.0)
    return TrainedNetwork(step_size, residual, start, drift, outputs)


def _open_shares(gates: NDArray[np.bool_]) -> Matrix:
    """Return the shares of neurons that are open at both of two rows, (n, n), from gates (m, n)."""
    zeros_and_ones = gates.astype(np.float32)  # exact sums, as in `empirical_ntk`
    return np.asarray(zeros_and_ones.T @ zeros_and_ones, dtype=np.float64) / len(gates)
