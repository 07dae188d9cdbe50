"""lambda_min of data whose Gram matrix is blocked over the workers of a cluster."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from distributed import Client
from numpy.typing import ArrayLike

from ntkmc.errors import InputError, did_you_mean
from ntkmc.execution.fleet import DaskFleet, room_of
from ntkmc.experiment.trial.run import single_thread
from ntkmc.linalg.blocked.cost import block_length
from ntkmc.linalg.blocked.solver import METHODS, BlockedBench, enclose_blocked
from ntkmc.linalg.blocked.tiles import gram_diagonal
from ntkmc.linalg.eigen.lapack import Matrix
from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.smallest import RTOL, rescaled
from ntkmc.linalg.gram.enclosures import about_exact_kernel, kernel_error
from ntkmc.theory.kernels.functions import check_depths

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
        As of `DaskFleet`.

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
    with single_thread(), DaskFleet(client, rows, kernel, length, single=single, stop=stop) as fleet:
        cosine = fleet.pair_sums().coherence
        answers: dict[int, Eigenvalue] = {}
        start: Matrix | None = None
        for depth in wanted:
            fleet.build(depth)
            answer = enclose_blocked(bench_of(fleet, rows, depth), method, start, certificate=certificate)
            answers[depth] = about_exact_kernel(answer, kernel_error(rows, kernel, depth, cosine))
            start = answer.vector
    if abs(exponent) > _MODERATE:
        answers = {depth: rescaled(answer, 2 * exponent, RTOL) for depth, answer in answers.items()}
    return {depth: replace(answer, method=f"blocked {answer.method}") for depth, answer in answers.items()}


def bench_of(fleet: DaskFleet, rows: Rows, depth: int) -> BlockedBench:
    """The matrix that a fleet holds at a depth, ready for a proof."""
    diagonal = gram_diagonal(rows, fleet.kernel, depth)
    # By Cauchy and Schwarz, and what rounding adds.
    return BlockedBench(fleet, diagonal, float(diagonal.max()) * (1.0 + 2.0**-30))
