"""Random features of the arc-cosine kernels of order 0 and 1: Gaussian directions, gates and rectifiers.

With w ~ N(0, I), kappa_0 = 2 E[1{w'x > 0} 1{w'y > 0}] and kappa_1 = 2 E[s(w'x) s(w'y)] for unit vectors x, y and
s = max(0, .) (Cho & Saul, NeurIPS 2009).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntkmc.errors import InputError
from ntkmc.linalg.network import STREAM, Weights, check_width
from ntkmc.linalg.rows import Matrix, as_data, split_rows

NUMERICS: Final = {"stream": STREAM}


def arc_cosine_features(X: ArrayLike, order: int, features: int, *, seed: int | np.random.SeedSequence = 0) -> Matrix:
    """Random features of an arc-cosine kernel: the mean of Phi Phi' is kappa_n(cos(x_i, x_j)), without bias.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, of which directions alone count.
    order : {0, 1}
    features : int
        Number of features.
    seed : int or numpy.random.SeedSequence
        Fewer features are the first of more ones, but for their scale.

    Returns
    -------
    ndarray, (n, features), float64

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array, or another order, number or seed.

    Examples
    --------
    >>> Phi = arc_cosine_features([[1.0, 0.0], [0.0, 1.0]], 0, 100_000)
    >>> (Phi @ Phi.T).round(2).tolist()  # kappa_0 is 1/2 at a right angle
    [[1.0, 0.5], [0.5, 1.0]]
    """
    if order not in (0, 1) or isinstance(order, bool):
        raise InputError(f"order must be 0 (gates) or 1 (rectifiers), got {order!r}")
    width = check_count(features)
    unit = split_rows(as_data(X)).unit
    weights = Weights.of(seed)
    result = np.empty((len(unit), width))
    if order == 0:
        np.multiply(gates(unit, weights, 1, width), math.sqrt(2.0 / width), out=result)
    else:
        rectify(unit, weights, 1, result)
    return result


def check_count(features: int) -> int:
    """A number of features, or an `InputError`."""
    try:
        return check_width(features)
    except InputError as error:
        raise InputError(str(error).replace("width", "features", 1)) from None


def gates(A: Matrix, weights: Weights, layer: int, features: int) -> NDArray[np.bool_]:
    """Which sides of random hyperplanes rows are on, (n, features); times sqrt(2 / features): features of kappa_0."""
    found = np.empty((len(A), features), dtype=np.bool_)
    for part, W in weights.blocks(layer, features, A.shape[1]):
        np.greater(A @ W.T, 0.0, out=found[:, part])
    return found


def rectify(A: Matrix, weights: Weights, layer: int, result: NDArray[Any]) -> None:
    """Features of |x| |y| kappa_1 of the rows of A, one a column of the result, (n, features).

    A direction is scaled to its mean square length. The length of w is independent of its direction, so that the mean
    stays what it is, and the variance falls: fourth moments of w no longer enter. That is importance sampling of w
    with a density that grows as |w|**2, which Zandieh et al. draw from by a Gibbs sampler.
    """
    inputs, features = A.shape[1], result.shape[1]
    scale = math.sqrt(2.0 * inputs / features)
    for part, W in weights.blocks(layer, features, inputs):
        W *= scale / np.linalg.norm(W, axis=1)[:, None]
        np.maximum(A @ W.T, 0.0, out=result[:, part])
