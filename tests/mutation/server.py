"""Process that has loaded all libraries, and forks a fresh process for each run of pytest.

Libraries take most of the time that a process needs before its first test. The package itself is not loaded here: each
child reads it anew, with or without a mutant. Requests are lines of JSON: arguments of pytest, seconds of processor
time, a file for the output, and variables of the environment. The answer is the exit code, or null if the time was up.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import math
import os
import resource
import signal
import sys
import time
from typing import Any

WAIT = 8
"""Time limit in units of the processor time that is allowed: for a mutant that waits, on a machine with other work."""

# Not the plugins of pytest, whose assertions it rewrites as it loads them.
LIBRARIES = (
    "distributed", "mpmath", "numba", "numpy", "pandas", "pydantic", "scipy.fft", "scipy.integrate", "scipy.linalg",
    "scipy.optimize", "scipy.sparse.linalg", "scipy.special", "scipy.stats", "xarray", "yaml",
)  # fmt: skip


def main() -> None:
    for name in LIBRARIES:
        importlib.import_module(name)
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            _run(request)
        print(json.dumps(_waited(child, request["seconds"])), flush=True)


def _run(request: dict[str, Any]) -> None:
    """Run pytest in this process, and end it."""
    code = 3  # pytest's code for an internal error
    try:
        os.setsid()
        output = os.open(request["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.environ.update(request["environment"])
        resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(request["seconds"]),) * 2)
        import pytest

        code = int(pytest.main(request["arguments"]))
        sys.stdout.flush()
    finally:
        os._exit(code)


def _waited(child: int, seconds: float) -> int | None:
    """Return the exit code of a child; None if its time was up. Whatever it has started ends with it."""
    deadline = time.monotonic() + WAIT * seconds
    code, ended = None, 0
    while time.monotonic() < deadline:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            code = None if code in (-signal.SIGXCPU, -signal.SIGKILL) else code
            break
        time.sleep(0.05)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not ended:
        os.waitpid(child, 0)
    return code


if __name__ == "__main__":
    main()
