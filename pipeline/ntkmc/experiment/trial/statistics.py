"""Statistics of one draw: those that claims need, and statistics of the spectrum.

`ntkmc.theory.claims.trial_statistics` defines them. Statistics of matrices that the trial forms anyway cost little.
Smallest eigenvalues of other matrices are enclosed as lambda_min is; the enclosure includes the error of evaluating
the entries.

Statistics of the spectrum are the largest eigenvalue at each depth, or statistics of all eigenvalues. They are the
last to be computed at a depth, as they overwrite its matrix, and change no bit of the other statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import numpy as np

from ntkmc.compiled import compiled
from ntkmc.linalg.blocked import EntrySums
from ntkmc.linalg.eigen import Eigenvalue, Enclosed, Rows
from ntkmc.linalg.eigen.cholesky_bound import gershgorin, pair_bound
from ntkmc.linalg.eigen.smallest import enclose
from ntkmc.linalg.eigen.spectrum import Ends, inverse_forms, largest_eigenvalue
from ntkmc.linalg.eigen.symmetric import Symmetric, in_place
from ntkmc.linalg.gram import Eigenvalues, grams_of_rows, kernel_error, widen_by_kernel_error
from ntkmc.linalg.gram.eigenvalues import enclose_all
from ntkmc.linalg.gram.matrix import kappa_0_matrix
from ntkmc.linalg.gram.pairs import PairSums, pair_sums
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix, step_down, step_up
from ntkmc.statistics import kolmogorov_distance
from ntkmc.theory.claims.trial_statistics import (
    EDGES,
    HIGHEST_HARMONIC,
    KHATRI_RAO,
    LARGEST_SPECTRUM,
    LEVELS,
    POWERS,
    SPECTRUM,
    UNSCALED,
)
from ntkmc.theory.kernels import coherence_error, entry_error
from ntkmc.theory.kernels.gegenbauer import expansion, gegenbauer, harmonics
from ntkmc.theory.predictions import FreeSum, elkaroui_law, free_sum_law
from ntkmc.theory.predictions.predictors import SMALL_DIMENSION

Values = dict[str, float]

_LAWS: Final = {"elkaroui_distance": elkaroui_law, "free_sum_distance": free_sum_law}


def spectrum_statistics(
    names: Iterable[str], matrix: Symmetric, error: float, rows: Rows, kernel: str, depth: int
) -> Values:
    """Return statistics of the eigenvalues of every matrix within `error` of the given one, which is overwritten.

    Parameters
    ----------
    names : iterable of str
        Names of the statistics to return; names of other statistics are ignored.
    matrix : Symmetric
        The Gram matrix of `rows`; its upper triangle may hold a factor.
    error : float
        Bound on the operator norm of the difference, as returned by `ntkmc.linalg.gram.kernel_error`.
    """
    chosen = [name for name in names if name in SPECTRUM]
    if not chosen:
        return {}
    # A factorization may have overwritten one triangle; all eigenvalues need the whole matrix.
    matrix.restore()
    # All eigenvalues of a large matrix would cost more time and memory than the rest of a trial.
    if set(chosen) <= set(EDGES) or matrix.order > LARGEST_SPECTRUM:
        ends = dict(zip(EDGES, largest_eigenvalue(matrix.A, error), strict=True))
        return unknown_spectrum(chosen) | _of(chosen, ends)
    eigenvalues = enclose_all(matrix.A, error)
    values: Values = {EDGES[0]: max(float(eigenvalues.lower[-1]), 0.0), EDGES[1]: float(eigenvalues.upper[-1])}
    values |= {f"eigenvalue_q{round(100 * level):02d}": eigenvalues.quantile(level) for level in LEVELS}
    values["spectrum_radius"] = eigenvalues.radius
    if (slope := eigenvalues.decay_exponent()) is not None:
        values |= {"decay_exponent_lower": slope.lower, "decay_exponent_upper": slope.upper}
    n, d = rows.unit.shape
    energy = float(np.mean(rows.norms**2))
    # The limit laws describe the bulk for large d; in small dimension a distance to them means nothing.
    if d > SMALL_DIMENSION and n >= 2 and energy > 0.0:
        for name, law in _LAWS.items():
            if name in chosen:
                values[name] = _distance(eigenvalues, energy, law(kernel, depth, n, d))
    return unknown_spectrum(chosen) | _of(chosen, values)


def unknown_spectrum(names: Iterable[str]) -> Values:
    """Return statistics of eigenvalues that were not computed: intervals of infinite length.

    >>> unknown_spectrum(["lambda_max_lower", "eigenvalue_q50", "spectrum_radius", "coherence"])
    {'lambda_max_lower': -inf, 'eigenvalue_q50': 0.0, 'spectrum_radius': inf}
    """
    return {name: _nothing(name) for name in names if name in SPECTRUM}


def _nothing(name: str) -> float:
    if name.startswith("eigenvalue_q"):
        return 0.0  # any value is valid, as the radius is infinite
    return -np.inf if name.endswith("_lower") else np.inf


def _of(names: Iterable[str], values: Values) -> Values:
    return {name: float(values[name]) for name in names if name in values}


def _distance(eigenvalues: Eigenvalues, energy: float, law: FreeSum) -> float:
    """Return the Kolmogorov distance of the eigenvalues to a law for rows of mean squared norm 1."""
    # The radius of the eigenvalues is not added: it is far below the error of the law.
    return kolmogorov_distance(eigenvalues.values / energy, law.cdf, law.cdf_below)


_UNKNOWN: Final[Ends] = (-np.inf, np.inf)


def pair_sums_of(R: Matrix, rows: Rows, cosine: float) -> PairSums:
    """Return the sums over all pairs of rows, from R = `cosines(rows)`, (n, n), and their coherence `cosine`."""
    sums = pair_sums(R, rows, rows, diagonal=True, coherence=cosine)
    return sums._replace(first=float(R[1, 0])) if len(R) > 1 else sums


def draw_statistics(names: Iterable[str], first: Matrix, rows: Rows, pairs: PairSums, standard_scale: float) -> Values:
    """Return the statistics of a draw that depend on its rows and pairs of rows only.

    Parameters
    ----------
    names : iterable of str
        Names of the statistics to return; names of other statistics are ignored.
    first : ndarray, (d,)
        The first row of the draw.
    rows : Rows
        The draw (n, d), split.
    pairs : PairSums
        Sums over all pairs of its rows.
    standard_scale : float
        Factor by which rows have E|x|**2 = d.
    """
    n = len(rows.norms)
    number = max(n * (n - 1) / 2, 1)
    statistics = {
        "first_cosine": abs(pairs.first),
        "cosine_max": pairs.cosine_max,
        "inner_max": pairs.inner_max,
        "norm_mean": float(np.mean(rows.norms)),
        "norm_square": float(np.mean(rows.norms**2)),
        "mean_square": pairs.inner_sum / number,
        "covariance_square": pairs.square_sum / number,
        "first_norm": float(rows.norms[0]),
        "first_coordinate": float(first[0]),
        "largest_coordinate": float(first.max()),
        "cube_distance": cube_distance(first * standard_scale),
    }
    return {name: statistics[name] for name in names if name in statistics}


def cube_distance(x: Matrix) -> float:
    """Return the distance of x, (d,), to {y in {-1, 1}**d : sum y <= 0}, a 1-Lipschitz function that is not convex.

    The nearest corner has the signs of x, except that the smallest positive entries change sign until the sum is not
    positive. Each change adds (|x_i| + 1)**2 - (|x_i| - 1)**2 = 4 |x_i| to the squared distance.

    >>> cube_distance(np.array([1.0, 1.0, -1.0, 1.0]))
    2.0
    """
    positive = np.sort(x[x >= 0.0])
    surplus = 2 * len(positive) - len(x)
    # Each change of sign lowers the surplus by 2: half of it must change, rounded up.
    turned = max(0, -(-surplus // 2))
    return float(np.sqrt(np.sum((np.abs(x) - 1.0) ** 2) + 4.0 * np.sum(positive[:turned])))


def matrix_statistics(names: Iterable[str], K: Matrix) -> Values:
    """Return the statistics of one depth that depend on the entries of the Gram matrix only."""
    readers: dict[str, Callable[[], float]] = {
        "gershgorin": lambda: gershgorin(K),
        "pair_bound": lambda: pair_bound(K),
        "entry_max": lambda: _entry_max(K),
        "trace_mean": lambda: float(np.mean(np.diagonal(K))),
        "trace_spread": lambda: _spread(K, float(np.mean(np.diagonal(K)))),
        "ones_form": lambda: float(np.sum(K, axis=1).sum()),
    }
    return {name: float(readers[name]()) for name in names if name in readers}


def surveyed_statistics(names: Iterable[str], survey: EntrySums, diagonal: Matrix) -> Values:
    """Return `matrix_statistics` of a matrix stored in tiles, from sums over its rows."""
    mean = float(np.mean(diagonal))
    statistics = {
        "gershgorin": float(np.min(diagonal - survey.absolute)),
        "pair_bound": min(survey.pair_bound, float(diagonal.min())),
        "entry_max": survey.entry_max,
        "trace_mean": mean,
        "trace_spread": float(
            np.sqrt((float(np.sum((diagonal - mean) ** 2)) + 2.0 * survey.square_sum) / len(diagonal))
        ),
        "ones_form": float(np.sum(survey.plain) + np.sum(diagonal)),
    }
    return {name: statistics[name] for name in names if name in statistics}


def unknown(names: Iterable[str]) -> Values:
    """Return infinite ends for eigenvalues and quadratic forms that were not enclosed.

    >>> unknown(["kappa0_lower", "kappa0_upper", "inner_max"])
    {'kappa0_lower': -inf, 'kappa0_upper': inf}
    """
    ends, names = dict(zip(("_lower", "_upper"), _UNKNOWN, strict=True)), list(names)
    return {name: ends[name[-6:]] for name in names if name[-6:] in ends} | unknown_spectrum(names)


def inverse_statistics(
    names: Iterable[str], matrix: Symmetric, error: float, smallest: Eigenvalue | None = None
) -> Values:
    """Return enclosures of log det K and 1'K^-1 1 for every K within `error` of the matrix in operator norm.

    `smallest` encloses lambda_min(K); it is computed if None. The upper triangle of the matrix may hold a factor, and
    holds one afterwards.
    """
    chosen = set(names)
    if not chosen & {"log_det_lower", "log_det_upper", "ones_inverse_lower", "ones_inverse_upper"}:
        return {}
    matrix.restore()
    if smallest is None:
        smallest = widen_by_kernel_error(enclose(matrix), error)
        matrix.restore()
    log_det, forms = inverse_forms(matrix, smallest, np.ones((1, matrix.order)), error)
    return _chosen({"log_det": _ends(log_det), "ones_inverse": _ends(forms[0] if forms else None)}, chosen)


def eigenvalue_statistics(
    names: Iterable[str], rows: Rows, R: Matrix, kernel: str, depths: Iterable[int], cosine: float
) -> tuple[Values, dict[int, Values]]:
    """Return enclosures of smallest eigenvalues of other matrices: (per draw, per depth). R is not changed."""
    chosen, depths = set(names), sorted(depths)
    ends: dict[str, Ends] = {}
    d = rows.unit.shape[1]
    # Products of k factors have a relative error of about k u; the factor 1.1 covers terms of second order.
    rounding = 1.1 * UNIT_ROUNDOFF  # error of an entry per unit of roundoff counted below
    # One matrix at a time: the peak memory of a trial must not grow with the number of claims.
    for r in POWERS:
        if f"power{r}_lower" in chosen or f"power{r}_upper" in chosen:
            ends[f"power{r}"] = _smallest(_power(R, np.ones(len(R)), r, 0), rounding * r * (d + 10), float(len(R)))
    for r in KHATRI_RAO:
        if f"khatri_rao{r}_lower" in chosen or f"khatri_rao{r}_upper" in chosen:
            energy = float(np.sum(rows.norms**2))
            ends[f"khatri_rao{r}"] = _smallest(_power(R, rows.norms, r, 1), rounding * (r * (d + 10) + 8), energy)
    for r in UNSCALED:
        if f"unscaled{r}_lower" in chosen or f"unscaled{r}_upper" in chosen:
            energy = float(np.sum(rows.norms ** (2 * r)))
            ends[f"unscaled{r}"] = _smallest(_power(R, rows.norms, r, r), rounding * r * (d + 18), energy)
    if chosen & {"kappa0_lower", "kappa0_upper"}:
        ends["kappa0"] = _smallest(kappa_0_matrix(R, rows.unit), entry_error("ntk", 2, d, cosine), float(len(R)))
    if chosen & {"log_det_linear_lower", "log_det_linear_upper"}:
        error = kernel_error(rows, "ntk", 1, cosine)
        K = next(grams_of_rows(rows, "ntk", (1,)))[1]
        values = inverse_statistics(("log_det_lower", "log_det_upper"), in_place(K), error)
        ends["log_det_linear"] = values["log_det_lower"], values["log_det_upper"]
    deep: dict[int, Values] = {depth: {} for depth in depths}
    if chosen & {"directions_lower", "directions_upper"}:
        # The kernel of the directions: the rows with all norms set to 1.
        directions = Rows(rows.unit, np.ones(len(R)))
        for depth, K in grams_of_rows(directions, kernel, depths):
            bounds = _interval(K, kernel_error(directions, kernel, depth, cosine))
            deep[depth] |= _chosen({"directions": bounds}, chosen)
    if chosen & {"layers_lower", "layers_upper"}:
        # The sum over layers of smallest eigenvalues, rounded outwards term by term.
        low, high = 0.0, 0.0
        for layer, G in grams_of_rows(rows, "conjugate", range(1, depths[-1] + 1)):
            bounds = _interval(G, kernel_error(rows, "conjugate", layer, cosine))
            low, high = step_down(low + bounds[0]), step_up(high + bounds[1])
            if layer in deep:
                deep[layer] |= _chosen({"layers": (max(low, 0.0), high)}, chosen)
    if chosen & {"gegenbauer_lower", "gegenbauer_upper"}:
        for depth, bounds in _gegenbauer(R, kernel, depths, d).items():
            deep[depth] |= _chosen({"gegenbauer": bounds}, chosen)
    return _chosen(ends, chosen), deep


def _gegenbauer(R: Matrix, kernel: str, depths: Iterable[int], d: int) -> dict[int, Ends]:
    """Enclose the sum over 1 <= k <= HIGHEST_HARMONIC of xi_k lambda_min(Q_k(R)), by depth."""
    n = len(R)
    # Nothing is claimed for d < 3.
    if d < 3:
        return dict.fromkeys(depths, (0.0, 0.0))
    smallest: dict[int, Ends] = {}
    for k in range(1, HIGHEST_HARMONIC + 1):
        if harmonics(d, k) >= n:  # otherwise rank Q_k(R) < n, and its lambda_min is 0
            M = np.tril(R, -1)
            M = gegenbauer(np.clip(M, -1.0, 1.0), d, k)[k]
            M = np.tril(M, -1)
            M += M.T
            np.fill_diagonal(M, 1.0)
            slope = k * (k + d - 2) / (d - 1)  # derivative of Q_k at 1, where it is largest
            error = 1.1 * (slope * coherence_error(d) + 16.0 * k * UNIT_ROUNDOFF)
            smallest[k] = _smallest(np.ascontiguousarray(M), error, float(n))
    sums: dict[int, Ends] = {}
    for depth in depths:
        xi, _ = expansion(kernel, depth, d, n)
        coefficients = {k: max(float(xi[k]), 0.0) for k in smallest if k < len(xi)}
        # The quadrature for xi agreed with other rules to 1e-12; the enclosure allows for 1e-9.
        low = sum(weight * (1.0 - 1e-9) * smallest[k][0] for k, weight in coefficients.items())
        high = sum(weight * (1.0 + 1e-9) * smallest[k][1] for k, weight in coefficients.items())
        sums[depth] = max(low - 1e-12, 0.0), high + 1e-12
    return sums


def _smallest(M: Matrix, entry: float, energy: float) -> Ends:
    """Enclose lambda_min of all matrices whose entries differ by at most entry * s_i s_j, with sum s_i**2 = energy."""
    # The last term covers entries that underflow.
    return _interval(M, entry * energy * (1.0 + 2.0**-30) + len(M) * 2.0**-900)


def _interval(M: Matrix, error: float) -> Ends:
    answer = widen_by_kernel_error(enclose(in_place(M)), error)
    return answer.lower, answer.upper


def _ends(value: Enclosed | None) -> Ends:
    return _UNKNOWN if value is None else (value.lower, value.upper)


def _chosen(ends: dict[str, Ends], chosen: set[str]) -> Values:
    both = {f"{name}_{end}": values[i] for name, values in ends.items() for i, end in enumerate(("lower", "upper"))}
    return {name: float(value) for name, value in both.items() if name in chosen}


@compiled
def _entry_max(K: Matrix) -> float:
    largest = 0.0
    for i in range(K.shape[0]):
        for j in range(i):
            largest = max(largest, abs(K[i, j]))
    return largest


@compiled
def _spread(K: Matrix, mean: float) -> float:
    """Return |K - mean I|_F / sqrt n, without a difference of large squares."""
    n = K.shape[0]
    total = 0.0
    for i in range(n):
        row = (K[i, i] - mean) ** 2
        for j in range(i):
            row += 2.0 * K[i, j] * K[i, j]
        total += row
    return float(np.sqrt(total / n))


@compiled
def _power(R: Matrix, norms: Matrix, r: int, times: int) -> Matrix:
    """Return the matrix (|x_i| |x_j|)**times rho_ij**r, with rho_ii = 1."""
    n = R.shape[0]
    M = np.empty((n, n))
    for i in range(n):
        for j in range(i):
            value = (norms[i] * norms[j]) ** times * R[i, j] ** r
            M[i, j] = value
            M[j, i] = value
        M[i, i] = (norms[i] * norms[i]) ** times
    return M
