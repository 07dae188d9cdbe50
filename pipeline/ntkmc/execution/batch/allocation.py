"""One job of processes started alike: one becomes the scheduler, one goes on as the driver, the rest are workers."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from contextlib import ExitStack
from typing import Any

from distributed import Client
from distributed.core import rpc
from distributed.security import Security

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.cluster import MEMORY
from ntkmc.execution.profile_schema import JOB_ARGUMENTS, Certificates, Profile
from ntkmc.execution.security import await_certificates, given_security, own_security, write_certificates
from ntkmc.execution.sizing import Layout

_RANK = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_DRIVER = 1  # the rank that goes on as the client; 0 is the scheduler


def enter_allocation(
    factory: Any, profile: Profile, layout: Layout, workspace: Workspace, dashboard: str | None, stack: ExitStack
) -> Client:
    """In one process the client; the others serve until it leaves, and then exit.

    Raises
    ------
    InputError
        If this process is not one of several that were started together.
    ExecutionError
        If too few were, or the workers do not come.
    """
    rank = next((int(os.environ[name]) for name in _RANK if name in os.environ), None)
    tasks = int(os.environ.get("SLURM_NTASKS", "0"))
    if rank is None:
        raise InputError(
            "profile: it works inside an allocation: ntkmc submit makes one, or start ntkmc run with srun"
        )
    if tasks < 3:
        raise InputError(
            f"profile: an allocation needs 3 tasks or more (scheduler, driver, workers), this one has {tasks}"
        )
    # After a requeue the job's number is the same: files of its first life must not be taken for those of the second.
    life = "-".join(os.environ.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID"))
    folder = workspace.root / f"allocation-{life}"
    folder.mkdir(mode=0o700, exist_ok=True)
    security = _shared_security(profile, rank, folder, profile.scaling.patience)
    protocol = "tls://" if security else "tcp://"
    arguments = {name: value for name, value in profile.arguments.items() if name not in JOB_ARGUMENTS}
    scheduler: dict[str, Any] = {
        "dashboard_address": dashboard,
        "dashboard": dashboard is not None,
        "protocol": protocol,
    }
    worker: dict[str, Any] = {
        "nthreads": 1,
        "memory_limit": layout.worker_bytes,
        "resources": {MEMORY: layout.worker_bytes},
        "death_timeout": profile.scaling.patience,
        "local_directory": os.environ.get("TMPDIR", "/tmp"),
        "protocol": protocol,
        "dashboard_address": "127.0.0.1:0",  # of the worker itself, which TLS does not cover
    }
    if security:
        scheduler["security"] = worker["security"] = security
    if rank != _DRIVER:
        # The driver alone answers a request to stop; when it has, the scheduler ends, and with it the workers.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))  # dask-jobqueue's way of ending a process that has served
    runner = stack.enter_context(
        factory(
            scheduler_file=str(folder / "scheduler.json"),
            scheduler_options=scheduler | arguments.pop("scheduler_options", {}),
            worker_options=worker | arguments.pop("worker_options", {}),
            **arguments,
        )
    )
    if security:  # the connection that ends the scheduler; the runner itself would make one without a certificate
        runner.scheduler_comm = rpc(runner.scheduler_address, connection_args=security.get_connection_args("client"))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    client: Client = stack.enter_context(Client(runner.scheduler_address, security=security))
    try:
        client.wait_for_workers(tasks - 2, timeout=profile.scaling.patience)
    except TimeoutError as error:
        if not client.nthreads():
            raise ExecutionError(f"no worker has come in {profile.scaling.patience} s; see the job's log") from error
    return client


def _shared_security(profile: Profile, rank: int, folder: Any, patience: float) -> Security | None:
    if not profile.tls:
        return None
    if isinstance(profile.tls, Certificates):
        return given_security(profile.tls)
    if rank == 0:
        return given_security(write_certificates(own_security(), folder))
    return given_security(await_certificates(folder, patience))
