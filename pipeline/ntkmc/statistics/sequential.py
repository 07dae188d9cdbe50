"""Anytime-valid inference: confidence sequences, e-processes, and limits from betting martingales."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from ntkmc.errors import InputError
from ntkmc.numeric import Floats
from ntkmc.statistics.intervals import Interval, counts, error_rate, first_rank

# Jeffreys' prior is near-optimal at every p. The guarantee holds for every prior that is fixed in advance.
_PRIOR = 0.5
"""Parameter of the Beta(1/2, 1/2) mixture."""

_BISECTIONS = 64
"""Number of bisections that reduce (0, 1) to less than the unit roundoff."""

_SLACK = 1e-6
"""Addition to log(1/alpha), so that no computed end lies inside the exact interval.

A test compares with 40 digits for up to 1e7 trials. The addition reduces alpha by a factor of about 1 - 1e-6.
"""


# Powers of two from 1 to 1/2048: for up to about a million values, whose standard deviation is comparable to the mean,
# one of them is within a factor of 2 of the best fraction.
_STAKES = 2.0 ** -np.arange(12.0)
"""Fractions of the wealth that are bet. The processes of all fractions are averaged."""

_PRECISE = 1e-4
"""Precision of the lower limit, relative to the mean; the returned value is below the exact limit."""

_TUNED = 1000.0
"""Number of values at which `mean_sequence` is narrowest."""

_HEAVIEST = 0.1
"""Share of one value in the sum of squares, above which that sum does not estimate a variance."""

_FEWEST = 30
"""Number of values below which an asymptotic interval is not given."""


def confidence_sequence(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return an anytime-valid interval for a probability.

    The probability that the interval ever excludes the true value is at most 1 - confidence: one may stop at any time,
    for any reason. It is the set of p with M_t(p) < 1/alpha, for the Beta(1/2, 1/2) mixture martingale M_t (Robbins
    1970; Howard, Ramdas, McAuliffe & Sekhon, Ann. Statist. 2021; Ville's inequality). Parameters and result are those
    of `clopper_pearson`, with the counts so far.

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
        # Bisection: log M_t is convex in p, so that it crosses the threshold once on either side of the centre.
        for _ in range(_BISECTIONS):
            middle = 0.5 * (inside + outside)
            within = -special.xlogy(s, middle) - special.xlog1py(t - s, -middle) < threshold
            inside = np.where(within, middle, inside)
            outside = np.where(within, outside, middle)
        return outside  # not the midpoint: rounding must not narrow the interval

    lower = np.where(s == 0, 0.0, end(centre, np.zeros_like(centre)))
    upper = np.where(s == t, 1.0, end(centre, np.ones_like(centre)))
    return np.where(t > 0, lower, 0.0), np.where(t > 0, upper, 1.0)


def log_e_process(violations: ArrayLike, trials: ArrayLike, delta: ArrayLike) -> Floats:
    """Return the logarithm of the one-sided mixture e-process against "violation probability <= delta".

    Refute the hypothesis when it reaches log(1/alpha). Under every p <= delta the process is a supermartingale that
    starts at 1: for q >= delta >= p a step has mean 1 + (p - delta)(q - delta) / (delta (1 - delta)) <= 1. It ever
    reaches 1/alpha with probability at most alpha (Ville's inequality).

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
    with np.errstate(divide="ignore"):  # a tail that underflows to 0 is log 0 = -inf: no evidence
        posterior = np.log(special.betaincc(_PRIOR + s, _PRIOR + t - s, level))
        prior = np.log(special.betaincc(_PRIOR, _PRIOR, level))
    mass = special.betaln(_PRIOR + s, _PRIOR + t - s) + posterior - special.betaln(_PRIOR, _PRIOR) - prior
    return np.asarray(mass - special.xlogy(s, level) - special.xlog1py(t - s, -level), dtype=np.float64)


def quantile_sequence(
    lower: ArrayLike, upper: ArrayLike, level: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Return an anytime-valid interval of order statistics for a quantile, valid for every law.

    The interval inverts `confidence_sequence`: a value is excluded as the quantile if the sequence excludes `level`
    for the number of samples up to it. The interval is also valid for laws with atoms: samples equal to the quantile
    are counted so that the interval becomes wider.

    Parameters
    ----------
    lower, upper : array_like, (T,)
        Proved enclosures of the values; -inf and inf where a value is unknown. The lower limit uses the lower ends,
        the upper limit the upper ends.
    level : float
        In (0, 1).

    Examples
    --------
    >>> quantile_sequence(range(1, 101), range(1, 101), 0.5)
    (34.0, 67.0)
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"a quantile level must lie strictly between 0 and 1, got {level}")
    low, high = (np.asarray(end, dtype=np.float64).ravel() for end in (lower, upper))
    total = len(low)
    threshold = -np.log(error_rate(confidence)) + _SLACK

    def against(s: NDArray[np.int64]) -> NDArray[np.bool_]:
        evidence = special.betaln(_PRIOR + s, _PRIOR + total - s) - special.betaln(_PRIOR, _PRIOR)
        return np.asarray(evidence - s * np.log(level) - (total - s) * np.log1p(-level) >= threshold)

    # The evidence is convex in s and negative near level * T: only the smallest and largest counts are excluded.
    below, above = math.ceil(level * total), math.floor(level * total) + 1
    few = first_rank(lambda ranks: ~against(ranks), below) - 1
    many = above + first_rank(lambda ranks: against(above + ranks), total + 1 - above)
    return (
        float(np.partition(low, few)[few]) if few >= 0 else -np.inf,
        float(np.partition(high, many - 1)[many - 1]) if many <= total else np.inf,
    )


def mean_lower_limit(values: ArrayLike, confidence: float = 0.95) -> float:
    """Return an anytime-valid lower limit for the mean of non-negative values with any tail, even an infinite mean.

    Under E Y <= m the wealth prod (1 + b (Y / m - 1)), 0 <= b <= 1, is a non-negative supermartingale: m is excluded
    when the average over fixed b reaches 1 / alpha (Ville; Waudby-Smith & Ramdas, JRSS-B 2024). No such upper
    limit exists: a sufficiently rare large value does not occur in the sample.

    Examples
    --------
    >>> round(mean_lower_limit([1.0] * 1000), 2)
    0.99
    """
    y = np.asarray(values, dtype=np.float64).ravel()
    if not len(y) or not np.all(y >= 0.0):
        return 0.0
    mean = float(np.mean(y))
    if not (0.0 < mean < np.inf):
        return 0.0
    threshold = -np.log(error_rate(confidence)) + _SLACK + np.log(len(_STAKES))
    excluded, kept = 0.0, mean
    gains, bet = np.empty_like(y), np.empty_like(y)
    while kept - excluded > _PRECISE * mean:
        m = 0.5 * (excluded + kept)
        np.subtract(np.divide(y, m, out=gains), 1.0, out=gains)
        with np.errstate(divide="ignore"):  # a bet of everything has log wealth -inf after a zero
            # One fraction after the other, in place: there may be a million values.
            wealth = np.array([np.log1p(np.multiply(stake, gains, out=bet), out=bet).sum() for stake in _STAKES])
        richest = wealth.max()
        against = richest + np.log(np.exp(wealth - richest).sum()) >= threshold
        excluded, kept = (m, kept) if against else (excluded, m)
    return excluded


def mean_sequence(values: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return an asymptotic confidence sequence for a mean, for laws with more than a second moment.

    Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (Ann. Statist. 2024), Theorem 2.2. Returns (-inf, inf) if
    one value makes up more than a tenth of the sum of squares, or if there are fewer than 30 values.

    Examples
    --------
    >>> low, high = mean_sequence([0.0, 1.0] * 500)
    >>> round(float(low), 2), round(float(high), 2)
    (0.45, 0.55)
    """
    y = np.asarray(values, dtype=np.float64).ravel()
    t = len(y)
    unknown = np.array(-np.inf), np.array(np.inf)
    if t < _FEWEST:
        return unknown
    mean = y.mean()
    squares = (y - mean) ** 2
    total = float(squares.sum())
    # Rounding of the mean of nearly equal values, far above the actual error of a pairwise sum.
    rounding = 1e-12 * float(np.abs(y).max())
    if not np.isfinite(total) or (total > t * rounding**2 and float(squares.max()) > _HEAVIEST * total):
        return unknown
    alpha = error_rate(confidence)
    scale = (2.0 * np.log(1.0 / alpha) + np.log(2.0 * np.log(1.0 / alpha) + 1.0)) / _TUNED
    grown = t * scale + 1.0
    half = np.sqrt(total / t * 2.0 * grown / (t**2 * scale) * np.log(np.sqrt(grown) / alpha)) + rounding
    return np.asarray(mean - half), np.asarray(mean + half)
