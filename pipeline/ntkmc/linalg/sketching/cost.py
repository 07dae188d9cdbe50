"""Cost of feature maps and of the exact Gram matrix: floating-point operations, bytes, approximate seconds.

Pure functions of sizes. Operations are those of products, sketches and Fourier transforms. Random numbers, about 10 ns
each, count only in the seconds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from ntkmc.linalg.cost import enclosure_seconds, library_bytes
from ntkmc.linalg.eigen.krylov import MOST_INVERSE_STEPS, MOST_STEPS
from ntkmc.linalg.networks.weights import STREAM
from ntkmc.linalg.sketching.features import DEGREE, rectifier_columns
from ntkmc.linalg.sketching.sketches import ROWS

_ENTRY: Final = 60.0
"""Operations of one layer of the arc-cosine recursion for one pair, counted in `ntkmc.theory.kernels.arccos`."""

_RATES: Final = {"product": 4e-11, "sketch": 3e-10, "normal": 1.6e-8}
"""Seconds per operation of a matrix product, per operation of a sketch or a Fourier transform, and per normal variate.
Fitted to `tests/benchmarks/sketching.py` on one thread of a 2.6 GHz server core, n = 10 ... 1000, 64 to 4096
features."""

_MAP: Final = {"random-features": 4e-4, "tensor-sketch": 6e-3}
"""Seconds of a map of any size: set-up of random streams, calls. Measured like `_RATES`."""


def kernel_flops(n: int, d: int, depth: int) -> float:
    """Return the operations of the exact Gram matrix: n (n + 1) / 2 inner products, and the recursion for each.

    >>> f"{kernel_flops(1000, 100, 3):.2e}"
    '1.60e+08'
    """
    return 0.5 * n * (n + 1) * (2.0 * d + _ENTRY * (depth - 1))


def feature_flops(n: int, d: int, kernel: str, depth: int, features: int, method: str) -> float:
    """Return the operations of a feature map of n rows, without Phi Phi'.

    >>> f"{feature_flops(1000, 100, 'ntk', 3, 1000, 'random-features'):.2e}"
    '1.88e+09'
    """
    products, sketches, _ = _parts(n, d, kernel, depth, features, method)
    return products + sketches


def _parts(n: int, d: int, kernel: str, depth: int, features: int, method: str) -> tuple[float, float, float]:
    """Return the operations of products, the operations of sketches, and the number of normal variates."""
    if method == "tensor-sketch":
        return 0.0, (DEGREE - 1) * n * (_pair(features, d, features) + 2.0 * features), 0.0
    rectified = rectifier_columns(kernel, features)
    directions = rectified + (0 if kernel == "conjugate" else features)
    products = normals = sketches = 0.0
    inputs, before = d, d
    for _ in range(depth - 1):
        products += 2.0 * n * inputs * directions
        normals += float(inputs) * directions
        if rectified < features:
            sketches += n * _pair(features, before, features - rectified)
        inputs, before = rectified, features
    return products, sketches, normals


def _pair(left: int, right: int, buckets: int) -> float:
    """Return the operations of a tensor sketch of one row: two count sketches, three real FFTs, one product."""
    return 2.0 * (left + right) + buckets * (7.5 * math.log2(max(buckets, 2)) + 3.0)


def map_bytes(n: int, d: int, kernel: str, depths: Sequence[int], features: int, method: str) -> int:
    """Return the peak memory of a feature map in bytes, without the data: n x features arrays and one batch of rows.

    >>> map_bytes(10**5, 100, "ntk", (3,), 4096, "random-features") / (8 * 10**5 * 4096) < 2.3
    True
    """
    batch = 8 * min(n, ROWS) * features * 5
    if method == "tensor-sketch":
        return 8 * n * features * (1 + len(set(depths))) + batch
    deep = max(depths) > 2
    held = (2 if deep else 1) + (1 if len(set(depths)) > 1 else 0)
    return 8 * n * features * held + n * features + batch + 8 * STREAM * (max(d, features if deep else d) + n)


def feature_bytes(n: int, d: int, kernel: str, depths: Sequence[int], features: int, method: str) -> int:
    """Return the peak memory of one trial of feature maps above an idle worker, in bytes."""
    # The peak is reached either while a map is computed, next to the kernel's matrix, or during an enclosure, next to
    # the Gram matrix of the features and the difference. With several depths, the state of the recursion and the maps
    # of the other depths are held as well.
    several = len(set(depths)) > 1
    making = 8 * n * n * (2 if several else 1) + map_bytes(n, d, kernel, depths, features, method)
    proposal = 4 * n * n + 4 * (MOST_STEPS + MOST_INVERSE_STEPS) * n
    comparing = 8 * n * n * (4 if several else 3) + 8 * n * features * (2 if several else 1) + proposal
    return 24 * n * d + max(making, comparing) + library_bytes(n)


def feature_seconds(n: int, d: int, kernel: str, depths: Sequence[int], features: int, method: str) -> float:
    """Return the rough wall time of one trial of feature maps on one core in seconds, good to a factor of a few."""
    products, sketches, normals = _parts(n, d, kernel, max(depths), features, method)  # one pass for all depths
    seconds = 4.0 * len(depths) * enclosure_seconds(n) + _MAP[method]
    seconds += products * _RATES["product"] + sketches * _RATES["sketch"] + normals * _RATES["normal"]
    return seconds + len(depths) * n * n * features * _RATES["product"]
