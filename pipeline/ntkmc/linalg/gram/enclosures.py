"""Enclosures for the exact kernel of data rows, all depths in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.result import Eigenvalue, Status
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.smallest import RTOL, check_method, enclose, rescaled, status_of
from ntkmc.linalg.eigen.spectrum import Spectrum, as_labels, measure
from ntkmc.linalg.eigen.symmetric import in_place
from ntkmc.linalg.gram.matrix import coherence_of, cosines, grams_of_cosines
from ntkmc.numeric import Matrix, step_down, step_up
from ntkmc.theory.kernels import check_depths, coherence_error, entry_error


def lambda_min(
    X: ArrayLike, kernel: str = "ntk", depths: Sequence[int] = (2,), *, method: str = "auto"
) -> dict[int, Eigenvalue]:
    """`ntkmc.lambda_min` without a client, which see."""
    check_method(method)
    wanted = check_depths(kernel, depths)
    data = as_data(X)
    # Scaled by a power of two, which is exact, so that no entry of K is subnormal or infinite for its norms alone.
    exponent = int(np.frexp(np.max(np.abs(data)))[1])
    exponent = exponent if abs(exponent) > 100 else 0
    rows = split_rows(np.ldexp(data, -exponent) if exponent else data)
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    answers: dict[int, Eigenvalue] = {}
    matrices = grams_of_cosines(R, rows, kernel, wanted)
    del R  # the matrices are computed in its place
    start: Matrix | None = None
    for depth, K in matrices:
        answers[depth] = widen_by_kernel_error(
            enclose(in_place(K), method=method, start=start), kernel_error(rows, kernel, depth, cosine)
        )
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
    """`ntkmc.spectrum` of a kernel's Gram matrix, from data: all bounds hold for the exact kernel.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, the largest with a norm between 2**-100 and 2**100; or all zero.
    kernel, depth
        As for `ntkmc.gram`.
    labels : array_like, (n,) or (k, n), optional
        Label vectors y, one a row.
    method
        As for `ntkmc.smallest_eigenvalue`.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array of that range, labels that do not fit, or an unknown kernel or
        depth.

    Examples
    --------
    >>> found = kernel_spectrum([[1.0, 0.0], [0.0, 1.0]], "h-infinity", labels=[1.0, 0.0])
    >>> round(found.quadratic_forms[0].value, 12)
    2.0
    """
    check_method(method)
    wanted = check_depths(kernel, (depth,))
    data = as_data(X)
    rows = split_rows(data)
    vectors = as_labels(labels, len(rows.norms))
    check_moderate_norms(rows)
    R = cosines(rows)
    error = kernel_error(rows, kernel, depth, coherence_of(R, rows))
    matrix = in_place(next(grams_of_cosines(R, rows, kernel, wanted))[1])
    smallest = widen_by_kernel_error(enclose(matrix, method=method), error)
    matrix.restore()
    return measure(matrix, smallest, vectors, error)


def check_moderate_norms(rows: Rows) -> None:
    """Raise `InputError` unless the largest row has a norm between 2**-100 and 2**100, or all rows are zero."""
    # Then forms y'K**-1 y, logarithms and squares of entries neither over- nor underflow.
    if rows.norms.any() and not 2.0**-100 < rows.norms.max() < 2.0**100:
        raise InputError(
            f"the largest row has norm {rows.norms.max():.3g}: rescale the data to between 2**-100 and 2**100"
        )


def kernel_error(rows: Rows, kernel: str, depth: int, cosine: float) -> float:
    """Bound on the norm of K - K_exact for a computed Gram matrix K; `cosine` is the coherence of the rows.

    With |dK_ij| <= e |x_i| |x_j|, the norm of dK is at most e sum_i |x_i|**2 (Perron, and a rank-one matrix). Rows
    that are tiny beside the largest may have subnormal entries: n 2**-900 covers their absolute error.
    """
    n, d = rows.unit.shape
    energy = float(np.sum(rows.norms**2)) * (1.0 + 2.0**-30)
    return float(entry_error(kernel, depth, d, min(1.0, cosine + coherence_error(d))) * energy + n * 2.0**-900)


def widen_by_kernel_error(answer: Eigenvalue, error: float) -> Eigenvalue:
    """Widen an enclosure for a computed Gram matrix by its `kernel_error` (Weyl), and cut it at 0."""
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
