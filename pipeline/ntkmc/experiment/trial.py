"""One trial, and a block of them: plain functions of an address, without any cluster."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ntkmc.errors import InputError
from ntkmc.experiment.address import generator, spawn_key
from ntkmc.experiment.numerics import NUMERICS
from ntkmc.experiment.study import Study
from ntkmc.linalg.eigenvalue import Bracket, Eigenvalue, Status
from ntkmc.linalg.enclosure import gershgorin, pair_bound
from ntkmc.linalg.event import bracket
from ntkmc.linalg.exact import about_exact_kernel, kernel_error
from ntkmc.linalg.gram import coherence_of, cosines, grams_of_cosines
from ntkmc.linalg.rows import as_data, split_rows
from ntkmc.linalg.smallest import enclose
from ntkmc.linalg.symmetric import own
from ntkmc.theory.distributions import Distribution
from ntkmc.theory.normalization import Normalization, normalize

Matrix = NDArray[np.float64]

NUMERICAL_ERRORS: Final = (np.linalg.LinAlgError, FloatingPointError, InputError)
"""What makes a trial fail as data; anything else is a bug or the machine's, and ends the block."""


@dataclass(frozen=True)
class Recipe:
    """What every trial of a study shares. With an address it determines a trial to the last bit.

    With `thresholds`, increasing, only the events lambda_min >= threshold are decided.
    """

    seed: int
    kernel: str
    normalize: Normalization
    nested: bool = False
    thresholds: tuple[float, ...] = ()

    @classmethod
    def of(cls, study: Study) -> Recipe:
        """The recipe of a study."""
        thresholds = study.event.lambda_0 if study.measure == "event" else ()
        return cls(study.seed, study.kernel, study.normalize, study.nested, thresholds)


@dataclass(frozen=True)
class Trial:
    """All that is measured on one draw.

    Attributes
    ----------
    coherence, norm_min, norm_max : float
        max |cos| over the pairs; smallest and largest row norm.
    eigenvalues : dict of int to Eigenvalue, or to Bracket
        By depth; bounds speak of the exact kernel of the draw. Brackets where only events are decided.
    gershgorin, pair_bound : dict of int to float
        By depth: min_i (K_ii - sum |K_ij|), and the smallest eigenvalue of a 2 x 2 principal submatrix.
    """

    coherence: float
    norm_min: float
    norm_max: float
    eigenvalues: dict[int, Eigenvalue | Bracket]
    gershgorin: dict[int, float]
    pair_bound: dict[int, float]


def draw(recipe: Recipe, distribution: Distribution, d: int, n: int, trial: int) -> Matrix:
    """The data matrix at an address, (n, d), normalized."""
    key = spawn_key(distribution.label, d, 0 if recipe.nested else n, trial)
    X = distribution.sample(n, d, generator(recipe.seed, key))
    return normalize(X, distribution, recipe.normalize)


def run_trial(recipe: Recipe, distribution: Distribution, d: int, n: int, depths: Sequence[int], trial: int) -> Trial:
    """Draw and measure. Call it under `single_thread()` to get the bits that a run gets."""
    rows = split_rows(as_data(draw(recipe, distribution, d, n, trial)))
    largest = float(rows.norms.max())
    if largest > 0.0 and not 2.0**-200 < largest < 2.0**200:
        raise FloatingPointError("norms so extreme that Gram entries lose bits or overflow: rescale, or normalize")
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    found = Trial(cosine, float(rows.norms.min()), float(rows.norms.max()), {}, {}, {})
    for depth, K in grams_of_cosines(R, rows, recipe.kernel, sorted(depths)):
        found.gershgorin[depth] = gershgorin(K)
        found.pair_bound[depth] = pair_bound(K)
        # No warm start from the depth before: a trial's bits must not depend on which other depths were asked for.
        error = kernel_error(rows, recipe.kernel, depth, cosine)
        if recipe.thresholds:
            found.eigenvalues[depth] = bracket(own(K), recipe.thresholds, error)
        else:
            found.eigenvalues[depth] = about_exact_kernel(enclose(own(K)), error)
        del K
    return found


_limited = threading.Lock()
_users = 0
_before: list[tuple[Any, int]] = []


@contextmanager
def single_thread() -> Iterator[None]:
    """Context with the BLAS threads that `NUMERICS` fixes.

    The limit belongs to the whole process: with several worker threads the first to come sets it and the last to go
    lifts it, so that none of them computes without it. Not `threadpool_limits`: in recent versions it silently does
    nothing in any thread but the first that used it, while that one lives (seen in threadpoolctl 3.8).
    """
    global _users, _before
    with _limited:
        if _users == 0:
            pools = [pool for pool in ThreadpoolController().lib_controllers if pool.user_api == "blas"]
            _before = [(pool, pool.get_num_threads()) for pool in pools]
            _set_threads([(pool, NUMERICS["threads"]) for pool, _ in _before])
        _users += 1
    try:
        yield
    finally:
        with _limited:
            _users -= 1
            if _users == 0:
                _set_threads(_before)


def _set_threads(pools: list[tuple[Any, int]]) -> None:
    for pool, threads in pools:
        getattr(pool, "_real_set_num_threads", pool.set_num_threads)(threads)
        if pool.get_num_threads() != threads:
            raise RuntimeError(
                f"BLAS ({pool.filepath}) does not accept {threads} threads: set OMP_NUM_THREADS={threads}"
            )


@dataclass(frozen=True)
class BlockTask:
    """A run of consecutive trials of one cell: the unit of work, of commit and of retry."""

    recipe: Recipe
    distribution: Distribution
    d: int
    n: int
    depths: tuple[int, ...]
    folder: str
    first: int
    count: int


Arrays = dict[str, NDArray[Any]]


def run_block(task: BlockTask) -> Arrays:
    """All variables of a block, by name.

    Returns
    -------
    dict of str to ndarray
        Per-draw variables as (count,), per-depth ones as (depths, count). A trial that failed numerically has status
        `FAILED` and NaN elsewhere.
    """
    depths, count = len(task.depths), task.count
    arrays: Arrays = {
        name: np.full((depths, count), np.nan)
        for name in ("lambda_min", "lambda_min_lower", "lambda_min_upper", "gershgorin", "pair_bound")
    }
    arrays |= {name: np.full(count, np.nan) for name in ("coherence", "norm_min", "norm_max")}
    # Outside of the loop below: a data file that a worker cannot read is the machine's failure, not a trial's.
    task.distribution.check(task.n, task.d)
    arrays["status"] = np.full((depths, count), Status.FAILED.code, dtype=np.int8)
    with single_thread():
        for i in range(count):
            try:
                found = run_trial(task.recipe, task.distribution, task.d, task.n, task.depths, task.first + i)
            except NUMERICAL_ERRORS:
                continue
            _record(arrays, found, task.depths, i)
    return arrays


def _record(arrays: Arrays, found: Trial, depths: Sequence[int], i: int) -> None:
    for name in ("coherence", "norm_min", "norm_max"):
        arrays[name][i] = getattr(found, name)
    for j, depth in enumerate(depths):
        answer = found.eigenvalues[depth]
        arrays["lambda_min"][j, i] = answer.value
        arrays["lambda_min_lower"][j, i] = answer.lower
        arrays["lambda_min_upper"][j, i] = answer.upper
        arrays["status"][j, i] = answer.status.code
        arrays["gershgorin"][j, i] = found.gershgorin[depth]
        arrays["pair_bound"][j, i] = found.pair_bound[depth]
