"""Inequalities that must hold in every trial, from the entries of the Gram matrix."""

from __future__ import annotations

import numpy as np

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Floats, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import around, enclosed, evaluation_error, exactly, largest_entry, scaled
from ntkmc.theory.kernels import UNIT_ROUNDOFF, diagonal_value


def _diagonal(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    value = diagonal_value(context.kernel, context.depth)
    return scaled(exactly(value, statistics), statistics["norm_min"] ** 2)


def _rows(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    summed = 2.0 * context.n * UNIT_ROUNDOFF * context.n * largest_entry(context, statistics)
    return around(statistics["gershgorin"], summed + context.n * evaluation_error(context, statistics))


def _pairs(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    rounding = 16.0 * UNIT_ROUNDOFF * largest_entry(context, statistics)
    return around(statistics["pair_bound"], rounding + 2.0 * evaluation_error(context, statistics))


def _moments(context: CellContext, statistics: Statistics, sign: float) -> Bound:
    """mean - spread * (n - 1)**(sign / 2)."""
    n = context.n
    mean, spread = statistics["trace_mean"], statistics["trace_spread"]
    root = np.sqrt(n - 1.0)
    value = mean - spread * root**sign
    # |dK_ij| <= e |x_i| |x_j|: the mean moves by e max |x|**2 at most, the spread by sqrt(n) times that.
    moved = (1.0 + n) * evaluation_error(context, statistics)
    return around(np.asarray(value), moved + (4.0 * n + 32.0) * UNIT_ROUNDOFF * (np.abs(mean) + spread * root))


def _moments_below(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _moments(context, statistics, 1.0)


def _moments_above(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _moments(context, statistics, -1.0)


def ones_form(context: CellContext, statistics: Statistics) -> Bound:
    """y'Ky for y = (1, ..., 1), enclosed."""
    n = context.n
    error = n**2 * (
        evaluation_error(context, statistics) + 2.0 * n * UNIT_ROUNDOFF * largest_entry(context, statistics)
    )
    return around(statistics["ones_form"], error)


def _ones_inverse(context: CellContext, statistics: Statistics) -> Bound:
    return enclosed(statistics, "ones_inverse")


def _reciprocal(numerator: float, bound: Bound) -> Bound:
    """numerator / bound for a positive bound; infinite where its lower end is not positive."""

    def over(end: Floats) -> Floats:
        return np.divide(numerator, end, out=np.full_like(end, np.inf), where=end > 0.0)

    return scaled(Bound(over(bound.upper), over(bound.lower)), 1.0)


def _sandwich_below(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _reciprocal(float(context.n) ** 2, ones_form(context, statistics))


def _sandwich_above(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return _reciprocal(float(context.n), enclosed(statistics, "lambda_min"))


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

register(
    Claim(
        id="det-trace-moments-lower",
        words="lambda_min is at least m - s sqrt(n - 1), m the mean and s the standard deviation of the eigenvalues.",
        latex=r"\lambda_{\min}(K) \ge \bar m - s\sqrt{n-1},\quad \bar m = \tfrac1n\operatorname{tr}K,\ "
        r"s^2 = \tfrac1n\operatorname{tr}K^2 - \bar m^2",
        source="Wolkowicz & Styan, Linear Algebra Appl. 29 (1980)",
        hypotheses="any rows, any kernel, n >= 2",
        kind="deterministic",
        side="lower",
        applies=lambda context: context.n >= 2,
        needs=("trace_mean", "trace_spread", "norm_max"),
        evaluate=_moments_below,
    ),
)

register(
    Claim(
        id="det-trace-moments-upper",
        words="lambda_min is at most m - s / sqrt(n - 1), m the mean and s the standard deviation of the eigenvalues.",
        latex=r"\lambda_{\min}(K) \le \bar m - s/\sqrt{n-1}",
        source="Wolkowicz & Styan, Linear Algebra Appl. 29 (1980)",
        hypotheses="any rows, any kernel, n >= 2",
        kind="deterministic",
        side="upper",
        applies=lambda context: context.n >= 2,
        needs=("trace_mean", "trace_spread", "norm_max"),
        evaluate=_moments_above,
    ),
)

register(
    Claim(
        id="det-label-sandwich-lower",
        words="y'K^-1 y is at least |y|^4 / y'Ky; tried with y = (1, ..., 1).",
        latex=r"y^\top K^{-1} y \ge \|y\|^4 / (y^\top K y)",
        source="Cauchy-Schwarz",
        hypotheses="any rows, any kernel, K positive definite",
        kind="deterministic",
        side="lower",
        applies=lambda context: True,
        needs=("ones_form", "ones_inverse_lower", "ones_inverse_upper", "norm_max"),
        evaluate=_sandwich_below,
        quantity=_ones_inverse,
    ),
)

register(
    Claim(
        id="det-label-sandwich-upper",
        words="y'K^-1 y is at most |y|^2 / lambda_min; tried with y = (1, ..., 1).",
        latex=r"y^\top K^{-1} y \le \|y\|^2 / \lambda_{\min}(K)",
        source="spectral theorem; corrects erratum E2 of the slides",
        hypotheses="any rows, any kernel, K positive definite",
        kind="deterministic",
        side="upper",
        applies=lambda context: True,
        needs=("ones_inverse_lower", "ones_inverse_upper"),
        evaluate=_sandwich_above,
        quantity=_ones_inverse,
    ),
)
