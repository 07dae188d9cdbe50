"""The report in a browser without a network: valid, accessible, whole on a phone and on paper."""

from __future__ import annotations

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from browsing import SEEN, TOOLS, Watched

pytestmark = pytest.mark.browser

_CONTRAST = """() => {
    const light = c => { c /= 255; return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4 }
    const luminance = rgb => 0.2126 * light(rgb[0]) + 0.7152 * light(rgb[1]) + 0.0722 * light(rgb[2])
    const parse = text => text.match(/[\\d.]+/g).map(Number)
    const behind = node => {
        for (let at = node; at; at = at.parentElement) {
            const found = parse(getComputedStyle(at).backgroundColor)
            if (found.length < 4 || found[3] > 0) return found
        }
        return [255, 255, 255]
    }
    const bad = []
    for (const node of document.querySelectorAll("body *")) {
        const own = [...node.childNodes].some(child => child.nodeType == 3 && child.textContent.trim())
        if (!own || !node.getClientRects().length) continue
        const pair = [luminance(parse(getComputedStyle(node).color)), luminance(behind(node))].sort((a, b) => b - a)
        const ratio = (pair[0] + 0.05) / (pair[1] + 0.05)
        if (ratio < 4.5) bad.push(`${ratio.toFixed(2)}: ${node.outerHTML.slice(0, 100)}`)
    }
    return bad
}"""


@pytest.fixture(scope="module")
def report(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    command = [sys.executable, "-m", "ntkmc", "report", str(finished), "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert path.stat().st_size < 3e6
    return path


@pytest.mark.parametrize(("name", "width"), [("wide", 1280), ("phone", 390)])
def test_offline(report: Path, visit: Callable[..., Watched], name: str, width: int) -> None:
    """No request, no error, no sideways scrolling, every figure drawn."""
    seen = visit(report.as_uri(), width, 844, offline=True)
    page = seen.page
    seen.shoot(f"report-{name}")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 100)")
    assert page.locator("figure").count() == 5
    # Nothing lies on anything else, nothing is cut: blocks follow each other, text fits into its block.
    assert page.evaluate("""() => {
        const blocks = [...document.querySelectorAll("main > section > *")].map(node => node.getBoundingClientRect())
        return blocks.every((box, i) => !i || box.top >= blocks[i - 1].bottom - 1)
    }""")
    assert (
        page.evaluate("""() => [...document.querySelectorAll("p, h1, h2, h3, li, figcaption, dd")]
        .filter(node => node.scrollWidth > node.clientWidth + 1).map(node => node.outerHTML.slice(0, 80))""")
        == []
    )
    assert seen.wrong == []


def test_on_paper(report: Path, visit: Callable[..., Watched]) -> None:
    seen = visit(report.as_uri(), 794, 1123, offline=True)
    seen.page.emulate_media(media="print")
    seen.shoot("report-paper")
    assert seen.page.evaluate("document.documentElement.scrollWidth") <= 794
    content = seen.page.pdf(path=SEEN / "report.pdf", format="A4")
    assert 4 < len(re.findall(rb"/Type\s*/Page\b", content)) < 40


def test_accessible(report: Path, visit: Callable[..., Watched]) -> None:
    """Language, title, one h1, headings in order, alternatives, contrast; keys reach all that scrolls."""
    page = visit(report.as_uri(), offline=True).page
    assert page.evaluate("document.documentElement.lang") == "en"
    assert "first-light" in page.title()
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3, h4')].map(node => Number(node.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert page.evaluate("[...document.images].every(image => image.alt.length > 20)")
    assert page.evaluate(_CONTRAST) == []
    stuck = page.evaluate("""() => [...document.querySelectorAll("*")]
        .filter(node => getComputedStyle(node).overflowX == "auto" && node.scrollWidth > node.clientWidth + 1)
        .filter(node => node.tabIndex < 0).map(node => node.outerHTML.slice(0, 80))""")
    assert stuck == []
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") == "A"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_axe(report: Path, visit: Callable[..., Watched]) -> None:
    """The rules of axe-core, all of them."""
    script = TOOLS / "axe-core" / "axe.min.js"
    if not script.exists():
        pytest.skip("axe-core is not here (make test-browser fetches it where there is npm)")
    page = visit(report.as_uri()).page
    page.add_script_tag(path=script)
    violations: list[dict[str, Any]] = page.evaluate("axe.run()")["violations"]
    assert [(each["id"], each["nodes"][0]["html"][:100]) for each in violations] == []


def test_valid(report: Path) -> None:
    """The Nu HTML checker finds neither an error nor a warning."""
    jar = TOOLS / "vnu-jar" / "build" / "dist" / "vnu.jar"
    if not jar.exists() or shutil.which("java") is None:
        pytest.skip("the Nu HTML checker is not here (make test-browser fetches it where there are npm and java)")
    done = subprocess.run(["java", "-jar", str(jar), str(report)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.strip() == ""
