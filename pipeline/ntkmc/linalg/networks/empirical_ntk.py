"""Tangent kernel of a finite ReLU network at its initialization.

The gradient in the weights of layer l is an outer product of the activations below the layer and the derivatives above
it. The kernel is therefore a sum over layers of Hadamard products, (Gram matrix of the activations below) o (Gram
matrix of the derivatives above). The Jacobian, whose columns are millions of weights, is never formed.

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
from ntkmc.linalg.eigen.rows import Rows, as_data, split_rows
from ntkmc.linalg.eigen.spectrum import Ends, largest_eigenvalue
from ntkmc.linalg.gram.comparison import Comparison, compare_with_kernel
from ntkmc.linalg.gram.enclosures import grams_with_errors
from ntkmc.linalg.gram.matrix import PANEL, check_norms, grams_of_rows
from ntkmc.linalg.networks.weights import NUMERICS as WEIGHTS_NUMERICS
from ntkmc.linalg.networks.weights import STREAM, Weights, check_width
from ntkmc.numeric import UNIT_ROUNDOFF, Matrix
from ntkmc.theory.kernels import check_depths

# 4096 neurons: large enough for BLAS to run at full speed, small enough that memory does not grow with the width.
BLOCK: Final = 16 * STREAM
"""Number of neurons of a two-layer network that are processed together. It determines the order of sums: see
`NUMERICS`."""

NUMERICS: Final = {**WEIGHTS_NUMERICS, "block": BLOCK}

NETWORK_KERNELS: Final = ("h-infinity", "ntk")
"""Kernels that are the limit of a tangent kernel."""


def empirical_ntk(
    X: ArrayLike,
    width: int,
    kernel: str = "ntk",
    depth: int = 2,
    *,
    seed: int | np.random.SeedSequence = 0,
) -> Matrix:
    """Return the tangent kernel of a random ReLU network of finite width; its limit is `ntkmc.gram(X, kernel, depth)`.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows; any norms.
    width : int
        Neurons m of every hidden layer.
    kernel : {"ntk", "h-infinity"}
        `ntk`: (2 / m)^(L-1) J J' for the network x -> W_L s(W_{L-1} ... s(W_1 x)) with s = max(0, .), i.i.d. N(0, 1)
        weights, all of which are trained (Nguyen, Mondelli & Montúfar, ICML 2021, Sec. 2). `h-infinity`: H_m of
        x -> sum_r a_r s(w_r'x) / sqrt(m), with w_r ~ N(0, I) trained and the signs a_r frozen (Du et al., ICLR 2019;
        Arora et al., ICML 2019).
    depth : int
        Number of weight layers L; 2 for `h-infinity`.
    seed : int or numpy.random.SeedSequence
        Determines the weights for every width and depth; a wider network begins with the same neurons.

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
    Time: n**2 m per layer, and n m**2 for each hidden layer after the first. Memory: with two layers a few n x n
    matrices and n x 4096 numbers, for every width. Deeper networks take one n x n matrix per layer and, for each data
    row and neuron, 16 bytes and 1 byte per hidden layer. Weights are drawn when they are needed, 256 neurons at a
    time, and drawn again for the backward pass.

    Examples
    --------
    >>> X = [[1.0, 0.0], [0.0, 1.0]]
    >>> empirical_ntk(X, 100_000, "h-infinity").round(2).tolist()  # the limit has 1/2 on its diagonal
    [[0.5, 0.0], [0.0, 0.5]]
    """
    depths = check_network_kernel(kernel, (depth,))
    rows = split_rows(as_data(X))
    return next(empirical_ntks(rows, check_width(width), kernel, depths, Weights.of(seed)))[1]


def check_network_kernel(kernel: str, depths: Sequence[int]) -> list[int]:
    """Return the depths, sorted and without repetitions; `InputError` for a kernel not in `NETWORK_KERNELS`."""
    distinct = check_depths(kernel, depths)
    if kernel not in NETWORK_KERNELS:
        raise InputError(
            f"kernel {kernel} is no network's tangent kernel: finite widths are for {' and '.join(NETWORK_KERNELS)}"
        )
    return distinct


def empirical_ntks(
    rows: Rows, width: int, kernel: str, depths: Sequence[int], weights: Weights
) -> Iterator[tuple[int, Matrix]]:
    """Yield (depth, `empirical_ntk`) at several depths, sorted and valid; the caller may change the matrices.

    Each matrix is bitwise independent of which other depths are requested.
    """
    check_norms(rows)
    deep = [depth for depth in depths if depth > 2]
    for depth in depths:
        if depth == 1:
            yield depth, _linear(rows)
        elif depth == 2:
            yield depth, _gated(rows, width, weights) if kernel == "h-infinity" else _two_layers(rows, width, weights)
    if deep:
        yield from _deep(rows, width, deep, weights)


def _linear(rows: Rows) -> Matrix:
    """Return X X'."""
    return next(grams_of_rows(rows, "ntk", (1,)))[1]


def _columns(rows: Rows) -> Matrix:
    """Return X' as a C-contiguous (d, n) array."""
    return np.ascontiguousarray((rows.unit * rows.norms[:, None]).T)


def _gated(rows: Rows, width: int, weights: Weights) -> Matrix:
    """Return H_m = X X' o C / m, where C_ij counts the neurons that are open at both x_i and x_j."""
    d = rows.unit.shape[1]
    directions = np.ascontiguousarray(rows.unit.T)  # a gate does not depend on the norm
    n = directions.shape[1]
    counts = np.zeros((n, n))
    for _, W in weights.blocks(1, width, d, BLOCK):
        # float32 doubles the speed. Sums of zeros and ones are exact in it up to 2**24, far above BLOCK: for the gates
        # as computed, C is exact in every order of summation.
        _add_gram(((W @ directions) >= 0.0).astype(np.float32), counts)
        del W  # before the next block is drawn: otherwise two blocks would be held at once, here and below
    counts /= width
    counts *= _linear(rows)
    return counts


def _two_layers(rows: Rows, width: int, weights: Weights) -> Matrix:
    """Return (2 / m) (X X' o sum_r a_r**2 1_r 1_r' + sum_r s_r s_r'), for gates 1_r and activations s_r."""
    X = _columns(rows)
    d, n = X.shape
    gates, activations = np.zeros((n, n)), np.zeros((n, n))
    output = weights.neurons(2, 0, 1, width)[0]
    for part, W in weights.blocks(1, width, d, BLOCK):
        Z = W @ X
        _add_gram((Z > 0.0) * output[part, None], gates)
        _add_gram(np.maximum(Z, 0.0, out=Z), activations)
        del W, Z
    gates *= _linear(rows)
    gates += activations
    gates *= 2.0 / width
    return gates


def _deep(rows: Rows, width: int, depths: Sequence[int], weights: Weights) -> Iterator[tuple[int, Matrix]]:
    """Yield the kernels of networks with three or more layers: one forward pass, and one backward pass per depth."""
    # The factor (2 / m)**(L - 1) of the kernel is spread over the hidden layers: no intermediate result overflows.
    # Arrays over neurons are (m, n), so that blocks of neurons are contiguous.
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
        K = below[depth - 1].copy()  # of the weights of the output, which have no layer above them
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
    """Return columns' columns."""
    total = np.zeros((columns.shape[1], columns.shape[1]))
    _add_gram(columns, total)
    return total


def _add_gram(columns: NDArray[Any], total: Matrix) -> None:
    """Add columns' columns to `total`, exactly symmetric."""
    # In panels, as in `gram.matrix.row_products`: a threaded product with its own transpose crashes for large n.
    n = len(total)
    for first in range(0, n, PANEL):
        stop = min(first + PANEL, n)
        panel = np.ascontiguousarray(columns[:, first:stop])
        total[first:stop, first:stop] += panel.T @ panel
        for before in range(0, first, PANEL):
            product = panel.T @ columns[:, before : before + PANEL]
            total[first:stop, before : before + PANEL] += product
            total[before : before + PANEL, first:stop] += product.T


@dataclass(frozen=True)
class NetworkComparison(Comparison):
    """Kernel of one network at one depth, compared with its limit.

    Attributes
    ----------
    data_norm : (float, float)
        Ends of the largest eigenvalue of X X'.
    """

    data_norm: Ends


def measure_network(
    rows: Rows, width: int, kernel: str, depths: Sequence[int], weights: Weights
) -> Iterator[tuple[int, NetworkComparison]]:
    """Compare a network of one width with its limit at several depths, sorted and valid; yield (depth, comparison).

    For `h-infinity` all bounds hold for the exact H_m of the rows, for the gates as computed. A gate whose argument is
    zero up to rounding, which has probability about 1e-14, may be on the other side. For `ntk` they hold for the
    kernel that exact arithmetic makes of the activations and derivatives as computed; the errors of these, about 1e-14
    of an entry, are not included. Errors of the limit are included.
    """
    _, linear, linear_error = next(grams_with_errors(rows, "ntk", (1,)))
    data_norm = largest_eigenvalue(linear, linear_error)
    del linear
    # For given gates, H_m is X X' times the shares of open gates: two more roundings per entry.
    gated_error = linear_error + 2.5 * UNIT_ROUNDOFF * float(np.sum(rows.norms**2))

    def networks() -> Iterator[tuple[Matrix, float]]:
        for depth, K in empirical_ntks(rows, width, kernel, depths, weights):
            yield K, gated_error if kernel == "h-infinity" else _sums_error(K, depth, width, rows.unit.shape[1])
            del K

    for depth, comparison in compare_with_kernel(rows, kernel, depths, networks()):
        yield depth, NetworkComparison(**vars(comparison), data_norm=data_norm)


def _sums_error(K: Matrix, depth: int, width: int, d: int) -> float:
    """Bound the norm of the rounding error of the sum over layers of (Gram matrix below) o (Gram matrix above).

    A dot product of length k has error at most k u |a| |b| in any order of summation (Jeannerod & Rump, SIMAX 2013).
    An entry of the sum therefore has error at most (2 k + 8 + depth) u times the root of two diagonal entries, and the
    trace of the sum bounds the norm. Exact kernels of these matrices are positive semi-definite; the computed one need
    not be.
    """
    # Two layers are summed over blocks of neurons, within each by a product, and then block by block. The factor 1.1
    # covers the rounding of the trace and terms of second order in u.
    length = max(d + 8, min(width, BLOCK) + width // BLOCK + 1 if depth <= 2 else width)
    return 1.1 * (2 * length + 8 + depth) * UNIT_ROUNDOFF * float(np.trace(K))
