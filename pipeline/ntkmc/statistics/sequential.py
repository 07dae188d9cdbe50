"""Inference that stays valid while one looks: a confidence sequence, and a test by betting."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ntkmc.errors import InputError
from ntkmc.statistics.intervals import Floats, Interval, counts, error_rate

_PRIOR = 0.5
"""Beta(1/2, 1/2) mixture: Jeffreys' prior, near-optimal at every p; any fixed value keeps the guarantee."""

_BISECTIONS = 64
"""Enough to halve (0, 1) to below one unit of roundoff."""

_SLACK = 1e-6
"""Added to log(1/alpha), so that rounding never puts an end inside the exact interval (a test compares with 40 digits
up to 1e7 trials). It costs a millionth of alpha."""


def confidence_sequence(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Interval:
    """Anytime-valid interval for a probability: P(it ever excludes the truth, over all t) <= 1 - confidence.

    The set of p with M_t(p) < 1/alpha, M_t the Beta(1/2, 1/2) mixture martingale (Robbins 1970; Howard, Ramdas,
    McAuliffe & Sekhon, Ann. Statist. 2021; Ville's inequality). One may stop at any time, for any reason.

    Parameters
    ----------
    successes, trials : array_like of int
        Counts so far, broadcast together. No trials give (0, 1).
    confidence : float
        In (0, 1).

    Returns
    -------
    (lower, upper) : ndarrays of float64

    Examples
    --------
    >>> [round(float(end), 6) for end in confidence_sequence(3, 100)]
    [0.001879, 0.122949]
    """
    s, t = counts(successes, trials)
    evidence = special.betaln(_PRIOR + s, _PRIOR + t - s) - special.betaln(_PRIOR, _PRIOR)
    threshold = -np.log(error_rate(confidence)) + _SLACK - evidence
    centre = np.where(t > 0, s / np.maximum(t, 1.0), 0.5)

    def end(inside: Floats, outside: Floats) -> Floats:
        for _ in range(_BISECTIONS):
            middle = 0.5 * (inside + outside)
            within = -special.xlogy(s, middle) - special.xlog1py(t - s, -middle) < threshold
            inside = np.where(within, middle, inside)
            outside = np.where(within, outside, middle)
        return outside

    lower = np.where(s == 0, 0.0, end(centre, np.zeros_like(centre)))
    upper = np.where(s == t, 1.0, end(centre, np.ones_like(centre)))
    return np.where(t > 0, lower, 0.0), np.where(t > 0, upper, 1.0)


def log_e_process(violations: ArrayLike, trials: ArrayLike, delta: ArrayLike) -> Floats:
    """Logarithm of the one-sided mixture e-process against "violation probability <= delta".

    Refute when it reaches log(1/alpha): under every p <= delta the process is a supermartingale that starts at 1
    (for q >= delta >= p a step has mean 1 + (p - delta)(q - delta) / (delta (1 - delta)) <= 1), so it ever gets
    there with probability at most alpha.

    Parameters
    ----------
    violations, trials : array_like of int
    delta : array_like of float
        In (0, 1).

    Examples
    --------
    >>> round(float(log_e_process(3, 100, 0.01)), 6)
    -1.201491
    """
    s, t = counts(violations, trials)
    level = np.asarray(delta, dtype=np.float64)
    if not (np.all(level > 0.0) and np.all(level < 1.0)):
        raise InputError("delta must lie strictly between 0 and 1")
    with np.errstate(divide="ignore"):  # a tail that underflows to 0 is log 0 = -inf: no evidence at all
        posterior = np.log(special.betaincc(_PRIOR + s, _PRIOR + t - s, level))
        prior = np.log(special.betaincc(_PRIOR, _PRIOR, level))
    mass = special.betaln(_PRIOR + s, _PRIOR + t - s) + posterior - special.betaln(_PRIOR, _PRIOR) - prior
    return np.asarray(mass - special.xlogy(s, level) - special.xlog1py(t - s, -level), dtype=np.float64)
