"""From a profile in `cluster/` to a Dask client, and away again without noise."""

from __future__ import annotations

import importlib
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import dask
from distributed import Client
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ntkmc.errors import ExecutionError, InputError
from ntkmc.execution.workforce import SCHEDULER
from ntkmc.experiment.loading import describe, read_yaml
from ntkmc.share import find_shared


class Profile(BaseModel):
    """One kind of place to run in: data, not code.

    Attributes
    ----------
    cluster : str
        Dotted name of a Dask cluster class.
    arguments : dict
        Its keyword arguments. `n_workers: null` becomes the number of CPUs that this process may use.
    environment : dict
        Variables that every worker process starts with.
    dashboard : str or None
        Where the Dask dashboard listens, `host:port`; null for none.
    config : dict
        Dask configuration that holds while the cluster lives.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: str = Field(pattern=r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$")
    arguments: dict[str, Any] = Field(default_factory=dict)
    environment: dict[str, str] = Field(default_factory=dict)
    dashboard: str | None = Field(default="127.0.0.1:8787", pattern=r"^[\w.\-]+:\d+$")
    config: dict[str, Any] = Field(default_factory=dict)


def load_profile(name: str) -> Profile:
    """The profile called `name`: a path to a YAML file, or the stem of one in `cluster/`.

    Raises
    ------
    InputError
        If there is no such file, or it is not a profile.

    Examples
    --------
    >>> load_profile("local").cluster
    'distributed.LocalCluster'
    """
    path = find_shared("cluster", name, ".yaml")
    data = read_yaml(path)
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: a profile is a mapping with the key cluster")
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, Profile)}") from error


@contextmanager
def connect(profile: Profile) -> Iterator[Client]:
    """A client of a cluster that lives as long as the context.

    Raises
    ------
    InputError
        If the cluster class does not exist or refuses its arguments.
    ExecutionError
        If the cluster does not start.
    """
    factory = _cluster_class(profile.cluster)
    arguments = dict(profile.arguments)
    if arguments.get("n_workers", 0) is None:
        arguments["n_workers"] = available_cpus()
    arguments["dashboard_address"] = _free(profile.dashboard)
    # A nanny starts its worker with this environment, before NumPy can read it.
    config = SCHEDULER | {
        "distributed.nanny.environ": profile.environment,
        "distributed.worker.preload": ["ntkmc.execution.preload"],
    }
    with ExitStack() as stack:
        stack.enter_context(dask.config.set(config | profile.config))
        stack.callback(_quiet_logs, logging.getLogger("distributed").level)
        try:
            cluster = stack.enter_context(factory(**arguments))
            client = stack.enter_context(Client(cluster))
        except TypeError as error:
            raise InputError(f"profile: {profile.cluster} does not take these arguments ({error})") from error
        except (OSError, TimeoutError, RuntimeError) as error:
            raise ExecutionError(f"the cluster did not start: {error}") from error
        # From here on a message of a closing worker is no news: failures are reported by the run itself.
        _quiet_logs(logging.CRITICAL)
        yield client


def available_cpus() -> int:
    """CPUs that this process may use (an allocation or a container may allow fewer than there are)."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quiet_logs(level: int) -> None:
    logging.getLogger("distributed").setLevel(level)


def _cluster_class(name: str) -> Any:
    module, _, attribute = name.rpartition(".")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        raise InputError(f"profile: {name} needs the package {error.name}: pip install {error.name}") from error
    except AttributeError:
        raise InputError(f"profile: {module} has no class {attribute!r}") from None


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
