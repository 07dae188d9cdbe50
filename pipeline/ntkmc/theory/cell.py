"""Context of a claim or a prediction: kernel, depth, sizes and law of one cell."""

from __future__ import annotations

from dataclasses import dataclass

from ntkmc.theory.distributions.hypotheses import UNKNOWN, Hypotheses


@dataclass(frozen=True)
class CellContext:
    """Properties of a cell at one depth, for claims and predictions.

    Attributes
    ----------
    kernel : str
    depth, n, d : int
    unit_rows : bool
        Whether every row has norm 1, by normalization or by law.
    law : str
        Registered name of the distribution, without parameters.
    hypotheses : Hypotheses
        What the law satisfies, as drawn.
    scale : float or None
        The constant that rows were divided by after the draw; None where each was divided by its own norm.
    energy : float or None
        E|x|**2 of the rows as the kernel sees them; None where it does not exist.
    shallower : int or None
        The next smaller depth that is measured on the same draws.
    fewer : int or None
        The next smaller n that is measured on the first rows of the same draws (nested studies).
    """

    kernel: str
    depth: int
    n: int
    d: int
    unit_rows: bool
    law: str = ""
    hypotheses: Hypotheses = UNKNOWN
    scale: float | None = None
    energy: float | None = None
    shallower: int | None = None
    fewer: int | None = None

    @property
    def pairs(self) -> int:
        """n (n - 1) / 2."""
        return self.n * (self.n - 1) // 2

    @property
    def uniform_directions(self) -> bool:
        """Whether x / |x| is uniform on the sphere, independently over rows (and of the norms)."""
        return self.law in ("sphere", "gaussian", "uniform-ball")
