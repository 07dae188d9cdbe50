"""Addresses: values in, streams out, no two alike."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkmc.errors import InputError
from ntkmc.experiment.study.address import Purpose, generator, spawn_key
from ntkmc.experiment.trial.draw import TrialConfig, draw
from ntkmc.experiment.trial.run import run_trial, single_thread
from ntkmc.theory.claims.trial_statistics import STATISTICS
from ntkmc.theory.distributions import build


def test_layout_is_frozen() -> None:
    """These words stand in every published result: they must never change."""
    key = spawn_key("student-t(df=3)", 32, 16, 7)
    assert key == (1, 0, 3640343561, 2085878144, 3769350723, 4114113389, 32, 16, 7, 0)
    assert generator(2025, key).integers(0, 2**63, size=2).tolist() == [2626456663149562183, 701791169298427740]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["sphere", "gaussian"]),
            st.integers(0, 5),
            st.integers(0, 5),
            st.integers(0, 5),
            st.sampled_from(Purpose),
            st.integers(0, 3),
        ),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_different_addresses_differ(pair: list[tuple[str, int, int, int, Purpose, int]]) -> None:
    one, other = (generator(1, spawn_key(*address)).integers(0, 2**63, size=2) for address in pair)
    assert not np.array_equal(one, other)


def test_words_must_fit() -> None:
    with pytest.raises(InputError, match="words from 0"):
        spawn_key("sphere", 2**32, 1, 0)


def test_nested_trials_are_prefixes() -> None:
    law = build("gaussian", trusted=True)
    config = TrialConfig(3, "ntk", "mean", nested=True)
    assert np.array_equal(draw(config, law, 5, 8, 2)[:3], draw(config, law, 5, 3, 2))
    apart = TrialConfig(3, "ntk", "mean")
    assert not np.array_equal(draw(apart, law, 5, 8, 2)[:3], draw(apart, law, 5, 3, 2))


def test_studies_with_one_seed_share_draws() -> None:
    law = build("sphere", trusted=True)
    assert np.array_equal(
        draw(TrialConfig(3, "ntk", "mean"), law, 5, 8, 2), draw(TrialConfig(3, "h-infinity", "none"), law, 5, 8, 2)
    )


def test_depths_do_not_change_bits() -> None:
    law, config = build("gaussian", trusted=True), TrialConfig(3, "ntk", "mean", statistics=tuple(STATISTICS))
    with single_thread():
        together = run_trial(config, law, 5, 8, (2, 3, 5), 1)
        alone = run_trial(config, law, 5, 8, (3,), 1)
    assert together.eigenvalues[3] == alone.eigenvalues[3]
    assert together.deep[3] == alone.deep[3]
    assert together.draw == alone.draw


def test_nested_lambda_min_decreases() -> None:
    """Adding samples cannot increase lambda_min (interlacing), trial by trial."""
    law, config = build("gaussian", trusted=True), TrialConfig(3, "ntk", "mean", nested=True)
    for trial in range(5):
        answers = [run_trial(config, law, 6, n, (3,), trial).eigenvalues[3] for n in (2, 4, 8, 16)]
        for fewer, more in itertools.pairwise(answers):
            assert more.lower <= fewer.upper


def test_the_thread_limit_is_shared() -> None:
    """With two threads inside, the one that leaves first must not lift the limit of the other."""
    from threadpoolctl import threadpool_info

    def threads() -> set[int]:
        return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    outer, inner = single_thread(), single_thread()
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)
    assert threads() == {1}
    inner.__exit__(None, None, None)
    assert threads() == before
