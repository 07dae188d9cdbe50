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
from ntkmc.linalg.gram.enclosures import kernel_error, widen_by_kernel_error
from ntkmc.linalg.gram.matrix import coherence_of, cosines, gram, grams_of_cosines
from ntkmc.linalg.networks.weights import NUMERICS as NETWORK
from ntkmc.linalg.networks.weights import Weights, check_width
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, integer_between
from ntkmc.theory.kernels import check_depths
from ntkmc.theory.targets import CHECKPOINTS, SHARE

RESOLVED: Final = 1e-10
"""Lanczos goes on until the two ends of every recorded residual are this close, in units of |y|."""

_TOP: Final = 1e-9
"""Relative room above the largest eigenvalue as computed."""

_MOST_STEPS: Final = 2**46
"""Of an eigenvalue that needs more of them, rounding is a good part."""

NUMERICS: Final = {**QUADRATURE, "share": SHARE, "resolved": RESOLVED, "top": _TOP, "most_steps": _MOST_STEPS}


@dataclass(frozen=True)
class TrainingPrediction:
    """Residuals |y - u(k)| of gradient descent from output 0 with a constant kernel, u the outputs.

    Attributes
    ----------
    step_size : float
        eta; the loss is half the *sum* of squares.
    label_norm : float
        |y|.
    lambda_min : Eigenvalue
    lambda_max : Enclosed
    label_energy : Enclosed
        y'Ky.
    label_form : Enclosed or None
        y'K**-1 y; None where K is not proved to be definite beyond the rounding of a Cholesky.
    weights : ndarray (n,) or None
        K**-1 y, of the kernel regression; None as before.
    spectral : SpectralMeasure
        The eigenvalues as y sees them.
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
        """Ends of |y - u(k)| = (sum_i (1 - eta lambda_i)**(2k) (v_i'y)**2)**(1/2), up to rounding."""
        k = np.asarray(steps, dtype=np.float64)[..., None]

        def powers(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                rates = np.log(np.abs(1.0 - self.step_size * nodes))
                return np.exp(np.where(k == 0.0, 0.0, 2.0 * k * rates))

        lower, upper = self.spectral.integral(powers)
        return np.sqrt(lower), np.sqrt(upper)

    def flow(self, times: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Ends of |y - u(t)| under gradient flow, (sum_i exp(-2 lambda_i t) (v_i'y)**2)**(1/2), up to rounding."""
        t = np.asarray(times, dtype=np.float64)[..., None]
        lower, upper = self.spectral.integral(lambda nodes: np.exp(-2.0 * t * nodes))
        return np.sqrt(lower), np.sqrt(upper)

    def steps_to(self, epsilon: float) -> tuple[float, float]:
        """Ends of the least k with |y - u(k)| <= epsilon; infinite where there is none below 2**46."""
        if self.step_size * self.lambda_max.value > 2.0:
            return (0.0, 0.0) if self.label_norm <= epsilon else (math.inf, math.inf)
        lower, upper = (self._least(epsilon, end) for end in (0, 1))
        return lower, upper

    def _least(self, epsilon: float, end: int) -> float:
        """By bisection: residuals do not increase while eta lambda_max <= 2."""

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
    """Predictions for training on labels y, from the eigenvalues of a kernel's Gram matrix.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, the largest with a norm between 2**-100 and 2**100.
    y : array_like, (n,)
        Labels.
    kernel, depth
        As for `ntkmc.gram`.
    step_size : float, optional
        eta, positive; by default 1 / lambda_max, the largest for which every component of the residual falls steadily.

    Returns
    -------
    TrainingPrediction
        The residuals of gradient descent and of gradient flow at any time, between two bounds; the number of steps to
        an accuracy; y'K**-1 y with its enclosure.

    Raises
    ------
    InputError
        For data or labels that are not finite or do not fit, or an unknown kernel, depth or step size.

    Notes
    -----
    By Lanczos quadrature from y (`ntkmc.linalg.eigen.lanczos`), beside the enclosures of lambda_min and lambda_max: no
    eigendecomposition, n**2 operations a step and n**2 numbers of memory at most.

    Examples
    --------
    >>> found = predict_training([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], "h-infinity")  # lambda = 1/2, twice
    >>> found.step_size, found.steps_to(1e-6), round(found.label_form.value, 9)
    (2.0, (1.0, 1.0), 50.0)
    >>> slower = predict_training([[1.0, 0.0], [0.0, 1.0]], [3.0, 4.0], "h-infinity", step_size=1.0)
    >>> [end.round(6).tolist() for end in slower.residual([0, 1, 2])]
    [[5.0, 2.5, 1.25], [5.0, 2.5, 1.25]]
    """
    wanted = check_depths(kernel, (depth,))
    rows = split_rows(as_data(X))
    labels = as_labels(y, len(rows.norms))
    if len(labels) != 1:
        raise InputError(f"y must be one vector of {len(rows.norms)} labels, got {len(labels)} of them")
    check_step_size(step_size)
    if rows.norms.any() and not 2.0**-100 < rows.norms.max() < 2.0**100:
        raise InputError(
            f"the largest row has norm {rows.norms.max():.3g}: rescale the data to between 2**-100 and 2**100"
        )
    return next(predictions(rows, labels[0], kernel, wanted, step_size))[1]


def check_step_size(step_size: float | None) -> None:
    """Refuse what is no step size."""
    if step_size is not None and not (
        isinstance(step_size, int | float | np.number)
        and not isinstance(step_size, bool)
        and np.isfinite(step_size)
        and step_size > 0.0
    ):
        raise InputError(f"step_size must be a positive number, or None for 1 / lambda_max, got {step_size!r}")


def predictions(
    rows: Rows, y: Matrix, kernel: str, depths: Sequence[int], step_size: float | None
) -> Iterator[tuple[int, TrainingPrediction]]:
    """`predict_training` at several depths, sorted and valid, for rows that were split."""
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    matrices = grams_of_cosines(R, rows, kernel, depths)
    del R  # used up
    for depth, K in matrices:
        matrix = in_place(K)
        error = kernel_error(rows, kernel, depth, cosine)
        smallest = widen_by_kernel_error(enclose(matrix), error)
        matrix.restore()
        yield depth, _predicted(matrix, smallest, y, error, step_size)
        del K, matrix


def _predicted(
    matrix: Symmetric, smallest: Eigenvalue, y: Matrix, error: float, step_size: float | None
) -> TrainingPrediction:
    found = measure(matrix, smallest, y[None, :], error)
    weights = None
    if found.quadratic_forms is not None:
        weights = y.copy()
        solve(matrix.W, weights)
    matrix.restore()
    energy = _energy(matrix.A, y, error)
    # The value, good to 1e-12, and not the upper end, which where nothing separates the largest is the Frobenius norm.
    largest = found.lambda_max.value
    if not largest > 0.0:
        raise InputError("the kernel's Gram matrix is zero: nothing can be trained")
    eta = 1.0 / largest if step_size is None else float(step_size)
    ends = smallest.lower, largest * (1.0 + _TOP)
    form = found.quadratic_forms[0] if found.quadratic_forms is not None else None
    norm = float(np.linalg.norm(y))

    def prediction(spectral: SpectralMeasure) -> TrainingPrediction:
        return TrainingPrediction(eta, norm, smallest, found.lambda_max, energy, form, weights, spectral)

    def enough(spectral: SpectralMeasure) -> bool:
        if eta * largest > 1.0 + _TOP:
            return False  # the sign of derivatives changes: only the whole measure is a bound
        now = prediction(spectral)
        curves = now.residual(CHECKPOINTS), now.flow(eta * np.array(CHECKPOINTS, dtype=np.float64))
        if any(np.max(upper - lower) > RESOLVED * norm for lower, upper in curves):
            return False
        fewest, most = now.steps_to(accuracy(norm, len(y)))
        return fewest == most or most - fewest <= 1e-6 * most

    return prediction(spectral_measure(matrix.A, y, ends, enough))


def accuracy(norm: float, n: int) -> float:
    """|y| delta / n for the delta of `SHARE`: the residual whose number of steps is recorded."""
    return norm * SHARE / n


def _energy(A: Matrix, y: Matrix, error: float) -> Enclosed:
    """y'Ky for any matrix within `error` of A in norm."""
    size = np.abs(y)
    value = float(y @ (A @ y))
    slack = 2.0 * (len(y) + 4) * UNIT_ROUNDOFF * float(size @ (np.abs(A) @ size)) + error * float(y @ y)
    slack *= 1.0 + 2.0**-20
    return Enclosed(value, value - slack, value + slack)


MOST_STEPS: Final = 1_000_000

DESCENT_NUMERICS: Final = {**NETWORK, "descent": 1}
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
    integer_between("steps", steps, 0, MOST_STEPS)
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
