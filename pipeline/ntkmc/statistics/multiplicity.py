"""Multiple testing over many cells: combined e-values, and procedures that control error rates."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ntkmc.errors import InputError
from ntkmc.numeric import Floats
from ntkmc.statistics.intervals import error_rate
from ntkmc.statistics.sequential import log_e_process


def log_e_range(
    surely: ArrayLike, possibly: ArrayLike, trials: ArrayLike, lower: float = 0.0, upper: float = 1.0
) -> Floats:
    """Return the log e-value against "the probability of an event lies in lower ... upper", anytime-valid.

    The average of one-sided mixture e-processes (`log_e_process`) against both ends. Averages of e-values are e-values
    under any dependence.

    Parameters
    ----------
    surely, possibly : array_like of int
        Trials in which the event is proved, and trials in which it cannot be excluded. The former are evidence against
        the upper end; trials outside the latter are evidence against the lower end.
    trials : array_like of int
    lower, upper : float
        Range of the probability. An end at 0 or 1 is not tested. If upper = 0, a single event gives infinite evidence.

    Returns
    -------
    ndarray of float64
        Broadcast shape of the counts.

    Examples
    --------
    >>> round(float(log_e_range(3, 3, 100, upper=0.01)), 6)
    -1.201491
    >>> float(log_e_range(1, 1, 100, upper=0.0))
    inf
    """
    if not 0.0 <= lower <= upper <= 1.0:
        raise InputError(f"a range of probabilities must satisfy 0 <= lower <= upper <= 1, got {lower} ... {upper}")
    proved, possible, total = np.broadcast_arrays(
        *(np.asarray(count, dtype=np.float64) for count in (surely, possibly, trials))
    )
    sides = []
    # At 0 and 1 the mixture is undefined: there the likelihood ratio is infinite after one contradicting trial.
    if upper == 0.0:
        sides.append(np.where(proved > 0, np.inf, 0.0))
    elif upper < 1.0:
        sides.append(log_e_process(proved, total, upper))
    if lower == 1.0:
        sides.append(np.where(possible < total, np.inf, 0.0))
    elif lower > 0.0:
        sides.append(log_e_process(total - possible, total, 1.0 - lower))
    if not sides:
        return np.zeros_like(proved)
    return np.asarray(special.logsumexp(sides, axis=0) - np.log(len(sides)))


def mean_log_e(log_e: ArrayLike) -> float:
    """Return the logarithm of the average of e-values, an e-value for "no cell violates" under any dependence.

    Examples
    --------
    >>> round(mean_log_e([0.0, 0.0, np.log(4.0)]), 6)
    0.693147
    """
    values = np.asarray(log_e, dtype=np.float64).ravel()
    return float(special.logsumexp(values) - np.log(len(values))) if len(values) else 0.0


def e_bh(log_e: ArrayLike, confidence: float = 0.95) -> NDArray[np.bool_]:
    """Return the mask of rejected hypotheses by e-BH (Wang & Ramdas, JRSS-B 2022).

    Rejects the k largest e-values, with k the largest number for which E_[k] >= K / (k alpha), where K is the number
    of hypotheses. The false discovery rate is at most alpha = 1 - confidence under any dependence.

    Examples
    --------
    >>> e_bh(np.log([50.0, 1.0, 30.0])).tolist()
    [True, False, True]
    """
    values = np.asarray(log_e, dtype=np.float64).ravel()
    total = len(values)
    order = np.argsort(-values, kind="stable")
    needed = np.log(total / (np.arange(1, total + 1) * error_rate(confidence))) if total else np.empty(0)
    passed = np.flatnonzero(values[order] >= needed)
    rejected = np.zeros(total, dtype=bool)
    rejected[order[: passed[-1] + 1 if passed.size else 0]] = True  # step-up: the last that passes decides
    return rejected


def holm(p_values: ArrayLike, confidence: float = 0.95) -> NDArray[np.bool_]:
    """Return the mask of rejected hypotheses by Holm's procedure (1979), from p-values.

    The family-wise error rate is at most 1 - confidence under any dependence.

    Examples
    --------
    >>> holm([0.01, 0.04, 0.03]).tolist()
    [True, False, False]
    """
    values = np.asarray(p_values, dtype=np.float64).ravel()
    order = np.argsort(values, kind="stable")
    passed = values[order] <= error_rate(confidence) / (len(values) - np.arange(len(values)))
    rejected = np.zeros(len(values), dtype=bool)
    # Step-down: the first that does not pass ends the rejections.
    rejected[order[: len(values) if passed.all() else int(np.argmin(passed))]] = True
    return rejected
