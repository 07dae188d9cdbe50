"""Scheduler-specific commands and parsers: how jobs are requested, and the formats of answers, durations and refusals.

Headers, submission and cancellation of jobs are dask-jobqueue's. All parsers are functions from text.
"""

from __future__ import annotations

import getpass
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

State = Literal["pending", "running", "ended"]


@dataclass(frozen=True)
class QueuedJob:
    """A job as its queue sees it.

    Attributes
    ----------
    id : str
    state : str
        `pending`, `running` or `ended`.
    word : str
        The queue's own word for it, such as `TIMEOUT`.
    reason : str
        Why it does not run, in the queue's words; empty if it says nothing.
    where : str
        Its nodes.
    """

    id: str
    state: State
    word: str = ""
    reason: str = ""
    where: str = ""

    def __str__(self) -> str:
        told = f" ({self.reason})" if self.reason else ""
        place = f" on {self.where}" if self.where and self.state == "running" else ""
        return f"{self.word or self.state}{told}{place}"


@dataclass(frozen=True)
class Dialect:
    """One kind of queue.

    Attributes
    ----------
    look : callable
        Job ids -> the command that asks for them.
    parse : callable
        Its answer -> jobs. Jobs that it does not mention have ended.
    cancel : str
        The command that ends jobs.
    walltime : callable
        Seconds -> how the queue writes them.
    own_id : str
        Environment variable with the id of the job that one is in.
    partitions : str
        The command that lists what one may submit to.
    """

    look: Callable[[Sequence[str]], list[str]]
    parse: Callable[[str], list[QueuedJob]]
    cancel: str
    walltime: Callable[[int], str]
    own_id: str
    partitions: str

    def jobs(self, ids: Iterable[str]) -> dict[str, QueuedJob] | None:
        """The jobs called `ids`, as the queue sees them now; None if it does not answer."""
        wanted = list(ids)
        if not wanted:
            return {}
        try:
            done = subprocess.run(self.look(wanted), capture_output=True, text=True, timeout=60, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return None
        unknown = re.search(r"unknown job|invalid job id|is not found|do not exist", done.stderr, re.IGNORECASE)
        if done.returncode and not done.stdout and not unknown:
            return None
        found = {job.id: job for job in self.parse(done.stdout)}
        return {each: found.get(each, QueuedJob(each, "ended")) for each in wanted}


def clock(duration: int) -> str:
    """Seconds as HH:MM:SS, hours without bound.

    >>> clock(93784)
    '26:03:04'
    """
    return f"{duration // 3600:02d}:{duration // 60 % 60:02d}:{duration % 60:02d}"


def parse_squeue(text: str) -> list[QueuedJob]:
    """Lines `id|state|reason|nodes` of SLURM's squeue.

    >>> [str(job) for job in parse_squeue("7|PENDING|Resources|\\n8|RUNNING|None|rig1\\n9|TIMEOUT|TimeLimit|rig1")]
    ['PENDING (Resources)', 'RUNNING on rig1', 'TIMEOUT (TimeLimit)']
    """
    states: dict[str, State] = dict.fromkeys(
        ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_HOLD", "SUSPENDED"), "pending"
    )
    states |= dict.fromkeys(("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "STOPPED", "RESIZING"), "running")
    found = []
    for line in text.splitlines():
        number, word, reason, where, *_ = [*line.strip().split("|"), "", "", ""]
        if number:
            found.append(QueuedJob(number, states.get(word, "ended"), word, "" if reason == "None" else reason, where))
    return found


def parse_qstat_full(text: str) -> list[QueuedJob]:
    """Records of PBS's `qstat -f`, in which long lines go on after a tab.

    >>> text = "Job Id: 12.head\\n    job_state = Q\\n    comment = Not Running: no\\n\\t room"
    >>> [str(job) for job in parse_qstat_full(text)]
    ['Q (Not Running: no room)']
    """
    states: dict[str, State] = {"Q": "pending", "H": "pending", "W": "pending", "T": "pending", "S": "pending"}
    states |= {"R": "running", "E": "running", "B": "running"}
    found = []
    for record in re.split(r"^Job Id:\s*", re.sub(r"\n\t", "", text), flags=re.M)[1:]:
        number = record.splitlines()[0].strip()
        values = dict(re.findall(r"^\s+([\w.]+) = (.*)$", record, flags=re.M))
        word = values.get("job_state", "").strip()
        state = states.get(word, "ended")
        reason = values.get("comment", "").strip() if state == "pending" else ""
        # dask-jobqueue keeps the number alone where the server's name follows.
        found.append(QueuedJob(number.split(".")[0], state, word, reason, values.get("exec_host", "").strip()))
    return found


def parse_bjobs(text: str) -> list[QueuedJob]:
    """Lines `id|state|reason|hosts` of LSF's bjobs.

    >>> [str(job) for job in parse_bjobs("5|PEND|Not enough slots|-\\n6|RUN|-|host1\\n7|EXIT|-|host1")]
    ['PEND (Not enough slots)', 'RUN on host1', 'EXIT']
    """
    states: dict[str, State] = dict.fromkeys(("PEND", "PSUSP", "WAIT", "FWD_PEND"), "pending")
    states |= dict.fromkeys(("RUN", "USUSP", "SSUSP", "PROV", "UNKWN"), "running")
    found = []
    for line in text.splitlines():
        fields = ["" if field.strip() == "-" else field.strip() for field in line.split("|")]
        if len(fields) >= 4 and fields[0].isdigit():
            found.append(QueuedJob(fields[0], states.get(fields[1], "ended"), *fields[1:4]))
    return found


def parse_qstat_table(text: str) -> list[QueuedJob]:
    """The table of Grid Engine's qstat, two lines of heading first.

    >>> [str(job) for job in parse_qstat_table("job-ID prior name\\n---\\n 3 0.5 ntkmc me Eqw 11/24/2026 20:00:00 1")]
    ['Eqw (in an error state: qstat -explain E -j 3)']
    """
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 5 or not fields[0].isdigit():
            continue
        number, word = fields[0], fields[4]
        state: State = "pending" if "w" in word or "E" in word else "running"
        reason = f"in an error state: qstat -explain E -j {number}" if "E" in word else ""
        where = fields[7] if state == "running" and len(fields) > 7 and "@" in fields[7] else ""
        found.append(QueuedJob(number, state, word, reason, where))
    return found


DIALECTS: Final[dict[str, Dialect]] = {
    "slurm": Dialect(
        # --jobs would be refused as a whole for one id that is forgotten already.
        look=lambda ids: [
            "squeue",
            "--noheader",
            "--states=all",
            f"--user={getpass.getuser()}",
            "--format=%A|%T|%r|%N",
        ],
        parse=parse_squeue,
        cancel="scancel",
        walltime=clock,
        own_id="SLURM_JOB_ID",
        partitions="sinfo",
    ),
    "pbs": Dialect(
        look=lambda ids: ["qstat", "-f", *ids],
        parse=parse_qstat_full,
        cancel="qdel",
        walltime=clock,
        own_id="PBS_JOBID",
        partitions="qstat -q",
    ),
    "lsf": Dialect(
        look=lambda ids: ["bjobs", "-noheader", "-o", "jobid stat pend_reason exec_host delimiter='|'", *ids],
        parse=parse_bjobs,
        cancel="bkill",
        walltime=lambda duration: f"{-(-duration // 60) // 60:02d}:{-(-duration // 60) % 60:02d}",
        own_id="LSB_JOBID",
        partitions="bqueues",
    ),
    "sge": Dialect(
        look=lambda ids: ["qstat", "-u", getpass.getuser()],
        parse=parse_qstat_table,
        cancel="qdel",
        walltime=clock,
        own_id="JOB_ID",
        partitions="qconf -sql",
    ),
}

_REFUSALS: Final = (  # the first that fits: what a queue says of one thing may name another
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
    """A queue's refusal in its own words, with the line for the profile that answers it.

    >>> print(refusal("sbatch: error: Batch job submission failed: no account", DIALECTS["slurm"]))
    the queue refused: Batch job submission failed: no account; write in your profile: arguments: {account: NAME}
    """
    _, _, told = text.rpartition("stderr:")
    words = [re.sub(r"^\w+: (error: )?", "", line.strip()) for line in told.splitlines() if line.strip()]
    said = "; ".join(dict.fromkeys(words)) or "without a word"
    for pattern, line in _REFUSALS:
        if re.search(pattern, said, re.IGNORECASE):
            return f"the queue refused: {said}; write in your profile: {line.format(partitions=dialect.partitions)}"
    return f"the queue refused: {said}"
