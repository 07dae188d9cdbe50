"""What made these numbers: versions of what was imported, BLAS, processor, code state."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from threadpoolctl import threadpool_info

SCHEMA: Final = 1
"""Version of this document."""

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
    """The document that a run writes into its store.

    Examples
    --------
    >>> sorted(provenance())[:3]
    ['blas', 'code', 'cpu']
    """
    return {
        "schema": SCHEMA,
        "time": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "libc": "-".join(platform.libc_ver()),
        "cpu": _cpu(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "blas": [
            {key: pool.get(key) for key in ("internal_api", "version", "architecture", "num_threads")}
            for pool in threadpool_info()
            if pool.get("user_api") == "blas"
        ],
        "code": _code(),
        "job": {name: os.environ[name] for name in _QUEUE if name in os.environ},
    }


def worker_provenance(seconds: float) -> dict[str, Any]:
    """The few facts that travel with a block."""
    return {"host": platform.node(), "pid": os.getpid(), "seconds": round(seconds, 6), "cpu": _cpu()}


def _version(name: str) -> str | None:
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
    """Commit of the clone that the package is imported from, and whether it was changed; empty when installed."""
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
