"""Lease of a store, which limits it to one writer: a file lock and a heartbeat.

On one host `flock` is sufficient: the kernel releases it when its holder dies for any reason. Across hosts, and on
object stores, a dead process cannot be detected directly. There the holder increments a counter every few seconds,
and a lease whose counter has not changed for `PATIENCE` seconds may be taken over. A holder that was only suspended
detects this before its next write (`confirm`) and stops. If it detects it too late, it still writes no wrong values:
equal addresses of trials give equal bits, so at worst a block is computed twice.

Clocks of hosts differ and are not compared: a new process only observes whether the counter changes.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

from ntkmc.errors import StoreError
from ntkmc.experiment.store.location import LEASE, Location

BEAT: Final = 5.0
"""Seconds between heartbeats."""

PATIENCE: Final = 30.0
"""Seconds without a heartbeat after which a holder on another host counts as dead.

Six heartbeats: longer than the observed stalls of file systems and pauses of the interpreter.
"""

_RECORD: Final = 512  # bytes; a fixed size, so that one write replaces all of it


class Lease:
    """The right to write to a store, held from `__enter__` to `__exit__`.

    Parameters
    ----------
    store : str, Path or Location
        A store; on a file system, its folder must exist.
    say : callable, optional
        Called with a message if the heartbeat of another holder has to be observed.

    Attributes
    ----------
    remove : bool
        Set it while the lease is held to delete the lease file on release, as for a compacted store.
    """

    def __init__(
        self,
        store: str | Path | Location,
        say: Callable[[str], None] = lambda text: None,
        *,
        beat: float = BEAT,
        patience: float = PATIENCE,
    ) -> None:
        self._location = Location.of(store)
        self._say = say
        self._beat = beat
        self._patience = patience
        self._me = {"id": uuid.uuid4().hex, "host": platform.node(), "pid": os.getpid(), "kernel": _kernel()}
        self.remove = False
        self._count = 0
        self._file: IO[bytes] | None = None
        self._locked = False
        self._writing = threading.Lock()
        self._over = threading.Event()
        self._pulse: threading.Thread | None = None

    def __enter__(self) -> Lease:
        try:
            if not self._location.remote:
                self._lock()
            before = self._read()
            # The lock alone proves nothing about a holder on another host, where the file may lie as well.
            if before is not None and not self._surely_dead(before):
                self._watch(before)
            self._write()
            if self._location.remote:
                self._settle()
        except OSError as error:
            self._close()
            raise StoreError(f"{self._location}: cannot be written ({error.strerror or error})") from error
        except BaseException:
            self._close()
            raise
        self._pulse = threading.Thread(target=self._live, name="ntkmc-lease", daemon=True)
        self._pulse.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        if self._pulse is not None:
            self._pulse.join()
        with suppress(Exception):  # store deleted or disk full: the next holder waits for `PATIENCE`
            if self._mine():
                self._put({})
                if self.remove and not self._location.remote:
                    (self._location.path / LEASE).unlink()  # while it is locked: see `_lock`
        self._close()

    def confirm(self) -> None:
        """Raise `StoreError` if another process took the lease over; to be called before every write."""
        with self._writing:
            if not self._mine():
                raise StoreError(
                    f"{self._location}: another run took this store over while this one was stalled "
                    f"({_named(self._read() or {})}); what is finished is kept, and it goes on there"
                )
        with suppress(OSError):  # a full disk raises where the results are written
            self._write()

    def _lock(self) -> None:
        while not self._locked:
            # Not opened for appending: there Linux ignores the position of a write.
            self._file = os.fdopen(os.open(self._location.path / LEASE, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno not in (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP):
                    raise self._refusal(self._read() or {}) from error
                return  # a file system without locks: the heartbeat decides
            # A holder may have removed the file between the two lines above: then another one is locked now.
            with suppress(FileNotFoundError):
                self._locked = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._location.path / LEASE))
            if not self._locked:
                self._file.close()

    def _surely_dead(self, before: dict[str, Any]) -> bool:
        """Return whether the previous holder is dead: on the same kernel it would still hold the lock."""
        return self._locked and before.get("kernel") == self._me["kernel"]

    def _watch(self, before: dict[str, Any]) -> None:
        """Wait for `patience` seconds; raise `StoreError` as soon as the holder's heartbeat changes."""
        self._say(f"{self._location}: {_named(before)} may still be writing; watching it for {self._patience:g} s")
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            time.sleep(min(self._beat, max(0.0, deadline - time.monotonic())))
            now = self._read()
            if now is None:
                return
            if now != before:
                raise self._refusal(now)

    def _settle(self) -> None:
        """Resolve simultaneous acquisition on an object store: the last writer holds the lease."""
        time.sleep(min(2.0, self._beat))
        if not self._mine():
            raise self._refusal(self._read() or {})

    def _live(self) -> None:
        while not self._over.wait(self._beat):
            with suppress(Exception):  # the next heartbeat may succeed; if none does, `confirm` raises in the driver
                if self._mine():
                    self._write()

    def _mine(self) -> bool:
        return (self._read() or {}).get("id") == self._me["id"]

    def _write(self) -> None:
        with self._writing:
            self._count += 1
            self._put(self._me | {"beat": self._count})

    def _put(self, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode().ljust(_RECORD)
        if self._file is not None:
            # Written in place: a rename would replace the file that carries the lock.
            os.pwrite(self._file.fileno(), content, 0)
            os.fsync(self._file.fileno())
        else:
            self._location.blobs().put(LEASE, content)

    def _read(self) -> dict[str, Any] | None:
        """Return the record of the holder; None if there is no holder."""
        try:
            # Open the file for every read: otherwise a network file system may not see writes of other hosts.
            return json.loads(self._location.blobs().get(LEASE)) or None
        except (FileNotFoundError, ValueError):  # ValueError: empty, or of another version
            return None

    def _refusal(self, holder: dict[str, Any]) -> StoreError:
        return StoreError(f"{self._location}: another run is writing to this store ({_named(holder)})")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _named(holder: dict[str, Any]) -> str:
    if "pid" not in holder:
        return "another process"
    return f"process {holder['pid']} on {holder.get('host', 'another host')}"


def _kernel() -> str:
    """Return an identifier of the running kernel; containers of one host share the kernel and its locks."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return platform.node()
