"""A profile: one kind of place to run in, as data. Read from `cluster/` or a file of the user's, and validated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from dask.utils import parse_bytes
from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, ValidationError

from ntkmc.errors import InputError
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
"""Arguments that concern the batch job rather than Dask."""

_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}


def seconds(text: Any) -> int:
    """A duration in seconds, from `HH:MM:SS`, `D-HH:MM:SS`, `90 min`, `12h`, or a number of seconds.

    Raises
    ------
    ValueError
        If it is none of these.

    Examples
    --------
    >>> seconds("01:30:00"), seconds("2-00:00:00"), seconds("15 min"), seconds(40)
    (5400, 172800, 900, 40)
    """
    if isinstance(text, int) and not isinstance(text, bool) and text > 0:
        return text
    if isinstance(text, str):
        if clock := re.fullmatch(r"(?:(\d+)-)?(\d+):(\d\d)(?::(\d\d))?", text.strip()):
            days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
            return ((days * 24 + hours) * 60 + minutes) * 60 + rest
        words = re.fullmatch(r"(\d+)\s*([a-z]+?)s?", text.strip())
        if words and words[2] in _UNITS and int(words[1]) > 0:
            return int(words[1]) * _UNITS[words[2]]
    raise ValueError(f"should be a duration such as '01:30:00' or '15 min', got {text!r}")


def number_of_bytes(text: Any) -> int:
    """A size in bytes, from `4GiB`, `500 MB`, or a number of bytes.

    Examples
    --------
    >>> number_of_bytes("2GiB")
    2147483648
    """
    try:
        return int(parse_bytes(text))
    except (ValueError, TypeError, AttributeError):
        raise ValueError(f"should be a size such as '4GiB', got {text!r}") from None


Seconds = Annotated[int, BeforeValidator(seconds)]
Bytes = Annotated[int, BeforeValidator(number_of_bytes)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Certificates(_Part):
    """TLS files of a cluster that the user started: authority, own certificate, own key (PEM)."""

    ca: str
    cert: str
    key: str


def _tls(value: Any) -> str:
    return "Certificates" if isinstance(value, Mapping | Certificates) else "bool"


Tls = Annotated[
    Annotated[bool, Tag("bool")] | Annotated[Certificates, Tag("Certificates")],
    Discriminator(_tls),
]


class Limits(_Part):
    """Limits of the queue, within which jobs are chosen.

    Attributes
    ----------
    jobs : int
        Worker jobs at a time.
    workers : int
        Workers, one core each, in a job: at most the cores of a node. In an allocation: in all.
    memory : int or None
        Bytes a job may ask for; null if only the sizes of nodes limit it.
    walltime : int
        Seconds of the longest job.
    """

    jobs: int = Field(default=16, ge=1)
    workers: int = Field(default=1, ge=1)
    memory: Bytes | None = None
    walltime: Seconds = 24 * 3600


class Scaling(_Part):
    """Number of worker jobs, and the time to wait for them.

    Attributes
    ----------
    jobs : int or None
        Kept up, that is, a job that is lost or reaches its walltime is replaced; null: chosen from the plan.
    patience : int
        Seconds to wait for the first worker once a job runs, before the run ends and says why.
    pending : int or None
        Seconds that the first job may wait in the queue; null: as long as it takes.
    """

    jobs: int | None = Field(default=None, ge=1)
    patience: Seconds = 600
    pending: Seconds | None = None


class Submission(_Part):
    """The batch job that `ntkmc submit` makes of the driver.

    Attributes
    ----------
    cluster : str or None
        The dask-jobqueue class of the queue; null: the profile's `cluster`.
    arguments : dict
        What the job asks for, as arguments of that class. Queue, account and prologue are those of the workers.
    launch : str
        Words before the command, such as `srun`.
    """

    cluster: str | None = Field(default=None, pattern=_CLASS)
    arguments: dict[str, Any] = Field(default_factory=dict)
    launch: str = ""


class Profile(_Part):
    """One kind of place to run in: data, not code.

    Attributes
    ----------
    cluster : str
        Dotted name of a Dask cluster class; `distributed.Client` joins a running scheduler.
    arguments : dict
        Its keyword arguments. `n_workers: null` becomes the number of CPUs that this process may use; `cores`,
        `processes`, `memory` and `walltime` of a batch job that are null or absent are chosen from the plan.
    scaling, limits, submission
        Of batch queues.
    environment : dict
        Variables that every worker process starts with.
    tls : bool or Certificates
        Encrypt and authenticate all connections: with a certificate of this run's own, or with given ones.
    dashboard : str or None
        Where the Dask dashboard listens, `host:port`; null for none.
    config : dict
        Dask configuration that holds while the cluster lives.
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
        """Whether somebody else runs the scheduler and its workers, on machines that are not known here."""
        return self.cluster == "distributed.Client"

    @property
    def batch(self) -> bool:
        """Whether a queue is asked for jobs."""
        return self.limits is not None

    @property
    def one_job(self) -> bool:
        """Whether driver, scheduler and workers share one job: then another class submits it."""
        return self.batch and self.submission is not None and self.submission.cluster not in (None, self.cluster)


_SECTIONS: Sections = {
    "scaling": (Scaling,),
    "limits": (Limits,),
    "submission": (Submission,),
    "tls": (Certificates,),
}


def load_profile(name: str) -> Profile:
    """The profile called `name`: a path to a YAML file, or the stem of one in `cluster/`.

    `extends: other` starts from another profile, whose mappings are merged key by key.

    Raises
    ------
    InputError
        If there is no such file, or it is not a profile.

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
    own = dict(data)
    base = own.pop("extends", None)
    if base is None:
        return path, own
    if path.resolve() in seen:
        raise InputError(f"{path}: extends itself, by way of {' and '.join(each.name for each in seen)}")
    if not isinstance(base, str):
        raise InputError(f"{path}: extends: should be the name of a profile, got {base!r}")
    beside = path.parent / base
    _, inherited = _read(str(beside) if beside.is_file() else base, (*seen, path.resolve()))
    return path, _merged(inherited, own)


def _merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """`own` over `base`, mapping by mapping; anything else, lists too, is replaced."""
    found = dict(base)
    for key, value in own.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found
