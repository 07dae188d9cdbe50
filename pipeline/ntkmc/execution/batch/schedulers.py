"""Scheduler-specific commands and parsers (Slurm, PBS, LSF, Grid Engine).

dask-jobqueue has the headers of job scripts and the commands for submission. All parsers are functions of text.
"""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from ntkmc.errors import InputError
from ntkmc.execution.units import format_clock

State = Literal["pending", "running", "ended"]


@dataclass(frozen=True)
class QueuedJob:
    """Job of a batch queue, as the queue reports it.

    Attributes
    ----------
    id : str
    state : str
        `pending`, `running` or `ended`.
    native_state : str
        State in the queue's own terms, such as `TIMEOUT`.
    reason : str
        The queue's reason why the job does not run; empty if there is none.
    nodes : str
        Nodes of the job.
    """

    id: str
    state: State
    native_state: str = ""
    reason: str = ""
    nodes: str = ""

    def __str__(self) -> str:
        reason = f" ({self.reason})" if self.reason else ""
        nodes = f" on {self.nodes}" if self.nodes and self.state == "running" else ""
        return f"{self.native_state or self.state}{reason}{nodes}"


@dataclass(frozen=True)
class Dialect:
    """Commands and formats of one batch scheduler.

    Attributes
    ----------
    query : callable
        Return the command that reports the state of jobs, given their ids.
    parse : callable
        Convert the output of that command to jobs. Jobs that it does not list have ended.
    cancel : str
        Command that cancels jobs.
    walltime : callable
        Format seconds for the queue.
    own_id : str
        Environment variable with the id of the current job.
    partitions : str
        Command that lists the partitions or queues.
    """

    query: Callable[[Sequence[str]], list[str]]
    parse: Callable[[str], list[QueuedJob]]
    cancel: str
    walltime: Callable[[int], str]
    own_id: str
    partitions: str

    def jobs(self, ids: Iterable[str]) -> dict[str, QueuedJob] | None:
        """Query jobs by their ids; None if the queue does not answer."""
        requested = list(ids)
        if not requested:
            return {}
        try:
            done = subprocess.run(self.query(requested), capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        # An error about some of the jobs is an answer; an error without any output is none.
        unknown = re.search(r"unknown job|invalid job id|is not found|do not exist", done.stderr, re.IGNORECASE)
        if done.returncode and not done.stdout and not unknown:
            return None
        # Queues forget ended jobs: some then report an error, others leave them out.
        jobs = {job.id: job for job in self.parse(done.stdout)}
        return {number: jobs.get(number, QueuedJob(number, "ended")) for number in requested}


def parse_squeue(text: str) -> list[QueuedJob]:
    """Parse lines `id|state|reason|nodes` of Slurm's squeue.

    >>> [str(job) for job in parse_squeue("7|PENDING|Resources|\\n8|RUNNING|None|rig1\\n9|TIMEOUT|TimeLimit|rig1")]
    ['PENDING (Resources)', 'RUNNING on rig1', 'TIMEOUT (TimeLimit)']
    """
    states: dict[str, State] = dict.fromkeys(
        ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED"), "pending"
    )
    states |= dict.fromkeys(("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING"), "running")
    jobs = []
    for line in text.splitlines():
        number, state, reason, nodes, *_ = [*line.strip().split("|"), "", "", ""]
        if number:
            jobs.append(
                QueuedJob(number, states.get(state, "ended"), state, "" if reason == "None" else reason, nodes)
            )
    return jobs


def parse_qstat_full(text: str) -> list[QueuedJob]:
    """Parse the records of PBS's `qstat -f`, whose long lines are continued after a tab.

    >>> text = "Job Id: 12.head\\n    job_state = Q\\n    comment = Not Running: no\\n\\t room"
    >>> [str(job) for job in parse_qstat_full(text)]
    ['Q (Not Running: no room)']
    """
    states: dict[str, State] = {"Q": "pending", "H": "pending", "W": "pending", "T": "pending", "S": "pending"}
    states |= {"R": "running", "E": "running", "B": "running"}
    jobs = []
    for record in re.split(r"^Job Id:\s*", re.sub(r"\n\t", "", text), flags=re.M)[1:]:
        number = record.splitlines()[0].strip()
        values = dict(re.findall(r"^\s+([\w.]+) = (.*)$", record, flags=re.M))
        native = values.get("job_state", "").strip()
        state = states.get(native, "ended")
        reason = values.get("comment", "").strip() if state == "pending" else ""
        # The id without the server's name, as dask-jobqueue keeps it.
        jobs.append(QueuedJob(number.split(".")[0], state, native, reason, values.get("exec_host", "").strip()))
    return jobs


def parse_bjobs(text: str) -> list[QueuedJob]:
    """Parse lines `id|state|reason|hosts` of LSF's bjobs.

    >>> [str(job) for job in parse_bjobs("5|PEND|Not enough slots|-\\n6|RUN|-|host1\\n7|EXIT|-|host1")]
    ['PEND (Not enough slots)', 'RUN on host1', 'EXIT']
    """
    states: dict[str, State] = dict.fromkeys(("PEND", "PSUSP", "WAIT", "FWD_PEND"), "pending")
    states |= dict.fromkeys(("RUN", "USUSP", "SSUSP", "PROV", "UNKWN"), "running")
    jobs = []
    for line in text.splitlines():
        fields = ["" if field.strip() == "-" else field.strip() for field in line.split("|")]
        if len(fields) >= 4 and fields[0].isdigit():
            jobs.append(QueuedJob(fields[0], states.get(fields[1], "ended"), *fields[1:4]))
    return jobs


def parse_qstat_table(text: str) -> list[QueuedJob]:
    """Parse the table of Grid Engine's qstat, which begins with two header lines.

    >>> [str(job) for job in parse_qstat_table("job-ID prior name\\n---\\n 3 0.5 ntkmc me Eqw 11/24/2026 20:00:00 1")]
    ['Eqw (in an error state: qstat -explain E -j 3)']
    """
    jobs = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 5 or not fields[0].isdigit():
            continue
        number, native = fields[0], fields[4]
        # Letters are combined: `qw` queued and waiting, `Eqw` in an error state, `dr` running and being deleted.
        state: State = "pending" if "w" in native or "E" in native else "running"
        reason = f"in an error state: qstat -explain E -j {number}" if "E" in native else ""
        nodes = fields[7] if state == "running" and len(fields) > 7 and "@" in fields[7] else ""
        jobs.append(QueuedJob(number, state, native, reason, nodes))
    return jobs


DIALECTS: Final[dict[str, Dialect]] = {
    "slurm": Dialect(
        # All jobs of the user: squeue rejects the whole query if --jobs has one id that it has forgotten.
        query=lambda ids: [
            "squeue",
            "--noheader",
            "--states=all",
            f"--user={getpass.getuser()}",
            "--format=%A|%T|%r|%N",
        ],
        parse=parse_squeue,
        cancel="scancel",
        walltime=format_clock,
        own_id="SLURM_JOB_ID",
        partitions="sinfo",
    ),
    "pbs": Dialect(
        query=lambda ids: ["qstat", "-f", *ids],
        parse=parse_qstat_full,
        cancel="qdel",
        walltime=format_clock,
        own_id="PBS_JOBID",
        partitions="qstat -q",
    ),
    "lsf": Dialect(
        query=lambda ids: ["bjobs", "-noheader", "-o", "jobid stat pend_reason exec_host delimiter='|'", *ids],
        parse=parse_bjobs,
        cancel="bkill",
        # HH:MM: LSF takes whole minutes, rounded up here.
        walltime=lambda seconds: f"{-(-seconds // 60) // 60:02d}:{-(-seconds // 60) % 60:02d}",
        own_id="LSB_JOBID",
        partitions="bqueues",
    ),
    "sge": Dialect(
        query=lambda ids: ["qstat", "-u", getpass.getuser()],
        parse=parse_qstat_table,
        cancel="qdel",
        walltime=format_clock,
        own_id="JOB_ID",
        partitions="qconf -sql",
    ),
}

# The first match counts: a message about one setting may mention another.
_REFUSALS: Final = (
    (r"submit limit|MaxSubmit|would exceed|too many jobs|job limit", "scaling: {{jobs: N}}"),
    (r"account|project", "arguments: {{account: NAME}}"),
    (
        r"partition|queue name|no such queue|unknown queue|invalid queue|illegal queue",
        "arguments: {{queue: NAME}}  # {partitions} lists them",
    ),
    (r"time limit|walltime|run limit|RUNLIMIT|h_rt", "limits: {{walltime: HH:MM:SS}}"),
    (r"memory", "limits: {{memory: SIZE}}"),
    (r"node configuration|cpu count|select specification|ncpus|slots", "limits: {{workers: N}}"),
)


def refusal(text: str, dialect: Dialect) -> str:
    """Return a queue's error message, with the line of the profile that would solve it.

    >>> print(refusal("sbatch: error: Batch job submission failed: no account", DIALECTS["slurm"]))
    the queue refused: Batch job submission failed: no account; write in your profile: arguments: {account: NAME}
    """
    _, _, output = text.rpartition("stderr:")
    lines = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in output.splitlines() if line.strip()]
    message = "; ".join(dict.fromkeys(lines)) or "no message"
    for pattern, setting in _REFUSALS:
        if re.search(pattern, message, re.IGNORECASE):
            advice = setting.format(partitions=dialect.partitions)
            return f"the queue refused: {message}; write in your profile: {advice}"
    return f"the queue refused: {message}"


def dialect_of(factory: Any) -> Dialect:
    """Return the dialect for a cluster class of dask-jobqueue.

    Raises
    ------
    InputError
        For a batch scheduler without a dialect.
    """
    name = str(factory.job_cls.config_name)
    if name not in DIALECTS:
        raise InputError(f"profile: queues of the kind {name!r} are not known; known: {', '.join(sorted(DIALECTS))}")
    return DIALECTS[name]
