"""Cost and order of the statistics of a trial."""

from __future__ import annotations

import numpy as np

from measured import measured
from ntkmc.theory.claims.trial_statistics import (
    ALWAYS,
    EDGES,
    LARGEST_SPECTRUM,
    LEVELS,
    SPECTRUM,
    STATISTICS,
    eigenvalue_problems,
    required,
)


def test_eigenvalue_problems() -> None:
    """Of a draw: 6 powers, kappa_0, 5 Khatri-Rao products, 3 unscaled powers, log det X X'. Of a depth L: 4, and L."""
    once, at_depth = 6 + 1 + 5 + 3 + 1, 4 + 6 + 12
    assert eigenvalue_problems(STATISTICS, (2, 3)) == once + 2 * at_depth + 2 + 3
    assert eigenvalue_problems(STATISTICS, (2, 3), LARGEST_SPECTRUM) == eigenvalue_problems(STATISTICS, (2, 3))
    assert eigenvalue_problems(STATISTICS, (2,), LARGEST_SPECTRUM + 1) == once + at_depth - 12 + 2
    assert eigenvalue_problems(ALWAYS, (2, 3, 4)) == 0.0


def test_statistics_with_a_depth_axis_are_those_that_depend_on_the_depth() -> None:
    X = np.random.default_rng(0).standard_normal((40, 30))
    shallow, deep = (measured(X, "ntk", depth)[1] for depth in (2, 5))
    for name, statistic in STATISTICS.items():
        equal = shallow[name].tolist() == deep[name].tolist()
        assert equal != (statistic.per_depth and bool(np.isfinite(deep[name]).all())), name


def test_what_a_study_of_spectra_measures() -> None:
    assert required([]) == tuple(sorted(ALWAYS, key=list(STATISTICS).index))
    assert set(EDGES) < set(SPECTRUM)
    ends = {f"{name}_{end}" for name in ("lambda_max", "decay_exponent") for end in ("lower", "upper")}
    quantiles = {f"eigenvalue_q{round(100 * level):02d}" for level in LEVELS}
    assert set(SPECTRUM) == ends | quantiles | {"spectrum_radius", "elkaroui_distance", "free_sum_distance"}
    assert len(quantiles) == len(LEVELS) == 13
    assert list(LEVELS) == sorted(LEVELS)
