"""The driver as a batch job: the script, by a pure function, and its way into the queue."""

from __future__ import annotations

import datetime
import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ntkmc.errors import InputError
from ntkmc.execution.batch.dialects import refusal
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.profile_schema import JOB_ARGUMENTS, Profile
from ntkmc.execution.profiles import cluster_class, dialect_of, filled
from ntkmc.execution.sizing import Layout
from ntkmc.experiment.store import Location

CHAIN: Final = 20
"""Default number of times that a driver's job may resubmit itself."""

SOONEST: Final = 120
"""Seconds that a driver must have run for another one to follow it."""

_SHARED: Final = tuple(
    name for name in JOB_ARGUMENTS if name not in ("cores", "processes", "memory", "walltime", "resource_spec")
)
"""Arguments of the workers that hold for the driver as well: who pays, where, and how Python is found."""

_BODY: Final = """\
# Written by `ntkmc submit`. This job drives the study; it may die at any moment, and goes on where it was.
{prologue}
cd {folder} || exit 2
stopped= driver= asked=
ask() {{ [ -n "$asked" ] || [ -z "$driver" ] || {{ asked=yes; kill -TERM "$driver" 2>/dev/null; }}; }}
# A batch system's last word before it ends or preempts the job: passed on, and not answered by another job.
trap 'stopped=yes; ask' TERM USR1 USR2 XCPU

{run} &
driver=$!
[ -z "$stopped" ] || ask
# Looked at each second, not under timeout(1), which loses its child if a signal comes as it forks; and waited for
# only once it has ended, since a signal ends `wait` with a status that is not the driver's.
while kill -0 "$driver" 2>/dev/null; do
    [ $SECONDS -lt {deadline} ] || ask   # a clean stop before the walltime of {walltime} s
    sleep 1 &
    wait $!
done
wait "$driver"
code=$?

case $code in
    0 | 2 | 3) exit $code ;;   # done; refused; done but for cells that failed: doing it again would change nothing
esac
# One that ended so early did not meet its walltime: the next would end in the same way.
if [ -z "$stopped" ] && [ {chain} -gt 0 ] && [ $SECONDS -ge {soonest} ]; then
    echo "ntkmc submit: the driver stopped before the study was done (exit code $code), submitting the next"
    exec {again}
fi
exit $code
"""


@dataclass(frozen=True)
class Submission:
    """Command of a driver's job, and the settings of that job.

    Attributes
    ----------
    study : Path
        Absolute, as is the store's address: the job starts wherever its queue likes.
    store : Location
    profile : str
        As given on the command line, a path made absolute.
    folder : Path
        Where it was submitted from.
    chain : int
        How often it may submit itself again.
    """

    study: Path
    store: Location
    profile: str
    folder: Path
    chain: int = CHAIN
    python: str = field(default=sys.executable)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Of `ntkmc run` and of `ntkmc submit`."""
        return (str(self.study), "--store", str(self.store), "--profile", self.profile)


def batch_script(submission: Submission, profile: Profile, layout: Layout) -> str:
    """The driver's batch script: a function of its arguments alone.

    Raises
    ------
    InputError
        If the profile is not one of a queue, or its class refuses the arguments.
    """
    job = _job(submission, profile, layout)
    asked = profile.submission
    launch = f"{filled(asked.launch, layout)} " if asked and asked.launch else ""
    command = shlex.join([submission.python, "-m", "ntkmc"])
    again = [*submission.arguments, "--chain", str(submission.chain - 1)]
    body = _BODY.format(
        prologue="\n".join(_arguments(profile, layout).get("job_script_prologue", [])),
        folder=shlex.quote(str(submission.folder)),
        deadline=deadline(layout.driver),
        soonest=min(deadline(layout.driver), SOONEST),
        walltime=layout.driver,
        run=f"{launch}{command} run {shlex.join(submission.arguments)}",
        chain=submission.chain,
        again=f"{command} submit {shlex.join(again)}",
    )
    return f"{job.shebang}\n\n{job.job_header}\n\n{body}"


def deadline(walltime: int) -> int:
    """Seconds after which a driver stops: five minutes before its walltime, or a third of a short one.

    >>> deadline(86400), deadline(60)
    (86100, 40)
    """
    return walltime - min(300, walltime // 3)


def submit(submission: Submission, profile: Profile, layout: Layout) -> str:
    """Put the driver into the queue; returns the id of its job.

    Raises
    ------
    InputError
        If the queue refuses it, with its words and the line to write; if one is there already.
    """
    workspace = Workspace(submission.store)
    factory = _queue_class(profile)
    dialect = dialect_of(factory)
    drivers: list[dict[str, Any]] = workspace.read("drivers").get("jobs", [])
    own = os.environ.get(dialect.own_id, "").split(".")[0]
    known = [str(entry["id"]) for entry in drivers if str(entry["id"]) != own]
    for job in (dialect.jobs(known) or {}).values():
        if job.state != "ended":
            raise InputError(f"{submission.store}: job {job.id} drives it already: {job}; `ntkmc cancel` ends it")
    text = batch_script(submission, profile, layout)
    workspace.prepare()
    script = workspace.root / "driver.sh"
    script.write_text(text, encoding="utf-8")
    script.chmod(0o700)
    job_class = factory.job_cls
    command = shlex.split(job_class.submit_command)
    try:
        if getattr(_job(submission, profile, layout), "use_stdin", False):
            done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        else:
            done = subprocess.run([*command, str(script)], capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise InputError(
            f"profile: no command {error.filename!r} here: submit where the queue's commands are"
        ) from error
    if done.returncode:
        raise InputError(f"profile: {refusal(done.stderr or done.stdout, dialect)}")
    found = re.search(job_class.job_id_regexp, done.stdout)
    if found is None:
        raise InputError(f"{command[0]} did not say which job it made: {' '.join(done.stdout.split())[:200]!r}")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"id": found["job_id"], "submitted": now, "chain": submission.chain}
    document = {"queue": job_class.config_name, "study": str(submission.study), "profile": submission.profile}
    workspace.write("drivers", document | {"jobs": [*drivers, entry]})
    return str(found["job_id"])


def _queue_class(profile: Profile) -> Any:
    name = profile.submission.cluster if profile.submission and profile.submission.cluster else profile.cluster
    factory = cluster_class(name)
    if not profile.batch or not hasattr(factory, "job_cls"):
        raise InputError(f"profile: nothing to submit to, {name} is not a batch queue: use ntkmc run")
    return factory


def _arguments(profile: Profile, layout: Layout) -> dict[str, Any]:
    own = profile.submission.arguments if profile.submission else {}
    shared = {name: profile.arguments[name] for name in _SHARED if profile.arguments.get(name) is not None}
    found: dict[str, Any] = filled(shared | own, layout)
    for name in ("job_extra_directives", "job_script_prologue"):  # these add up
        found[name] = filled([*shared.get(name, []), *own.get(name, [])], layout)
    return found


def _job(submission: Submission, profile: Profile, layout: Layout) -> Any:
    """The dask-jobqueue object whose header the script has."""
    factory = _queue_class(profile)
    workspace = Workspace(submission.store)
    workspace.check()
    sizes = {"cores": 1, "processes": 1, "memory": "2GiB"} | _arguments(profile, layout)
    name = f"{workspace.job_name}-driver"
    sizes["walltime"] = dialect_of(factory).walltime(layout.driver)
    try:
        # dask-jobqueue makes the folder for logs that it is told; to write a script is to make nothing.
        with tempfile.TemporaryDirectory() as stand_in:
            job = factory.job_cls(name=name, job_name=name, log_directory=stand_in, **sizes)
            job.job_header = job.job_header.replace(stand_in, str(workspace.logs))
    except (TypeError, ValueError) as error:
        raise InputError(f"profile: submission: {' '.join(str(error).split())[:300]}") from error
    return job
