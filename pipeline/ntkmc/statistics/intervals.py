"""Confidence intervals and bands for a number of trials that was fixed in advance."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special, stats

from ntkmc.errors import InputError
from ntkmc.numeric import Floats

Interval = tuple[Floats, Floats]

_RANKS_AT_ONCE: Final = 512
"""Number of ranks per search step. Three steps suffice for 1e8 order statistics, and a call of SciPy takes about as
long for 512 ranks as for one."""


def counts(successes: ArrayLike, trials: ArrayLike) -> tuple[Floats, Floats]:
    """Return successes and trials as broadcast float arrays; `InputError` unless 0 <= successes <= trials."""
    s, t = np.broadcast_arrays(np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64))
    if not (np.all(s >= 0) and np.all(s <= t)):
        raise InputError("successes must lie between 0 and trials")
    return s, t


def error_rate(confidence: float) -> float:
    """Return alpha = 1 - confidence; `InputError` unless 0 < confidence < 1."""
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie strictly between 0 and 1, got {confidence}")
    return 1.0 - confidence


def clopper_pearson(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return the exact two-sided interval for a probability (Clopper & Pearson 1934): coverage at least `confidence`.

    Parameters
    ----------
    successes, trials : array_like of int
        Counts, broadcast together; trials are fixed in advance. Zero trials give (0, 1).
    confidence : float
        In (0, 1).

    Returns
    -------
    (lower, upper) : ndarrays of float64

    Examples
    --------
    >>> [round(float(end), 6) for end in clopper_pearson(3, 100)]
    [0.00623, 0.085176]
    """
    s, t = counts(successes, trials)
    alpha = error_rate(confidence)
    # betaincinv is undefined at 0: replace the arguments where the limit is 0 or 1.
    inner = np.where((s > 0) & (t > 0), s, 1.0)
    lower = np.where(s > 0, special.betaincinv(inner, t - inner + 1.0, alpha / 2), 0.0)
    inner = np.where(s < t, s, 0.0)
    room = np.where(s < t, t - inner, 1.0)
    upper = np.where(s < t, special.betaincinv(inner + 1.0, room, 1.0 - alpha / 2), 1.0)
    return lower, upper


def wilson(successes: ArrayLike, trials: ArrayLike, confidence: float = 0.95) -> Interval:
    """Return Wilson's score interval (1927): its average coverage is close to `confidence`, its minimum is below.

    Use it for plots only. Parameters and result are those of `clopper_pearson`.

    Examples
    --------
    >>> [round(float(end), 6) for end in wilson(3, 100)]
    [0.010255, 0.084519]
    """
    s, t = counts(successes, trials)
    z = float(special.ndtri(1.0 - error_rate(confidence) / 2))
    size = np.maximum(t, 1.0)
    p = s / size
    centre = (p + z * z / (2 * size)) / (1 + z * z / size)
    half = z / (1 + z * z / size) * np.sqrt(p * (1 - p) / size + z * z / (4 * size * size))
    # At s = 0 and s = t the ends are 0 and 1 exactly; rounding would leave them a few units off.
    lower = np.where((t == 0) | (s == 0), 0.0, np.maximum(centre - half, 0.0))
    upper = np.where((t == 0) | (s == t), 1.0, np.minimum(centre + half, 1.0))
    return lower, upper


def dkw_halfwidth(trials: int, confidence: float = 0.95) -> float:
    """Return the half-width of the Dvoretzky-Kiefer-Wolfowitz band with Massart's constant (Ann. Probab. 1990).

    Examples
    --------
    >>> round(dkw_halfwidth(1000), 4)
    0.0429
    """
    return math.sqrt(math.log(2.0 / error_rate(confidence)) / (2 * trials)) if trials > 0 else 1.0


def dkw_band(values: ArrayLike, confidence: float = 0.95) -> tuple[Floats, Floats, Floats]:
    """Return the simultaneous band of an empirical CDF: P(F inside the whole band) >= confidence.

    Parameters
    ----------
    values : array_like, (T,)
        Independent samples, their number fixed in advance.

    Returns
    -------
    (points, lower, upper) : ndarrays, (T,)
        Sorted samples, and the band for F at and just after each of them.

    Examples
    --------
    >>> points, lower, upper = dkw_band([3.0, 1.0, 2.0, 4.0])
    >>> points.tolist(), bool(upper[-1] == 1.0)
    ([1.0, 2.0, 3.0, 4.0], True)
    """
    points = np.sort(np.asarray(values, dtype=np.float64).ravel())
    if np.isnan(points).any():
        raise InputError("values must not hold NaN")
    half = dkw_halfwidth(len(points), confidence)
    # Of tied samples each gets the value after the jump.
    cdf = np.searchsorted(points, points, side="right") / max(len(points), 1)
    return points, np.maximum(cdf - half, 0.0), np.minimum(cdf + half, 1.0)


def quantile_interval(values: ArrayLike, level: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval of order statistics for a quantile, valid for every law.

    [Y_(l), Y_(u)] with P(Bin(T, q) <= l - 1) <= alpha/2 and P(Bin(T, q) >= u) <= alpha/2 (David & Nagaraja, Order
    Statistics, 2003, Sec. 7.1). An end for which there is no order statistic is infinite.

    Parameters
    ----------
    values : array_like, (T,)
        Independent samples, their number fixed in advance.
    level : float
        Level q of the quantile, in (0, 1).

    Examples
    --------
    >>> quantile_interval(range(1, 101), 0.5)
    (40.0, 61.0)
    """
    if not 0.0 < level < 1.0:
        raise InputError(f"a quantile level must lie strictly between 0 and 1, got {level}")
    return sorted_interval(np.sort(np.asarray(values, dtype=np.float64).ravel()), level, confidence)


def sorted_interval(points: Floats, level: float, confidence: float) -> tuple[float, float]:
    """Return `quantile_interval` of sorted values, (T,)."""
    alpha = error_rate(confidence)
    total = len(points)
    binomial = stats.binom(total, level)
    # l - 1 is the last rank with P(Bin <= l - 1) <= alpha / 2, u the first with P(Bin >= u) <= alpha / 2.
    low = first_rank(lambda ranks: np.asarray(binomial.cdf(ranks)) > alpha / 2, total) - 1
    high = first_rank(lambda ranks: np.asarray(binomial.sf(ranks - 1)) <= alpha / 2, total + 1)
    return (
        float(points[low]) if low >= 0 else -math.inf,
        float(points[high - 1]) if 1 <= high <= total else math.inf,
    )


def first_rank(holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]], count: int) -> int:
    """Return the first of the ranks 0 ... count - 1 at which a monotone condition holds, else `count`.

    Examples
    --------
    >>> first_rank(lambda ranks: ranks**2 > 1e10, 10**6), first_rank(lambda ranks: ranks < 0, 1000)
    (100001, 1000)
    """
    low, high = 0, count  # the result lies in [low, high]; the condition holds at `high`, or high = count
    while low < high:
        ranks = np.unique(np.linspace(low, high - 1, min(_RANKS_AT_ONCE, high - low)).astype(np.int64))
        met = np.flatnonzero(holds(ranks))
        if not met.size:
            return high
        low, high = (int(ranks[met[0] - 1]) + 1 if met[0] else low), int(ranks[met[0]])
    return high


def quantile_lower_limit(values: ArrayLike, level: float, confidence: float = 0.95) -> float:
    """Return a one-sided limit of order statistics: with probability >= `confidence` it is at most the quantile.

    The largest Y_(l) with P(Bin(T, q) <= l - 1) <= alpha; -inf if there is none. For q = delta, P(Y >= limit) >=
    1 - delta holds at that confidence.

    Examples
    --------
    >>> quantile_lower_limit(range(1, 299), 0.01)
    -inf
    >>> quantile_lower_limit(range(1, 301), 0.05)
    9.0
    """
    points = np.asarray(values, dtype=np.float64).ravel()
    alpha, binomial = error_rate(confidence), stats.binom(len(points), level)
    rank = first_rank(lambda ranks: np.asarray(binomial.cdf(ranks)) > alpha, len(points)) - 1
    return float(np.partition(points, rank)[rank]) if rank >= 0 else -math.inf


def certifying_trials(delta: float, confidence: float = 0.95) -> int:
    """Return the number of trials without violation that certify a violation probability of at most `delta`.

    Examples
    --------
    >>> certifying_trials(0.01)
    299
    """
    if not 0.0 < delta < 1.0:
        raise InputError(f"delta must lie strictly between 0 and 1, got {delta}")
    return math.ceil(math.log(error_rate(confidence)) / math.log1p(-delta))
