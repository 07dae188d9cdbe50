"""Allocation: one batch job whose identical processes become the scheduler, the driver and the workers."""

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
from ntkmc.execution.job_resources import Layout
from ntkmc.execution.profile_schema import JOB_ARGUMENTS, Certificates, Profile
from ntkmc.execution.security import await_certificates, given_security, own_security, write_certificates

_RANK_VARIABLES = ("SLURM_PROCID", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_DRIVER = 1  # the rank of the driver, which has the client; rank 0 is the scheduler


def enter_allocation(
    factory: Any, profile: Profile, layout: Layout, workspace: Workspace, dashboard: str | None, stack: ExitStack
) -> Client:
    """Return a client in the driver's process; run the scheduler or a worker in all others, which then exit.

    Raises
    ------
    InputError
        If this process is not part of an allocation, or the allocation has too few processes.
    ExecutionError
        If no worker connects.
    """
    rank = next((int(os.environ[name]) for name in _RANK_VARIABLES if name in os.environ), None)
    tasks = int(os.environ.get("SLURM_NTASKS", "0"))
    if rank is None:
        raise InputError(
            "profile: it works inside an allocation: ntkmc submit makes one, or start ntkmc run with srun"
        )
    if tasks < 3:
        raise InputError(
            f"profile: an allocation needs 3 tasks or more (scheduler, driver, workers), this one has {tasks}"
        )
    # A requeued job keeps its number: without the restart count, workers would read the scheduler file and the key of
    # the earlier start.
    start = "-".join(os.environ.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_RESTART_COUNT", "SLURM_STEP_ID"))
    folder = workspace.root / f"allocation-{start}"
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
        "dashboard_address": "127.0.0.1:0",  # TLS does not cover a worker's own dashboard
    }
    if security:
        scheduler["security"] = worker["security"] = security
    if rank != _DRIVER:
        # Only the driver reacts to SIGTERM: it folds what is finished, then ends the scheduler and so the workers.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        # dask-jobqueue ends the other processes by SIGINT. Any exit code but 0 would make `srun` kill all processes.
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    runner = stack.enter_context(
        factory(
            scheduler_file=str(folder / "scheduler.json"),
            scheduler_options=scheduler | arguments.pop("scheduler_options", {}),
            worker_options=worker | arguments.pop("worker_options", {}),
            **arguments,
        )
    )
    if security:
        # The runner ends the scheduler over this connection; its own would have no certificate.
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
