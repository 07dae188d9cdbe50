"""Feature maps of the kernels: Phi (n, features) whose Gram matrix Phi Phi' approximates that of the kernel.

Two constructions, after Zandieh, Han, Avron, Shoham, Kim & Shin (NeurIPS 2021), whose normalized kernel of L - 1
hidden layers is k_L here.

`random-features` (their Algorithm 2): layer by layer, with gates g_l and rectifiers a_l of random directions,

    psi_l = [a_l(a_{l-1}), Q_l(g_l(a_{l-1}) (x) psi_{l-1})],   a_0 = psi_0 = x / |x|,   Phi = |x| psi_{L-1},

with Q_l a tensor sketch. The mean of Phi Phi' is the kernel for two layers. For more layers it differs by a multiple
of 1 / features, because kappa_0 and kappa_1 are not linear functions of the cosine.

`tensor-sketch` (their Algorithm 1, but with one polynomial for the whole kernel instead of two for each layer): tensor
sketches of the powers in a polynomial of degree `DEGREE`, made from the kernel's power series, whose coefficients are
not negative. The cost does not depend on the depth. The mean is the polynomial, which differs from the kernel where
rows are nearly parallel.

Gates and rectifiers are random features of the arc-cosine kernels of order 0 and 1. With w ~ N(0, I), kappa_0 =
2 E[1{w'x > 0} 1{w'y > 0}] and kappa_1 = 2 E[s(w'x) s(w'y)] for unit vectors x, y and s = max(0, .) (Cho & Saul,
NeurIPS 2009).
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
from ntkmc.linalg.gram.matrix import check_norms
from ntkmc.linalg.networks.weights import LARGEST_WIDTH, STREAM, Weights
from ntkmc.linalg.sketching.sketches import CountSketch, Hashes, TensorSketch, powers
from ntkmc.numeric import Matrix, integer_between
from ntkmc.theory.kernels import check_depths
from ntkmc.theory.kernels.series import surrogate

METHODS: Final = ("random-features", "tensor-sketch")

DEGREE: Final = 32
"""Degree of the polynomial that replaces the kernel. The two differ by less than 2e-6 L at cosines up to 0.7, by less
than 4e-3 L up to 0.9, and by at most 0.04 L."""

NUMERICS: Final = {"stream": STREAM, "degree": DEGREE}

_POWERS, _SUMS = 0, 1
"""Streams of hashes: sketches of powers, and maps from powers to columns. From 2 on: products of layers."""


def gates(A: Matrix, weights: Weights, layer: int, features: int) -> NDArray[np.bool_]:
    """Return the sides of random hyperplanes on which the rows of A lie, (n, features).

    Times sqrt(2 / features) they are features of kappa_0.
    """
    positive = np.empty((len(A), features), dtype=np.bool_)
    for part, W in weights.blocks(layer, features, A.shape[1]):
        np.greater(A @ W.T, 0.0, out=positive[:, part])
    return positive


def rectify(A: Matrix, weights: Weights, layer: int, result: NDArray[Any]) -> None:
    """Fill `result`, (n, features), with features of |x| |y| kappa_1 of the rows of A, one per column."""
    # Each direction is scaled to its root mean square length. The length of w is independent of its direction, so that
    # the mean is unchanged and the variance falls: fourth moments of |w| no longer enter. This is importance sampling
    # of w with a density that grows as |w|**2, for which Zandieh et al. use a Gibbs sampler.
    inputs, features = A.shape[1], result.shape[1]
    scale = math.sqrt(2.0 * inputs / features)
    for part, W in weights.blocks(layer, features, inputs):
        W *= scale / np.linalg.norm(W, axis=1)[:, None]
        np.maximum(A @ W.T, 0.0, out=result[:, part])


@dataclass(frozen=True)
class Randomness:
    """Random numbers of a feature map.

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
        """Return the random numbers of a seed; `InputError` unless it is a non-negative integer or a seed sequence."""
        if not isinstance(seed, np.random.SeedSequence):
            Weights.of(seed)  # raises for anything that is not a seed
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
    """Return features Phi of data rows whose Gram matrix Phi Phi' approximates `ntkmc.gram(X, kernel, depth)`.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    features : int
        Columns of Phi, at least 2. The error falls like features**(-1/2).
    kernel : {"ntk", "h-infinity", "conjugate"}
        As for `ntkmc.gram`.
    depth : int
        Number of weight layers L, at least 2.
    method : {"random-features", "tensor-sketch"}
        Random features layer by layer, or tensor sketches of the kernel's power series.
    seed : int or numpy.random.SeedSequence
        Determines the map. It is the same for all rows: use one seed for a training set and its test set.

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
    Time, with s features: random features take n d s for the first layer and n s**2 for each further one. Tensor
    sketches take n s log s for each of 31 powers, for every depth. Memory: two or three n x s arrays.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.0, 1.0]]
    >>> Phi = ntk_features(X, 50_000, depth=2)
    >>> bool(np.abs(Phi @ Phi.T - [[2.0, 0.31831], [0.31831, 2.0]]).max() < 0.05)
    True
    """
    depths = check_features(kernel, (depth,), method)
    rows = split_rows(as_data(X))
    return next(feature_maps(rows, check_number(features), kernel, depths, method, Randomness.of(seed)))[1]


def check_number(features: int) -> int:
    """Return a number of features as an int; `InputError` unless it is an integer from 2 to `LARGEST_WIDTH`."""
    return integer_between("features", features, 2, LARGEST_WIDTH)


def check_features(kernel: str, depths: Sequence[int], method: str) -> list[int]:
    """Return the depths, sorted and without repetitions; `InputError` for depth 1 or an unknown kernel or method."""
    if method not in METHODS:
        raise InputError(f"unknown method {method!r}: {did_you_mean(method, METHODS)}")
    distinct = check_depths(kernel, depths)
    if distinct[0] == 1:
        raise InputError("a kernel of depth 1 is linear: the rows are its features; depth must be at least 2")
    return distinct


def feature_maps(
    rows: Rows, features: int, kernel: str, depths: Sequence[int], method: str, randomness: Randomness
) -> Iterator[tuple[int, Matrix]]:
    """Yield (depth, `ntk_features`) at several depths, sorted and valid; the caller may change the matrices.

    Each matrix is bitwise independent of which other depths are requested.
    """
    check_norms(rows)
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
    """Return psi with each row multiplied by the norm of its data row, in place."""
    psi *= rows.norms[:, None]
    return psi


def _layers(
    unit: Matrix, features: int, kernel: str, deepest: int, randomness: Randomness
) -> Iterator[tuple[int, Matrix]]:
    """Yield (depth, psi), psi (n, features), for depth 2, 3, ...: rectifiers, then the sketched product."""
    rectified = rectifier_columns(kernel, features)
    gate = math.sqrt((1.0 if kernel == "h-infinity" else 2.0) / features)  # value of an open gate
    before, active = unit, unit
    for depth in range(2, deepest + 1):
        psi = np.empty((len(unit), features))
        if rectified:
            rectify(active, randomness.rectifiers, depth - 1, psi[:, :rectified])
        if rectified < features:
            opened = gates(active, randomness.gates, depth - 1, features)
            inputs = features, before.shape[1]
            product = TensorSketch.draw(randomness.hashes.stream(depth), inputs, features - rectified)
            product.fill(opened, before, psi[:, rectified:], gate)
            del opened
        before, active = psi, psi[:, :rectified]
        yield depth, psi
        del psi


def rectifier_columns(kernel: str, features: int) -> int:
    """Return the number of columns of psi that are rectifiers; the others are those of the sketched product.

    The NTK is the sum of both terms of the recursion, which get equal shares; each other kernel has one of them alone.
    """
    return {"ntk": features - features // 2, "conjugate": features, "h-infinity": 0}[kernel]


def _of_series(
    unit: Matrix, features: int, kernel: str, depths: Sequence[int], hashes: Hashes
) -> Iterator[tuple[int, Matrix]]:
    """Yield (depth, psi): columns for the constant, the linear part if it fits, and all higher powers together."""
    # The constant and the linear part need no sketch, hence have no error, and make up most of the kernel. The linear
    # part takes d columns: it is exact if at least half of the columns remain for the higher powers.
    n, d = unit.shape
    exact = 1 + d if 2 * (1 + d) <= features else 1
    # One sketch of each power is added to the columns of all depths, which differ only in their coefficients.
    series = {depth: (surrogate(kernel, depth, DEGREE), np.zeros((n, features))) for depth in depths}
    sums = hashes.stream(_SUMS)
    linear = CountSketch.draw(sums, d, features - exact)
    for coefficients, psi in series.values():
        psi[:, 0] = math.sqrt(coefficients[0])
        if exact > 1:
            np.multiply(unit, math.sqrt(coefficients[1]), out=psi[:, 1:exact])
        else:
            linear.add(unit, psi[:, exact:], math.sqrt(coefficients[1]))
    for r, sketch in powers(hashes.stream(_POWERS), unit, DEGREE, features):
        columns = CountSketch.draw(sums, features, features - exact)
        for coefficients, psi in series.values():
            if coefficients[r]:
                columns.add(sketch, psi[:, exact:], math.sqrt(coefficients[r]))
    del sketch, psi  # memory: only the results that are not yet yielded are kept
    for depth in depths:
        yield depth, series.pop(depth)[1]
