"""Tasks on a worker that holds a share (block rows) of a Gram matrix: open the share, and run one step of it.

Dask must not spill a share. It writes tiles to disk itself, by a limit that is measured when it is opened.

Dask must not pause a worker with a share either. Pausing stops new tasks until memory is free, but the memory of such
a worker is full of block rows in transit, which are freed only by the tasks that wait for them: the worker would stay
paused forever. So pausing is disabled while a worker holds a share. Its nanny still kills it at 95 % of the limit.
"""

from __future__ import annotations

import logging
import threading
import weakref
from functools import cache
from typing import Any, Final

import numpy as np
import psutil
from distributed import get_worker
from distributed.worker_memory import WorkerMemoryManager

from ntkmc.experiment.trial.run import single_thread
from ntkmc.linalg.blocked.block_rows import BlockRows, Shifted
from ntkmc.linalg.blocked.cost import PANELS
from ntkmc.linalg.blocked.tiles import gram_diagonal
from ntkmc.linalg.eigen import Rows, split_rows

FILLED: Final = 0.6
"""Fraction of a worker's memory limit that may be filled with tiles. From 0.7 on Dask tries to spill."""

USABLE: Final = 0.85
"""Fraction for tiles and all else: a nanny kills its worker at 0.95, and the allocator needs some of the rest."""

_WARM_UP_ROWS: Final = 64  # per block row, and numbers per row, of the matrix of `warm_up`

# Reentrant: while the lock is held, the garbage collector may finalize another share in the same thread.
_lock: Final = threading.RLock()
_pausing: Final[dict[WorkerMemoryManager, list[Any]]] = {}  # number of shares, and the original pause fraction
_finalizers: Final[weakref.WeakKeyDictionary[BlockRows, weakref.finalize[..., Any]]] = weakref.WeakKeyDictionary()


def open_share(rows: Rows, kernel: str, block: int, indices: tuple[int, ...], single: bool) -> BlockRows:
    """Create a share without tiles, in a task of its worker.

    Parameters
    ----------
    rows, kernel, block, indices, single
        As in `ntkmc.linalg.blocked.block_rows.BlockRows`.
    """
    worker = get_worker()
    manager = worker.memory_manager
    limit = manager.memory_limit or psutil.virtual_memory().total // 2
    folder = worker.local_directory
    # Compiled code is loaded before memory is measured, so that all the rest is free for tiles.
    with single_thread():
        warm_up(kernel, single, folder)
    used = psutil.Process().memory_info().rss
    room = min(FILLED * limit, USABLE * limit - PANELS * 8 * block * len(rows.norms)) - used
    for name in ("distributed.spill", "distributed.protocol.pickle"):
        logger = logging.getLogger(name)
        if not any(isinstance(other, _ShareFilter) for other in logger.filters):
            logger.addFilter(_ShareFilter())
    share = BlockRows(rows, kernel, block, indices, max(0, int(room)), folder, single=single)
    _disable_pausing(manager)
    # When the share is closed, or Dask drops it. Not at exit: there is nothing left to pause.
    _finalizers[share] = weakref.finalize(share, _restore_pausing, manager)
    _finalizers[share].atexit = False
    return share


def call_share(share: BlockRows, name: str, count: int, *arguments: Any) -> Any:
    """Call a method of a share with the first `count` arguments; the others are only dependencies of the task."""
    with single_thread():
        result = getattr(share, name)(*arguments[:count])
    if name == "close" and share in _finalizers:
        # A reference cycle may keep a closed share until the garbage collector runs, minutes later on an idle worker.
        _finalizers[share]()
    return result


@cache
def warm_up(kernel: str, single: bool, folder: str) -> None:
    """Run all steps on a small matrix, once per process, so that everything they compile or load is in memory."""
    size = _WARM_UP_ROWS
    rows = split_rows(np.random.default_rng(0).standard_normal((2 * size, size)))
    share = BlockRows(rows, kernel, size, (0, 1), 0, folder, single=single)
    share.pair_sums()
    share.build(2)
    share.entry_sums()
    v = np.ones(2 * size)
    for step in (share.product, share.precondition):
        step(v[:, None])
    share.exact_product(v)
    diagonal = 2.0 * gram_diagonal(rows, kernel, 2)  # safely positive definite
    for number, half in enumerate((True, False), 1):
        share.start_factor(Shifted(number, diagonal, v, 1.0, half))
        share.compute_column(number, share.finish_row(number, 0), 0)
        share.finish_row(number, 1)
        share.solve_backward((0, 1), share.solve_forward((0, 1), v))
    share.close()


def _disable_pausing(manager: WorkerMemoryManager) -> None:
    with _lock:
        if manager.memory_pause_fraction is False:  # disabled by configuration
            return
        _pausing.setdefault(manager, [0, manager.memory_pause_fraction])[0] += 1
        # 1.0 instead of False: with False, Dask would never unpause a worker that is paused already.
        manager.memory_pause_fraction = 1.0


def _restore_pausing(manager: WorkerMemoryManager) -> None:
    with _lock:
        if manager not in _pausing:
            return
        _pausing[manager][0] -= 1
        if _pausing[manager][0] == 0:
            manager.memory_pause_fraction = _pausing.pop(manager)[1]


class _ShareFilter(logging.Filter):
    """Suppress distributed's "cannot spill" warnings: shares manage their own spilling."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(name in record.getMessage() for name in ("tiles-share", BlockRows.__module__))
