"""One writer a store: a lock that the operating system releases, and a sign of life for everybody else.

On one host `flock` decides alone: the kernel releases it when its holder dies, by whatever cause. Across hosts, and on
object stores, nobody can see that a process is dead; there the holder shows a sign of life every few seconds, and a
lease whose sign has not moved for `PATIENCE` may be taken over. A holder that was merely asleep finds that out before
its next write (`confirm`) and stops. Should even that come too late, nothing wrong is written: equal addresses give
equal bits, and at worst a block is computed again.

Clocks of hosts differ, so none is compared: a newcomer watches whether the sign moves.
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
"""Seconds between signs of life."""

PATIENCE: Final = 30.0
"""Seconds without one after which a holder on another host counts as dead: six beats, and more than a stalled file
system or a long pause of the interpreter was seen to take."""

_RECORD: Final = 512  # bytes; a fixed size, so that one write replaces all of it


class Lease:
    """The right to write to a store, held from `__enter__` to `__exit__`.

    Parameters
    ----------
    store : str, Path or Location
        A store; on a file system, its folder must exist.
    say : callable, optional
        Is told, in a sentence, if somebody else's silence has to be waited for.

    Attributes
    ----------
    remove : bool
        Set while it is held: its file goes with it, for a store that is put away.
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
        with suppress(Exception):  # it may be gone, or the disk full; then a successor waits once, that is all
            if self._mine():
                self._put({})
                if self.remove and not self._location.remote:
                    (self._location.path / LEASE).unlink()  # while it is locked: see `_lock`
        self._close()

    def confirm(self) -> None:
        """Call before writing. `StoreError` if somebody else took over while this process was stalled."""
        with self._writing:
            if not self._mine():
                raise StoreError(
                    f"{self._location}: another run took this store over while this one was stalled "
                    f"({_named(self._read() or {})}); what is finished is kept, and it goes on there"
                )
        with suppress(OSError):  # a full disk says so where the results are written
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
                return  # a file system without locks: the sign of life decides
            # A holder may have removed the file between the two lines above: then another one is locked now.
            with suppress(FileNotFoundError):
                self._locked = os.path.samestat(os.fstat(self._file.fileno()), os.stat(self._location.path / LEASE))
            if not self._locked:
                self._file.close()

    def _surely_dead(self, before: dict[str, Any]) -> bool:
        """A holder on this very kernel would still have the lock."""
        return self._locked and before.get("kernel") == self._me["kernel"]

    def _watch(self, before: dict[str, Any]) -> None:
        """Wait until the holder has been silent for long enough; refuse as soon as it is not."""
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
        """Of several that take an object store's lease at once the last one to write has it."""
        time.sleep(min(2.0, self._beat))
        if not self._mine():
            raise self._refusal(self._read() or {})

    def _live(self) -> None:
        while not self._over.wait(self._beat):
            with suppress(Exception):  # the next one may succeed; `confirm` tells the driver if none does
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
            os.pwrite(self._file.fileno(), content, 0)
            os.fsync(self._file.fileno())
        else:
            self._location.blobs().put(LEASE, content)

    def _read(self) -> dict[str, Any] | None:
        """What stands there; None if nobody holds it."""
        try:
            # Opened anew each time: only then does a network file system ask for what another host wrote.
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
    """What tells one running kernel from all others; containers of one host share it, and its locks."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return platform.node()
