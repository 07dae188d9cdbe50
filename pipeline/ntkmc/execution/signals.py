"""Interrupts as a flag that the driver polls, instead of an exception that may be raised anywhere."""

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
"""Seconds within which several SIGTERM count as one request: a batch system sends it to the processes of a job and to
its script, which passes it on."""


@dataclass
class Interruption:
    """Request to stop: whether there is one, and the time of the first signal (`time.monotonic`)."""

    requested: bool = False
    since: float = 0.0


@contextmanager
def deferred_signals() -> Iterator[Interruption]:
    """Record the first SIGINT or SIGTERM instead of acting on it; a second one acts as before.

    Python raises KeyboardInterrupt wherever the main thread happens to be: halfway through a write, or inside a
    library's callback that suppresses all exceptions. There the request was lost once in several hundred runs. Signals
    with the system's default action and ignored signals are left alone, and so is every other thread.
    """
    interruption = Interruption()
    # Python sets handlers in the main thread only.
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return
    before = {number: action for number in _SIGNALS if callable(action := signal.getsignal(number))}

    def handle(number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if interruption.requested and (number != signal.SIGTERM or now - interruption.since > _ONE_REQUEST):
            before[signal.Signals(number)](number, frame)
        elif not interruption.requested:
            interruption.requested, interruption.since = True, now

    for number in before:
        signal.signal(number, handle)
    try:
        yield interruption
    finally:
        for number, action in before.items():
            signal.signal(number, action)
