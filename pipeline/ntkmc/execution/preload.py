"""Preload script of worker processes: they ignore Ctrl-C, which is handled by the driver.

A terminal sends SIGINT to the whole process group. A worker that reacted would die with a traceback while the driver
ends the run in order. Warnings about cancelled tasks are suppressed, because an interrupted run cancels tasks.
"""

from __future__ import annotations

import logging
import multiprocessing
import signal
import threading
from typing import Any


def dask_setup(worker: Any) -> None:
    """Configure a worker process; called by Dask. In the user's own process (`processes=False`) do nothing."""
    if multiprocessing.parent_process() is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        logging.getLogger("distributed.worker.state_machine").setLevel(logging.ERROR)
