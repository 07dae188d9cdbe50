"""Accuracy of a feature map: Phi Phi' compared with the exact kernel of the rows, with enclosures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import Rows, as_array, as_data, as_float64, split_rows
from ntkmc.linalg.eigen.smallest import enclose
from ntkmc.linalg.eigen.spectrum import Ends, difference_norms, largest_eigenvalue
from ntkmc.linalg.eigen.symmetric import in_place
from ntkmc.linalg.gram.enclosures import kernel_error, widen_by_kernel_error
from ntkmc.linalg.gram.matrix import LARGEST_NORM, PANEL, coherence_of, cosines, grams_of_cosines
from ntkmc.linalg.sketching.features import Randomness, feature_maps
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix
from ntkmc.theory.kernels import check_depths


@dataclass(frozen=True)
class Sketched:
    """The Gram matrix of some features beside the kernel that it stands for.

    Attributes
    ----------
    smallest : Eigenvalue
        lambda_min of Phi Phi', for Phi as it is in float64.
    deviation : (float, float)
        Ends of the operator norm of Phi Phi' - K, K the exact kernel of the rows.
    entry_deviation : (float, float)
        Ends of the largest absolute entry of that difference.
    kernel_norm : (float, float)
        Ends of the largest eigenvalue of K.
    """

    smallest: Eigenvalue
    deviation: Ends
    entry_deviation: Ends
    kernel_norm: Ends


def compare_features(X: ArrayLike, Phi: ArrayLike, kernel: str = "ntk", depth: int = 2) -> Sketched:
    """Compare the Gram matrix of any features with the kernel of the data rows.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    Phi : array_like, (n, features)
        Their features, such as those of `ntkmc.ntk_features`.
    kernel, depth
        As for `ntkmc.gram`.

    Returns
    -------
    Sketched
        All ends are theorems about the two matrices, rounding included.

    Raises
    ------
    InputError
        For arrays that are not finite or do not have as many rows, or an unknown kernel or depth.

    Examples
    --------
    >>> found = compare_features([[1.0, 0.0], [0.0, 1.0]], [[0.5], [0.5]], "h-infinity")
    >>> found.smallest.value, found.deviation[0] <= 0.5 <= found.deviation[1]  # Phi Phi' is 1/4 everywhere, K is I/2
    (0.0, True)
    """
    wanted = check_depths(kernel, (depth,))
    rows = split_rows(as_data(X))
    features = as_float64(as_array(Phi, "features"), "features")
    if features.ndim != 2 or len(features) != len(rows.norms) or not features.shape[1]:
        raise InputError(f"features must have {len(rows.norms)} rows, as the data, got shape {features.shape}")
    if not np.isfinite(features).all() or np.abs(features).max() > LARGEST_NORM:
        raise InputError("features must be finite, and not so large that their Gram matrix overflows: rescale them")
    return next(_compared(rows, kernel, wanted, iter([(depth, features)])))[1]


def measure_features(
    rows: Rows, features: int, kernel: str, depths: Sequence[int], method: str, randomness: Randomness
) -> Iterator[tuple[int, Sketched]]:
    """A feature map at several depths, sorted and valid, on data rows (n, d) that were split."""
    return _compared(rows, kernel, depths, feature_maps(rows, features, kernel, depths, method, randomness))


def _compared(
    rows: Rows, kernel: str, depths: Sequence[int], maps: Iterator[tuple[int, Matrix]]
) -> Iterator[tuple[int, Sketched]]:
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    kernels = grams_of_cosines(R, rows, kernel, depths)
    del R  # used up by the kernels
    for (depth, K), (_, Phi) in zip(kernels, maps, strict=True):
        rounding = kernel_error(rows, kernel, depth, cosine)
        found, own_error = gram_of_features(Phi)
        del Phi
        difference = found - K
        smallest = widen_by_kernel_error(enclose(in_place(found)), own_error)
        del found
        kernel_norm = largest_eigenvalue(K, rounding)
        del K
        yield depth, Sketched(smallest, *difference_norms(difference, rounding + own_error), kernel_norm)
        del difference


def gram_of_features(Phi: Matrix) -> tuple[Matrix, float]:
    """Phi Phi' in floating point, exactly symmetric, and a bound on the norm of its error.

    A dot product of length s errs by s u |a| |b| in any order of summation (Jeannerod & Rump, SIMAX 2013), so that
    the error's norm is at most s u times the trace; what the trace loses to rounding is in the factor.
    """
    n, features = Phi.shape
    if n <= PANEL:
        found = np.asarray(Phi @ Phi.T)
    else:  # in panels, as `ntkmc.linalg.gram.matrix.cosines`
        found = np.empty((n, n))
        for first in range(0, n, PANEL):
            here = slice(first, min(first + PANEL, n))
            found[here, here] = Phi[here] @ Phi[here].T
            np.matmul(Phi[here], Phi[:first].T, out=found[here, :first])
            found[:first, here] = found[here, :first].T
    return found, 1.1 * (features + 2) * UNIT_ROUNDOFF * float(np.trace(found))
