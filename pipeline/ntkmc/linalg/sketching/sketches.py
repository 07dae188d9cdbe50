"""Sketches of vectors and of their tensor products: random linear maps that keep inner products in the mean.

A count sketch adds every coordinate, with a random sign, to one of m buckets (Charikar, Chen & Farach-Colton, TCS
2004). A tensor sketch is a count sketch of a (x) b in which the pair (i, j) falls into the bucket h(i) + g(j) mod m:
the circular convolution of sketches of a and of b, by FFT, so that a (x) b is never formed (Pham & Pagh, KDD 2013).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from ntkmc.compiled import compiled
from ntkmc.numeric import Matrix

ROWS: Final = 256
"""Rows that go through the FFT together, so that nothing except the result is as large as it."""


@dataclass(frozen=True)
class Hashes:
    """Random buckets and signs without end, from counter-based streams.

    Attributes
    ----------
    key : (int, int)
        Key of the Philox streams, two words of 64 bits.
    """

    key: tuple[int, int]

    def stream(self, use: int) -> np.random.Generator:
        """Return the generator from which one use draws its maps in order."""
        return np.random.Generator(np.random.Philox(key=self.key, counter=(0, 0, 0, use)))


@dataclass(frozen=True)
class CountSketch:
    """A linear map with one entry, +1 or -1, for each coordinate.

    Attributes
    ----------
    into : ndarray, (inputs,), int64
        Bucket of each coordinate.
    signs : ndarray, (inputs,)
    buckets : int
        Length of what it maps to.
    """

    into: NDArray[np.int64]
    signs: Matrix
    buckets: int

    @classmethod
    def draw(cls, stream: np.random.Generator, inputs: int, buckets: int) -> CountSketch:
        """A random one, of vectors of length `inputs`."""
        signs = np.where(stream.integers(0, 2, inputs) == 1, 1.0, -1.0)
        return cls(stream.integers(0, buckets, inputs), signs, buckets)

    def add(self, A: NDArray[Any], total: Matrix, weight: float = 1.0) -> None:
        """total += weight * (sketch of each row of A): (n, buckets) and (n, inputs)."""
        _add(A, self.into, self.signs * weight, total)

    def of(self, A: NDArray[Any], weight: float = 1.0) -> Matrix:
        """The sketch of each row, (n, buckets)."""
        total = np.zeros((len(A), self.buckets))
        self.add(A, total, weight)
        return total


@dataclass(frozen=True)
class TensorSketch:
    """A count sketch of a (x) b, of two independent ones with as many buckets."""

    left: CountSketch
    right: CountSketch

    @classmethod
    def draw(cls, stream: np.random.Generator, inputs: tuple[int, int], buckets: int) -> TensorSketch:
        """A random one, of vectors of two lengths."""
        return cls(CountSketch.draw(stream, inputs[0], buckets), CountSketch.draw(stream, inputs[1], buckets))

    def fill(self, A: NDArray[Any], B: NDArray[Any], result: Matrix, weight: float = 1.0) -> None:
        """result := weight * (sketch of a_i (x) b_i), row by row, (n, buckets)."""
        for first in range(0, len(A), ROWS):
            here = slice(first, first + ROWS)
            spectrum = rfft(self.left.of(A[here], weight), axis=1, overwrite_x=True)
            spectrum *= rfft(self.right.of(B[here]), axis=1, overwrite_x=True)
            result[here] = irfft(spectrum, n=self.left.buckets, axis=1, overwrite_x=True)


def powers(stream: np.random.Generator, A: Matrix, degree: int, buckets: int) -> Iterator[tuple[int, Matrix]]:
    """Sketches of the tensor powers of each row, (n, buckets), from the second to a highest: (r, sketch).

    The next power is a tensor sketch of the last one and of the row, by an independent map each time, so that the
    mean of an inner product is exactly that of the rows to the power r, and its variance grows as r rather than as
    3**r, as that of a single tensor sketch of r vectors does (Ahle et al., SODA 2020, whose tree has as many maps).
    What is yielded may be overwritten when the next one is asked for.
    """
    last = A
    for r in range(2, degree + 1):
        step = TensorSketch.draw(stream, (last.shape[1], A.shape[1]), buckets)
        if r == 2:
            last = np.empty((len(A), buckets))
            step.fill(A, A, last)
        else:
            step.fill(last, A, last)  # a batch of rows is read before it is overwritten
        yield r, last


@compiled
def _add(A: NDArray[Any], into: NDArray[np.int64], signs: Matrix, total: Matrix) -> None:
    for i in range(A.shape[0]):
        for k in range(A.shape[1]):
            total[i, into[k]] += signs[k] * A[i, k]
