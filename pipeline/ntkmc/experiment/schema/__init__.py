"""Every group, variable and coordinate of the store, declared once: the declaration creates, annotates and validates.

May import `study`.
"""

from ntkmc.experiment.schema.groups import VARIABLES, declared, trial_variables
from ntkmc.experiment.schema.variables import CLAIM, Variable, Verdict

__all__ = [
    "CLAIM",
    "VARIABLES",
    "Variable",
    "Verdict",
    "declared",
    "trial_variables",
]
