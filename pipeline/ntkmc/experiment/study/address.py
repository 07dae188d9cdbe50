"""Addresses of random draws, and the random generators that they seed.

An address is the spawn key `(layout, purpose, h0, h1, h2, h3, d, n, trial, replicate)` of a NumPy seed sequence: ten
words below 2**32. The number of words never changes. NumPy flattens a spawn key into 32-bit words, so a larger word or
another number of words could collide with another address.

An address consists of values, not of positions in a list. A draw is therefore the same after the grid has grown, lists
have been reordered, or blocks have been cut elsewhere.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Final

import numpy as np

from ntkmc.errors import InputError

LAYOUT: Final = 1
"""Version of the layout of addresses."""

_WORD: Final = 2**32


class Purpose(IntEnum):
    """Purpose of a stream of random numbers."""

    DATA = 0
    NETWORK = 1
    LABELS = 2
    SKETCH = 3
    SPLITTING = 4
    SOLVER_START = 5


def spawn_key(
    label: str, d: int, n: int, trial: int, purpose: Purpose = Purpose.DATA, replicate: int = 0
) -> tuple[int, ...]:
    """Return the ten words of an address.

    Parameters
    ----------
    label : str
        Canonical distribution label, such as `student-t(df=3)`. It enters as the four words of its BLAKE2b-128 hash.
    d, n, trial, replicate : int
        Non-negative, below 2**32. In nested studies n is 0, so that all n share their first rows. `replicate` is the
        width of a network or the number of features of a sketch. Replicates are independent of each other, and none
        depends on which others are drawn.

    Raises
    ------
    InputError
        If a word is not in [0, 2**32).

    Examples
    --------
    >>> spawn_key("sphere", 32, 16, 0)[-4:]
    (32, 16, 0, 0)
    """
    # A label has no bound on its length; 128 bits of hash make collisions between labels negligible.
    digest = hashlib.blake2b(label.encode(), digest_size=16).digest()
    label_words = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    key = (LAYOUT, int(purpose), *label_words, int(d), int(n), int(trial), int(replicate))
    if not all(0 <= word < _WORD for word in key):
        raise InputError(f"an address needs words from 0 to {_WORD - 1}, got d={d}, n={n}, trial={trial}")
    return key


def generator(seed: int, key: tuple[int, ...]) -> np.random.Generator:
    """Return a Philox generator, seeded by the seed of the study and the spawn key."""
    return np.random.Generator(np.random.Philox(seed_sequence(seed, key)))


def seed_sequence(seed: int, key: tuple[int, ...]) -> np.random.SeedSequence:
    """Return the seed sequence at an address, for code that spawns several streams from it."""
    return np.random.SeedSequence(seed, spawn_key=key)
