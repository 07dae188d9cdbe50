"""The folder beside a store where its jobs keep what is not a result: ids, logs, the script, certificates.

It stands beside the store, `<store>.jobs/`, because the one place that all nodes surely share is where the store is.
For a store at a URL it is in the folder that one works from.
The store alone says what is done: all of this may be deleted when no job is left.
"""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ntkmc.errors import InputError
from ntkmc.experiment.store import Location

_ERROR = re.compile(
    r"^ntkmc: |^cell .* failed|error: |^\w*(Error|Exception)\b|^Killed|CANCELLED|oom-kill|TERM_\w+|"
    r"walltime .* exceeded",
    re.IGNORECASE,
)
# Of Dask, when its processes leave one another; of SLURM, when a driver that is done ends its workers.
_NOISE = re.compile(r"CommClosed|TCPListener|ConnectionPool|CANCELLED AT \S+ \*\*\*$")
_TAIL = 200_000  # bytes of a log that are looked through


class Workspace:
    """Files of the jobs of one store.

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
        """Of the store's jobs: letters, digits and `-_.`, a letter first, as all queues allow.

        >>> Workspace(Path("my run.zarr")).job_name
        'ntkmc-my-run'
        """
        return f"ntkmc-{re.sub(r'[^A-Za-z0-9_.-]', '-', Path(self.store.name).stem)}"

    def check(self) -> None:
        """Refuse a place that a batch script's header cannot name (`InputError`)."""
        if re.search(r"\s", str(self.root)):
            raise InputError(f"{self.store}: batch queues take no spaces in the path of a log; choose a store without")

    def prepare(self) -> None:
        """Make the folders; private keys live here, and are nobody else's to read."""
        self.logs.mkdir(parents=True, exist_ok=True)
        self.root.chmod(0o700)

    def read(self, name: str) -> dict[str, Any]:
        """A document that `write` left; empty if there is none."""
        try:
            found = json.loads((self.root / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, name: str, document: dict[str, Any]) -> None:
        """Replace a document: a reader sees the old one or the new one."""
        target = self.root / f"{name}.json"
        aside = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
        try:
            aside.write_text(json.dumps(document, indent=1), encoding="utf-8")
            aside.replace(target)
        finally:
            aside.unlink(missing_ok=True)

    def last_error(self) -> str:
        """The last line in the newest logs that looks like an error, as `file:line: text`; empty if there is none."""
        return self._error_in(self.logs.glob("*"))

    def told_of(self, job: str) -> str:
        """The last error in a job's logs, with its place; or where they are; empty if there are none."""
        found = [log for log in self.logs.glob(f"*{job}*") if re.search(rf"(?<!\d){job}(?!\d)", log.name)]
        newest = max(found, key=_modified, default=None)
        return self._error_in(found) or (f"log {newest}" if newest else "")

    def _error_in(self, logs: Iterable[Path]) -> str:
        for log in sorted(logs, key=_modified, reverse=True):
            found = last_error(_tail(log))
            if found is not None:
                return f"{log}:{found[0]}: {found[1]}"
        return ""


def last_error(text: str) -> tuple[int, str] | None:
    """Number and text of the last line that looks like an error.

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
    """The end of a file, with as many empty lines before it as lines were left out, so that line numbers are right."""
    try:
        with path.open("rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - _TAIL)
            before = sum(
                chunk.count(b"\n") for chunk in iter(lambda: file.read(min(1 << 20, start - file.tell())), b"")
            )
            return "\n" * before + file.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
