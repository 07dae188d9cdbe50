"""No module of the package imports itself through others, also not inside functions or for types alone."""

from __future__ import annotations

import ast
import graphlib
from pathlib import Path

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


def test_imports_have_no_circle() -> None:
    graph = imports()
    assert sum(map(len, graph.values())) > 300
    assert list(graphlib.TopologicalSorter(graph).static_order())
