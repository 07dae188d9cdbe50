"""How a claim is tested, in words: built from what it declares, so that no sentence can say something else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ntkmc.theory.claims.base import Claim

DRIFT: Final = 0.1
"""An exponent of a claimed constant up to this is not told from logarithmic corrections at finite n and d."""

LEVEL: Final = 0.8
"""A drift whose exponent in the upper half of the range is below this share of the lower half's levels off."""

HEAVY: Final = 1.15
"""An exponent of quantiles against normal ones above this is a heavier tail than sub-Gaussian: 1.5 for exponential
tails at the levels that thousands of trials reach."""

SAME: Final = 0.05
"""A constant that is claimed to have a value is supported if it is proved to be at most this much above it."""

EXACT: Final = 0.1
"""A probability p that is claimed exactly is supported if its interval lies within this share of min(p, 1 - p)."""


def how_tested(claim: Claim) -> str:
    """What is measured, and what refutes and supports."""
    match claim.kind:
        case "event":
            return "by a confidence sequence in each cell, valid while one looks"
        case "deterministic":
            return "in every trial; violated only if the two enclosures are disjoint on the wrong side"
        case "probability":
            return _probability()
    if claim.equal is not None and claim.most is not None:
        return (
            "the mean in each cell, with limits by betting on values whose range is proved, valid while one looks and "
            f"for all cells at once. Refuted where its lower limit is above {claim.equal:g}; supported where its "
            f"upper limit is at most {claim.equal:g}. {_family(claim)}"
        )
    if claim.equal is not None:
        return (
            f"{_measured(claim)}; it cannot be below {claim.equal:g}. Refuted where its lower limit is above "
            f"{claim.equal:g}; supported where its upper limit, which is asymptotic, is at most "
            f"{claim.equal + SAME:g}. {_family(claim)}"
        )
    return f"{_measured(claim)}. {_drift(claim)} {_family(claim)}"


def _probability() -> str:
    return (
        "the frequency of violations against the claimed probability, by an e-process, valid while one looks: refuted "
        "where it reaches 1 / alpha; cells together by the average e-value, each of them by e-BH. Supported where the "
        f"confidence sequence lies in the claimed range; an exact probability p is given a margin of {EXACT:g} times "
        "the smaller of p and 1 - p. Trials that failed count against both"
    )


def _measured(claim: Claim) -> str:
    match claim.functional:
        case "quantile":
            level = "(1 - delta)" if claim.side == "upper" else "delta"
            what = f"the {level}-quantile of the ratio, by order statistics, valid while one looks"
        case "mean":
            what = (
                "the mean of the ratio: its lower limit by betting, for any tail and valid while one looks; its upper "
                "limit "
                + (
                    "is the proved one"
                    if claim.ceiling is not None
                    else "asymptotic, and unknown where one draw dominates"
                )
            )
        case _:
            what = (
                "the largest ratio of quantiles of |f - median| to those of a normal law, down to level 20 / T, once "
                "the number of trials that was fixed in advance is reached"
            )
    return f"the constant in each cell is {what}; limits hold for all cells at once"


def _drift(claim: Claim) -> str:
    way = "decay" if claim.side == "lower" or claim.functional == "mean" else "growth"
    axes = " or ".join(claim.along)
    drift = f"a {way} with an exponent above {DRIFT:g} in {axes}"
    if claim.ceiling is not None and claim.functional == "quantile":
        return "A ceiling is proved: supported where all limits are below it, refuted where one is above."
    said = [
        f"Refuted by {drift}, by proof of its limits, in the upper half of the range too and there with at least "
        f"{LEVEL:g} of the lower half's; a finite range shows no limit"
    ]
    if claim.proved is not None:
        said.append(
            "where the hypothesis is declared of the law no drift refutes, where it is declared not to hold any does"
        )
    if claim.tails is not None:
        said.append(
            f"a coordinate's quantiles that grow like those of a normal law to a power above {HEAVY:g} keep it from "
            "being supported, and refute it for laws that are declared not to satisfy it"
        )
    return "; ".join(said) + f". Supported if {axes.replace(' or ', ' and ')} varied, and no such exponent can be."


def _family(claim: Claim) -> str:
    return "Each law by itself: a hypothesis has no truth over all laws." if claim.hypothesis else "Every law counts."
