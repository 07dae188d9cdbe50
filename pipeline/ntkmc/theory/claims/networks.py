"""Claims about networks of finite width m: the distance of the initial kernel H_m from H-infinity.

All probabilities are over the weights alone, for any fixed rows, and so over rows and weights together.
"""

from __future__ import annotations

from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.numeric import UNIT_ROUNDOFF, Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import (
    Bound,
    Claim,
    DeterministicClaim,
    Parameters,
    ProbabilityClaim,
    ScalingClaim,
    Statistics,
)
from ntkmc.theory.claims.bounds import enclosed, ends, read_quantity, zero
from ntkmc.theory.claims.domains import TWO_LAYERS, Domain
from ntkmc.theory.claims.trial_statistics import FINITE_WIDTH

_SMALLEST: Final = f"{FINITE_WIDTH.prefix}lambda_min"
_DEVIATION: Final = f"{FINITE_WIDTH.prefix}deviation"
_ENTRY_DEVIATION: Final = f"{FINITE_WIDTH.prefix}entry_deviation"
_DATA_NORM: Final = f"{FINITE_WIDTH.prefix}data_norm"
_KERNEL_NORM: Final = f"{FINITE_WIDTH.prefix}kernel_norm"
"""Statistics of the group: lambda_min(H_m), |H_m - H| in operator norm and by entry, |X|, |H|."""

_NETWORKS: Final = "networks of width m (widths in the study)"
_UNIT_ROWS: Final = TWO_LAYERS.restricted(_NETWORKS)
_ANY_ROWS: Final = Domain(f"kernel h-infinity, any rows, {_NETWORKS}", ("h-infinity",))

_ROUNDING = 32.0 * UNIT_ROUNDOFF
"""Relative rounding error of a bound that is computed by a dozen operations from enclosed numbers."""


def _wider(lower: Floats, upper: Floats) -> Bound:
    """Return a bound from non-negative ends, which may be infinite, widened by `_ROUNDING`."""
    return Bound(lower * (1.0 - _ROUNDING), upper * (1.0 + _ROUNDING))


def _hoeffding(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    n, m = context.n, float(parameters["m"])
    # Two tails for each of n (n + 1) / 2 entries, each a mean of m numbers in an interval of length 1.
    value = np.sqrt(np.log(n * (n + 1) / float(parameters["delta"])) / (2.0 * m))
    full = np.full_like(statistics[f"{_ENTRY_DEVIATION}_lower"], value)
    return _wider(full, full)


def _bernstein(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    rate = np.log(2.0 * context.n / float(parameters["delta"])) / float(parameters["m"])
    data, kernel = (enclosed(statistics, name) for name in (_DATA_NORM, _KERNEL_NORM))

    def bound(square: Floats, norm: Floats) -> Floats:
        c = rate * square
        return np.asarray(c / 3.0 + np.sqrt(c * c / 9.0 + 2.0 * c * norm))

    # The bound increases in both norms. Beyond |X|^2 it is vacuous: 0 <= H_m, H <= |X|^2, whatever the weights.
    low, high = bound(data.lower, kernel.lower), bound(data.upper, kernel.upper)
    return _wider(np.where(low >= data.upper, np.inf, low), np.where(high >= data.lower, np.inf, high))


def _chernoff(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return x - sqrt(c x) at x = lambda_min(H), with c = 2 |X|^2 log(n / delta) / m."""
    rate = 2.0 * np.log(context.n / float(parameters["delta"])) / float(parameters["m"])
    data, limit = enclosed(statistics, _DATA_NORM), enclosed(statistics, "lambda_min")
    most, least = rate * data.upper, rate * data.lower
    # The bound decreases in c. It decreases in x up to c / 4 and increases beyond, so its least value over the
    # enclosure of x is at c / 4 if the enclosure holds it, and its largest value at one of the ends.
    turning = np.clip(most / 4.0, limit.lower, limit.upper)
    low = turning - np.sqrt(most * turning)
    high = np.maximum(limit.lower - np.sqrt(least * limit.lower), limit.upper - np.sqrt(least * limit.upper))
    slack = _ROUNDING * (limit.upper + most)  # the difference of two numbers of this size
    return Bound(low - slack, high + slack)


def _excess(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return lambda_min(H_m) - lambda_min(H), both of the same rows."""
    network, limit = enclosed(statistics, _SMALLEST), enclosed(statistics, "lambda_min")
    return Bound(network.lower - limit.upper, network.upper - limit.lower)


def _wide_enough(context: CellContext, statistics: Statistics, parameters: Parameters) -> NDArray[np.bool_]:
    """Return whether m >= n^6 / lambda_0^4, by proof, with lambda_0 = lambda_min(H) of these rows."""
    threshold = float(context.n) ** 6 * (1.0 + _ROUNDING)
    least = np.maximum(enclosed(statistics, "lambda_min").lower, 0.0)
    return np.asarray(float(parameters["m"]) * least**4 >= threshold)


def _quarter(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return lambda_0 / 4; infinity, since nothing is claimed, where the network is too narrow."""
    limit, claimed = enclosed(statistics, "lambda_min"), _wide_enough(context, statistics, parameters)
    return Bound(np.where(claimed, 0.25 * limit.lower, np.inf), np.where(claimed, 0.25 * limit.upper, np.inf))


def _three_quarters(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return 3/4 lambda_0; 0, which is vacuous, where the network is too narrow."""
    limit, claimed = enclosed(statistics, "lambda_min"), _wide_enough(context, statistics, parameters)
    return _wider(np.where(claimed, 0.75 * limit.lower, 0.0), np.where(claimed, 0.75 * limit.upper, 0.0))


_over_weights = partial(ProbabilityClaim, domain=_ANY_ROWS, group=FINITE_WIDTH)

NETWORK_CLAIMS: Final[tuple[Claim, ...]] = (
    ProbabilityClaim(
        id="prob-width-hoeffding",
        statement="No entry of H_m is further from H-infinity than sqrt(log(n(n+1)/delta) / (2m)), and the operator "
        "norm of the difference at most n times that, with probability at least 1 - delta; tried on the entries.",
        latex=r"\max_{ij} |H_{m,ij} - H^\infty_{ij}| \le \sqrt{\tfrac{\log(n(n+1)/\delta)}{2m}}",
        source="Du, Zhai, Póczos & Singh, ICLR 2019, Lemma 3.1, with constants: Hoeffding and a union over entries",
        domain=_UNIT_ROWS,
        side="upper",
        needs=ends(_ENTRY_DEVIATION),
        evaluate=_hoeffding,
        quantity=read_quantity(_ENTRY_DEVIATION),
        trivial=1.0,
        group=FINITE_WIDTH,
    ),
    _over_weights(
        id="bernstein-width",
        statement="|H_m - H-infinity| is at most c/3 + sqrt(c^2/9 + 2c |H-infinity|), c = |X|^2 log(2n/delta) / m, "
        "with probability at least 1 - delta.",
        latex=r"\lVert H_m - H^\infty\rVert \le \tfrac c3 + \sqrt{\tfrac{c^2}9 + 2c\lVert H^\infty\rVert},\quad "
        r"c = \lVert X\rVert^2\log(2n/\delta)/m",
        source="matrix Bernstein (Tropp 2015, Thm 6.1.1)",
        side="upper",
        needs=ends(_DEVIATION, _DATA_NORM, _KERNEL_NORM),
        evaluate=_bernstein,
        quantity=read_quantity(_DEVIATION),
    ),
    _over_weights(
        id="chernoff-width",
        statement="lambda_min(H_m) is at least (1 - e) lambda_min(H-infinity), e^2 = 2 |X|^2 log(n/delta) / (m "
        "lambda_min), with probability at least 1 - delta.",
        latex=r"\lambda_{\min}(H_m) \ge (1-\varepsilon)\lambda_{\min}(H^\infty),\quad \varepsilon^2 = "
        r"\tfrac{2\lVert X\rVert^2\log(n/\delta)}{m\lambda_{\min}(H^\infty)}",
        source="matrix Chernoff (Tropp 2012, Thm 1.1)",
        side="lower",
        needs=ends(_SMALLEST, _DATA_NORM, "lambda_min"),
        evaluate=_chernoff,
        quantity=read_quantity(_SMALLEST),
    ),
    ScalingClaim(
        id="width-jensen",
        statement="The mean of lambda_min(H_m) over the weights is at most lambda_min(H-infinity), at every width; "
        "tried on the mean over draws of their difference, of the same rows.",
        latex=r"\mathbb{E}\,\lambda_{\min}(H_m) \le \lambda_{\min}(H^\infty)",
        source="Jensen's inequality: lambda_min is concave, and the mean of H_m is H-infinity",
        domain=_UNIT_ROWS,
        side="upper",
        needs=ends(_SMALLEST, "lambda_min"),
        evaluate=_excess,
        constants="none",
        functional="mean",
        equal=0.0,
        # 0 <= H_m, whose diagonal is at most 1, and 0 <= lambda_min(H) <= 1/2; and a little for what is rounded.
        least=lambda context: -0.5 - 1e-9,
        most=lambda context: 1.0 + 1e-9,
        group=FINITE_WIDTH,
    ),
    DeterministicClaim(
        id="width-rank",
        statement="lambda_min(H_m) is 0 if the network has fewer trained weights than there are rows: m d < n.",
        latex=r"md < n \Rightarrow \lambda_{\min}(H_m) = 0",
        source="H_m is the Gram matrix of n gradients in m d weights",
        domain=Domain(f"{_ANY_ROWS.hypotheses} with m d < n", _ANY_ROWS.kernels),
        side="upper",
        where=lambda context, parameters: int(parameters["m"]) * context.d < context.n,
        needs=ends(_SMALLEST),
        evaluate=zero(f"{_SMALLEST}_lower"),
        quantity=read_quantity(_SMALLEST),
        group=FINITE_WIDTH,
    ),
    _over_weights(
        id="claim-width-n6",
        statement="|H_m - H-infinity| is at most lambda_0 / 4 with probability at least 1 - delta if m >= C n^6 / "
        "lambda_0^4, lambda_0 = lambda_min(H-infinity); tried with C = 1, where a network is so wide. How wide it "
        "has to be is measured in the group convergence.",
        latex=r"m \ge C\,n^6/\lambda_0^4 \Rightarrow \lVert H_m - H^\infty\rVert \le \lambda_0/4",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025, after Du et al. 2019, Thm 3.2, and Arora et al. 2019, Thm "
        "3.1; the part about initialization",
        side="upper",
        needs=ends(_DEVIATION, "lambda_min"),
        evaluate=_quarter,
        constants="C = 1",
        quantity=read_quantity(_DEVIATION),
    ),
    _over_weights(
        id="claim-width-n6-eigenvalue",
        statement="lambda_min(H_m) is at least 3/4 lambda_0 with probability at least 1 - delta if m >= C n^6 / "
        "lambda_0^4, lambda_0 = lambda_min(H-infinity); tried with C = 1, where a network is so wide.",
        latex=r"m \ge C\,n^6/\lambda_0^4 \Rightarrow \lambda_{\min}(H_m) \ge \tfrac34\lambda_0",
        source="follows from claim-width-n6 by Weyl's inequality",
        side="lower",
        needs=ends(_SMALLEST, "lambda_min"),
        evaluate=_three_quarters,
        constants="C = 1",
        quantity=read_quantity(_SMALLEST),
    ),
)
