"""Durations and sizes as text: parsers for profiles, formats for messages."""

from __future__ import annotations

import re
from contextlib import suppress
from typing import Any, Final

from dask.utils import parse_bytes, parse_timedelta

_ABBREVIATIONS: Final = {"sec": "s", "secs": "s", "min": "m", "mins": "m"}
"""Units that batch systems use and `dask.utils.parse_timedelta` does not have."""


def parse_duration(text: Any) -> int:
    """Convert `HH:MM:SS`, `D-HH:MM:SS`, `90 min`, `12h` or a number of seconds to seconds.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> parse_duration("01:30:00"), parse_duration("2-00:00:00"), parse_duration("15 min"), parse_duration(40)
    (5400, 172800, 900, 40)
    """
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    if isinstance(text, str):
        if clock := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?", text.strip()):
            days, hours, minutes, seconds = (int(part or 0) for part in clock.groups())
            return ((days * 24 + hours) * 60 + minutes) * 60 + seconds
        if match := re.fullmatch(r"(\d+)\s*([a-z]+)", text.strip()):
            number, unit = match.groups()
            with suppress(KeyError, OverflowError):
                duration = parse_timedelta(number + _ABBREVIATIONS.get(unit, unit))
                if isinstance(duration, int) and duration > 0:
                    return duration
    raise ValueError(f"should be a duration such as '01:30:00' or '15 min', got {text!r}")


def parse_size(text: Any) -> int:
    """Convert `4GiB`, `500 MB` or a number of bytes to bytes; ValueError if it is none of these.

    Examples
    --------
    >>> parse_size("2GiB")
    2147483648
    """
    try:
        return int(parse_bytes(text))
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"should be a size such as '4GiB', got {text!r}") from None


def format_duration(seconds: float) -> str:
    """Format a duration with its two largest units, from seconds to hours.

    Examples
    --------
    >>> format_duration(75.2), format_duration(8000), format_duration(900)
    ('1 min 15 s', '2 h 13 min', '15 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        (large, small), units = divmod(whole, 60), ("min", "s")
    else:  # not split into days, since walltimes are written in hours too
        (large, small), units = divmod(whole // 60, 60), ("h", "min")
    return f"{large} {units[0]}" + (f" {small} {units[1]}" if small else "")


def format_clock(seconds: int) -> str:
    """Format a duration as HH:MM:SS, with as many hours as it takes.

    Examples
    --------
    >>> format_clock(93784)
    '26:03:04'
    """
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
