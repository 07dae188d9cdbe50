"""Gram matrices of the limiting kernels, enclosures that hold for the exact kernel of the data (the error of
evaluating its entries folded in), and all eigenvalues.

May import `eigen`.
"""

from ntkmc.linalg.gram.eigenvalues import Eigenvalues, kernel_eigenvalues
from ntkmc.linalg.gram.enclosures import kernel_error, kernel_spectrum, widen_by_kernel_error
from ntkmc.linalg.gram.matrix import gram, grams, grams_of_rows

__all__ = [
    "Eigenvalues",
    "gram",
    "grams",
    "grams_of_rows",
    "kernel_eigenvalues",
    "kernel_error",
    "kernel_spectrum",
    "widen_by_kernel_error",
]
