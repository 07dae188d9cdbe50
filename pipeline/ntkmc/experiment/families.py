"""What all cells of a claim say together: multiplicity, constants, drift."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.experiment.evaluation import Rules
from ntkmc.experiment.schema import AXES, Verdict
from ntkmc.statistics import Estimate, confidence_sequence, e_bh, exponents, mean_log_e
from ntkmc.theory.claims import Claim

Arrays = dict[str, NDArray[Any]]

DRIFT: Final = 0.1
"""An exponent of a claimed constant up to this is not told from logarithmic corrections at finite n and d."""

HEAVY: Final = 1.15
"""An exponent of quantiles against normal ones above this is a heavier tail than sub-Gaussian: 1.5 for exponential
tails at the levels that thousands of trials reach."""


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
    verdicts: NDArray[Any], log_e: NDArray[Any], confidence: float
) -> tuple[Verdict, NDArray[np.bool_]]:
    """What all cells together say of a probability bound, and which of them reject it.

    Refuted if the average of the cells' e-values reaches 1 / alpha: an e-value for "no cell violates", under any
    dependence, so that no family of cells raises more false alarms than one cell. Vacuous cells are left out.

    Parameters
    ----------
    verdicts, log_e : ndarray, any shape
        Of the cells.

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
    supported = bool(np.all(verdicts[tried] == Verdict.SUPPORTED))
    return Verdict.SUPPORTED if supported else Verdict.UNDECIDED, rejected


def judge_family(claim: Claim, cells: Arrays, n: NDArray[Any], d: NDArray[Any]) -> tuple[Verdict, dict[str, Estimate]]:
    """Whether the constants of one distribution and depth are constants: (verdict, exponents by axis).

    Refuted if the exponent in d is above `DRIFT` on the harmful side (growth for upper bounds, decay for lower ones,
    either for means), or a tail heavier than sub-Gaussian, all by simultaneous limits; supported if none can be. A
    drift in n leaves it open: claims speak of n that grows with d, and along such a path the two may cancel.

    Parameters
    ----------
    cells : dict of str to ndarray (cells,)
        `cell_constant` and `tail`, with their limits.
    n, d : ndarray, (cells,)
    """
    limits = [cells[f"cell_constant{end}"] for end in ("", "_lower", "_upper")]
    found = exponents(limits[0], limits[1], limits[2], {"n": n, "d": d})
    signs = {"mean": (1.0, -1.0)}.get(claim.functional, (1.0,) if claim.side == "upper" else (-1.0,))
    harmful = {
        axis: [sorted((sign * each.lower, sign * each.upper)) for sign in signs] for axis, each in found.items()
    }
    tails = ~np.isnan(cells["tail"])
    heavy = bool(np.any(cells["tail_lower"][tails] > HEAVY))
    light = bool(np.all(cells["tail_upper"][tails] <= HEAVY))
    if heavy or any(least > DRIFT for least, _ in harmful.get("d", [])):
        return Verdict.REFUTED, found
    settled = bool(found) and light and all(most <= DRIFT for ends in harmful.values() for _, most in ends)
    return Verdict.SUPPORTED if settled else Verdict.UNDECIDED, found


def overall_scaling(claim: Claim, arrays: Arrays, n: Sequence[int], d: Sequence[int]) -> Arrays:
    """Constants, exponents and verdicts of a scaling claim.

    Parameters
    ----------
    arrays : dict of str to ndarray (distributions, d, n, depths)
        Variables of the `claims` group at this claim.
    n, d : sequence of int
        The axes.

    Returns
    -------
    dict
        `verdict` for each cell, `overall`, `constant*`, `exponent*`.
    """
    verdict = arrays["verdict"].copy()
    shape = verdict.shape
    measured = ~np.isnan(arrays["cell_constant"])
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
    words = set(verdict[measured].tolist())
    order = (Verdict.REFUTED, Verdict.UNDECIDED, Verdict.SUPPORTED)
    fallback = overall(np.unique(verdict).tolist())
    result["overall"] = np.array(int(next((word for word in order if word in words), fallback)))
    return result
