"""What tests that look at queues and processes from outside have in common."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any


def squeue(*options: str) -> list[str]:
    """Lines of the queue, `id name state reason nodes`."""
    command = ["squeue", "--noheader", "--format=%A %j %T %r %N", *options]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def wait_until(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.5)
    return found
