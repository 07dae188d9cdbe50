"""Ctrl-C as a request that the driver looks for, not as an exception that appears anywhere."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)

_ONE_REQUEST: Final = 10.0
"""Seconds in which several SIGTERM are one request: a batch system's reaches a job's processes directly, and again by
way of its script."""


@dataclass
class Interruption:
    """Whether somebody asked to stop."""

    requested: bool = False
    since: float = 0.0


@contextmanager
def deferred_signals() -> Iterator[Interruption]:
    """Context in which the first SIGINT or SIGTERM is only noted, and a second one acts as it did before.

    Python raises KeyboardInterrupt wherever the main thread happens to be, also halfway through a write, or inside a
    library's callback that ignores all errors: there it was seen to vanish, once in several hundred runs. A signal
    whose action is the system's own, or that is ignored, is left alone, and so is everything outside the main thread.
    """
    found = Interruption()
    if threading.current_thread() is not threading.main_thread():
        yield found
        return
    before = {number: action for number in _SIGNALS if callable(action := signal.getsignal(number))}

    def note(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if found.requested and (number != signal.SIGTERM or now - found.since > _ONE_REQUEST):
            before[signal.Signals(number)](number, frame)
        elif not found.requested:
            found.requested, found.since = True, now

    for number in before:
        signal.signal(number, note)
    try:
        yield found
    finally:
        for number, action in before.items():
            signal.signal(number, action)
