"""Data distributions: named laws of one data row, drawn independently n times.

`build` turns an entry of a study (`gaussian`, `{student-t: {df: 3}}`, `my_laws:shells`) into a `Distribution`;
`sample` draws rows; `check_distribution` tests the properties that a law declares.
"""

from ntkmc.theory.distributions import (
    builtin,  # noqa: F401  (registers the laws)
    dataset,  # noqa: F401  (registers the laws)
)
from ntkmc.theory.distributions.base import DISTRIBUTIONS, Distribution
from ntkmc.theory.distributions.conformance import check_distribution
from ntkmc.theory.distributions.dataset import Dataset, load_vectors
from ntkmc.theory.distributions.factory import build, names, sample
from ntkmc.theory.distributions.plugins import Unimported

__all__ = [
    "DISTRIBUTIONS",
    "Dataset",
    "Distribution",
    "Unimported",
    "build",
    "check_distribution",
    "load_vectors",
    "names",
    "sample",
]
