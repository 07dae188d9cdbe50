"""lambda_min of a matrix held by several workers, with the certificate of `ntkmc.linalg.eigen.smallest`.

A `BlockedMatrix` provides products, factors and solves; the transport is up to the implementation. The eigenvector is
proposed as for a matrix in one array: by Lanczos on the matrix, or by Lanczos on the inverse of a factor in float32.
Which one is cheaper depends on n and on the number of workers: all workers share a product, but a solve passes from
one to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

import numpy as np

from ntkmc.linalg.blocked.block_rows import Shifted
from ntkmc.linalg.blocked.cost import FIRST_STEPS, inverse_is_cheaper
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.krylov import CONVERGED, MOST_INVERSE_STEPS, SHIFTS, STRIDE, STRIDES, start_block
from ntkmc.linalg.eigen.lanczos import smallest_ritz_pair
from ntkmc.linalg.eigen.rayleigh import Quotient, quotient_of_product, scaled_by_power_of_two
from ntkmc.linalg.eigen.result import Eigenvalue, Status
from ntkmc.linalg.eigen.smallest import RTOL, certify, to_eigenvalue
from ntkmc.linalg.eigen.solvers import LEAST_ORDER, CountedOperator, eigsh_pairs, lobpcg_pairs, smallest_pair
from ntkmc.linalg.eigen.temple_kato import (
    MOST_SOLVES,
    bound_by_deflation,
    is_sharp,
    plan_deflation,
    residual_of,
    temple_kato,
    undo_deflation,
)
from ntkmc.numeric import Matrix

METHODS: Final = ("auto", "lanczos", "eigsh", "lobpcg")

LANCZOS_STRIDE: Final = 12
"""Steps of Lanczos on the matrix between checks of its convergence."""

MOST_STEPS: Final = 1500
"""Largest number of steps of Lanczos on the matrix."""

BASIS_BYTES: Final = 2**30
"""Largest size of its basis, which the driver holds in memory."""

# SciPy's solvers, without a factor: a larger basis than for shift-invert, and few restarts.
_ARPACK_BASIS: Final = 64
_ARPACK_RESTARTS: Final = 25
_LOBPCG_STEPS: Final = 100
# Their residual, relative to the largest entry: the certificate sharpens the vector.
_RESIDUAL: Final = 1e-5


class BlockedMatrix(Protocol):
    """Matrix in tiles; an implementation holds them and carries out each operation on all of them."""

    @property
    def order(self) -> int:
        """n."""

    @property
    def workers(self) -> int:
        """Number of workers that share the tiles."""

    def products(self, V: Matrix) -> Matrix:
        """Return K V for V (n, k)."""

    def exact_product(self, v: Matrix) -> tuple[Matrix, Matrix]:
        """Return K v in double-double, high and low parts, for v (n,)."""

    def factor(self, shifted: Shifted) -> bool:
        """Factor a shifted matrix; return whether the factorization was completed with finite numbers."""

    def solve(self, x: Matrix) -> Matrix:
        """Solve with the matrix that was factored last, for x (n,); in the precision of the factor."""

    def precondition(self, V: Matrix) -> Matrix:
        """Solve with the diagonal tiles (block Jacobi), for V (n, k)."""


class Proposal(NamedTuple):
    """A vector (n,), an estimate of lambda_2 - lambda_1, residual over gap, and the number of steps."""

    vector: Matrix
    gap: float
    ratio: float
    steps: int


@dataclass
class BlockedProblem:
    """`ntkmc.linalg.eigen.smallest.EigenProblem` of a `BlockedMatrix`.

    Attributes
    ----------
    matrix : BlockedMatrix
    diagonal : ndarray, (n,)
    largest : float
        Bound on |k_ij|.
    """

    matrix: BlockedMatrix
    diagonal: Matrix
    largest: float
    _factorizations: int = 0

    @property
    def order(self) -> int:
        return len(self.diagonal)

    def temple_kato(self, vector: Matrix, gap: float) -> tuple[Quotient, float, Matrix, int]:
        unit = vector / np.sqrt(np.dot(vector, vector))
        image = self.product(unit)
        theta = float(np.dot(unit, image))
        tau, shift, above, c, rounding = plan_deflation(self.diagonal, unit, theta, gap, self.largest)
        second, solves = -np.inf, 0
        if shift > theta:
            diagonal = np.nextafter((self.diagonal + (tau * unit) * unit) - shift, -np.inf)
            if allowance(diagonal) <= c and self._factor(diagonal, unit, tau):
                second = bound_by_deflation(shift, c, rounding)
                unit, solves = self._sharpen(unit, image - shift * unit, tau, shift, above)
        quotient = self.quotient(unit)
        return quotient, temple_kato(quotient, second), unit, solves

    def cholesky_shifted(self, shift: float) -> tuple[int, float]:
        diagonal = np.nextafter(self.diagonal - shift, -np.inf)
        return int(not self._factor(diagonal, np.zeros(0), 0.0)), allowance(diagonal)

    def lanczos_inverse(self, start: Matrix) -> tuple[Matrix, float, int]:
        values, vector, _, steps = smallest_ritz_pair(
            lambda q: -self.matrix.solve(q), start, MOST_INVERSE_STEPS, first=STRIDE, stride=STRIDES[1]
        )
        gap = 1.0 / values[0] - 1.0 / values[1] if len(values) > 1 and values[1] < 0.0 else 0.0
        # One solve more: components far up the spectrum hardly enter the residual of the inverse, but dominate that
        # of K.
        return np.asarray(self.matrix.solve(vector), dtype=np.float64), gap, steps + 1

    def product(self, v: Matrix) -> Matrix:
        """Return K v for v (n,)."""
        return np.ascontiguousarray(self.matrix.products(v.reshape(-1, 1))[:, 0])

    def quotient(self, vector: Matrix) -> Quotient:
        """Return the Rayleigh quotient and residual, with proved error bounds."""
        w = scaled_by_power_of_two(vector)
        return quotient_of_product(*self.matrix.exact_product(w), w, self.largest)

    def factor_float32(self, shift: float) -> bool:
        """Factor K - shift I in float32, for solves that no proof depends on; return whether that succeeded."""
        return self._factor(self.diagonal - shift, np.zeros(0), 0.0, single=True)

    def _factor(self, diagonal: Matrix, vector: Matrix, strength: float, *, single: bool = False) -> bool:
        self._factorizations += 1
        return self.matrix.factor(Shifted(self._factorizations, diagonal, vector, strength, single))

    def _sharpen(self, v: Matrix, image: Matrix, tau: float, shift: float, above: float) -> tuple[Matrix, int]:
        """Return `ntkmc.linalg.eigen.temple_kato._sharpen`, which is compiled and cannot call a `BlockedMatrix`."""
        w = self.matrix.solve(v)
        weight = tau / (1.0 - tau * float(np.dot(v, w)))
        x, Bx, previous, best = v, image, v, np.inf
        for k in range(MOST_SOLVES + 1):
            quotient, residual = residual_of(x, Bx)
            if not residual < best:
                return previous, k
            if k == MOST_SOLVES or is_sharp(residual, above, shift + quotient):
                return x, k
            previous, best = x, residual
            x = undo_deflation(np.array(self.matrix.solve(x)), v, w, weight)
            Bx = self.product(x) - shift * x
        return x, MOST_SOLVES


def enclose_blocked(
    problem: BlockedProblem, method: str = "auto", start: Matrix | None = None, *, certificate: bool = True
) -> Eigenvalue:
    """Return `ntkmc.smallest_eigenvalue` of a matrix held by several workers.

    Parameters
    ----------
    problem : BlockedProblem
    method : {"auto", "lanczos", "eigsh", "lobpcg"}
        Method that proposes the eigenvector. `lanczos`: on the matrix, and if the eigenvalue is not well separated, on
        the inverse of one factor; `eigsh`, `lobpcg`: SciPy's, on products, the latter with block Jacobi as
        preconditioner; `auto`: `lanczos`, which needed the fewest products in comparisons.
    start : ndarray, (n,), optional
        Start vector.
    certificate : bool
        Whether to prove a lower end, by a factorization in float64. If not, it is -inf, and the status is
        `UPPER_ONLY`.
    """
    proposal = _propose(problem, method, start, factors=certificate)
    tried = ["lanczos" if method == "auto" else method]
    steps = proposal.steps
    if not certificate:
        quotient = problem.quotient(proposal.vector)
        return Eigenvalue(
            quotient.value,
            -np.inf,
            quotient.upper,
            Status.UPPER_ONLY,
            tried[0],
            steps,
            quotient.residual,
            proposal.vector,
        )
    if not proposal.ratio <= CONVERGED:
        improved = _propose_by_inverse(problem, proposal)
        if improved is not None:
            tried.append("inverse")
            proposal, steps = improved, steps + improved.steps
    proved = certify(problem, proposal.vector, proposal.gap, RTOL)
    # The spectral radius is a valid bound, if a useless one. The result must be finite.
    if np.isnan(proved.lower):
        proved = proved._replace(lower=-problem.order * problem.largest, isolated=False)
    return to_eigenvalue(proved, problem, RTOL, tried, steps + proved.solves)


def _propose(problem: BlockedProblem, method: str, start: Matrix | None, *, factors: bool) -> Proposal:
    """Propose a vector; `factors` tells whether a factorization may follow, so that a rough vector is enough."""
    n = problem.order
    first = start_block(n, 1)[:, 0] if start is None else start
    if method in ("eigsh", "lobpcg") and n >= LEAST_ORDER["lobpcg"]:
        return _propose_by_scipy(problem, method, first)
    most = _most_steps(n, problem.matrix.workers, factors=factors)
    values, vector, ratio, steps = smallest_ritz_pair(
        problem.product, first, most, first=LANCZOS_STRIDE, stride=LANCZOS_STRIDE
    )
    return Proposal(vector, float(values[1] - values[0]) if len(values) > 1 else 0.0, ratio, steps)


def _most_steps(n: int, workers: int, *, factors: bool = True) -> int:
    """Return the largest number of steps of Lanczos on the matrix.

    >>> _most_steps(12_000, 2), _most_steps(100_000, 100)
    (24, 1342)
    """
    # Where Lanczos on the inverse is cheaper, the matrix only has to give a shift for its factor.
    if factors and inverse_is_cheaper(n, workers):
        return min(n, FIRST_STEPS)
    return min(n, MOST_STEPS, BASIS_BYTES // (8 * n))


def _propose_by_inverse(problem: BlockedProblem, proposal: Proposal) -> Proposal | None:
    """Lanczos on the inverse about a shift below, as in `ntkmc.linalg.eigen.krylov`; None if no shift was factored."""
    unit = proposal.vector / np.linalg.norm(proposal.vector)
    theta = float(np.dot(unit, problem.product(unit)))
    for fraction in SHIFTS:
        distance = fraction * max(proposal.gap, 4.0 * allowance(problem.diagonal - theta))
        if problem.factor_float32(theta - distance):
            vector, gap, steps = problem.lanczos_inverse(unit)
            return Proposal(vector, gap, 0.0, steps)
    return None


def _propose_by_scipy(problem: BlockedProblem, method: str, start: Matrix) -> Proposal:
    """SciPy's `eigsh` or `lobpcg` on products with the matrix, and the quality of their vector."""
    n, matrix = problem.order, problem.matrix
    product = CountedOperator(lambda V: matrix.products(V.reshape(n, -1)).reshape(V.shape))
    if method == "eigsh":
        # The lower end without shift-invert: there is no factor yet.
        values, vectors = eigsh_pairs(
            product, start, "SA", basis=_ARPACK_BASIS, tol=_RESIDUAL, restarts=_ARPACK_RESTARTS
        )
        if len(values) == 0:
            return Proposal(np.array(start), 0.0, np.inf, product.vectors)
    else:
        tol = _RESIDUAL * problem.largest
        values, vectors, _ = lobpcg_pairs(product, start, n, matrix.precondition, tol=tol, steps=_LOBPCG_STEPS)
    vector, gap = smallest_pair(values, vectors)
    unit = vector / np.linalg.norm(vector)
    _, residual = residual_of(unit, problem.product(unit))
    return Proposal(unit, gap, residual / gap if gap > 0.0 else np.inf, product.vectors + 1)
