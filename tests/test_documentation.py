"""What the documentation says is true today: its code runs, its commands work, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from calling import called

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path for path in ROOT.rglob("*.md") if not set(path.relative_to(ROOT).parts) & {".venv", ".git"})


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def execute(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_readme_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Its study, its commands in their order, and its Python, in one folder as a reader would.

    What starts nothing of its own is called in this process: an interpreter for each takes two seconds.
    """
    import numpy as np

    readme = ROOT / "README.md"
    np.save(tmp_path / "X.npy", np.random.default_rng(0).standard_normal((20, 5)))
    np.save(tmp_path / "y.npy", np.ones(20))
    monkeypatch.chdir(tmp_path)
    (study,) = blocks(readme, "yaml")
    (tmp_path / "heavy-tails.yaml").write_text(study)
    for block in blocks(readme, "python"):
        if named := re.match(r"# (\w+\.py)\n", block):  # a file that the text speaks of
            (tmp_path / named[1]).write_text(block)
    commands = [
        line[2:] for block in blocks(readme, "console") for line in block.splitlines() if line.startswith("$ ntkmc")
    ]
    verbs = {"lambda-min", "plan", "run", "show", "trial", "verify", "merge", "compact", "claims", "distributions"}
    verbs |= {"submit", "status", "report", "dashboard"}
    assert {shlex.split(line)[1] for line in commands} == verbs
    for line in commands:
        words = shlex.split(line, comments=True)
        if words[1] == "dashboard":
            continue  # it serves until interrupted: tests/browser has it
        if words[1] in ("run", "submit") or "--profile" in words:
            done = execute(tmp_path, sys.executable, "-m", *words)
            code, out, err = done.returncode, done.stdout, done.stderr
        else:
            code = called(monkeypatch, *words[1:])
            out, err = capfd.readouterr()
        assert code == 0, (line, err)
        assert out or words[1] == "report"
    for number, block in enumerate(blocks(readme, "python")):
        (tmp_path / f"block{number}.py").write_text(block)
        done = execute(tmp_path, sys.executable, "-W", "error::FutureWarning", f"block{number}.py")
        assert done.returncode == 0, (block, done.stderr)
    assert (tmp_path / "ht.png").exists()


def test_contributing_example() -> None:
    """The worked example of a claim holds where it should, and is not registered by being read."""
    import numpy as np

    from ntkmc.theory.cell import CellContext

    (block,) = blocks(ROOT / "CONTRIBUTING.md", "python")
    scope: dict[str, object] = {}
    exec(block, scope)
    example = scope["example"]
    context = CellContext("ntk", 3, 4, 5, unit_rows=False)
    bound = example.evaluate(context, {"norm_max": np.array([2.0])}, {})  # type: ignore[attr-defined]
    assert bound.lower[0] <= 12.0 <= bound.upper[0]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), target


def test_makefile_targets_are_documented() -> None:
    done = execute(ROOT, "make", "--no-print-directory", "help")
    assert done.returncode == 0
    for target in ("demo", "test", "bench", "setup"):
        assert re.search(rf"^  make {target} ", done.stdout, flags=re.M)
