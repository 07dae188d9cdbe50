"""Where the randomness of a draw comes from: an address made of values, never of positions.

`spawn_key = (layout, purpose, h0, h1, h2, h3, d, n, trial, replicate)`: ten words below 2**32, arity fixed for ever.
NumPy flattens a spawn key into 32-bit words, so a larger word or another arity could collide with another address.
Grids may grow, lists be reordered, blocks be cut anywhere: an address does not change, and so neither does a draw.
"""

from __future__ import annotations

import hashlib
from enum import IntEnum
from typing import Final

import numpy as np

from ntkmc.errors import InputError

LAYOUT: Final = 1
"""Version of the address itself."""

_WORD: Final = 2**32


class Purpose(IntEnum):
    """What a stream of random numbers is for."""

    DATA = 0
    NETWORK = 1
    LABELS = 2
    SKETCH = 3
    SPLITTING = 4
    SOLVER_START = 5


def spawn_key(
    label: str, d: int, n: int, trial: int, purpose: Purpose = Purpose.DATA, replicate: int = 0
) -> tuple[int, ...]:
    """The ten words of an address.

    Parameters
    ----------
    label : str
        Canonical distribution label, such as `student-t(df=3)`; it enters as four words of a BLAKE2b-128.
    d, n, trial, replicate : int
        Non-negative, below 2**32. With nested studies n is 0. Of a network, `replicate` is the width, of a
        sketch the number of features: those of different ones are independent, and none depends on which are drawn.

    Raises
    ------
    InputError
        If a word does not fit.

    Examples
    --------
    >>> spawn_key("sphere", 32, 16, 0)[-4:]
    (32, 16, 0, 0)
    """
    digest = hashlib.blake2b(label.encode(), digest_size=16).digest()
    hashed = tuple(int.from_bytes(digest[i : i + 4], "little") for i in range(0, 16, 4))
    key = (LAYOUT, int(purpose), *hashed, int(d), int(n), int(trial), int(replicate))
    if not all(0 <= word < _WORD for word in key):
        raise InputError(f"an address needs words from 0 to {_WORD - 1}, got d={d}, n={n}, trial={trial}")
    return key


def generator(seed: int, key: tuple[int, ...]) -> np.random.Generator:
    """The stream at an address: counter-based Philox, seeded by the study's seed and the spawn key."""
    return np.random.Generator(np.random.Philox(seed_sequence(seed, key)))


def seed_sequence(seed: int, key: tuple[int, ...]) -> np.random.SeedSequence:
    """The seed at an address, for what makes streams of its own."""
    return np.random.SeedSequence(seed, spawn_key=key)
