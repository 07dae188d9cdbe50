"""Context that starts, or joins, the cluster of a profile and yields its Dask client."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.security import Security

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.batch.allocation import enter_allocation
from ntkmc.execution.batch.schedulers import dialect_of
from ntkmc.execution.batch.worker_jobs import JobKeeper, job_arguments
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.cluster import PRELOAD, SCHEDULER
from ntkmc.execution.job_resources import Layout
from ntkmc.execution.profile_schema import Certificates, Profile, cluster_class, load_profile
from ntkmc.execution.security import given_security, own_security
from ntkmc.experiment.store import Location

__all__ = ["Profile", "available_cpus", "connect", "load_profile"]

_LOGGERS = ("distributed", "distributed.client")  # Dask sets the level of the latter separately


@contextmanager
def connect(
    profile: Profile,
    *,
    layout: Layout | None = None,
    store: str | Path | Location | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Client]:
    """Start or join the cluster of a profile; on exit, close what was started.

    Parameters
    ----------
    profile : Profile
    layout : Layout, optional
        Jobs to request; required for a batch queue.
    store : str, Path or Location, optional
        The store of the run; required for a batch queue. Logs and certificates are written to a folder next to it,
        because all nodes share its file system.
    say : callable
        Called with messages for the user.

    Raises
    ------
    InputError
        If the cluster class does not exist or rejects its arguments, or the queue rejects a job.
    ExecutionError
        If the cluster does not start, or no worker connects.
    """
    factory = cluster_class(profile.cluster)
    # The nanny sets the environment before it starts the worker: NumPy's BLAS reads it at import.
    config = SCHEDULER | {
        "distributed.nanny.environ": profile.environment,
        "distributed.worker.preload": [PRELOAD],
        # The dashboard has no login: it listens on the loopback address, even if the scheduler does not.
        "distributed.dashboard.link": "http://127.0.0.1:{port}/status",
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(config | profile.config))
        for name in _LOGGERS:
            stack.callback(logging.getLogger(name).setLevel, logging.getLogger(name).level)
        try:
            if factory is Client:
                client = _join(profile, stack)
            elif not profile.batch:
                client = _start(factory, profile, stack)
            else:
                if layout is None or store is None:
                    raise InputError("profile: a profile of a queue needs a study, whose plan says what to ask for")
                workspace = Workspace(store)
                workspace.check()
                workspace.prepare()
                dashboard = _free_address(profile.dashboard)
                if hasattr(factory, "job_cls"):
                    client = _start_jobs(factory, profile, layout, workspace, dashboard, say, stack)
                else:
                    client = enter_allocation(
                        factory, profile, layout, workspace, _free_address(profile.dashboard), stack
                    )
        except (TypeError, ValueError) as error:
            if isinstance(error, InputError):
                raise
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"profile: {profile.cluster} does not take these arguments ({reason})") from error
        except ExecutionError:
            raise
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ExecutionError(f"the cluster did not start: {error}") from error
        if profile.batch and profile.dashboard:
            say(_tunnel(client))
        # From here on the driver reports failures; Dask's messages about closing workers would only repeat them.
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield client


def available_cpus() -> int:
    """Return the number of CPUs that this process may use, which a container or an allocation can restrict."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _start(factory: Any, profile: Profile, stack: ExitStack) -> Client:
    """Start a cluster on this machine, or with any class that starts its own workers."""
    arguments = dict(profile.arguments)
    if arguments.get("n_workers", 0) is None:
        arguments["n_workers"] = available_cpus()
    arguments["dashboard_address"] = _free_address(profile.dashboard)
    if profile.tls:
        arguments |= {"security": _security(profile), "protocol": "tls://"}
    client: Client = stack.enter_context(Client(stack.enter_context(factory(**arguments))))
    return client


def _join(profile: Profile, stack: ExitStack) -> Client:
    """Connect to a running scheduler, which is not stopped at the end."""
    arguments = dict(profile.arguments)
    target = arguments.get("address") or arguments.get("scheduler_file") or dask.config.get("scheduler-address", None)
    if not target:
        raise InputError(
            "profile: which scheduler? set arguments: {address: 'tls://host:8786'} or {scheduler_file: PATH}, or the "
            "variable DASK_SCHEDULER_ADDRESS"
        )
    if profile.tls:
        arguments["security"] = _security(profile)
    arguments = {name: value for name, value in arguments.items() if value is not None}
    try:
        client: Client = stack.enter_context(Client(set_as_default=False, **arguments))
        client.wait_for_workers(1, timeout=profile.scaling.patience)
    except (OSError, TimeoutError) as error:
        raise ExecutionError(f"the scheduler {target} was not reached, or has no workers: {error}") from error
    # With several blocks in one process, neither memory nor the death of a worker can be attributed to one of them.
    if any(threads > 1 for threads in client.nthreads().values()):
        raise InputError(f"the scheduler {target} has workers of several threads: start them with --nthreads 1")
    return client


def _start_jobs(
    factory: Any,
    profile: Profile,
    layout: Layout,
    workspace: Workspace,
    dashboard: str | None,
    say: Callable[[str], None],
    stack: ExitStack,
) -> Client:
    dialect = dialect_of(factory)
    arguments = job_arguments(profile, layout, workspace, dialect)
    options = {"dashboard_address": dashboard, "dashboard": dashboard is not None}
    options |= arguments.pop("scheduler_options", {})
    if profile.tls:
        arguments |= {"security": _security(profile), "protocol": "tls://"}
    cluster = stack.enter_context(factory(scheduler_options=options, **arguments))
    client: Client = stack.enter_context(Client(cluster))
    scaling = profile.scaling.model_copy(update={"jobs": layout.jobs})
    keeper = JobKeeper(cluster, dialect, scaling, workspace, say)
    stack.callback(keeper.close)
    keeper.start()
    keeper.wait(client)
    return client


def _security(profile: Profile) -> Security:
    return given_security(profile.tls) if isinstance(profile.tls, Certificates) else own_security()


def _tunnel(client: Client) -> str:
    host, port = client.run_on_scheduler(_dashboard_port)
    # The loopback address of the driver's node: a user reaches it from elsewhere by an SSH tunnel only.
    return f"Dask dashboard: ssh -N -L {port}:127.0.0.1:{port} {host}, then http://127.0.0.1:{port}/status"


def _dashboard_port(dask_scheduler: Any) -> tuple[str, int]:
    return socket.gethostname(), dask_scheduler.services["dashboard"].port


def _free_address(address: str | None) -> str | None:
    """Return the address, with port 0 (any free one) if its port is taken, mostly by another user's dashboard."""
    if address is None:
        return None
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return address
