"""Inequalities that must hold in every trial, through the coherence of the rows alone."""

from __future__ import annotations

from typing import Final

import numpy as np

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Floats, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import around, decreasing, evaluation_error, positive_part, scaled, tangent, two_layers
from ntkmc.theory.claims.statistics import POWERS
from ntkmc.theory.kernels import UNIT_ROUNDOFF, diagonal_value, kernel_function
from ntkmc.theory.series import hermite_coefficient, series_coefficients

MAX_ORDER: Final = 12
"""Orders s of the tail bounds: beyond, T_{>= s}(1) is below 3 % of the diagonal and no better anywhere tried."""


def _gershgorin(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    def bound(cosine: Floats) -> Floats:
        return np.asarray(0.5 - (context.n - 1) * kernel_function(cosine, "h-infinity", 2))

    return decreasing(bound, context, statistics)


def tail_bounds(context: CellContext, cosine: Floats) -> Floats:
    """T_{>= s}(1) - (n - 1) T_{>= s}(cosine) for s = 1 ... MAX_ORDER, (orders, trials)."""
    coefficients = series_coefficients(context.kernel, context.depth, MAX_ORDER)
    total = diagonal_value(context.kernel, context.depth)
    at_cosine = kernel_function(cosine, context.kernel, context.depth)
    found = []
    for order in range(1, MAX_ORDER + 1):
        head = coefficients[:order]
        row = at_cosine - np.polynomial.polynomial.polyval(cosine, head)
        found.append(total - float(np.sum(head)) - (context.n - 1) * row)
    return np.array(found)


def _tail(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    def bound(cosine: Floats) -> Floats:
        return np.asarray(tail_bounds(context, cosine).max(axis=0))

    return scaled(decreasing(bound, context, statistics), statistics["norm_min"] ** 2)


def _tail_with_heads(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    coefficients = series_coefficients(context.kernel, context.depth, MAX_ORDER)
    best = Bound(np.full_like(statistics["coherence"], -np.inf), np.full_like(statistics["coherence"], -np.inf))
    head = Bound(np.zeros_like(best.lower), np.zeros_like(best.lower))
    for order in range(1, MAX_ORDER + 1):
        tail = decreasing(lambda cosine, s=order: tail_bounds(context, cosine)[s - 1], context, statistics)  # type: ignore[misc]
        best = Bound(np.maximum(best.lower, tail.lower + head.lower), np.maximum(best.upper, tail.upper + head.upper))
        if order in POWERS:  # beyond, an eigenvalue costs more than its coefficient is worth: the free bound 0
            smallest = positive_part(Bound(statistics[f"power{order}_lower"], statistics[f"power{order}_upper"]))
            term = scaled(smallest, float(coefficients[order]), 64.0 * UNIT_ROUNDOFF) if order < MAX_ORDER else head
            head = Bound(head.lower + term.lower, head.upper + term.upper)
    return scaled(best, statistics["norm_min"] ** 2, 64.0 * UNIT_ROUNDOFF)


def _khatri_rao(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = int(parameters["r"])
    weight = 2.0 * hermite_coefficient(r) ** 2

    def bound(cosine: Floats) -> Floats:
        return np.asarray(weight * (1.0 - (context.n - 1) * cosine**r))

    return scaled(decreasing(bound, context, statistics), statistics["norm_min"] ** 2)


def separation(cosine: Floats) -> Floats:
    """min over pairs of min(|a - b|, |a + b|) of unit rows with this coherence: sqrt(2 - 2 rho)."""
    return np.sqrt(2.0 * np.maximum(1.0 - cosine, 0.0))


def _separation(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    return decreasing(lambda cosine: separation(cosine) / (100.0 * context.n**2), context, statistics)


def _positive(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    parallel = statistics["coherence"] + (context.d + 8) * UNIT_ROUNDOFF >= 1.0
    least = np.where(parallel, 0.0, np.nextafter(0.0, 1.0))
    return Bound(least, least)


def _largest_entry(context: CellContext, statistics: Statistics) -> Bound:
    return around(statistics["entry_max"], evaluation_error(context, statistics))


def _entry(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    falling = decreasing(lambda cosine: -kernel_function(cosine, "h-infinity", 2), context, statistics)
    return Bound(-falling.upper, -falling.lower)


_TAIL_SOURCE = "split of the power series: the head is positive semi-definite (Schur), Gershgorin on the tail"
_HEADS = tuple(f"power{r}_{end}" for r in POWERS for end in ("lower", "upper"))

register(
    Claim(
        id="det-gershgorin-coherence",
        words="lambda_min of H-infinity is at least 1/2 - (n - 1) h(coherence).",
        latex=r"\lambda_{\min}(H^\infty) \ge \tfrac12 - (n-1)\,h(\rho),\quad "
        r"h(t) = \frac{t(\pi - \arccos t)}{2\pi}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025; Gershgorin with |h(-t)| <= h(t)",
        hypotheses="kernel h-infinity, unit rows",
        kind="deterministic",
        kernels=("h-infinity",),
        side="lower",
        applies=two_layers,
        needs=("coherence",),
        evaluate=_gershgorin,
    ),
)

register(
    Claim(
        id="det-offdiag",
        words="Every off-diagonal entry of H-infinity is at most h(coherence) in absolute value.",
        latex=r"|H^\infty_{ij}| \le h(\rho)\quad (i \ne j)",
        source="t arccos(t) <= t (pi - arccos t) for t >= 0; corrects erratum E4 of the slides",
        hypotheses="kernel h-infinity, unit rows, n >= 2",
        kind="deterministic",
        kernels=("h-infinity",),
        side="upper",
        applies=lambda context: two_layers(context) and context.n >= 2,
        needs=("coherence", "entry_max", "norm_max"),
        evaluate=_entry,
        quantity=_largest_entry,
    ),
)

for _id, _name, _kernel, _applies, _least, _where in (
    ("det-tail-gershgorin", "h-infinity", r"H^\infty", two_layers, "", "kernel h-infinity, unit rows"),
    (
        "det-tail-gershgorin-deep",
        "ntk",
        "K^{(L)}",
        lambda context: context.kernel == "ntk",
        r"\min_i\|x_i\|^2 ",
        "kernel ntk, any rows",
    ),
):
    _scale = "min |x_i|^2 times " if _least else ""
    register(
        Claim(
            id=_id,
            words=f"lambda_min is at least {_scale}T_s(1) - (n - 1) T_s(coherence), T_s the kernel's power "
            f"series from "
            f"order s on; the best s <= {MAX_ORDER}. Head terms are taken at their free bound 0.",
            latex=rf"\lambda_{{\min}}({_kernel}) \ge {_least}\max_{{1\le s\le 12}}\bigl[T_{{\ge s}}(1) - "
            r"(n-1)\,T_{\ge s}(\rho)\bigr]",
            source=_TAIL_SOURCE,
            hypotheses=_where,
            kind="deterministic",
            kernels=(_name,),
            side="lower",
            applies=_applies,
            needs=("coherence", "norm_min"),
            evaluate=_tail,
        ),
    )
    register(
        Claim(
            id=f"{_id}-head",
            words=f"lambda_min is at least {_scale}sum over 1 <= r < s of b_r lambda_min(R^r) + T_s(1) - (n - 1) "
            f"T_s(coherence), R^r the cosines to the power r, entrywise; the best s <= {MAX_ORDER}; the eigenvalues "
            f"with r > {POWERS[-1]} at their free bound 0.",
            latex=rf"\lambda_{{\min}}({_kernel}) \ge {_least}\max_{{1\le s\le 12}}\Bigl[\sum_{{1\le r<s}} b_r "
            r"\lambda_{\min}(R^{\circ r})^+ + T_{\ge s}(1) - (n-1)\,T_{\ge s}(\rho)\Bigr]",
            source=_TAIL_SOURCE,
            hypotheses=_where,
            kind="deterministic",
            kernels=(_name,),
            side="lower",
            applies=_applies,
            needs=("coherence", "norm_min", *_HEADS),
            evaluate=_tail_with_heads,
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
        kernels=("ntk",),
        side="lower",
        applies=tangent,
        needs=("coherence", "norm_min"),
        evaluate=_khatri_rao,
        parameters=({"r": 2}, {"r": 4}, {"r": 6}),
    ),
)

register(
    Claim(
        id="det-separation-OS",
        words="lambda_min of H-infinity is at least delta / (100 n^2), delta the smallest |x_i - x_j| or |x_i + x_j|.",
        latex=r"\lambda_{\min}(H^\infty) \ge \frac{\delta}{100\,n^2},\quad "
        r"\delta = \min_{i<j}\min(\|x_i-x_j\|, \|x_i+x_j\|)",
        source="Oymak & Soltanolkotabi, IEEE JSAIT 2020",
        hypotheses="kernel h-infinity, unit rows, n >= 2",
        kind="deterministic",
        kernels=("h-infinity",),
        side="lower",
        applies=lambda context: two_layers(context) and context.n >= 2,
        needs=("coherence", "norm_min"),
        evaluate=_separation,
    ),
)

register(
    Claim(
        id="det-nonparallel",
        words="lambda_min of H-infinity is positive if no two rows are parallel. Sufficient, not necessary.",
        latex=r"x_i \nparallel x_j\ (i \ne j) \;\Rightarrow\; \lambda_{\min}(H^\infty) > 0",
        source="Du, Zhai, Póczos & Singh, ICLR 2019, Thm 3.1",
        hypotheses="kernel h-infinity, unit rows; says nothing of draws with parallel rows",
        kind="deterministic",
        kernels=("h-infinity",),
        side="lower",
        applies=two_layers,
        needs=("coherence",),
        evaluate=_positive,
    ),
)
