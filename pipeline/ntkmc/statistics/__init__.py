"""Intervals, bands and sequential tests for Monte Carlo counts: pure, vectorized, without any knowledge of kernels."""

from ntkmc.statistics.intervals import (
    certifying_trials,
    clopper_pearson,
    dkw_band,
    dkw_halfwidth,
    quantile_interval,
    quantile_lower_limit,
    wilson,
)
from ntkmc.statistics.sequential import confidence_sequence, log_e_process

__all__ = [
    "certifying_trials",
    "clopper_pearson",
    "confidence_sequence",
    "dkw_band",
    "dkw_halfwidth",
    "log_e_process",
    "quantile_interval",
    "quantile_lower_limit",
    "wilson",
]
