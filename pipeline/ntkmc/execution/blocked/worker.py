"""On a worker: a share of a Gram matrix is opened, kept within the worker's memory, and asked one step at a time.

A share is not Dask's to spill: it writes tiles to disk by itself, by a limit that is measured when it is opened. Nor
does it help to pause a worker that holds one. Pausing stops new tasks until memory is free again, but what fills the
memory of such a worker are block rows on their way, which go when the tasks that wait for them have run: it would
stand still forever. So no worker pauses while it holds a share; that its nanny ends it at 95 % stays as it is.
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
"""Share of a worker's memory limit up to which tiles are kept in memory: from 0.7 on Dask looks for what to spill."""

USABLE: Final = 0.85
"""Share that all may take together: at 0.95 a nanny ends its worker, and some of the rest is the allocator's."""

_TRIED: Final = 64  # rows, and numbers in them, of the matrix that is tried out first

_lock: Final = threading.RLock()  # again: garbage that is collected meanwhile may be a share
_pausing: Final[dict[WorkerMemoryManager, list[Any]]] = {}  # number of shares, and where it pauses without any


def open_share(rows: Rows, kernel: str, block: int, mine: tuple[int, ...], single: bool) -> BlockRows:
    """A share without tiles yet; called in a task.

    Parameters
    ----------
    rows, kernel, block, mine, single
        As of `ntkmc.linalg.blocked.block_rows.BlockRows`.
    """
    worker = get_worker()
    manager = worker.memory_manager
    limit = manager.memory_limit or psutil.virtual_memory().total // 2
    folder = worker.local_directory
    with single_thread():
        _tried(kernel, single, folder)
    used = psutil.Process().memory_info().rss
    room = min(FILLED * limit, USABLE * limit - PANELS * 8 * block * len(rows.norms)) - used
    for name in ("distributed.spill", "distributed.protocol.pickle"):
        logger = logging.getLogger(name)
        if not any(isinstance(each, _NoShares) for each in logger.filters):
            logger.addFilter(_NoShares())
    shelf = BlockRows(rows, kernel, block, mine, max(0, int(room)), folder, single=single)
    _go_on(manager)
    weakref.finalize(shelf, _may_pause, manager).atexit = False
    return shelf


def asked(shelf: BlockRows, name: str, count: int, *arguments: Any) -> Any:
    """One step of a share; what stands behind the first `count` arguments only had to be done before."""
    with single_thread():
        return getattr(shelf, name)(*arguments[:count])


@cache
def _tried(kernel: str, single: bool, folder: str) -> None:
    """Once in a process, all steps of a small matrix: what they load is there then, and counted, before room is."""
    rows = split_rows(np.random.default_rng(0).standard_normal((2 * _TRIED, _TRIED)))
    shelf = BlockRows(rows, kernel, _TRIED, (0, 1), 0, folder, single=single)
    shelf.pair_sums()
    shelf.build(2)
    shelf.survey()
    v = np.ones(2 * _TRIED)
    for step in (shelf.product, shelf.precondition):
        step(v[:, None])
    shelf.exact_product(v)
    diagonal = 2.0 * gram_diagonal(rows, kernel, 2)  # safely positive definite
    for number, half in enumerate((True, False), 1):
        shelf.begin(Shifted(number, diagonal, v, 1.0, half))
        shelf.column(number, shelf.finished_row(number, 0), 0)
        shelf.finished_row(number, 1)
        shelf.backward((0, 1), shelf.forward((0, 1), v))
    shelf.close()


def _go_on(manager: WorkerMemoryManager) -> None:
    with _lock:
        if manager.memory_pause_fraction is False:
            return
        _pausing.setdefault(manager, [0, manager.memory_pause_fraction])[0] += 1
        # Not False: Dask would not look any more whether a worker that it has paused already may go on.
        manager.memory_pause_fraction = 1.0


def _may_pause(manager: WorkerMemoryManager) -> None:
    with _lock:
        if manager not in _pausing:
            return
        _pausing[manager][0] -= 1
        if _pausing[manager][0] == 0:
            manager.memory_pause_fraction = _pausing.pop(manager)[1]


class _NoShares(logging.Filter):
    """Suppress distributed's "cannot spill" warnings: shares manage their own spilling."""

    def filter(self, record: logging.LogRecord) -> bool:
        return not any(name in record.getMessage() for name in ("tiles-share", BlockRows.__module__))
