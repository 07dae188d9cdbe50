"""Rigorous enclosure of the smallest eigenvalue.

A solver proposes an approximate eigenvector, and `certify` derives proved bounds from it. The certificate is the same
for every method, so that the choice of a method cannot invalidate the enclosure.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import ArpackError

from ntkmc.errors import InputError, did_you_mean
from ntkmc.linalg.eigen.cholesky_bound import allowance, factor_shifted, gershgorin
from ntkmc.linalg.eigen.krylov import MOST_INVERSE_STEPS, lanczos_inverse, start_block
from ntkmc.linalg.eigen.rayleigh import Quotient, rayleigh_quotient
from ntkmc.linalg.eigen.result import Eigenvalue, Status
from ntkmc.linalg.eigen.rows import as_array, as_float64
from ntkmc.linalg.eigen.solvers import LEAST_ORDER, SOLVERS, automatic_method
from ntkmc.linalg.eigen.symmetric import Symmetric, as_symmetric, in_place, workspace
from ntkmc.linalg.eigen.temple_kato import temple_kato_enclosure
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, step_down, step_up

MARGIN: Final = 1.0 / 8.0
"""Distance of the shift below the quotient, in allowances. The true error of a Cholesky factorization is far below its
allowance, so that a shift this close nearly always succeeds."""

ATTEMPTS: Final = 12
"""Largest number of shifts that are tried for one vector."""

PERTURBATION: Final = 1.0
"""Share of the fixed start vector that is added to a poor vector. With less of it, Lanczos may converge to another
eigenvalue, whose eigenvector the poor vector approximates, instead of the smallest."""

NUMERICS: Final = {"margin": MARGIN, "attempts": ATTEMPTS, "stir": PERTURBATION}

METHODS: Final = ("auto", *SOLVERS)

RTOL: Final = 1e-9
"""Default for the relative width of an enclosure that counts as certified."""

_MODERATE: Final = 200
"""Largest binary exponent of entries whose squares neither overflow nor lose bits."""

_HUGE: Final = 1000
"""Largest binary exponent of entries whose eigenvalues do not overflow."""


class Certificate(NamedTuple):
    """Proved bounds on the smallest eigenvalue, and the vector that they were proved with.

    Attributes
    ----------
    quotient : Quotient
        The upper end.
    lower : float
        The lower end.
    isolated : bool
        Whether lambda_2 was proved to lie apart, so that the width does not depend on the allowance.
    vector : ndarray, (n,)
        The vector of `quotient`.
    solves : int
        Number of solves that the certificate took.
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


class EigenProblem(Protocol):
    """Operations on a matrix that a certificate needs; the matrix is one array or distributed in blocks."""

    @property
    def order(self) -> int:
        """Order n of the matrix."""

    @property
    def diagonal(self) -> Matrix:
        """The matrix's diagonal, (n,)."""

    @property
    def largest(self) -> float:
        """Bound on |k_ij|."""

    def temple_kato(self, vector: Matrix, gap: float) -> tuple[Quotient, float, Matrix, int]:
        """Return `ntkmc.linalg.eigen.temple_kato.temple_kato_enclosure` of the matrix."""

    def cholesky_shifted(self, shift: float) -> tuple[int, float]:
        """Return `ntkmc.linalg.eigen.cholesky_bound.factor_shifted` of the matrix; info may be 1 for any failure."""

    def lanczos_inverse(self, start: Matrix) -> tuple[Matrix, float, int]:
        """Return `ntkmc.linalg.eigen.krylov.lanczos_inverse` of the matrix that was factored last."""


@dataclass(frozen=True)
class DenseProblem:
    """`EigenProblem` of a matrix in one array, with both triangles in place."""

    matrix: Symmetric

    @property
    def order(self) -> int:
        return self.matrix.order

    @property
    def diagonal(self) -> Matrix:
        return self.matrix.diagonal

    @property
    def largest(self) -> float:
        return self.matrix.largest

    def temple_kato(self, vector: Matrix, gap: float) -> tuple[Quotient, float, Matrix, int]:
        matrix = self.matrix
        return temple_kato_enclosure(matrix.A, matrix.W, matrix.diagonal, vector, gap, matrix.largest)

    def cholesky_shifted(self, shift: float) -> tuple[int, float]:
        matrix = self.matrix
        matrix.restore()
        return factor_shifted(matrix.A, matrix.W, matrix.diagonal, shift)

    def lanczos_inverse(self, start: Matrix) -> tuple[Matrix, float, int]:
        matrix = self.matrix
        basis = np.empty((min(matrix.order, MOST_INVERSE_STEPS) + 1, matrix.order))
        result = lanczos_inverse(matrix.W, basis, start)
        matrix.restore()
        return result


def certify(problem: EigenProblem, vector: Matrix, gap: float, rtol: float) -> Certificate:
    """Enclose lambda_1 by an approximate eigenvector, (n,), and an estimate of lambda_2 - lambda_1.

    `lower` is NaN if no shift could be factored.
    """
    # Temple-Kato first: its width is quadratic in the residual, but it needs lambda_2 - lambda_1 well above the
    # allowance c of a Cholesky factorization. If it fails, or leaves more than rtol and 2 c, a factorization at a
    # shift s close below the quotient proves lambda_1 >= s - c, which no gap is needed for.
    best = _temple_kato(problem, np.ascontiguousarray(vector), gap)
    c = allowance(problem.diagonal - best.quotient.value)
    margin = MARGIN * c
    smallest_success = np.inf
    for _ in range(ATTEMPTS):
        if best.width <= max(rtol * abs(best.quotient.value), 2.0 * c):
            return best
        shift = best.quotient.value - margin - best.quotient.error
        info, c = problem.cholesky_shifted(shift)
        if info != 0:
            if np.isinf(smallest_success):
                # The vector is poor: go down in large steps, at least by its residual.
                margin = max(16.0 * margin, 2.0 * c, best.quotient.residual)
            elif margin < 2.0 * c:
                margin = 2.0 * c
            else:
                # Bisect, on a logarithmic scale, between a margin that failed and one that did not.
                margin = float(np.sqrt(margin * smallest_success))
            continue
        smallest_success = margin
        best = best_of(best, best._replace(lower=step_down(shift - c), isolated=False))
        if margin <= 2.0 * c:
            break
        # The shift had to be far below the quotient, so the vector was poor. The factor improves it, by Lanczos on
        # the inverse in float64, and both bounds are tried again.
        vector, gap, steps = problem.lanczos_inverse(_perturbed(best.vector))
        improved = _temple_kato(problem, vector, gap)
        best = best_of(best, improved._replace(solves=best.solves + steps + improved.solves))
        margin = MARGIN * c
    return best


def _perturbed(vector: Matrix) -> Matrix:
    """Perturb `vector`, which may be an exact eigenvector of another eigenvalue."""
    n = len(vector)
    other = start_block(n, 1)[:, 0] / np.sqrt(n)
    norm = float(np.linalg.norm(vector))
    return np.asarray(vector / norm + PERTURBATION * other if np.isfinite(norm) and norm > 0.0 else other)


def best_of(one: Certificate, other: Certificate) -> Certificate:
    """Combine two certificates of one matrix: the lower quotient, and the higher of the lower ends."""
    lower = other if np.isnan(one.lower) or other.lower > one.lower else one
    upper = other if other.quotient.value < one.quotient.value else one
    return Certificate(upper.quotient, lower.lower, lower.isolated, upper.vector, other.solves)


def _temple_kato(problem: EigenProblem, vector: Matrix, gap: float) -> Certificate:
    quotient, lower, vector, solves = problem.temple_kato(vector, gap)
    return Certificate(quotient, lower, not np.isnan(lower), vector, solves)


def smallest_eigenvalue(
    K: ArrayLike, *, rtol: float = RTOL, method: str = "auto", start: ArrayLike | None = None
) -> Eigenvalue:
    """Smallest eigenvalue of a symmetric matrix, with proved bounds for the float64 matrix that is given.

    Parameters
    ----------
    K : array_like, (n, n)
        Real, finite, exactly symmetric; meant to be positive semi-definite. It is not changed.
    rtol : float
        Relative width of the enclosure that counts as `CERTIFIED`.
    method : {"auto", "dense", "eigsh", "lobpcg", "cholesky"}
        Solver that proposes the eigenvector. `cholesky`: Lanczos and at most one Cholesky, in float32
        (`linalg.eigen.krylov`); `dense`: LAPACK `dsyevr`; `eigsh`, `lobpcg`: SciPy's; `auto`: selects by n, from a
        constant table. The enclosure is valid for every choice, see Notes. A poor vector is improved by Lanczos on
        the inverse of the certificate's factor and, if that fails, replaced by that of the next method: `cholesky`,
        then `dense`.
    start : array_like, (n,), optional
        Start vector for the iterative methods, such as the eigenvector of a similar matrix.

    Returns
    -------
    Eigenvalue
        All numbers finite; `status.value` gives advice where the enclosure is wider than `rtol`.

    Raises
    ------
    InputError
        If K is not a square, real, finite, symmetric matrix, `method` is unknown, or `start` does not fit.

    Notes
    -----
    Upper end: a Rayleigh quotient in double-double (`linalg.eigen.rayleigh`). Lower end: one Cholesky factorization of
    the matrix deflated by the vector proves that lambda_2 is separated, and the Temple-Kato inequality bounds lambda_1
    by the square of the residual (`linalg.eigen.temple_kato`). If the gap lambda_2 - lambda_1 is not well above the
    allowance c = (n / 2) u tr(K) of a Cholesky factorization, lambda_1 >= s - c for the largest shift s at which
    K - s I could be factored (`linalg.eigen.cholesky_bound`). The relative width is then at most
    max(rtol, 4 c / lambda_1), and the status is `CLUSTERED`.

    Examples
    --------
    >>> answer = smallest_eigenvalue([[2.0, 1.0], [1.0, 2.0]])
    >>> answer.lower <= 1.0 <= answer.upper, answer.status.name
    (True, 'CERTIFIED')
    """
    A, largest = as_symmetric(K)
    check_method(method)
    if not (isinstance(rtol, int | float) and rtol > 0.0):
        raise InputError(f"rtol must be a positive number, got {rtol!r}")
    first = None if start is None else _as_start(start, len(A))
    exponent = int(np.frexp(largest)[1])
    if exponent > _HUGE:
        raise InputError(f"K has entries of size {largest:.3g}, its eigenvalues may overflow: rescale it")
    if abs(exponent) > _MODERATE and len(A) > 1:
        answer = enclose(in_place(scaled(A, -exponent)), rtol, method, first)
        # Scaling by a power of two is exact, except for entries that became subnormal: their error is at most
        # 2**-1075 each.
        lower = step_down(answer.lower - len(A) * 2.0**-1074)
        return rescaled(replace(answer, lower=lower), exponent, rtol)
    with workspace(A, largest) as matrix:
        return enclose(matrix, rtol, method, first)


def check_method(method: str) -> None:
    """Raise `InputError` for an unknown method."""
    if not isinstance(method, str):
        raise InputError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: {did_you_mean(method, METHODS)}")


def _as_start(start: ArrayLike, n: int) -> Matrix:
    vector = np.array(as_float64(as_array(start, "start"), "start"))
    if vector.shape != (n,):
        raise InputError(f"start must be a vector of length {n}, got shape {vector.shape}")
    size = float(np.max(np.abs(vector)))
    if not (np.isfinite(size) and size > 0.0):
        raise InputError("start must be finite and not zero")
    return np.asarray(vector / size)


def enclose(matrix: Symmetric, rtol: float = RTOL, method: str = "auto", start: Matrix | None = None) -> Eigenvalue:
    """Return `smallest_eigenvalue` of a matrix with both triangles in place and entries of moderate size."""
    n = matrix.order
    if n == 1:
        value = float(matrix.diagonal[0])
        return Eigenvalue(value, value, value, status_of(value, value, value, rtol), "dense", 0, 0.0, np.ones(1))
    if matrix.largest == 0.0:
        return Eigenvalue(0.0, 0.0, 0.0, Status.SINGULAR, "dense", 0, 0.0, np.ones(n))
    first = automatic_method(n) if method == "auto" else method
    if n < LEAST_ORDER[first]:
        first = "dense"
    tried: list[str] = []
    iterations = 0
    best: Certificate | None = None
    # `dense` last: it is the slowest, but converges for every matrix.
    for name in dict.fromkeys((first, "cholesky", "dense")):
        if n < LEAST_ORDER[name]:
            continue
        if tried:
            matrix.restore()
        tried.append(name)
        try:
            vector, gap, spent = SOLVERS[name](matrix, start)
        except (np.linalg.LinAlgError, ValueError, ArpackError):
            continue
        certificate = certify(DenseProblem(matrix), vector, gap, rtol)
        iterations += spent + certificate.solves
        best = certificate if best is None else best_of(best, certificate)
        answer = to_eigenvalue(best, DenseProblem(matrix), rtol, tried, iterations)
        if answer.status is not Status.UNRESOLVED:
            return answer
    # No method led to a tight enclosure. Gershgorin's circles give a lower bound for every matrix.
    matrix.restore()
    if best is None:
        ones = np.ones(n)
        quotient = rayleigh_quotient(matrix.A, matrix.diagonal, ones, matrix.largest)
        best = Certificate(quotient, np.nan, False, ones, 0)
    if np.isnan(best.lower):
        crude = gershgorin(matrix.A) - 4.0 * n * UNIT_ROUNDOFF * matrix.largest * n
        best = best._replace(lower=crude, isolated=False)
    return to_eigenvalue(best, DenseProblem(matrix), rtol, tried, iterations)


def to_eigenvalue(
    certificate: Certificate, problem: EigenProblem, rtol: float, tried: list[str], iterations: int
) -> Eigenvalue:
    """Return the eigenvalue of a certificate with its status; `tried` lists the methods in order."""
    quotient = certificate.quotient
    lower, upper = certificate.lower, quotient.upper
    if upper < lower:
        raise ArithmeticError("two proofs about one matrix contradict each other: please report this, with the matrix")
    value = min(max(quotient.value, lower), upper)
    status = status_of(lower, upper, value, rtol, isolated=certificate.isolated)
    # A negative eigenvalue this small may come from the rounding of a Gram matrix's entries.
    if status is Status.NOT_PSD and upper >= -problem.order * UNIT_ROUNDOFF * problem.largest:
        status = Status.SINGULAR
    if not certificate.isolated and status is not Status.CERTIFIED:
        rounding = quotient.error + 8.0 * UNIT_ROUNDOFF * abs(value)
        promised = max(rtol * abs(value), 4.0 * (allowance(problem.diagonal - value) + rounding))
        # Written so that a lower end of NaN is unresolved as well.
        status = status if upper - lower <= promised else Status.UNRESOLVED
    return Eigenvalue(value, lower, upper, status, "+".join(tried), iterations, quotient.residual, certificate.vector)


def status_of(lower: float, upper: float, value: float, rtol: float, *, isolated: bool = True) -> Status:
    """Return the status of an enclosure, from its width relative to `rtol`."""
    if upper < 0.0:
        return Status.NOT_PSD
    if lower <= 0.0:
        return Status.SINGULAR
    if upper - lower <= rtol * abs(value):
        return Status.CERTIFIED
    return Status.WIDE if isolated else Status.CLUSTERED


def scaled(values: Matrix, exponent: int) -> Matrix:
    """Return values times 2**exponent, without NumPy's warnings of underflow."""
    with np.errstate(all="ignore"):
        return np.asarray(np.ldexp(values, exponent))


def rescaled(answer: Eigenvalue, exponent: int, rtol: float) -> Eigenvalue:
    """Return the answer for the matrix times 2**exponent; bounds that become subnormal are rounded outwards."""
    numbers = np.array([answer.lower, answer.value, answer.upper, answer.residual])
    lower, value, upper, residual = scaled(numbers, exponent).tolist()
    if answer.lower != 0.0 and abs(lower) <= 2.0**-1022:
        lower = step_down(lower)
    if abs(upper) <= 2.0**-1022:
        upper = step_up(upper)
    status = answer.status
    if status in (Status.CERTIFIED, Status.WIDE, Status.CLUSTERED):
        status = status_of(lower, upper, value, rtol, isolated=status is not Status.CLUSTERED)
    return Eigenvalue(value, lower, upper, status, answer.method, answer.iterations, residual, answer.vector)
