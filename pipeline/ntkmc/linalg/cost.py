"""What a trial takes, as pure functions of its sizes: bytes, and a rough number of seconds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ntkmc.linalg.krylov import MOST_INVERSE_STEPS, MOST_STEPS
from ntkmc.linalg.symmetric import KEPT

_BUFFERS: Final = (13 * 2**20, 8 * 640)
"""Bytes a + b n of a BLAS's packed panels and of what the allocator keeps: measured with OpenBLAS on one thread,
n = 1500 ... 8000."""

_SECONDS: Final = (1.5e-4, 7e-9, 1.25e-11)
"""Seconds of one enclosure as a + b n**2 + c n**3: fitted to one thread of a 2.6 GHz server core, n = 16 ... 2000."""

_EVENT: Final = {1: 0.5, 2: 0.85}
"""The event alone, by the number of thresholds, in units of an enclosure."""

_SECONDS_ENTRY: Final = 3e-8
"""Seconds of one layer of the recursion for one pair, and ten random numbers."""


_SECONDS_COSINE: Final = 5e-11
_SECONDS_TILE: Final = 6e-9
"""Seconds of one entry of a tile, for each number of its two rows, and for each layer."""

_BANDWIDTH: Final = 5e9
"""Bytes a second that one worker reads from its memory in a product."""

_OPERATIONS: Final = 5e10
"""Floating-point operations a second of one worker in a factorization, float64."""

_NETWORK: Final = 1e9
"""Bytes a second between two workers."""

_ROUND: Final = 0.006
"""Seconds of one round of messages to all workers and back."""


def trial_bytes(n: int, d: int, depths: Sequence[int], *, thresholds: int = 0, further: float = 0.0) -> int:
    """Peak memory of one trial above an idle worker, in bytes; `lambda_min` on data (n, d) by `auto` takes the same.

    While drawing: the rows twice. Later the unit rows, and the Gram matrix, which the cosines turn into at the last
    depth (a second array before it), and whose one triangle gives way to the factor; the matrix in float32 and the
    basis of Lanczos, unless events alone are decided for one or two `thresholds` (0: lambda_min itself is enclosed);
    one in a great many of them is within rounding, and takes what lambda_min takes. `further` eigenvalue problems,
    which claims may need, are solved one after the other, beside the cosines or from them anew.

    Examples
    --------
    >>> trial_bytes(1000, 100, (3,)) / 2**20
    30.6849365234375
    """
    event_alone = thresholds in _EVENT and not further
    kept = 4 * n * n if 4 * n * n <= KEPT and not event_alone else 0  # left by the trial before: `symmetric.borrowed`
    drawing = 16 * n * d + kept
    matrices = 8 * n * n * (1 if len(set(depths)) == 1 and not further else 2)
    proposal = 0 if event_alone else 4 * n * n + 4 * (MOST_STEPS + MOST_INVERSE_STEPS) * n
    return max(drawing, 8 * n * d + matrices + proposal) + _buffers(n)


def eigenvalue_bytes(n: int, method: str = "auto") -> int:
    """Peak memory of `smallest_eigenvalue` beside its argument, by method.

    One array takes the factor, and the float32 matrix before; an LU (`eigsh`) needs another one.
    """
    return (16 if method == "eigsh" else 8) * n * n + _buffers(n)


def trial_seconds(n: int, d: int, depths: Sequence[int], *, thresholds: int = 0, further: float = 0.0) -> float:
    """Rough wall time of one trial on one core, good to a factor of a few; only ever used to order and to cut work."""
    constant, square, cube = _SECONDS
    each = constant + square * n**2 + cube * n**3
    eigenvalues = (len(depths) * _EVENT.get(thresholds, 1.0) + further) * each
    recursion = 0.5 * n * n * (max(depths) * _SECONDS_ENTRY + 4e-10 * d)
    return eigenvalues + recursion + 0.1 * _SECONDS_ENTRY * 10 * n * d


PANELS: Final = 4
"""Block rows of a factor that may be under way on a worker at a time, beside its share."""

EXPECTED_STEPS: Final = 3.0
"""Steps in units of sqrt(n) that Lanczos on the matrix takes (75 to 110 at n = 700, 302 at n = 12,000, seen)."""

FIRST_STEPS: Final = 24
"""Steps of Lanczos where a factor and its inverse do the rest."""

INVERSE_STEPS: Final = 14
"""Steps of Lanczos on the inverse that are reckoned with (12 to 19 seen)."""

_SHARPENING: Final = 4  # solves and products that sharpen the vector, and a product in double-double


def block_length(n: int, room: int = 0) -> int:
    """Rows of a block row of a blocked matrix: more of them cost messages, larger ones balance and memory.

    Parameters
    ----------
    room : int
        Bytes that a worker has beside what it holds idle; 0 if that is not known.

    Examples
    --------
    >>> block_length(4000), block_length(12_000), block_length(40_000), block_length(12_000, 80 * 2**20)
    (256, 512, 1024, 128)
    """
    block = 256
    while block * 40 < n and block < 2048:
        block *= 2
    while room and block > 64 and PANELS * 8 * block * n > 0.6 * room:
        block //= 2
    return block


def tile_bytes(n: int, workers: int, *, single: bool = False) -> int:
    """Bytes of tiles that each worker holds at most: its part of the lower triangle, and of a factor's."""
    return (12 if single else 16) * n * (n + block_length(n)) // 2 // workers


def blocked_bytes(n: int, d: int, block: int) -> int:
    """Memory that a worker needs beside its tiles, which may lie on its disk: the data, block rows on their way."""
    return 8 * n * d + PANELS * 8 * block * n + 1024 * n + _buffers(block)


def product_seconds(n: int, workers: int) -> float:
    """Seconds of one product with a Gram matrix whose lower triangle is blocked over workers of one thread each."""
    return 4.0 * n * n / workers / _BANDWIDTH + _ROUND


def factor_seconds(n: int, workers: int, *, single: bool = False) -> float:
    """Seconds of one blocked Cholesky: n**3 / 3 operations, and n**2 / 2 numbers to every worker."""
    rate, number = (2.0 * _OPERATIONS, 4.0) if single else (_OPERATIONS, 8.0)
    moved = 0.5 * number * n * n * (1.0 - 1.0 / workers)
    return n**3 / 3.0 / workers / rate + moved / _NETWORK + 48 * _ROUND


def solve_seconds(n: int, workers: int, *, single: bool = False) -> float:
    """Seconds of one solve with its factor: all numbers twice, one worker after the other."""
    return (4.0 if single else 8.0) * n * n / _BANDWIDTH + (48 * _ROUND if workers > 1 else _ROUND)


def by_inverse(n: int, workers: int) -> bool:
    """Whether a factor in float32 and Lanczos on its inverse cost less than Lanczos on the matrix.

    >>> by_inverse(12_000, 2), by_inverse(100_000, 100)
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
        if by_inverse(n, workers):
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
    inverse = by_inverse(n, workers)
    steps = FIRST_STEPS + 2 * INVERSE_STEPS if inverse else EXPECTED_STEPS * math.sqrt(n)
    factors = (12 if inverse else 8) * 0.5 * n * n * (1.0 - 1.0 / workers)
    return int(8 * n * d + len(set(depths)) * (8 * n * (steps + 3 * _SHARPENING) + factors))


def _buffers(n: int) -> int:
    constant, each = _BUFFERS
    return constant + each * n
