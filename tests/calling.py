"""`ntkmc arguments ...` in this process, as the console script calls it."""

from __future__ import annotations

import signal
import sys

import pytest

from ntkmc.cli import main


def called(monkeypatch: pytest.MonkeyPatch, *words: object) -> int:
    """Exit code of a command."""
    monkeypatch.setattr(sys, "argv", ["ntkmc", *map(str, words)])
    monkeypatch.setenv("COLUMNS", "80")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended:
        main()
    signal.signal(signal.SIGTERM, before)
    assert ended.value.code is None or isinstance(ended.value.code, int)
    return ended.value.code or 0
