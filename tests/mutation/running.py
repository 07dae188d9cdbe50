"""Tests of mutants, in processes and copies of their own, with machine code that cannot go stale."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mutation.operators import Mutant

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("pipeline", "tests", "data", "cluster", "dashboards")

FAST = "not long and not slow and not slurm and not browser"

TESTED_BY = ("tests/theory", "tests/linalg", "tests/statistics", "tests/experiment", "pipeline/ntkmc")
"""Tests that may be chosen. Those of the layers above see many errors too, but take longer and say less about them."""

FIRST = 12
"""Tests that are tried first, in a process of their own: most mutants die here, and few test files are imported."""

BUDGET = 60.0
"""Seconds of processor time that the chosen tests of a mutant may take, by the run without mutants."""

_MACHINE_CODE = '''

def _of_mutants() -> None:
    """Keep machine code in a folder that the mutation run chooses; it deletes there what a mutant changes."""
    import numba.core.caching as caching

    def subfolder(cls: Any, file: str) -> str:
        return "_".join(Path(file).parent.parts[-2:])

    caching._CacheLocator.get_suitable_cache_subpath = classmethod(subfolder)
    caching._SourceFileBackedLocatorMixin.get_source_stamp = lambda self: "kept by the mutation run"


_of_mutants()
_folder = os.environ["MUTATION_CACHE"]
'''
"""Appended to `compiled.py` of a copy. By itself the package compiles everything again when any compiled file changes,
which is safe and takes minutes."""


@dataclass(frozen=True)
class Result:
    """Fate of a mutant.

    Attributes
    ----------
    status : str
        `killed`, `survived`, `timeout` (killed too), or `untested`: no fast test executes its line.
    tests : int
        Tests that were chosen.
    killer : str
        First test that failed.
    seconds : float
    """

    status: str
    tests: int
    killer: str
    seconds: float

    @property
    def alive(self) -> bool:
        return self.status in ("survived", "untested")


class Copy:
    """A copy of the project, in which one mutant at a time is tested."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder, self.cache = folder, cache
        kept_out = shutil.ignore_patterns("__pycache__", "results", "node_modules", ".*")
        for name in COPIED:
            shutil.copytree(ROOT / name, folder / name, ignore=kept_out)
        for path in ROOT.iterdir():
            if path.is_file() and not path.name.startswith("."):
                shutil.copy2(path, folder)
        compiled = folder / "pipeline" / "ntkmc" / "compiled.py"
        text = compiled.read_text()
        assert text.count("\n_folder: str | None = None\n") == 1, "compiled.py has changed: adapt mutation/running.py"
        compiled.write_text(text + _MACHINE_CODE)
        self._server: subprocess.Popen[str] | None = None

    @property
    def package(self) -> Path:
        return self.folder / "pipeline" / "ntkmc"

    def environment(self, cache: Path) -> dict[str, str]:
        threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        path = os.pathsep.join(str(self.folder / name) for name in ("pipeline", "tests"))
        return os.environ | threads | {"PYTHONPATH": path, "MUTATION_CACHE": str(cache)}

    def test(
        self, mutant: Mutant, tests: Sequence[str], seconds: dict[str, float], stale: list[tuple[str, str]]
    ) -> Result:
        """Return the fate of a mutant."""
        if not tests:
            return Result("untested", 0, "", 0.0)
        started = time.monotonic()
        path = self.package / mutant.file
        original, times = path.read_bytes(), path.stat()
        with tempfile.TemporaryDirectory(prefix="machine-code-") as name:
            cache = _without(self.cache, Path(name), stale) if stale else self.cache
            try:
                path.write_bytes(mutant.applied(original))
                status, killer = "survived", ""
                for chosen in (tests[:FIRST], within_budget(tests[FIRST:], seconds)):
                    if chosen and status == "survived":
                        status, killer = self._run(chosen, 60.0 + 5.0 * sum(map(seconds.__getitem__, chosen)), cache)
            finally:
                path.write_bytes(original)
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
                # Byte code is looked up by the second of writing: a mutant's may pass for the original's.
                for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*.pyc"):
                    compiled.unlink()
        return Result(status, len(tests), killer, round(time.monotonic() - started, 1))

    def _run(self, tests: Sequence[str], limit: float, cache: Path) -> tuple[str, str]:
        chosen, output = self.folder / "chosen.txt", self.folder / "output.txt"
        chosen.write_text("\n".join(tests))
        output.touch()
        # The libraries are loaded before pytest can rewrite their assertions, which is of no concern here.
        options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = self._ask(
            {
                "arguments": [*options, f"@{chosen}"],
                "seconds": limit,
                "output": str(output),
                "environment": {"MUTATION_CACHE": str(cache)},
            }
        )
        text = output.read_text()
        failed = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
        if code is None:
            return "timeout", ""
        return ("survived", "") if code == 0 else ("killed", failed[1] if failed else " ".join(text[-100:].split()))

    def _ask(self, request: dict[str, Any]) -> int | None:
        if self._server is None:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "mutation.server"],
                cwd=self.folder,
                env=self.environment(self.cache),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        print(json.dumps(request), file=self._server.stdin, flush=True)
        code: int | None = json.loads(self._server.stdout.readline())
        return code

    def close(self) -> None:
        """End the process that runs the tests."""
        if self._server is not None:
            assert self._server.stdin is not None
            self._server.stdin.close()
            self._server.wait()


def within_budget(tests: Sequence[str], seconds: dict[str, float]) -> list[str]:
    """Return the first tests, as many as `BUDGET` allows; longer ones give way to shorter ones behind them."""
    chosen, total = [], 0.0
    for test in tests:
        if total + seconds[test] <= BUDGET:
            total += seconds[test]
            chosen.append(test)
    return chosen


def _without(clean: Path, folder: Path, stale: list[tuple[str, str]]) -> Path:
    """Link all machine code into a folder, but that of the stale functions."""
    gone = {(Path(file).parent.name, f"{Path(file).stem}.{function}") for file, function in stale}
    for path in clean.rglob("*.nb[ic]"):
        below = path.relative_to(clean)
        if not any(below.parts[0].endswith(part) and path.name.startswith(f"{name}-") for part, name in gone):
            (folder / below.parent).mkdir(parents=True, exist_ok=True)
            os.link(path, folder / below)
    return folder
