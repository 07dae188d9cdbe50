"""The study as data: its model, how it is read, its cells, the address of every random draw, what a trial measures,
and the constants that can change a bit.

Imports nothing else of `experiment`.
"""

from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.loading import load_study, parse_study
from ntkmc.experiment.study.measurements import AXES, PLAIN, Part
from ntkmc.experiment.study.model import Study

__all__ = [
    "AXES",
    "PLAIN",
    "Cell",
    "Part",
    "Study",
    "load_study",
    "parse_study",
]
