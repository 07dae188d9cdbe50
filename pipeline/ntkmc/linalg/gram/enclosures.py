"""Enclosures that hold for the exact kernel of data rows, all depths in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.result import Eigenvalue, Status
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.smallest import RTOL, check_method, enclose, rescaled, status_of
from ntkmc.linalg.eigen.spectrum import Spectrum, as_labels, measure
from ntkmc.linalg.eigen.symmetric import in_place
from ntkmc.linalg.gram.matrix import cosines, grams_of_cosines
from ntkmc.linalg.gram.pairs import coherence_of
from ntkmc.numeric import Matrix, step_down, step_up
from ntkmc.theory.kernels import check_depths, coherence_error, entry_error

_MODERATE: Final = 100
"""Largest binary exponent of data that are not rescaled: their norms make no entry of K subnormal or infinite."""


def lambda_min(
    X: ArrayLike, kernel: str = "ntk", depths: Sequence[int] = (2,), *, method: str = "auto"
) -> dict[int, Eigenvalue]:
    """`ntkmc.lambda_min` without a client: see there."""
    check_method(method)
    sorted_depths = check_depths(kernel, depths)
    data = as_data(X)
    # Scaling by a power of two is exact.
    exponent = int(np.frexp(np.max(np.abs(data)))[1])
    exponent = exponent if abs(exponent) > _MODERATE else 0
    rows = split_rows(np.ldexp(data, -exponent) if exponent else data)
    answers: dict[int, Eigenvalue] = {}
    start: Matrix | None = None
    for depth, K, error in grams_with_errors(rows, kernel, sorted_depths):
        answers[depth] = widen_by_kernel_error(enclose(in_place(K), method=method, start=start), error)
        # Eigenvectors of neighbouring depths are similar.
        start = answers[depth].vector
        del K
    if 2 * exponent > 1000:
        raise InputError(
            f"data have entries of size {np.max(np.abs(data)):.3g}, lambda_min may overflow: rescale them"
        )
    if not exponent:
        return answers
    scaled = {depth: rescaled(answer, 2 * exponent, RTOL) for depth, answer in answers.items()}
    return {depth: replace(answer, lower=max(answer.lower, 0.0)) for depth, answer in scaled.items()}


def kernel_spectrum(
    X: ArrayLike, kernel: str = "ntk", depth: int = 2, labels: ArrayLike | None = None, *, method: str = "auto"
) -> Spectrum:
    """Compute `ntkmc.spectrum` of a kernel's Gram matrix, from data: all bounds hold for the exact kernel.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, the largest with a norm between 2**-100 and 2**100; or all zero.
    kernel, depth
        As for `ntkmc.gram`.
    labels : array_like, (n,) or (k, n), optional
        Label vectors y, one per row.
    method
        As for `ntkmc.smallest_eigenvalue`.

    Returns
    -------
    Spectrum

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array of that range, labels that do not fit, or an unknown kernel or
        depth.

    Examples
    --------
    >>> result = kernel_spectrum([[1.0, 0.0], [0.0, 1.0]], "h-infinity", labels=[1.0, 0.0])
    >>> round(result.quadratic_forms[0].value, 12)
    2.0
    """
    check_method(method)
    depths = check_depths(kernel, (depth,))
    rows = split_rows(as_data(X))
    vectors = as_labels(labels, len(rows.norms))
    check_moderate_norms(rows)
    _, K, error = next(grams_with_errors(rows, kernel, depths))
    matrix = in_place(K)
    smallest = widen_by_kernel_error(enclose(matrix, method=method), error)
    matrix.restore()
    return measure(matrix, smallest, vectors, error)


def check_moderate_norms(rows: Rows, exponent: int = 100) -> None:
    """Raise `InputError` if the largest norm is outside (2**-exponent, 2**exponent), unless all are zero."""
    # Then forms y'K**-1 y, logarithms and squares of entries neither over- nor underflow.
    largest = rows.norms.max()
    if rows.norms.any() and not 2.0**-exponent < largest < 2.0**exponent:
        raise InputError(
            f"the largest row has norm {largest:.3g}: rescale the data to between 2**-{exponent} and 2**{exponent}"
        )


def grams_with_errors(rows: Rows, kernel: str, depths: Sequence[int]) -> Iterator[tuple[int, Matrix, float]]:
    """Yield (depth, Gram matrix, bound on the norm of its error); `depths` sorted and valid."""
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    matrices = grams_of_cosines(R, rows, kernel, depths)
    del R  # the matrices are computed in its place
    for depth, K in matrices:
        yield depth, K, kernel_error(rows, kernel, depth, cosine)
        del K


def kernel_error(rows: Rows, kernel: str, depth: int, cosine: float) -> float:
    """Return a bound on the norm of K - K_exact for a computed Gram matrix K; `cosine` is the coherence of the rows.

    With |dK_ij| <= e |x_i| |x_j|, the norm of dK is at most e sum_i |x_i|**2 (Perron, and a rank-one matrix). Rows
    that are tiny compared with the largest may have subnormal entries: n 2**-900 covers their absolute error.
    """
    n, d = rows.unit.shape
    # The factor covers the rounding of the sum.
    energy = float(np.sum(rows.norms**2)) * (1.0 + 2.0**-30)
    return float(entry_error(kernel, depth, d, min(1.0, cosine + coherence_error(d))) * energy + n * 2.0**-900)


def widen_by_kernel_error(answer: Eigenvalue, error: float) -> Eigenvalue:
    """Widen an enclosure for a computed Gram matrix by its `kernel_error` (Weyl's inequality), and cut it at 0."""
    if answer.upper + error < 0.0:
        raise ArithmeticError(
            "a kernel's Gram matrix was found indefinite: please report this as a bug, with the data"
        )
    lower = max(0.0, step_down(answer.lower - error))
    upper = max(0.0, step_up(answer.upper + error))
    value = min(max(answer.value, lower), upper)
    status = answer.status
    if status not in (Status.UNRESOLVED, Status.UPPER_ONLY):
        status = status_of(lower, upper, value, RTOL, isolated=status is not Status.CLUSTERED)
    return replace(answer, value=value, lower=lower, upper=upper, status=status)
