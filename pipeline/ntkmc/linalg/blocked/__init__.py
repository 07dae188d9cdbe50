"""Gram matrices that no single process holds: tiles in memory and on disk, the block rows of one worker, the solver
that combines them, and a cost model. Nothing here depends on Dask; `ntkmc.execution.blocked` transports the messages.

May import `gram` and `eigen`.
"""

from ntkmc.linalg.blocked.cost import blocked_bytes, blocked_seconds, blocked_traffic
from ntkmc.linalg.blocked.solver import enclose_blocked
from ntkmc.linalg.blocked.tiles import EntrySums

__all__ = [
    "EntrySums",
    "blocked_bytes",
    "blocked_seconds",
    "blocked_traffic",
    "enclose_blocked",
]
