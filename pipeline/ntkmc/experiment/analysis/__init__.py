"""What follows from stored trials: estimates per cell, verdicts of claims, verdicts over all cells, and the writing of
both.

May import `store`, `schema` and `study`.
"""

from ntkmc.experiment.analysis.estimates import Rules
from ntkmc.experiment.analysis.update import Derived

__all__ = [
    "Derived",
    "Rules",
]
