"""Accuracy of a feature map: Phi Phi' compared with the exact kernel of the rows, with enclosures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.rows import Rows, as_array, as_data, as_float64, split_rows
from ntkmc.linalg.gram.comparison import Comparison, compare_with_kernel
from ntkmc.linalg.gram.matrix import LARGEST_NORM, row_products
from ntkmc.linalg.sketching.features import Randomness, feature_maps
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix
from ntkmc.theory.kernels import check_depths


def compare_features(X: ArrayLike, Phi: ArrayLike, kernel: str = "ntk", depth: int = 2) -> Comparison:
    """Compare the Gram matrix of any features with the kernel of the data rows.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    Phi : array_like, (n, features)
        Features of the rows, such as `ntkmc.ntk_features` returns.
    kernel, depth
        As for `ntkmc.gram`.

    Returns
    -------
    Comparison
        Smallest eigenvalue of Phi Phi', for Phi as it is in float64, and its distance from the exact kernel. All ends
        are proved, with rounding errors included.

    Raises
    ------
    InputError
        For arrays that are not finite or differ in their number of rows, or an unknown kernel or depth.

    Examples
    --------
    >>> accuracy = compare_features([[1.0, 0.0], [0.0, 1.0]], [[0.5], [0.5]], "h-infinity")
    >>> low, high = accuracy.deviation  # all entries of Phi Phi' are 1/4, and K is I/2
    >>> accuracy.smallest.value, low <= 0.5 <= high
    (0.0, True)
    """
    depths = check_depths(kernel, (depth,))
    rows = split_rows(as_data(X))
    features = as_float64(as_array(Phi, "features"), "features")
    if features.ndim != 2 or len(features) != len(rows.norms) or not features.shape[1]:
        raise InputError(f"features must have {len(rows.norms)} rows, as the data, got shape {features.shape}")
    if not np.isfinite(features).all() or np.abs(features).max() > LARGEST_NORM:
        raise InputError("features must be finite, and not so large that their Gram matrix overflows: rescale them")
    return next(compare_with_kernel(rows, kernel, depths, iter([gram_of_features(features)])))[1]


def measure_features(
    rows: Rows, features: int, kernel: str, depths: Sequence[int], method: str, randomness: Randomness
) -> Iterator[tuple[int, Comparison]]:
    """Compare a feature map with the kernel at several depths, sorted and valid; yield (depth, comparison)."""
    # Lazily: the Gram matrices of one depth at a time are held.
    maps = feature_maps(rows, features, kernel, depths, method, randomness)
    return compare_with_kernel(rows, kernel, depths, (gram_of_features(Phi) for _, Phi in maps))


def gram_of_features(Phi: Matrix) -> tuple[Matrix, float]:
    """Return Phi Phi' as computed, exactly symmetric, and a bound on the norm of its error.

    A dot product of length s has error at most s u |a| |b| in any order of summation (Jeannerod & Rump, SIMAX 2013).
    The norm of the error is therefore at most s u times the trace; the factor 1.1 covers the rounding of the trace.
    """
    gram = row_products(Phi, mirrored=True)
    return gram, 1.1 * (Phi.shape[1] + 2) * UNIT_ROUNDOFF * float(np.trace(gram))
