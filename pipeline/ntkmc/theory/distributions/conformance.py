"""Does a law keep its promises? Run it on your own before you believe a study of it."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from ntkmc.errors import InputError
from ntkmc.theory.distributions.base import Distribution, Matrix, Spec, canonical
from ntkmc.theory.distributions.building import build
from ntkmc.theory.distributions.moments import contradictions, refusal

DIMENSIONS: Final = (1, 2, 8)
_ROWS: Final = 20
_UNSAFE: Final = set(",()=[]\n")
"""What a string parameter must not hold: labels are written `name(key=value,key=value)` and read back."""


def check_distribution(
    spec: Spec | Distribution,
    dimensions: Sequence[int] = DIMENSIONS,
    *,
    base: Path | None = None,
    draws: int = 20_000,
    seed: int = 0,
) -> tuple[int, ...]:
    """Try what a law promises, and what it declares, by drawing from it.

    Its label, that it can be hashed and sent to a worker; shape, dtype and finiteness of its rows; that
    `sample(n)[:m]` is `sample(m)` bit for bit, and that equal generators give equal bits; by Monte Carlo, its second
    moment and its declared hypotheses.

    Parameters
    ----------
    spec : str, mapping or Distribution
        As in a study.
    dimensions : sequence of int
        Where it is tried; those that the law refuses are passed over, but not all of them.
    base : Path, optional
        Where relative paths start, as in `build`.
    draws : int
        Rows a dimension for Monte Carlo.
    seed : int
        Of Monte Carlo: one seed, one answer.

    Returns
    -------
    tuple of int
        The dimensions in which it keeps its promises.

    Raises
    ------
    InputError
        If it cannot be built, or naming every promise that is not kept.

    Notes
    -----
    A comparison by Monte Carlo is refused beyond 5 standard errors: false alarms have probability 6e-7 each where the
    central limit theorem has set in, below 1e-4 for a law. Where one draw carries a tenth of an estimated variance
    it has not, and nothing is compared. What concerns all dimensions at once (norm scaling, Lipschitz
    concentration) and log-concavity cannot be tested so.

    Examples
    --------
    >>> check_distribution({"low-rank": {"rank": 2}})
    (2, 8)
    """
    law = build(spec, base)
    problems = find_problems(law, dimensions, rebuilt=build(spec, base), draws=draws, seed=seed)
    if problems:
        raise InputError(f"distribution {law.label}: " + "; ".join(problems))
    return tuple(d for d in dimensions if not refusal(law, 1, d))


def find_problems(
    law: Distribution, dimensions: Iterable[int], *, rebuilt: Distribution, draws: int, seed: int
) -> list[str]:
    """All broken promises of a law, in words; `rebuilt` is the same law, built once more."""
    problems = _as_value(law, rebuilt)
    refused = {d: refusal(law, 1, d) for d in dimensions}
    for d in (d for d, reason in refused.items() if not reason):
        found = _attempt("drawing", lambda d=d: _as_source(law, d))  # type: ignore[misc]
        if not found:  # else numbers would be compared that mean nothing
            found = _attempt("comparing", lambda d=d: contradictions(law, d, draws, seed))  # type: ignore[misc]
        problems += [f"at d = {d}: {problem}" for problem in found]
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


def _as_value(law: Distribution, rebuilt: Distribution) -> list[str]:
    """Name, equality, hash, pickle."""
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


def _as_source(law: Distribution, d: int) -> list[str]:
    """Shape and type of rows; equal states give equal bits; the first rows do not depend on how many follow."""
    n = next(n for n in (_ROWS, 8, 4, 2, 1) if n == 1 or not refusal(law, n, d))

    def draw(rows: int, seed: int = 0) -> Matrix:
        return law.sample(rows, d, np.random.default_rng(seed))

    whole: Any = draw(n)
    if not isinstance(whole, np.ndarray) or whole.shape != (n, d) or whole.dtype != np.float64:
        got = f"shape {whole.shape}, dtype {whole.dtype}" if isinstance(whole, np.ndarray) else type(whole).__name__
        return [f"sample({n}, {d}, rng) must be a float64 array of shape ({n}, {d}), got {got}"]
    problems = []
    if not whole.flags.c_contiguous:
        problems.append("its rows are not contiguous in memory: use numpy.ascontiguousarray")
    if not np.isfinite(whole).all():
        problems.append("it draws infinities or NaN")
    if not _same(draw(n), whole) or not _same(pickle.loads(pickle.dumps(law)).sample(n, d, _fresh()), whole):
        problems.append("two generators in one state give different rows: draw from rng alone, and keep nothing")
    elif not all(_same(draw(m), whole[:m]) for m in range(1, n)):
        problems.append(
            "sample(n)[:m] is not sample(m) bit for bit: draw row by row, or all that a row needs in one (n, k) array"
        )
    return problems


def _fresh() -> np.random.Generator:
    return np.random.default_rng(0)


def _same(X: Matrix, Y: Matrix) -> bool:
    return X.tobytes() == Y.tobytes()
