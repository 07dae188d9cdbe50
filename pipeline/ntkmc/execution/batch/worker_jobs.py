"""Submit workers as batch jobs, wait for them, and replace lost ones."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from distributed import Client, Status

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.batch.schedulers import Dialect, QueuedJob, refusal
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.cluster import MEMORY, PRELOAD
from ntkmc.execution.job_resources import Layout, fill_placeholders
from ntkmc.execution.profile_schema import Profile, Scaling
from ntkmc.execution.units import format_duration

_QUERY_INTERVAL = 5.0  # seconds; a batch scheduler serves thousands of users
_MOST_FAILURES = 3  # jobs that may end before the first worker connects
_LONGEST_PAUSE = 300.0  # seconds between attempts to replace jobs that end at once, or that the queue rejects
_SCRATCH = "${TMPDIR:-/tmp}"  # expanded by the job's shell on its node: a local disk at most sites


def job_arguments(profile: Profile, layout: Layout, workspace: Workspace, dialect: Dialect) -> dict[str, Any]:
    """Return the arguments of the dask-jobqueue class for worker jobs, from the profile and the layout."""
    lifetime, stagger = layout.lifetime
    arguments = fill_placeholders(profile.arguments, layout)
    variables = profile.environment | _as_variables(profile.config)
    defaults = {
        "cores": layout.workers,
        "processes": layout.workers,
        "memory": f"{layout.workers * layout.worker_bytes // 2**20}MiB",
        "walltime": dialect.walltime(layout.walltime),
        "job_name": workspace.job_name,
        "log_directory": str(workspace.logs),
        "local_directory": _SCRATCH,
        "shared_temp_directory": str(workspace.root),
        "death_timeout": profile.scaling.patience,
    }
    always = {
        "nanny": True,
        "worker_extra_args": [
            # A worker retires before its walltime, so that the queue does not kill it in the middle of a block.
            *f"--lifetime {lifetime}s --lifetime-stagger {stagger}s --preload {PRELOAD}".split(),
            *("--resources", f"{MEMORY}={layout.worker_bytes}"),
            *("--dashboard-address", "127.0.0.1:0"),  # TLS does not cover a worker's own dashboard
            *arguments.pop("worker_extra_args", []),
        ],
        "job_script_prologue": [
            *arguments.pop("job_script_prologue", []),
            *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        ],
    }
    # The layout has the cores and the walltime of the profile, if it sets them.
    fixed = {
        name: value for name, value in arguments.items() if value is not None and name not in ("walltime", "cores")
    }
    return defaults | fixed | always


def _as_variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Convert Dask configuration to environment variables, for workers on other nodes.

    >>> _as_variables({"distributed.comm.timeouts.tcp": "300s"})
    {'DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP': '300s'}
    """
    return {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value) for key, value in config.items()}


class JobKeeper:
    """Thread that keeps the number of worker jobs of a dask-jobqueue cluster constant, until closed.

    Dask's `adapt` tracks workers, not jobs: it does not replace a job that ended before its worker connected, or a job
    of several workers. This class queries the batch queue instead.

    Parameters
    ----------
    cluster : dask_jobqueue.JobQueueCluster
    dialect : Dialect
    scaling : Scaling
        Its `jobs` must not be None.
    workspace : Workspace
        Files with the ids and logs of the jobs.
    say : callable
        Called with messages for the user.
    """

    def __init__(
        self, cluster: Any, dialect: Dialect, scaling: Scaling, workspace: Workspace, say: Callable[[str], None]
    ) -> None:
        self.cluster = cluster
        self.dialect = dialect
        self.scaling = scaling
        self.workspace = workspace
        self.say = say
        self.ended: list[QueuedJob] = []
        self._last_message = ""
        self._pause = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ntkmc-jobs", daemon=True)

    def start(self) -> None:
        """Submit the jobs, and start to replace lost ones.

        Raises
        ------
        InputError
            If the queue rejects the first job; the message has the line to write in the profile.
        """
        try:
            self.cluster.sync(self._grow)
        except FileNotFoundError as error:
            raise InputError(
                f"profile: no command {error.filename!r} here: run this where the queue's commands are"
            ) from error
        except RuntimeError as error:
            message = refusal(str(error), self.dialect)
            # Fewer jobs than requested are no reason to stop: a limit on jobs is common.
            if not self._ids():
                raise InputError(f"profile: {message}") from error
            self.say(message)
        self._write_ids()
        self._thread.start()

    def wait(self, client: Client) -> None:
        """Wait for the first worker.

        Raises
        ------
        ExecutionError
            If none connects in time; the message has the state of the jobs and the place of their logs.
        """
        begun = seen = time.monotonic()
        running: float | None = None
        while not client.scheduler_info(n_workers=-1)["workers"]:
            # Three different deadlines, since a queue may take days, and a job that runs should have a worker soon.
            if len(self.ended) >= _MOST_FAILURES:
                raise ExecutionError(
                    f"{len(self.ended)} jobs ended before a worker came: {self._describe(self.ended[-1])}"
                )
            jobs = list((self.dialect.jobs(self._ids().values()) or {}).values())
            now = time.monotonic()
            seen = now if any(job.state != "ended" for job in jobs) else seen
            if now - seen > self.scaling.patience:
                reason = self._last_message or "it gives no reason"
                raise ExecutionError(f"no job has been in the queue for {format_duration(now - seen)}: {reason}")
            active = [job for job in jobs if job.state == "running"]
            running = (running or now) if active else None
            if running and now - running > self.scaling.patience:
                raise ExecutionError(
                    f"no worker has come in {format_duration(now - running)} since its job runs: "
                    f"{self._describe(active[0])}; can its node reach this one (arguments: {{interface: ...}} in the "
                    "profile)?"
                )
            pending = [job for job in jobs if job.state == "pending"]
            if self.scaling.pending and not active and now - begun > self.scaling.pending:
                state = self._describe(pending[0]) if pending else "the queue does not list them"
                raise ExecutionError(f"no job has started in {format_duration(now - begun)}: {state}")
            if pending and not active:
                self._say_once(f"waiting in the queue: {len(pending)} jobs, first {pending[0].id} {pending[0]}")
            self._stop.wait(1.0)

    def close(self) -> None:
        """Stop replacing jobs. The jobs themselves end with their cluster."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)
        self._write_ids([])

    def _run(self) -> None:
        while not self._stop.wait(_QUERY_INTERVAL + self._pause):
            try:
                self._replace_ended()
            except Exception as error:  # otherwise the thread would end silently, and lost jobs not be replaced
                self._say_once(f"worker jobs could not be looked at: {type(error).__name__}: {error}")

    def _replace_ended(self) -> None:
        ids = self._ids()
        jobs = self.dialect.jobs(ids.values())
        if jobs is None:
            return
        ended = {name: jobs[number] for name, number in ids.items() if jobs[number].state == "ended"}
        for job in ended.values():
            self.ended.append(job)
            # Workers that retire before their walltime end their job in order.
            if job.native_state not in ("", "COMPLETED", "DONE"):
                self.say(f"lost a worker job, which is replaced: {self._describe(job)}")
        if not ended and len(ids) >= (self.scaling.jobs or 1):
            self._pause = 0.0
            return
        # Pauses double until all jobs run again: on a broken node jobs end at once, and a full queue rejects each one.
        self._pause = min(2.0 * self._pause + _QUERY_INTERVAL, _LONGEST_PAUSE)
        try:
            if not self._stop.is_set():
                self.cluster.sync(self._replace, list(ended))
        except RuntimeError as error:
            self._say_once(f"{refusal(str(error), self.dialect)}; trying again later")
        self._write_ids()

    async def _replace(self, names: list[str]) -> None:
        for name in names:
            self._forget(name)
        await self._grow()

    def _forget(self, name: str) -> None:
        self.cluster.worker_spec.pop(name, None)
        job = self.cluster.workers.pop(name, None)
        if job is not None:
            job.status = Status.closed  # SpecCluster asserts this when it closes

    async def _grow(self) -> None:
        # Like `scale`, which only logs an error of the submission command; here it is raised.
        while len(self.cluster.worker_spec) < (self.scaling.jobs or 1):
            self.cluster.worker_spec.update(self.cluster.new_worker_spec())
        try:
            await self.cluster
        finally:
            for name, job in list(self.cluster.workers.items()):
                if not job.job_id:
                    self._forget(name)

    def _ids(self) -> dict[str, str]:
        """Return the ids of the jobs that the queue has accepted, by the names of their workers."""
        return {name: str(job.job_id) for name, job in list(self.cluster.workers.items()) if job.job_id}

    def _write_ids(self, ids: Iterable[str] | None = None) -> None:
        jobs = list(self._ids().values() if ids is None else ids)
        self.workspace.write("workers", {"queue": self.cluster.job_cls.config_name, "jobs": jobs})

    def _describe(self, job: QueuedJob) -> str:
        log = self.workspace.job_log(job.id)
        return f"job {job.id} {job}" + (f", {log}" if log else "")

    def _say_once(self, text: str) -> None:
        if text != self._last_message:
            self._last_message = text
            self.say(text)
