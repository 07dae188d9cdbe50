"""What a queue is asked for: within its limits, enough for the study, or refused with the number to change."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkmc.errors import InputError
from ntkmc.execution.job_resources import Needs, check_layout, choose
from ntkmc.execution.plan import check_plan, make_plan
from ntkmc.execution.profile_schema import Limits, Profile, Scaling
from ntkmc.execution.profiles import load_profile
from ntkmc.experiment.study.loading import parse_study

SLURM = "dask_jobqueue.SLURMCluster"


@given(
    seconds=st.floats(0.1, 1e9),
    trial=st.floats(1e-4, 1e4),
    memory=st.integers(2**28, 2**36),
    tasks=st.integers(1, 10**6),
    limits=st.builds(
        Limits,
        jobs=st.integers(1, 100),
        workers=st.integers(1, 128),
        memory=st.none() | st.integers(2**30, 2**38),
        walltime=st.integers(600, 10**6),
    ),
)
def test_within_limits_or_refused(seconds: float, trial: float, memory: int, tasks: int, limits: Limits) -> None:
    profile, needs = Profile(cluster=SLURM, limits=limits), Needs(seconds, trial, memory, tasks)
    layout = choose(profile, needs)
    try:
        check_layout(layout, profile, needs, "a cell")
    except InputError:
        # Refused only if a trial is too long for a job, or one worker too large for it.
        assert 3.0 * trial > layout.walltime or (limits.memory is not None and 2.0 * memory > limits.memory)
        return
    assert 1 <= layout.jobs <= limits.jobs
    assert 1 <= layout.workers <= limits.workers
    assert layout.walltime <= limits.walltime
    assert layout.worker_bytes >= memory / 0.75  # below what a nanny minds
    assert limits.memory is None or layout.workers * layout.worker_bytes <= limits.memory
    lifetime, stagger = layout.lifetime
    assert lifetime - stagger > 0
    assert lifetime + stagger + min(2.0 * trial, layout.walltime / 4) <= layout.walltime


def test_what_is_given_stays() -> None:
    arguments = {"cores": 8, "memory": "64GiB", "walltime": "1-00:00:00"}
    profile = Profile(cluster=SLURM, limits=Limits(), arguments=arguments, scaling=Scaling(jobs=3))
    layout = choose(profile, Needs(1e6, 1.0, 2**30, 10**6))
    assert (layout.jobs, layout.workers, layout.worker_bytes, layout.walltime) == (3, 8, 8 * 2**30, 86400)


@pytest.mark.parametrize(
    ("profile", "needs", "said"),
    [
        ({"limits": {"memory": "8GiB"}}, Needs(10.0, 1.0, 2**34, 9), "limits: memory: grants a job 8.00 GiB"),
        ({"arguments": {"memory": "2GiB"}}, Needs(10.0, 1.0, 2**32, 9), "raise memory in its arguments"),
        ({"limits": {"walltime": "00:10:00"}}, Needs(9e9, 900.0, 2**28, 9), "takes about 15 min, and a job 10 min"),
        ({"arguments": {"walltime": "soon"}}, Needs(1.0, 1.0, 1, 1), "arguments.walltime: should be a duration"),
    ],
)
def test_refused_with_the_number_to_change(profile: dict[str, Any], needs: Needs, said: str) -> None:
    place = Profile.model_validate({"cluster": SLURM, "limits": {}} | profile)
    with pytest.raises(InputError, match=said) as caught:
        check_layout(choose(place, needs), place, needs, "sphere,d=8,n=9")
    assert "\n" not in str(caught.value)


def test_an_allocation_is_one_job() -> None:
    layout = choose(load_profile("slurm-allocation"), Needs(1e6, 1.0, 2**28, 10**6))
    assert (layout.jobs, layout.workers, layout.tasks) == (1, 4, 6)
    assert layout.driver == layout.walltime


def test_machines_that_are_not_known(small: dict[str, Any]) -> None:
    """What fits on the workers of a scheduler that somebody else runs is not judged by this machine."""
    small["grid"] = {"distribution": "sphere", "d": 8, "n": [300_000], "depth": 2}
    plan = make_plan(parse_study(small, trusted=True), load_profile("scheduler"))
    check_plan(plan, load_profile("scheduler"))
    with pytest.raises(InputError, match="lower n below"):
        check_plan(plan, load_profile("local"))


def test_plan_of_a_queue(small: dict[str, Any]) -> None:
    """The plan's machine is the queue's, not this one: n = 30,000 fits where nodes are large."""
    small["grid"] = {"distribution": "sphere", "d": 8, "n": [100_000], "depth": 2}
    profile = load_profile("slurm")
    plan = make_plan(parse_study(small | {"trials": 4}, trusted=True), profile)
    check_plan(plan, profile)
    assert plan.layout is not None
    assert plan.layout.worker_bytes > 100 * 2**30
    assert plan.workers == plan.layout.jobs * plan.layout.workers > 1
