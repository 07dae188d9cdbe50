"""lambda_min with a proof: a solver proposes a vector, one certificate decides what is known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.sparse.linalg import ArpackError

from ntkmc.errors import InputError, did_you_mean
from ntkmc.linalg.eigenvalue import Eigenvalue, Status
from ntkmc.linalg.enclosure import Quotient, allowance, gershgorin, proves_lower, rayleigh_quotient
from ntkmc.linalg.gram import coherence, coherence_error, grams_of_rows
from ntkmc.linalg.rows import Matrix, Rows, as_array, as_data, as_float64, split_rows
from ntkmc.linalg.solvers import LEAST_ORDER, SOLVERS, automatic
from ntkmc.theory.kernels import UNIT_ROUNDOFF, check_depths, entry_error

METHODS = ("auto", *SOLVERS)


def smallest_eigenvalue(K: ArrayLike, *, rtol: float = 1e-9, method: str = "auto") -> Eigenvalue:
    """Smallest eigenvalue of a symmetric matrix, with an enclosure that is a theorem about the matrix in hand.

    Parameters
    ----------
    K : array_like, (n, n)
        Real, finite, exactly symmetric; meant to be positive semi-definite. It is not changed.
    rtol : float
        Relative width of the enclosure above which the status is `WIDE`.
    method : {"auto", "dense", "eigsh", "lobpcg", "cholesky"}
        What proposes the eigenvector. It cannot harm the enclosure: whatever is proposed is certified by a
        Rayleigh quotient in double-double (upper end) and a completed shifted Cholesky (lower end), see
        `ntkmc.linalg.enclosure`; a vector that turns out poor is mended by `cholesky`, then by `dense`.

    Returns
    -------
    Eigenvalue
        All numbers finite; `status.value` says what to do where the enclosure is not as narrow as asked.

    Raises
    ------
    InputError
        If K is not a square, real, finite, symmetric matrix, or `method` is unknown.

    Examples
    --------
    >>> answer = smallest_eigenvalue([[2.0, 1.0], [1.0, 2.0]])
    >>> answer.lower <= 1.0 <= answer.upper, answer.status.name
    (True, 'CERTIFIED')
    """
    A = as_symmetric(K)
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: {did_you_mean(method, METHODS)}")
    if not rtol > 0.0:
        raise InputError(f"rtol must be positive, got {rtol}")
    exponent = int(np.frexp(np.max(np.abs(A)))[1])
    if exponent > 1000:
        raise InputError(f"K has entries of size {np.max(np.abs(A)):.3g}, its eigenvalues may overflow: rescale it")
    if abs(exponent) > 200:  # squares of such entries overflow or lose bits; a power of two is exact
        answer = _certified(np.ldexp(A, -exponent), rtol, method)
        return _scaled(answer, exponent, rtol)
    return _certified(A, rtol, method)


def as_symmetric(K: ArrayLike) -> Matrix:
    """K as a C-contiguous float64 matrix, or the reason why it is not a real symmetric one (`InputError`)."""
    array = as_array(K, "K")
    if array.ndim != 2 or array.shape[0] != array.shape[1] or array.shape[0] == 0:
        raise InputError(f"K must be a square matrix, got shape {array.shape}")
    A = as_float64(array, "K")
    if not np.isfinite(A).all():
        raise InputError("K must be finite: it holds NaN or infinity")
    if not np.array_equal(A, A.T):
        with np.errstate(over="ignore"):
            gap = float(np.max(np.abs(A - A.T)))
        raise InputError(f"K must be exactly symmetric, max |K - K'| is {gap:.3g}: pass (K + K.T) / 2")
    return A


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
    cosine = coherence(rows)
    answers = {
        depth: exact_kernel_eigenvalue(K, rows, kernel, depth, cosine)
        for depth, K in grams_of_rows(rows, kernel, wanted)
    }
    if 2 * exponent > 1000:
        raise InputError(
            f"data have entries of size {np.max(np.abs(data)):.3g}, lambda_min may overflow: rescale them"
        )
    if not exponent:
        return answers
    scaled = {depth: _scaled(answer, 2 * exponent, 1e-9) for depth, answer in answers.items()}
    return {depth: replace(answer, lower=max(answer.lower, 0.0)) for depth, answer in scaled.items()}


def exact_kernel_eigenvalue(K: Matrix, rows: Rows, kernel: str, depth: int, cosine: float) -> Eigenvalue:
    """Enclosure for the exact kernel of `rows` from its computed Gram matrix K; `cosine` is the coherence.

    With |dK_ij| <= e |x_i| |x_j|, the norm of dK is at most e sum_i |x_i|**2 (Perron, and a rank-one matrix); Weyl.
    Rows that are tiny beside the largest may have subnormal entries: n 2**-900 covers their absolute error.
    """
    answer = smallest_eigenvalue(K)
    d = rows.unit.shape[1]
    energy = float(np.sum(rows.norms**2)) * (1.0 + 1e-12)
    error = entry_error(kernel, depth, d, min(1.0, cosine + coherence_error(d))) * energy + len(rows.norms) * 2.0**-900
    if answer.upper + error < 0.0:
        raise ArithmeticError(
            "a kernel's Gram matrix was found indefinite: please report this as a bug, with the data"
        )
    lower = max(0.0, float(np.nextafter(answer.lower - error, -np.inf)))
    upper = max(0.0, float(np.nextafter(answer.upper + error, np.inf)))
    value = min(max(answer.value, lower), upper)
    crude = answer.status is Status.UNRESOLVED
    status = answer.status if crude else _status(lower, upper, value, 1e-9)
    return Eigenvalue(value, lower, upper, status, answer.method, answer.iterations, answer.residual)


def event_holds(K: ArrayLike, lambda_0: float) -> bool | None:
    """Whether lambda_min(K) >= lambda_0, decided by proof.

    Parameters
    ----------
    K : array_like, (n, n)
        Real, finite, exactly symmetric.
    lambda_0 : float
        Threshold.

    Returns
    -------
    bool or None
        True from one completed Cholesky of K - (lambda_0 + c) I; False from a vector whose Rayleigh quotient is
        proved to lie below `lambda_0`; None if lambda_0 is within rounding of lambda_min.

    Raises
    ------
    InputError
        If K is not a square, real, finite, symmetric matrix, or lambda_0 is not finite.

    Examples
    --------
    >>> K = [[2.0, 1.0], [1.0, 2.0]]
    >>> event_holds(K, 0.9), event_holds(K, 1.1)
    (True, False)
    """
    A = as_symmetric(K)
    if not np.isfinite(lambda_0):
        raise InputError(f"lambda_0 must be finite, got {lambda_0}")
    c = allowance(np.diagonal(A) - lambda_0)
    lower = proves_lower(A, float(np.nextafter(lambda_0 + c * (1.0 + 1e-6), np.inf)))
    if lower is not None and lower >= lambda_0:
        return True
    answer = smallest_eigenvalue(A)
    if answer.upper < lambda_0:
        return False
    return True if answer.lower >= lambda_0 else None


def _certified(A: Matrix, rtol: float, method: str) -> Eigenvalue:
    n = A.shape[0]
    if n == 1:
        value = float(A[0, 0])
        return Eigenvalue(value, value, value, _status(value, value, value, rtol), "dense", 0, 0.0)
    first = automatic(n) if method == "auto" else method
    if n < LEAST_ORDER[first]:
        first = "dense"
    tried: list[str] = []
    best: tuple[Quotient, int] | None = None
    for name in dict.fromkeys((first, "cholesky", "dense")):
        if n < LEAST_ORDER[name]:
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of singular or badly conditioned factors: the certificate decides
                vector, iterations = SOLVERS[name](A)
        except (np.linalg.LinAlgError, ValueError, ArpackError):
            tried.append(name)
            continue
        tried.append(name)
        quotient = rayleigh_quotient(A, vector)
        if best is None or quotient.value < best[0].value:
            best = quotient, iterations
        lower = _near(A, best[0])
        if lower is not None:
            return _finish(lower, best, rtol, tried)
    if best is None:
        best = rayleigh_quotient(A, np.ones(n)), 0
    radius = float(np.max(np.abs(A))) * n
    crude = gershgorin(A) - 4.0 * n * UNIT_ROUNDOFF * radius
    return _finish(crude, best, rtol, tried, Status.UNRESOLVED)


def _near(A: Matrix, quotient: Quotient) -> float | None:
    """A proved lower bound within a few allowances of the quotient, None if the vector was not good enough.

    The true backward error of a Cholesky is far below its allowance c, so that a shift c / 8 below lambda_min nearly
    always succeeds; the second try is for vectors that are only as good as the allowance itself.
    """
    c = allowance(np.diagonal(A) - quotient.value)
    for margin in (c / 8.0, 2.0 * c):
        lower = proves_lower(A, quotient.value - margin - quotient.error)
        if lower is not None:
            return lower
    return None


def _finish(
    lower: float, best: tuple[Quotient, int], rtol: float, tried: list[str], status: Status | None = None
) -> Eigenvalue:
    quotient, iterations = best
    upper = max(quotient.upper, lower)
    value = min(max(quotient.value, lower), upper)
    ended = status or _status(lower, upper, value, rtol)
    return Eigenvalue(value, lower, upper, ended, "+".join(tried), iterations, quotient.residual)


def _status(lower: float, upper: float, value: float, rtol: float) -> Status:
    if upper < 0.0:
        return Status.NOT_PSD
    if lower <= 0.0:
        return Status.SINGULAR
    return Status.CERTIFIED if upper - lower <= rtol * abs(value) else Status.WIDE


def _scaled(answer: Eigenvalue, exponent: int, rtol: float) -> Eigenvalue:
    """Undo a power-of-two scaling; outward where the result is subnormal."""
    lower, value, upper, residual = np.ldexp(
        [answer.lower, answer.value, answer.upper, answer.residual], exponent
    ).tolist()
    if answer.lower != 0.0 and abs(lower) < 2.0**-1022:
        lower = float(np.nextafter(lower, -np.inf))
    if abs(upper) < 2.0**-1022:
        upper = float(np.nextafter(upper, np.inf))
    crude = answer.status is Status.UNRESOLVED
    status = answer.status if crude else _status(lower, upper, value, rtol)
    return Eigenvalue(value, lower, upper, status, answer.method, answer.iterations, residual)
