"""Kernels as functions of norms and cosines: the arc-cosine recursion, bounds on its rounding errors, power series
and Gegenbauer series.

Imports nothing else of `theory`.
"""

from ntkmc.theory.kernels.functions import (
    KERNELS,
    check_depths,
    check_kernel,
    coherence_error,
    diagonal_value,
    entry_error,
)

__all__ = ["KERNELS", "check_depths", "check_kernel", "coherence_error", "diagonal_value", "entry_error"]
