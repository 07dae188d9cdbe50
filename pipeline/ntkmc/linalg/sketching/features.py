"""Feature maps of the kernels: Phi (n, features) whose Gram matrix Phi Phi' approximates that of the kernel.

Two constructions, after Zandieh, Han, Avron, Shoham, Kim & Shin (NeurIPS 2021), whose normalized kernel of L - 1
hidden layers is k_L here:

`random-features` (their Algorithm 2): layer by layer, with gates g_l and rectifiers a_l of random directions,

    psi_l = [a_l(a_{l-1}), Q_l(g_l(a_{l-1}) (x) psi_{l-1})],   a_0 = psi_0 = x / |x|,   Phi = |x| psi_{L-1},

Q_l a tensor sketch. Unbiased for two layers. For more of them the mean is off by a multiple of 1 / features, since
kappa_0 and kappa_1 are no linear functions of the cosine.

`tensor-sketch` (their Algorithm 1, but with one polynomial for the whole kernel in place of two for each layer):
tensor sketches of the powers in a polynomial of degree `DEGREE`, made of the kernel's power series, whose coefficients
are not negative. Depth costs nothing. Unbiased for the polynomial, which differs from the kernel where rows are nearly
parallel.

Random features of the arc-cosine kernels of order 0 and 1: Gaussian directions, gates and rectifiers.

With w ~ N(0, I), kappa_0 = 2 E[1{w'x > 0} 1{w'y > 0}] and kappa_1 = 2 E[s(w'x) s(w'y)] for unit vectors x, y and
s = max(0, .) (Cho & Saul, NeurIPS 2009).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ntkmc.errors import InputError, did_you_mean
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.gram.matrix import LARGEST_NORM
from ntkmc.linalg.networks.weights import STREAM, Weights, check_width
from ntkmc.linalg.sketching.sketches import CountSketch, Hashes, TensorSketch, powers
from ntkmc.numeric import Matrix
from ntkmc.theory.kernels import check_depths
from ntkmc.theory.kernels.series import surrogate

DIRECTIONS: Final = {"stream": STREAM}


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
    return check_width(features, "features")


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


METHODS: Final = ("random-features", "tensor-sketch")

DEGREE: Final = 32
"""Of the polynomial that stands for the kernel. The two differ by less than 2e-6 L at cosines up to 0.7, by less than
4e-3 L up to 0.9, and by 0.04 L at most."""

NUMERICS: Final = {**DIRECTIONS, "degree": DEGREE}

_POWERS, _SUMS = 0, 1
"""Uses of hashes: sketches of powers, and what puts powers into their columns. From 2 on: products of layers."""


@dataclass(frozen=True)
class Randomness:
    """All that a feature map draws.

    Attributes
    ----------
    gates, rectifiers : Weights
        Directions of features of order 0 and 1.
    hashes : Hashes
        Buckets and signs of sketches.
    """

    gates: Weights
    rectifiers: Weights
    hashes: Hashes

    @classmethod
    def of(cls, seed: int | np.random.SeedSequence) -> Randomness:
        """That of a seed, or of a seed sequence; `InputError` if the seed is a negative number, or none."""
        if not isinstance(seed, np.random.SeedSequence):
            Weights.of(seed)  # refuses what is no seed
            seed = np.random.SeedSequence(int(seed))
        words = seed.generate_state(6, np.uint64).tolist()
        return cls(Weights((words[0], words[1])), Weights((words[2], words[3])), Hashes((words[4], words[5])))


def ntk_features(
    X: ArrayLike,
    features: int,
    kernel: str = "ntk",
    depth: int = 2,
    *,
    method: str = "random-features",
    seed: int | np.random.SeedSequence = 0,
) -> Matrix:
    """Features Phi of data rows whose Gram matrix Phi Phi' approximates `ntkmc.gram(X, kernel, depth)`.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    features : int
        Columns of Phi, at least 2. The error falls with their root.
    kernel : {"ntk", "h-infinity", "conjugate"}
        As for `ntkmc.gram`.
    depth : int
        Number of weight layers L, at least 2.
    method : {"random-features", "tensor-sketch"}
        Random features layer by layer, or tensor sketches of the kernel's power series.
    seed : int or numpy.random.SeedSequence
        Determines the map; the same for all rows, so that a test set's features go with a training set's.

    Returns
    -------
    ndarray, (n, features), float64

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array, an unknown kernel or method, or a depth, number of features or
        seed that is not an integer of its range.

    Notes
    -----
    Time, with s features: random features take n d s for the first layer and n s**2 for each further one, tensor
    sketches n s log s for each of 31 powers, whatever the depth. Memory: two or three n x s arrays.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.0, 1.0]]
    >>> Phi = ntk_features(X, 50_000, depth=2)
    >>> bool(np.abs(Phi @ Phi.T - [[2.0, 0.31831], [0.31831, 2.0]]).max() < 0.05)
    True
    """
    wanted = check_features(kernel, (depth,), method)
    rows = split_rows(as_data(X))
    return next(feature_maps(rows, check_number(features), kernel, wanted, method, Randomness.of(seed)))[1]


def check_number(features: int) -> int:
    """A number of features of a kernel, or an `InputError`."""
    if check_count(features) < 2:
        raise InputError(f"features must be at least 2, got {features}")
    return int(features)


def check_features(kernel: str, depths: Sequence[int], method: str) -> list[int]:
    """Depths, sorted and each once; `InputError` for a depth without features, or an unknown kernel or method."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: {did_you_mean(method, METHODS)}")
    wanted = check_depths(kernel, depths)
    if wanted[0] == 1:
        raise InputError("a kernel of depth 1 is linear: the rows are its features; depth must be at least 2")
    return wanted


def feature_maps(
    rows: Rows, features: int, kernel: str, depths: Sequence[int], method: str, randomness: Randomness
) -> Iterator[tuple[int, Matrix]]:
    """`ntk_features` at several depths, sorted and valid; each matrix is the caller's to keep, change or drop.

    No bit of one depends on which others are asked for.
    """
    if rows.norms.max() > LARGEST_NORM:
        raise InputError(f"a row has norm {rows.norms.max():.3g}, its Gram matrix overflows: rescale the data")
    if method == "tensor-sketch":
        for depth, psi in _of_series(rows.unit, features, kernel, depths, randomness.hashes):
            yield depth, _scaled(psi, rows)
            del psi
        return
    for depth, psi in _layers(rows.unit, features, kernel, depths[-1], randomness):
        if depth in depths:
            yield depth, _scaled(psi if depth == depths[-1] else psi.copy(), rows)
        del psi


def _scaled(psi: Matrix, rows: Rows) -> Matrix:
    psi *= rows.norms[:, None]
    return psi


def _layers(
    unit: Matrix, features: int, kernel: str, deepest: int, randomness: Randomness
) -> Iterator[tuple[int, Matrix]]:
    """psi of depth 2, 3, ..., (n, features): columns of rectifiers, then those of the sketched product."""
    own = {"ntk": features - features // 2, "conjugate": features, "h-infinity": 0}[kernel]
    size = math.sqrt((1.0 if kernel == "h-infinity" else 2.0) / features)  # of a gate
    before, active = unit, unit
    for depth in range(2, deepest + 1):
        psi = np.empty((len(unit), features))
        if own:
            rectify(active, randomness.rectifiers, depth - 1, psi[:, :own])
        if own < features:
            opened = gates(active, randomness.gates, depth - 1, features)
            inputs = features, before.shape[1]
            product = TensorSketch.draw(randomness.hashes.stream(depth), inputs, features - own)
            product.fill(opened, before, psi[:, own:], size)
            del opened
        before, active = psi, psi[:, :own]
        yield depth, psi
        del psi


def _of_series(
    unit: Matrix, features: int, kernel: str, depths: Sequence[int], hashes: Hashes
) -> Iterator[tuple[int, Matrix]]:
    """Columns for the constant, for the linear part where there is room, and for all higher powers together.

    Neither of the first two needs a sketch, and they make up most of the kernel: what they hold has no error. Sketches
    of powers serve all depths, which differ in the coefficients alone.
    """
    n, d = unit.shape
    exact = 1 + d if 2 * (1 + d) <= features else 1
    made = {depth: (surrogate(kernel, depth, DEGREE), np.zeros((n, features))) for depth in depths}
    sums = hashes.stream(_SUMS)
    linear = CountSketch.draw(sums, d, features - exact)
    for coefficients, psi in made.values():
        psi[:, 0] = math.sqrt(coefficients[0])
        if exact > 1:
            np.multiply(unit, math.sqrt(coefficients[1]), out=psi[:, 1:exact])
        else:
            linear.add(unit, psi[:, exact:], math.sqrt(coefficients[1]))
    for r, sketch in powers(hashes.stream(_POWERS), unit, DEGREE, features):
        into = CountSketch.draw(sums, features, features - exact)
        for coefficients, psi in made.values():
            if coefficients[r]:
                into.add(sketch, psi[:, exact:], math.sqrt(coefficients[r]))
    del sketch, psi  # the caller has what is yielded, and nothing else stays behind
    for depth in depths:
        yield depth, made.pop(depth)[1]
