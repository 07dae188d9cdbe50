"""Enclosures of log det K, quadratic forms y'K**-1 y, the largest eigenvalue and norms of differences.

The factor used for lambda_min is one of K - s I with s close to lambda_min and gives no information about det K.
The functions here factor K itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.cholesky_bound import factor_shifted
from ntkmc.linalg.eigen.krylov import start_block
from ntkmc.linalg.eigen.lapack import solve
from ntkmc.linalg.eigen.rayleigh import TINY, UP, exact_dot, exact_product, rayleigh_quotient
from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import as_array, as_float64
from ntkmc.linalg.eigen.smallest import check_method, enclose, scaled
from ntkmc.linalg.eigen.solvers import eigsh_pairs
from ntkmc.linalg.eigen.symmetric import Symmetric, as_symmetric, in_place, workspace
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, step_down, step_up

SUM: Final = 1.0 + 2.0**-20
"""Covers the roundings of plain sums of n**2 terms of one sign, n**2 u relative, for any n that fits in memory."""

Ends = tuple[float, float]
"""Proved lower and upper bound."""


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
    """Enclose lambda_min, lambda_max, log det and quadratic forms of a positive definite matrix.

    Parameters
    ----------
    K : array_like, (n, n)
        Real, finite, exactly symmetric, entries between 1e-60 and 1e60 in size; it is not changed.
    labels : array_like, (n,) or (k, n), optional
        Label vectors y, one per row.
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
    last term lies in [0, |r|**2 / m]. lambda_max >= theta, the quotient of a Lanczos vector. All other eigenvalues are
    at most b = (|K|_F**2 - theta**2)**(1/2). If b < theta, as for kernels with a mean, Temple and Kato give
    lambda_max <= theta + r**2 / (theta - b); otherwise |K|_F bounds it.

    Examples
    --------
    >>> result = spectrum([[2.0, 1.0], [1.0, 2.0]], [1.0, 1.0])
    >>> round(result.lambda_max.value, 12), round(result.log_det.value, 12), round(result.quadratic_forms[0].value, 12)
    (3.0, 1.098612288668, 0.666666666667)
    """
    check_method(method)
    A, largest = as_symmetric(K)
    if largest > 1e60 or 0.0 < largest < 1e-60:
        raise InputError(f"K has entries of size {largest:.3g}: rescale it to between 1e-60 and 1e60")
    vectors = as_labels(labels, len(A))
    with workspace(A, largest) as matrix:
        return measure(matrix, enclose(matrix, method=method), vectors)


def measure(matrix: Symmetric, smallest: Eigenvalue, labels: Matrix, error: float = 0.0) -> Spectrum:
    """Enclose the spectrum of all matrices within `error` in norm of a matrix that is stored in full.

    `smallest` encloses lambda_min of those matrices; `labels` is (k, n).
    """
    top = _largest_by_norm(matrix)
    lambda_max = Enclosed(top.value, step_down(top.lower - error), step_up(top.upper + error))
    log_det, forms = inverse_forms(matrix, smallest, labels, error)
    return Spectrum(smallest, lambda_max, log_det, forms)


def inverse_forms(
    matrix: Symmetric, smallest: Eigenvalue, labels: Matrix, error: float
) -> tuple[Enclosed | None, tuple[Enclosed, ...] | None]:
    """Return `Spectrum.log_det` and `Spectrum.quadratic_forms`; parameters as for `measure`."""
    n = matrix.order
    # lambda_min of the given matrix, by Weyl's inequality.
    m = step_down(smallest.lower - error)
    info, c = factor_shifted(matrix.A, matrix.W, matrix.diagonal, 0.0)
    # `factor_shifted` rounds the diagonal down, even for a shift of 0.
    c += 2.0 * UNIT_ROUNDOFF * matrix.largest
    # With m below twice the errors the enclosures would be useless, and c / m >= 1 not even valid.
    if info != 0 or not m > 2.0 * (c + error):
        return None, None
    logs = 2.0 * np.log(np.diagonal(matrix.W))
    value = math.fsum(logs)
    # NumPy's log has an error of at most 4 ulp; 16 u is more than that.
    rounding = (16.0 * float(np.sum(np.abs(logs))) + 16.0 * n) * UNIT_ROUNDOFF
    slack = (n * -math.log1p(-(c + error) / m) + rounding) * SUM
    log_det = Enclosed(value, value - slack, value + slack)
    return log_det, tuple(_scaled_form(matrix, y, m, error) for y in labels)


def _scaled_form(matrix: Symmetric, y: Matrix, m: float, error: float) -> Enclosed:
    """Return `_quadratic_form` of y scaled by a power of two to entries near 1, so that squares stay in range."""
    size = float(np.max(np.abs(y)))
    if size == 0.0:
        return Enclosed(0.0, 0.0, 0.0)
    exponent = int(np.frexp(size)[1])
    form = _quadratic_form(matrix, scaled(y, -exponent), m, error)
    value, lower, upper = scaled(np.array([form.value, form.lower, form.upper]), 2 * exponent).tolist()
    if not np.isfinite(upper):
        raise InputError(f"labels of size {size:.3g} make y'K^-1 y overflow: rescale them")
    # Scaling has rounded subnormal numbers.
    if lower <= 2.0**-1020:
        lower, upper = 0.0, step_up(upper)
    return Enclosed(min(max(value, lower), upper), lower, upper)


def _quadratic_form(matrix: Symmetric, y: Matrix, m: float, error: float) -> Enclosed:
    """Return y'A**-1 y from the factor in W, for lambda_min(A) >= m."""
    n, u = matrix.order, UNIT_ROUNDOFF
    x = y.copy()
    solve(matrix.W, x)
    high, low = exact_product(matrix.A, matrix.diagonal, x)
    r = (y - high) - low
    first, first_low = exact_dot(x, y)
    second, second_low = exact_dot(x, r)
    value = (first + second) + (first_low + second_low)
    size = float(np.abs(x).sum())
    # Error of a component of r.
    inexact = 4.0 * u * float(np.abs(r).max()) + 8.0 * (n * u) ** 2 * (matrix.largest * size + float(np.abs(y).max()))
    rounding = 4.0 * u * (abs(first) + abs(second)) + size * inexact
    rounding += 4.0 * (n * u) ** 2 * float(np.abs(x) @ (np.abs(y) + np.abs(r)))
    rest = (float(np.linalg.norm(r)) + math.sqrt(n) * inexact) ** 2 / m
    rounding, rest = rounding * SUM + TINY, rest * SUM + TINY / m
    # For every matrix A + E within `error`, -(error / m) A <= E <= (error / m) A as quadratic forms.
    lower = max(value - rounding, 0.0) / (1.0 + error / m) * (1.0 - 4.0 * u)
    upper = (value + rounding + rest) / (1.0 - error / m) * (1.0 + 4.0 * u)
    return Enclosed(min(max(value, lower), upper), lower, upper)


def _largest_by_norm(matrix: Symmetric) -> Enclosed:
    """Enclose lambda_max without a factorization: see Notes of `spectrum`."""
    # `largest_eigenvalue` is tighter where the largest eigenvalue does not dominate, but takes two factorizations and
    # an array to overwrite.
    A, n = matrix.A, matrix.order
    frobenius = float(np.linalg.norm(A)) * SUM
    # The vector of ones gives a bound as well, of the zero matrix for one.
    v = np.ones(n)
    if n > 2:
        _, vectors = eigsh_pairs(A, start_block(n, 1)[:, 0], "LA", count=1, tol=1e-12)
        if vectors.shape[1] == 1:
            v = np.ascontiguousarray(vectors[:, 0])
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
    """Return label vectors as rows, (k, n); raise `InputError` if they are not finite vectors of length n."""
    if labels is None:
        return np.empty((0, n))
    rows = np.atleast_2d(as_float64(as_array(labels, "labels"), "labels"))
    if rows.ndim != 2 or rows.shape[1] != n:
        raise InputError(f"labels must be vectors of length {n}, one a row, got shape {rows.shape}")
    if not np.isfinite(rows).all():
        raise InputError("labels must be finite")
    return np.ascontiguousarray(rows)


def largest_eigenvalue(A: Matrix, error: float) -> Ends:
    """Enclose the largest eigenvalue of every matrix within `error` of A in norm; A, symmetric, is overwritten."""
    answer = enclose(in_place(np.negative(A, out=A)))
    return step_down(-answer.upper - error), step_up(-answer.lower + error)


def difference_norms(difference: Matrix, error: float) -> tuple[Ends, Ends]:
    """Enclose the operator norm and the largest absolute entry of A - B, for A and B within `error` together.

    `difference` is the computed A - B, symmetric, each entry rounded once; it is overwritten.
    """
    largest = float(max(difference.max(), -difference.min()))
    error = (error + len(difference) * UNIT_ROUNDOFF * largest) * (1.0 + 2.0**-30)
    # No entry of the error exceeds its norm.
    entry = max(0.0, step_down(largest - error)), step_up(largest + error)
    return _norm(difference, error), entry


def _norm(difference: Matrix, error: float) -> Ends:
    """Enclose the operator norm of every matrix within `error` of a symmetric one, which is overwritten."""
    matrix = in_place(difference)
    low = enclose(matrix)
    matrix.restore()
    high = enclose(in_place(np.negative(difference, out=difference)))
    lower = max(-low.upper, -high.upper)
    upper = max(-low.lower, -high.lower)
    return max(0.0, step_down(lower - error)), max(0.0, step_up(upper + error))
