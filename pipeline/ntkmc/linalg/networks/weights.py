"""Weights of finite ReLU networks, from counter-based streams: any part of a layer can be drawn at any time.

No layer has to be held as a whole. A layer is divided into runs of `STREAM` neurons. Each run has its own stream, at
the counter (run, layer). A draw depends neither on the number of neurons that are processed at a time nor on the depth
of the network. The output of a network of depth L is the first neuron of layer L: a deeper network continues a
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
"""Neurons whose incoming weights come from one stream, neuron by neuron. It determines the draw: see `NUMERICS`."""

LARGEST_WIDTH: Final = 2**32 - 1
"""A width is one 32-bit word of the address of a network."""

NUMERICS: Final = {"stream": STREAM}


@dataclass(frozen=True)
class Weights:
    """Lazily generated i.i.d. N(0, 1) weights of a network, for any width and depth.

    Attributes
    ----------
    key : (int, int)
        Key of the Philox streams, two words of 64 bits.
    """

    key: tuple[int, int]

    @classmethod
    def of(cls, seed: int | np.random.SeedSequence) -> Weights:
        """Return the weights for a seed; `InputError` unless it is a non-negative integer or a seed sequence."""
        if isinstance(seed, bool) or not isinstance(seed, int | np.integer | np.random.SeedSequence):
            raise InputError(f"seed must be a non-negative integer, got {seed!r}")
        if not isinstance(seed, np.random.SeedSequence) and seed < 0:
            raise InputError(f"seed must be a non-negative integer, got {seed}")
        sequence = seed if isinstance(seed, np.random.SeedSequence) else np.random.SeedSequence(int(seed))
        first, second = sequence.generate_state(2, np.uint64).tolist()
        return cls((first, second))

    def neurons(self, layer: int, first: int, stop: int, inputs: int) -> Matrix:
        """Return the incoming weights of the neurons first ... stop - 1 of a layer, (stop - first, inputs).

        Examples
        --------
        >>> part = Weights.of(0).neurons(1, 200, 600, 3)
        >>> bool((Weights.of(0).neurons(1, 0, 601, 3)[200:600] == part).all())
        True
        """
        drawn = np.empty((stop - first, inputs))
        for run in range(first // STREAM, -(-stop // STREAM)):
            start = max(first, run * STREAM)
            end = min(stop, (run + 1) * STREAM)
            stream = np.random.Generator(np.random.Philox(key=self.key, counter=(0, 0, run, layer)))
            # NumPy's normal variates consume a random number of words: a stream cannot be advanced, only drawn from.
            for _ in range(start - run * STREAM):
                stream.standard_normal(inputs)
            stream.standard_normal(out=drawn[start - first : end - first])
        return drawn

    def blocks(self, layer: int, width: int, inputs: int, length: int = STREAM) -> Iterator[tuple[slice, Matrix]]:
        """Yield (slice of neurons, their incoming weights) for a layer, `length` neurons at a time."""
        for first in range(0, width, length):
            stop = min(first + length, width)
            yield slice(first, stop), self.neurons(layer, first, stop, inputs)


def check_width(width: int) -> int:
    """Return the width of a hidden layer as an int; `InputError` unless it is an integer from 1 to `LARGEST_WIDTH`."""
    return integer_between("width", width, 1, LARGEST_WIDTH)
