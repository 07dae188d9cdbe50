"""lambda_min of data whose Gram matrix is distributed over the workers of a cluster, and trials of such matrices."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from distributed import Client
from numpy.typing import ArrayLike

from ntkmc.errors import InputError, did_you_mean
from ntkmc.execution.blocked.matrix import DaskBlockedMatrix, free_bytes
from ntkmc.execution.worker import BlockReport
from ntkmc.experiment.store import Block, Journal
from ntkmc.experiment.store.provenance import block_provenance
from ntkmc.experiment.trial import draw
from ntkmc.experiment.trial.run import NUMERICAL_ERRORS, BlockTask, Trial, blank, record, single_thread
from ntkmc.experiment.trial.statistics import draw_statistics, surveyed_statistics, unknown
from ntkmc.linalg.blocked import enclose_blocked
from ntkmc.linalg.blocked.cost import block_length
from ntkmc.linalg.blocked.solver import METHODS, BlockedProblem
from ntkmc.linalg.blocked.tiles import gram_diagonal
from ntkmc.linalg.eigen import Eigenvalue, Rows, as_data, split_rows
from ntkmc.linalg.eigen.smallest import RTOL, rescaled
from ntkmc.linalg.gram import kernel_error, widen_by_kernel_error
from ntkmc.numeric import Matrix
from ntkmc.theory.distributions.normalization import second_moment_of, standard_scale
from ntkmc.theory.kernels import check_depths

_MODERATE: Final = 20
"""Binary exponent of the largest entry up to which data are not rescaled."""


def lambda_min_blocked(
    client: Client,
    X: ArrayLike,
    kernel: str = "ntk",
    depths: Sequence[int] = (2,),
    *,
    method: str = "auto",
    certificate: bool = True,
    single: bool = False,
    block: int | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> dict[int, Eigenvalue]:
    """Compute `ntkmc.lambda_min` with the tiles of the Gram matrix distributed over a client's workers.

    Parameters
    ----------
    client : distributed.Client
    X, kernel, depths
        As in `ntkmc.lambda_min`.
    method, certificate
        As in `ntkmc.linalg.blocked.solver.enclose_blocked`.
    single : bool
        Hold the matrix in float32, in half the memory, for products. Entries that a proof needs are evaluated again.
    block : int, optional
        Rows per block row; by default `block_length` chooses.
    stop : callable, optional
        As in `DaskBlockedMatrix`.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array or of extreme size, or an unknown kernel, depth or method.
    ExecutionError
        If the cluster goes away, or its disks are full.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r} for a blocked matrix: {did_you_mean(method, METHODS)}")
    checked_depths = check_depths(kernel, depths)
    data = as_data(X)
    # Scaling by a power of two is exact. The entries of K are then of moderate size, in float32 too.
    exponent = int(np.frexp(np.max(np.abs(data)))[1])
    if abs(exponent) > 500:
        raise InputError(f"data have entries of size {np.max(np.abs(data)):.3g}: rescale them")
    rows = split_rows(np.ldexp(data, -exponent) if abs(exponent) > _MODERATE else data)
    # Short block rows if workers have little memory: a few are in transit to each worker at any time.
    length = block or block_length(len(rows.norms), len(client.nthreads()), free_bytes(client))
    # One BLAS thread in this process too: idle BLAS threads spin, and would take cores from the workers.
    with single_thread(), DaskBlockedMatrix(client, rows, kernel, length, single=single, stop=stop) as matrix:
        cosine = matrix.pair_sums().coherence
        answers: dict[int, Eigenvalue] = {}
        start: Matrix | None = None
        for depth in checked_depths:
            matrix.build(depth)
            problem = blocked_problem(matrix, rows, depth)
            answer = enclose_blocked(problem, method, start, certificate=certificate)
            answers[depth] = widen_by_kernel_error(answer, kernel_error(rows, kernel, depth, cosine))
            start = answer.vector  # eigenvectors of neighbouring depths are similar
    if abs(exponent) > _MODERATE:
        answers = {depth: rescaled(answer, 2 * exponent, RTOL) for depth, answer in answers.items()}
    return {depth: replace(answer, method=f"blocked {answer.method}") for depth, answer in answers.items()}


def blocked_problem(matrix: DaskBlockedMatrix, rows: Rows, depth: int) -> BlockedProblem:
    """Return the eigenvalue problem of a blocked matrix that is built at a depth."""
    diagonal = gram_diagonal(rows, matrix.kernel, depth)
    # By Cauchy and Schwarz no entry exceeds the largest diagonal entry; the factor covers rounding.
    return BlockedProblem(matrix, diagonal, float(diagonal.max()) * (1.0 + 2.0**-30))


def commit_blocked(task: BlockTask, client: Client, journal: Journal, stop: Callable[[], bool]) -> BlockReport:
    """Compute one trial with all workers, and write it to the journal; runs in the driver's process.

    Parameters
    ----------
    task : BlockTask
        Block of one trial.
    client : distributed.Client
    journal : Journal
    stop : callable
        As in `DaskBlockedMatrix`.

    Raises
    ------
    ExecutionError
        If the cluster goes away, or has too little memory or disk for the tiles.
    """
    start = time.perf_counter()
    arrays = blank(task)
    methods: Counter[str] = Counter()
    task.distribution.check(task.n, task.d)
    try:
        trial = _measure(task, client, stop)
    except NUMERICAL_ERRORS:
        pass  # `blank` filled the arrays with the values of a failed trial
    else:
        record(arrays, trial, task.depths, 0)
        methods.update(
            f"blocked {answer.method}" for answer in trial.eigenvalues.values() if hasattr(answer, "method")
        )
    seconds = time.perf_counter() - start
    cell = (task.distribution.label, task.d, task.n)
    provenance = block_provenance(seconds, methods, blocked=True)
    journal.put(Block(task.folder, cell, task.first, 1, task.depths, arrays, provenance))
    return BlockReport(task.folder, task.first, 1, seconds, int(not methods))


def _measure(task: BlockTask, client: Client, stop: Callable[[], bool]) -> Trial:
    """Measure a draw like `ntkmc.experiment.trial.run.measure_draw`.

    Statistics that need eigenvalues of other matrices get infinite bounds.
    """
    config, names = task.config, task.config.statistics
    X = as_data(draw(config, task.distribution, task.d, task.n, task.first))
    rows, first_row = split_rows(X), X[0].copy()
    del X  # the driver's process needs memory for one copy of the data only
    # `lambda_min_blocked` rescales such data. A trial does not: its statistics are those of the draw as it is.
    largest = float(rows.norms.max())
    if largest > 0.0 and not 2.0**-30 < largest < 2.0**30:
        raise InputError("norms so extreme that float32 overflows: rescale, or normalize")
    scale = standard_scale(second_moment_of(config.normalize, task.distribution, task.d), task.d)
    length = block_length(task.n, len(client.nthreads()), free_bytes(client))
    with single_thread(), DaskBlockedMatrix(client, rows, config.kernel, length, stop=stop) as matrix:
        pairs = matrix.pair_sums()
        norms = {"coherence": pairs.coherence, "norm_min": float(rows.norms.min()), "norm_max": largest}
        trial = Trial({}, unknown(names) | norms | draw_statistics(names, first_row, rows, pairs, scale), {})
        start = None
        for depth in sorted(task.depths):
            matrix.build(depth)
            problem = blocked_problem(matrix, rows, depth)
            trial.deep[depth] = unknown(names) | surveyed_statistics(names, matrix.entry_sums(), problem.diagonal)
            answer = enclose_blocked(problem, start=start)
            start = answer.vector
            error = kernel_error(rows, config.kernel, depth, pairs.coherence)
            trial.eigenvalues[depth] = widen_by_kernel_error(answer, error)
    return trial
