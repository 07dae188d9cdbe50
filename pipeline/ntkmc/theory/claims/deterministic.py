"""Inequalities that must hold in every trial.

Each bound is returned with an enclosure of its own: a coherence is known to (d + 8) u, a sum of n entries to n u.
A trial violates a claim only if the enclosure of lambda_min and that of the bound are disjoint on the wrong side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np

from ntkmc.theory.claims.base import Bound, CellContext, Claim, Floats, register
from ntkmc.theory.kernels import UNIT_ROUNDOFF, diagonal_value, entry_error, kernel_function
from ntkmc.theory.series import hermite_coefficient, series_coefficients

MAX_ORDER: Final = 12
"""Orders s of the tail bounds: beyond, T_{>= s}(1) is below 3 % of the diagonal and no better anywhere tried."""

Statistics = Mapping[str, Floats]
Parameters = Mapping[str, int]


def _around(value: Floats, error: Floats | float) -> Bound:
    return Bound(np.asarray(value - error), np.asarray(value + error))


def _decreasing(function: Callable[[Floats], Floats], context: CellContext, cosine: Floats) -> Bound:
    """Enclosure of a decreasing function of the coherence."""
    error = (context.d + 8) * UNIT_ROUNDOFF  # `ntkmc.linalg.gram.coherence_error`
    low = function(np.clip(cosine - error, 0.0, 1.0))
    high = function(np.clip(cosine + error, 0.0, 1.0))
    # The recursions for k and for its coefficients add up L numbers of size l, each with a few roundings: L**3 in all.
    deep = 8.0 + context.depth**2
    rounding = 8.0 * deep * context.n * UNIT_ROUNDOFF * diagonal_value(context.kernel, context.depth)
    return Bound(high - rounding, low + rounding)


def _scaled(bound: Bound, norm_min: Floats) -> Bound:
    """Times min |x_i|**2, which is known to a relative 8 u."""
    square = norm_min**2
    ends = np.stack([bound.lower * square, bound.upper * square])
    slack = 8.0 * UNIT_ROUNDOFF * np.abs(ends)
    return Bound(ends[0] - slack[0], ends[1] + slack[1])


def _diagonal(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    exact = np.full_like(statistics["norm_min"], diagonal_value(context.kernel, context.depth))
    return _scaled(Bound(exact, exact), statistics["norm_min"])


def _largest_entry(context: CellContext, statistics: Statistics) -> Floats:
    return diagonal_value(context.kernel, context.depth) * statistics["norm_max"] ** 2


def _evaluation_error(context: CellContext, statistics: Statistics) -> Floats:
    """What the evaluation of one entry may be off by, relative to |x_i| |x_j| <= max |x|**2."""
    worst = entry_error(context.kernel, context.depth, context.d, 1.0)
    return worst * statistics["norm_max"] ** 2


def _rows(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    summed = 2.0 * context.n * UNIT_ROUNDOFF * context.n * _largest_entry(context, statistics)
    return _around(statistics["gershgorin"], summed + context.n * _evaluation_error(context, statistics))


def _pairs(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    rounding = 16.0 * UNIT_ROUNDOFF * _largest_entry(context, statistics)
    return _around(statistics["pair_bound"], rounding + 2.0 * _evaluation_error(context, statistics))


def _coherence(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    def bound(cosine: Floats) -> Floats:
        return np.asarray(0.5 - (context.n - 1) * kernel_function(cosine, "h-infinity", 2))

    return _decreasing(bound, context, statistics["coherence"])


def _tail(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    coefficients = series_coefficients(context.kernel, context.depth, MAX_ORDER)
    total = diagonal_value(context.kernel, context.depth)

    def bound(cosine: Floats) -> Floats:
        at_cosine = kernel_function(cosine, context.kernel, context.depth)
        best = np.full_like(cosine, -np.inf)
        for order in range(1, MAX_ORDER + 1):
            head = coefficients[:order]
            constant = total - float(np.sum(head))
            row = at_cosine - np.polynomial.polynomial.polyval(cosine, head)
            best = np.maximum(best, constant - (context.n - 1) * row)
        return best

    return _scaled(_decreasing(bound, context, statistics["coherence"]), statistics["norm_min"])


def _khatri_rao(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = parameters["r"]
    weight = 2.0 * hermite_coefficient(r) ** 2

    def bound(cosine: Floats) -> Floats:
        return np.asarray(weight * (1.0 - (context.n - 1) * cosine**r))

    return _scaled(_decreasing(bound, context, statistics["coherence"]), statistics["norm_min"])


def _two_layer(context: CellContext) -> bool:
    return context.kernel == "h-infinity" and context.unit_rows


register(
    Claim(
        id="det-diag-upper",
        words="lambda_min is at most the smallest diagonal entry: 1/2 for H-infinity, L min |x_i|^2 for K^(L).",
        latex=r"\lambda_{\min}(K) \le \min_i K_{ii}",
        source="Rayleigh quotient at e_i",
        hypotheses="any rows, any kernel",
        kind="deterministic",
        side="upper",
        applies=lambda context: True,
        needs=("norm_min",),
        evaluate=_diagonal,
    ),
)

register(
    Claim(
        id="det-gershgorin-coherence",
        words="lambda_min of H-infinity is at least 1/2 - (n - 1) h(coherence).",
        latex=r"\lambda_{\min}(H^\infty) \ge \tfrac12 - (n-1)\,h(\rho),\quad "
        r"h(t) = \frac{t(\pi - \arccos t)}{2\pi}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025; Gershgorin with |h(-t)| <= h(t)",
        hypotheses="kernel h-infinity, unit rows",
        kind="deterministic",
        side="lower",
        applies=_two_layer,
        needs=("coherence",),
        evaluate=_coherence,
    ),
)

register(
    Claim(
        id="det-gershgorin-rows",
        words="lambda_min is at least the smallest diagonal entry less its row's absolute sum.",
        latex=r"\lambda_{\min}(K) \ge \min_i \bigl(K_{ii} - \sum_{j \ne i} |K_{ij}|\bigr)",
        source="Gershgorin 1931",
        hypotheses="any rows, any kernel",
        kind="deterministic",
        side="lower",
        applies=lambda context: True,
        needs=("gershgorin", "norm_max"),
        evaluate=_rows,
    ),
)

register(
    Claim(
        id="det-pair-upper",
        words="lambda_min is at most the smaller eigenvalue of every 2 x 2 principal submatrix.",
        latex=r"\lambda_{\min}(K) \le \min_{i<j}\Bigl[\tfrac{K_{ii}+K_{jj}}2 - "
        r"\sqrt{\bigl(\tfrac{K_{ii}-K_{jj}}2\bigr)^2 + K_{ij}^2}\Bigr]",
        source="Cauchy interlacing",
        hypotheses="any rows, any kernel",
        kind="deterministic",
        side="upper",
        applies=lambda context: True,
        needs=("pair_bound", "norm_max"),
        evaluate=_pairs,
    ),
)

_TAIL_SOURCE = "split of the power series: the head is positive semi-definite (Schur), Gershgorin on the tail"

register(
    Claim(
        id="det-tail-gershgorin",
        words="lambda_min of H-infinity is at least T_s(1) - (n - 1) T_s(coherence), T_s the power series of h from "
        f"order s on; the best s <= {MAX_ORDER}. Head terms are taken at their free bound 0.",
        latex=r"\lambda_{\min}(H^\infty) \ge \max_{1\le s\le 12}\; T_{\ge s}(1) - (n-1)\,T_{\ge s}(\rho)",
        source=_TAIL_SOURCE,
        hypotheses="kernel h-infinity, unit rows",
        kind="deterministic",
        side="lower",
        applies=_two_layer,
        needs=("coherence", "norm_min"),
        evaluate=_tail,
    ),
)

register(
    Claim(
        id="det-tail-gershgorin-deep",
        words="lambda_min of K^(L) is at least min |x_i|^2 [T_s(1) - (n - 1) T_s(coherence)], T_s the power series of "
        f"k_L from order s on; the best s <= {MAX_ORDER}. Head terms are taken at their free bound 0.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \min_i\|x_i\|^2 \max_{1\le s\le 12}\bigl[T_{\ge s}(1) - "
        r"(n-1)\,T_{\ge s}(\rho)\bigr]",
        source=_TAIL_SOURCE,
        hypotheses="kernel ntk, any rows",
        kind="deterministic",
        side="lower",
        applies=lambda context: context.kernel == "ntk",
        needs=("coherence", "norm_min"),
        evaluate=_tail,
    ),
)

register(
    Claim(
        id="det-khatri-rao-gershgorin",
        words="lambda_min of K^(L) is at least 2 mu_r^2 min |x_i|^2 (1 - (n - 1) coherence^r), r even, mu_r the "
        "Hermite coefficient of ReLU.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge 2\mu_r(\sigma)^2 \min_i\|x_i\|^2 \bigl(1 - (n-1)\rho^r\bigr)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, proof of Thm 3.2, with the normalization corrected",
        hypotheses="kernel ntk, depth at least 2, any rows",
        kind="deterministic",
        side="lower",
        applies=lambda context: context.kernel == "ntk" and context.depth >= 2,
        needs=("coherence", "norm_min"),
        evaluate=_khatri_rao,
        parameters=({"r": 2}, {"r": 4}, {"r": 6}),
    ),
)
