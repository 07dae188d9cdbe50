"""The explorer in a browser: what one reads there is what `ntkmc show` prints."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browsing import Process, Watched
from ntkmc.experiment.store.layout import create
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.study.loading import parse_study

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def explorer(finished: Path, ntkmc: Callable[..., Process]) -> str:
    process = ntkmc("dashboard", finished, "--port", 0, "--no-browser")
    return process.wait_for(r"at (http://\S+/explorer)")[1]


def shown(store: Path, *arguments: str) -> list[dict[str, Any]]:
    """`ntkmc show`, as data."""
    command = [sys.executable, "-m", "ntkmc", "show", str(store), *arguments, "--format", "json"]
    found: list[dict[str, Any]] = json.loads(
        subprocess.run(command, capture_output=True, text=True, check=True).stdout
    )
    return found


def ready(visit: Callable[..., Watched], url: str, **size: int) -> Watched:
    """Opened as soon as the server answers."""
    for _ in range(60):
        try:
            seen = visit(url, **size)
            break
        except Exception:
            continue
    seen.page.get_by_text("certified eigenvalues").wait_for()
    seen.page.wait_for_timeout(1500)
    return seen


PLACE = "distribution=gaussian&d=8&n=12&depth=3"
SELECTION = "distribution=gaussian,d=8,n=12,depth=3"


def probability(page: Any) -> str:
    return str(page.locator("p.big b").inner_text())


def test_threshold(explorer: str, finished: Path, visit: Callable[..., Watched]) -> None:
    """A link selects; the slider moves; at a threshold of the study the numbers are those of `show`."""
    seen = ready(visit, f"{explorer}?{PLACE}&lambda_0=0.27", width=1400)
    page = seen.page
    between = probability(page)
    seen.shoot("explorer-curve")
    field = page.locator("input.bk-input[type=text]").first
    for row in shown(finished, SELECTION):
        field.fill(str(row["lambda_0"]))
        field.press("Enter")
        page.get_by_text(re.compile(rf"≥ {row['lambda_0']:g}\b")).first.wait_for()
        assert probability(page) == f"{row['probability']:.4f}"
        assert page.get_by_text(f"{row['lower']:.4f} … {row['upper']:.4f}").count() == 1
        page.wait_for_function(f"location.search.includes('lambda_0={row['lambda_0']:g}&')")
    values = [float(row["probability"]) for row in shown(finished, SELECTION)]
    assert min(values) < float(between) < max(values)
    handle = page.locator(".noUi-handle").first
    handle.focus()
    before = probability(page)
    for _ in range(12):
        handle.press("ArrowLeft")
    # The server answers one press after the other, slowly on a busy machine: wait until nothing changes any more.
    state, previous = (page.url, probability(page)), None
    while state != previous:
        page.wait_for_timeout(2000)
        state, previous = (page.url, probability(page)), state
    assert float(probability(page)) >= float(before)
    link = page.url
    assert seen.wrong == []
    other = ready(visit, link, width=1400)
    assert probability(other.page) == probability(page)


def test_dot_is_dragged(explorer: str, visit: Callable[..., Watched]) -> None:
    """The black dot on the axis follows the mouse, and P with it."""
    seen = ready(visit, f"{explorer}?{PLACE}&lambda_0=0.3", width=1400)
    page, before = seen.page, probability(seen.page)
    place = page.evaluate(
        """() => {
            const views = Bokeh.index.roots ?? Object.values(Bokeh.index)
            const all = []
            const walk = view => { all.push(view); for (const child of view.child_views ?? []) walk(child) }
            for (const view of views) walk(view)
            const plot = all.find(view => view.model.type == "Figure" && view.el.getBoundingClientRect().width > 0)
            const box = plot.canvas_view.el.getBoundingClientRect()
            const x = plot.frame.x_scale, y = plot.frame.y_scale
            return [0.3, 0.6].map(value => [box.x + x.compute(value), box.y + y.compute(0.0)])
        }"""
    )
    page.mouse.move(*place[0])
    page.mouse.down()
    page.mouse.move(*place[1], steps=12)
    page.mouse.up()
    page.wait_for_timeout(1500)
    assert float(probability(page)) < float(before)
    assert 0.55 < float(re.search(r"lambda_0=([\d.]+)", page.url)[1]) < 0.65  # type: ignore[index]


def test_surface_and_scaling(explorer: str, visit: Callable[..., Watched]) -> None:
    for tab, name in ((1, "surface"), (2, "scaling")):
        seen = ready(visit, f"{explorer}?{PLACE}&lambda_0=0.3&tab={tab}", width=1400)
        seen.shoot(f"explorer-{name}")
        assert seen.wrong == []
    image = seen.page.locator("img[alt]").first
    assert image.evaluate("image => image.naturalWidth") > 100
    assert seen.page.get_by_text("exponent in n").count() == 1


def test_claim_down_to_the_trial(explorer: str, finished: Path, visit: Callable[..., Watched]) -> None:
    """The evidence of a violated form: its numbers are `show`'s, and its command computes the trial again."""
    seen = ready(visit, f"{explorer}?{PLACE}&tab=3&claim=printed/det-depth-monotone", width=1400)
    page = seen.page
    page.get_by_text("the first beyond the bound").wait_for()
    seen.shoot("explorer-claim")
    (command,) = [text for text in page.locator("pre").all_inner_texts() if text.startswith("ntkmc trial")]
    done = subprocess.run(f"{sys.executable} -m {command}", shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "bit for bit" in done.stdout
    rows = shown(finished, "--claims", "claim=printed/det-depth-monotone")
    violations = [row for row in rows if row["verdict"] == "violated"]
    assert f"{violations[0]['violations']:,}" in page.locator("dd").all_inner_texts()
    address = page.get_by_text("spawn_key").inner_text()
    assert address.startswith("seed 2025")
    assert seen.wrong == []
    # A row of the table of claims opens it.
    page.locator(".tabulator-row", has_text="det-tail-gershgorin-deep").first.click()
    page.get_by_role("heading", name="det-tail-gershgorin-deep").wait_for()
    page.wait_for_function("location.search.includes('claim=det-tail-gershgorin-deep')")


def test_downloads(explorer: str, finished: Path, visit: Callable[..., Watched]) -> None:
    seen = ready(visit, f"{explorer}?{PLACE}&lambda_0=0.3", width=1400)
    with seen.page.expect_download() as waiting:
        seen.page.get_by_text("Numbers (CSV)").click()
    rows = list(csv.DictReader(io.StringIO(Path(waiting.value.path()).read_text())))
    expected = shown(finished, SELECTION)
    assert len(rows) == len(expected)
    for row, other in zip(rows, expected, strict=True):
        for name in ("lambda_0", "probability", "lower", "upper"):
            assert float(row[name]) == pytest.approx(other[name], rel=1e-9)
    with seen.page.expect_download() as waiting:
        seen.page.get_by_text("Figure (SVG)").click()
    assert "<svg" in Path(waiting.value.path()).read_text()


def test_a_store_on_s3(
    bucket: str, finished: Path, ntkmc: Callable[..., Process], visit: Callable[..., Watched]
) -> None:
    """The same page from an object store, without a copy of it."""
    fsspec = pytest.importorskip("fsspec")
    url = f"{bucket}/first-light.zarr"
    fsspec.filesystem("s3").put(str(finished), url, recursive=True)
    served = ntkmc("dashboard", url, "--port", 0, "--no-browser").wait_for(r"at (http://\S+/explorer)")[1]
    (row, *_) = shown(finished, SELECTION)
    seen = ready(visit, f"{served}?{PLACE}&lambda_0={row['lambda_0']}", width=1400)
    assert seen.page.get_by_text(url).count() >= 1
    assert probability(seen.page) == f"{row['probability']:.4f}"
    assert seen.wrong == []


def test_empty_store(tmp_path: Path, ntkmc: Callable[..., Process], visit: Callable[..., Watched]) -> None:
    """Nothing run yet: every tab says what to do. Then a run begins, and the page follows it."""
    study = parse_study({
        "name": "tiny", "seed": 1, "kernel": "ntk", "trials": 60, "event": {"lambda-0": [0.2], "delta": 0.1},
        "grid": {"distribution": ["gaussian"], "d": [5], "n": [4, 6], "depth": [2, 3]},
    }, trusted=True)  # fmt: skip
    create(Location.of(tmp_path / "tiny.zarr"), study)
    url = ntkmc("dashboard", tmp_path / "tiny.zarr", "--port", 0, "--no-browser").wait_for(
        r"at (http://\S+/explorer)"
    )[1]
    for tab, said in enumerate(
        ("No estimate here yet", "Nothing is estimated", "Nothing is estimated", "Nothing is estimated")
    ):
        seen = ready(visit, f"{url}?tab={tab}")
        assert seen.page.get_by_text(said).first.is_visible()
        seen.shoot(f"explorer-empty-{tab}")
        assert seen.wrong == []
    seen = ready(visit, url)
    import yaml

    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(study.document()))
    assert ntkmc("run", tmp_path / "tiny.yaml", "--store", tmp_path / "tiny.zarr").running.wait(120) == 0
    seen.page.locator("p.big b").wait_for()
