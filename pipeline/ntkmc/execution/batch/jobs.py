"""Workers as batch jobs: asked for, waited for, replaced when lost, and spoken of in the queue's own words."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any

from distributed import Client, Status

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.batch.dialects import Dialect, QueuedJob, refusal
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.profile_schema import Scaling

_EVERY = 5.0  # seconds between looks at the queue, gentle on a scheduler that thousands share
_FUTILE = 3  # jobs that may end before any worker has come
_LONGEST_PAUSE = 300.0  # seconds between attempts to replace jobs that end at once, or that the queue refuses


class JobKeeper:
    """Keeps up the number of a dask-jobqueue cluster's jobs, from a thread of its own, until closed.

    Dask's own `adapt` replaces a job only if it had one worker and that worker had come: a job that ended before, and
    one of several workers, is missed for ever (distributed knows workers, not jobs). The queue knows, and is asked.

    Parameters
    ----------
    cluster : dask_jobqueue.JobQueueCluster
    dialect : Dialect
    scaling : Scaling
        With `jobs`, a number.
    workspace : Workspace
        Where the ids of the jobs are noted, and where their logs are.
    say : callable
        Takes a sentence for the user.
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
        self._said = ""
        self._pause = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="ntkmc-jobs", daemon=True)

    def start(self) -> None:
        """Submit the jobs; from here on they are kept up.

        Raises
        ------
        InputError
            If the queue refuses the first one, with the line to write.
        """
        try:
            self.cluster.sync(self._grow)
        except FileNotFoundError as error:
            raise InputError(
                f"profile: no command {error.filename!r} here: run this where the queue's commands are"
            ) from error
        except RuntimeError as error:
            told = refusal(str(error), self.dialect)
            if not self._ids():
                raise InputError(f"profile: {told}") from error
            self.say(told)
        self._note_ids()
        self._thread.start()

    def wait(self, client: Client) -> None:
        """Return when the first worker is there.

        Raises
        ------
        ExecutionError
            If none comes, with what the queue says of the jobs and where their logs are.
        """
        begun = seen = time.monotonic()
        running: float | None = None
        while not client.scheduler_info(n_workers=-1)["workers"]:
            if len(self.ended) >= _FUTILE:
                raise ExecutionError(
                    f"{len(self.ended)} jobs ended before a worker came: {self._told(self.ended[-1])}"
                )
            jobs = list((self.dialect.jobs(self._ids().values()) or {}).values())
            now = time.monotonic()
            seen = now if any(job.state != "ended" for job in jobs) else seen
            if now - seen > self.scaling.patience:
                raise ExecutionError(
                    f"no job has been in the queue for {now - seen:.0f} s: {self._said or 'it is silent'}"
                )
            active = [job for job in jobs if job.state == "running"]
            running = (running or now) if active else None
            if running and now - running > self.scaling.patience:
                raise ExecutionError(
                    f"no worker has come in {now - running:.0f} s since its job runs: {self._told(active[0])}; can "
                    "its node reach this one (arguments: {interface: ...} in the profile)?"
                )
            pending = [job for job in jobs if job.state == "pending"]
            if self.scaling.pending and not active and now - begun > self.scaling.pending:
                told = self._told(pending[0]) if pending else "the queue does not know them"
                raise ExecutionError(f"no job has started in {now - begun:.0f} s: {told}")
            if pending and not active:
                self._say_once(f"waiting in the queue: {len(pending)} jobs, first {pending[0].id} {pending[0]}")
            self._stop.wait(1.0)

    def close(self) -> None:
        """Stop replacing; the jobs themselves end with their cluster."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=60)
        self._note_ids([])

    def _keep(self) -> None:
        while not self._stop.wait(_EVERY + self._pause):
            try:
                self._look()
            except Exception as error:  # a thread that dies would leave lost jobs unreplaced, in silence
                self._say_once(f"worker jobs could not be looked at: {type(error).__name__}: {error}")

    def _look(self) -> None:
        ids = self._ids()
        view = self.dialect.jobs(ids.values())
        if view is None:
            return
        gone = {name: view[number] for name, number in ids.items() if view[number].state == "ended"}
        for job in gone.values():
            self.ended.append(job)
            if job.word not in ("", "COMPLETED", "DONE"):  # those retired in time
                self.say(f"lost a worker job, which is replaced: {self._told(job)}")
        if not gone and len(ids) >= (self.scaling.jobs or 1):
            self._pause = 0.0
            return
        # Longer from time to time, until a look finds all as it should be: a node on which jobs end at once would
        # otherwise be fed without end, and a queue that refuses be asked without end.
        self._pause = min(2.0 * self._pause + _EVERY, _LONGEST_PAUSE)
        try:
            if not self._stop.is_set():
                self.cluster.sync(self._replace, list(gone))
        except RuntimeError as error:
            self._say_once(f"{refusal(str(error), self.dialect)}; trying again later")
        self._note_ids()

    async def _replace(self, names: list[str]) -> None:
        for name in names:
            self._forget(name)
        await self._grow()

    def _forget(self, name: str) -> None:
        self.cluster.worker_spec.pop(name, None)
        job = self.cluster.workers.pop(name, None)
        if job is not None:
            job.status = Status.closed  # or the cluster asserts, at its end, that somebody closed it

    async def _grow(self) -> None:
        # As `scale` does, but here a refusal is an exception and not a line in Dask's log.
        while len(self.cluster.worker_spec) < (self.scaling.jobs or 1):
            self.cluster.worker_spec.update(self.cluster.new_worker_spec())
        try:
            await self.cluster
        finally:
            for name, job in list(self.cluster.workers.items()):
                if not job.job_id:
                    self._forget(name)

    def _ids(self) -> dict[str, str]:
        """Name of each job that the queue has taken -> its id."""
        return {name: str(job.job_id) for name, job in list(self.cluster.workers.items()) if job.job_id}

    def _note_ids(self, ids: Iterable[str] | None = None) -> None:
        jobs = list(self._ids().values() if ids is None else ids)
        self.workspace.write("workers", {"queue": self.cluster.job_cls.config_name, "jobs": jobs})

    def _told(self, job: QueuedJob) -> str:
        told = self.workspace.told_of(job.id)
        return f"job {job.id} {job}" + (f", {told}" if told else "")

    def _say_once(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self.say(text)
