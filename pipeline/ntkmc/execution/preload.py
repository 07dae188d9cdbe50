"""Loaded into every worker process before it works: Ctrl-C is the driver's business.

A terminal sends SIGINT to the whole process group. Were a worker to take it, it would die with a traceback of its own
beside the driver, which is just about to end the run in an orderly way. For the same reason the warnings about
cancelled tasks, which an interrupted run produces by design, are not printed.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Dask's hook. A worker that lives in the user's own process (`processes=False`) is left alone."""
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)
