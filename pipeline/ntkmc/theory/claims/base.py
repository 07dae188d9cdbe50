"""Claims about lambda_min: the data types, their registry, and the thresholds that decide verdicts.

A `Claim` is one statement with a way to evaluate its bound. An `Instance` is a claim with its parameters fixed. The
other modules of the package register the claims; `ntkmc.experiment.analysis` tests them on samples.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

import numpy as np
from numpy.typing import NDArray

from ntkmc.numeric import Floats
from ntkmc.registry import Registry
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.domains import Domain
from ntkmc.theory.claims.trial_statistics import STATISTICS, MeasuredGroup

Kind = Literal["deterministic", "probability", "scaling", "event"]
Side = Literal["lower", "upper"]
Functional = Literal["quantile", "mean", "tail"]
Statistics = Mapping[str, Floats]
Parameters = Mapping[str, int | float | str]


@dataclass(frozen=True)
class Bound:
    """An enclosure per trial: the number lies between `lower` and `upper`, both proved."""

    lower: Floats
    upper: Floats

    @property
    def value(self) -> Floats:
        """Midpoint of each enclosure; NaN where both ends are infinite."""
        with np.errstate(invalid="ignore"):  # -inf ... inf: unknown, midpoint NaN
            return np.asarray(0.5 * (self.lower + self.upper))


# Thresholds that decide verdicts; `tested` of a claim prints them.
DRIFT: Final = 0.1
"""Largest exponent of drift that does not refute a claimed constant.

Up to it, drift cannot be distinguished from logarithmic corrections at finite n and d."""

LEVEL: Final = 0.8
"""Share below which a drift is taken to level off: exponent in the upper half of the range over that in the lower."""

HEAVY: Final = 1.15
"""Exponent of quantiles against normal quantiles above which a tail is heavier than sub-Gaussian.

An exponential tail has exponent 1.5 at the levels that thousands of trials reach."""

SAME: Final = 0.05
"""Margin above the claimed value of a constant within which an upper limit supports the claim."""

EXACT: Final = 0.1
"""Margin of a probability p that is claimed exactly, as a share of min(p, 1 - p): its interval must lie within it."""

Evaluate = Callable[[CellContext, Statistics, Parameters], Bound]
Quantity = Callable[[CellContext, Statistics], Bound]
Claimed = Callable[[CellContext, Parameters], tuple[float, float]]


def smallest_eigenvalue(context: CellContext, statistics: Statistics) -> Bound:
    """Return the enclosure of lambda_min, the quantity that most claims bound."""
    return Bound(statistics["lambda_min_lower"], statistics["lambda_min_upper"])


def at_most_delta(context: CellContext, parameters: Parameters) -> tuple[float, float]:
    """Return the claimed range of a bound that fails with probability at most delta."""
    return 0.0, float(parameters["delta"])


def no_ceiling(context: CellContext, parameters: Parameters) -> float:
    """Return infinity: no upper bound on the constant is proved."""
    return math.inf


def not_declared(context: CellContext) -> bool | None:
    """Return None: nothing declares whether the claim is proved for the cell's law."""
    return None


def nonnegative(context: CellContext) -> float:
    """Return 0, the lower bound on a ratio of non-negative numbers."""
    return 0.0


@dataclass(frozen=True, kw_only=True)
class Claim(ABC):
    """A statement about the draws of a study.

    Attributes
    ----------
    kind : {"deterministic", "probability", "scaling", "event"}
        Name of the class of claims, as stored and printed.
    id : str
        Stable name. A label adds the parameters in brackets, `det-khatri-rao-gershgorin[r=4]`. A published form that
        another claim corrects has the id `printed/<id of the correction>`.
    statement, latex : str
        The statement, in plain text and in LaTeX.
    source : str
        Paper and theorem, or the derivation in one line.
    domain : Domain
        Cells to which the claim refers.
    needs : tuple of str
        Per-trial statistics that the claim reads: variables of the store's group `trials`; those of `group`, with its
        prefix; or ends of lambda_min of the same draw at the next smaller depth (`shallower_lower`, `_upper`) and of
        its first rows at the next smaller n (`fewer_lower`, `_upper`). A parameter's name in braces is replaced by
        its value, as in `power{r}_lower`.
    parameters : tuple of mappings
        One mapping per instance to test; a single empty mapping where there is no parameter.
    constants : str
        `explicit`, or the constants that are not.
    hypothesis : bool
        Whether the claim is a property of the law of the rows, so that each law has a verdict of its own.
    group : MeasuredGroup or None
        Of a claim about an additional measurement, such as finite networks: its group of the store. The claim is
        tested for every value along the axis of the group (each width m), which becomes a parameter. It reads
        statistics of that group, with a prefix (`network_`), and its `status` is that of the group.
    """

    kind: ClassVar[Kind]
    id: str
    statement: str
    latex: str
    source: str
    domain: Domain
    needs: tuple[str, ...] = ()
    parameters: tuple[Parameters, ...] = ({},)
    constants: str = "explicit"
    hypothesis: bool = False
    group: MeasuredGroup | None = None

    @property
    def hypotheses(self) -> str:
        """The domain in plain text."""
        return self.domain.hypotheses

    @property
    def kernels(self) -> tuple[str, ...]:
        """Kernels to which the claim refers."""
        return self.domain.kernels

    @property
    def tested(self) -> str:
        """Description of the test: the measured quantity, and the criteria for the verdict."""
        return self._tested()

    @abstractmethod
    def _tested(self) -> str: ...

    @property
    def corrected_by(self) -> str | None:
        """Id of the claim that corrects this published form; None for all other claims."""
        prefix, _, rest = self.id.partition("/")
        return rest if prefix == "printed" else None


@dataclass(frozen=True, kw_only=True)
class EventClaim(Claim):
    """The event of a study, whose probability is estimated with a confidence interval."""

    kind: ClassVar[Kind] = "event"

    def _tested(self) -> str:
        return "by a confidence sequence in each cell, valid while one looks"


@dataclass(frozen=True, kw_only=True)
class TrialClaim(Claim):
    """A claim that is evaluated in every trial of the cells to which it applies.

    Attributes
    ----------
    side : {"lower", "upper"}
        Whether the bound is a lower or an upper bound on the quantity.
    evaluate : callable
        (context, statistics, parameters) -> `Bound`.
    where : callable or None
        (context, parameters) -> whether an instance applies to a cell of the domain; all do if None.
    """

    side: Side
    evaluate: Evaluate
    where: Callable[[CellContext, Parameters], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class InequalityClaim(TrialClaim):
    """A bound on a quantity of each trial; `evaluate` returns the bound.

    Attributes
    ----------
    quantity : callable
        (context, statistics) -> `Bound` of the quantity that is bounded; lambda_min by default.
    trivial : float or None
        A lower bound at or below this value, or an upper bound at or above it, is vacuous; 0 and infinity if None.
    """

    quantity: Quantity = smallest_eigenvalue
    trivial: float | None = None

    def vacuous(self, bound: Bound) -> NDArray[np.bool_]:
        """Return a mask of the trials in which the bound is vacuous, (trials,)."""
        # The far end of the enclosure: a bound is vacuous only if every number in its enclosure is.
        if self.side == "lower":
            return np.asarray(bound.upper <= (0.0 if self.trivial is None else self.trivial))
        return np.asarray(bound.lower >= (math.inf if self.trivial is None else self.trivial))


@dataclass(frozen=True, kw_only=True)
class DeterministicClaim(InequalityClaim):
    """A bound that holds in every trial."""

    kind: ClassVar[Kind] = "deterministic"

    def _tested(self) -> str:
        return "in every trial; violated only if the two enclosures are disjoint on the wrong side"


@dataclass(frozen=True, kw_only=True)
class ProbabilityClaim(InequalityClaim):
    """A bound that a trial violates with a probability in a claimed range.

    Attributes
    ----------
    claimed : callable
        (context, parameters) -> claimed range of the probability of a violation; by default from 0 to the parameter
        delta, whose only value is 0.1 by default.
    """

    kind: ClassVar[Kind] = "probability"
    parameters: tuple[Parameters, ...] = ({"delta": 0.1},)
    claimed: Claimed = at_most_delta

    def _tested(self) -> str:
        return (
            "the frequency of violations against the claimed probability, by an e-process, valid while one looks: "
            "refuted where it reaches 1 / alpha; cells together by the average e-value, each of them by e-BH. "
            "Supported where the confidence sequence lies in the claimed range; an exact probability p is given a "
            f"margin of {EXACT:g} times the smaller of p and 1 - p. Trials that failed count against both"
        )


@dataclass(frozen=True, kw_only=True)
class ScalingClaim(TrialClaim):
    """A claim about the order of a quantity; `evaluate` returns the ratio of the quantity to the claimed order.

    A functional of the ratio's law, the constant, lies between bounds in every cell.

    Attributes
    ----------
    functional : {"quantile", "mean", "tail"}
        Functional of the ratio's law that is the constant. `quantile`: the quantile of level 1 - delta (side upper)
        or delta (lower). `mean`: the mean of a ratio that is at least `least`. `tail`: the sub-Gaussian scale, which
        is the ratio of quantiles to those of a normal law; `evaluate` returns one row per function, and the largest
        scale counts.
    tails : callable or None
        (context, parameters) -> for each row of `evaluate`, whether its tail is compared with a normal tail. A
        heavier tail keeps a claim from being supported, and refutes it where `proved` is False.
    equal : float or None
        Claimed value of the constant, which cannot be smaller; with `most`, the largest claimed value.
    ceiling : callable
        (context, parameters) -> proved upper bound on the constant; infinity if there is none. Limits below it
        support the claim, and no drift below it refutes the claim.
    least : callable
        Of a mean: (context) -> lower bound on the ratio of every draw.
    most : callable or None
        Of a mean: (context) -> upper bound on the ratio of every draw. With it, the upper limit is by betting, too.
    proved : callable
        (context) -> whether the claim is proved for the cell's law. True: no drift within a finite range refutes it.
        False (disproved): any drift does. None (open): a drift refutes it only if it does not level off.
    along : tuple of str
        Axes in which the constant must not drift, each with the others fixed. Support requires data on all of them.
        `n` only for claims about every n at fixed d.
    """

    kind: ClassVar[Kind] = "scaling"
    functional: Functional = "quantile"
    tails: Callable[[CellContext, Parameters], tuple[bool, ...]] | None = None
    equal: float | None = None
    ceiling: Callable[[CellContext, Parameters], float] = no_ceiling
    least: Callable[[CellContext], float] = nonnegative
    most: Callable[[CellContext], float] | None = None
    proved: Callable[[CellContext], bool | None] = not_declared
    along: tuple[str, ...] = ("d",)

    # The criteria are those of `ntkmc.experiment.analysis`: `verdicts` for one cell, `overall` for the drift.
    def _tested(self) -> str:
        if self.equal is not None and self.most is not None:
            sentences = (
                "the mean in each cell, with limits by betting on values whose range is proved, valid while one looks "
                f"and for all cells at once. Refuted where its lower limit is above {self.equal:g}; supported where "
                f"its upper limit is at most {self.equal:g}."
            )
        elif self.equal is not None:
            sentences = (
                f"{self._measured()}; it cannot be below {self.equal:g}. Refuted where its lower limit is above "
                f"{self.equal:g}; supported where its upper limit, which is asymptotic, is at most "
                f"{self.equal + SAME:g}."
            )
        else:
            sentences = f"{self._measured()}. {self._drift()}"
        by_law = "Each law by itself: a hypothesis has no truth over all laws."
        return f"{sentences} {by_law if self.hypothesis else 'Every law counts.'}"

    def _measured(self) -> str:
        match self.functional:
            case "quantile":
                level = "(1 - delta)" if self.side == "upper" else "delta"
                constant = f"the {level}-quantile of the ratio, by order statistics, valid while one looks"
            case "mean":
                unknown = "asymptotic, and unknown where one draw dominates"
                constant = (
                    "the mean of the ratio: its lower limit by betting, for any tail and valid while one looks; its "
                    f"upper limit {unknown if self.ceiling is no_ceiling else 'is the proved one'}"
                )
            case "tail":
                constant = (
                    "the largest ratio of quantiles of |f - median| to those of a normal law, down to level 20 / T, "
                    "once the number of trials that was fixed in advance is reached"
                )
        return f"the constant in each cell is {constant}; limits hold for all cells at once"

    def _drift(self) -> str:
        # A mean with a ceiling, such as E|x| <= sqrt(d), is tested for decay below it.
        if self.ceiling is not no_ceiling and self.functional == "quantile":
            return "A ceiling is proved: supported where all limits are below it, refuted where one is above."
        trend = "decay" if self.side == "lower" or self.functional == "mean" else "growth"
        axes = " or ".join(self.along)
        sentences = [
            f"Refuted by a {trend} with an exponent above {DRIFT:g} in {axes}, by proof of its limits, in the upper "
            f"half of the range too and there with at least {LEVEL:g} of the lower half's; a finite range shows no "
            "limit"
        ]
        if self.proved is not not_declared:
            sentences.append(
                "where the hypothesis is declared of the law no drift refutes, where it is declared not to hold any "
                "does"
            )
        if self.tails is not None:
            sentences.append(
                f"a coordinate's quantiles that grow like those of a normal law to a power above {HEAVY:g} keep it "
                "from being supported, and refute it for laws that are declared not to satisfy it"
            )
        varied = axes.replace(" or ", " and ")
        return "; ".join(sentences) + f". Supported if {varied} varied, and no such exponent can be."


@dataclass(frozen=True)
class Instance:
    """A claim with its parameters fixed."""

    claim: TrialClaim
    parameters: Parameters

    @property
    def label(self) -> str:
        """Label of the instance, as stored in the coordinate `claim`."""
        return label(self.claim.id, self.parameters)

    @property
    def needs(self) -> tuple[str, ...]:
        """Names of the statistics that are read, with the parameters filled in."""
        return tuple(name.format(**self.parameters) for name in self.claim.needs)

    @property
    def measurement(self) -> tuple[str, int | str] | None:
        """Name of the additional group and value along its axis; None for a claim about the draws alone."""
        group = self.claim.group
        if group is None:
            return None
        value = self.parameters[group.symbol]
        return group.name, value if isinstance(value, str) else int(value)

    def applies(self, context: CellContext) -> bool:
        """Return whether the claim applies to a cell."""
        where = self.claim.where
        return self.claim.domain.includes(context) and (where is None or where(context, self.parameters))

    def bound(self, context: CellContext, statistics: Statistics) -> Bound:
        """Return the claimed bound in each trial, or the ratio of a scaling claim."""
        return self.claim.evaluate(context, statistics, self.parameters)


CLAIMS: Final[Registry[Claim]] = Registry("claim")


def register(*claims: Claim) -> None:
    """Add claims to the registry under their ids; `InputError` if an id is registered already."""
    for claim in claims:
        CLAIMS.add(claim.id, claim)


def label(claim_id: str, parameters: Mapping[str, object]) -> str:
    """Return the label of a claim: its id with the parameters in brackets, sorted by name.

    >>> label("det-khatri-rao-gershgorin", {"r": 4})
    'det-khatri-rao-gershgorin[r=4]'
    """
    # Sorted by name: labels are stored, and do not depend on the order in which parameters are written.
    inside = ",".join(f"{name}={value}" for name, value in sorted(parameters.items()))
    return f"{claim_id}[{inside}]" if inside else claim_id


def claims() -> list[Claim]:
    """Return all registered claims, in the order of registration.

    >>> "det-gershgorin-rows" in [claim.id for claim in claims()]
    True
    """
    return list(CLAIMS.values())


def is_costly(claim: Claim) -> bool:
    """Return whether testing a claim requires eigenvalue problems in addition to lambda_min."""
    needs = {name.format(**parameters) for parameters in claim.parameters for name in claim.needs}
    # Statistics of additional groups are not in STATISTICS: a study requests and pays for these groups itself.
    return any(STATISTICS[name].eigenvalues > 0.0 for name in needs if name in STATISTICS)


def select(chosen: tuple[str, ...] = ("all",), kernel: str | None = None) -> list[Claim]:
    """Return the claims that a study selects, in the order of the registry.

    Parameters
    ----------
    chosen : tuple of str
        Ids; `all` selects every claim that is not costly (`is_costly`), `everything` selects all.
    kernel : str, optional
        If given, omit claims about other kernels.

    Raises
    ------
    InputError
        For an unknown id.

    Examples
    --------
    >>> len(select(("all",))) < len(select(("everything",))) == len(claims())
    True
    """
    # The registry raises the error for an unknown id, with the nearest ids.
    selected = {CLAIMS[name].id for name in chosen if name not in ("all", "everything")}
    everything, free = "everything" in chosen, "all" in chosen
    return [
        claim
        for claim in CLAIMS.values()
        if (everything or claim.id in selected or (free and not is_costly(claim)))
        and (kernel is None or kernel in claim.kernels)
    ]


def instances(
    chosen: tuple[str, ...] = ("everything",),
    kernel: str | None = None,
    values: Mapping[str, Iterable[int | str]] | None = None,
) -> list[Instance]:
    """Return the instances to test: one per parameter set and per value of an additional axis, without the event.

    Parameters
    ----------
    chosen, kernel
        As for `select`.
    values : mapping of str to iterable of int or str, optional
        Measured values along the axes of additional groups, such as the widths of networks, by the name of the group.
        Claims about a group that is not a key here are omitted.
    """
    return [
        Instance(claim, parameters)
        for claim in select(chosen, kernel)
        if isinstance(claim, TrialClaim)
        for parameters in _parameters(claim, values or {})
    ]


def find_instance(labelled: str) -> Instance | None:
    """Return the instance with a label, for any value of an additional axis such as the width; None if there is none.

    >>> find_instance("width-rank[m=77]").measurement
    ('finite_width', 77)
    """
    claim_id = labelled.partition("[")[0]
    claim = next((claim for claim in CLAIMS.values() if claim.id == claim_id), None)
    if not isinstance(claim, TrialClaim):
        return None
    values: dict[str, tuple[int | str, ...]] = {}
    if claim.group:
        group = claim.group
        # The value may be any width, so it is read from the label; the other parameters are matched below.
        match = re.search(rf"[\[,]{group.symbol}=({'[^,]+?' if group.named else '[0-9]+'})[,\]]", labelled)
        if match:
            values[group.name] = (match.group(1) if group.named else int(match.group(1)),)
    candidates = (Instance(claim, parameters) for parameters in _parameters(claim, values))
    return next((instance for instance in candidates if instance.label == labelled), None)


def _parameters(claim: Claim, values: Mapping[str, Iterable[int | str]]) -> list[Parameters]:
    group = claim.group
    if group is None:
        return list(claim.parameters)
    along = values.get(group.name, ())
    return [{**parameters, group.symbol: value} for value in along for parameters in claim.parameters]
