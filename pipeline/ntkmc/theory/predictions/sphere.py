"""Angles between uniform directions: the exact law for a pair, and two-sided bounds on the coherence of n."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from ntkmc.errors import InputError
from ntkmc.numeric import Floats


def _check(d: int) -> None:
    if d < 2:
        raise InputError(f"directions need a dimension of at least 2, got {d}")


def pair_probability(t: ArrayLike, d: int) -> Floats:
    """Return p_d(t) = P(|<x, y>| > t) for x, y independent and uniform on the unit sphere of R^d, d >= 2.

    Equal to I_{1 - t**2}((d - 1)/2, 1/2), since the squared cosine has law Beta(1/2, (d - 1)/2).

    >>> round(float(pair_probability(0.4, 100)), 16)
    3.40840095369e-05
    """
    _check(d)
    s = np.asarray(t, dtype=np.float64)
    # Two forms of the same number, each accurate where the other's argument rounds to 1.
    far = special.betainc(0.5 * (d - 1), 0.5, (1.0 - s) * (1.0 + s))
    return np.where(s < 0.7, special.betaincc(0.5, 0.5 * (d - 1), s * s), far)


def pair_quantile(p: ArrayLike, d: int) -> Floats:
    """Return t with p_d(t) = p, for p in (0, 1].

    >>> round(float(pair_quantile(0.5, 3)), 12)  # on the sphere of R^3 a coordinate is uniform
    0.5
    """
    _check(d)
    # The complement, t**2 itself: 1 - (1 - t**2) would lose small t.
    return np.sqrt(special.betainccinv(0.5, 0.5 * (d - 1), np.asarray(p, dtype=np.float64)))


def pairs_of(n: int) -> float:
    """Return the number of pairs, n (n - 1) / 2; `InputError` for fewer than two rows."""
    if n < 2:
        raise InputError(f"a coherence needs at least two rows, got {n}")
    return 0.5 * n * (n - 1)


def coherence_probability(t: ArrayLike, n: int, d: int) -> tuple[Floats, Floats]:
    """Return lower and upper bounds on P(rho > t) for the coherence rho of n independent uniform directions.

    Upper: the union bound P p, with P = n (n - 1)/2 and p = p_d(t). Lower: the larger of Bonferroni's bound,
    P p - binom(P, 2) p**2, and that of Chung and Erdős, P p / (1 + (P - 1) p). The lower bounds require only that
    cosines are pairwise independent.

    >>> low, high = coherence_probability(0.45, 20, 100)
    >>> f"{low:.5e} {high:.5e}"
    '4.45225e-04 4.45324e-04'
    """
    P, p = pairs_of(n), pair_probability(t, d)
    mean = P * p
    bonferroni = mean - 0.5 * P * (P - 1.0) * p * p
    return np.maximum(bonferroni, mean / (1.0 + (P - 1.0) * p)), np.minimum(mean, 1.0)


def coherence_quantile(delta: ArrayLike, n: int, d: int) -> Floats:
    """Return t with P p_d(t) = delta: rho <= t with probability at least 1 - delta.

    >>> round(float(coherence_quantile(0.1, 10, 100)), 3)
    0.301
    """
    return pair_quantile(np.asarray(delta, dtype=np.float64) / pairs_of(n), d)


def coherence_quantile_closed(delta: ArrayLike, n: int, d: int) -> Floats:
    """Return sqrt(1 - (delta / P)**(2/(d - 1))), an upper bound from p_d(t) <= (1 - t**2)**((d - 1)/2).

    >>> bool(coherence_quantile_closed(0.1, 10, 100) > coherence_quantile(0.1, 10, 100))
    True
    """
    _check(d)
    log_p = np.log(np.asarray(delta, dtype=np.float64) / pairs_of(n))
    return np.sqrt(-np.expm1(2.0 / (d - 1) * log_p))


def coherence_cdf(t: ArrayLike, n: int, d: int) -> Floats:
    """Return exp(-P p_d(t)), an approximation of P(rho <= t) that treats pairs as independent and rare.

    Cai, Fan & Jiang, JMLR 14 (2013). A prediction, not a bound.

    >>> round(float(coherence_cdf(0.301, 10, 100)), 2)
    0.9
    """
    return np.exp(-pairs_of(n) * pair_probability(t, d))


def close_pair_probability(c: ArrayLike, n: int, d: int) -> Floats:
    """Return a lower bound on the probability that two of n uniform directions have cosine at least c >= 0.

    Equal to P q / (1 + (P - 1) q) with q = p_d(c)/2 (Chung & Erdős 1952).

    >>> bool(close_pair_probability(0.0, 2, 5) == 0.5)
    True
    """
    P, q = pairs_of(n), 0.5 * pair_probability(c, d)
    return np.asarray(P * q / (1.0 + (P - 1.0) * q))
