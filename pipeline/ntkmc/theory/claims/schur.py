"""Inequalities that must hold in every trial, through further eigenvalues: Schur's theorem, layers, determinants.

Each costs eigenvalue problems of its own and is tried when a study asks for it.
"""

from __future__ import annotations

import math

import numpy as np

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import around, enclosed, scaled, tangent, two_layers
from ntkmc.theory.claims.statistics import HIGHEST_HARMONIC, KHATRI_RAO
from ntkmc.theory.kernels import UNIT_ROUNDOFF
from ntkmc.theory.series import series_coefficients

_SERIES_ERROR = 256.0 * UNIT_ROUNDOFF
"""Relative error of a Taylor coefficient up to order 6, with a wide margin: measured below 8 u against mpmath."""


def _schur(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    linear, derivative = enclosed(statistics, "power1"), enclosed(statistics, "kappa0")
    return Bound(0.5 * np.maximum(linear.lower, derivative.lower), 0.5 * np.maximum(linear.upper, derivative.upper))


def _khatri_rao_two_layers(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = int(parameters["r"])
    coefficient = float(series_coefficients("h-infinity", 2)[r])
    return scaled(enclosed(statistics, f"power{r}"), coefficient, _SERIES_ERROR)


def _khatri_rao(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = int(parameters["r"])
    tangent_kernel = float(series_coefficients("ntk", context.depth)[r])
    layers = sum(float(series_coefficients("conjugate", depth)[r]) for depth in range(1, context.depth + 1))
    return scaled(enclosed(statistics, f"khatri_rao{r}"), max(tangent_kernel, layers), _SERIES_ERROR * context.depth)


def _layers(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return enclosed(statistics, "layers")


def _congruence_below(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return scaled(enclosed(statistics, "directions"), statistics["norm_min"] ** 2)


def _congruence_above(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return scaled(enclosed(statistics, "directions"), statistics["norm_max"] ** 2)


def _gegenbauer(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return scaled(enclosed(statistics, "gegenbauer"), statistics["norm_min"] ** 2)


def _log_det(context: CellContext, statistics: Statistics) -> Bound:
    return enclosed(statistics, "log_det")


def _oppenheim(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    linear = enclosed(statistics, "log_det_linear")
    shift = context.n * math.log(2.0)
    slack = 8.0 * UNIT_ROUNDOFF * (shift + np.abs(np.nan_to_num(linear.lower, neginf=0.0)))
    return Bound(linear.lower - shift - slack, linear.upper - shift + slack)


def _determinant(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    n = context.n
    log_det = enclosed(statistics, "log_det")
    total = around(n * statistics["trace_mean"], 4.0 * n * UNIT_ROUNDOFF * n * statistics["trace_mean"])
    with np.errstate(over="ignore"):  # an unknown determinant gives 0 ... inf
        lower = np.exp(log_det.lower + (n - 1) * np.log((n - 1) / total.upper))
        upper = np.exp(log_det.upper + (n - 1) * np.log((n - 1) / total.lower))
    # The exponent, of size n log n at most, is rounded a few times.
    return scaled(Bound(lower, upper), 1.0, 64.0 * n * (1.0 + math.log(n)) * UNIT_ROUNDOFF)


register(
    Claim(
        id="det-schur-two-layer",
        words="lambda_min of H-infinity is at least half the larger of lambda_min(XX') and lambda_min(kappa_0(R)).",
        latex=r"\lambda_{\min}(H^\infty) \ge \tfrac12\max\{\lambda_{\min}(XX^\top), \lambda_{\min}(\kappa_0(R))\}",
        source="Schur 1911; Horn & Johnson, Topics in Matrix Analysis, Sec. 5.3",
        hypotheses="kernel h-infinity, unit rows",
        kind="deterministic",
        kernels=("h-infinity",),
        side="lower",
        applies=two_layers,
        needs=("power1_lower", "power1_upper", "kappa0_lower", "kappa0_upper"),
        evaluate=_schur,
    ),
)

register(
    Claim(
        id="det-khatri-rao-two-layer",
        words="lambda_min of H-infinity is at least h_r lambda_min(R^r), R^r the cosines to the power r, entrywise.",
        latex=r"\lambda_{\min}(H^\infty) \ge h_r\,\lambda_{\min}(R^{\circ r})",
        source="H-infinity less h_r R^r is a non-negative combination of positive semi-definite matrices",
        hypotheses="kernel h-infinity, unit rows",
        kind="deterministic",
        kernels=("h-infinity",),
        side="lower",
        applies=two_layers,
        needs=("power{r}_lower", "power{r}_upper"),
        evaluate=_khatri_rao_two_layers,
        parameters=({"r": 1}, {"r": 2}, {"r": 4}, {"r": 6}),
    ),
)

register(
    Claim(
        id="det-khatri-rao-deep",
        words="lambda_min of K^(L) is at least max(b_L,r, sum over layers of c_l,r) lambda_min(M), M_ij = |x_i| "
        "cos_ij^r "
        "|x_j|; for even r the coefficient is at least 2 mu_r^2; odd r >= 3 say nothing at L = 2.",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \max\bigl\{b_{L,r}, \textstyle\sum_l c_{l,r}\bigr\}\,"
        r"\lambda_{\min}\bigl(D R^{\circ r} D\bigr)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, mechanism of Thm 3.2, with the normalization corrected",
        hypotheses="kernel ntk, depth at least 2, any rows",
        kind="deterministic",
        kernels=("ntk",),
        side="lower",
        applies=tangent,
        needs=("khatri_rao{r}_lower", "khatri_rao{r}_upper"),
        evaluate=_khatri_rao,
        parameters=tuple({"r": r} for r in KHATRI_RAO),
    ),
)

register(
    Claim(
        id="det-layer-sum",
        words="lambda_min of K^(L) is at least the sum over layers of lambda_min(G^(l)).",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \sum_{l=1}^L \lambda_{\min}(G^{(l)})",
        source="Schur with unit diagonal of the derivative kernels, then Weyl",
        hypotheses="kernel ntk, any rows",
        kind="deterministic",
        kernels=("ntk",),
        side="lower",
        applies=lambda context: context.kernel == "ntk",
        needs=("layers_lower", "layers_upper"),
        evaluate=_layers,
    ),
)

for _side, _word, _evaluate in (("lower", "least", _congruence_below), ("upper", "most", _congruence_above)):
    _extreme = "min" if _side == "lower" else "max"
    _relation = r"\ge" if _side == "lower" else r"\le"
    register(
        Claim(
            id=f"det-congruence-{_side}",
            words=f"lambda_min is at {_word} {_extreme} |x_i|^2 times that of the kernel of the directions.",
            latex=rf"\lambda_{{\min}}(K) {_relation} \{_extreme}_i\|x_i\|^2\,\lambda_{{\min}}(k(R))",
            source="Ostrowski 1959",
            hypotheses="any kernel, rows of different norms",
            kind="deterministic",
            side=_side,  # type: ignore[arg-type]
            applies=lambda context: not context.unit_rows,
            needs=(f"norm_{_extreme}", "directions_lower", "directions_upper"),
            evaluate=_evaluate,
        ),
    )

register(
    Claim(
        id="det-gegenbauer",
        words="lambda_min is at least min |x_i|^2 times the sum over degrees k of xi_k lambda_min(Q_k(R)), Q_k the "
        f"Gegenbauer polynomials with Q_k(1) = 1; eigenvalues up to k = {HIGHEST_HARMONIC}, then the free bound 0.",
        latex=r"\lambda_{\min}(K) \ge \min_i\|x_i\|^2 \sum_k \xi_k\,\lambda_{\min}\bigl(Q_k^{(d)}(R)\bigr)",
        source="Schoenberg, Duke Math. J. 1942",
        hypotheses="any kernel, any rows, d >= 3",
        kind="deterministic",
        side="lower",
        applies=lambda context: context.d >= 3,
        needs=("norm_min", "gegenbauer_lower", "gegenbauer_upper"),
        evaluate=_gegenbauer,
    ),
)

register(
    Claim(
        id="det-oppenheim",
        words="log det H-infinity is at least log det XX' - n log 2.",
        latex=r"\log\det H^\infty \ge \log\det(XX^\top) - n\log 2",
        source="Oppenheim, J. London Math. Soc. 1930",
        hypotheses="kernel h-infinity, unit rows, n <= d",
        kind="deterministic",
        kernels=("h-infinity",),
        side="lower",
        applies=lambda context: two_layers(context) and context.n <= context.d,
        needs=("log_det_lower", "log_det_upper", "log_det_linear_lower", "log_det_linear_upper"),
        evaluate=_oppenheim,
        quantity=_log_det,
        trivial=-math.inf,
    ),
)

register(
    Claim(
        id="det-determinant",
        words="lambda_min is at least det K ((n - 1) / tr K)^(n - 1); very weak.",
        latex=r"\lambda_{\min}(K) \ge \det K\,\Bigl(\frac{n-1}{\operatorname{tr}K}\Bigr)^{n-1}",
        source="arithmetic and geometric mean of the other eigenvalues",
        hypotheses="any rows, any kernel, n >= 2",
        kind="deterministic",
        side="lower",
        applies=lambda context: context.n >= 2,
        needs=("log_det_lower", "log_det_upper", "trace_mean"),
        evaluate=_determinant,
    ),
)
