"""Neither modules nor sub-packages import each other in a circle, also not inside functions or for types alone."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "pipeline"


def imports() -> dict[str, set[str]]:
    """Modules of the package that each module imports, anywhere in its text."""
    files = {
        ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
        for path in (SOURCE / "ntkmc").rglob("*.py")
    }
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        names: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                # `from package import name`: a module, or an attribute of the package.
                wholes = {f"{node.module}.{alias.name}" for alias in node.names}
                names |= {whole if whole in files else node.module for whole in wholes}
        graph[module] = names & set(files) - {module}
    return graph


GRAPH = imports()
PACKAGES = sorted({module.rpartition(".")[0] for module in GRAPH} - {""})


def inside(package: str) -> dict[str, set[str]]:
    """The same for what is directly inside a package: modules and sub-packages, each of these as a whole."""

    def member(module: str) -> str:
        return ".".join(module.split(".")[: package.count(".") + 2])

    graph: dict[str, set[str]] = {}
    for module, imported in GRAPH.items():
        if module.startswith(f"{package}."):
            inner = {member(name) for name in imported if name.startswith(f"{package}.")}
            graph.setdefault(member(module), set()).update(inner - {member(module)})
    return graph


def test_modules_have_no_circle() -> None:
    assert sum(map(len, GRAPH.values())) > 300
    assert list(graphlib.TopologicalSorter(GRAPH).static_order())


@pytest.mark.parametrize("package", PACKAGES)
def test_members_of_a_package_have_no_circle(package: str) -> None:
    assert list(graphlib.TopologicalSorter(inside(package)).static_order())
