"""Timing side by side: contestants take turns, ratios are taken turn by turn, and a drifting machine cancels."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping

Contestant = Callable[[], object] | tuple[Callable[[], object], Callable[[], object]]
"""What is timed; as a pair, what prepares it without being timed stands first."""

Contestants = Mapping[str, Contestant]


def interleaved(contestants: Contestants, rounds: int) -> dict[str, list[float]]:
    """Seconds of each contestant in each round, after one warm-up round."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(rounds + 1):
        for name, contestant in contestants.items():
            if isinstance(contestant, tuple):
                contestant[0]()
            function = contestant[1] if isinstance(contestant, tuple) else contestant
            start = time.perf_counter()
            function()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Mapping[str, list[float]], name: str, base: str) -> float:
    """Median over rounds of the time of `name` in units of `base`."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[base], strict=True))
