"""Declarations of the groups, variables and coordinates of a store.

Arrays are created, annotated and validated from these declarations alone. This sub-package may import `study`.
"""

from ntkmc.experiment.schema.groups import VARIABLES, declared, trial_variables
from ntkmc.experiment.schema.variables import CLAIM, Verdict
from ntkmc.experiment.study.variables import Variable

__all__ = [
    "CLAIM",
    "VARIABLES",
    "Variable",
    "Verdict",
    "declared",
    "trial_variables",
]
