"""Tests that can see a mutant: those that execute its line, the most promising first.

Coverage does not see the lines of compiled functions and those that are executed at import. In their place stand the
lines of Python code that mention the compiled function, or the name that is bound, directly or through other compiled
functions and constants.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import coverage

from mutation.operators import Mutant

_ONCE = {"cache", "lru_cache", "cached_property"}
"""Decorators of functions that are executed in the first test that calls them, and in no other."""


@dataclass(frozen=True)
class _Definition:
    """A function or a constant of a module, and the names that it mentions, with their lines."""

    file: str
    name: str
    qualified: str
    lines: range
    compiled: bool
    once: bool
    constant: bool
    mentions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))


class Selection:
    """Tests by mutant.

    Parameters
    ----------
    package : Path
    data : Path
        Measured coverage, with a context for each test.
    seconds : dict of str to float
        Durations of the tests that may be chosen.
    """

    def __init__(self, package: Path, data: Path, seconds: dict[str, float]) -> None:
        self.seconds = seconds
        self.definitions = [each for path in sorted(package.rglob("*.py")) for each in _definitions(package, path)]
        measured = coverage.CoverageData(str(data))
        measured.read()
        self.mentioned = _mentioned_by_tests(package.parents[1])
        self.contexts: dict[str, dict[int, list[str]]] = {}
        for name in measured.measured_files():
            file = name.rpartition("/ntkmc/")[2]
            self.contexts[file] = measured.contexts_by_lineno(name)

    def tests(self, mutant: Mutant) -> list[str]:
        """Return the tests that can see a mutant, those of its own layer first, the quickest of them first."""
        inside = next((each for each in self.definitions if self._holds(each, mutant)), None)
        tests = self._at(mutant.file, range(mutant.line, mutant.last + 1))
        if inside is not None and (inside.compiled or inside.once):
            tests |= self._users({inside.name})
        elif mutant.names:
            tests |= self._users(set(mutant.names))
            functions = {function for name in mutant.names for function in self.mentioned[name]}
            tests |= {test for test in self.seconds if test.partition("[")[0] in functions}
        elif not mutant.function:  # a claim's definition: whatever uses the module may use it
            tests |= self._at(mutant.file, self.contexts.get(mutant.file, {}))
        layer = mutant.file.partition("/")[0]
        own = (f"tests/{layer}/", f"pipeline/ntkmc/{mutant.file}")
        known = (test for test in tests if test in self.seconds)
        return sorted(known, key=lambda test: (not test.startswith(own), self.seconds[test], test))

    def stale(self, mutant: Mutant) -> list[tuple[str, str]]:
        """Return file and name of each compiled function whose machine code the mutant changes."""
        inside = next((each for each in self.definitions if self._holds(each, mutant)), None)
        if inside is None:
            names = set(mutant.names)
        elif inside.compiled:
            names = {inside.name}
        else:
            return []
        names = self._closure(names)
        return [
            (each.file, each.qualified) for each in self.definitions if each.compiled and self._within(each, names)
        ]

    def _holds(self, definition: _Definition, mutant: Mutant) -> bool:
        return definition.file == mutant.file and not definition.constant and mutant.line in definition.lines

    def _within(self, definition: _Definition, names: set[str]) -> bool:
        return definition.name in names or not names.isdisjoint(definition.mentions)

    def _closure(self, names: set[str]) -> set[str]:
        """Names, and the compiled functions and constants that mention them."""
        while True:
            more = {
                each.name
                for each in self.definitions
                if (each.compiled or each.constant) and not names.isdisjoint(each.mentions)
            }
            if more <= names:
                return names
            names |= more

    def _users(self, names: set[str]) -> set[str]:
        """Tests that execute a line which mentions one of the names."""
        names = self._closure(names)
        tests: set[str] = set()
        for definition in self.definitions:
            if not definition.compiled and not definition.constant:
                for name in names & definition.mentions.keys():
                    tests |= self._at(definition.file, definition.mentions[name])
        return tests

    def _at(self, file: str, lines: Iterable[int]) -> set[str]:
        contexts = self.contexts.get(file, {})
        return {test for line in lines for test in contexts.get(line, ()) if test}


def _mentioned_by_tests(root: Path) -> defaultdict[str, set[str]]:
    """Tests, without their parameters, by the names that their functions mention."""
    mentioned: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted((root / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_bytes()).body:
            if isinstance(node, ast.FunctionDef):
                for name in _names(node):
                    mentioned[name].add(f"{path.relative_to(root).as_posix()}::{node.name}")
    return mentioned


def _definitions(package: Path, path: Path) -> Iterator[_Definition]:
    file = path.relative_to(package).as_posix()

    def walk(body: list[ast.stmt], scope: str) -> Iterator[_Definition]:
        for node in body:
            lines = range(node.lineno, (node.end_lineno or node.lineno) + 1)
            if isinstance(node, ast.FunctionDef):
                decorators = {name for each in node.decorator_list for name in _names(each)}
                definition = _Definition(
                    file,
                    node.name,
                    scope + node.name,
                    lines,
                    "compiled" in decorators,
                    bool(_ONCE & decorators),
                    False,
                )
            elif isinstance(node, ast.ClassDef):
                yield from walk(node.body, f"{scope}{node.name}.")
                continue
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                target = node.targets[0] if isinstance(node, ast.Assign) else node.target
                name = next(_names(target), "")
                definition = _Definition(file, name, scope + name, lines, False, False, True)
            else:
                continue
            for inner in ast.walk(node):
                if isinstance(inner, ast.Name):
                    definition.mentions[inner.id].append(inner.lineno)
                elif isinstance(inner, ast.Attribute):
                    definition.mentions[inner.attr].append(inner.lineno)
            definition.mentions.pop(definition.name, None)
            yield definition

    yield from walk(ast.parse(path.read_bytes()).body, "")


def _names(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Name):
            yield inner.id
        elif isinstance(inner, ast.Attribute):
            yield inner.attr
