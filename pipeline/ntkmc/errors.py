"""Exceptions of ntkmc. Their messages state what is wrong, where, and what would be valid.

Every error that a user can cause derives from `NtkmcError`. The command line prints its one-line message and exits
with code 2, so a message must be understandable without a traceback.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class NtkmcError(Exception):
    """Base of every error that ntkmc raises on purpose."""


class InputError(NtkmcError, ValueError):
    """An argument, a study file or a data file is not usable as it is."""


class StoreError(NtkmcError, RuntimeError):
    """A results store is missing, foreign, damaged or in use, or belongs to another study."""


class ExecutionError(NtkmcError, RuntimeError):
    """The cluster could not be started, or was lost."""


def did_you_mean(word: str, valid: Iterable[str]) -> str:
    """Return the end of an error message: the nearest valid word, and all valid words.

    >>> did_you_mean("spere", ["sphere", "gaussian"])
    "did you mean 'sphere'? valid: gaussian, sphere"
    """
    names = sorted(valid)
    near = difflib.get_close_matches(word, names, n=1)  # at difflib's cutoff, 0.6, a hint is rarely wrong
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"{hint}valid: {', '.join(names)}"
