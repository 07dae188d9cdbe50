"""Operations on a finished store: verify, merge, compact, recompute one trial.

May import every other sub-package of `experiment`.
"""
