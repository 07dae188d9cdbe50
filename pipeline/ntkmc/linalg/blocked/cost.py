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
_SECONDS_TILE: Final = 6e-9
"""Seconds of one entry of a tile, for each number of its two rows, and for each layer."""

_BANDWIDTH: Final = 1e10
"""Bytes per second that one worker reads from its memory in a product."""

_OPERATIONS: Final = 4e10
"""Floating-point operations per second of one worker in a factorization, float64."""

_NETWORK: Final = 5e8
"""Bytes per second between two workers that compute meanwhile."""

_TASK: Final = 0.002
"""Seconds of the scheduler for one task: five hundred a second."""

_ROUND: Final = 0.011
"""Seconds from the driver to a worker and back, beside that."""

_HOP: Final = 0.0045
"""Seconds from one worker to the next, beside that."""

PANELS: Final = 4
"""Block rows of a factor that may be under way on a worker at a time, beside its share."""

COMPILED_BYTES: Final = 50 * 2**20
"""Bytes that the first share adds to an idle worker: compiled code and first BLAS buffers (49 MiB measured)."""

EXPECTED_STEPS: Final = 3.0
"""Steps in units of sqrt(n) that Lanczos on the matrix takes (75 to 110 at n = 700, 302 at n = 12,000, seen)."""

FIRST_STEPS: Final = 24
"""Steps of Lanczos where a factor and its inverse do the rest."""

INVERSE_STEPS: Final = 14
"""Steps of Lanczos on the inverse that are reckoned with (12 to 19 seen)."""

_MANY: Final = 10
"""Block rows for each worker from which on they are assign_block_rows in pairs."""

_SHARPENING: Final = 4  # solves and products that sharpen the vector, and a product in double-double


def block_length(n: int, workers: int = 1, room: int = 0) -> int:
    """Rows of a block row of a blocked matrix: more of them cost messages, larger ones balance and memory.

    Parameters
    ----------
    workers : int
        Each gets four block rows at least, if n allows.
    room : int
        Bytes that a worker has beside what it holds idle; 0 if that is not known.

    Examples
    --------
    >>> block_length(4000), block_length(12_000), block_length(40_000), block_length(12_000, 2, 80 * 2**20)
    (256, 512, 1024, 128)
    """
    block = 256
    while block * block < 11 * n and block < 2048 and 8 * block * workers <= n:
        block *= 2
    while room and block > 64 and PANELS * 8 * block * n > 0.6 * room:
        block //= 2
    return block


def block_rows(n: int, workers: int) -> int:
    """Number of block rows."""
    return -(-n // block_length(n, workers))


def assign_block_rows(count: int, workers: int) -> list[list[int]]:
    """Block rows for each worker, there and back again: equal shares of a triangle, and of the work at every step.

    Two at a time where there are many: a solve passes from worker to worker half as often, and balance hardly suffers.

    >>> assign_block_rows(6, 2)
    [[0, 3, 4], [1, 2, 5]]
    """
    hands: list[list[int]] = [[] for _ in range(workers)]
    unit = _unit(count, workers)
    for i in range(count):
        turn, at = divmod(i // unit, workers)
        hands[at if turn % 2 == 0 else workers - 1 - at].append(i)
    return hands


def passes(count: int, workers: int) -> int:
    """Return the number of transfers between workers in one solve over all block rows, the first included.

    >>> passes(6, 2), passes(24, 2), passes(24, 1)
    (4, 7, 1)
    """
    units = -(-count // _unit(count, workers))
    return units - (-(-units // workers) - 1)  # at each turn a hand keeps what it has


def _unit(count: int, workers: int) -> int:
    return 2 if count >= _MANY * workers else 1


def tile_bytes(n: int, workers: int, *, single: bool = False) -> int:
    """Bytes of tiles that each worker holds at most: its part of the lower triangle, and of a factor's."""
    return (12 if single else 16) * n * (n + block_length(n, workers)) // 2 // workers


def blocked_bytes(n: int, d: int, block: int) -> int:
    """Memory that a worker needs beside its tiles, which may lie on its disk: data, code, block rows on their way."""
    return 8 * n * d + PANELS * 8 * block * n + 1024 * n + library_bytes(block) + COMPILED_BYTES


def product_seconds(n: int, workers: int) -> float:
    """Seconds of one product with a Gram matrix whose lower triangle is blocked over workers of one thread each."""
    return 4.0 * n * n / workers / _BANDWIDTH + workers * _TASK + _ROUND


def factor_seconds(n: int, workers: int, *, single: bool = False) -> float:
    """Seconds of one blocked Cholesky: n**3 / 3 operations, and n**2 / 2 numbers to every worker.

    Or what the scheduler takes for its tasks, two for each worker and block row, which runs beside that.
    """
    rate, number = (2.0 * _OPERATIONS, 4.0) if single else (_OPERATIONS, 8.0)
    moved = 0.5 * number * n * n * (1.0 - 1.0 / workers)
    tasks = block_rows(n, workers) * 2 * workers
    return max(n**3 / 3.0 / workers / rate + moved / _NETWORK, tasks * _TASK)


def solve_seconds(n: int, workers: int, *, single: bool = False) -> float:
    """Seconds of one solve with its factor: all numbers twice, passed from one worker to the next and back."""
    hops = 2 * passes(block_rows(n, workers), workers) - 1
    return (4.0 if single else 8.0) * n * n / _BANDWIDTH + hops * (_TASK + _HOP) + _ROUND


def inverse_is_cheaper(n: int, workers: int) -> bool:
    """Whether a factor in float32 and Lanczos on its inverse cost less than Lanczos on the matrix.

    >>> inverse_is_cheaper(12_000, 2), inverse_is_cheaper(100_000, 100)
    (True, False)
    """
    other = factor_seconds(n, workers, single=True) + INVERSE_STEPS * solve_seconds(n, workers, single=True)
    return other < EXPECTED_STEPS * math.sqrt(n) * product_seconds(n, workers)


def blocked_seconds(n: int, d: int, depths: Sequence[int], workers: int, *, certificate: bool = True) -> float:
    """Rough wall time of lambda_min at some depths of a matrix that is blocked over workers."""
    entries = 0.5 * n * n / workers
    total = entries * (_SECONDS_COSINE * d + _SECONDS_TILE)
    for depth in depths:
        total += entries * (_SECONDS_COSINE * d + _SECONDS_TILE * depth)
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
    """Bytes that each worker receives meanwhile: the data, vectors, and the factors' block rows of all others."""
    inverse = inverse_is_cheaper(n, workers)
    steps = FIRST_STEPS + 2 * INVERSE_STEPS if inverse else EXPECTED_STEPS * math.sqrt(n)
    factors = (12 if inverse else 8) * 0.5 * n * n * (1.0 - 1.0 / workers)
    return int(8 * n * d + len(set(depths)) * (8 * n * (steps + 3 * _SHARPENING) + factors))
