"""Intervals, bands and sequential tests for Monte Carlo counts: pure, vectorized functions of arrays."""

from ntkmc.statistics.distances import distance_interval, kolmogorov_distance
from ntkmc.statistics.intervals import (
    certifying_trials,
    clopper_pearson,
    dkw_band,
    dkw_halfwidth,
    quantile_interval,
    quantile_lower_limit,
    wilson,
)
from ntkmc.statistics.multiplicity import e_bh, holm, log_e_range, mean_log_e
from ntkmc.statistics.scaling import Estimate, exponents, halves, sub_gaussian_scale
from ntkmc.statistics.sequential import (
    confidence_sequence,
    log_e_process,
    mean_lower_limit,
    mean_sequence,
    quantile_sequence,
)

__all__ = [
    "Estimate",
    "certifying_trials",
    "clopper_pearson",
    "confidence_sequence",
    "distance_interval",
    "dkw_band",
    "dkw_halfwidth",
    "e_bh",
    "exponents",
    "halves",
    "holm",
    "kolmogorov_distance",
    "log_e_process",
    "log_e_range",
    "mean_log_e",
    "mean_lower_limit",
    "mean_sequence",
    "quantile_interval",
    "quantile_lower_limit",
    "quantile_sequence",
    "sub_gaussian_scale",
    "wilson",
]
