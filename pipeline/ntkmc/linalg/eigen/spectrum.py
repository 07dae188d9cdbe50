"""Enclosures of log det K, quadratic forms y'K**-1 y, the largest eigenvalue and norms of differences.

The factor used for lambda_min is one of K - s I with s close to lambda_min and gives no information about det K.
The functions here factor K itself.
"""

from __future__ import annotations

import contextlib
import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import ArpackError, eigsh

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.cholesky_bound import factor_shifted
from ntkmc.linalg.eigen.krylov import start_block
from ntkmc.linalg.eigen.lapack import solve
from ntkmc.linalg.eigen.rayleigh import TINY, UP, exact_dot, exact_product, rayleigh_quotient
from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import as_array, as_float64
from ntkmc.linalg.eigen.smallest import check_method, enclose, scaled
from ntkmc.linalg.eigen.symmetric import Symmetric, as_symmetric, in_place, with_workspace
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, step_down, step_up

_SUM: Final = 1.0 + 2.0**-20
"""Covers the roundings of plain sums of n**2 terms of one sign, n**2 u relative, for any n that fits in memory."""


@dataclass(frozen=True)
class Enclosed:
    """A number between two proved bounds, all finite."""

    value: float
    lower: float
    upper: float


@dataclass(frozen=True)
class Spectrum:
    """Functions of a positive definite matrix, each with an enclosure.

    Attributes
    ----------
    lambda_min : Eigenvalue
        As in `smallest_eigenvalue`.
    lambda_max : Enclosed
        Largest eigenvalue.
    log_det : Enclosed or None
        log det K; None where lambda_min is not proved to be above the rounding of a Cholesky.
    quadratic_forms : tuple of Enclosed, or None
        y'K**-1 y for each vector of labels, in their order; None as for `log_det`.
    """

    lambda_min: Eigenvalue
    lambda_max: Enclosed
    log_det: Enclosed | None
    quadratic_forms: tuple[Enclosed, ...] | None


def spectrum(K: ArrayLike, labels: ArrayLike | None = None, *, method: str = "auto") -> Spectrum:
    """lambda_min, lambda_max, log det and quadratic forms of a positive definite matrix, enclosed.

    Parameters
    ----------
    K : array_like, (n, n)
        Real, finite, exactly symmetric, entries between 1e-60 and 1e60 in size; it is not changed.
    labels : array_like, (n,) or (k, n), optional
        Label vectors y, one a row.
    method
        As for `smallest_eigenvalue`.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        If K is not a square, real, finite, symmetric matrix of that range, or the labels do not fit.

    Notes
    -----
    With LL' = K + E, |E| <= c (`cholesky_bound.allowance`) and lambda_min >= m > c, log det LL' is off by at most
    n log(1 / (1 - c / m)). For any x, with r = y - Kx in double-double, y'K**-1 y = x'y + x'r + r'K**-1 r, and the
    last term lies in [0, |r|**2 / m]. lambda_max >= theta, the quotient of a Lanczos vector; all other eigenvalues
    are at most b = (|K|_F**2 - theta**2)**(1/2), so that Temple and Kato give lambda_max <= theta + r**2 / (theta - b)
    if b < theta, as for kernels with a mean; else |K|_F bounds it.

    Examples
    --------
    >>> found = spectrum([[2.0, 1.0], [1.0, 2.0]], [1.0, 1.0])
    >>> round(found.lambda_max.value, 12), round(found.log_det.value, 12), round(found.quadratic_forms[0].value, 12)
    (3.0, 1.098612288668, 0.666666666667)
    """
    check_method(method)
    A, largest = as_symmetric(K)
    if largest > 1e60 or 0.0 < largest < 1e-60:
        raise InputError(f"K has entries of size {largest:.3g}: rescale it to between 1e-60 and 1e60")
    vectors = as_labels(labels, len(A))
    with with_workspace(A, largest) as matrix:
        return measure(matrix, enclose(matrix, method=method), vectors)


def measure(matrix: Symmetric, smallest: Eigenvalue, labels: Matrix, error: float = 0.0) -> Spectrum:
    """`spectrum` of a matrix with a workspace, with both triangles in place, or of any within `error` of it in norm.

    `smallest` encloses the smallest eigenvalue of the matrix meant; `labels` is (k, n).
    """
    n = matrix.order
    top = _largest(matrix)
    lambda_max = Enclosed(top.value, step_down(top.lower - error), step_up(top.upper + error))
    m = step_down(smallest.lower - error)  # of the matrix in hand, by Weyl
    info, c = factor_shifted(matrix.A, matrix.W, matrix.diagonal, 0.0)
    c += 2.0 * UNIT_ROUNDOFF * matrix.largest  # the diagonal was rounded down once
    if info != 0 or not m > 2.0 * (c + error):
        return Spectrum(smallest, lambda_max, None, None)
    logs = 2.0 * np.log(np.diagonal(matrix.W))
    value = math.fsum(logs)
    rounding = (16.0 * float(np.sum(np.abs(logs))) + 16.0 * n) * UNIT_ROUNDOFF  # 4 ulp of log, and to spare
    slack = (n * -math.log1p(-(c + error) / m) + rounding) * _SUM
    log_det = Enclosed(value, value - slack, value + slack)
    forms = tuple(_scaled_form(matrix, y, m, error) for y in labels)
    return Spectrum(smallest, lambda_max, log_det, forms)


def _scaled_form(matrix: Symmetric, y: Matrix, m: float, error: float) -> Enclosed:
    """`_quadratic_form` of y scaled by a power of two to entries near 1, so that no square under- or overflows."""
    size = float(np.max(np.abs(y)))
    if size == 0.0:
        return Enclosed(0.0, 0.0, 0.0)
    exponent = int(np.frexp(size)[1])
    form = _quadratic_form(matrix, scaled(y, -exponent), m, error)
    value, lower, upper = scaled(np.array([form.value, form.lower, form.upper]), 2 * exponent).tolist()
    if not np.isfinite(upper):
        raise InputError(f"labels of size {size:.3g} make y'K^-1 y overflow: rescale them")
    if lower <= 2.0**-1020:  # subnormal numbers were rounded
        lower, upper = 0.0, step_up(upper)
    return Enclosed(min(max(value, lower), upper), lower, upper)


def _quadratic_form(matrix: Symmetric, y: Matrix, m: float, error: float) -> Enclosed:
    """y'A**-1 y from the factor in W, for lambda_min(A) >= m."""
    n, u = matrix.order, UNIT_ROUNDOFF
    x = y.copy()
    solve(matrix.W, x)
    high, low = exact_product(matrix.A, matrix.diagonal, x)
    r = (y - high) - low
    first, first_low = exact_dot(x, y)
    second, second_low = exact_dot(x, r)
    value = (first + second) + (first_low + second_low)
    size = float(np.abs(x).sum())
    inexact = 4.0 * u * float(np.abs(r).max()) + 8.0 * (n * u) ** 2 * (
        matrix.largest * size + float(np.abs(y).max())
    )  # of a component of r
    rounding = 4.0 * u * (abs(first) + abs(second)) + size * inexact
    rounding += 4.0 * (n * u) ** 2 * float(np.abs(x) @ (np.abs(y) + np.abs(r)))
    rest = (float(np.linalg.norm(r)) + math.sqrt(n) * inexact) ** 2 / m
    rounding, rest = rounding * _SUM + TINY, rest * _SUM + TINY / m
    # -error I <= dA <= error I <= (error / m) A as quadratic forms
    lower = max(value - rounding, 0.0) / (1.0 + error / m) * (1.0 - 4.0 * u)
    upper = (value + rounding + rest) / (1.0 - error / m) * (1.0 + 4.0 * u)
    return Enclosed(min(max(value, lower), upper), lower, upper)


def _largest(matrix: Symmetric) -> Enclosed:
    A, n = matrix.A, matrix.order
    frobenius = float(np.linalg.norm(A)) * _SUM
    v = np.ones(n)
    if n > 2:
        with contextlib.suppress(ArpackError):  # of the zero matrix, or without convergence: ones give a bound as well
            v = np.ascontiguousarray(eigsh(A, k=1, which="LA", v0=start_block(n, 1)[:, 0], tol=1e-12)[1][:, 0])
    elif n == 2:
        v = np.ascontiguousarray(np.linalg.eigh(A)[1][:, 1])
    quotient = rayleigh_quotient(A, matrix.diagonal, v, matrix.largest)
    theta = step_down(quotient.value - quotient.error)
    upper = frobenius
    others = math.sqrt(max(frobenius**2 * UP - theta * abs(theta), 0.0)) * UP
    if theta > others:
        residual = quotient.residual + quotient.residual_error
        upper = min(frobenius, step_up(quotient.upper + residual**2 / (theta - others) * UP + TINY))
    return Enclosed(min(quotient.value, upper), theta, max(upper, theta))


def as_labels(labels: ArrayLike | None, n: int) -> Matrix:
    """Label vectors as rows, (k, n); `InputError` where they are none."""
    if labels is None:
        return np.empty((0, n))
    rows = np.atleast_2d(as_float64(as_array(labels, "labels"), "labels"))
    if rows.ndim != 2 or rows.shape[1] != n:
        raise InputError(f"labels must be vectors of length {n}, one a row, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise InputError("labels must be finite")
    return np.ascontiguousarray(rows)


Ends = tuple[float, float]


def largest_eigenvalue(A: Matrix, error: float) -> Ends:
    """Ends of the largest eigenvalue of any matrix within `error` of A in norm; A, symmetric, is used up."""
    answer = enclose(in_place(np.negative(A, out=A)))
    return step_down(-answer.upper - error), step_up(-answer.lower + error)


def difference_norms(difference: Matrix, error: float) -> tuple[Ends, Ends]:
    """Ends of the operator norm and of the largest absolute entry of A - B, for A and B within `error` together.

    `difference` is what is computed of A - B, symmetric, each entry rounded once; it is used up.
    """
    largest = float(max(difference.max(), -difference.min()))
    error = (error + len(difference) * UNIT_ROUNDOFF * largest) * (1.0 + 2.0**-30)
    return _norm(difference, error), _around(largest, error)


def _norm(difference: Matrix, error: float) -> Ends:
    """Ends of the operator norm of any matrix within `error` of a symmetric one, which is used up."""
    matrix = in_place(difference)
    low = enclose(matrix)
    matrix.restore()
    high = enclose(in_place(np.negative(difference, out=difference)))
    lower = max(-low.upper, -high.upper)
    upper = max(-low.lower, -high.lower)
    return max(0.0, step_down(lower - error)), max(0.0, step_up(upper + error))


def _around(value: float, error: float) -> Ends:
    """An absolute value with an error; no entry of an error exceeds its norm."""
    return max(0.0, step_down(value - error)), step_up(value + error)
