"""Draw mutants, test them, and print those that no test sees."""

from __future__ import annotations

import argparse
import fnmatch
import hashlib
import json
import random
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue

import yaml

from mutation.operators import Mutant, find_mutants, mutated_files
from mutation.running import FAST, ROOT, TESTED_BY, Copy, Result
from mutation.selection import Selection

PACKAGE = ROOT / "pipeline" / "ntkmc"
RESULTS = ROOT / "data" / "results" / "mutants"
EQUIVALENT = Path(__file__).with_name("equivalent.yaml")

ALIVE = 0.1
"""Share of mutants alive from which on the run fails."""


def main() -> int:
    options = _options()
    print(f"seed {options.seed} (again: make mutants MUTANTS='--seed {options.seed}')", flush=True)
    sources = {file: (PACKAGE / file).read_bytes() for file in mutated_files(PACKAGE)}
    population = [
        mutant for file in sources if fnmatch.fnmatch(file, options.files) for mutant in find_mutants(PACKAGE, file)
    ]
    random.Random(options.seed).shuffle(population)
    explained = Explained()
    sample = [mutant for mutant in population if not explained(mutant, sources[mutant.file])][: options.count]
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        results = _tested(sample, Path(folder), options.jobs)
    alive = [mutant for mutant, result in results.items() if result.alive]
    report = [mutant.diff(sources[mutant.file]) for mutant in alive]
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "survivors.diff").write_text("\n\n".join(report) + "\n")
    listed = [asdict(mutant) | asdict(result) for mutant, result in results.items()]
    (RESULTS / "mutants.json").write_text(json.dumps({"seed": options.seed, "mutants": listed}, indent=1))
    print("\n\n".join(report))
    late = sum(result.status == "timeout" for result in results.values())
    share = len(alive) / max(len(sample), 1)
    print(
        f"\n{len(alive)} of {len(sample)} mutants alive ({share:.1%}), {late} stopped by their time limit, seed "
        f"{options.seed}, {(time.monotonic() - started) / 60:.0f} min; all of them in {RESULTS / 'mutants.json'}"
    )
    return int(share >= ALIVE)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--count", type=int, default=300, help="mutants to draw")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of the draw; any, by default")
    parser.add_argument("--jobs", type=int, default=2, help="mutants tested at a time")
    parser.add_argument("--files", default="*", help="pattern of files below the package to draw from")
    return parser.parse_args()


class Explained:
    """Mutants that no test can see, with the reason, from `equivalent.yaml`."""

    def __init__(self) -> None:
        self.entries = yaml.safe_load(EQUIVALENT.read_text()) or []
        for entry in self.entries:
            assert set(entry) <= {"file", "line", "mutant", "reason"}, entry
            assert entry["reason"], entry
            lines = {" ".join(line.split()) for line in (PACKAGE / entry["file"]).read_text().splitlines()}
            if entry["line"] not in lines:
                print(f"{EQUIVALENT.name}: no such line in {entry['file']}: {entry['line']}")

    def __call__(self, mutant: Mutant, source: bytes) -> bool:
        before, after = mutant.lines(source)
        return any(
            entry["file"] == mutant.file and entry["line"] == before and entry.get("mutant", after) == after
            for entry in self.entries
        )


def _tested(sample: list[Mutant], folder: Path, jobs: int) -> dict[Mutant, Result]:
    """Fates of mutants; quick ones are printed as they come."""
    data, times, cache = _map(folder / "whole", jobs)
    seconds = json.loads(times.read_text())
    selection = Selection(PACKAGE, data, seconds)
    copies: SimpleQueue[Copy] = SimpleQueue()
    for job in range(jobs):
        copies.put(Copy(folder / f"copy-{job}", cache))

    def test(mutant: Mutant) -> Result:
        copy = copies.get()
        try:
            result = copy.test(mutant, selection.tests(mutant), seconds, selection.stale(mutant))
        finally:
            copies.put(copy)
        at = f"{mutant.file}:{mutant.line}"
        print(f"{result.status:9} {result.seconds:6.1f} s {result.tests:5} tests  {at}  {result.killer}", flush=True)
        return result

    with ThreadPoolExecutor(jobs) as pool:
        results = dict(zip(sample, pool.map(test, sample), strict=True))
    for _ in range(jobs):
        copies.get().close()
    return results


def _map(folder: Path, jobs: int) -> tuple[Path, Path, Path]:
    """Coverage by test, processor times and machine code without a mutant; kept until a file changes."""
    state = hashlib.blake2b(sys.version.encode(), digest_size=8)
    for path in _sources():
        state.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    kept = RESULTS / f"map-{state.hexdigest()}"
    data, times, cache = kept / "coverage", kept / "seconds.json", kept / "machine-code"
    if times.exists():
        return data, times, cache
    print("running the tests once without a mutant, with coverage by test", flush=True)
    cache.mkdir(parents=True, exist_ok=True)
    copy = Copy(folder, cache)
    settings = f"[run]\nsource_pkgs = ntkmc\nparallel = true\npatch = subprocess, _exit\ndata_file = {data}\n"
    settings += "disable_warnings = no-data-collected, module-not-imported, module-not-measured\n"
    (folder / "coverage.ini").write_text(settings)
    seconds = folder / "seconds"
    seconds.mkdir()
    environment = copy.environment(cache) | {"MUTATION_SECONDS": str(seconds)}
    # Under coverage numba takes five times as long to compile: most of it is done before.
    compiling = [sys.executable, "-m", "pytest", "-q", "pipeline/ntkmc/linalg", "pipeline/ntkmc/theory"]
    subprocess.run(compiling, cwd=folder, env=environment, stdout=subprocess.DEVNULL, check=False)
    measured = [sys.executable, "-m", "coverage"]
    tests = ["-m", "pytest", "-q", "-p", "mutation.plugin", "-m", FAST, "-n", str(jobs), *TESTED_BY]
    subprocess.run([*measured, "run", "--rcfile=coverage.ini", *tests], cwd=folder, env=environment, check=False)
    subprocess.run([*measured, "combine", "--quiet", "--rcfile=coverage.ini"], cwd=folder, env=environment, check=True)
    every = {test: cost for path in seconds.iterdir() for test, cost in json.loads(path.read_text()).items()}
    times.write_text(json.dumps(every, indent=0))
    return data, times, cache


def _sources() -> Iterable[Path]:
    for name in ("pipeline", "tests"):
        yield from sorted(path for path in (ROOT / name).rglob("*.py") if "mutation" not in path.parts)


if __name__ == "__main__":
    sys.exit(main())
