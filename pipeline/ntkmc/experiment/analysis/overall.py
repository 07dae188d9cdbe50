"""Verdicts over all cells of a claim: multiple testing, constants of scaling claims, and their drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.analysis.estimates import Rules
from ntkmc.experiment.schema.variables import EXPONENT_AXES, Verdict
from ntkmc.experiment.trial.run import Arrays
from ntkmc.statistics import Estimate, confidence_sequence, e_bh, exponents, halves, mean_log_e
from ntkmc.theory.claims import ScalingClaim
from ntkmc.theory.claims.base import DRIFT, HEAVY, LEVEL


def overall(verdicts: Sequence[int]) -> Verdict:
    """Return the verdict over all cells on a deterministic claim: the most severe one.

    >>> overall([Verdict.HOLDS, Verdict.NOT_APPLICABLE, Verdict.VACUOUS]).word
    'holds'
    """
    present = set(verdicts)
    # By severity: one violation refutes a deterministic claim, whatever other cells say.
    order = (Verdict.VIOLATED, Verdict.HOLDS, Verdict.VACUOUS, Verdict.NOT_APPLICABLE, Verdict.NOT_EVALUATED)
    return next((verdict for verdict in order if verdict in present), Verdict.NOT_EVALUATED)


def overall_event(proved: NDArray[Any], undecided: NDArray[Any], total: NDArray[Any], rules: Rules) -> Verdict:
    """Return the verdict over all cells on the event at one threshold.

    The event is supported if every cell supports it: an intersection-union test needs no correction. It is refuted if
    some cell refutes it at the error rate divided by the number of cells (Bonferroni, valid under any dependence).

    Parameters
    ----------
    proved, undecided, total : ndarray, (cells,)
        Counts of all cells. Cells without trials are included, and prevent support.
    """
    if not total.any():
        return Verdict.NOT_EVALUATED
    low, _ = confidence_sequence(proved, total, rules.confidence)
    if np.all(low >= 1.0 - rules.delta):
        return Verdict.SUPPORTED
    corrected = 1.0 - (1.0 - rules.confidence) / total.size
    _, high = confidence_sequence(proved + undecided, total, corrected)
    return Verdict.REFUTED if np.any(high < 1.0 - rules.delta) else Verdict.UNDECIDED


def overall_probability(
    verdicts: NDArray[Any], log_e: NDArray[Any], confidence: float, pending: bool = False
) -> tuple[Verdict, NDArray[np.bool_]]:
    """Return the verdict over all cells on a probability bound, and the cells that reject it.

    The bound is refuted if the average of the e-values of the cells reaches 1 / alpha. The average is an e-value for
    "no cell violates the bound" under any dependence, so a family of cells has the same rate of false alarms as one
    cell. Vacuous cells are left out.

    Parameters
    ----------
    verdicts, log_e : ndarray, any shape
        Verdicts and logarithms of e-values of the cells.
    confidence : float
    pending : bool
        Whether cells of the study are not evaluated yet. The bound is not supported then.

    Returns
    -------
    verdict : Verdict
    rejected : ndarray of bool
        By e-BH, with the false discovery rate over the cells at 1 - confidence.
    """
    tried = ~np.isnan(log_e)
    rejected = np.zeros(log_e.shape, dtype=bool)
    rejected[tried] = e_bh(log_e[tried], confidence)
    if not tried.any():
        return overall(np.unique(verdicts).tolist()), rejected
    if mean_log_e(log_e[tried]) >= -np.log1p(-confidence):
        return Verdict.REFUTED, rejected
    # An intersection-union test over the cells that are not vacuous.
    supported = not pending and bool(np.all(verdicts[tried] == Verdict.SUPPORTED))
    return Verdict.SUPPORTED if supported else Verdict.UNDECIDED, rejected


def judge_family(
    claim: ScalingClaim, cells: Arrays, n: NDArray[Any], d: NDArray[Any]
) -> tuple[Verdict, dict[str, Estimate]]:
    """Judge whether the fitted constants of one distribution and depth are constant over its cells.

    If a ceiling of the constant is proved, the limits are compared with it: the claim is supported if all upper limits
    are below, and refuted if a lower limit is above (the proof, or this program, is wrong then).

    Otherwise the exponents of the constant decide, by simultaneous limits. Growth is harmful for upper bounds, decay
    for lower bounds and means. The claim is refuted if the exponent in an axis of `ScalingClaim.along` is above
    `DRIFT` on the harmful side. It is supported if every such exponent is known and none can be above `DRIFT`.

    A finite range of n and d cannot show a limit. If the claim is proved for the law, no drift refutes it. If nothing
    is proved, a drift refutes it only if it persists in the upper half of the range. A drift in n alone leaves most
    claims undecided: they concern n that grows with d, and along such a path the two drifts may cancel.

    Parameters
    ----------
    cells : dict of str to ndarray (cells,)
        `cell_constant` and `tail`, with their limits, `ceiling` and `proved`.
    n, d : ndarray, (cells,)

    Returns
    -------
    verdict : Verdict
    exponents : dict of str to Estimate
        By axis.
    """
    value, lower, upper = (cells[f"cell_constant{end}"] for end in ("", "_lower", "_upper"))
    # Means and tails measure hypotheses on the law of one row, which do not depend on n.
    axes = {"d": d} if claim.functional in ("mean", "tail") else {"n": n, "d": d}
    fitted = {} if claim.equal is not None else exponents(value, lower, upper, axes)
    ceiling = float(np.max(cells["ceiling"]))
    proved = int(np.min(cells["proved"]))
    # The margin covers roundings in ceilings, which are computed and not enclosed.
    if np.any(lower > ceiling * (1.0 + 1e-9)):
        return Verdict.REFUTED, fitted
    # A proved ceiling makes the trend irrelevant: below it the constant may grow and still be bounded.
    if claim.functional == "quantile" and np.isfinite(ceiling):
        same = float(np.min(cells["ceiling"])) >= 0.99 * ceiling
        return Verdict.SUPPORTED if same and np.all(upper <= ceiling) else Verdict.UNDECIDED, fitted
    grows = 1.0 if claim.side == "upper" and claim.functional != "mean" else -1.0
    tails = ~np.isnan(cells["tail"])
    heavy = bool(np.any(cells["tail_lower"][tails] > HEAVY))
    if proved < 0 and heavy:
        return Verdict.REFUTED, fitted
    if proved <= 0 and any(
        axis in fitted
        and _ends(fitted[axis], grows)[0] > DRIFT
        and (proved < 0 or _goes_on(axis, (value, lower, upper), axes, grows))
        for axis in claim.along
    ):
        return Verdict.REFUTED, fitted
    light = bool(np.all(cells["tail_upper"][tails] <= HEAVY))
    # A constant of 0 makes a lower bound void; it has no logarithm, so the fit of exponents leaves it out.
    settled = light and not np.any(np.isnan(value) | (value <= 0.0))
    settled &= all(axis in fitted for axis in claim.along)
    # A claim about fixed d may have one constant per d; any other claim must not drift along any path.
    settled &= all(
        _ends(exponent, grows)[1] <= DRIFT
        for axis, exponent in fitted.items()
        if axis in claim.along or "d" in claim.along
    )
    return Verdict.SUPPORTED if settled else Verdict.UNDECIDED, fitted


def _ends(exponent: Estimate, grows: float) -> tuple[float, float]:
    """Return the limits of an exponent in increasing order, with the sign changed so that harm is positive."""
    ends = sorted((grows * exponent.lower, grows * exponent.upper))
    return ends[0], ends[1]


def _goes_on(axis: str, constants: tuple[NDArray[Any], ...], axes: dict[str, NDArray[Any]], grows: float) -> bool:
    """Return whether a drift persists in the upper half of the range, with at least `LEVEL` times its earlier size."""
    parts = halves(axes[axis])
    if parts is None:
        return False
    # Two fits on half the range each: a drift that levels off has a smaller exponent in the upper half.
    ends = []
    for part in parts:
        value, lower, upper = (values[part] for values in constants)
        fitted = exponents(value, lower, upper, {name: along[part] for name, along in axes.items()})
        if axis not in fitted:
            return False
        ends.append(_ends(fitted[axis], grows))
    return ends[1][0] > max(DRIFT, LEVEL * ends[0][1])


def overall_scaling(
    claim: ScalingClaim, arrays: Arrays, n: Sequence[int], d: Sequence[int], pending: NDArray[np.bool_] | None = None
) -> Arrays:
    """Compute constants, exponents and verdicts of a scaling claim.

    Parameters
    ----------
    arrays : dict of str to ndarray (distributions, d, n, depths)
        Variables of the `claims` group at this claim.
    n, d : sequence of int
        Values on the axes of the grid.
    pending : ndarray of bool (distributions, d, n, depths), optional
        Cells of the study to which the claim applies and that are not evaluated yet. They prevent support of the claim
        for their law, and as a whole.

    Returns
    -------
    dict
        `verdict` per cell, `overall`, `constant*`, `exponent*`. For a hypothesis, `overall` is undecided unless
        all laws agree.
    """
    verdict = arrays["verdict"].copy()
    shape = verdict.shape
    measured = ~np.isnan(arrays["cell_constant"])
    waiting = np.zeros(shape, dtype=bool) if pending is None else pending
    along = np.full((shape[0], shape[3], len(EXPONENT_AXES)), np.nan)
    limits = {end: along.copy() for end in ("exponent", "exponent_lower", "exponent_upper")}
    at_d, at_n = np.meshgrid(np.asarray(d), np.asarray(n), indexing="ij")
    for i in range(shape[0]):
        for j in range(shape[3]):
            cells = measured[i, :, :, j]
            if not cells.any():
                continue
            family = {name: values[i, :, :, j][cells] for name, values in arrays.items() if values.ndim == 4}
            family_verdict, fitted = judge_family(claim, family, at_n[cells], at_d[cells])
            if family_verdict is Verdict.SUPPORTED and waiting[i, :, :, j].any():
                family_verdict = Verdict.UNDECIDED
            for axis, estimate in fitted.items():
                for name, value in zip(limits, estimate, strict=True):
                    limits[name][i, j, EXPONENT_AXES.index(axis)] = value
            if claim.equal is None:
                verdict[i, :, :, j][cells] = int(family_verdict)
    result: Arrays = {"verdict": verdict, **limits}
    # The smallest constant consistent with all cells: their largest one, or the smallest of lower bounds.
    extreme = np.max if claim.side == "upper" else np.min
    for end in ("", "_lower", "_upper"):
        values = arrays[f"cell_constant{end}"][measured]
        result[f"constant{end}"] = extreme(values) if values.size else np.array(np.nan)
    result["overall"] = np.array(int(_together(claim, verdict, measured, waiting)))
    return result


def _together(
    claim: ScalingClaim, verdict: NDArray[Any], measured: NDArray[np.bool_], waiting: NDArray[np.bool_]
) -> Verdict:
    words = {Verdict(int(code)) for code in np.unique(verdict[measured])}
    if not words:
        return overall(np.unique(verdict).tolist())
    if waiting.any():
        words -= {Verdict.SUPPORTED}
        words |= {Verdict.UNDECIDED}
    if claim.hypothesis:
        # A hypothesis may hold for some laws and not for others: it is refuted as a whole only if all laws refute it.
        refuted = [bool(np.any(codes[here] == Verdict.REFUTED)) for codes, here in zip(verdict, measured, strict=True)]
        tried = [bool(here.any()) for here in measured]
        if Verdict.REFUTED in words and refuted != tried:
            return Verdict.UNDECIDED
    return next(word for word in (Verdict.REFUTED, Verdict.UNDECIDED, Verdict.SUPPORTED) if word in words)
