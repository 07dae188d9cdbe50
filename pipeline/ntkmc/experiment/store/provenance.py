"""Provenance of results: versions of the imported packages, BLAS, processor, and state of the code."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from threadpoolctl import threadpool_info

from ntkmc.experiment.study.numerics import NUMERICS

SCHEMA: Final = 2
"""Version of the provenance document."""

_PACKAGES: Final = (
    "ntkmc",
    "numpy",
    "scipy",
    "numba",
    "llvmlite",
    "zarr",
    "xarray",
    "dask",
    "distributed",
    "pydantic",
)
_QUEUE: Final = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID")


def provenance() -> dict[str, Any]:
    """Return the provenance document that a run writes into its store.

    Examples
    --------
    >>> sorted(provenance())[:3]
    ['blas', 'code', 'cpu']
    """
    return environment() | {
        "schema": SCHEMA,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "host": platform.node(),
        "job": {name: os.environ[name] for name in _QUEUE if name in os.environ},
    }


@cache
def environment() -> dict[str, Any]:
    """Return everything on which bits can depend.

    That is: versions of the packages that this process imported, BLAS, processor, threads, and state of the code.
    """
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "libc": "-".join(platform.libc_ver()),
        "cpu": _cpu(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "blas": [
            {key: pool.get(key) for key in ("internal_api", "version", "architecture")}
            | {"file": Path(pool["filepath"]).name}  # the file name in a wheel contains a hash of the build
            # Sorted by name: the order of loading differs between processes and has no meaning.
            for pool in sorted(threadpool_info(), key=lambda pool: Path(pool["filepath"]).name)
            if pool.get("user_api") == "blas"
        ],
        "threads": NUMERICS["threads"],
        "code": _code(),
    }


def bits_of(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of an environment that determines all bits, for equal `NUMERICS`."""
    # Results are computed by these packages and the BLAS; others only move and store them.
    packages = document.get("packages", {})
    return {
        "cpu": document.get("cpu"),
        "blas": document.get("blas"),
        "libc": document.get("libc"),
        "matrix": document.get("matrix"),
        "packages": {name: packages.get(name) for name in ("numpy", "scipy", "numba", "llvmlite")},
    }


def block_provenance(seconds: float, methods: Mapping[str, int], *, blocked: bool = False) -> dict[str, Any]:
    """Return the provenance of a block: process, job, time, environment, and number of trials per eigenvalue method.

    With `blocked`, its Gram matrices were distributed over several workers, on whose number the last bits depend.
    """
    return {
        "id": uuid.uuid4().int >> 65,  # 63 bits
        "host": platform.node(),
        "pid": os.getpid(),
        "job": next((os.environ[name] for name in _QUEUE if name in os.environ), ""),
        "seconds": round(seconds, 6),
        "finished": int(time.time()),
        "methods": dict(methods),
        "environment": environment() | ({"matrix": "blocked"} if blocked else {}),
    }


def differing(environments: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the entries in which environments differ: all values of such an entry, by its dotted name.

    Examples
    --------
    >>> differing([{"cpu": "A", "packages": {"numpy": "2.3"}}, {"cpu": "A", "packages": {"numpy": "2.4"}}])
    {'packages.numpy': ['2.3', '2.4']}
    """
    flat = [_flat(entries) for entries in environments]
    names = dict.fromkeys(name for entries in flat for name in entries)
    values_by_name = {name: sorted({entries.get(name, "none") for entries in flat}) for name in names}
    return {name: values for name, values in values_by_name.items() if len(values) > 1}


def _flat(document: Any, name: str = "") -> dict[str, str]:
    if isinstance(document, Mapping):
        inner = document.items()
    elif isinstance(document, list):
        inner = enumerate(document)  # type: ignore[assignment]
    else:
        return {name: str(document)}
    return {key: text for part, value in inner for key, text in _flat(value, f"{name}.{part}".strip(".")).items()}


def _version(name: str) -> str | None:
    """Return the version of a package, preferably of the imported module: metadata of installs may be outdated."""
    # What is imported is what computes; a package may have been upgraded since this process started.
    imported = getattr(sys.modules.get(name), "__version__", None)
    if isinstance(imported, str):
        return imported
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _cpu() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _code() -> dict[str, Any]:
    """Return the commit of the clone that contains the package, and whether it was modified; empty if installed."""
    folder = Path(__file__).resolve().parents[3]
    if not (folder / ".git").exists():
        return {}
    try:
        commit = _git(folder, "rev-parse", "HEAD")
        return {"commit": commit, "modified": bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return {}


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True, timeout=10
    )
    return done.stdout.strip()
