"""One trial, and a block of them: plain functions of an address, without any cluster."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ntkmc.errors import InputError
from ntkmc.experiment.schema.groups import BESIDE_VARIABLES, trial_variables
from ntkmc.experiment.schema.variables import Variable
from ntkmc.experiment.study.measurements import AXES, PLAIN, Part
from ntkmc.experiment.study.numerics import NUMERICS
from ntkmc.experiment.trial.draw import Matrix, Recipe, Subject, draw, moderate, standard_scale
from ntkmc.experiment.trial.measurements import Found, measure_part
from ntkmc.experiment.trial.statistics import (
    draw_statistics,
    eigenvalue_statistics,
    inverse_statistics,
    matrix_statistics,
    pair_sums_of,
    spectrum_statistics,
)
from ntkmc.linalg.eigen import Eigenvalue, Status, as_data, split_rows
from ntkmc.linalg.eigen.event import bracket
from ntkmc.linalg.eigen.result import Bracket
from ntkmc.linalg.eigen.smallest import enclose
from ntkmc.linalg.eigen.symmetric import own
from ntkmc.linalg.gram import about_exact_kernel, kernel_error
from ntkmc.linalg.gram.matrix import coherence_of, cosines, grams_of_cosines
from ntkmc.theory.distributions import Distribution

NUMERICAL_ERRORS: Final = (np.linalg.LinAlgError, FloatingPointError, InputError)
"""What makes a trial fail as data; anything else is a bug or the machine's, and ends the block."""


@dataclass(frozen=True)
class Trial:
    """All that is measured on one draw.

    Attributes
    ----------
    eigenvalues : dict of int to Eigenvalue, or to Bracket
        By depth; bounds speak of the exact kernel of the draw. Brackets where only events are decided.
    draw : dict of str to float
        Statistics of the draw: max |cos| over the pairs (`coherence`), `norm_min`, `norm_max`, and what claims need.
    deep : dict of int to dict of str to float
        Statistics by depth.
    """

    eigenvalues: dict[int, Eigenvalue | Bracket]
    draw: dict[str, float]
    deep: dict[int, dict[str, float]]


def run_trial(recipe: Recipe, distribution: Distribution, d: int, n: int, depths: Sequence[int], trial: int) -> Trial:
    """Draw and measure. Call it under `single_thread()` to get the bits that a run gets."""
    scale = standard_scale(recipe.normalize, distribution, d)
    return measure_draw(recipe, draw(recipe, distribution, d, n, trial), depths, scale)  # the only name of the draw


def measure_draw(recipe: Recipe, X: Matrix, depths: Sequence[int], scale: float) -> Trial:
    """Measure a draw, (n, d), that is normalized; `scale` as of `standard_scale`."""
    X = as_data(X)
    rows, first = moderate(split_rows(X)), X[0].copy()
    del X  # as large as the unit rows: nobody needs both beside the Gram matrix
    largest = float(rows.norms.max())
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    names, depths = recipe.statistics, sorted(depths)
    norms = {"coherence": cosine, "norm_min": float(rows.norms.min()), "norm_max": largest}
    more, deep = eigenvalue_statistics(names, rows, R, recipe.kernel, depths, cosine)
    found = Trial({}, norms | more | draw_statistics(names, first, rows, pair_sums_of(R, rows, cosine), scale), deep)
    for depth, K in grams_of_cosines(R, rows, recipe.kernel, depths):
        found.deep[depth] |= matrix_statistics(names, K)
        # No warm start from the depth before: a trial's bits must not depend on which other depths were asked for.
        error = kernel_error(rows, recipe.kernel, depth, cosine)
        matrix = own(K)
        smallest = None
        if recipe.thresholds:
            found.eigenvalues[depth] = bracket(matrix, recipe.thresholds, error)
        else:
            found.eigenvalues[depth] = smallest = about_exact_kernel(enclose(matrix), error)
        found.deep[depth] |= inverse_statistics(names, matrix, error, smallest)
        found.deep[depth] |= spectrum_statistics(names, matrix, error, rows, recipe.kernel, depth)
        del K, matrix
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
            _before = [(pool, pool.get_num_threads()) for pool in _blas_pools(len(sys.modules))]
            _set_threads([(pool, NUMERICS["threads"]) for pool, _ in _before])
        _users += 1
    try:
        yield
    finally:
        with _limited:
            _users -= 1
            if _users == 0:
                _set_threads(_before)


@lru_cache(maxsize=1)
def _blas_pools(modules: int) -> list[Any]:
    """BLAS libraries in this process, looked for anew when modules were imported: a look takes milliseconds."""
    return [pool for pool in ThreadpoolController().lib_controllers if pool.user_api == "blas"]


def _set_threads(pools: list[tuple[Any, int]]) -> None:
    for pool, threads in pools:
        getattr(pool, "_real_set_num_threads", pool.set_num_threads)(threads)
        if pool.get_num_threads() != threads:
            raise RuntimeError(
                f"BLAS ({pool.filepath}) does not accept {threads} threads: set OMP_NUM_THREADS={threads}"
            )


@dataclass(frozen=True)
class BlockTask:
    """A run of consecutive trials of one cell: the unit of work, of commit and of retry.

    Of a part that is not plain it is what stands beside the same draws, such as networks of a width.
    """

    recipe: Recipe
    distribution: Distribution
    d: int
    n: int
    depths: tuple[int, ...]
    folder: str
    first: int
    count: int
    part: Part = PLAIN


Arrays = dict[str, NDArray[Any]]


def run_block(task: BlockTask, methods: Counter[str] | None = None) -> Arrays:
    """All variables of a block, by name; `methods` counts how its eigenvectors were found.

    Returns
    -------
    dict of str to ndarray
        Per-draw variables as (count,), per-depth ones as (depths, count). A trial that failed numerically has status
        `FAILED` and NaN elsewhere.
    """
    arrays, count = blank(task), task.count
    # Outside of the loop below: a data file that a worker cannot read is the machine's failure, not a trial's.
    task.distribution.check(task.n, task.d)
    with single_thread():
        for i in range(count):
            trial = task.first + i
            try:
                if task.part.plain:
                    found = run_trial(task.recipe, task.distribution, task.d, task.n, task.depths, trial)
                    record(arrays, found, task.depths, i)
                    used = [getattr(answer, "method", "event") for answer in found.eigenvalues.values()]
                else:
                    subject = Subject(task.recipe, task.distribution, task.d, task.n, task.depths, trial)
                    beside = measure_part(subject, *task.part)
                    _record_part(arrays, beside, task.depths, i)
                    used = list(beside.methods)
            except NUMERICAL_ERRORS:
                continue
            if methods is not None:
                methods.update(used)
    return arrays


def blank(task: BlockTask) -> Arrays:
    """The variables of a block whose trials all failed."""
    shape = len(task.depths), task.count
    further = {} if task.part.plain else AXES[task.part.kind].further
    arrays: Arrays = {}
    for name, variable in _variables(task).items():
        behind = tuple(len(further[dim]) for dim in variable.behind)
        arrays[name] = np.full((*shape, *behind) if variable.per_depth else task.count, np.nan)
    arrays["status"] = np.full(shape, Status.FAILED.code, dtype=np.int8)
    return arrays


def _variables(task: BlockTask) -> dict[str, Variable]:
    if task.part.plain:
        return trial_variables(task.recipe.statistics)
    return BESIDE_VARIABLES[task.part.kind]


def record(arrays: Arrays, found: Trial, depths: Sequence[int], i: int) -> None:
    """Enter trial number i of a block."""
    for name, value in found.draw.items():
        arrays[name][i] = value
    for j, depth in enumerate(depths):
        answer = found.eigenvalues[depth]
        arrays["lambda_min"][j, i] = answer.value
        arrays["lambda_min_lower"][j, i] = answer.lower
        arrays["lambda_min_upper"][j, i] = answer.upper
        arrays["status"][j, i] = answer.status.code
        for name, value in found.deep[depth].items():
            arrays[name][j, i] = value


def _record_part(arrays: Arrays, found: Found, depths: Sequence[int], i: int) -> None:
    for j, depth in enumerate(depths):
        for name, value in found.values[depth].items():
            arrays[name][j, i] = value
