"""The tangent kernel of a finite ReLU network at its initialization.

The gradient in the weights of layer l is an outer product, of what reaches the layer from below and from above. So
the kernel is a sum over layers of Hadamard products, (Gram matrix of the activations below) o (Gram matrix of the
derivatives above), and the Jacobian, whose columns are millions of weights, is never formed.

`measure_network` encloses the smallest eigenvalue of the kernel and its distance from the limiting kernel.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg.blas import dgemm

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.smallest import enclose
from ntkmc.linalg.eigen.spectrum import Ends, difference_norms, largest_eigenvalue
from ntkmc.linalg.eigen.symmetric import in_place
from ntkmc.linalg.gram.enclosures import kernel_error, widen_by_kernel_error
from ntkmc.linalg.gram.matrix import LARGEST_NORM, PANEL, coherence_of, cosines, grams_of_cosines, grams_of_rows
from ntkmc.linalg.networks.weights import NUMERICS as NETWORK
from ntkmc.linalg.networks.weights import STREAM, Weights, check_width
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix
from ntkmc.theory.kernels import check_depths

BLOCK: Final = 16 * STREAM
"""Neurons of a two-layer network that are looked at together. It decides the order of sums: see `NUMERICS`."""

NUMERICS: Final = {**NETWORK, "block": BLOCK}

FINITE: Final = ("h-infinity", "ntk")
"""Kernels that are the limit of a tangent kernel."""


def empirical_ntk(
    X: ArrayLike,
    width: int,
    kernel: str = "ntk",
    depth: int = 2,
    *,
    seed: int | np.random.SeedSequence = 0,
) -> Matrix:
    """Tangent kernel of a random ReLU network of finite width, which tends to `ntkmc.gram(X, kernel, depth)`.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    width : int
        Neurons m of every hidden layer.
    kernel : {"ntk", "h-infinity"}
        `ntk`: (2 / m)^(L-1) J J' for the network x -> W_L s(W_{L-1} ... s(W_1 x)) with s = max(0, .), i.i.d. N(0, 1)
        weights and all of them trained (Nguyen, Mondelli & Montúfar, ICML 2021, Sec. 2). `h-infinity`: H_m of
        x -> sum_r a_r s(w_r'x) / sqrt(m), with w_r ~ N(0, I) trained and the signs a_r frozen (Du et al., ICLR 2019;
        Arora et al., ICML 2019).
    depth : int
        Number of weight layers L; 2 for `h-infinity`.
    seed : int or numpy.random.SeedSequence
        Determines the weights of a network of any width and depth: a wider one begins with the same neurons.

    Returns
    -------
    ndarray, (n, n), float64
        Exactly symmetric.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array, a kernel without a network, or a width, depth or seed that is not
        an integer of its range.

    Notes
    -----
    Time: n**2 m a layer, and n m**2 for each hidden layer after the first. Memory: with two layers that of a few
    n x n matrices and of n x 4096 numbers, whatever the width; deeper networks take, for each data row and neuron, 16
    bytes and 1 byte a hidden layer, and an n x n matrix a layer. Weights are drawn when they are needed, 256 neurons
    at a time, and drawn again for the backward pass.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.0, 1.0]]
    >>> empirical_ntk(X, 100_000, "h-infinity").round(2).tolist()  # the limit has 1/2 on its diagonal
    [[0.5, 0.0], [0.0, 0.5]]
    """
    wanted = check_finite(kernel, (depth,))
    rows = split_rows(as_data(X))
    return next(empirical_ntks(rows, check_width(width), kernel, wanted, Weights.of(seed)))[1]


def check_finite(kernel: str, depths: Sequence[int]) -> list[int]:
    """Depths, sorted and each once; `InputError` where the kernel is not the limit of a network's tangent kernel."""
    wanted = check_depths(kernel, depths)
    if kernel not in FINITE:
        raise InputError(
            f"kernel {kernel} is no network's tangent kernel: finite widths are for {' and '.join(FINITE)}"
        )
    return wanted


def empirical_ntks(
    rows: Rows, width: int, kernel: str, depths: Sequence[int], weights: Weights
) -> Iterator[tuple[int, Matrix]]:
    """`empirical_ntk` at several depths, sorted and valid; each matrix is the caller's to keep, change or drop.

    No bit of one depends on which others are asked for.
    """
    if rows.norms.max() > LARGEST_NORM:
        raise InputError(f"a row has norm {rows.norms.max():.3g}, its Gram matrix overflows: rescale the data")
    deep = [depth for depth in depths if depth > 2]
    for depth in depths:
        if depth == 1:
            yield depth, _linear(rows)
        elif depth == 2:
            yield depth, _gated(rows, width, weights) if kernel == "h-infinity" else _two_layers(rows, width, weights)
    if deep:
        yield from _deep(rows, width, deep, weights)


def _linear(rows: Rows) -> Matrix:
    """X X'."""
    return next(grams_of_rows(rows, "ntk", (1,)))[1]


def _columns(rows: Rows) -> Matrix:
    """X', (d, n), C-contiguous."""
    return np.ascontiguousarray((rows.unit * rows.norms[:, None]).T)


def _gated(rows: Rows, width: int, weights: Weights) -> Matrix:
    """H_m = X X' o C / m, where C_ij counts the neurons that are open at both x_i and x_j.

    Products of zeros and ones are exact in float32, and so are their sums up to 2**24: C is exact for the gates as
    computed, whatever the order of summation.
    """
    d = rows.unit.shape[1]
    directions = np.ascontiguousarray(rows.unit.T)  # a gate does not depend on the norm
    n = directions.shape[1]
    counts = np.zeros((n, n))
    for _, W in weights.blocks(1, width, d, BLOCK):
        _add_gram(((W @ directions) >= 0.0).astype(np.float32), counts)
        del W  # otherwise two of them would be held at once, here and below
    counts /= width
    counts *= _linear(rows)
    return counts


def _two_layers(rows: Rows, width: int, weights: Weights) -> Matrix:
    """(2 / m) (X X' o sum_r a_r**2 1_r 1_r' + sum_r s_r s_r'), over neurons with gates 1_r and activations s_r."""
    X = _columns(rows)
    d, n = X.shape
    gates, active = np.zeros((n, n)), np.zeros((n, n))
    output = weights.neurons(2, 0, 1, width)[0]
    for part, W in weights.blocks(1, width, d, BLOCK):
        Z = W @ X
        _add_gram((Z > 0.0) * output[part, None], gates)
        _add_gram(np.maximum(Z, 0.0, out=Z), active)
        del W, Z
    gates *= _linear(rows)
    gates += active
    gates *= 2.0 / width
    return gates


def _deep(rows: Rows, width: int, depths: Sequence[int], weights: Weights) -> Iterator[tuple[int, Matrix]]:
    """Three layers and more. Every hidden layer is scaled by sqrt(2 / m), which the gradients inherit.

    Arrays over neurons are (m, n): blocks of neurons are contiguous.
    """
    scale = math.sqrt(2.0 / width)
    below = [_linear(rows)]
    gates: list[NDArray[np.bool_]] = []
    A = _columns(rows)
    for layer in range(1, depths[-1]):
        Z = np.empty((width, A.shape[1]))
        for part, W in weights.blocks(layer, width, len(A)):
            np.matmul(W, A, out=Z[part])
            del W
        gates.append(Z > 0.0)
        A = np.maximum(Z, 0.0, out=Z)
        A *= scale
        below.append(_gram(A))
        del Z
    del A
    for depth in depths:
        K = below[depth - 1].copy()  # of the output's own weights: nothing lies above them
        B = weights.neurons(depth, 0, 1, width).T * gates[depth - 2]
        B *= scale
        K += below[depth - 2] * _gram(B)
        for layer in range(depth - 2, 0, -1):
            above = np.zeros_like(B)
            for part, W in weights.blocks(layer + 1, width, width):
                # above += W' B[part], in place: BLAS sees C-contiguous matrices as their transposes.
                dgemm(1.0, B[part].T, W.T, beta=1.0, c=above.T, trans_b=True, overwrite_c=True)
                del W
            B = above
            del above
            B *= gates[layer - 1]
            B *= scale
            K += below[layer - 1] * _gram(B)
        del B
        yield depth, K
        del K


def _gram(columns: Matrix) -> Matrix:
    total = np.zeros((columns.shape[1], columns.shape[1]))
    _add_gram(columns, total)
    return total


def _add_gram(columns: NDArray[Any], total: Matrix) -> None:
    """total += columns' columns, exactly symmetric; in panels for large n, as in `gram.cosines`."""
    n = len(total)
    for first in range(0, n, PANEL):
        stop = min(first + PANEL, n)
        here = np.ascontiguousarray(columns[:, first:stop])
        total[first:stop, first:stop] += here.T @ here
        for before in range(0, first, PANEL):
            product = here.T @ columns[:, before : before + PANEL]
            total[first:stop, before : before + PANEL] += product
            total[before : before + PANEL, first:stop] += product.T


@dataclass(frozen=True)
class Network:
    """Kernel of one network at one depth, compared with its limit.

    Attributes
    ----------
    smallest : Eigenvalue
        lambda_min of the network's kernel; see `measure_network` for what matrix it speaks of.
    deviation : (float, float)
        Ends of the operator norm of (network's kernel - limit).
    entry_deviation : (float, float)
        Ends of the largest absolute entry of that difference.
    data_norm : (float, float)
        Ends of the largest eigenvalue of X X'.
    kernel_norm : (float, float)
        Ends of the largest eigenvalue of the limit.
    """

    smallest: Eigenvalue
    deviation: Ends
    entry_deviation: Ends
    data_norm: Ends
    kernel_norm: Ends


def measure_network(
    rows: Rows, width: int, kernel: str, depths: Sequence[int], weights: Weights
) -> Iterator[tuple[int, Network]]:
    """A network of one width at several depths, sorted and valid, on data rows (n, d) that were split.

    Of `h-infinity` all bounds speak of the exact H_m of the rows for the gates as computed: a gate whose argument is
    zero to rounding, which has probability about 1e-14, may be on the other side. Of `ntk` they speak of the kernel
    that is made, without a rounding more, of activations and derivatives as computed; theirs, about 1e-14 of an
    entry, are not folded in. Those of the limit are.
    """
    R = cosines(rows)
    cosine = coherence_of(R, rows)
    linear = next(grams_of_rows(rows, "ntk", (1,)))[1]
    data_norm = largest_eigenvalue(linear, kernel_error(rows, "ntk", 1, cosine))
    del linear
    limits = grams_of_cosines(R, rows, kernel, depths)
    del R  # used up by the limits
    networks = empirical_ntks(rows, width, kernel, depths, weights)
    for (depth, limit), (_, found) in zip(limits, networks, strict=True):
        rounding = kernel_error(rows, kernel, depth, cosine)
        if kernel == "h-infinity":
            own_error = _gates_error(rows, cosine)
        else:
            own_error = _sums_error(found, depth, width, rows.unit.shape[1])
        difference = found - limit
        smallest = widen_by_kernel_error(enclose(in_place(found)), own_error)
        del found
        kernel_norm = largest_eigenvalue(limit, rounding)
        del limit
        yield depth, Network(smallest, *difference_norms(difference, rounding + own_error), data_norm, kernel_norm)
        del difference


def _gates_error(rows: Rows, cosine: float) -> float:
    """Bound on the norm of the error of H_m for given gates: X X' times shares of open gates, two more roundings."""
    energy = float(np.sum(rows.norms**2))
    return kernel_error(rows, "ntk", 1, cosine) + 2.5 * UNIT_ROUNDOFF * energy


def _sums_error(found: Matrix, depth: int, width: int, d: int) -> float:
    """Bound on the norm of the rounding of sum over layers of (Gram matrix below) o (Gram matrix above).

    A dot product of length k errs by k u |a| |b| in any order of summation (Jeannerod & Rump, SIMAX 2013), so that an
    entry of the sum errs by at most (2 k + 8 + depth) u times the root of two diagonal entries, and the sum's trace
    bounds the norm. Two layers are summed over blocks of neurons, each a product, then block by block. Kernels made
    of such matrices are positive semi-definite, which the computed one need not be.
    """
    length = max(d + 8, min(width, BLOCK) + width // BLOCK + 1 if depth <= 2 else width)
    return 1.1 * (2 * length + 8 + depth) * UNIT_ROUNDOFF * float(np.trace(found))
