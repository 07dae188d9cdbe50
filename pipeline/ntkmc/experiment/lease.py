"""One writer a store: an advisory file lock that the operating system releases when its holder dies."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from pathlib import Path
from typing import IO

from ntkmc.errors import StoreError


class Lease:
    """The right to write to a store, held from `__enter__` to `__exit__`.

    `flock` is released by the kernel even after SIGKILL, so that a lease can never outlive its holder on one host.
    """

    def __init__(self, store: Path) -> None:
        self._path = store / ".lease"
        self._file: IO[str] | None = None

    def __enter__(self) -> Lease:
        file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            file.seek(0)
            holder = file.read().strip() or "another process"
            file.close()
            raise StoreError(f"{self._path.parent}: another run is writing to this store ({holder})") from error
        file.truncate(0)
        file.write(json.dumps({"pid": os.getpid(), "host": platform.node()}))
        file.flush()
        self._file = file
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
