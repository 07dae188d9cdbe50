"""What a claim is, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from ntkmc.registry import Registry
from ntkmc.theory.hypotheses import UNKNOWN, Hypotheses

Floats = NDArray[np.float64]
Kind = Literal["deterministic", "event"]
Side = Literal["lower", "upper"]


@dataclass(frozen=True)
class CellContext:
    """What a claim may know of a cell, at one depth.

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
    """

    kernel: str
    depth: int
    n: int
    d: int
    unit_rows: bool
    law: str = ""
    hypotheses: Hypotheses = UNKNOWN
    scale: float | None = None

    @property
    def pairs(self) -> int:
        """n (n - 1) / 2."""
        return self.n * (self.n - 1) // 2

    @property
    def uniform_directions(self) -> bool:
        """Whether x / |x| is uniform on the sphere, independently over rows (and of the norms)."""
        return self.law in ("sphere", "gaussian", "uniform-ball")


@dataclass(frozen=True)
class Bound:
    """A claimed bound on lambda_min, per trial, itself enclosed: lower <= exact value of the bound <= upper."""

    lower: Floats
    upper: Floats

    @property
    def value(self) -> Floats:
        """Midpoint."""
        return np.asarray(0.5 * (self.lower + self.upper))


Evaluate = Callable[[CellContext, Mapping[str, Floats], Mapping[str, int]], Bound]
Applies = Callable[[CellContext], bool]


@dataclass(frozen=True)
class Claim:
    """One statement about lambda_min.

    Attributes
    ----------
    id : str
        Stable name; a parameter stands in brackets behind it, `det-khatri-rao-gershgorin[r=4]`.
    words, latex : str
        The statement, for people and for papers.
    source : str
        Paper and theorem, or the derivation in one line.
    hypotheses : str
        Where it applies, in words; `applies` decides.
    kind : {"deterministic", "event"}
        A deterministic claim must hold in every trial; the event is estimated with an interval.
    side : {"lower", "upper"}
        Which side of lambda_min the bound is on.
    needs : tuple of str
        Per-trial statistics that `evaluate` reads, names of variables in the store's `trials`.
    evaluate : callable or None
        (context, statistics, parameters) -> `Bound`; None for the event.
    parameters : tuple of mappings
        The instances that are tried; one empty mapping where there is no parameter.
    """

    id: str
    words: str
    latex: str
    source: str
    hypotheses: str
    kind: Kind
    side: Side
    applies: Applies
    needs: tuple[str, ...] = ()
    evaluate: Evaluate | None = None
    parameters: tuple[Mapping[str, int], ...] = field(default=({},))
    constants: str = "explicit"


@dataclass(frozen=True)
class Instance:
    """A claim with its parameters fixed."""

    claim: Claim
    parameters: Mapping[str, int]

    @property
    def label(self) -> str:
        """What the store's `claim` coordinate holds."""
        return label(self.claim.id, self.parameters)

    def bound(self, context: CellContext, statistics: Mapping[str, Floats]) -> Bound:
        """The claimed bound in each trial."""
        if self.claim.evaluate is None:
            raise TypeError(f"{self.claim.id} is an event, not a bound")
        return self.claim.evaluate(context, statistics, self.parameters)


CLAIMS: Final[Registry[Claim]] = Registry("claim")


def register(claim: Claim) -> Claim:
    """Enter a claim into the registry under its id."""
    return CLAIMS.add(claim.id, claim)


def label(claim_id: str, parameters: Mapping[str, object]) -> str:
    """Id with its parameters.

    >>> label("det-khatri-rao-gershgorin", {"r": 4})
    'det-khatri-rao-gershgorin[r=4]'
    """
    inside = ",".join(f"{name}={value}" for name, value in sorted(parameters.items()))
    return f"{claim_id}[{inside}]" if inside else claim_id


def claims() -> list[Claim]:
    """All registered claims.

    Examples
    --------
    >>> "det-gershgorin-rows" in [claim.id for claim in claims()]
    True
    """
    return CLAIMS.values()


def instances(ids: tuple[str, ...] | None = None) -> list[Instance]:
    """Bounds to be tried, one per parameter set; `ids` restricts them (`InputError` for an unknown id)."""
    chosen = CLAIMS.values() if ids is None else [CLAIMS[claim_id] for claim_id in ids]
    return [
        Instance(claim, parameters)
        for claim in chosen
        if claim.evaluate is not None
        for parameters in claim.parameters
    ]
