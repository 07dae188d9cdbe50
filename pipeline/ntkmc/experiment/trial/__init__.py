"""One trial in one process: draw the rows, measure what the study asks for, and return arrays. No storage, no cluster.

May import `schema` and `study`.
"""

from ntkmc.experiment.trial.draw import Recipe, draw
from ntkmc.experiment.trial.measurements import MEASURES

__all__ = [
    "MEASURES",
    "Recipe",
    "draw",
]
