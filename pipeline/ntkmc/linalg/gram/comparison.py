"""Comparison of an empirical tangent kernel or a sketched kernel with the exact kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ntkmc.linalg.eigen.result import Eigenvalue
from ntkmc.linalg.eigen.rows import Rows
from ntkmc.linalg.eigen.smallest import enclose
from ntkmc.linalg.eigen.spectrum import Ends, difference_norms, largest_eigenvalue
from ntkmc.linalg.eigen.symmetric import in_place
from ntkmc.linalg.gram.enclosures import grams_with_errors, widen_by_kernel_error
from ntkmc.numeric import Matrix


@dataclass(frozen=True)
class Comparison:
    """An approximation of a kernel's Gram matrix, compared with the exact kernel K of the rows.

    Attributes
    ----------
    smallest : Eigenvalue
        lambda_min of the approximation.
    deviation : (float, float)
        Ends of the operator norm of (approximation - K).
    entry_deviation : (float, float)
        Ends of the largest absolute entry of that difference.
    kernel_norm : (float, float)
        Ends of the largest eigenvalue of K.
    """

    smallest: Eigenvalue
    deviation: Ends
    entry_deviation: Ends
    kernel_norm: Ends


def compare_with_kernel(
    rows: Rows, kernel: str, depths: Sequence[int], approximations: Iterator[tuple[Matrix, float]]
) -> Iterator[tuple[int, Comparison]]:
    """Compare one approximation per depth with the kernel at that depth; yield (depth, comparison).

    `depths` are sorted and valid. `approximations` yields, in the order of the depths, a symmetric matrix, which is
    overwritten, and a bound on the norm of its error.
    """
    for depth, K, kernel_rounding in grams_with_errors(rows, kernel, depths):
        # Not by `zip`, whose result tuple would keep every matrix alive until the next depth.
        approximation, error = next(approximations)
        difference = approximation - K
        smallest = widen_by_kernel_error(enclose(in_place(approximation)), error)
        del approximation
        kernel_norm = largest_eigenvalue(K, kernel_rounding)
        del K
        yield depth, Comparison(smallest, *difference_norms(difference, kernel_rounding + error), kernel_norm)
        del difference
