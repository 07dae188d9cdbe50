"""Rate of a run and time left, for the terminal, the Study page and `ntkmc status`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

WINDOW: Final = 120.0
"""Seconds that the rate is taken over, if enough was finished in them."""

STEPS: Final = 20
"""Steps that the window holds at least, however long they took."""

_RESOLUTION: Final = 1.0  # seconds; whatever is finished within one of them is one step


class RateEstimator:
    """Mean rate over a moving window.

    The window begins at the first sample of the last `WINDOW` seconds, or `STEPS` samples ago, whichever is earlier.
    The rate is the amount that was finished since then over the time since then: every second has the same weight,
    so that neither the size of blocks nor several that finish at once matter. Two minutes are long enough to average
    over blocks of about a second, and short enough to follow workers that come and go. The least number of steps
    keeps the estimate steady where a single trial takes minutes.

    Time that passes after the last sample counts as soon as it exceeds the mean time between the samples: the rate is
    constant while a run is steady, and falls toward zero while nothing is finished. After a pause, `STEPS` samples
    suffice to forget it.

    All times are the caller's, in seconds: of one monotonic clock in one process, or wall times where the samples were
    written by another process. If the clock was set back, the estimate starts anew.

    Parameters
    ----------
    samples : iterable of (float, float)
        Earlier samples: times, and total amounts finished by then.

    Attributes
    ----------
    samples : list of (float, float)
        Those in the window. The first one is the origin: what a resumed run had finished before is not of its rate.

    Examples
    --------
    >>> estimator = RateEstimator([(0.0, 500.0)])
    >>> estimator.rate(1.0)
    0.0
    >>> for second in range(1, 11):
    ...     estimator.add(second, 500.0 + 30.0 * second)
    >>> estimator.rate(10.5), estimator.rate(31.0)
    (30.0, 10.0)
    """

    def __init__(self, samples: Iterable[tuple[float, float]] = ()) -> None:
        self.samples: list[tuple[float, float]] = []
        for time, done in samples:
            self.add(time, done)

    def add(self, time: float, done: float) -> None:
        """Add a sample: the total amount finished at a time. An unchanged amount adds nothing."""
        if self.samples and time < self.samples[-1][0]:
            self.samples = []
        if self.samples and done == self.samples[-1][1]:
            return
        # The origin is never merged with a later sample: what was finished in the first second counts.
        if len(self.samples) > 1 and time // _RESOLUTION == self.samples[-1][0] // _RESOLUTION:
            self.samples[-1] = time, done
        else:
            self.samples = [*self._window(time), (time, done)]

    def rate(self, now: float) -> float:
        """Return the amount per second; 0 before anything is finished."""
        window = self._window(now)
        if len(window) < 2:
            return 0.0
        (start, before), (last, done) = window[0], window[-1]
        # Between two samples the rate must not sag: only a silence longer than usual is evidence of a slower run.
        usual = (last - start) / (len(window) - 1)
        elapsed = max(last, now - usual) - start
        return max(done - before, 0.0) / elapsed if elapsed > 0.0 else 0.0

    def _window(self, now: float) -> list[tuple[float, float]]:
        recent = sum(time >= now - WINDOW for time, _ in self.samples)
        return self.samples[-max(recent, STEPS + 1) :]


def seconds_left(amount: float, rate: float) -> float | None:
    """Return the time that an amount takes at a rate; None if that is unknown because the rate is 0.

    >>> seconds_left(300.0, 2.0), seconds_left(0.0, 0.0), seconds_left(300.0, 0.0)
    (150.0, 0.0, None)
    """
    if amount <= 0.0:
        return 0.0
    return amount / rate if rate > 0.0 else None


def format_rate(rate: float) -> str:
    """Return a rate with all digits before the decimal point, or two significant ones if it is below 10.

    >>> format_rate(12345.6), format_rate(0.0512), format_rate(0.0)
    ('12,346', '0.051', '0')
    """
    return f"{rate:,.0f}" if rate >= 10.0 else f"{rate:.2g}"
