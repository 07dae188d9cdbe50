"""A browser, the first-light study run under its eyes, and folders for what it saw."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
SEEN = Path(os.environ.get("NTKMC_SCREENSHOTS", ROOT / "data" / "results" / "screenshots"))
TOOLS = Path(os.environ.get("NTKMC_BROWSER_TOOLS", ROOT / ".venv" / "browser-tools" / "node_modules"))
PATIENCE = 60_000  # milliseconds: a hang guard


def chromium() -> str | None:
    """Debian's browser, or whatever CHROMIUM names."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)


@dataclass
class Watched:
    """A page with everything that went wrong on it."""

    page: Any
    wrong: list[str] = field(default_factory=list)

    def shoot(self, name: str) -> None:
        """Keep a picture."""
        SEEN.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SEEN / f"{name}.png", full_page=True)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    found = chromium()
    if found is None:
        pytest.skip("there is no chromium here: apt-get install chromium, or set CHROMIUM to its path")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make setup")
    with playwright.sync_playwright() as driver:
        # Containers run tests as root, where the sandbox does not start.
        launched = driver.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Watched]]:
    """`visit(url, width, height)`: opens a page and takes note of its errors."""
    opened = []

    def open_page(url: str, width: int = 1280, height: int = 900, *, offline: bool = False) -> Watched:
        context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        context.set_offline(offline)
        opened.append(context)
        watched = Watched(context.new_page())
        watched.page.set_default_timeout(PATIENCE)
        watched.page.on("console", lambda told: watched.wrong.append(told.text) if told.type == "error" else None)
        watched.page.on("pageerror", lambda error: watched.wrong.append(str(error)))
        watched.page.on("request", lambda request: _note_foreign(watched, request.url))
        watched.page.goto(url, wait_until="domcontentloaded")
        return watched

    yield open_page
    for context in opened:
        context.close()


def _note_foreign(watched: Watched, url: str) -> None:
    if not re.match(r"(https?|wss?)://(127\.0\.0\.1|localhost)[:/]|data:|blob:|file:", url):
        watched.wrong.append(f"asks the network for {url}")


@dataclass
class Process:
    """A command of ntkmc's that goes on, with what it has said."""

    running: subprocess.Popen[str]
    log: Path

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first thing it says that matches."""
        until = time.monotonic() + PATIENCE / 1000
        while time.monotonic() < until:
            if found := re.search(pattern, self.log.read_text()):
                return found
            if self.running.poll() is not None:
                break
            time.sleep(0.1)
        raise AssertionError(f"{pattern} was not said:\n{self.log.read_text()}")


@pytest.fixture(scope="session")
def ntkmc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Process]]:
    started: list[Process] = []

    def start(*arguments: object) -> Process:
        log = tmp_path_factory.mktemp("log") / "log"
        with log.open("w") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", "ntkmc", *map(str, arguments)], stdout=file, stderr=file, text=True, cwd=ROOT
            )
        started.append(Process(process, log))
        return started[-1]

    yield start
    for each in started:
        each.running.terminate()
        each.running.wait()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory, ntkmc: Callable[..., Process]) -> Path:
    """The store of the first-light study."""
    path = tmp_path_factory.mktemp("stores") / "first-light.zarr"
    process = ntkmc("run", "data/studies/first-light.yaml", "--store", path)
    assert process.running.wait(600) == 0
    return path


@contextmanager
def tunnel(port: int) -> Iterator[int]:
    """Another port of this machine that leads to this one, byte for byte, as `ssh -L` makes it."""

    def carry(source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(2**16):
                target.sendall(data)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def accept(listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                here, _ = listener.accept()
                there = socket.create_connection(("127.0.0.1", port))
                for ends in ((here, there), (there, here)):
                    threading.Thread(target=carry, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
