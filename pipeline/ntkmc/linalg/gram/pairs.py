"""Statistics of pairs of data rows: coherence, and sums over cosines and inner products."""

from __future__ import annotations

from typing import Final, NamedTuple

from ntkmc.compiled import compiled
from ntkmc.linalg.eigen.rows import Rows
from ntkmc.numeric import Matrix
from ntkmc.theory.kernels.arccos import NEARLY_PARALLEL, first_layer_parallel


class PairSums(NamedTuple):
    """Statistics of pairs of rows, of all of them or of those in one tile of cosines.

    Attributes
    ----------
    coherence : float
        max |rho_ij|.
    inner_max, inner_sum, square_sum : float
        Of the inner products |x_i| |x_j| rho_ij: largest absolute one, sum, sum of squares.
    cosine_max : float
        max rho_ij.
    first : float
        rho_21 if that pair is included, else 0.
    """

    coherence: float
    inner_max: float
    inner_sum: float
    square_sum: float
    cosine_max: float
    first: float

    def merged(self, other: PairSums) -> PairSums:
        """Return the statistics of the pairs of both."""
        return PairSums(
            max(self.coherence, other.coherence),
            max(self.inner_max, other.inner_max),
            self.inner_sum + other.inner_sum,
            self.square_sum + other.square_sum,
            max(self.cosine_max, other.cosine_max),
            self.first + other.first,
        )


NO_PAIRS: Final = PairSums(0.0, 0.0, 0.0, 0.0, -1.0, 0.0)


def coherence_of(R: Matrix, rows: Rows) -> float:
    """Return max |rho_ij| over the pairs i < j from R = `gram.matrix.cosines(rows)`, 0 for a single row.

    The absolute error is at most `ntkmc.theory.kernels.coherence_error(d)`.
    """
    return float(_coherence(R, rows.unit, rows.unit, True))


def pair_sums(R: Matrix, left: Rows, right: Rows, *, diagonal: bool, coherence: float | None = None) -> PairSums:
    """Return the sums over the pairs of a tile R, (rows, columns), of cosines; `first` is 0.

    Parameters
    ----------
    left, right : Rows
        The data rows of the tile's rows and columns.
    diagonal : bool
        Whether both are the same rows, so that only pairs i > j count.
    coherence : float, optional
        If it is known already.
    """
    if coherence is None:
        coherence = float(_coherence(R, left.unit, right.unit, diagonal))
    return PairSums(coherence, *_pair_sums(R, left.norms, right.norms, diagonal), 0.0)


@compiled
def _coherence(R: Matrix, left: Matrix, right: Matrix, diagonal: bool) -> float:
    largest = 0.0
    for i in range(R.shape[0]):
        for j in range(i if diagonal else R.shape[1]):
            size = abs(R[i, j])
            if size > NEARLY_PARALLEL:
                size = abs(first_layer_parallel(left[i], right[j])[0])
            largest = max(largest, size)
    return largest


@compiled
def _pair_sums(R: Matrix, left: Matrix, right: Matrix, diagonal: bool) -> tuple[float, float, float, float]:
    """Return the largest |inner product|, the sums of inner products and of their squares, the largest cosine.

    `left`, `right`: norms of the rows.
    """
    largest, total, squares, closest = 0.0, 0.0, 0.0, -1.0
    for i in range(R.shape[0]):
        for j in range(i if diagonal else R.shape[1]):
            inner = (left[i] * right[j]) * R[i, j]
            largest = max(largest, abs(inner))
            total += inner
            squares += inner * inner
            closest = max(closest, R[i, j])
    return largest, total, squares, closest
