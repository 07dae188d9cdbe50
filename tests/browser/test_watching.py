"""The Study page in a browser, while a run goes on."""

from __future__ import annotations

import json
import re
import signal
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browsing import PATIENCE, Process, Watched, tunnel

pytestmark = pytest.mark.browser


def wait_until(page: Any, condition: Callable[[], bool]) -> None:
    """Let a page go on until a condition holds: seconds on an idle machine, minutes on a busy one."""
    until = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < until
        page.wait_for_timeout(100)


def test_numbers_move(tmp_path: Path, ntkmc: Callable[..., Process], visit: Callable[..., Watched]) -> None:
    """The page fills during a run, also behind a tunnel with another port; a second driver continues from there."""
    store = tmp_path / "first-light.zarr"
    process = ntkmc("run", "data/studies/first-light.yaml", "--store", store)
    url = process.wait_for(r"watch it at (http://\S+/study)")[1]
    seen = visit(url)
    page = seen.page
    tile = page.locator(".tiles div", has_text="trials").first.locator("b")

    def trials() -> int:
        return int(tile.inner_text().partition("/")[0].replace(",", ""))

    page.wait_for_function("document.body.innerText.length > 0")
    tile.wait_for()
    before = trials()
    seen.shoot("study-begins")
    wait_until(page, lambda: trials() > max(before, 5000))
    page.get_by_text("Verdicts so far").wait_for()
    page.wait_for_timeout(700)
    seen.shoot("study-goes-on")
    with tunnel(int(url.split(":")[2].partition("/")[0])) as port:
        far = visit(f"http://127.0.0.1:{port}/study")
        numbers = far.page.locator(".tiles div", has_text="trials").first.locator("b")
        numbers.wait_for()
        first = numbers.inner_text()
        wait_until(far.page, lambda: numbers.inner_text() != first)
        assert far.wrong == []
    shown = json.load(urllib.request.urlopen(url + ".json"))
    assert shown["condition"] == "running"
    assert shown["trials_done"] >= before
    process.running.send_signal(signal.SIGINT)
    assert process.running.wait(60) == 130
    assert not [wrong for wrong in seen.wrong if not re.search("WebSocket|websocket|ERR_CONNECTION", wrong)], (
        seen.wrong
    )

    again = ntkmc("run", "data/studies/first-light.yaml", "--store", store)
    url = again.wait_for(r"watch it at (http://\S+/study)")[1]
    resumed = visit(url, 390, 844)
    tile = resumed.page.locator(".tiles div", has_text="trials").first.locator("b")
    tile.wait_for()
    page = resumed.page
    assert trials() >= shown["trials_done"] * 0.5  # what was in the store when it was stopped
    resumed.page.wait_for_timeout(1500)
    resumed.shoot("study-resumed-phone")
    assert again.running.wait(300) == 0
