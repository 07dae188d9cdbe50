"""Data distributions: named laws of one data row, drawn independently n times.

`build` turns what stands in a study (`gaussian`, `{student-t: {df: 3}}`) into a `Distribution`; `sample` draws.
"""

from ntkmc.theory.distributions import dataset, laws  # noqa: F401  (registers the laws)
from ntkmc.theory.distributions.base import DISTRIBUTIONS, Distribution, build, sample
from ntkmc.theory.distributions.dataset import Dataset, load_vectors

__all__ = ["DISTRIBUTIONS", "Dataset", "Distribution", "build", "load_vectors", "sample"]
