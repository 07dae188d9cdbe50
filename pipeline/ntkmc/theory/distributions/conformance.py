"""What a law promises, tried: for the authors of plug-ins, and for the laws that ship."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np

from ntkmc.errors import InputError
from ntkmc.theory.distributions.base import Distribution, Spec
from ntkmc.theory.distributions.building import build

_ROWS = 4000
_SIGMAS = 5.0
"""Standard errors that a sample may be off: a false alarm once in 1.7 million comparisons of normal averages."""


def check_distribution(spec: Spec | Distribution, dimensions: Sequence[int] = (2, 8), seed: int = 0) -> list[str]:
    """Try what every law must satisfy, and what this one declares.

    Exactly: its label is stable, it can be hashed and pickled, rows are float64, finite and of the right shape, the
    same state of the generator gives the same bits, and a smaller draw is the start of a larger one. By simulation, at
    five standard errors: its second moment, and the hypotheses that it declares (mean zero, isotropy, unit norm, and
    the moment generating function along an axis and the diagonal).

    Parameters
    ----------
    spec : str, mapping or Distribution
        As in a study.
    dimensions : sequence of int
        Dimensions that it is tried in.
    seed : int

    Returns
    -------
    list of str
        What is wrong, one sentence each; empty if nothing was found.

    Raises
    ------
    InputError
        If the law cannot be built, or not be drawn at one of the dimensions.

    Examples
    --------
    >>> check_distribution({"student-t": {"df": 5}})
    []
    """
    law = build(spec)
    found = []
    copied = pickle.loads(pickle.dumps(law))
    if copied.label != law.label or copied != law or hash(copied) != hash(law):
        found.append("a pickled copy is not equal to the law, or has another hash or label")
    for d in dimensions:
        law.check(16, d)
        found += [f"d = {d}: {problem}" for problem in (*_exactly(law, d, seed), *_by_simulation(law, d, seed))]
    return found


def _exactly(law: Distribution, d: int, seed: int) -> list[str]:
    found = []
    X, again = (law.sample(16, d, np.random.default_rng(seed)) for _ in range(2))
    start = law.sample(5, d, np.random.default_rng(seed))
    if X.shape != (16, d) or X.dtype != np.float64 or not X.flags.c_contiguous or not np.isfinite(X).all():
        return ["a draw must be a finite C-contiguous float64 array of shape (n, d)"]
    if X.tobytes() != again.tobytes():
        found.append("the same state of the generator gave other rows")
    if law.hypotheses(d).independent_rows and X[:5].tobytes() != start.tobytes():
        found.append("sample(16)[:5] is not sample(5): draw row by row")
    return found


def _by_simulation(law: Distribution, d: int, seed: int) -> list[str]:
    declared = law.hypotheses(d)
    if not declared.independent_rows:
        return []
    law.check(_ROWS, d)
    X = law.sample(_ROWS, d, np.random.default_rng([seed, d]))
    squares = np.sum(X * X, axis=1)
    found = []
    try:
        moment = law.second_moment(d)
    except InputError:
        moment = None
    if moment is not None and not _agrees(squares, moment):
        found.append(f"second_moment is {moment:.6g}, a sample has {squares.mean():.6g}")
    if declared.unit_norm and np.max(np.abs(squares - 1.0)) > 1e-12:
        found.append("declares unit_norm, and rows have other norms")
    if declared.unit_norm is False and np.max(np.abs(squares - 1.0)) < 1e-12:
        found.append("declares unit_norm False, and all rows have norm 1")
    if declared.zero_mean and not all(_agrees(X[:, j], 0.0) for j in range(d)):
        found.append("declares zero_mean, and a coordinate's average is not 0")
    if declared.isotropic and declared.zero_mean and moment is not None:
        diagonal = all(_agrees(X[:, j] ** 2, moment / d) for j in range(d))
        if not diagonal or not all(_agrees(X[:, j - 1] * X[:, j], 0.0) for j in range(1, d)):
            found.append("declares isotropic, and the covariance is no multiple of the identity")
    if declared.sub_gaussian is not None:
        K = declared.sub_gaussian
        for name, direction in (("x_1", np.eye(d)[0]), ("the diagonal", np.full(d, d**-0.5))):
            grown = np.exp(X @ direction / K)  # E exp(<v, x>) <= exp(1/2) for |v| = 1/K
            if grown.mean() - _SIGMAS * grown.std() / _ROWS**0.5 > np.exp(0.5):
                found.append(f"declares sub_gaussian {K:.6g}, and {name} has a larger moment generating function")
    return found


def _agrees(values: np.ndarray[tuple[int], np.dtype[np.float64]], expected: float) -> bool:
    """Whether an average lies within five standard errors (as estimated: heavy tails have wide ones)."""
    error = float(values.std()) / len(values) ** 0.5
    return bool(abs(float(values.mean()) - expected) <= _SIGMAS * error + 1e-12 * max(abs(expected), 1.0))
