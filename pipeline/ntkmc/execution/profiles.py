"""From a profile in `cluster/` to a Dask client, and away again without noise."""

from __future__ import annotations

import importlib
import logging
import os
import shlex
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import dask
from distributed import Client
from distributed.security import Security

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.batch.allocation import enter_allocation
from ntkmc.execution.batch.dialects import DIALECTS, Dialect
from ntkmc.execution.batch.jobs import JobKeeper
from ntkmc.execution.batch.workspace import Workspace
from ntkmc.execution.cluster import MEMORY, SCHEDULER
from ntkmc.execution.profile_schema import Certificates, Profile, load_profile
from ntkmc.execution.security import given_security, own_security
from ntkmc.execution.sizing import Layout
from ntkmc.experiment.store import Location

__all__ = ["Profile", "available_cpus", "cluster_class", "connect", "dialect_of", "job_arguments", "load_profile"]

_LOGGERS = ("distributed", "distributed.client")  # Dask gives the latter a level of its own
_PRELOAD = "ntkmc.execution.preload"
_SCRATCH = "${TMPDIR:-/tmp}"  # expanded by the job's shell, on its node: node-local disk at most sites


@contextmanager
def connect(
    profile: Profile,
    *,
    layout: Layout | None = None,
    store: str | Path | Location | None = None,
    say: Callable[[str], None] = lambda text: None,
) -> Iterator[Client]:
    """A client of a cluster that lives as long as the context.

    Parameters
    ----------
    profile : Profile
    layout : Layout, optional
        What to ask a queue for; needed for a profile of one.
    store : str, Path or Location, optional
        The store that is worked for: the folder beside it, which all nodes share, takes logs and certificates.
    say : callable
        Takes a sentence for the user.

    Raises
    ------
    InputError
        If the cluster class does not exist or refuses its arguments, or the queue refuses a job.
    ExecutionError
        If the cluster does not start, or no worker comes.
    """
    factory = cluster_class(profile.cluster)
    # A nanny starts its worker with this environment, before NumPy can read it.
    config = SCHEDULER | {
        "distributed.nanny.environ": profile.environment,
        "distributed.worker.preload": [_PRELOAD],
        # The dashboard listens on a loopback address only, whatever the scheduler listens on.
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
                if hasattr(factory, "job_cls"):
                    client = _start_jobs(factory, profile, layout, workspace, say, stack)
                else:
                    client = enter_allocation(factory, profile, layout, workspace, _free(profile.dashboard), stack)
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
        # From here on a message of a closing worker is no news: failures are reported by the run itself.
        for name in _LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL)
        yield client


def available_cpus() -> int:
    """CPUs that this process may use (an allocation or a container may allow fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cluster_class(name: str) -> Any:
    """The class that a profile names.

    Raises
    ------
    InputError
        If it does not exist, or its package is missing (with the pip line).
    """
    module, _, attribute = name.rpartition(".")
    # dask-jobqueue takes Ctrl-C for itself when it is imported; here it stays the driver's.
    before = signal.getsignal(signal.SIGINT)
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        package = "'ntkmc[hpc]'" if error.name == "dask_jobqueue" else error.name
        raise InputError(f"profile: {name} needs the package {error.name}: pip install {package}") from error
    except AttributeError:
        raise InputError(f"profile: {module} has no class {attribute!r}") from None
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def dialect_of(factory: Any) -> Dialect:
    """Return the dialect of the queue of a dask-jobqueue class.

    Raises
    ------
    InputError
        For a queue that is not known here.
    """
    name = str(factory.job_cls.config_name)
    if name not in DIALECTS:
        raise InputError(f"profile: queues of the kind {name!r} are not known; known: {', '.join(sorted(DIALECTS))}")
    return DIALECTS[name]


def job_arguments(profile: Profile, layout: Layout, workspace: Workspace, dialect: Dialect) -> dict[str, Any]:
    """Keyword arguments of the dask-jobqueue class for worker jobs: the profile's, and what was chosen."""
    lifetime, stagger = layout.lifetime
    given = filled(profile.arguments, layout)
    variables = profile.environment | _as_variables(profile.config)
    chosen = {
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
            *f"--lifetime {lifetime}s --lifetime-stagger {stagger}s --preload {_PRELOAD}".split(),
            *("--resources", f"{MEMORY}={layout.worker_bytes}"),
            *("--dashboard-address", "127.0.0.1:0"),  # of the worker itself, which TLS does not cover
            *given.pop("worker_extra_args", []),
        ],
        "job_script_prologue": [
            *given.pop("job_script_prologue", []),
            *(f"export {name}={shlex.quote(value)}" for name, value in variables.items()),
        ],
    }
    fixed = {name: value for name, value in given.items() if value is not None and name not in ("walltime", "cores")}
    return chosen | fixed | always


def filled(value: Any, layout: Layout) -> Any:
    """A profile's value with `{workers}`, `{tasks}` and `{memory_mib}` (of a worker) in its texts filled in."""
    if isinstance(value, Mapping):
        return {key: filled(each, layout) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, layout) for each in value]
    if isinstance(value, str):
        known = {"workers": layout.workers, "tasks": layout.tasks, "memory_mib": layout.worker_bytes // 2**20}
        for name, number in known.items():
            value = value.replace(f"{{{name}}}", str(number))
    return value


def _start(factory: Any, profile: Profile, stack: ExitStack) -> Client:
    """A cluster of this machine, or of any class that starts its workers by itself."""
    arguments = dict(profile.arguments)
    if arguments.get("n_workers", 0) is None:
        arguments["n_workers"] = available_cpus()
    arguments["dashboard_address"] = _free(profile.dashboard)
    if profile.tls:
        arguments |= {"security": _security(profile), "protocol": "tls://"}
    client: Client = stack.enter_context(Client(stack.enter_context(factory(**arguments))))
    return client


def _join(profile: Profile, stack: ExitStack) -> Client:
    """A scheduler that somebody else runs, and goes on running."""
    arguments = dict(profile.arguments)
    known = arguments.get("address") or arguments.get("scheduler_file") or dask.config.get("scheduler-address", None)
    if not known:
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
        raise ExecutionError(f"the scheduler {known} was not reached, or has no workers: {error}") from error
    if any(threads > 1 for threads in client.nthreads().values()):
        raise InputError(f"the scheduler {known} has workers of several threads: start them with --nthreads 1")
    return client


def _start_jobs(
    factory: Any, profile: Profile, layout: Layout, workspace: Workspace, say: Callable[[str], None], stack: ExitStack
) -> Client:
    dialect = dialect_of(factory)
    arguments = job_arguments(profile, layout, workspace, dialect)
    address = _free(profile.dashboard)
    options = {"dashboard_address": address, "dashboard": address is not None} | arguments.pop("scheduler_options", {})
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


def _as_variables(config: Mapping[str, Any]) -> dict[str, str]:
    """Dask configuration as the environment variables that a worker on another node reads it from.

    >>> _as_variables({"distributed.comm.timeouts.tcp": "300s"})
    {'DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP': '300s'}
    """
    return {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value) for key, value in config.items()}


def _tunnel(client: Client) -> str:
    host, port = client.run_on_scheduler(_where)
    return f"Dask dashboard: ssh -N -L {port}:127.0.0.1:{port} {host}, then http://127.0.0.1:{port}/status"


def _where(dask_scheduler: Any) -> tuple[str, int]:
    return socket.gethostname(), dask_scheduler.services["dashboard"].port


def _free(address: str | None) -> str | None:
    """The address, or any free port on its host if that one is taken (somebody else's dashboard, mostly)."""
    if address is None:
        return None
    host, _, port = address.rpartition(":")
    with socket.socket() as probe:
        try:
            probe.bind((host, int(port)))
        except OSError:
            return f"{host}:0"
    return address
