"""Inequalities that hold in every trial.

- From the entries of the Gram matrix.
- From the coherence of the rows alone.
- From additional eigenvalues: Schur's theorem, layers, determinants. They require eigenvalue problems of their own,
  and are tested only if a study selects them.
- Between trials on the same draw: more layers, fewer rows.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

import numpy as np

from ntkmc.numeric import UNIT_ROUNDOFF, Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, DeterministicClaim, Evaluate, Parameters, Side, Statistics
from ntkmc.theory.claims.bounds import (
    around,
    decreasing,
    enclosed,
    ends,
    evaluation_error,
    exactly,
    largest_entry,
    positive_part,
    read_bound,
    read_quantity,
    scaled,
)
from ntkmc.theory.claims.domains import (
    ANY,
    TANGENT,
    TANGENT_DEEP,
    TWO_DEPTHS,
    TWO_LAYERS,
    TWO_LAYERS_PAIRS,
    Domain,
    has_pairs,
)
from ntkmc.theory.claims.trial_statistics import HIGHEST_HARMONIC, KHATRI_RAO, POWERS
from ntkmc.theory.kernels.functions import coherence_error, diagonal_value, kernel_function
from ntkmc.theory.kernels.series import hermite_coefficient, series_coefficients

# Bounds from the entries of the Gram matrix.


def _diagonal(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    value = diagonal_value(context.kernel, context.depth)
    return scaled(exactly(value, statistics), statistics["norm_min"] ** 2)


def _rows(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    # A sum of n entries is rounded n times; twice that covers the subtraction from the diagonal.
    summed = 2.0 * context.n * UNIT_ROUNDOFF * context.n * largest_entry(context, statistics)
    return around(statistics["gershgorin"], summed + context.n * evaluation_error(context, statistics))


def _pairs(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    rounding = 16.0 * UNIT_ROUNDOFF * largest_entry(context, statistics)
    # An eigenvalue of a 2 x 2 matrix moves by at most its norm, and so by at most twice the error of an entry.
    return around(statistics["pair_bound"], rounding + 2.0 * evaluation_error(context, statistics))


def _moments(sign: float) -> Evaluate:
    """Return the evaluation of mean - spread * (n - 1)**(sign / 2)."""

    def evaluate(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
        n = context.n
        mean, spread = statistics["trace_mean"], statistics["trace_spread"]
        root = np.sqrt(n - 1.0)
        value = mean - spread * root**sign
        # |dK_ij| <= e |x_i| |x_j|: the mean moves by e max |x|**2 at most, the spread by sqrt(n) times that.
        moved = (1.0 + n) * evaluation_error(context, statistics)
        return around(np.asarray(value), moved + (4.0 * n + 32.0) * UNIT_ROUNDOFF * (np.abs(mean) + spread * root))

    return evaluate


def ones_form(context: CellContext, statistics: Statistics) -> Bound:
    """Return the enclosure of y'Ky for y = (1, ..., 1), (trials,)."""
    n = context.n
    error = n**2 * (
        evaluation_error(context, statistics) + 2.0 * n * UNIT_ROUNDOFF * largest_entry(context, statistics)
    )
    return around(statistics["ones_form"], error)


def _reciprocal(numerator: float, bound: Bound) -> Bound:
    """Return numerator / bound for a positive bound; infinity where its lower end is not positive."""

    def over(end: Floats) -> Floats:
        return np.divide(numerator, end, out=np.full_like(end, np.inf), where=end > 0.0)

    return scaled(Bound(over(bound.upper), over(bound.lower)), 1.0)


_DEFINITE: Final = ANY.restricted("K positive definite")
_ANY_PAIRS: Final = ANY.restricted("n >= 2", has_pairs)

_FROM_ENTRIES: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="det-diag-upper",
        statement="lambda_min is at most the smallest diagonal entry: 1/2 for H-infinity, L min |x_i|^2 for K^(L).",
        latex=r"\lambda_{\min}(K) \le \min_i K_{ii}",
        source="Rayleigh quotient at e_i",
        domain=ANY,
        side="upper",
        needs=("norm_min",),
        evaluate=_diagonal,
    ),
    DeterministicClaim(
        id="det-gershgorin-rows",
        statement="lambda_min is at least the smallest diagonal entry less its row's absolute sum.",
        latex=r"\lambda_{\min}(K) \ge \min_i \bigl(K_{ii} - \sum_{j \ne i} |K_{ij}|\bigr)",
        source="Gershgorin 1931",
        domain=ANY,
        side="lower",
        needs=("gershgorin", "norm_max"),
        evaluate=_rows,
    ),
    DeterministicClaim(
        id="det-pair-upper",
        statement="lambda_min is at most the smaller eigenvalue of every 2 x 2 principal submatrix.",
        latex=r"\lambda_{\min}(K) \le \min_{i<j}\Bigl[\tfrac{K_{ii}+K_{jj}}2 - "
        r"\sqrt{\bigl(\tfrac{K_{ii}-K_{jj}}2\bigr)^2 + K_{ij}^2}\Bigr]",
        source="Cauchy interlacing",
        domain=ANY,
        side="upper",
        needs=("pair_bound", "norm_max"),
        evaluate=_pairs,
    ),
    DeterministicClaim(
        id="det-trace-moments-lower",
        statement="lambda_min is at least m - s sqrt(n - 1), m the mean and s the standard deviation of the "
        "eigenvalues.",
        latex=r"\lambda_{\min}(K) \ge \bar m - s\sqrt{n-1},\quad \bar m = \tfrac1n\operatorname{tr}K,\ "
        r"s^2 = \tfrac1n\operatorname{tr}K^2 - \bar m^2",
        source="Wolkowicz & Styan, Linear Algebra Appl. 29 (1980)",
        domain=_ANY_PAIRS,
        side="lower",
        needs=("trace_mean", "trace_spread", "norm_max"),
        evaluate=_moments(1.0),
    ),
    DeterministicClaim(
        id="det-trace-moments-upper",
        statement="lambda_min is at most m - s / sqrt(n - 1), m the mean and s the standard deviation of the "
        "eigenvalues.",
        latex=r"\lambda_{\min}(K) \le \bar m - s/\sqrt{n-1}",
        source="Wolkowicz & Styan, Linear Algebra Appl. 29 (1980)",
        domain=_ANY_PAIRS,
        side="upper",
        needs=("trace_mean", "trace_spread", "norm_max"),
        evaluate=_moments(-1.0),
    ),
    DeterministicClaim(
        id="det-label-sandwich-lower",
        statement="y'K^-1 y is at least |y|^4 / y'Ky; tried with y = (1, ..., 1).",
        latex=r"y^\top K^{-1} y \ge \|y\|^4 / (y^\top K y)",
        source="Cauchy-Schwarz",
        domain=_DEFINITE,
        side="lower",
        needs=("ones_form", *ends("ones_inverse"), "norm_max"),
        evaluate=lambda context, statistics, parameters: _reciprocal(
            float(context.n) ** 2, ones_form(context, statistics)
        ),
        quantity=read_quantity("ones_inverse"),
    ),
    DeterministicClaim(
        id="det-label-sandwich-upper",
        statement="y'K^-1 y is at most |y|^2 / lambda_min; tried with y = (1, ..., 1).",
        latex=r"y^\top K^{-1} y \le \|y\|^2 / \lambda_{\min}(K)",
        source="spectral theorem; corrects erratum E2 of the slides",
        domain=_DEFINITE,
        side="upper",
        needs=ends("ones_inverse"),
        evaluate=lambda context, statistics, parameters: _reciprocal(
            float(context.n), enclosed(statistics, "lambda_min")
        ),
        quantity=read_quantity("ones_inverse"),
    ),
)

# Bounds from the coherence of the rows.

MAX_ORDER: Final = 12
"""Largest order s of the tail bounds. Beyond it T_{>= s}(1) is below 3 % of the diagonal, without gain in tests."""


def gershgorin(diagonal: float) -> Evaluate:
    """Return the function that evaluates diagonal - (n - 1) h(coherence)."""

    def evaluate(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
        def bound(cosine: Floats) -> Floats:
            return np.asarray(diagonal - (context.n - 1) * kernel_function(cosine, "h-infinity", 2))

        return decreasing(bound, context, statistics)

    return evaluate


def tail_bounds(context: CellContext, cosine: Floats) -> Floats:
    """Return T_{>= s}(1) - (n - 1) T_{>= s}(cosine) for s = 1 ... MAX_ORDER, (orders, trials).

    T_{>= s} is the power series of the kernel from order s on. The part below order s is positive semi-definite
    (Schur's theorem), so each number bounds lambda_min for unit rows of this coherence from below.
    """
    coefficients = series_coefficients(context.kernel, context.depth, MAX_ORDER)
    total = diagonal_value(context.kernel, context.depth)
    at_cosine = kernel_function(cosine, context.kernel, context.depth)
    bounds = []
    for order in range(1, MAX_ORDER + 1):
        head = coefficients[:order]
        # The series is not summed: what remains of the closed form after its head is the tail to all orders.
        row = at_cosine - np.polynomial.polynomial.polyval(cosine, head)
        bounds.append(total - float(np.sum(head)) - (context.n - 1) * row)
    return np.array(bounds)


def _tail(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    def bound(cosine: Floats) -> Floats:
        return np.asarray(tail_bounds(context, cosine).max(axis=0))

    return scaled(decreasing(bound, context, statistics), statistics["norm_min"] ** 2)


def _tail_with_heads(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    def bound_of_order(order: int, cosine: Floats) -> Floats:
        return np.asarray(tail_bounds(context, cosine)[order - 1])

    coefficients = series_coefficients(context.kernel, context.depth, MAX_ORDER)
    best = Bound(np.full_like(statistics["coherence"], -np.inf), np.full_like(statistics["coherence"], -np.inf))
    head = Bound(np.zeros_like(best.lower), np.zeros_like(best.lower))
    for order in range(1, MAX_ORDER + 1):
        tail = decreasing(partial(bound_of_order, order), context, statistics)
        best = Bound(np.maximum(best.lower, tail.lower + head.lower), np.maximum(best.upper, tail.upper + head.upper))
        if order in POWERS:  # of higher orders, whose coefficients are small, the bound 0
            smallest = positive_part(enclosed(statistics, f"power{order}"))
            term = scaled(smallest, float(coefficients[order]), 64.0 * UNIT_ROUNDOFF)
            head = Bound(head.lower + term.lower, head.upper + term.upper)
    return scaled(best, statistics["norm_min"] ** 2, 64.0 * UNIT_ROUNDOFF)


def _khatri_rao(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = int(parameters["r"])
    weight = 2.0 * hermite_coefficient(r) ** 2

    def bound(cosine: Floats) -> Floats:
        return np.asarray(weight * (1.0 - (context.n - 1) * cosine**r))

    return scaled(decreasing(bound, context, statistics), statistics["norm_min"] ** 2)


def separation(cosine: Floats) -> Floats:
    """Return min over pairs of min(|a - b|, |a + b|) of unit rows with this coherence: sqrt(2 - 2 rho), (trials,).

    >>> separation(np.array([0.5, 1.0])).tolist()
    [1.0, 0.0]
    """
    return np.sqrt(2.0 * np.maximum(1.0 - cosine, 0.0))


def _separation(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return decreasing(lambda cosine: separation(cosine) / (100.0 * context.n**2), context, statistics)


def _positive(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    # Rows that may be parallel within rounding are left out. Elsewhere the bound is the smallest positive float64,
    # which an eigenvalue that is proved to be at most 0 violates.
    parallel = statistics["coherence"] + coherence_error(context.d) >= 1.0
    least = np.where(parallel, 0.0, np.nextafter(0.0, 1.0))
    return Bound(least, least)


def two_layer_entry(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return per-trial enclosures of h(coherence), the bound on off-diagonal entries of H-infinity."""
    falling = decreasing(lambda cosine: -kernel_function(cosine, "h-infinity", 2), context, statistics)
    return Bound(-falling.upper, -falling.lower)


_TAIL_SOURCE = "split of the power series: the head is positive semi-definite (Schur), Gershgorin on the tail"


def _tail_claims(id: str, domain: Domain, kernel: str, scale: str, least: str) -> tuple[Claim, Claim]:
    """Return the claims on the tail of the power series with and without eigenvalues of its head.

    `kernel` and `least` are the kernel and the factor min |x_i|**2 in LaTeX, `scale` the factor in plain text.
    """
    return (
        DeterministicClaim(
            id=id,
            statement=f"lambda_min is at least {scale}T_s(1) - (n - 1) T_s(coherence), T_s the kernel's power series "
            f"from order s on; the best s <= {MAX_ORDER}. Head terms are taken at their free bound 0.",
            latex=rf"\lambda_{{\min}}({kernel}) \ge {least}\max_{{1\le s\le 12}}\bigl[T_{{\ge s}}(1) - "
            r"(n-1)\,T_{\ge s}(\rho)\bigr]",
            source=_TAIL_SOURCE,
            domain=domain,
            side="lower",
            needs=("coherence", "norm_min"),
            evaluate=_tail,
        ),
        DeterministicClaim(
            id=f"{id}-head",
            statement=f"lambda_min is at least {scale}sum over 1 <= r < s of b_r lambda_min(R^r) + T_s(1) - (n - 1) "
            f"T_s(coherence), R^r the cosines to the power r, entrywise; the best s <= {MAX_ORDER}; the eigenvalues "
            f"with r > {POWERS[-1]} at their free bound 0.",
            latex=rf"\lambda_{{\min}}({kernel}) \ge {least}\max_{{1\le s\le 12}}\Bigl[\sum_{{1\le r<s}} b_r "
            r"\lambda_{\min}(R^{\circ r})^+ + T_{\ge s}(1) - (n-1)\,T_{\ge s}(\rho)\Bigr]",
            source=_TAIL_SOURCE,
            domain=domain,
            side="lower",
            needs=("coherence", "norm_min", *ends(*(f"power{r}" for r in POWERS))),
            evaluate=_tail_with_heads,
        ),
    )


_FROM_COHERENCE: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="det-gershgorin-coherence",
        statement="lambda_min of H-infinity is at least 1/2 - (n - 1) h(coherence).",
        latex=r"\lambda_{\min}(H^\infty) \ge \tfrac12 - (n-1)\,h(\rho),\quad h(t) = \frac{t(\pi - \arccos t)}{2\pi}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025; Gershgorin with |h(-t)| <= h(t)",
        domain=TWO_LAYERS,
        side="lower",
        needs=("coherence",),
        evaluate=gershgorin(0.5),
    ),
    DeterministicClaim(
        id="det-offdiag",
        statement="Every off-diagonal entry of H-infinity is at most h(coherence) in absolute value.",
        latex=r"|H^\infty_{ij}| \le h(\rho)\quad (i \ne j)",
        source="t arccos(t) <= t (pi - arccos t) for t >= 0; corrects erratum E4 of the slides",
        domain=TWO_LAYERS_PAIRS,
        side="upper",
        needs=("coherence", "entry_max", "norm_max"),
        evaluate=two_layer_entry,
        quantity=lambda context, statistics: around(statistics["entry_max"], evaluation_error(context, statistics)),
    ),
    *_tail_claims("det-tail-gershgorin", TWO_LAYERS, r"H^\infty", "", ""),
    *_tail_claims("det-tail-gershgorin-deep", TANGENT, "K^{(L)}", "min |x_i|^2 times ", r"\min_i\|x_i\|^2 "),
    DeterministicClaim(
        id="det-khatri-rao-gershgorin",
        statement="lambda_min of K^(L) is at least 2 mu_r^2 min |x_i|^2 (1 - (n - 1) coherence^r), r even, mu_r the "
        "Hermite coefficient of ReLU.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge 2\mu_r(\sigma)^2 \min_i\|x_i\|^2 \bigl(1 - (n-1)\rho^r\bigr)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, proof of Thm 3.2, with the normalization corrected",
        domain=TANGENT_DEEP,
        side="lower",
        needs=("coherence", "norm_min"),
        evaluate=_khatri_rao,
        parameters=({"r": 2}, {"r": 4}, {"r": 6}),
    ),
    DeterministicClaim(
        id="det-separation-OS",
        statement="lambda_min of H-infinity is at least delta / (100 n^2), delta the smallest |x_i - x_j| or |x_i + "
        "x_j|.",
        latex=r"\lambda_{\min}(H^\infty) \ge \frac{\delta}{100\,n^2},\quad "
        r"\delta = \min_{i<j}\min(\|x_i-x_j\|, \|x_i+x_j\|)",
        source="Oymak & Soltanolkotabi, IEEE JSAIT 2020",
        domain=TWO_LAYERS_PAIRS,
        side="lower",
        needs=("coherence", "norm_min"),
        evaluate=_separation,
    ),
    DeterministicClaim(
        id="det-nonparallel",
        statement="lambda_min of H-infinity is positive if no two rows are parallel. Sufficient, not necessary.",
        latex=r"x_i \nparallel x_j\ (i \ne j) \;\Rightarrow\; \lambda_{\min}(H^\infty) > 0",
        source="Du, Zhai, Póczos & Singh, ICLR 2019, Thm 3.1",
        domain=Domain(
            "kernel h-infinity, unit rows; says nothing of draws with parallel rows",
            TWO_LAYERS.kernels,
            TWO_LAYERS.condition,
        ),
        side="lower",
        needs=("coherence",),
        evaluate=_positive,
    ),
)

# Bounds from additional eigenvalues.

_SERIES_ERROR = 256.0 * UNIT_ROUNDOFF
"""Relative error of a Taylor coefficient up to order 6, with a wide margin: measured below 8 u against mpmath."""


def _schur(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    # H is half the entrywise product of XX' and kappa_0(R), whose diagonals are 1: Schur's bound, either way round.
    linear, derivative = enclosed(statistics, "power1"), enclosed(statistics, "kappa0")
    return Bound(0.5 * np.maximum(linear.lower, derivative.lower), 0.5 * np.maximum(linear.upper, derivative.upper))


def _khatri_rao_two_layers(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = int(parameters["r"])
    coefficient = float(series_coefficients("h-infinity", 2)[r])
    return scaled(enclosed(statistics, f"power{r}"), coefficient, _SERIES_ERROR)


def _khatri_rao_power(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = int(parameters["r"])
    # Two coefficients bound K^(L) from below: that of its own series, and the sum over those of its layers.
    tangent_kernel = float(series_coefficients("ntk", context.depth)[r])
    layers = sum(float(series_coefficients("conjugate", depth)[r]) for depth in range(1, context.depth + 1))
    return scaled(enclosed(statistics, f"khatri_rao{r}"), max(tangent_kernel, layers), _SERIES_ERROR * context.depth)


def _times_square(name: str, norm: str) -> Evaluate:
    """Return the evaluation of an enclosed eigenvalue of unit rows times the square of an extreme norm."""
    return lambda context, statistics, parameters: scaled(enclosed(statistics, name), statistics[norm] ** 2)


def _oppenheim(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    # det(A o B) >= det(A) prod B_ii with A = XX' and B = kappa_0(R) / 2, whose diagonal is 1/2.
    linear = enclosed(statistics, "log_det_linear")
    shift = context.n * math.log(2.0)
    slack = 8.0 * UNIT_ROUNDOFF * (shift + np.abs(np.nan_to_num(linear.lower, neginf=0.0)))
    return Bound(linear.lower - shift - slack, linear.upper - shift + slack)


def _determinant(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    n = context.n
    log_det = enclosed(statistics, "log_det")
    total = around(n * statistics["trace_mean"], 4.0 * n * UNIT_ROUNDOFF * n * statistics["trace_mean"])
    with np.errstate(over="ignore"):  # an unknown determinant: 0 ... inf
        lower = np.exp(log_det.lower + (n - 1) * np.log((n - 1) / total.upper))
        upper = np.exp(log_det.upper + (n - 1) * np.log((n - 1) / total.lower))
    # The exponent, of size n log n at most, is rounded a few times.
    return scaled(Bound(lower, upper), 1.0, 64.0 * n * (1.0 + math.log(n)) * UNIT_ROUNDOFF)


def _congruence(side: Side, word: str, extreme: str, relation: str) -> Claim:
    """Return the claim about K = D k(R) D, D the diagonal matrix of the norms and k(R) the kernel of directions."""
    return DeterministicClaim(
        id=f"det-congruence-{side}",
        statement=f"lambda_min is at {word} {extreme} |x_i|^2 times that of the kernel of the directions.",
        latex=rf"\lambda_{{\min}}(K) {relation} \{extreme}_i\|x_i\|^2\,\lambda_{{\min}}(k(R))",
        source="Ostrowski 1959",
        domain=Domain("any kernel, rows of different norms", condition=lambda context: not context.unit_rows),
        side=side,
        needs=(f"norm_{extreme}", *ends("directions")),
        evaluate=_times_square("directions", f"norm_{extreme}"),
    )


_FROM_EIGENVALUES: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="det-schur-two-layer",
        statement="lambda_min of H-infinity is at least half the larger of lambda_min(XX') and "
        "lambda_min(kappa_0(R)).",
        latex=r"\lambda_{\min}(H^\infty) \ge \tfrac12\max\{\lambda_{\min}(XX^\top), \lambda_{\min}(\kappa_0(R))\}",
        source="Schur 1911; Horn & Johnson, Topics in Matrix Analysis, Sec. 5.3",
        domain=TWO_LAYERS,
        side="lower",
        needs=ends("power1", "kappa0"),
        evaluate=_schur,
    ),
    DeterministicClaim(
        id="det-khatri-rao-two-layer",
        statement="lambda_min of H-infinity is at least h_r lambda_min(R^r), R^r the cosines to the power r, "
        "entrywise.",
        latex=r"\lambda_{\min}(H^\infty) \ge h_r\,\lambda_{\min}(R^{\circ r})",
        source="H-infinity less h_r R^r is a non-negative combination of positive semi-definite matrices",
        domain=TWO_LAYERS,
        side="lower",
        needs=ends("power{r}"),
        evaluate=_khatri_rao_two_layers,
        parameters=({"r": 1}, {"r": 2}, {"r": 4}, {"r": 6}),
    ),
    DeterministicClaim(
        id="det-khatri-rao-deep",
        statement="lambda_min of K^(L) is at least max(b_L,r, sum over layers of c_l,r) lambda_min(M), M_ij = |x_i| "
        "cos_ij^r |x_j|; for even r the coefficient is at least 2 mu_r^2; odd r >= 3 say nothing at L = 2.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \max\bigl\{b_{L,r}, \textstyle\sum_l c_{l,r}\bigr\}\,"
        r"\lambda_{\min}\bigl(D R^{\circ r} D\bigr)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, mechanism of Thm 3.2, with the normalization corrected",
        domain=TANGENT_DEEP,
        side="lower",
        needs=ends("khatri_rao{r}"),
        evaluate=_khatri_rao_power,
        parameters=tuple({"r": r} for r in KHATRI_RAO),
    ),
    DeterministicClaim(
        id="det-layer-sum",
        statement="lambda_min of K^(L) is at least the sum over layers of lambda_min(G^(l)).",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \sum_{l=1}^L \lambda_{\min}(G^{(l)})",
        source="Schur with unit diagonal of the derivative kernels, then Weyl",
        domain=TANGENT,
        side="lower",
        needs=ends("layers"),
        evaluate=read_bound("layers"),
    ),
    _congruence("lower", "least", "min", r"\ge"),
    _congruence("upper", "most", "max", r"\le"),
    DeterministicClaim(
        id="det-gegenbauer",
        statement="lambda_min is at least min |x_i|^2 times the sum over degrees k of xi_k lambda_min(Q_k(R)), Q_k "
        f"the Gegenbauer polynomials with Q_k(1) = 1; eigenvalues up to k = {HIGHEST_HARMONIC}, then the free bound "
        "0.",
        latex=r"\lambda_{\min}(K) \ge \min_i\|x_i\|^2 \sum_k \xi_k\,\lambda_{\min}\bigl(Q_k^{(d)}(R)\bigr)",
        source="Schoenberg, Duke Math. J. 1942",
        domain=Domain("any kernel, any rows, d >= 3", condition=lambda context: context.d >= 3),
        side="lower",
        needs=("norm_min", *ends("gegenbauer")),
        evaluate=_times_square("gegenbauer", "norm_min"),
    ),
    DeterministicClaim(
        id="det-oppenheim",
        statement="log det H-infinity is at least log det XX' - n log 2.",
        latex=r"\log\det H^\infty \ge \log\det(XX^\top) - n\log 2",
        source="Oppenheim, J. London Math. Soc. 1930",
        domain=TWO_LAYERS.restricted("n <= d", lambda context: context.n <= context.d),
        side="lower",
        needs=ends("log_det", "log_det_linear"),
        evaluate=_oppenheim,
        quantity=read_quantity("log_det"),
        trivial=-math.inf,
    ),
    DeterministicClaim(
        id="det-determinant",
        statement="lambda_min is at least det K ((n - 1) / tr K)^(n - 1); very weak.",
        latex=r"\lambda_{\min}(K) \ge \det K\,\Bigl(\frac{n-1}{\operatorname{tr}K}\Bigr)^{n-1}",
        source="arithmetic and geometric mean of the other eigenvalues",
        domain=_ANY_PAIRS,
        side="lower",
        needs=(*ends("log_det"), "trace_mean"),
        evaluate=_determinant,
    ),
)

# Comparisons between trials on the same draw.

_FROM_OTHER_TRIALS: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="det-depth-monotone",
        statement="lambda_min of K^(L) does not decrease with the depth; tried against the next smaller depth of the "
        "study.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \lambda_{\min}(K^{(L')}),\quad L' < L",
        source="Schur with unit diagonal of the derivative kernels, then Weyl; corrects erratum E10 of the slides",
        domain=TWO_DEPTHS,
        side="lower",
        needs=ends("shallower"),
        evaluate=read_bound("shallower"),
    ),
    DeterministicClaim(
        id="det-interlacing-n",
        statement="Further rows cannot increase lambda_min; tried against the next smaller n of a nested study.",
        latex=r"\lambda_{\min}(K_{n}) \le \lambda_{\min}(K_{n'}),\quad n' < n",
        source="Cauchy interlacing",
        domain=Domain("nested studies with at least two n", condition=lambda context: context.fewer is not None),
        side="upper",
        needs=ends("fewer"),
        evaluate=read_bound("fewer"),
    ),
)

DETERMINISTIC_CLAIMS: Final = (*_FROM_ENTRIES, *_FROM_COHERENCE, *_FROM_EIGENVALUES, *_FROM_OTHER_TRIALS)
