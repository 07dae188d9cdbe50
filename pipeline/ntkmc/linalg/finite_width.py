"""How far a finite network's tangent kernel is from its limit: norms and smallest eigenvalues, all enclosed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ntkmc.linalg.eigenvalue import Eigenvalue
from ntkmc.linalg.empirical import BLOCK, empirical_ntks
from ntkmc.linalg.exact import about_exact_kernel, kernel_error
from ntkmc.linalg.gram import coherence_of, cosines, grams_of_cosines, grams_of_rows
from ntkmc.linalg.network import Weights
from ntkmc.linalg.norms import Ends, difference_norms, largest_eigenvalue
from ntkmc.linalg.rows import Matrix, Rows
from ntkmc.linalg.smallest import enclose
from ntkmc.linalg.symmetric import own
from ntkmc.theory.kernels.functions import UNIT_ROUNDOFF


@dataclass(frozen=True)
class Network:
    """One network at one depth, beside the limit of its kernel.

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
        smallest = about_exact_kernel(enclose(own(found)), own_error)
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
