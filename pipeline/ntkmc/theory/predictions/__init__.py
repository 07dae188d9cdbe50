"""Asymptotic or heuristic predictions of lambda_min, the eigenvalues and the coherence, as values and as laws.

They are compared with the samples, and never decide a verdict.

May import `kernels` and `distributions`.
"""

from ntkmc.theory.predictions.predictors import LAWS, PREDICTORS, laws_for, predictions
from ntkmc.theory.predictions.spectral_law import FreeSum, elkaroui_law, free_sum_law

__all__ = ["LAWS", "PREDICTORS", "FreeSum", "elkaroui_law", "free_sum_law", "laws_for", "predictions"]
