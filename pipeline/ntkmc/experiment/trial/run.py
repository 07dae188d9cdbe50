"""Single trials and blocks of trials, as functions of an address that run without a cluster."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import ThreadpoolController

from ntkmc.errors import InputError
from ntkmc.experiment.schema.groups import trial_variables
from ntkmc.experiment.study.measurements import DRAWS, MeasurementKey
from ntkmc.experiment.study.numerics import NUMERICS
from ntkmc.experiment.study.variables import Variable
from ntkmc.experiment.trial.draw import TrialConfig, TrialContext, draw, moderate
from ntkmc.experiment.trial.measurements import MEASURE, MeasuredValues
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
from ntkmc.linalg.eigen.symmetric import in_place
from ntkmc.linalg.gram import kernel_error, widen_by_kernel_error
from ntkmc.linalg.gram.matrix import cosines, grams_of_cosines
from ntkmc.linalg.gram.pairs import coherence_of
from ntkmc.numeric import Matrix
from ntkmc.theory.distributions import Distribution
from ntkmc.theory.distributions.normalization import second_moment_of, standard_scale

NUMERICAL_ERRORS: Final = (np.linalg.LinAlgError, FloatingPointError, InputError)
"""Exceptions recorded as a failed trial. Any other exception is a bug or a machine failure, and ends the block."""


@dataclass(frozen=True)
class Trial:
    """Measured values of one draw.

    Attributes
    ----------
    eigenvalues : dict of int to Eigenvalue, or to Bracket
        By depth; bounds hold for the exact kernel of the draw. Brackets if only events are decided.
    draw : dict of str to float
        Statistics of the draw: the largest |cos| over pairs (`coherence`), `norm_min`, `norm_max`, and others that
        claims need.
    deep : dict of int to dict of str to float
        Statistics by depth.
    """

    eigenvalues: dict[int, Eigenvalue | Bracket]
    draw: dict[str, float]
    deep: dict[int, dict[str, float]]


def run_trial(
    config: TrialConfig, distribution: Distribution, d: int, n: int, depths: Sequence[int], trial: int
) -> Trial:
    """Run one trial. Under `single_thread()` the result has the same bits as in a run."""
    scale = standard_scale(second_moment_of(config.normalize, distribution, d), d)
    # The draw has no local name here, so that `measure_draw` can free it.
    return measure_draw(config, draw(config, distribution, d, n, trial), depths, scale)


def measure_draw(config: TrialConfig, X: Matrix, depths: Sequence[int], scale: float) -> Trial:
    """Measure a normalized draw X, (n, d); `scale` as returned by `standard_scale`."""
    X = as_data(X)
    rows, first = moderate(split_rows(X)), X[0].copy()
    del X  # as large as the unit rows; the peak memory must not hold both and the Gram matrix
    largest = float(rows.norms.max())
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    names, depths = config.statistics, sorted(depths)
    # These three cost nothing beyond the matrix of cosines, and most claims need one of them.
    norms = {"coherence": cosine, "norm_min": float(rows.norms.min()), "norm_max": largest}
    enclosed, deep = eigenvalue_statistics(names, rows, R, config.kernel, depths, cosine)
    result = Trial(
        {}, norms | enclosed | draw_statistics(names, first, rows, pair_sums_of(R, rows, cosine), scale), deep
    )
    for depth, K in grams_of_cosines(R, rows, config.kernel, depths):
        result.deep[depth] |= matrix_statistics(names, K)
        # No warm start from the previous depth: the bits must not depend on which other depths are measured.
        error = kernel_error(rows, config.kernel, depth, cosine)
        matrix = in_place(K)
        smallest = None
        if config.thresholds:
            result.eigenvalues[depth] = bracket(matrix, config.thresholds, error)
        else:
            result.eigenvalues[depth] = smallest = widen_by_kernel_error(enclose(matrix), error)
        result.deep[depth] |= inverse_statistics(names, matrix, error, smallest)
        result.deep[depth] |= spectrum_statistics(names, matrix, error, rows, config.kernel, depth)
        del K, matrix
    return result


_limited = threading.Lock()
_users = 0
_before: list[tuple[Any, int]] = []


@contextmanager
def single_thread() -> Iterator[None]:
    """Context with the number of BLAS threads that `NUMERICS` fixes.

    The limit holds for the whole process. With several worker threads, the first to enter sets it and the last to
    leave restores the earlier values, so that no thread computes without it.
    """
    # `threadpool_limits` is not used: in threadpoolctl 3.8 it silently does nothing in all threads but the first that
    # used it, as long as that thread lives.
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
    """Return the BLAS libraries of this process."""
    # A search takes milliseconds. An import may load a library, so the cache is keyed by the number of modules.
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
    """Consecutive trials of one cell: the unit of work, of commit and of retry.

    A block measures the draws, or one value of an additional measurement, such as networks of one width, on the same
    draws.
    """

    config: TrialConfig
    distribution: Distribution
    d: int
    n: int
    depths: tuple[int, ...]
    folder: str
    first: int
    count: int
    measurement: MeasurementKey = DRAWS


Arrays = dict[str, NDArray[Any]]


def run_block(task: BlockTask, methods: Counter[str] | None = None) -> Arrays:
    """Compute all variables of a block, by name; `methods` counts the methods that computed eigenvectors.

    Returns
    -------
    dict of str to ndarray
        Variables per draw have shape (count,), variables per depth (depths, count) followed by their own dimensions.
        A trial that failed numerically has status `FAILED` and NaN in all other variables.
    """
    arrays, count = blank(task), task.count
    # Outside of the loop: a data file that a worker cannot read is a failure of the machine, not of a trial.
    task.distribution.check(task.n, task.d)
    with single_thread():
        for i in range(count):
            trial = task.first + i
            try:
                if task.measurement.is_draws:
                    measured = run_trial(task.config, task.distribution, task.d, task.n, task.depths, trial)
                    record(arrays, measured, task.depths, i)
                    used_methods = [getattr(answer, "method", "event") for answer in measured.eigenvalues.values()]
                else:
                    context = TrialContext(task.config, task.distribution, task.d, task.n, task.depths, trial)
                    values = MEASURE[task.measurement.group](context, task.measurement.value)
                    _record_additional(arrays, values, task.depths, i)
                    used_methods = list(values.methods)
            # The arrays hold the values of a failed trial from the start.
            except NUMERICAL_ERRORS:
                continue
            if methods is not None:
                methods.update(used_methods)
    return arrays


def blank(task: BlockTask) -> Arrays:
    """Return the variables of a block whose trials all failed."""
    shape = len(task.depths), task.count
    extra_dims = {} if task.measurement.is_draws else task.measurement.axis.extra_coordinates
    arrays: Arrays = {}
    for name, variable in _variables(task).items():
        extra_shape = tuple(len(extra_dims[dim]) for dim in variable.trailing_dims)
        arrays[name] = np.full((*shape, *extra_shape) if variable.per_depth else task.count, np.nan)
    arrays["status"] = np.full(shape, Status.FAILED.code, dtype=np.int8)
    return arrays


def _variables(task: BlockTask) -> Mapping[str, Variable]:
    if task.measurement.is_draws:
        return trial_variables(task.config.statistics)
    return task.measurement.axis.trials.variables


def record(arrays: Arrays, measured: Trial, depths: Sequence[int], i: int) -> None:
    """Write a trial into position i of the arrays of a block."""
    for name, value in measured.draw.items():
        arrays[name][i] = value
    for j, depth in enumerate(depths):
        answer = measured.eigenvalues[depth]
        arrays["lambda_min"][j, i] = answer.value
        arrays["lambda_min_lower"][j, i] = answer.lower
        arrays["lambda_min_upper"][j, i] = answer.upper
        arrays["status"][j, i] = answer.status.code
        for name, value in measured.deep[depth].items():
            arrays[name][j, i] = value


def _record_additional(arrays: Arrays, measured: MeasuredValues, depths: Sequence[int], i: int) -> None:
    for j, depth in enumerate(depths):
        for name, value in measured.values[depth].items():
            arrays[name][j, i] = value
