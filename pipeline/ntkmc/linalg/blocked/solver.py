"""lambda_min of a matrix that no single worker holds: the same proof, on products, factors and solves done elsewhere.

A `BlockedMatrix` does these; how its messages travel is its own business. What is done with them is the business of
`ntkmc.linalg.eigen.smallest` as it stands, and the eigenvector is proposed in the same two ways as that of a matrix in
one array: by Lanczos on the matrix, or by Lanczos on the inverse of one factor in float32. Which of them is cheaper
depends on n and on the number of workers, since a product is shared among them all, and a solve is not.
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from scipy.linalg import eigh_tridiagonal
from scipy.sparse.linalg import ArpackError, ArpackNoConvergence, LinearOperator, eigsh, lobpcg

from ntkmc.linalg.blocked.block_rows import Shifted
from ntkmc.linalg.blocked.cost import FIRST_STEPS, by_inverse
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.krylov import CONVERGED, MOST_INVERSE_STEPS, SHIFTS, STRIDE, STRIDES, start_block
from ntkmc.linalg.eigen.rayleigh import Quotient, moderate, quotient_of_product
from ntkmc.linalg.eigen.result import Eigenvalue, Status
from ntkmc.linalg.eigen.smallest import RTOL, Certificate, answer_of, certify
from ntkmc.linalg.eigen.temple_kato import MOST_SOLVES, WIDTH, plan_deflation, proved_by_deflation, temple_kato
from ntkmc.numeric import Matrix

METHODS: Final = ("auto", "lanczos", "eigsh", "lobpcg")

LOOK: Final = 12
"""Steps of Lanczos between two looks at its convergence."""

MOST_STEPS: Final = 1500
"""Steps of Lanczos on the matrix, at most."""

BASIS: Final = 2**30
"""Bytes of its basis, which the driver holds, at most."""

_RESTARTS: Final = 25  # of ARPACK
_LOBPCG_STEPS: Final = 100
_BLOCK: Final = 4  # LOBPCG: one wanted vector and three guards, as in `ntkmc.linalg.eigen.solvers`
_RESIDUAL: Final = 1e-5  # of SciPy's solvers, relative to the largest entry: what they find is sharpened later
_warnings_dropped: Final = threading.Lock()  # the filters belong to the process: one thread at a time


class BlockedMatrix(Protocol):
    """Matrix in tiles; an implementation holds them and carries out each operation on all of them."""

    @property
    def order(self) -> int:
        """n."""

    @property
    def workers(self) -> int:
        """Among how many the tiles are shared."""

    def products(self, V: Matrix) -> Matrix:
        """K V for V (n, k)."""

    def exact_product(self, v: Matrix) -> tuple[Matrix, Matrix]:
        """K v in double-double, for v (n,)."""

    def factor(self, shifted: Shifted) -> bool:
        """Factor; whether that ran to its end with finite numbers."""

    def solve(self, x: Matrix) -> Matrix:
        """The solution for the matrix that was factored last, x (n,)."""

    def precondition(self, V: Matrix) -> Matrix:
        """Block Jacobi: the diagonal tiles solved with, for V (n, k)."""


class Proposal(NamedTuple):
    """A vector (n,), an estimate of lambda_2 - lambda_1, residual over gap, and the steps spent."""

    vector: Matrix
    gap: float
    ratio: float
    steps: int


@dataclass
class BlockedProblem:
    """A matrix that a fleet holds, as `ntkmc.linalg.eigen.smallest.EigenProblem` wants it.

    Attributes
    ----------
    fleet : BlockedMatrix
    diagonal : ndarray, (n,)
    largest : float
        Bound on |k_ij|.
    """

    fleet: BlockedMatrix
    diagonal: Matrix
    largest: float
    _factors: int = 0

    @property
    def order(self) -> int:
        """n."""
        return len(self.diagonal)

    def isolated(self, vector: Matrix, gap: float) -> tuple[Quotient, float, Matrix, int]:
        """As `ntkmc.linalg.eigen.temple_kato.temple_kato_enclosure`, which see."""
        unit = vector / np.sqrt(np.dot(vector, vector))
        image = self.fleet.products(unit[:, None])[:, 0]
        theta = float(np.dot(unit, image))
        tau, shift, above, c, rounding = plan_deflation(self.diagonal, unit, theta, gap, self.largest)
        proved, solves = -np.inf, 0
        if shift > theta:
            diagonal = np.nextafter((self.diagonal + (tau * unit) * unit) - shift, -np.inf)
            if allowance(diagonal) <= c and self._factor(diagonal, unit, tau):
                proved = proved_by_deflation(shift, c, rounding)
                unit, solves = self._sharpen(unit, image - shift * unit, tau, shift, above)
        quotient = self.quotient(unit)
        return quotient, temple_kato(quotient, proved), unit, solves

    def cholesky_shifted(self, shift: float) -> tuple[int, float]:
        """As `ntkmc.linalg.eigen.cholesky_bound.factor_shifted`, but that it does not say where it broke down."""
        diagonal = np.nextafter(self.diagonal - shift, -np.inf)
        return int(not self._factor(diagonal, np.zeros(0), 0.0)), allowance(diagonal)

    def lanczos_inverse(self, start: Matrix) -> tuple[Matrix, float, int]:
        """As `ntkmc.linalg.eigen.krylov.lanczos_inverse`."""
        values, vectors, _, steps = lanczos(
            lambda q: -self.fleet.solve(q), start, MOST_INVERSE_STEPS, first=STRIDE, look=STRIDES[1]
        )
        gap = 1.0 / values[0] - 1.0 / values[1] if len(values) > 1 and values[1] < 0.0 else 0.0
        # One solve more: components far up the spectrum hardly enter the inverse's residual, but weigh most in K's.
        return self.fleet.solve(vectors), gap, steps + 1

    def quotient(self, vector: Matrix) -> Quotient:
        """Rayleigh quotient and residual, proved."""
        w = moderate(vector)
        return quotient_of_product(*self.fleet.exact_product(w), w, self.largest)

    def propose_below(self, shift: float) -> bool:
        """Factor K - shift I in float32, for solves that nothing is proved with; whether it could be."""
        return self._factor(self.diagonal - shift, np.zeros(0), 0.0, single=True)

    def _factor(self, diagonal: Matrix, vector: Matrix, strength: float, *, single: bool = False) -> bool:
        self._factors += 1
        return self.fleet.factor(Shifted(self._factors, diagonal, vector, strength, single))

    def _sharpen(self, v: Matrix, image: Matrix, tau: float, shift: float, above: float) -> tuple[Matrix, int]:
        """As `ntkmc.linalg.eigen.temple_kato._sharpen`, which explains it; that one is compiled and cannot call a
        fleet."""
        w = self.fleet.solve(v)
        weight = tau / (1.0 - tau * float(np.dot(v, w)))
        x, By, previous, best = v, image, v, np.inf
        for k in range(MOST_SOLVES + 1):
            quotient = float(np.dot(x, By))
            residual = float(np.linalg.norm(By - quotient * x))
            if not residual < best:
                return previous, k
            if residual * residual <= 0.5 * above * WIDTH * abs(shift + quotient) or k == MOST_SOLVES:
                return x, k
            previous, best = x, residual
            y = self.fleet.solve(x)
            y += (weight * float(np.dot(v, y))) * w
            x = y / np.linalg.norm(y)
            By = self.fleet.products(x[:, None])[:, 0] - shift * x
        return x, MOST_SOLVES


def enclose_blocked(
    bench: BlockedProblem, method: str = "auto", start: Matrix | None = None, *, certificate: bool = True
) -> Eigenvalue:
    """`ntkmc.smallest_eigenvalue` of a matrix that a fleet holds.

    Parameters
    ----------
    bench : BlockedProblem
    method : {"auto", "lanczos", "eigsh", "lobpcg"}
        What proposes the eigenvector. `lanczos`: with full orthogonalization, and where the eigenvalue does not stand
        apart far enough, on the inverse of one factor; `eigsh`, `lobpcg`: SciPy's, on products, the latter with block
        Jacobi as preconditioner; `auto`: `lanczos`, which needs the fewest products where they were compared.
    start : ndarray, (n,), optional
        Start vector.
    certificate : bool
        Whether to spend a factorization on the lower end; without it that is -inf, and the status says so.
    """
    proposal = _propose(bench, method, start, factors=certificate)
    tried = ["lanczos" if method == "auto" else method]
    steps = proposal.steps
    if not certificate:
        quotient = bench.quotient(proposal.vector)
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
        better = _by_inverse(bench, proposal)
        if better is not None:
            tried.append("inverse")
            proposal, steps = better, steps + better.steps
    found: Certificate = certify(bench, proposal.vector, proposal.gap, RTOL)
    if np.isnan(found.lower):
        found = found._replace(lower=-bench.order * bench.largest, isolated=False)
    return answer_of(found, bench, RTOL, tried, steps + found.solves)


def _propose(bench: BlockedProblem, method: str, start: Matrix | None, *, factors: bool) -> Proposal:
    """`factors`: whether a factor may follow, so that a few steps are enough where it is the cheaper way on."""
    n = bench.order
    first = start_block(n, 1)[:, 0] if start is None else start
    if method in ("eigsh", "lobpcg") and n >= 5 * _BLOCK:
        return (_arpack if method == "eigsh" else _locally_optimal)(bench, first)

    def product(q: Matrix) -> Matrix:
        return bench.fleet.products(q[:, None])[:, 0]

    values, vector, ratio, steps = lanczos(
        product, first, _most_steps(n, bench.fleet.workers, factors=factors), first=LOOK, look=LOOK
    )
    return Proposal(vector, float(values[1] - values[0]) if len(values) > 1 else 0.0, ratio, steps)


def _most_steps(n: int, workers: int, *, factors: bool = True) -> int:
    """Steps of Lanczos on the matrix: what it takes, or only the first where a factor is the cheaper way on.

    >>> _most_steps(12_000, 2), _most_steps(100_000, 100)
    (24, 1342)
    """
    return min(n, FIRST_STEPS) if factors and by_inverse(n, workers) else min(n, MOST_STEPS, BASIS // (8 * n))


def _by_inverse(bench: BlockedProblem, proposal: Proposal) -> Proposal | None:
    """Lanczos on the inverse about a shift below, as in `ntkmc.linalg.eigen.krylov`; None if no shift could be
    factored."""
    unit = proposal.vector / np.linalg.norm(proposal.vector)
    theta = float(np.dot(unit, bench.fleet.products(unit[:, None])[:, 0]))
    for fraction in SHIFTS:
        distance = fraction * max(proposal.gap, 4.0 * allowance(bench.diagonal - theta))
        if bench.propose_below(theta - distance):
            vector, gap, steps = bench.lanczos_inverse(unit)
            return Proposal(vector, gap, 0.0, steps)
    return None


def lanczos(
    apply: Callable[[Matrix], Matrix], start: Matrix, most: int, *, first: int, look: int
) -> tuple[Matrix, Matrix, float, int]:
    """Lanczos with full orthogonalization towards the smallest eigenvalue of an operator.

    Parameters
    ----------
    apply : callable
        The operator on (n,).
    start : ndarray, (n,)
    most : int
        Steps, at most.
    first : int
        Steps before the first look at convergence: after one or two, a start vector close to an eigenvector looks
        converged whichever it is.
    look : int
        Steps between looks.

    Returns
    -------
    values : ndarray, (1,) or (2,)
        Smallest Ritz values.
    vector : ndarray, (n,)
        The first one's vector.
    ratio : float
        Its residual over the gap to the second: about the sine of the angle to the eigenvector.
    steps : int

    Examples
    --------
    >>> diagonal = np.array([1.0, 2.0, 3.0, 5.0])
    >>> values, vector, ratio, steps = lanczos(lambda q: diagonal * q, np.ones(4), 4, first=2, look=2)
    >>> round(float(values[0]), 12), steps
    (1.0, 4)
    """
    n = len(start)
    most = min(n, most)
    Q = np.empty((min(most, 4 * look) + 1, n))
    alpha, beta = np.zeros(most), np.zeros(most)
    Q[0] = start / np.linalg.norm(start)
    size = 0.0
    for step in range(most):
        if step + 1 == len(Q):  # grown as needed: few problems take all steps
            Q = np.concatenate([Q, np.empty((min(len(Q), most + 1 - len(Q)), n))])
        w = np.array(apply(Q[step]))
        basis = Q[: step + 1]
        once = basis @ w
        w -= once @ basis
        second = basis @ w  # again: Gram and Schmidt alone lose orthogonality to the converged top of the spectrum
        w -= second @ basis
        alpha[step] = once[-1] + second[-1]
        beta[step] = np.linalg.norm(w)
        size = max(size, abs(alpha[step]), float(beta[step]))
        closed = not beta[step] > 16.0 * np.finfo(np.float64).eps * size or step + 1 == n
        if closed or step + 1 == most or (step + 1 >= first and (step + 1 - first) % look == 0):
            wanted = (0, min(1, step))
            found = eigh_tridiagonal(alpha[: step + 1], beta[:step], select="i", select_range=wanted)
            values, vectors = (np.asarray(each, dtype=np.float64) for each in found)
            gap = values[1] - values[0] if len(values) > 1 else 0.0
            residual = 0.0 if closed else abs(float(beta[step] * vectors[-1, 0]))
            ratio = residual / gap if gap > 0.0 else (0.0 if closed else np.inf)
            if closed or ratio <= CONVERGED or step + 1 == most:
                return values, vectors[:, 0] @ basis, float(ratio), step + 1
        Q[step + 1] = w / beta[step]
    raise AssertionError("the last step returns")


def _arpack(bench: BlockedProblem, start: Matrix) -> Proposal:
    """SciPy's `eigsh` for the lower end, on products: there is no factor yet that a shift-inverted mode would need."""
    steps = 0

    def product(x: Matrix) -> Matrix:
        nonlocal steps
        steps += 1
        return bench.fleet.products(np.asarray(x).reshape(-1, 1))[:, 0]

    n = bench.order
    operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
    try:
        values, vectors = eigsh(
            operator, k=2, which="SA", v0=start, ncv=min(n - 1, 64), tol=_RESIDUAL, maxiter=_RESTARTS
        )
    except ArpackNoConvergence as partial:
        values, vectors = np.real(partial.eigenvalues), np.real(partial.eigenvectors)
    except ArpackError:
        values, vectors = np.zeros(0), np.zeros((n, 0))
    if len(values) == 0:
        return Proposal(np.array(start), 0.0, np.inf, steps)
    order = np.argsort(values)
    return _judged(bench, np.real(values[order]), np.real(vectors[:, order[0]]), steps)


def _locally_optimal(bench: BlockedProblem, start: Matrix) -> Proposal:
    """SciPy's `lobpcg` with block Jacobi as preconditioner; its warnings are dropped because its answer is checked."""
    n = bench.order
    block = start_block(n, _BLOCK).copy()
    block[:, 0] = start
    steps = 0

    def product(V: Any) -> Matrix:
        nonlocal steps
        steps += np.shape(V)[1] if np.ndim(V) == 2 else 1
        return bench.fleet.products(np.asarray(V).reshape(n, -1)).reshape(np.shape(V))

    with _warnings_dropped, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values, vectors = lobpcg(
            LinearOperator((n, n), matvec=product, matmat=product, dtype=np.float64),
            block,
            M=LinearOperator(
                (n, n),
                matvec=lambda V: bench.fleet.precondition(np.asarray(V).reshape(n, -1))[:, 0],
                matmat=bench.fleet.precondition,
                dtype=np.float64,
            ),
            largest=False,
            tol=_RESIDUAL * bench.largest,
            maxiter=_LOBPCG_STEPS,
        )
    order = np.argsort(values)
    return _judged(bench, np.real(values[order]), np.real(vectors[:, order[0]]), steps)


def _judged(bench: BlockedProblem, values: Matrix, vector: Matrix, steps: int) -> Proposal:
    """Return the quality of a vector that SciPy computed."""
    unit = np.ascontiguousarray(vector) / np.linalg.norm(vector)
    image = bench.fleet.products(unit[:, None])[:, 0]
    residual = float(np.linalg.norm(image - float(np.dot(unit, image)) * unit))
    gap = float(values[1] - values[0]) if len(values) > 1 else 0.0
    return Proposal(unit, gap, residual / gap if gap > 0.0 else np.inf, steps + 1)
