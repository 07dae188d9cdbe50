"""What a claim is, and the registry of all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ntkmc.registry import Registry
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.trial_statistics import STATISTICS
from ntkmc.theory.kernels.functions import KERNELS

Floats = NDArray[np.float64]
Kind = Literal["deterministic", "probability", "scaling", "event"]
Side = Literal["lower", "upper"]
Functional = Literal["quantile", "mean", "tail"]
Statistics = Mapping[str, Floats]
Parameters = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Bound:
    """Numbers, one per trial, each between two proved ends."""

    lower: Floats
    upper: Floats

    @property
    def value(self) -> Floats:
        """Midpoint."""
        with np.errstate(invalid="ignore"):  # -inf ... inf: nothing is known, and the midpoint is NaN
            return np.asarray(0.5 * (self.lower + self.upper))


# Thresholds that decide verdicts; `how_tested` prints them.
DRIFT: Final = 0.1
"""An exponent of a claimed constant up to this cannot be distinguished from logarithmic corrections at finite n, d."""

LEVEL: Final = 0.8
"""A drift whose exponent in the upper half of the range is below this share of the lower half's levels off."""

HEAVY: Final = 1.15
"""An exponent of quantiles against normal ones above this is a heavier tail than sub-Gaussian: 1.5 for exponential
tails at the levels that thousands of trials reach."""

SAME: Final = 0.05
"""A constant that is claimed to have a value is supported if it is proved to be at most this much above it."""

EXACT: Final = 0.1
"""A probability p that is claimed exactly is supported if its interval lies within this share of min(p, 1 - p)."""

Evaluate = Callable[[CellContext, Statistics, Parameters], Bound]
Quantity = Callable[[CellContext, Statistics], Bound]
Applies = Callable[[CellContext], bool]
Claimed = Callable[[CellContext, Parameters], tuple[float, float]]


def smallest_eigenvalue(context: CellContext, statistics: Statistics) -> Bound:
    """lambda_min with its enclosure: what most claims are about."""
    return Bound(statistics["lambda_min_lower"], statistics["lambda_min_upper"])


@dataclass(frozen=True)
class Claim:
    """One statement, tried on every cell where it applies.

    Attributes
    ----------
    id : str
        Stable name; a parameter stands in brackets behind it, `det-khatri-rao-gershgorin[r=4]`. A form that is printed
        somewhere and corrected by another claim is `printed/<id of the correction>`.
    words, latex : str
        The statement, for people and for papers.
    source : str
        Paper and theorem, or the derivation in one line.
    hypotheses : str
        Where it applies, in words; `applies` decides.
    kind : {"deterministic", "probability", "scaling", "event"}
        `deterministic`: the quantity is on its side of the bound in every trial. `probability`: it is beyond the bound
        with a probability in the range `claimed`. `scaling`: quantity / (what it is claimed to scale as), which
        `evaluate` gives, has quantiles between constants in every cell. `event`: the one event with its interval.
    side : {"lower", "upper"}
        Which side of the quantity the bound is on.
    needs : tuple of str
        Per-trial statistics that are read: variables of the store's `trials`, or the derived ones of `DERIVED`; a
        parameter's name in braces stands for its value, `power{r}_lower`.
    evaluate : callable or None
        (context, statistics, parameters) -> `Bound`; None for the event.
    parameters : tuple of mappings
        The instances that are tried; one empty mapping where there is no parameter.
    constants : str
        `explicit`, or which ones are fitted.
    kernels : tuple of str
        Kernels that it is about.
    quantity : callable
        (context, statistics) -> `Bound`: what is bounded; lambda_min by default.
    claimed : callable or None
        (context, parameters) -> range that the probability of being beyond the bound is claimed to lie in.
    where : callable or None
        (context, parameters) -> whether an instance applies, beyond `applies`.
    functional : {"quantile", "mean", "tail"}
        Of a scaling claim: what of the ratio's law is the constant. `quantile`: that of level 1 - delta (side upper)
        or delta (lower); `mean`, of a ratio that is not below `least`; `tail`: its sub-Gaussian scale, the quantiles
        in units of a normal law's, the largest of the functions that `evaluate` gives as rows.
    tails : callable or None
        (context, parameters) -> for each function that `evaluate` gives, whether its tail is compared with a normal
        one's. A heavier tail keeps a claim from being supported, and refutes it where `proved` says False.
    equal : float or None
        Of a scaling claim: the value that the constant must have, and that it cannot be below; with `most`, the value
        that it must not exceed.
    ceiling : callable or None
        (context, parameters) -> value that the constant is proved not to exceed, None where there is none. Limits
        below it support the claim, and no drift below it speaks against it.
    least : callable or None
        Of a mean: (context) -> value that no draw's ratio is below; 0 unless given.
    most : callable or None
        Of a mean: (context) -> value that no draw's ratio is above, so that its upper limit is by betting, too.
    proved : callable or None
        (context, parameters) -> what is proved of the claim for the cell's law: True, and no drift within a finite
        range refutes it; False, and any drift does; None, and a drift must show no sign of levelling off.
    along : tuple of str
        Axes in which the constant must not drift, each with the others fixed; it must have been seen not to do so in
        all of them to be supported. `n` only where a claim speaks of every n at fixed d.
    hypothesis : bool
        Whether it is a property of the law of the rows: it holds or fails for each law by itself.
    trivial : float or None
        A lower bound at or below this, or an upper bound at or above it, says nothing: 0 and infinity unless given.
    beside : str
        A key of `BESIDE`, where it is about what is measured beside the draws, such as finite networks: tried for each
        value that a study asks for (each width m), with that value as a further parameter. It needs statistics of the
        group of that name, behind a prefix (`network_`); `status` is that group's.
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
    parameters: tuple[Parameters, ...] = field(default=({},))
    constants: str = "explicit"
    kernels: tuple[str, ...] = KERNELS
    quantity: Quantity = smallest_eigenvalue
    claimed: Claimed | None = None
    where: Callable[[CellContext, Parameters], bool] | None = None
    functional: Functional = "quantile"
    tails: Callable[[CellContext, Parameters], tuple[bool, ...]] | None = None
    equal: float | None = None
    ceiling: Callable[[CellContext, Parameters], float | None] | None = None
    least: Callable[[CellContext], float] | None = None
    most: Callable[[CellContext], float] | None = None
    proved: Callable[[CellContext, Parameters], bool | None] | None = None
    along: tuple[str, ...] = ("d",)
    hypothesis: bool = False
    trivial: float | None = None
    beside: str = ""

    def vacuous(self, bound: Bound) -> NDArray[np.bool_]:
        """Trials in which the bound says nothing."""
        if self.side == "lower":
            return np.asarray(bound.upper <= (0.0 if self.trivial is None else self.trivial))
        return np.asarray(bound.lower >= (math.inf if self.trivial is None else self.trivial))

    @property
    def tested(self) -> str:
        """How the data decide, in words."""
        return how_tested(self)

    @property
    def corrected_by(self) -> str | None:
        """Id of the claim that corrects this printed form, None for claims that are no printed form."""
        prefix, _, rest = self.id.partition("/")
        return rest if prefix == "printed" else None


class Beside(NamedTuple):
    """How claims speak of what is measured beside the draws, along an axis of its own.

    Attributes
    ----------
    symbol : str
        The parameter that its value is.
    prefix : str
        What precedes the names of its statistics.
    enclosed : tuple of str
        Those of its statistics that have two ends.
    words : str
        What they are of.
    plain : tuple of str
        Those of its statistics that are numbers without ends.
    named : bool
        Whether its values are names, not whole numbers.
    """

    symbol: str
    prefix: str
    enclosed: tuple[str, ...]
    words: str
    plain: tuple[str, ...] = ()
    named: bool = False


BESIDE: Final = {
    "finite_width": Beside(
        "m",
        "network_",
        ("lambda_min", "deviation", "entry_deviation", "data_norm", "kernel_norm"),
        "a network's tangent kernel",
    ),
    "training": Beside(
        "target",
        "training_",
        ("label_energy", "label_form", "lambda_max", "steps", "residual", "flow"),
        "training on a target with the limiting kernel",
        ("step_size", "label_norm", "regression_loss"),
        named=True,
    ),
    "trained": Beside(
        "network",
        "trained_",
        (),
        "a network that is trained",
        ("step_size", "start", "gap", "gap_started", "contraction", "drift", "test_loss", "residual"),
        named=True,
    ),
    "sketching": Beside(
        "s",
        "sketch_",
        ("lambda_min", "deviation", "entry_deviation", "kernel_norm"),
        "the Gram matrix of a feature map",
    ),
}
"""By the group of the store that holds them."""

NETWORK: Final = BESIDE["finite_width"].prefix
SKETCH: Final = BESIDE["sketching"].prefix

DERIVED: Final = {
    "shallower_lower": "lambda_min_lower of the same draw at the next smaller depth",
    "shallower_upper": "lambda_min_upper of the same draw at the next smaller depth",
    "fewer_lower": "lambda_min_lower of the draw's first rows, at the next smaller n",
    "fewer_upper": "lambda_min_upper of the draw's first rows, at the next smaller n",
    **{
        f"{beside.prefix}{name}_{end}": f"{name}_{end} of {beside.words}, in the group {group}"
        for group, beside in BESIDE.items()
        for name in beside.enclosed
        for end in ("lower", "upper")
    },
    **{
        f"{beside.prefix}{name}": f"{name} of {beside.words}, in the group {group}"
        for group, beside in BESIDE.items()
        for name in beside.plain
    },
}
"""Statistics that claims may need and that stand elsewhere: in another depth's or another cell's place, or another
group."""


@dataclass(frozen=True)
class Instance:
    """A claim with its parameters fixed."""

    claim: Claim
    parameters: Parameters

    @property
    def label(self) -> str:
        """What the store's `claim` coordinate holds."""
        return label(self.claim.id, self.parameters)

    @property
    def needs(self) -> tuple[str, ...]:
        """Statistics that are read."""
        return tuple(name.format(**self.parameters) for name in self.claim.needs)

    @property
    def beside(self) -> tuple[str, int | str] | None:
        """What it is about beside the draws: a key of `BESIDE`, and the value there; None where it is about none."""
        kind = self.claim.beside
        return (kind, _plain(self.parameters[BESIDE[kind].symbol])) if kind else None

    def applies(self, context: CellContext) -> bool:
        """Whether the claim says anything about a cell."""
        claim = self.claim
        return (
            context.kernel in claim.kernels
            and claim.applies(context)
            and (claim.where is None or claim.where(context, self.parameters))
        )

    def bound(self, context: CellContext, statistics: Statistics) -> Bound:
        """The claimed bound in each trial."""
        if self.claim.evaluate is None:
            raise TypeError(f"{self.claim.id} is an event, not a bound")
        return self.claim.evaluate(context, statistics, self.parameters)

    def ceiling(self, context: CellContext) -> float:
        """Value that the constant is proved not to exceed; infinite where there is none."""
        found = None if self.claim.ceiling is None else self.claim.ceiling(context, self.parameters)
        return math.inf if found is None else found

    def proved(self, context: CellContext) -> bool | None:
        """What is proved of the claim for the cell's law."""
        return None if self.claim.proved is None else self.claim.proved(context, self.parameters)

    def claimed(self, context: CellContext) -> tuple[float, float]:
        """Range that the probability of being beyond the bound is claimed to lie in; (0, 0) if it must not be."""
        return (0.0, 0.0) if self.claim.claimed is None else self.claim.claimed(context, self.parameters)


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


def is_costly(claim: Claim) -> bool:
    """Whether trying a claim takes eigenvalue problems beside lambda_min itself."""
    needs = {name for parameters in claim.parameters for name in Instance(claim, parameters).needs}
    return any(STATISTICS[name].eigenvalues > 0.0 for name in needs if name in STATISTICS)


def select(chosen: tuple[str, ...] = ("all",), kernel: str | None = None) -> list[Claim]:
    """Claims that a study names, in the order of the registry.

    Parameters
    ----------
    chosen : tuple of str
        Ids; `all` stands for every claim that costs nothing beside lambda_min, `everything` for all.
    kernel : str, optional
        Leaves out claims about other kernels.

    Raises
    ------
    InputError
        For an unknown id.

    Examples
    --------
    >>> len(select(("all",))) < len(select(("everything",))) == len(claims())
    True
    """
    named = {CLAIMS[name].id for name in chosen if name not in ("all", "everything")}
    everything, free = "everything" in chosen, "all" in chosen
    return [
        claim
        for claim in CLAIMS.values()
        if (everything or claim.id in named or (free and not is_costly(claim)))
        and (kernel is None or kernel in claim.kernels)
    ]


def instances(
    chosen: tuple[str, ...] = ("everything",),
    kernel: str | None = None,
    beside: Mapping[str, Iterable[int | str]] | None = None,
) -> list[Instance]:
    """Claims to be tried, one per parameter set, and per width where they are about networks; without the event.

    Parameters
    ----------
    chosen, kernel
        As for `select`.
    beside : mapping of str to iterable of int or str, optional
        What is measured beside the draws, by the keys of `BESIDE`: the widths of networks that are drawn. No claim
        about anything else beside the draws is tried.
    """
    return [
        Instance(claim, parameters)
        for claim in select(chosen, kernel)
        if claim.evaluate is not None
        for parameters in _parameters(claim, beside or {})
    ]


def find_instance(labelled: str) -> Instance | None:
    """The instance with a label, whatever the width in it; None if there is none.

    >>> find_instance("width-rank[m=77]").beside
    ('finite_width', 77)
    """
    claim = next((each for each in CLAIMS.values() if each.id == labelled.partition("[")[0]), None)
    if claim is None or claim.evaluate is None:
        return None
    values: dict[str, tuple[int | str, ...]] = {}
    if claim.beside:
        beside = BESIDE[claim.beside]
        given = re.search(rf"[\[,]{beside.symbol}=({'[^,]+?' if beside.named else '[0-9]+'})[,\]]", labelled)
        if given:
            values[claim.beside] = (given.group(1) if beside.named else int(given.group(1)),)
    found = (Instance(claim, parameters) for parameters in _parameters(claim, values))
    return next((each for each in found if each.label == labelled), None)


def _parameters(claim: Claim, beside: Mapping[str, Iterable[int | str]]) -> list[Parameters]:
    if not claim.beside:
        return list(claim.parameters)
    symbol = BESIDE[claim.beside].symbol
    return [{**parameters, symbol: value} for value in beside.get(claim.beside, ()) for parameters in claim.parameters]


def _plain(value: float | str) -> int | str:
    return value if isinstance(value, str) else int(value)


def how_tested(claim: Claim) -> str:
    """What is measured, and what refutes and supports."""
    match claim.kind:
        case "event":
            return "by a confidence sequence in each cell, valid while one looks"
        case "deterministic":
            return "in every trial; violated only if the two enclosures are disjoint on the wrong side"
        case "probability":
            return _probability()
    if claim.equal is not None and claim.most is not None:
        return (
            "the mean in each cell, with limits by betting on values whose range is proved, valid while one looks and "
            f"for all cells at once. Refuted where its lower limit is above {claim.equal:g}; supported where its "
            f"upper limit is at most {claim.equal:g}. {_family(claim)}"
        )
    if claim.equal is not None:
        return (
            f"{_measured(claim)}; it cannot be below {claim.equal:g}. Refuted where its lower limit is above "
            f"{claim.equal:g}; supported where its upper limit, which is asymptotic, is at most "
            f"{claim.equal + SAME:g}. {_family(claim)}"
        )
    return f"{_measured(claim)}. {_drift(claim)} {_family(claim)}"


def _probability() -> str:
    return (
        "the frequency of violations against the claimed probability, by an e-process, valid while one looks: refuted "
        "where it reaches 1 / alpha; cells together by the average e-value, each of them by e-BH. Supported where the "
        f"confidence sequence lies in the claimed range; an exact probability p is given a margin of {EXACT:g} times "
        "the smaller of p and 1 - p. Trials that failed count against both"
    )


def _measured(claim: Claim) -> str:
    match claim.functional:
        case "quantile":
            level = "(1 - delta)" if claim.side == "upper" else "delta"
            what = f"the {level}-quantile of the ratio, by order statistics, valid while one looks"
        case "mean":
            what = (
                "the mean of the ratio: its lower limit by betting, for any tail and valid while one looks; its upper "
                "limit "
                + (
                    "is the proved one"
                    if claim.ceiling is not None
                    else "asymptotic, and unknown where one draw dominates"
                )
            )
        case _:
            what = (
                "the largest ratio of quantiles of |f - median| to those of a normal law, down to level 20 / T, once "
                "the number of trials that was fixed in advance is reached"
            )
    return f"the constant in each cell is {what}; limits hold for all cells at once"


def _drift(claim: Claim) -> str:
    way = "decay" if claim.side == "lower" or claim.functional == "mean" else "growth"
    axes = " or ".join(claim.along)
    drift = f"a {way} with an exponent above {DRIFT:g} in {axes}"
    if claim.ceiling is not None and claim.functional == "quantile":
        return "A ceiling is proved: supported where all limits are below it, refuted where one is above."
    said = [
        f"Refuted by {drift}, by proof of its limits, in the upper half of the range too and there with at least "
        f"{LEVEL:g} of the lower half's; a finite range shows no limit"
    ]
    if claim.proved is not None:
        said.append(
            "where the hypothesis is declared of the law no drift refutes, where it is declared not to hold any does"
        )
    if claim.tails is not None:
        said.append(
            f"a coordinate's quantiles that grow like those of a normal law to a power above {HEAVY:g} keep it from "
            "being supported, and refute it for laws that are declared not to satisfy it"
        )
    return "; ".join(said) + f". Supported if {axes.replace(' or ', ' and ')} varied, and no such exponent can be."


def _family(claim: Claim) -> str:
    return "Each law by itself: a hypothesis has no truth over all laws." if claim.hypothesis else "Every law counts."
