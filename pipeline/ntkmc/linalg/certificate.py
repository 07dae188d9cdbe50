"""From a proposed vector to an enclosure: what every method's answer goes through."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from ntkmc.linalg.deflation import enclose_isolated
from ntkmc.linalg.enclosure import allowance, factor_shifted
from ntkmc.linalg.krylov import MOST_INVERSE_STEPS, inverse_end, start_block
from ntkmc.linalg.lapack import Matrix
from ntkmc.linalg.quotient import Quotient
from ntkmc.linalg.symmetric import Symmetric

MARGIN: Final = 1.0 / 8.0
"""Distance of the shift below the quotient, in allowances: the true error of a Cholesky is far below its allowance,
so that a shift this close nearly always succeeds."""

ATTEMPTS: Final = 12

STIR: Final = 1.0
"""Share of the fixed start vector that is stirred into a poor vector. Less of it, and Lanczos may converge to another
eigenvalue, whose vector the poor one nearly is, before it has seen the smallest."""

NUMERICS: Final = {"margin": MARGIN, "attempts": ATTEMPTS, "stir": STIR}


class Certificate(NamedTuple):
    """What was proved.

    Attributes
    ----------
    quotient : Quotient
        The upper end.
    lower : float
        The lower end.
    isolated : bool
        Whether lambda_2 was proved to lie apart, so that the width is free of the allowance.
    vector : ndarray, (n,)
        The vector behind `quotient`.
    solves : int
        Solves spent on it here.
    """

    quotient: Quotient
    lower: float
    isolated: bool
    vector: Matrix
    solves: int

    @property
    def width(self) -> float:
        """Distance of the two ends, NaN if there is no lower one."""
        return self.quotient.upper - self.lower


class Bench(Protocol):
    """What a proof needs of a matrix, wherever its entries are: in one array (`Whole`) or blocked over a cluster."""

    @property
    def diagonal(self) -> Matrix:
        """The matrix's diagonal, (n,)."""

    def isolated(self, vector: Matrix, gap: float) -> tuple[Quotient, float, Matrix, int]:
        """`ntkmc.linalg.deflation.enclose_isolated`."""

    def factor_below(self, shift: float) -> tuple[int, float]:
        """`ntkmc.linalg.enclosure.factor_shifted`."""

    def inverse_end(self, start: Matrix) -> tuple[Matrix, float, int]:
        """`ntkmc.linalg.krylov.inverse_end` of the matrix that was factored last."""


@dataclass(frozen=True)
class Whole:
    """A matrix in one array, with both triangles in place."""

    matrix: Symmetric

    @property
    def diagonal(self) -> Matrix:
        """As of `Bench`."""
        return self.matrix.diagonal

    def isolated(self, vector: Matrix, gap: float) -> tuple[Quotient, float, Matrix, int]:
        """As of `Bench`."""
        matrix = self.matrix
        return enclose_isolated(matrix.A, matrix.W, matrix.diagonal, vector, gap, matrix.largest)

    def factor_below(self, shift: float) -> tuple[int, float]:
        """As of `Bench`."""
        matrix = self.matrix
        matrix.restore()
        return factor_shifted(matrix.A, matrix.W, matrix.diagonal, shift)

    def inverse_end(self, start: Matrix) -> tuple[Matrix, float, int]:
        """As of `Bench`."""
        matrix = self.matrix
        basis = np.empty((min(matrix.order, MOST_INVERSE_STEPS) + 1, matrix.order))
        found = inverse_end(matrix.W, basis, start)
        matrix.restore()
        return found


def certify(bench: Bench, vector: Matrix, gap: float, rtol: float) -> Certificate:
    """Enclose lambda_1; `lower` is NaN if no shift could be factored.

    First by deflation, which needs lambda_2 - lambda_1 well above the allowance c of a Cholesky. Where that fails, or
    leaves more than rtol and 2 c, lambda_1 >= s - c with a shift s close below the quotient. If s has to be far below
    it, because the vector was poor, the factor serves for Lanczos on the inverse in float64, and both are tried again.
    """
    found = _isolated(bench, np.ascontiguousarray(vector), gap)
    c = allowance(bench.diagonal - found.quotient.value)
    margin = MARGIN * c
    best = found
    reached = np.inf
    for _ in range(ATTEMPTS):
        if best.width <= max(rtol * abs(best.quotient.value), 2.0 * c):
            return best
        shift = best.quotient.value - margin - best.quotient.error
        info, c = bench.factor_below(shift)
        if info != 0:
            if np.isinf(reached):
                margin = max(16.0 * margin, 2.0 * c, best.quotient.residual)
            elif margin < 2.0 * c:
                margin = 2.0 * c
            else:  # between one that failed and one that did not
                margin = float(np.sqrt(margin * reached))
            continue
        reached = margin
        best = better(best, best._replace(lower=float(np.nextafter(shift - c, -np.inf)), isolated=False))
        if margin <= 2.0 * c:
            break
        vector, gap, steps = bench.inverse_end(_stirred(best.vector))
        found = _isolated(bench, vector, gap)
        best = better(best, found._replace(solves=best.solves + steps + found.solves))
        margin = MARGIN * c
    return best


def _stirred(vector: Matrix) -> Matrix:
    """A start vector close to `vector` that lies in no invariant subspace: it may be another eigenvalue's exactly."""
    n = len(vector)
    other = start_block(n, 1)[:, 0] / np.sqrt(n)
    norm = float(np.linalg.norm(vector))
    return np.asarray(vector / norm + STIR * other if np.isfinite(norm) and norm > 0.0 else other)


def better(one: Certificate, other: Certificate) -> Certificate:
    """The lower quotient, and the higher of the lower ends that were proved."""
    lower = other if np.isnan(one.lower) or other.lower > one.lower else one
    upper = other if other.quotient.value < one.quotient.value else one
    return Certificate(upper.quotient, lower.lower, lower.isolated, upper.vector, other.solves)


def _isolated(bench: Bench, vector: Matrix, gap: float) -> Certificate:
    quotient, lower, vector, solves = bench.isolated(vector, gap)
    return Certificate(quotient, lower, not np.isnan(lower), vector, solves)
