"""Domains of claims: the cells to which a claim refers, in plain text and as a condition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ntkmc.theory.cell import CellContext
from ntkmc.theory.kernels.functions import KERNELS

Condition = Callable[[CellContext], bool]


def everywhere(context: CellContext) -> bool:
    """Return True: the condition of a domain that holds all cells of its kernels."""
    return True


def has_pairs(context: CellContext) -> bool:
    """Return whether there are at least two rows."""
    return context.n >= 2


@dataclass(frozen=True)
class Domain:
    """Cells to which a claim refers.

    Attributes
    ----------
    hypotheses : str
        The domain in plain text, as listed by `ntkmc claims`.
    kernels : tuple of str
        Kernels to which the claim refers.
    condition : callable
        (context) -> whether a cell with one of these kernels belongs to the domain.
    """

    hypotheses: str
    kernels: tuple[str, ...] = KERNELS
    condition: Condition = everywhere

    def includes(self, context: CellContext) -> bool:
        """Return whether a cell belongs to the domain."""
        return context.kernel in self.kernels and self.condition(context)

    def restricted(self, hypotheses: str, condition: Condition = everywhere) -> Domain:
        """Return the part of the domain in which another condition holds, too.

        >>> ANY.restricted("n >= 2", has_pairs).hypotheses
        'any rows, any kernel, n >= 2'
        """
        return Domain(
            f"{self.hypotheses}, {hypotheses}",
            self.kernels,
            lambda context: self.condition(context) and condition(context),
        )


def known(value: float | None, name: str) -> float:
    """Return a number of the cell that the domain of a claim guarantees; `ValueError` if it is None."""
    if value is None:
        raise ValueError(f"the claim applies only where the {name} is known")
    return value


def second_moment(context: CellContext) -> float:
    """Return E|x|**2 of the rows; `ValueError` if it is unknown or does not exist."""
    return known(context.second_moment, "second moment E|x|**2")


ANY: Final = Domain("any rows, any kernel")
TWO_LAYERS: Final = Domain("kernel h-infinity, unit rows", ("h-infinity",), lambda context: context.unit_rows)
TWO_LAYERS_PAIRS: Final = TWO_LAYERS.restricted("n >= 2", has_pairs)
TANGENT: Final = Domain("kernel ntk, any rows", ("ntk",))
# At depth 1 the kernel is linear: there is no activation, and no series to bound.
TANGENT_DEEP: Final = Domain("kernel ntk, depth at least 2, any rows", ("ntk",), lambda context: context.depth >= 2)
TWO_DEPTHS: Final = TANGENT.restricted("at least two depths", lambda context: context.shallower is not None)
