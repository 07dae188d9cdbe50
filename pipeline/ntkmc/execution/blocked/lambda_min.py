"""lambda_min of data whose Gram matrix is blocked over the workers of a cluster.

A trial whose Gram matrix no worker can hold: all workers hold it together, for one trial at a time.
"""

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
from ntkmc.execution.blocked.matrix import DaskBlockedMatrix, room_of
from ntkmc.execution.worker import BlockReport
from ntkmc.experiment.store import Block, Journal
from ntkmc.experiment.store.provenance import block_provenance
from ntkmc.experiment.trial import draw
from ntkmc.experiment.trial.draw import standard_scale
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
from ntkmc.theory.kernels import check_depths

_MODERATE: Final = 20
"""Exponents of the largest entry up to which data stay as they are."""


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
    """`ntkmc.lambda_min` with a client: the Gram matrix's tiles are held by its workers.

    Parameters
    ----------
    client : distributed.Client
    X, kernel, depths
        As of `ntkmc.lambda_min`.
    method, certificate
        As of `ntkmc.linalg.blocked.solver.enclose_blocked`.
    single : bool
        Hold the matrix in float32, for products, which halves its memory; what a proof needs is evaluated anew.
    block : int, optional
        Rows of a block row, instead of what `block_length` chooses.
    stop : callable, optional
        As of `DaskBlockedMatrix`.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array or of extreme size, or an unknown kernel, depth or method.
    ExecutionError
        If the cluster goes away, or its disks are full.
    """
    if method not in METHODS:
        raise InputError(f"unknown method {method!r} for a blocked matrix: {did_you_mean(method, METHODS)}")
    wanted = check_depths(kernel, depths)
    data = as_data(X)
    # By a power of two, which is exact: entries of K are of moderate size then, in float32 too.
    exponent = int(np.frexp(np.max(np.abs(data)))[1])
    if abs(exponent) > 500:
        raise InputError(f"data have entries of size {np.max(np.abs(data)):.3g}: rescale them")
    rows = split_rows(np.ldexp(data, -exponent) if abs(exponent) > _MODERATE else data)
    length = block or block_length(len(rows.norms), len(client.nthreads()), room_of(client))
    # Here too: a BLAS thread that waits for the next step spins, and takes a core from the workers.
    with single_thread(), DaskBlockedMatrix(client, rows, kernel, length, single=single, stop=stop) as fleet:
        cosine = fleet.pair_sums().coherence
        answers: dict[int, Eigenvalue] = {}
        start: Matrix | None = None
        for depth in wanted:
            fleet.build(depth)
            answer = enclose_blocked(bench_of(fleet, rows, depth), method, start, certificate=certificate)
            answers[depth] = widen_by_kernel_error(answer, kernel_error(rows, kernel, depth, cosine))
            start = answer.vector
    if abs(exponent) > _MODERATE:
        answers = {depth: rescaled(answer, 2 * exponent, RTOL) for depth, answer in answers.items()}
    return {depth: replace(answer, method=f"blocked {answer.method}") for depth, answer in answers.items()}


def bench_of(fleet: DaskBlockedMatrix, rows: Rows, depth: int) -> BlockedProblem:
    """The matrix that a fleet holds at a depth, ready for a proof."""
    diagonal = gram_diagonal(rows, fleet.kernel, depth)
    # By Cauchy and Schwarz, and what rounding adds.
    return BlockedProblem(fleet, diagonal, float(diagonal.max()) * (1.0 + 2.0**-30))


def commit_large(task: BlockTask, client: Client, journal: Journal, stop: Callable[[], bool]) -> BlockReport:
    """Compute a block of one trial with all workers, and put it into the journal; called by the driver itself.

    Parameters
    ----------
    task : BlockTask
    client : distributed.Client
    journal : Journal
    stop : callable
        As of `DaskBlockedMatrix`.

    Raises
    ------
    ExecutionError
        If the cluster goes away, or what the tiles need is lacking.
    """
    start = time.perf_counter()
    arrays = blank(task)
    methods: Counter[str] = Counter()
    task.distribution.check(task.n, task.d)
    try:
        found = _measured(task, client, stop)
    except NUMERICAL_ERRORS:
        pass
    else:
        record(arrays, found, task.depths, 0)
        methods.update(
            f"blocked {answer.method}" for answer in found.eigenvalues.values() if hasattr(answer, "method")
        )
    seconds = time.perf_counter() - start
    cell = (task.distribution.label, task.d, task.n)
    provenance = block_provenance(seconds, methods, blocked=True)
    journal.put(Block(task.folder, cell, task.first, 1, task.depths, arrays, provenance))
    return BlockReport(task.folder, task.first, 1, seconds, int(not methods))


def _measured(task: BlockTask, client: Client, stop: Callable[[], bool]) -> Trial:
    """As `ntkmc.experiment.trial.run.measure_draw`. Of eigenvalues of further matrices it says that nothing is
    known."""
    config, names = task.config, task.config.statistics
    X = as_data(draw(config, task.distribution, task.d, task.n, task.first))
    rows, first = split_rows(X), X[0].copy()
    del X
    largest = float(rows.norms.max())
    if largest > 0.0 and not 2.0**-30 < largest < 2.0**30:
        raise InputError("norms so extreme that float32 overflows: rescale, or normalize")
    scale = standard_scale(config.normalize, task.distribution, task.d)
    length = block_length(task.n, len(client.nthreads()), room_of(client))
    with single_thread(), DaskBlockedMatrix(client, rows, config.kernel, length, stop=stop) as fleet:
        pairs = fleet.pair_sums()
        norms = {"coherence": pairs.coherence, "norm_min": float(rows.norms.min()), "norm_max": largest}
        found = Trial({}, unknown(names) | norms | draw_statistics(names, first, rows, pairs, scale), {})
        start = None
        for depth in sorted(task.depths):
            fleet.build(depth)
            bench = bench_of(fleet, rows, depth)
            found.deep[depth] = unknown(names) | surveyed_statistics(names, fleet.survey(), bench.diagonal)
            answer = enclose_blocked(bench, start=start)
            start = answer.vector
            error = kernel_error(rows, config.kernel, depth, pairs.coherence)
            found.eigenvalues[depth] = widen_by_kernel_error(answer, error)
    return found
