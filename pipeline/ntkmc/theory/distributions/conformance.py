"""Conformance tests of a distribution: its interface, its moments and its declared hypotheses.

The moments and hypotheses are compared with a Monte Carlo sample. Run `check_distribution` on a user-defined law
before a study of it.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from ntkmc.errors import InputError
from ntkmc.numeric import Floats, Matrix
from ntkmc.theory.distributions.base import Distribution, Spec, canonical
from ntkmc.theory.distributions.factory import build
from ntkmc.theory.distributions.plugins import Plugin

SIGMAS: Final = 5.0
"""Standard errors by which a mean may differ; a larger deviation has probability 6e-7."""

_HEAVIEST: Final = 0.1
"""Share of one draw in a sum of squares above which no standard error is estimated from the sum."""

_CLOSE: Final = 0.1
"""Largest deviation of a moment that *holds*, in units of the law's variance."""

_ROUNDING: Final = 1e-9
"""Relative deviation that is attributed to rounding."""

_BATCH: Final = 4
"""Rows per matrix: two for their correlation, and four to use a draw better."""


def contradictions(law: Distribution, d: int, draws: int, seed: int) -> list[str]:
    """Return the declared properties in dimension d that a sample of about `draws` rows contradicts, as messages."""
    declared = law.hypotheses(d)
    rng = np.random.default_rng((seed, d))
    X = _matrices(law, d, draws, rng)
    problems = []
    if len(X) > 1 and (X[:1] == X).all():
        problems.append("every draw is the same: rng is not used")
    squared_norms = np.sum(X * X, axis=-1)
    try:
        moment = law.second_moment(d)
    except InputError:
        pass  # there is none, or none is known
    else:
        if _differs(squared_norms.mean(axis=1), moment):
            problems.append(f"second_moment is {moment:g}, Monte Carlo gives {squared_norms.mean():g}")
    if law.unit_norm and declared.unit_norm is False:
        problems.append("unit_norm is True, and its hypotheses say that it is not")
    if (law.unit_norm or declared.unit_norm) and np.abs(squared_norms - 1.0).max() > _ROUNDING:
        problems.append(f"declared of norm 1, it draws a row of norm {math.sqrt(squared_norms.max()):g}")
    P = X @ _directions(d, rng)
    if declared.zero_mean and any(_differs(mean, 0.0) for mean in _means(P)):
        problems.append("declared of mean 0, Monte Carlo gives another mean")
    if declared.isotropic and any(_differs(values, 0.0) for values in _covariances(P - P.mean(axis=(0, 1)))):
        problems.append("declared isotropic, Monte Carlo gives another covariance")
    if declared.independent_rows and not _uncorrelated(P):
        problems.append("declared of independent rows, Monte Carlo finds the first two correlated")
    if declared.sub_gaussian is not None:
        problems += _too_heavy(P, declared.sub_gaussian)
    return problems


def findings(law: Distribution, d: int, draws: int = 20_000, seed: int = 0) -> dict[str, str]:
    """Test each hypothesis on a sample in dimension d: *holds*, *fails* or *undecided*, whether declared or not.

    *fails*: the deviation exceeds `SIGMAS` standard errors. *holds*: the interval of `SIGMAS` standard errors lies
    within `_CLOSE` of the expected value, in units of the law's scale. *undecided* otherwise, and where one draw
    dominates. A sample in one dimension cannot show that a tail is sub-Gaussian, or how a property depends on d.

    >>> from ntkmc.theory.distributions.factory import build
    >>> findings(build("sphere", trusted=True), 8)["norm 1"]
    'holds'
    """
    rng = np.random.default_rng((seed, d))
    X = _matrices(law, d, draws, rng)
    P = X @ _directions(d, rng)
    squared_norms = np.sum(X * X, axis=-1)
    unit = math.sqrt(float((P**2).mean())) or 1.0
    centred = (P - P.mean(axis=(0, 1))) / unit
    rows = [centred[:, 0, j] * centred[:, 1, j] for j in range(P.shape[-1])] if P.shape[1] > 1 else []
    outcomes = {
        "mean 0": _all_zero([mean / unit for mean in _means(P)]),
        "isotropic": _all_zero(_covariances(centred)),
        "norm 1": "holds" if np.abs(squared_norms - 1.0).max() <= _ROUNDING else "fails",
        "uncorrelated rows": _all_zero(rows) if rows else "undecided",
    }
    K = law.hypotheses(d).sub_gaussian
    if K is not None:
        outcomes[f"sub-Gaussian, K = {K:g}"] = "fails" if _too_heavy(P, K) else "undecided"
    return outcomes


def _all_zero(samples: list[Floats]) -> str:
    if any(_differs(values, 0.0) for values in samples):
        return "fails"
    for values in samples:
        squares = (values - values.mean()) ** 2
        total = float(squares.sum())
        if total > 0.0 and float(squares.max()) > _HEAVIEST * total:
            return "undecided"
        if abs(float(values.mean())) + SIGMAS * math.sqrt(total) / len(values) > _CLOSE:
            return "undecided"
    return "holds"


def _matrices(law: Distribution, d: int, draws: int, rng: np.random.Generator) -> Matrix:
    """Return independent matrices of a few rows, (matrices, rows, d); rows of one draw may be dependent."""
    # A data set may have fewer rows than a batch.
    rows = _BATCH
    while rows > 1 and refusal(law, rows, d):
        rows //= 2
    number = max(draws // rows, 2)
    return np.stack([law.sample(rows, d, rng) for _ in range(number)])


def refusal(law: Distribution, n: int, d: int) -> str:
    """Return the reason why n rows cannot be drawn in dimension d, or an empty string.

    A failure of a plug-in's trial draw is not a reason: it is an error of the law.
    """
    checked = law.law if isinstance(law, Plugin) else law
    try:
        checked.check(n, d)
    except InputError as error:
        return str(error)
    return ""


def _directions(d: int, rng: np.random.Generator) -> Matrix:
    """Return orthonormal columns: the axes, or eight random columns for d > 8."""
    # Eight directions limit the cost in large dimensions; in small ones the axes are a basis.
    if d <= 8:
        return np.eye(d)
    return np.asarray(np.linalg.qr(rng.standard_normal((d, 8)))[0])


def _differs(values: Floats, expected: float, one_sided: bool = False) -> bool:
    """Return whether the mean of independent values differs significantly from (one-sided: exceeds) `expected`."""
    mean = float(values.mean())
    squares = (values - mean) ** 2
    total = float(squares.sum())
    scale = max(abs(expected), float(np.abs(values).max()))
    error = math.sqrt(total) / len(values)
    off = mean - expected if one_sided else abs(mean - expected)
    # One-sided: positive values with a heavy tail rarely exceed their mean by many of their standard errors, so that
    # a dominating draw causes no false alarm.
    if not one_sided and error > _ROUNDING * scale and float(squares.max()) > _HEAVIEST * total:
        return False
    return off > SIGMAS * error + _ROUNDING * scale


def _means(P: Floats) -> list[Floats]:
    """Return the mean of each matrix along each direction, (matrices,)."""
    return [P[..., j].mean(axis=1) for j in range(P.shape[-1])]


def _covariances(centred: Floats) -> list[Floats]:
    """Return numbers of mean 0 if the law is isotropic: covariances, and variances less their mean, (matrices,)."""
    k = centred.shape[-1]
    spread = (centred**2).mean(axis=-1)
    variances = [(centred[..., i] ** 2 - spread).mean(axis=1) for i in range(k)]
    return variances + [(centred[..., i] * centred[..., j]).mean(axis=1) for i in range(k) for j in range(i)]


def _uncorrelated(P: Floats) -> bool:
    """Return whether the first two rows of a draw are consistent with no correlation, along each direction."""
    if P.shape[1] < 2:
        return True
    centred = P - P.mean(axis=0)
    return not any(_differs(centred[:, 0, j] * centred[:, 1, j], 0.0) for j in range(P.shape[-1]))


def _too_heavy(P: Floats, constant: float) -> list[str]:
    """Compare the moment generating function along each direction and their sum with exp(K**2 |v|**2 / 2)."""
    if not (math.isfinite(constant) and constant > 0.0):
        return [f"sub_gaussian must be a positive number or None, got {constant}"]
    diagonal = P.sum(axis=-1, keepdims=True) / math.sqrt(P.shape[-1])
    # t in units of 1 / K. For larger t a few draws dominate the mean of exp; for smaller t it is near 1 for any law.
    for t in (-1.5, -1.0, -0.5, 0.5, 1.0, 1.5):
        with np.errstate(over="ignore", invalid="ignore"):
            # Capped at e**300: sums stay finite, and still exceed every claimed value.
            values = np.exp(np.minimum(t / constant * np.concatenate([P, diagonal], axis=-1), 300.0))
        if any(_differs(values[..., j].mean(axis=1), math.exp(t * t / 2), True) for j in range(values.shape[-1])):
            return [f"declared sub-Gaussian with K = {constant:g}, Monte Carlo gives a larger E exp(<v, x>)"]
    return []


DIMENSIONS: Final = (1, 2, 8)
_ROWS: Final = 20
_UNSAFE: Final = set(",()=[]\n")
"""Characters that a string parameter must not contain: labels are `name(key=value,key=value)` and are parsed."""


def check_distribution(
    spec: Spec | Distribution,
    dimensions: Sequence[int] = DIMENSIONS,
    *,
    base: Path | None = None,
    draws: int = 20_000,
    seed: int = 0,
) -> tuple[int, ...]:
    """Test the interface of a law, and its declared moments and hypotheses, by drawing from it.

    The tests cover: label, hash and pickling; shape, dtype and finiteness of rows; that `sample(n)[:m]` equals
    `sample(m)` bit for bit, and that equal generators give equal bits; by Monte Carlo, the second moment and the
    declared hypotheses.

    Parameters
    ----------
    spec : str, mapping or Distribution
        An entry as in a study.
    dimensions : sequence of int
        Dimensions to test. Dimensions for which the law is not defined are skipped; at least one must remain.
    base : Path, optional
        Folder of relative paths, as in `build`.
    draws : int
        Rows per dimension for Monte Carlo.
    seed : int
        Seed of Monte Carlo; the result is a function of it.

    Returns
    -------
    tuple of int
        The dimensions in which all tests passed.

    Raises
    ------
    InputError
        If the law cannot be built, or with a description of every failed test.

    Notes
    -----
    A comparison by Monte Carlo fails beyond 5 standard errors. Where the central limit theorem applies, a false alarm
    has probability 6e-7 per comparison and below 1e-4 per law. Where one draw contributes a tenth of an estimated
    variance, it does not apply, and nothing is compared. Log-concavity, and properties of all dimensions (norm
    scaling, Lipschitz concentration), are not tested.

    Examples
    --------
    >>> check_distribution({"low-rank": {"rank": 2}})
    (2, 8)
    """
    law = build(spec, base, trusted=True)
    problems = find_problems(law, dimensions, rebuilt=build(spec, base, trusted=True), draws=draws, seed=seed)
    if problems:
        raise InputError(f"distribution {law.label}: " + "; ".join(problems))
    return tuple(d for d in dimensions if not refusal(law, 1, d))


def find_problems(
    law: Distribution, dimensions: Iterable[int], *, rebuilt: Distribution, draws: int, seed: int
) -> list[str]:
    """Return descriptions of all failed tests of a law; `rebuilt` is the same law, built a second time."""
    problems = _check_value(law, rebuilt)
    refused = {d: refusal(law, 1, d) for d in dimensions}
    for d in (d for d, reason in refused.items() if not reason):
        failures = _attempt("drawing", partial(_check_draws, law, d))
        if not failures:  # else the compared numbers would be meaningless
            failures = _attempt("comparing", partial(contradictions, law, d, draws, seed))
        problems += [f"at d = {d}: {problem}" for problem in failures]
    if all(refused.values()):
        reason = next(iter(refused.values()), "none was given")
        problems.append(f"it can be drawn in none of the dimensions tried ({reason})")
    return problems


def _attempt(doing: str, check: Callable[[], list[str]]) -> list[str]:
    try:
        return check()
    except InputError as error:
        return [str(error)]
    except Exception as error:  # whatever a user's law may raise
        return [f"{doing} raised {type(error).__name__}: {' '.join(str(error).split())[:160]}"]


def _check_value(law: Distribution, rebuilt: Distribution) -> list[str]:
    """Test the label, equality, hash and pickling."""
    problems = []
    if rebuilt.label != law.label:
        problems.append(f"its label is not stable: built again, it is {rebuilt.label!r}")
    if list(law.parameters()) != sorted(law.parameters()):
        problems.append("its parameters are not sorted by name")
    inside = ",".join(f"{name}={canonical(value)}" for name, value in law.parameters().items())
    if law.label != (f"{law.name}({inside})" if inside else law.name):
        problems.append("its label is not its name with its parameters: do not override it")
    if any(isinstance(value, str) and set(value) & _UNSAFE for value in law.parameters().values()):
        problems.append("a parameter holds a comma, a bracket, '=' or a line break, which labels cannot")
    try:
        if hash(rebuilt) != hash(law) or rebuilt != law:
            problems.append("built again it is not equal: make it a frozen dataclass")
    except TypeError:
        problems.append("it cannot be hashed: make it a frozen dataclass, its parameters numbers and strings")
    if not getattr(type(law), "__dataclass_params__", None) or not type(law).__dataclass_params__.frozen:  # type: ignore[attr-defined]
        problems.append("it can be changed after it is built: make it a frozen dataclass")
    try:
        if pickle.loads(pickle.dumps(law)).label != law.label:
            problems.append("it does not survive pickling, by which it travels to workers")
    except Exception as error:  # pickle raises what it likes
        problems.append(f"it cannot be pickled ({type(error).__name__}), by which it travels to workers")
    return problems


def _check_draws(law: Distribution, d: int) -> list[str]:
    """Test shape and dtype of rows, reproducibility, and that the first rows do not depend on n."""
    # As many rows as the law allows, to find laws whose first rows depend on n.
    n = next(n for n in (_ROWS, 8, 4, 2, 1) if n == 1 or not refusal(law, n, d))

    def draw(rows: int, source: Distribution = law) -> Matrix:
        return source.sample(rows, d, np.random.default_rng(0))

    whole: Any = draw(n)
    if not isinstance(whole, np.ndarray) or whole.shape != (n, d) or whole.dtype != np.float64:
        got = f"shape {whole.shape}, dtype {whole.dtype}" if isinstance(whole, np.ndarray) else type(whole).__name__
        return [f"sample({n}, {d}, rng) must be a float64 array of shape ({n}, {d}), got {got}"]
    problems = []
    if not whole.flags.c_contiguous:
        problems.append("its rows are not contiguous in memory: use numpy.ascontiguousarray")
    if not np.isfinite(whole).all():
        problems.append("it draws infinities or NaN")
    if not _same(draw(n), whole) or not _same(draw(n, pickle.loads(pickle.dumps(law))), whole):
        problems.append("two generators in one state give different rows: draw from rng alone, and keep nothing")
    elif not all(_same(draw(m), whole[:m]) for m in range(1, n)):
        problems.append(
            "sample(n)[:m] is not sample(m) bit for bit: draw row by row, or all that a row needs in one (n, k) array"
        )
    return problems


def _same(X: Matrix, Y: Matrix) -> bool:
    return X.tobytes() == Y.tobytes()
