"""Studies as data: model, loading, grid cells, addresses of random draws, measurements, and versioned constants.

This sub-package imports no other sub-package of `experiment`.
"""

from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.loading import load_study, parse_study
from ntkmc.experiment.study.measurements import DRAWS, MEASUREMENTS, MeasurementKey
from ntkmc.experiment.study.model import Study

__all__ = [
    "DRAWS",
    "MEASUREMENTS",
    "Cell",
    "MeasurementKey",
    "Study",
    "load_study",
    "parse_study",
]
