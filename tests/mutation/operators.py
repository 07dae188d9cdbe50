"""Mutants of a source file, found in its syntax tree and written into its text."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_BINARY: dict[type[ast.operator], tuple[str, str]] = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.LShift: ("<<", ">>"),
    ast.RShift: (">>", "<<"),
}
_COMPARISONS: dict[type[ast.cmpop], tuple[str, tuple[str, ...]]] = {
    ast.Lt: ("<", ("<=", ">=")),
    ast.LtE: ("<=", ("<", ">")),
    ast.Gt: (">", (">=", "<=")),
    ast.GtE: (">=", (">", "<")),
    ast.Eq: ("==", ("!=",)),
    ast.NotEq: ("!=", ("==",)),
    ast.Is: ("is", ("is not",)),
    ast.IsNot: ("is not", ("is",)),
    ast.In: ("in", ("not in",)),
    ast.NotIn: ("not in", ("in",)),
}
_PAIRS = [("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("floor", "ceil"), ("any", "all")]
_CALLS = {**dict(_PAIRS), **{second: first for first, second in _PAIRS}}
_SYMMETRIC = {"min", "max", "minimum", "maximum", "hypot", "gcd", "isinstance", "cast", "TypeVar"}
"""Functions whose first two arguments may change places, or must not for reasons of types alone."""

_MESSAGES = ("Error", "Warning", "warn", "did_you_mean")
"""Ends of the names of calls whose arguments are prose."""

_NOT_BEHAVIOUR = {"__all__", "NUMERICS"}


@dataclass(frozen=True)
class Mutant:
    """One small error in a source file.

    Attributes
    ----------
    file : str
        Relative to the package.
    line, last : int
        First and last line of the statement (of its head, if it has a body).
    start, end : int
        Bytes of the file that are replaced.
    text : str
        What replaces them.
    operator : str
        Kind of error.
    function : str
        Qualified name of the function, empty at the level of the module or of a class.
    names : tuple of str
        At the level of a module or class: names that the statement binds.
    """

    file: str
    line: int
    last: int
    start: int
    end: int
    text: str
    operator: str
    function: str
    names: tuple[str, ...] = ()

    def applied(self, source: bytes) -> bytes:
        """Return the text of the file with the error in it."""
        return source[: self.start] + self.text.encode() + source[self.end :]

    def lines(self, source: bytes) -> tuple[str, str]:
        """Return the lines that change, before and after, without indentation, joined by spaces."""
        first = source.rfind(b"\n", 0, self.start) + 1
        after = source.find(b"\n", self.end)
        last = len(source) if after < 0 else after
        before = source[first:last].decode()
        mutated = source[first : self.start].decode() + self.text + source[self.end : last].decode()
        return " ".join(before.split()), " ".join(mutated.split())

    def diff(self, source: bytes) -> str:
        """Return the error as a unified diff."""
        before, after = source.decode().splitlines(), self.applied(source).decode().splitlines()
        lines = list(difflib.unified_diff(before, after, self.file, self.file, n=1, lineterm=""))
        return "\n".join([f"--- {self.file} ({self.operator})", *lines[2:]])


def find_mutants(package: Path, file: str) -> list[Mutant]:
    """Return all mutants of a file of the package, in the order of the text."""
    source = (package / file).read_bytes()
    finder = _Finder(file, source)
    finder.visit(ast.parse(source))
    return sorted(finder.mutants, key=lambda mutant: (mutant.start, mutant.end, mutant.text))


class _Finder(ast.NodeVisitor):
    """Left out: docstrings and other strings, annotations, decorators, imports, and what is raised."""

    def __init__(self, file: str, source: bytes) -> None:
        self.file, self.source = file, source
        self.starts = [0]
        for line in source.splitlines(keepends=True):
            self.starts.append(self.starts[-1] + len(line))
        self.mutants: list[Mutant] = []
        self.scopes: list[str] = []
        self.in_function = False
        self.statement = (1, 1)
        self.bound: tuple[str, ...] = ()

    def visit(self, node: ast.AST) -> None:
        """Remember the statement that the node belongs to; its head alone, if it has a body."""
        if isinstance(node, ast.stmt):
            body = getattr(node, "body", None)
            last = max(node.lineno, body[0].lineno - 1) if isinstance(body, list) else node.end_lineno or node.lineno
            self.statement = (node.lineno, last)
        super().visit(node)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        outer = self.in_function
        for default in [*node.args.defaults, *filter(None, node.args.kw_defaults)]:
            self.visit(default)
        self.scopes.append(node.name)
        self.in_function = True
        for statement in node.body:
            self.visit(statement)
        self.in_function = outer
        self.scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self.scopes.append(node.name)
        for statement in node.body:
            self.visit(statement)
        self.scopes.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        self._bind(node.targets, node.value)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self._bind([node.target], node.value)

    def _bind(self, targets: Sequence[ast.expr], value: ast.expr) -> None:
        names = tuple(name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))
        if _NOT_BEHAVIOUR & set(names):
            return
        self.bound = names
        for target in targets:
            self.visit(target)  # an index may be wrong too
        self.visit(value)
        self.bound = ()

    def visit_Raise(self, node: ast.Raise) -> None: ...

    def visit_Assert(self, node: ast.Assert) -> None: ...

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None: ...

    def visit_If(self, node: ast.If) -> None:
        if "TYPE_CHECKING" not in ast.unparse(node.test):
            self._negate(node.test)
            self.generic_visit(node)

    def visit_IfExp(self, node: ast.IfExp) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_While(self, node: ast.While) -> None:
        self._negate(node.test)
        self.generic_visit(node)

    def visit_Return(self, node: ast.Return) -> None:
        if node.value is not None and not (isinstance(node.value, ast.Constant) and node.value.value is None):
            self._replace(node.value, "None", "return")
            self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name.endswith(_MESSAGES):
            return
        if name in _CALLS:
            end = self._span(node.func)[1]
            self._add(end - len(name), end, _CALLS[name], "function")
        if len(node.args) > 1 and name not in _SYMMETRIC:
            self._swap(node.args[0], node.args[1])
        self.generic_visit(node)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        prose = any(isinstance(side, ast.JoinedStr) or _is(side, str) for side in (node.left, node.right))
        union = isinstance(node.op, ast.BitOr) and (_is(node.right, type(None)) or not self.in_function)
        if not prose and not union and type(node.op) in _BINARY:
            old, new = _BINARY[type(node.op)]
            self._between(node.left, node.right, old, new, "operator")
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        if type(node.op) in _BINARY and not isinstance(node.value, ast.JoinedStr) and not _is(node.value, str):
            old, new = _BINARY[type(node.op)]
            self._between(node.target, node.value, f"{old}=", f"{new}=", "operator")
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, op, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            old, choices = _COMPARISONS[type(op)]
            for new in choices:
                self._between(left, right, old, new, "comparison")
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        old, new = ("and", "or") if isinstance(node.op, ast.And) else ("or", "and")
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, right, old, new, "boolean")
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not | ast.USub):
            start, _ = self._span(node)
            self._add(start, self._span(node.operand)[0], "(" if self._bracketed(node) else "", "unary")
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        match node.value:
            case bool(value):
                self._replace(node, repr(not value), "constant")
            case int(value):
                self._replace(node, repr(value + 1), "constant")
            case float(value):
                self._replace(node, repr(2.0 * value if value else 1.0), "constant")

    def _negate(self, test: ast.expr) -> None:
        # A comparison and a `not` have mutants of their own that negate them.
        if not isinstance(test, ast.Compare) and not (isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not)):
            start, end = self._span(test)
            self._add(start, end, f"(not ({self.source[start:end].decode()}))", "condition")

    def _swap(self, first: ast.expr, second: ast.expr) -> None:
        if isinstance(first, ast.Starred) or isinstance(second, ast.Starred):
            return
        (start, middle), (after, end) = self._span(first), self._span(second)
        one, between, other = (self.source[i:j].decode() for i, j in ((start, middle), (middle, after), (after, end)))
        if one != other:
            self._add(start, end, f"{other}{between}{one}", "arguments")

    def _between(self, left: ast.expr, right: ast.expr, old: str, new: str, operator: str) -> None:
        start, end = self._span(left)[1], self._span(right)[0]
        at = self.source.find(old.encode(), start, end)
        if at >= 0 and b"#" not in self.source[start:end]:
            self._add(at, at + len(old.encode()), new, operator)

    def _bracketed(self, node: ast.UnaryOp) -> bool:
        """Whether a bracket opens between the sign and the operand, as in `-(a + b)`."""
        return b"(" in self.source[self._span(node)[0] : self._span(node.operand)[0]]

    def _replace(self, node: ast.expr, text: str, operator: str) -> None:
        self._add(*self._span(node), text, operator)

    def _span(self, node: ast.expr) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.starts[node.lineno - 1] + node.col_offset, self.starts[node.end_lineno - 1] + node.end_col_offset

    def _add(self, start: int, end: int, text: str, operator: str) -> None:
        function = ".".join(self.scopes) if self.in_function else ""
        names = () if self.in_function else (*self.bound, *self.scopes)
        first, last = self.statement
        self.mutants.append(Mutant(self.file, first, last, start, end, text, operator, function, names))


def _is(node: ast.expr, kind: type) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, kind)


def mutated_files(package: Path) -> Iterator[str]:
    """Files whose mutants are drawn from: mathematics; models of cost are estimates, compared with measurements."""
    for folder in ("theory", "linalg", "statistics"):
        for path in sorted((package / folder).rglob("*.py")):
            if path.name != "cost.py":
                yield path.relative_to(package).as_posix()
