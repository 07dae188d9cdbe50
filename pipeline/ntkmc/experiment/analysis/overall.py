"""What all cells of a claim say together: multiplicity, constants, drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.analysis.estimates import Rules
from ntkmc.experiment.schema.variables import AXES, Verdict
from ntkmc.statistics import Estimate, confidence_sequence, e_bh, exponents, halves, mean_log_e
from ntkmc.theory.claims import Claim
from ntkmc.theory.claims.base import DRIFT, HEAVY, LEVEL

Arrays = dict[str, NDArray[Any]]


def overall(verdicts: Sequence[int]) -> Verdict:
    """What all cells together say of a deterministic claim.

    >>> overall([Verdict.HOLDS, Verdict.NOT_APPLICABLE, Verdict.VACUOUS]).word
    'holds'
    """
    present = set(verdicts)
    order = (Verdict.VIOLATED, Verdict.HOLDS, Verdict.VACUOUS, Verdict.NOT_APPLICABLE, Verdict.NOT_EVALUATED)
    return next((verdict for verdict in order if verdict in present), Verdict.NOT_EVALUATED)


def overall_event(proved: NDArray[Any], undecided: NDArray[Any], total: NDArray[Any], rules: Rules) -> Verdict:
    """What all cells together say of the event at one threshold.

    Supported if every cell supports it (an intersection-union test needs no correction); refuted if some cell does
    with the error rate divided by the number of cells (Bonferroni, valid under any dependence).

    Parameters
    ----------
    proved, undecided, total : ndarray, (cells,)
        Counts of all cells, also of those that have no trials yet: these keep anything from being supported.
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
    """What all cells together say of a probability bound, and which of them reject it.

    Refuted if the average of the cells' e-values reaches 1 / alpha: an e-value for "no cell violates", under any
    dependence, so that no family of cells raises more false alarms than one cell. Vacuous cells are left out.

    Parameters
    ----------
    verdicts, log_e : ndarray, any shape
        Of the cells.
    confidence : float
    pending : bool
        Whether there are cells of the study that are not evaluated yet: nothing is supported then.

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
    # An intersection-union test: every cell that says something supports it.
    supported = not pending and bool(np.all(verdicts[tried] == Verdict.SUPPORTED))
    return Verdict.SUPPORTED if supported else Verdict.UNDECIDED, rejected


def judge_family(claim: Claim, cells: Arrays, n: NDArray[Any], d: NDArray[Any]) -> tuple[Verdict, dict[str, Estimate]]:
    """Whether the constants of one distribution and depth are constants: (verdict, exponents by axis).

    Where a value is proved that the constant does not exceed, the limits are laid beside it: supported if all are
    below, refuted if one is above (then the proof, or this program, is wrong). Otherwise refuted if the exponent in an
    axis of `Claim.along` is above `DRIFT` on the harmful side (growth for upper bounds, decay for lower ones and for
    means), supported if every such exponent is known and none can be, all by simultaneous limits. A finite range shows
    no limit: where the claim is proved for the law, no drift refutes it; where nothing is proved, a drift must be
    there in the upper half of the range too, and must not level off. A drift in n alone leaves most claims open: they
    speak of n that grows with d, and along such a path the two may cancel.

    Parameters
    ----------
    cells : dict of str to ndarray (cells,)
        `cell_constant` and `tail`, with their limits, `ceiling` and `proved`.
    n, d : ndarray, (cells,)
    """
    value, lower, upper = (cells[f"cell_constant{end}"] for end in ("", "_lower", "_upper"))
    # A law's hypotheses do not depend on how many rows are drawn.
    axes = {"d": d} if claim.functional in ("mean", "tail") else {"n": n, "d": d}
    found = {} if claim.equal is not None else exponents(value, lower, upper, axes)
    ceiling = float(np.max(cells["ceiling"]))
    proved = int(np.min(cells["proved"]))
    if np.any(lower > ceiling * (1.0 + 1e-9)):
        return Verdict.REFUTED, found
    if claim.functional == "quantile" and np.isfinite(ceiling):
        same = float(np.min(cells["ceiling"])) >= 0.99 * ceiling
        return Verdict.SUPPORTED if same and np.all(upper <= ceiling) else Verdict.UNDECIDED, found
    grows = 1.0 if claim.side == "upper" and claim.functional != "mean" else -1.0
    tails = ~np.isnan(cells["tail"])
    heavy = bool(np.any(cells["tail_lower"][tails] > HEAVY))
    if proved < 0 and heavy:
        return Verdict.REFUTED, found
    if proved <= 0 and any(
        axis in found
        and _ends(found[axis], grows)[0] > DRIFT
        and (proved < 0 or _goes_on(axis, (value, lower, upper), axes, grows))
        for axis in claim.along
    ):
        return Verdict.REFUTED, found
    light = bool(np.all(cells["tail_upper"][tails] <= HEAVY))
    # Of a lower bound a constant 0 is none; and it has no logarithm, so that exponents know nothing of it.
    settled = light and not np.any(np.isnan(value) | (value <= 0.0))
    settled &= all(axis in found for axis in claim.along)
    # A claim about fixed d has another constant for each; any other must not drift along any path.
    settled &= all(
        _ends(each, grows)[1] <= DRIFT for axis, each in found.items() if axis in claim.along or "d" in claim.along
    )
    return Verdict.SUPPORTED if settled else Verdict.UNDECIDED, found


def _ends(exponent: Estimate, grows: float) -> tuple[float, float]:
    """Least and most of an exponent, positive on the harmful side."""
    ends = sorted((grows * exponent.lower, grows * exponent.upper))
    return ends[0], ends[1]


def _goes_on(axis: str, constants: tuple[NDArray[Any], ...], axes: dict[str, NDArray[Any]], grows: float) -> bool:
    """Whether a drift is proved in the upper half of the range too, with no less than `LEVEL` of the lower half's."""
    parts = halves(axes[axis])
    if parts is None:
        return False
    ends = []
    for part in parts:
        value, lower, upper = (each[part] for each in constants)
        found = exponents(value, lower, upper, {name: along[part] for name, along in axes.items()})
        if axis not in found:
            return False
        ends.append(_ends(found[axis], grows))
    return ends[1][0] > max(DRIFT, LEVEL * ends[0][1])


def overall_scaling(
    claim: Claim, arrays: Arrays, n: Sequence[int], d: Sequence[int], pending: NDArray[np.bool_] | None = None
) -> Arrays:
    """Constants, exponents and verdicts of a scaling claim.

    Parameters
    ----------
    arrays : dict of str to ndarray (distributions, d, n, depths)
        Variables of the `claims` group at this claim.
    n, d : sequence of int
        The axes.
    pending : ndarray of bool (distributions, d, n, depths), optional
        Cells of the study to which the claim applies, and that are not evaluated yet: they keep their law, and the
        claim as a whole, from being supported.

    Returns
    -------
    dict
        `verdict` for each cell, `overall`, `constant*`, `exponent*`. Of a hypothesis, `overall` is what all laws
        agree on.
    """
    verdict = arrays["verdict"].copy()
    shape = verdict.shape
    measured = ~np.isnan(arrays["cell_constant"])
    waiting = np.zeros(shape, dtype=bool) if pending is None else pending
    along = np.full((shape[0], shape[3], len(AXES)), np.nan)
    limits = {end: along.copy() for end in ("exponent", "exponent_lower", "exponent_upper")}
    at_d, at_n = np.meshgrid(np.asarray(d), np.asarray(n), indexing="ij")
    for i in range(shape[0]):
        for j in range(shape[3]):
            here = measured[i, :, :, j]
            if not here.any():
                continue
            family = {name: values[i, :, :, j][here] for name, values in arrays.items() if values.ndim == 4}
            word, found = judge_family(claim, family, at_n[here], at_d[here])
            if word is Verdict.SUPPORTED and waiting[i, :, :, j].any():
                word = Verdict.UNDECIDED
            for axis, estimate in found.items():
                for name, value in zip(limits, estimate, strict=True):
                    limits[name][i, j, AXES.index(axis)] = value
            if claim.equal is None:
                verdict[i, :, :, j][here] = int(word)
    result: Arrays = {"verdict": verdict, **limits}
    extreme = np.max if claim.side == "upper" else np.min
    for end in ("", "_lower", "_upper"):
        values = arrays[f"cell_constant{end}"][measured]
        result[f"constant{end}"] = extreme(values) if values.size else np.array(np.nan)
    result["overall"] = np.array(int(_together(claim, verdict, measured, waiting)))
    return result


def _together(claim: Claim, verdict: NDArray[Any], measured: NDArray[np.bool_], waiting: NDArray[np.bool_]) -> Verdict:
    words = {Verdict(int(each)) for each in np.unique(verdict[measured])}
    if not words:
        return overall(np.unique(verdict).tolist())
    if waiting.any():
        words -= {Verdict.SUPPORTED}
        words |= {Verdict.UNDECIDED}
    if claim.hypothesis:
        # A property of laws has no truth over all of them.
        refuted = [bool(np.any(each[here] == Verdict.REFUTED)) for each, here in zip(verdict, measured, strict=True)]
        tried = [bool(here.any()) for here in measured]
        if Verdict.REFUTED in words and refuted != tried:
            return Verdict.UNDECIDED
    return next(word for word in (Verdict.REFUTED, Verdict.UNDECIDED, Verdict.SUPPORTED) if word in words)
