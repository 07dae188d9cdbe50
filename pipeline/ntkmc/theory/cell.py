"""Context of a claim or a prediction: kernel, depth, sizes and law of one cell of a study."""

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
        Hypotheses that the law satisfies, for rows as drawn.
    scale : float or None
        Constant by which rows are divided after the draw; None if each row is divided by its own norm.
    second_moment : float or None
        E|x|**2 of the normalized rows, the kernel's input; None where it does not exist.
    shallower : int or None
        Next smaller depth that is measured on the same draws.
    fewer : int or None
        Next smaller n that is measured on the first rows of the same draws (nested studies).
    """

    kernel: str
    depth: int
    n: int
    d: int
    unit_rows: bool
    law: str = ""
    hypotheses: Hypotheses = UNKNOWN
    scale: float | None = None
    second_moment: float | None = None
    shallower: int | None = None
    fewer: int | None = None

    @property
    def pairs(self) -> int:
        """Number of pairs of rows, n (n - 1) / 2."""
        return self.n * (self.n - 1) // 2

    @property
    def uniform_directions(self) -> bool:
        """True if x / |x| is uniform on the sphere, independently over rows (and of the norms)."""
        return self.law in ("sphere", "gaussian", "uniform-ball")

    @property
    def uniform_pairs(self) -> bool:
        """True if directions are uniform, there is a pair of rows, and d is at least 2."""
        # For d = 1 there are two directions, and the law of a cosine has no density.
        return self.uniform_directions and self.n >= 2 and self.d >= 2
