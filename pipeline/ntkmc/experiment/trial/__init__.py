"""Computation of trials in one process: draw the rows, measure them, and return arrays. No storage, no cluster.

This sub-package may import `schema` and `study`.
"""

from ntkmc.experiment.trial.draw import TrialConfig, draw
from ntkmc.experiment.trial.measurements import COST

__all__ = [
    "COST",
    "TrialConfig",
    "draw",
]
