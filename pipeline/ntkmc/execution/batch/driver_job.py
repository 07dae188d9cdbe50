"""Batch script of the driver's job, and its submission."""

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
from ntkmc.execution.batch.schedulers import dialect_of, refusal
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.job_resources import Layout, fill_placeholders
from ntkmc.execution.profile_schema import JOB_ARGUMENTS, Profile, cluster_class
from ntkmc.experiment.store import Location

CHAIN: Final = 20
"""Default number of times that the driver's job may resubmit itself."""

SOONEST: Final = 120
"""Seconds that a driver must have run before its job resubmits itself."""

_SHARED: Final = tuple(
    name for name in JOB_ARGUMENTS if name not in ("cores", "processes", "memory", "walltime", "resource_spec")
)
"""Arguments of the worker jobs that apply to the driver's job too, such as account, queue and prologue."""

_BODY: Final = """\
# Written by `ntkmc submit`. This job runs the driver of the study. It may end at any moment; the next one resumes.
{prologue}
cd {folder} || exit 2
stopped= driver= asked=
ask() {{ [ -n "$asked" ] || [ -z "$driver" ] || {{ asked=yes; kill -TERM "$driver" 2>/dev/null; }}; }}
# Signals before the end of the job, from `ntkmc cancel` or the batch system, stop the driver and the chain of jobs.
trap 'stopped=yes; ask' TERM USR1 USR2 XCPU

{run} &
driver=$!
[ -z "$stopped" ] || ask
# A loop of one second instead of timeout(1), which loses its child if a signal arrives while it forks. `wait` comes
# after the end of the driver, because a signal would end it with another status than the driver's.
while kill -0 "$driver" 2>/dev/null; do
    [ $SECONDS -lt {deadline} ] || ask   # a clean stop before the walltime of {walltime} s
    sleep 1 &
    wait $!
done
wait "$driver"
code=$?

case $code in
    0 | 2 | 3) exit $code ;;   # done; rejected; done except for failed cells: another run would change nothing
esac
# A driver that ended this early was not stopped by its walltime: the next one would end in the same way.
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
        Absolute, like the store's address: queues differ in the folder in which a job starts.
    store : Location
    profile : str
        Name as given on the command line, or an absolute path.
    folder : Path
        Working directory of the submission.
    chain : int
        Number of times that the job may resubmit itself.
    """

    study: Path
    store: Location
    profile: str
    folder: Path
    chain: int = CHAIN
    python: str = field(default=sys.executable)

    @property
    def arguments(self) -> tuple[str, ...]:
        """Arguments of `ntkmc run` and `ntkmc submit`."""
        return (str(self.study), "--store", str(self.store), "--profile", self.profile)


def batch_script(submission: Submission, profile: Profile, layout: Layout) -> str:
    """Return the driver's batch script, which depends on the arguments only.

    Raises
    ------
    InputError
        If the profile has no queue, or its class rejects the arguments.
    """
    job = _job(submission, profile, layout)
    launch = profile.submission.launch if profile.submission else ""
    launch = f"{fill_placeholders(launch, layout)} " if launch else ""
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
    """Return the run time of a driver in seconds: its walltime minus five minutes, or minus a third if that is less.

    >>> deadline(86400), deadline(60)
    (86100, 40)
    """
    return walltime - min(300, walltime // 3)


def submit(submission: Submission, profile: Profile, layout: Layout) -> str:
    """Submit the driver's job, and return its id.

    Raises
    ------
    InputError
        If the queue rejects it (the message has the line to write), or another driver of the store is in the queue.
    """
    workspace = Workspace(submission.store)
    factory = _queue_class(profile)
    dialect = dialect_of(factory)
    drivers: list[dict[str, Any]] = workspace.read("drivers").get("jobs", [])
    # A job that resubmits itself is still running.
    own = os.environ.get(dialect.own_id, "").split(".")[0]
    others = [str(entry["id"]) for entry in drivers if str(entry["id"]) != own]
    for job in (dialect.jobs(others) or {}).values():
        if job.state != "ended":
            raise InputError(f"{submission.store}: job {job.id} drives it already: {job}; `ntkmc cancel` ends it")
    text = batch_script(submission, profile, layout)
    # All checks come before the first file is written.
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
    match = re.search(job_class.job_id_regexp, done.stdout)
    if match is None:
        raise InputError(f"{command[0]} did not say which job it made: {' '.join(done.stdout.split())[:200]!r}")
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    entry = {"id": match["job_id"], "submitted": now, "chain": submission.chain}
    document = {"queue": job_class.config_name, "study": str(submission.study), "profile": submission.profile}
    workspace.write("drivers", document | {"jobs": [*drivers, entry]})
    return str(match["job_id"])


def _queue_class(profile: Profile) -> Any:
    name = profile.submission.cluster if profile.submission and profile.submission.cluster else profile.cluster
    factory = cluster_class(name)
    if not profile.batch or not hasattr(factory, "job_cls"):
        raise InputError(f"profile: nothing to submit to, {name} is not a batch queue: use ntkmc run")
    return factory


def _arguments(profile: Profile, layout: Layout) -> dict[str, Any]:
    own = profile.submission.arguments if profile.submission else {}
    shared = {name: profile.arguments[name] for name in _SHARED if profile.arguments.get(name) is not None}
    arguments: dict[str, Any] = fill_placeholders(shared | own, layout)
    # Lists are concatenated: a site's prologue, for example, loads the modules that both kinds of jobs need.
    for name in ("job_extra_directives", "job_script_prologue"):
        arguments[name] = fill_placeholders([*shared.get(name, []), *own.get(name, [])], layout)
    return arguments


def _job(submission: Submission, profile: Profile, layout: Layout) -> Any:
    """Return the job object of dask-jobqueue that writes the header of the script."""
    factory = _queue_class(profile)
    workspace = Workspace(submission.store)
    workspace.check()
    # One core: the driver folds blocks and waits. The profile may say otherwise.
    sizes = {"cores": 1, "processes": 1, "memory": "2GiB"} | _arguments(profile, layout)
    name = f"{workspace.job_name}-driver"
    sizes["walltime"] = dialect_of(factory).walltime(layout.driver)
    try:
        # dask-jobqueue creates the folder for logs; a temporary one, because writing a script must not create files.
        with tempfile.TemporaryDirectory() as stand_in:
            job = factory.job_cls(name=name, job_name=name, log_directory=stand_in, **sizes)
            job.job_header = job.job_header.replace(stand_in, str(workspace.logs))
    except (TypeError, ValueError) as error:
        raise InputError(f"profile: submission: {' '.join(str(error).split())[:300]}") from error
    return job
