"""Cost of a matrix distributed over workers: memory per worker, traffic and approximate time.

The constants were fitted to two workers of one machine, over its loopback interface. `inverse_is_cheaper` decides how
the eigenvector is computed, from these constants, n and the number of workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ntkmc.linalg.cost import library_bytes

_SECONDS_COSINE: Final = 5e-11
"""Seconds per entry of a tile and coordinate of the data."""

_SECONDS_LAYER: Final = 6e-9
"""Seconds per entry of a tile and layer."""

_BANDWIDTH: Final = 1e10
"""Bytes per second that one worker reads from its memory in a product."""

_OPERATIONS: Final = 4e10
"""Floating-point operations per second of one worker in a factorization, float64."""

_NETWORK: Final = 5e8
"""Bytes per second between two workers that compute at the same time."""

_TASK: Final = 0.002
"""Seconds of the scheduler per task: 500 tasks per second."""

_ROUND: Final = 0.011
"""Seconds from the driver to a worker and back, in addition to that."""

_HOP: Final = 0.0045
"""Seconds from one worker to the next, in addition to that."""

PANELS: Final = 4
"""Block rows of a factor that may be in transit to a worker at one time, in addition to its share."""

COMPILED_BYTES: Final = 50 * 2**20
"""Bytes that the first share adds to an idle worker: compiled code and BLAS buffers (49 MiB measured)."""

EXPECTED_STEPS: Final = 3.0
"""Expected steps of Lanczos on the matrix, in units of sqrt(n) (75 to 110 at n = 700, 302 at n = 12,000)."""

FIRST_STEPS: Final = 24
"""Steps of Lanczos on the matrix if Lanczos on the inverse follows."""

INVERSE_STEPS: Final = 14
"""Expected steps of Lanczos on the inverse (12 to 19 measured)."""

_MANY: Final = 10
"""Block rows per worker from which they are assigned in pairs."""

_SHARPENING: Final = 4
"""Solves and products that sharpen the vector, and a product in double-double."""


def block_length(n: int, workers: int = 1, memory: int = 0) -> int:
    """Return the number of rows per block row of a blocked matrix.

    Parameters
    ----------
    workers : int
        Each gets at least four block rows, if n allows.
    memory : int
        Free bytes of a worker that holds nothing yet; 0 if unknown.

    Examples
    --------
    >>> block_length(4000), block_length(12_000), block_length(40_000), block_length(12_000, 2, 80 * 2**20)
    (256, 512, 1024, 128)
    """
    # Short block rows cost messages, long ones balance and memory: about sqrt(11 n) rows, from 256 to 2048.
    block = 256
    while block * block < 11 * n and block < 2048 and 8 * block * workers <= n:
        block *= 2
    # Block rows in transit may take 60 % of the memory, the rest is for tiles.
    while memory and block > 64 and PANELS * 8 * block * n > 0.6 * memory:
        block //= 2
    return block


def block_rows(n: int, workers: int) -> int:
    """Return the number of block rows."""
    return -(-n // block_length(n, workers))


def assign_block_rows(count: int, workers: int) -> list[list[int]]:
    """Return the indices of the block rows of each worker.

    >>> assign_block_rows(6, 2)
    [[0, 3, 4], [1, 2, 5]]
    """
    # Forwards and backwards in turn (0 1 1 0 0 1): equal shares of the triangle, and of the work at every step.
    shares: list[list[int]] = [[] for _ in range(workers)]
    unit = _unit(count, workers)
    for i in range(count):
        turn, at = divmod(i // unit, workers)
        shares[at if turn % 2 == 0 else workers - 1 - at].append(i)
    return shares


def transfers(count: int, workers: int) -> int:
    """Return the number of transfers between workers in one solve over all block rows, the first included.

    >>> transfers(6, 2), transfers(24, 2), transfers(24, 1)
    (4, 7, 1)
    """
    units = -(-count // _unit(count, workers))
    # Where the direction turns, two units in a row belong to the same worker.
    return units - (-(-units // workers) - 1)


def _unit(count: int, workers: int) -> int:
    # In pairs where there are many: a solve passes from worker to worker half as often, and balance hardly suffers.
    return 2 if count >= _MANY * workers else 1


def tile_bytes(n: int, workers: int, *, single: bool = False) -> int:
    """Return the largest number of bytes of tiles per worker: its part of the lower triangle, and of the factor."""
    return (12 if single else 16) * n * (n + block_length(n, workers)) // 2 // workers


def blocked_bytes(n: int, d: int, block: int) -> int:
    """Return the bytes that a worker needs besides its tiles: data, code, block rows in transit."""
    return 8 * n * d + PANELS * 8 * block * n + 1024 * n + library_bytes(block) + COMPILED_BYTES


def product_seconds(n: int, workers: int) -> float:
    """Return the seconds of one product with a Gram matrix that is distributed over workers of one thread each."""
    return 4.0 * n * n / workers / _BANDWIDTH + workers * _TASK + _ROUND


def factor_seconds(n: int, workers: int, *, single: bool = False) -> float:
    """Return the seconds of one blocked Cholesky factorization: n**3 / 3 operations, n**2 / 2 numbers to every worker.

    Or the time that the scheduler takes for its tasks, two per worker and block row, if that is longer.
    """
    rate, number = (2.0 * _OPERATIONS, 4.0) if single else (_OPERATIONS, 8.0)
    moved = 0.5 * number * n * n * (1.0 - 1.0 / workers)
    tasks = block_rows(n, workers) * 2 * workers
    return max(n**3 / 3.0 / workers / rate + moved / _NETWORK, tasks * _TASK)


def solve_seconds(n: int, workers: int, *, single: bool = False) -> float:
    """Return the seconds of one solve with the factor: the vector passes from one worker to the next and back."""
    hops = 2 * transfers(block_rows(n, workers), workers) - 1
    return (4.0 if single else 8.0) * n * n / _BANDWIDTH + hops * (_TASK + _HOP) + _ROUND


def inverse_is_cheaper(n: int, workers: int) -> bool:
    """Return whether a factor in float32 and Lanczos on its inverse take less time than Lanczos on the matrix.

    >>> inverse_is_cheaper(12_000, 2), inverse_is_cheaper(100_000, 100)
    (True, False)
    """
    inverse = factor_seconds(n, workers, single=True) + INVERSE_STEPS * solve_seconds(n, workers, single=True)
    return inverse < EXPECTED_STEPS * math.sqrt(n) * product_seconds(n, workers)


def blocked_seconds(n: int, d: int, depths: Sequence[int], workers: int, *, certificate: bool = True) -> float:
    """Return the approximate wall time of lambda_min at the given depths of a distributed matrix."""
    entries = 0.5 * n * n / workers
    total = entries * (_SECONDS_COSINE * d + _SECONDS_LAYER)
    for depth in depths:
        total += entries * (_SECONDS_COSINE * d + _SECONDS_LAYER * depth)
        if certificate and inverse_is_cheaper(n, workers):
            total += FIRST_STEPS * product_seconds(n, workers)
            total += factor_seconds(n, workers, single=True)
            total += INVERSE_STEPS * solve_seconds(n, workers, single=True)
        else:
            total += EXPECTED_STEPS * math.sqrt(n) * product_seconds(n, workers)
        if certificate:
            total += factor_seconds(n, workers)
            total += _SHARPENING * (solve_seconds(n, workers) + product_seconds(n, workers))
    return total


def blocked_traffic(n: int, d: int, depths: Sequence[int], workers: int) -> int:
    """Return the bytes that each worker receives: data, vectors, and the block rows of factors from all others."""
    inverse = inverse_is_cheaper(n, workers)
    steps = FIRST_STEPS + 2 * INVERSE_STEPS if inverse else EXPECTED_STEPS * math.sqrt(n)
    factors = (12 if inverse else 8) * 0.5 * n * n * (1.0 - 1.0 / workers)
    return int(8 * n * d + len(set(depths)) * (8 * n * (steps + 3 * _SHARPENING) + factors))
