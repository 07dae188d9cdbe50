"""One trial, and a block of them: plain functions of an address, without any cluster."""

from __future__ import annotations

import math
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ntkmc.errors import InputError
from ntkmc.experiment.address import Purpose, generator, seed_sequence, spawn_key
from ntkmc.experiment.measuring import (
    draw_statistics,
    eigenvalue_statistics,
    inverse_statistics,
    matrix_statistics,
    pair_sums_of,
)
from ntkmc.experiment.numerics import NUMERICS
from ntkmc.experiment.schema import WIDTH_VARIABLES, Variable, trial_variables
from ntkmc.experiment.spectra import spectrum_statistics
from ntkmc.experiment.study import Study
from ntkmc.linalg.eigenvalue import Bracket, Eigenvalue, Status
from ntkmc.linalg.event import bracket
from ntkmc.linalg.exact import about_exact_kernel, kernel_error
from ntkmc.linalg.finite_width import Network, measure_network
from ntkmc.linalg.gram import coherence_of, cosines, grams_of_cosines
from ntkmc.linalg.network import Weights
from ntkmc.linalg.rows import Rows, as_data, split_rows
from ntkmc.linalg.smallest import enclose
from ntkmc.linalg.symmetric import own
from ntkmc.theory.claims.statistics import ALWAYS
from ntkmc.theory.distributions import Distribution
from ntkmc.theory.normalization import Normalization, normalize

Matrix = NDArray[np.float64]

NUMERICAL_ERRORS: Final = (np.linalg.LinAlgError, FloatingPointError, InputError)
"""What makes a trial fail as data; anything else is a bug or the machine's, and ends the block."""


@dataclass(frozen=True)
class Recipe:
    """What every trial of a study shares. With an address it determines a trial to the last bit.

    With `thresholds`, increasing, only the events lambda_min >= threshold are decided. `statistics` are measured
    beside lambda_min; none of them changes a bit of another.
    """

    seed: int
    kernel: str
    normalize: Normalization
    nested: bool = False
    thresholds: tuple[float, ...] = ()
    statistics: tuple[str, ...] = ALWAYS

    @classmethod
    def of(cls, study: Study, statistics: tuple[str, ...] | None = None) -> Recipe:
        """The recipe of a study, with the statistics that its claims need, or others."""
        thresholds = study.event.lambda_0 if study.measure == "event" else ()
        chosen = study.statistics if statistics is None else statistics
        return cls(study.seed, study.kernel, study.normalize, study.nested, thresholds, chosen)


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


def draw(recipe: Recipe, distribution: Distribution, d: int, n: int, trial: int) -> Matrix:
    """The data matrix at an address, (n, d), normalized."""
    key = spawn_key(distribution.label, d, 0 if recipe.nested else n, trial)
    X = distribution.sample(n, d, generator(recipe.seed, key))
    return normalize(X, distribution, recipe.normalize)


def run_trial(recipe: Recipe, distribution: Distribution, d: int, n: int, depths: Sequence[int], trial: int) -> Trial:
    """Draw and measure. Call it under `single_thread()` to get the bits that a run gets."""
    scale = standard_scale(recipe.normalize, distribution, d)
    return measure_draw(recipe, draw(recipe, distribution, d, n, trial), depths, scale)  # the only name of the draw


def measure_draw(recipe: Recipe, X: Matrix, depths: Sequence[int], scale: float) -> Trial:
    """Measure a draw, (n, d), that is normalized; `scale` as of `standard_scale`."""
    X = as_data(X)
    rows, first = _moderate(split_rows(X)), X[0].copy()
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


def _moderate(rows: Rows) -> Rows:
    """The rows, or a numerical error."""
    largest = float(rows.norms.max())
    if largest > 0.0 and not 2.0**-200 < largest < 2.0**200:
        raise FloatingPointError("norms so extreme that Gram entries lose bits or overflow: rescale, or normalize")
    return rows


def run_network_trial(
    recipe: Recipe, distribution: Distribution, d: int, n: int, depths: Sequence[int], trial: int, width: int
) -> dict[int, Network]:
    """Draw the same data as `run_trial`, and a network of one width; by depth, its kernel beside the limit.

    Neither other widths nor other depths enter: adding them later changes no bit.
    """
    rows = _moderate(split_rows(as_data(draw(recipe, distribution, d, n, trial))))
    key = spawn_key(distribution.label, d, 0 if recipe.nested else n, trial, Purpose.NETWORK, width)
    weights = Weights.of(seed_sequence(recipe.seed, key))
    return dict(measure_network(rows, width, recipe.kernel, sorted(depths), weights))


def standard_scale(mode: Normalization, distribution: Distribution, d: int) -> float:
    """What normalized rows are multiplied by so that E|x|**2 = d; 1 where that moment does not exist."""
    if mode != "none":
        return math.sqrt(d)
    try:
        return math.sqrt(d / distribution.second_moment(d))
    except InputError:
        return 1.0


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
    """A run of consecutive trials of one cell: the unit of work, of commit and of retry.

    With a width it is networks of that width that are drawn and measured, beside the same data.
    """

    recipe: Recipe
    distribution: Distribution
    d: int
    n: int
    depths: tuple[int, ...]
    folder: str
    first: int
    count: int
    width: int = 0


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
            here = (task.recipe, task.distribution, task.d, task.n, task.depths, task.first + i)
            found: Trial | dict[int, Network]
            try:
                found = run_network_trial(*here, task.width) if task.width else run_trial(*here)
            except NUMERICAL_ERRORS:
                continue
            if isinstance(found, Trial):
                record(arrays, found, task.depths, i)
                answers = list(found.eigenvalues.values())
            else:
                _record_networks(arrays, found, task.depths, i)
                answers = [network.smallest for network in found.values()]
            if methods is not None:
                methods.update(getattr(answer, "method", "event") for answer in answers)
    return arrays


def blank(task: BlockTask) -> Arrays:
    """The variables of a block whose trials all failed."""
    shape = len(task.depths), task.count
    arrays: Arrays = {
        name: np.full(shape if variable.per_depth else task.count, np.nan)
        for name, variable in _variables(task).items()
    }
    arrays["status"] = np.full(shape, Status.FAILED.code, dtype=np.int8)
    return arrays


def _variables(task: BlockTask) -> dict[str, Variable]:
    return WIDTH_VARIABLES["finite_width"] if task.width else trial_variables(task.recipe.statistics)


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


def _record_networks(arrays: Arrays, found: dict[int, Network], depths: Sequence[int], i: int) -> None:
    for j, depth in enumerate(depths):
        network = found[depth]
        arrays["lambda_min"][j, i] = network.smallest.value
        arrays["status"][j, i] = network.smallest.status.code
        ends = {
            "lambda_min": (network.smallest.lower, network.smallest.upper),
            "deviation": network.deviation,
            "entry_deviation": network.entry_deviation,
            "data_norm": network.data_norm,
            "kernel_norm": network.kernel_norm,
        }
        for name, (lower, upper) in ends.items():
            arrays[f"{name}_lower"][j, i] = lower
            arrays[f"{name}_upper"][j, i] = upper
