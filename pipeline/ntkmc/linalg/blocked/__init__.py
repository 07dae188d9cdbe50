"""Gram matrices that no single process holds: tiles in memory and on disk, block rows of one worker, the solver that
works on all of them, and a model of the cost. Nothing here depends on Dask; `ntkmc.execution.blocked` carries the
messages.

May import `gram` and `eigen`.
"""

from ntkmc.linalg.blocked.cost import blocked_bytes, blocked_seconds, blocked_traffic
from ntkmc.linalg.blocked.solver import enclose_blocked
from ntkmc.linalg.blocked.tiles import EntrySums, PairSums

__all__ = [
    "EntrySums",
    "PairSums",
    "blocked_bytes",
    "blocked_seconds",
    "blocked_traffic",
    "enclose_blocked",
]
