"""Claims about the closest pair of rows, and about laws whose rows coincide."""

from __future__ import annotations

import math

import numpy as np

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, Floats, Parameters, Statistics, register
from ntkmc.theory.claims.bounds import around, decreasing, exactly, two_layers
from ntkmc.theory.claims.probability import coherence
from ntkmc.theory.kernels import UNIT_ROUNDOFF, kernel_function


def _closest(context: CellContext, statistics: Statistics) -> Bound:
    """The largest cosine, known to (d + 8) u."""
    return around(statistics["cosine_max"], (context.d + 8) * UNIT_ROUNDOFF)


def _angle_bound(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    def bound(cosine: Floats) -> Floats:
        theta = np.arccos(cosine)
        return np.asarray(theta / (2.0 * math.pi) + theta**2 / 4.0)

    known = _closest(context, statistics)
    # arccos turns an error near 1 into its root: the ends of the cosine, not of the angle, are moved.
    low, high = bound(np.clip(known.upper, -1.0, 1.0)), bound(np.clip(known.lower, -1.0, 1.0))
    return Bound(low * (1.0 - 64.0 * UNIT_ROUNDOFF), high * (1.0 + 64.0 * UNIT_ROUNDOFF))


def _largest_signed(context: CellContext, statistics: Statistics) -> Bound:
    """The largest off-diagonal entry of H-infinity, with its sign; h increases where it is positive."""
    known = _closest(context, statistics)
    low, high = (kernel_function(np.clip(end, -1.0, 1.0), "h-infinity", 2) for end in (known.lower, known.upper))
    # Where all cosines are negative, h of the largest need not be the largest: it is at most 0.
    negative = known.upper < 0.0
    return Bound(np.where(negative, -0.5, low - 1e-14), np.where(negative, 0.0, high + 1e-14))


def _coherence_entry(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    falling = decreasing(lambda cosine: -kernel_function(cosine, "h-infinity", 2), context, statistics)
    return Bound(-falling.upper, -falling.lower)


def coinciding(n: int, values: float) -> float:
    """1 - prod over i < n of (1 - i / values): some of n uniform draws from so many values are equal.

    >>> round(coinciding(23, 365.0), 3)
    0.507
    """
    if n > values:
        return 1.0
    return -math.expm1(sum(math.log1p(-i / values) for i in range(1, n)))


def _no_two(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Between 1 and the largest cosine that two different vectors of signs can have, 1 - 2 / d."""
    return exactly(1.0 - 1.0 / context.d, statistics)


def _parallel_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    p = coinciding(context.n, 2.0 ** (context.d - 1))
    return p, p


def _equal_claimed(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    p = coinciding(context.n, 2.0**context.d)
    return p, p


def _signs(context: CellContext) -> bool:
    """Signs, whose rows coincide with a probability that trials can tell from 0."""
    return context.law == "rademacher" and context.n >= 2 and coinciding(context.n, 2.0**context.d) >= 1e-9


def _angle_ratio(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """theta_min n^(2 / (d - 1)); its rounding is far below its fluctuations."""
    theta = np.arccos(np.clip(statistics["cosine_max"], -1.0, 1.0))
    value = np.asarray(theta * context.n ** (2.0 / (context.d - 1)))
    return Bound(value, value)


register(
    Claim(
        id="det-pair-angle",
        words="lambda_min of H-infinity is at most theta / (2 pi) + theta^2 / 4, theta the smallest angle between two "
        "rows.",
        latex=r"\lambda_{\min}(H^\infty) \le \frac{\theta_{\min}}{2\pi} + \frac{\theta_{\min}^2}4",
        source="corollary of det-pair-upper",
        hypotheses="kernel h-infinity, unit rows, n >= 2",
        kind="deterministic",
        kernels=("h-infinity",),
        side="upper",
        applies=lambda context: two_layers(context) and context.n >= 2,
        needs=("cosine_max",),
        evaluate=_angle_bound,
        trivial=0.5,
    ),
)

register(
    Claim(
        id="printed/det-offdiag",
        words="Every off-diagonal entry of H-infinity is at most h(coherence), without absolute value (erratum E4): "
        "true as printed, but Gershgorin's theorem needs it for the absolute value, which det-offdiag states.",
        latex=r"H^\infty_{ij} \le h(\rho)",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025, as printed",
        hypotheses="kernel h-infinity, unit rows, n >= 2",
        kind="deterministic",
        kernels=("h-infinity",),
        side="upper",
        applies=lambda context: two_layers(context) and context.n >= 2,
        needs=("cosine_max", "coherence"),
        evaluate=_coherence_entry,
        quantity=_largest_signed,
    ),
)

for _id, _what, _values, _quantity, _need, _claimed in (
    ("prob-rademacher-equal", "equal", "2^d", _closest, "cosine_max", _equal_claimed),
    ("prob-rademacher-parallel", "equal up to sign", "2^(d-1)", coherence, "coherence", _parallel_claimed),
):
    register(
        Claim(
            id=_id,
            words=f"Two of n rows of signs are {_what} with probability 1 - prod over i < n of (1 - i / {_values}), "
            "exactly: an atom of the law of lambda_min, which is 0 where two rows are equal.",
            latex=r"1 - \prod_{i=1}^{n-1}\bigl(1 - i\,2^{-d}\bigr)"
            if _what == "equal"
            else r"1 - \prod_{i=1}^{n-1}\bigl(1 - i\,2^{1-d}\bigr)",
            source="the birthday problem",
            hypotheses="rademacher rows, n >= 2, where that is not below 1e-9",
            kind="probability",
            side="upper",
            applies=_signs,
            needs=(_need, "norm_min"),
            evaluate=_no_two,
            quantity=_quantity,
            claimed=_claimed,
        ),
    )

for _side, _words, _relation in (("upper", "at most C", r"\le C"), ("lower", "at least c", r"\ge c")):
    register(
        Claim(
            id=f"claim-angle-{_side}",
            words=f"At fixed d, the smallest angle between n uniform directions is {_words} n^(-2/(d-1)) with "
            "probability at least 1 - delta.",
            latex=rf"\theta_{{\min}} {_relation}\,n^{{-2/(d-1)}}",
            source="Cai, Fan & Jiang, JMLR 14 (2013)",
            hypotheses="rows with uniform directions, n >= 2, 2 <= d <= 10",
            kind="scaling",
            side=_side,  # type: ignore[arg-type]
            applies=lambda context: context.uniform_directions and context.n >= 2 and 2 <= context.d <= 10,
            needs=("cosine_max",),
            evaluate=_angle_ratio,
            parameters=({"delta": 0.1},),
            constants=f"{_words[-1]} fitted",
            along=("n",),
        ),
    )
