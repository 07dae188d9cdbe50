"""Ctrl-C as a request that the driver looks for, not as an exception that appears anywhere."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


@dataclass
class Interruption:
    """Whether somebody asked to stop."""

    requested: bool = False


@contextmanager
def noticed() -> Iterator[Interruption]:
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
        if found.requested:
            before[signal.Signals(number)](number, frame)
        found.requested = True

    for number in before:
        signal.signal(number, note)
    try:
        yield found
    finally:
        for number, action in before.items():
            signal.signal(number, action)
