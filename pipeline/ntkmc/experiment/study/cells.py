"""Cells of a grid: one distribution at one (d, n), with a set of depths; sizes given as expressions in d."""

from __future__ import annotations

import ast
import hashlib
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ntkmc.errors import InputError
from ntkmc.theory.distributions import Distribution

_OPERATORS: Final[dict[type[ast.operator], Callable[[float, float], float]]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_FUNCTIONS: Final[dict[str, Callable[[float], float]]] = {"log": math.log, "sqrt": math.sqrt}


@dataclass(frozen=True)
class Cell:
    """One distribution at one (d, n), with the depths at which it is measured.

    Attributes
    ----------
    distribution : Distribution
    d, n : int
        Dimension and number of rows.
    depths : tuple of int
        In increasing order.
    """

    distribution: Distribution
    d: int
    n: int
    depths: tuple[int, ...]

    @property
    def name(self) -> str:
        """Readable name, as accepted by `ntkmc trial`: `student-t(df=3),d=32,n=16`."""
        return f"{self.distribution.label},d={self.d},n={self.n}"

    @property
    def folder(self) -> str:
        """Name for files and task keys: letters, digits, dots and dashes."""
        plain = re.sub(r"[^A-Za-z0-9]+", "-", self.distribution.label).strip("-")[:40]
        # Different labels may have the same letters and digits; the hash keeps their folders apart.
        digest = hashlib.blake2b(self.distribution.label.encode(), digest_size=4).hexdigest()
        return f"{plain}-{digest}.d{self.d}.n{self.n}"


def evaluate_size(expression: str, d: int) -> int:
    """Evaluate an expression in d, rounded half up to an integer of at least 1.

    An expression consists of numbers, `d`, `+ - * / ^` (or `**`), parentheses, `log` and `sqrt`.

    Raises
    ------
    InputError
        If it is not such an expression, or its rounded value is not in [1, 2**31).

    Examples
    --------
    >>> evaluate_size("d^0.7", 32), evaluate_size("d/2", 33)
    (11, 17)
    """
    try:
        tree = ast.parse(expression.replace("^", "**"), mode="eval")
        # Python's syntax has the precedence of operators that mathematics has, once `^` is a power.
        value = _value(tree.body, float(d))
    except (SyntaxError, ValueError, ArithmeticError, TypeError, RecursionError, MemoryError):
        value = math.nan  # fails the comparison below: one message for all mistakes
    if not 0.5 <= value < 2**31:
        raise InputError(
            f"n = {expression[:60]!r} at d = {d} is not a number from 1 to {2**31 - 1}; "
            "write an expression in d such as 'd/2', 'd^0.7' or '4*d*log(d)'"
        )
    return math.floor(value + 0.5)


def _value(node: ast.expr, d: float) -> float:
    # Study files may come from others: only the listed syntax is evaluated, never `eval`.
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return float(number)
        case ast.Name(id="d"):
            return d
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return float(_OPERATORS[type(op)](_value(left, d), _value(right, d)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, d)
        case ast.Call(func=ast.Name(id=name), args=[argument], keywords=[]) if name in _FUNCTIONS:
            return _FUNCTIONS[name](_value(argument, d))
    raise ValueError(f"not allowed: {ast.dump(node)}")
