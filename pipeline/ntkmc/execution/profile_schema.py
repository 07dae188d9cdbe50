"""Schema for validating deployment profiles, which are YAML files in `cluster/` or supplied by the user."""

from __future__ import annotations

import importlib
import signal
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import dask
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from ntkmc.errors import InputError
from ntkmc.execution.units import parse_duration, parse_size
from ntkmc.experiment.study.loading import Sections, describe, read_yaml
from ntkmc.shipped_files import find_shared

_CLASS = r"^[A-Za-z_][\w.]*\.[A-Za-z_]\w*$"
JOB_ARGUMENTS = (
    "queue",
    "account",
    "project",
    "shebang",
    "python",
    "config_name",
    "job_extra_directives",
    "job_directives_skip",
    "job_script_prologue",
    "cores",
    "processes",
    "memory",
    "walltime",
    "resource_spec",
)
"""Arguments of dask-jobqueue that concern the batch job rather than Dask."""

Seconds = Annotated[int, BeforeValidator(parse_duration)]
Bytes = Annotated[int, BeforeValidator(parse_size)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Certificates(_Section):
    """PEM files for TLS with a cluster that the user started: certificate authority, own certificate, own key."""

    ca: str
    cert: str
    key: str


def _tls(value: Any) -> str:
    return "Certificates" if isinstance(value, Mapping | Certificates) else "bool"


# A discriminated union, so that an error names the wrong key of the mapping and not every member of the union.
Tls = Annotated[
    Annotated[bool, Tag("bool")] | Annotated[Certificates, Tag("Certificates")],
    Discriminator(_tls),
]


class Limits(_Section):
    """Limits of the queue within which jobs are chosen.

    Attributes
    ----------
    jobs : int
        Number of worker jobs at a time.
    workers : int
        Workers per job, with one core each: at most the cores of a node. In an allocation, the total number.
    memory : int or None
        Bytes that a job may request; null if only the sizes of nodes limit it.
    walltime : int
        Longest walltime of a job in seconds.
    """

    jobs: int = Field(default=16, ge=1)
    workers: int = Field(default=1, ge=1)
    memory: Bytes | None = None
    walltime: Seconds = 24 * 3600


class Scaling(_Section):
    """Number of worker jobs, and the time to wait for them.

    Attributes
    ----------
    jobs : int or None
        A job that is lost or reaches its walltime is replaced, so that this many run; null: chosen from the plan.
    patience : int
        Seconds to wait for the first worker once a job runs, before the run ends with an error.
    pending : int or None
        Seconds that the first job may wait in the queue; null: no limit.
    """

    jobs: int | None = Field(default=None, ge=1)
    patience: Seconds = 600
    pending: Seconds | None = None


class Submission(_Section):
    """Batch job of the driver, for `ntkmc submit`.

    Attributes
    ----------
    cluster : str or None
        Class of dask-jobqueue that submits the job; null: the profile's `cluster`.
    arguments : dict
        Arguments of that class. Queue, account and prologue default to those of the workers.
    launch : str
        Prefix of the command, such as `srun`.
    """

    cluster: str | None = Field(default=None, pattern=_CLASS)
    arguments: dict[str, Any] = Field(default_factory=dict)
    launch: str = ""


class Profile(_Section):
    """Deployment profile: the cluster class to start or join, its arguments, and the limits of the batch queue.

    Attributes
    ----------
    cluster : str
        Dotted name of a Dask cluster class; `distributed.Client` connects to a running scheduler.
    arguments : dict
        Keyword arguments of the class. `n_workers: null` becomes the number of CPUs that this process may use;
        `cores`, `processes`, `memory` and `walltime` of a batch job that are null or absent are chosen from the plan.
    scaling, limits, submission
        For batch queues only.
    environment : dict
        Environment variables of every worker process.
    tls : bool or Certificates
        Encrypt and authenticate all connections: with a new certificate for each run, or with the given files.
    dashboard : str or None
        Address of the Dask dashboard, `host:port`; null for none.
    config : dict
        Dask configuration during the run.
    """

    cluster: str = Field(pattern=_CLASS)
    arguments: dict[str, Any] = Field(default_factory=dict)
    scaling: Scaling = Scaling()
    limits: Limits | None = None
    submission: Submission | None = None
    environment: dict[str, str] = Field(default_factory=dict)
    tls: Tls = False
    dashboard: str | None = Field(default="127.0.0.1:8787", pattern=r"^[\w.\-]+:\d+$")
    config: dict[str, Any] = Field(default_factory=dict)

    @property
    def joins(self) -> bool:
        """True if the profile connects to a running scheduler, whose workers have unknown memory."""
        return self.cluster == "distributed.Client"

    @property
    def batch(self) -> bool:
        """True if workers are jobs of a batch queue."""
        return self.limits is not None

    @property
    def one_job(self) -> bool:
        """True if driver, scheduler and workers are one job, an allocation, which another class submits."""
        return self.batch and self.submission is not None and self.submission.cluster not in (None, self.cluster)


_SECTIONS: Sections = {
    "scaling": (Scaling,),
    "limits": (Limits,),
    "submission": (Submission,),
    "tls": (Certificates,),
}


def load_profile(name: str) -> Profile:
    """Load a profile by its name in `cluster/`, or from a path to a YAML file.

    `extends: other` starts from another profile. Its mappings are merged key by key; lists are replaced.

    Raises
    ------
    InputError
        If there is no such file, or it is not a valid profile.

    Examples
    --------
    >>> load_profile("local").cluster
    'distributed.LocalCluster'
    """
    path, data = _read(name, ())
    try:
        return Profile.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {describe(error, Profile, _SECTIONS)}") from error


def _read(name: str, seen: tuple[Path, ...]) -> tuple[Path, dict[str, Any]]:
    path = find_shared("cluster", name, ".yaml")
    data = read_yaml(path)
    if not isinstance(data, Mapping):
        raise InputError(f"{path}: a profile is a mapping with the key cluster")
    document = dict(data)
    base = document.pop("extends", None)
    if base is None:
        return path, document
    if path.resolve() in seen:
        raise InputError(f"{path}: extends itself, by way of {' and '.join(parent.name for parent in seen)}")
    if not isinstance(base, str):
        raise InputError(f"{path}: extends: should be the name of a profile, got {base!r}")
    # A file in the same folder takes precedence over a shipped profile, so that a site can extend its own.
    sibling = path.parent / base
    _, inherited = _read(str(sibling) if sibling.is_file() else base, (*seen, path.resolve()))
    return path, dask.config.merge(inherited, document)


def cluster_class(name: str) -> Any:
    """Import the class with a dotted name.

    Raises
    ------
    InputError
        If it does not exist, or its package is missing (with the pip command).
    """
    module, _, attribute = name.rpartition(".")
    # dask-jobqueue installs a handler for SIGINT when it is imported; the driver needs its own.
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
