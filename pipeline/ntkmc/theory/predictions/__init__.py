"""Predictions to compare with the samples: asymptotic or heuristic values and limiting laws of eigenvalues and of the
coherence. A prediction never decides a verdict.

May import `kernels` and `distributions`.
"""

from ntkmc.theory.predictions.predictors import LAWS, PREDICTORS, laws_for, predictions
from ntkmc.theory.predictions.spectral_law import FreeSum, elkaroui_law, free_sum_law

__all__ = [
    "LAWS",
    "PREDICTORS",
    "FreeSum",
    "elkaroui_law",
    "free_sum_law",
    "laws_for",
    "predictions",
]
