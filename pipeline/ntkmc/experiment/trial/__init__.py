"""Computation of trials in one process: draw the rows, measure them, and return arrays. No storage, no cluster.

This sub-package may import `schema` and `study`.
"""

from ntkmc.experiment.trial.draw import Recipe, draw
from ntkmc.experiment.trial.measurements import MEASURES

__all__ = [
    "MEASURES",
    "Recipe",
    "draw",
]
