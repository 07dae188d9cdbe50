"""lambda_min from data: enclosures of the exact kernel, all depths in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.linalg.eigenvalue import Eigenvalue, Status
from ntkmc.linalg.gram import coherence_error, coherence_of, cosines, grams_of_cosines
from ntkmc.linalg.lapack import Matrix
from ntkmc.linalg.rows import Rows, as_data, split_rows
from ntkmc.linalg.smallest import RTOL, enclose, rescaled, status_of
from ntkmc.linalg.symmetric import own
from ntkmc.theory.kernels import check_depths, entry_error


def lambda_min(X: ArrayLike, kernel: str = "ntk", depths: Sequence[int] = (2,)) -> dict[int, Eigenvalue]:
    """Smallest eigenvalues of a kernel's Gram matrix at several depths, from data.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, any norms.
    kernel, depths
        As for `ntkmc.grams`.

    Returns
    -------
    dict of int to Eigenvalue
        The bounds speak of the *exact* kernel of X: the error of evaluating its entries (bounded by
        `ntkmc.theory.kernels.entry_error`) is folded in, and the lower end is at least 0, because the exact kernel
        is positive semi-definite.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array, or an unknown kernel or depth.

    Examples
    --------
    >>> answer = lambda_min([[1.0, 0.0], [0.0, 1.0]], "h-infinity")[2]
    >>> answer.lower <= 0.5 <= answer.upper
    True
    """
    wanted = check_depths(kernel, depths)
    data = as_data(X)
    # Scaled by a power of two, which is exact, so that no entry of K is subnormal or infinite for its norms alone.
    exponent = int(np.frexp(np.max(np.abs(data)))[1])
    exponent = exponent if abs(exponent) > 100 else 0
    rows = split_rows(np.ldexp(data, -exponent))
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    answers: dict[int, Eigenvalue] = {}
    matrices = grams_of_cosines(R, rows, kernel, wanted)
    del R  # the matrices are computed in its place
    start: Matrix | None = None
    for depth, K in matrices:
        answers[depth] = exact_kernel_eigenvalue(K, rows, kernel, depth, cosine, start)
        start = answers[depth].vector
    if 2 * exponent > 1000:
        raise InputError(
            f"data have entries of size {np.max(np.abs(data)):.3g}, lambda_min may overflow: rescale them"
        )
    if not exponent:
        return answers
    scaled = {depth: rescaled(answer, 2 * exponent, RTOL) for depth, answer in answers.items()}
    return {depth: replace(answer, lower=max(answer.lower, 0.0)) for depth, answer in scaled.items()}


def exact_kernel_eigenvalue(
    K: Matrix, rows: Rows, kernel: str, depth: int, cosine: float, start: Matrix | None = None
) -> Eigenvalue:
    """Enclosure for the exact kernel of `rows` from its computed Gram matrix K, whose upper triangle is overwritten.

    `cosine` is the coherence of the rows, `start` a start vector for the iteration.

    With |dK_ij| <= e |x_i| |x_j|, the norm of dK is at most e sum_i |x_i|**2 (Perron, and a rank-one matrix); Weyl.
    Rows that are tiny beside the largest may have subnormal entries: n 2**-900 covers their absolute error.
    """
    answer = enclose(own(K), start=start)
    d = rows.unit.shape[1]
    energy = float(np.sum(rows.norms**2)) * (1.0 + 2.0**-30)
    error = entry_error(kernel, depth, d, min(1.0, cosine + coherence_error(d))) * energy + len(rows.norms) * 2.0**-900
    if answer.upper + error < 0.0:
        raise ArithmeticError(
            "a kernel's Gram matrix was found indefinite: please report this as a bug, with the data"
        )
    lower = max(0.0, float(np.nextafter(answer.lower - error, -np.inf)))
    upper = max(0.0, float(np.nextafter(answer.upper + error, np.inf)))
    value = min(max(answer.value, lower), upper)
    status = answer.status
    if status is not Status.UNRESOLVED:
        status = status_of(lower, upper, value, RTOL, isolated=status is not Status.CLUSTERED)
    return Eigenvalue(value, lower, upper, status, answer.method, answer.iterations, answer.residual, answer.vector)
