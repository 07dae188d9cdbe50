"""Sketches of vectors and of their tensor products: random linear maps that preserve inner products in the mean.

A count sketch adds every coordinate, with a random sign, to one of m buckets (Charikar, Chen & Farach-Colton, TCS
2004). A tensor sketch is a count sketch of a (x) b in which the pair (i, j) falls into the bucket h(i) + g(j) mod m.
It is the circular convolution of sketches of a and b, computed by FFT without forming a (x) b (Pham & Pagh, KDD 2013).
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
"""Number of rows per call of the FFT. It bounds the memory of spectra; only the result has n rows."""


@dataclass(frozen=True)
class Hashes:
    """Random buckets and signs from counter-based streams.

    Attributes
    ----------
    key : (int, int)
        Key of the Philox streams, two words of 64 bits.
    """

    key: tuple[int, int]

    def stream(self, use: int) -> np.random.Generator:
        """Return the generator for one use, which draws its maps in order."""
        return np.random.Generator(np.random.Philox(key=self.key, counter=(0, 0, 0, use)))


@dataclass(frozen=True)
class CountSketch:
    """Linear map that has one nonzero entry, +1 or -1, per coordinate.

    Attributes
    ----------
    into : ndarray, (inputs,), int64
        Bucket of each coordinate.
    signs : ndarray, (inputs,)
    buckets : int
        Length of the sketch.
    """

    into: NDArray[np.int64]
    signs: Matrix
    buckets: int

    @classmethod
    def draw(cls, stream: np.random.Generator, inputs: int, buckets: int) -> CountSketch:
        """Draw a random map for vectors of length `inputs`."""
        signs = np.where(stream.integers(0, 2, inputs) == 1, 1.0, -1.0)
        return cls(stream.integers(0, buckets, inputs), signs, buckets)

    def add(self, A: NDArray[Any], total: Matrix, weight: float = 1.0) -> None:
        """Add weight * (sketch of each row of A), with A (n, inputs), to `total`, (n, buckets)."""
        _add(A, self.into, self.signs * weight, total)

    def of(self, A: NDArray[Any], weight: float = 1.0) -> Matrix:
        """Return weight * (sketch of each row of A), (n, buckets)."""
        total = np.zeros((len(A), self.buckets))
        self.add(A, total, weight)
        return total


@dataclass(frozen=True)
class TensorSketch:
    """Count sketch of a (x) b, composed of independent count sketches of a and b with equal numbers of buckets."""

    left: CountSketch
    right: CountSketch

    @classmethod
    def draw(cls, stream: np.random.Generator, inputs: tuple[int, int], buckets: int) -> TensorSketch:
        """Draw a random map for vectors a and b of the two lengths `inputs`."""
        return cls(CountSketch.draw(stream, inputs[0], buckets), CountSketch.draw(stream, inputs[1], buckets))

    def fill(self, A: NDArray[Any], B: NDArray[Any], result: Matrix, weight: float = 1.0) -> None:
        """Fill `result`, (n, buckets), with weight * (sketch of a_i (x) b_i), row by row."""
        for first in range(0, len(A), ROWS):
            batch = slice(first, first + ROWS)
            spectrum = rfft(self.left.of(A[batch], weight), axis=1, overwrite_x=True)
            spectrum *= rfft(self.right.of(B[batch]), axis=1, overwrite_x=True)
            result[batch] = irfft(spectrum, n=self.left.buckets, axis=1, overwrite_x=True)


def powers(stream: np.random.Generator, A: Matrix, degree: int, buckets: int) -> Iterator[tuple[int, Matrix]]:
    """Yield r and the (n, buckets) sketches of the r-th tensor powers of the rows, for r = 2, ..., `degree`.

    The mean of an inner product of sketches is the inner product of the rows to the power r. The yielded array is
    overwritten by the next power.
    """
    # Each power is a tensor sketch of the previous sketch and the row, by an independent map. The variance of an inner
    # product grows like r, that of a single tensor sketch of r vectors like 3**r (Ahle et al., SODA 2020; their tree
    # has the same number of maps, but would not yield all lower powers).
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
