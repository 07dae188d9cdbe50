"""What queues answer, as their manuals print it."""

from __future__ import annotations

import pytest

from ntkmc.execution.batch.schedulers import (
    DIALECTS,
    parse_bjobs,
    parse_qstat_full,
    parse_qstat_table,
    parse_squeue,
    refusal,
)


def test_squeue() -> None:
    jobs = parse_squeue(
        "12|PENDING|Resources|\n13|RUNNING|None|node[01-02]\n14|COMPLETED|None|node01\n"
        "15|NODE_FAIL|None|node03\n16|PENDING|AssocMaxJobsLimit|\n17|COMPLETING|None|node01\n18|PREEMPTED|None|node9\n"
    )
    assert [(job.id, job.state) for job in jobs] == [
        ("12", "pending"),
        ("13", "running"),
        ("14", "ended"),
        ("15", "ended"),
        ("16", "pending"),
        ("17", "running"),
        ("18", "ended"),
    ]
    assert str(jobs[1]) == "RUNNING on node[01-02]"
    assert jobs[4].reason == "AssocMaxJobsLimit"


def test_pbs_qstat() -> None:
    """`qstat -f` of OpenPBS: records, indented attributes, long values that go on after a tab."""
    jobs = parse_qstat_full(
        "Job Id: 1001.server1\n    Job_Name = ntkmc-s\n    job_state = Q\n    queue = workq\n"
        "    comment = Not Running: Insufficient amount of resource: ncpus (R: 4 A: 0\n\t T: 4)\n"
        "    Variable_List = PBS_O_HOME=/home/u,PBS_O_LANG=C\n\n"
        "Job Id: 1002.server1\n    job_state = R\n    exec_host = node7/0*4\n    comment = Job run at Tue\n\n"
        "Job Id: 1003.server1\n    job_state = F\n    Exit_status = 271\n"
    )
    assert [(job.id, job.state) for job in jobs] == [("1001", "pending"), ("1002", "running"), ("1003", "ended")]
    assert jobs[0].reason == "Not Running: Insufficient amount of resource: ncpus (R: 4 A: 0 T: 4)"
    assert str(jobs[1]) == "R on node7/0*4"


def test_lsf_bjobs() -> None:
    jobs = parse_bjobs(
        "101|PEND|Job slot limit reached: 3 hosts;|-\n102|RUN|-|4*hostA:2*hostB\n103|DONE|-|hostA\n104|EXIT|-|hostA\n"
        "105|SSUSP|-|hostC\nJob <9> is not found\n"
    )
    assert [(job.id, job.state) for job in jobs] == [
        ("101", "pending"),
        ("102", "running"),
        ("103", "ended"),
        ("104", "ended"),
        ("105", "running"),
    ]
    assert str(jobs[0]) == "PEND (Job slot limit reached: 3 hosts;)"


def test_sge_qstat() -> None:
    jobs = parse_qstat_table(
        "job-ID  prior   name       user         state submit/start at     queue               slots ja-task-ID\n"
        "---------------------------------------------------------------\n"
        "    231 0.55500 ntkmc-s    me           r     11/24/2026 20:25:30 all.q@node1.cluster                1\n"
        "    232 0.00000 ntkmc-s    me           qw    11/24/2026 20:26:10                                    4\n"
        "    233 0.55500 ntkmc-s    me           Eqw   11/24/2026 20:27:01                                    1\n"
        "    234 0.55500 ntkmc-s    me           dr    11/24/2026 20:25:30 all.q@node2.cluster                1\n"
    )
    assert [(job.id, job.state) for job in jobs] == [
        ("231", "running"),
        ("232", "pending"),
        ("233", "pending"),
        ("234", "running"),
    ]
    assert str(jobs[0]) == "r on all.q@node1.cluster"
    assert "qstat -explain E -j 233" in jobs[2].reason


@pytest.mark.parametrize(
    ("queue", "text", "line"),
    [
        (
            "slurm",
            "Batch job submission failed: Invalid partition name specified",
            "arguments: {queue: NAME}  # sinfo",
        ),
        ("slurm", "Requested time limit is invalid (missing or exceeds some limit)", "limits: {walltime: HH:MM:SS}"),
        ("slurm", "Invalid account or account/partition combination specified", "arguments: {account: NAME}"),
        ("slurm", "Memory specification can not be satisfied", "limits: {memory: SIZE}"),
        ("slurm", "Requested node configuration is not available", "limits: {workers: N}"),
        (
            "slurm",
            "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)",
            "scaling: {jobs: N}",
        ),
        ("pbs", "qsub: Unknown queue", "arguments: {queue: NAME}  # qstat -q"),
        ("pbs", "qsub: Job exceeds queue and/or server resource limits: walltime", "limits: {walltime: HH:MM:SS}"),
        ("lsf", "fast: No such queue. Job not submitted.", "arguments: {queue: NAME}  # bqueues"),
    ],
)
def test_refusals(queue: str, text: str, line: str) -> None:
    """As the queues word them; the advice names a key of the profile."""
    said = refusal(f"Command exited with non-zero exit code.\nExit code: 1\nstderr:\n{text}\n", DIALECTS[queue])
    assert text.partition(": ")[2] in said or text in said
    assert f"write in your profile: {line}" in said
    assert "\n" not in said


def test_walltimes() -> None:
    assert DIALECTS["slurm"].walltime(90061) == "25:01:01"
    assert DIALECTS["lsf"].walltime(5401) == "01:31"  # whole minutes, upwards


def test_a_queue_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert DIALECTS["slurm"].jobs(["1"]) is None
    assert DIALECTS["slurm"].jobs([]) == {}
