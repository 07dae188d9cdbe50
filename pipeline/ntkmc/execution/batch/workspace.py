"""Folder `<store>.jobs` next to a store, with the ids, logs, script and certificates of its jobs.

It is next to the store because all nodes share that file system. For a store at a URL it is in the working directory.
It has no results: it may be deleted when no job is left.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ntkmc.errors import InputError
from ntkmc.experiment.store import Location
from ntkmc.experiment.store.location import atomic_path

_ERROR = re.compile(
    r"^ntkmc: |^cell .* failed|error: |^\w*(Error|Exception)\b|^Killed|CANCELLED|oom-kill|TERM_\w+|"
    r"walltime .* exceeded",
    re.IGNORECASE,
)
# Messages of a normal end: Dask closes connections, and Slurm cancels the workers when the driver has finished.
_NOISE = re.compile(r"CommClosed|TCPListener|ConnectionPool|CANCELLED AT \S+ \*\*\*$")
_TAIL = 200_000  # bytes at the end of a log that are searched


class Workspace:
    """Files of the jobs of a store.

    Examples
    --------
    >>> Workspace(Path("data/results/a.zarr")).root.name
    'a.zarr.jobs'
    """

    def __init__(self, store: str | Path | Location) -> None:
        self.store = Location.of(store)
        folder = Path.cwd() if self.store.remote else self.store.path.parent
        self.root = folder / f"{self.store.name}.jobs"
        self.logs = self.root / "logs"

    @property
    def job_name(self) -> str:
        """Name of the jobs in the queue: letters, digits and `-_.`, a letter first, as all queues allow.

        >>> Workspace(Path("my run.zarr")).job_name
        'ntkmc-my-run'
        """
        return f"ntkmc-{re.sub(r'[^A-Za-z0-9_.-]', '-', Path(self.store.name).stem)}"

    def check(self) -> None:
        """Raise InputError if the path contains spaces, which the header of a batch script cannot quote."""
        if re.search(r"\s", str(self.root)):
            raise InputError(f"{self.store}: batch queues take no spaces in the path of a log; choose a store without")

    def prepare(self) -> None:
        """Create the folders."""
        # Only for the owner: private keys are written here.
        self.logs.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)

    def read(self, name: str) -> dict[str, Any]:
        """Read a document that `write` wrote; empty if there is none."""
        try:
            document = json.loads((self.root / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return document if isinstance(document, dict) else {}

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Replace a document atomically: a reader gets the old one or the new one."""
        with atomic_path(self.root / f"{name}.json") as aside:
            aside.write_text(json.dumps(document, indent=1), encoding="utf-8")

    def last_error(self) -> str:
        """Return the last error in the newest log that has one, as `file:line: text`; empty if there is none."""
        return self._error_in(self.logs.glob("*"))

    def job_log(self, job: str) -> str:
        """Return the last error in the logs of a job, else the path of its newest log; empty if there is none."""
        # The number must not be part of a longer one.
        logs = [log for log in self.logs.glob(f"*{job}*") if re.search(rf"(?<!\d){job}(?!\d)", log.name)]
        newest = max(logs, key=_modified, default=None)
        return self._error_in(logs) or (f"log {newest}" if newest else "")

    def _error_in(self, logs: Iterable[Path]) -> str:
        for log in sorted(logs, key=_modified, reverse=True):
            error = last_error(_tail(log))
            if error is not None:
                return f"{log}:{error[0]}: {error[1]}"
        return ""


def last_error(text: str) -> tuple[int, str] | None:
    """Return the number and text of the last line that looks like an error.

    >>> last_error("study: 5 cells\\nslurmstepd: error: *** JOB 3 CANCELLED DUE TO TIME LIMIT ***\\n")
    (2, 'slurmstepd: error: *** JOB 3 CANCELLED DUE TO TIME LIMIT ***')
    >>> last_error("slurmstepd: error: *** JOB 3 ON rig1 CANCELLED AT 2026-11-24T21:58:10 ***")
    """
    for number, line in reversed(list(enumerate(text.splitlines(), start=1))):
        if _ERROR.search(line) and not _NOISE.search(line):
            return number, line.strip()[:300]
    return None


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _tail(path: Path) -> str:
    """Return the end of a file; lines that are left out become empty, so that line numbers are correct."""
    try:
        with path.open("rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - _TAIL)
            skipped = sum(
                chunk.count(b"\n") for chunk in iter(lambda: file.read(min(1 << 20, start - file.tell())), b"")
            )
            return "\n" * skipped + file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
