"""Analysis of stored trials: estimates per cell, verdicts on claims per cell and over all cells, and their storage.

This sub-package may import `store`, `schema` and `study`.
"""

from ntkmc.experiment.analysis.estimates import Rules
from ntkmc.experiment.analysis.update import Derived

__all__ = [
    "Derived",
    "Rules",
]
