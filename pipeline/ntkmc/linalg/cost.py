"""What a trial takes, as pure functions of its sizes: bytes, and a rough number of seconds."""

from __future__ import annotations

from typing import Final

_SECONDS: Final = (1.5e-4, 1.2e-8, 6e-11)
"""Seconds of one depth as a + b n**2 + c n**3: fitted to one thread of a 2.6 GHz server core, n = 16 ... 2000."""

_SECONDS_ENTRY: Final = 3e-8
"""Seconds of one layer of the recursion for one pair, and ten random numbers."""


def trial_bytes(n: int, d: int) -> int:
    """Peak memory of one trial above an idle worker, in bytes.

    The draw, its unit rows and a temporary of normalization (3 n d), the recursion's state, the Gram matrix, and
    during the certificate the factor and LAPACK's work (5 n**2 in all).

    Examples
    --------
    >>> trial_bytes(1000, 100)
    42400000
    """
    return 8 * (5 * n * n + 3 * n * d)


def trial_seconds(n: int, d: int, depths: tuple[int, ...]) -> float:
    """Rough wall time of one trial on one core, good to a factor of a few; only ever used to order and to cut work."""
    constant, square, cube = _SECONDS
    eigenvalues = len(depths) * (constant + square * n**2 + cube * n**3)
    recursion = 0.5 * n * n * (max(depths) * _SECONDS_ENTRY + 4e-10 * d)
    return eigenvalues + recursion + 0.1 * _SECONDS_ENTRY * 10 * n * d


def store_bytes(trials: int, depths: int) -> int:
    """Disk for the trials of one cell, uncompressed: five numbers and a status a depth, three numbers a draw."""
    return trials * (depths * (5 * 8 + 1) + 3 * 8)
