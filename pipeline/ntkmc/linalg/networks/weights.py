"""The weights of finite ReLU networks, from counter-based streams: any part of a layer can be drawn at any time.

So no layer is ever held whole. A layer is cut into runs of `STREAM` neurons, each with a stream of its own at the
counter (run, layer): how many neurons are processed at a time does not change a draw, nor does the depth of the
network. The output of a network of depth L is the first neuron of layer L, so that a deeper network continues a
shallower one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from ntkmc.errors import InputError
from ntkmc.numeric import Matrix, integer_between

STREAM: Final = 256
"""Neurons whose incoming weights are drawn from one stream, neuron by neuron. It decides the draw: see `NUMERICS`."""

LARGEST_WIDTH: Final = 2**32 - 1
"""A width is a word of a network's address."""

NUMERICS: Final = {"stream": STREAM}


@dataclass(frozen=True)
class Weights:
    """I.i.d. standard normal weights of a network without end: as wide and as deep as it is asked for.

    Attributes
    ----------
    key : (int, int)
        Key of the Philox streams, two words of 64 bits.
    """

    key: tuple[int, int]

    @classmethod
    def of(cls, seed: int | np.random.SeedSequence) -> Weights:
        """Weights of a seed, or of a seed sequence.

        Raises
        ------
        InputError
            If the seed is a negative number, or none.
        """
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer | np.random.SeedSequence):
            raise InputError(f"seed must be a non-negative integer, got {seed!r}")
        if not isinstance(seed, np.random.SeedSequence) and seed < 0:
            raise InputError(f"seed must be a non-negative integer, got {seed}")
        sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(int(seed))
        first, second = sequence.generate_state(2, np.uint64).tolist()
        return cls((first, second))

    def neurons(self, layer: int, first: int, stop: int, inputs: int) -> Matrix:
        """Incoming weights of the neurons first ... stop - 1 of a layer, (stop - first, inputs).

        Examples
        --------
        >>> some = Weights.of(0).neurons(1, 200, 600, 3)
        >>> bool((Weights.of(0).neurons(1, 0, 601, 3)[200:600] == some).all())
        True
        """
        drawn = np.empty((stop - first, inputs))
        for run in range(first // STREAM, -(-stop // STREAM)):
            start = max(first, run * STREAM)
            end = min(stop, (run + 1) * STREAM)
            stream = np.random.Generator(np.random.Philox(key=self.key, counter=(0, 0, run, layer)))
            for _ in range(start - run * STREAM):  # the run's neurons before the first that is wanted
                stream.standard_normal(inputs)
            stream.standard_normal(out=drawn[start - first : end - first])
        return drawn

    def blocks(self, layer: int, width: int, inputs: int, length: int = STREAM) -> Iterator[tuple[slice, Matrix]]:
        """A layer of so many neurons, `length` at a time: (which of them, their incoming weights)."""
        for first in range(0, width, length):
            stop = min(first + length, width)
            yield slice(first, stop), self.neurons(layer, first, stop, inputs)


def check_width(width: int, name: str = "width") -> int:
    """Return the width of a hidden layer as an int; `InputError` if it is out of range."""
    return integer_between(name, width, 1, LARGEST_WIDTH)
