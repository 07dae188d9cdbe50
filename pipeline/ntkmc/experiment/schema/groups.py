"""Groups of a store and their variables, each declared once.

Every store has the groups `trials`, `estimates`, `claims` and `blocks`. Other groups belong to axes that a study may
ask for, in pairs of values per trial and estimates per cell:

- `finite_width` and `convergence`: networks of finite width, compared with their limit;
- `sketching` and `sketch_accuracy`: Gram matrices of feature maps, compared with their kernel;
- `training` and `prediction`: predictions of the kernel for training;
- `trained` and `dynamics`: networks trained by gradient descent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ntkmc.experiment.schema.variables import (
    BLOCK,
    CELL,
    CLAIM,
    DEEP,
    DEEP_DRAW,
    DRAW,
    EVENT,
    FAMILY,
    NAN,
    STATUS,
    VERDICT,
    Variable,
)
from ntkmc.experiment.study.measurements import AXES, axes_of
from ntkmc.theory.claims.trial_statistics import STATISTICS

WIDE: Final = (*DEEP, "width")
WIDE_DRAW: Final = (*WIDE, "trial")

_OF_NETWORK: Final = {
    "lambda_min": "smallest eigenvalue of the network's tangent kernel",
    "deviation": "operator norm of the network's tangent kernel less its limit",
    "entry_deviation": "largest absolute entry of the network's tangent kernel less its limit",
    "data_norm": "largest eigenvalue of X X'",
    "kernel_norm": "largest eigenvalue of the limiting kernel's Gram matrix",
}

_SUCCESS: Final = {
    "norm": "P(|network's kernel - limit| <= lambda_min / 4)",
    "eigenvalue": "P(lambda_min of the network's kernel >= 3/4 lambda_min)",
}

FINITE_WIDTH_VARIABLES: Final = (
    Variable("", "lambda_min", WIDE_DRAW, "f8", NAN, "1", _OF_NETWORK["lambda_min"]),
    *(
        Variable("", f"{name}_{end}", WIDE_DRAW, "f8", NAN, "1", f"proved {end} bound on the {sentence}")
        for name, sentence in _OF_NETWORK.items()
        for end in ("lower", "upper")
    ),
    Variable(
        "", "status", WIDE_DRAW, "i1", 0, "1", "how the trial ended", STATUS
    ),  # last: a trial counts as done by its status
)

CONVERGENCE_VARIABLES: Final = (
    Variable("", "trials_used", WIDE, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    Variable("", "lambda_min_median", WIDE, "f8", NAN, "1", f"median of the {_OF_NETWORK['lambda_min']}"),
    Variable("", "deviation_median", WIDE, "f8", NAN, "1", f"median of the {_OF_NETWORK['deviation']}"),
    *(
        Variable(
            "", f"deviation_median_{end}", WIDE, "f8", NAN, "1", f"its {end} confidence limit, for all widths at once"
        )
        for end in ("lower", "upper")
    ),
    *(
        variable
        for name, sentence in _SUCCESS.items()
        for variable in (
            Variable("", f"{name}_share", WIDE, "f8", NAN, "1", f"share of trials for {sentence}"),
            Variable(
                "",
                f"{name}_share_lower",
                WIDE,
                "f8",
                NAN,
                "1",
                f"lower end of the confidence sequence for {sentence}",
            ),
            Variable(
                "",
                f"{name}_share_upper",
                WIDE,
                "f8",
                NAN,
                "1",
                f"upper end of the confidence sequence for {sentence}",
            ),
            Variable(
                "",
                f"{name}_width",
                DEEP,
                "f8",
                NAN,
                "1",
                f"least tried width from which on the share for {sentence} is at least 1 - delta; NaN: none",
            ),
            Variable(
                "",
                f"{name}_width_lower",
                DEEP,
                "f8",
                NAN,
                "1",
                f"largest tried width at which {sentence} is proved to be below 1 - delta, for all tried widths at "
                "once; 0: none",
            ),
            Variable(
                "",
                f"{name}_width_upper",
                DEEP,
                "f8",
                NAN,
                "1",
                f"least tried width from which on {sentence} is proved to be at least 1 - delta, for all tried widths "
                "at once; inf: none",
            ),
        )
    ),
    Variable("", "printed_width", DEEP, "f8", NAN, "1", "n^6 / lambda_0^4, lambda_0 the median of lambda_min"),
    Variable("", "exponent", DEEP, "f8", NAN, "1", "exponent of the median deviation in the width"),
    Variable("", "exponent_lower", DEEP, "f8", NAN, "1", "its lower confidence limit"),
    Variable("", "exponent_upper", DEEP, "f8", NAN, "1", "its upper confidence limit"),
)


SKETCHED: Final = (*DEEP, "features")
SKETCHED_DRAW: Final = (*SKETCHED, "trial")

_OF_SKETCH: Final = {
    "lambda_min": "smallest eigenvalue of the feature map's Gram matrix",
    "deviation": "operator norm of the feature map's Gram matrix less the kernel's",
    "entry_deviation": "largest absolute entry of the feature map's Gram matrix less the kernel's",
    "kernel_norm": "largest eigenvalue of the kernel's Gram matrix",
}

_SKETCH_SUCCESS: Final = {
    "norm": "P(|feature map's Gram matrix - kernel's| <= lambda_min / 4)",
    "eigenvalue": "P(lambda_min of the feature map's Gram matrix >= 3/4 lambda_min)",
}


def _over(name: str, dims: tuple[str, ...], sentence: str) -> Variable:
    return Variable("", name, dims, "f8", NAN, "1", sentence)


SKETCHING_VARIABLES: Final = (
    _over("lambda_min", SKETCHED_DRAW, _OF_SKETCH["lambda_min"]),
    *(
        _over(f"{name}_{end}", SKETCHED_DRAW, f"proved {end} bound on the {sentence}")
        for name, sentence in _OF_SKETCH.items()
        for end in ("lower", "upper")
    ),
    Variable("", "status", SKETCHED_DRAW, "i1", 0, "1", "how the trial ended", STATUS),
)

SKETCH_ACCURACY_VARIABLES: Final = (
    Variable("", "trials_used", SKETCHED, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    _over("lambda_min_median", SKETCHED, f"median of the {_OF_SKETCH['lambda_min']}"),
    _over("deviation_median", SKETCHED, f"median of the {_OF_SKETCH['deviation']}"),
    *(
        _over(f"deviation_median_{end}", SKETCHED, f"its {end} confidence limit, for all numbers of features at once")
        for end in ("lower", "upper")
    ),
    _over("relative_median", SKETCHED, f"median of the {_OF_SKETCH['deviation']}, over the kernel's own"),
    *(
        _over(f"{name}_quantile", (*SKETCHED, "quantile"), f"quantiles of the {_OF_SKETCH[name]}")
        for name in ("deviation", "entry_deviation")
    ),
    *(
        variable
        for name, sentence in _SKETCH_SUCCESS.items()
        for variable in (
            _over(f"{name}_share", SKETCHED, f"share of trials for {sentence}"),
            *(
                _over(f"{name}_share_{end}", SKETCHED, f"{end} end of the confidence sequence for {sentence}")
                for end in ("lower", "upper")
            ),
            _over(
                f"{name}_features",
                DEEP,
                f"least tried number of features from which on the share for {sentence} is at least 1 - delta; NaN: "
                "none",
            ),
            _over(
                f"{name}_features_lower",
                DEEP,
                f"largest tried number of features at which {sentence} is proved to be below 1 - delta, for all tried "
                "numbers at once; 0: none",
            ),
            _over(
                f"{name}_features_upper",
                DEEP,
                f"least tried number of features from which on {sentence} is proved to be at least 1 - delta, for all "
                "tried numbers at once; inf: none",
            ),
        )
    ),
    _over("exponent", DEEP, "exponent of the median deviation in the number of features"),
    _over("exponent_lower", DEEP, "its lower confidence limit"),
    _over("exponent_upper", DEEP, "its upper confidence limit"),
)


TARGET: Final = (*DEEP, "target")
TARGET_DRAW: Final = (*TARGET, "trial")
NETWORK: Final = (*DEEP, "network")
NETWORK_DRAW: Final = (*NETWORK, "trial")


def _real(name: str, dims: tuple[str, ...], sentence: str) -> Variable:
    return Variable("", name, dims, "f8", NAN, "1", sentence)


def _ends(name: str, dims: tuple[str, ...], sentence: str) -> tuple[Variable, ...]:
    return tuple(_real(f"{name}_{end}", dims, f"{end} bound on {sentence}") for end in ("lower", "upper"))


def _estimate(name: str, dims: tuple[str, ...], sentence: str) -> tuple[Variable, ...]:
    limits = tuple(_real(f"{name}_{end}", dims, f"its {end} confidence limit") for end in ("lower", "upper"))
    return (_real(name, dims, sentence), *limits)


PREDICTED: Final = (
    _real("step_size", TARGET_DRAW, "eta"),
    _real("label_norm", TARGET_DRAW, "|y|"),
    *_ends("label_energy", TARGET_DRAW, "y'Ky, proved"),
    *_ends("label_form", TARGET_DRAW, "y'K^-1 y, proved; inf where K is not definite beyond rounding"),
    *_ends("lambda_max", TARGET_DRAW, "the largest eigenvalue of K, proved"),
    *_ends("steps", TARGET_DRAW, "the least k with |y - u(k)| <= |y| / (10 n), up to rounding; inf: none"),
    _real(
        "regression_loss",
        TARGET_DRAW,
        "mean over test rows of min(1, |f(x) - y|), f the kernel regression; inf where K or the law does not allow it",
    ),
    *_ends("residual", (*TARGET_DRAW, "step"), "|y - u(k)| under gradient descent with the kernel, up to rounding"),
    *_ends("flow", (*TARGET_DRAW, "step"), "|y - u(t)| under gradient flow at t = eta k, up to rounding"),
    Variable(
        "", "status", TARGET_DRAW, "i1", 0, "1", "how the trial ended", STATUS
    ),  # last: a trial counts as done by its status
)

OF_TARGETS: Final = (
    Variable("", "trials_used", TARGET, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    *_estimate("bound", TARGET, "median of (2 y'K^-1 y / n)^(1/2), which bounds the test loss where K is H-infinity"),
    *_estimate("steps", TARGET, "median of the least k with |y - u(k)| <= |y| / (10 n)"),
    *_estimate("steps_share", TARGET, "median of that k times eta lambda_min / log(10 n), at most 1 up to one step"),
    *_estimate("regression_loss", TARGET, "mean test loss of kernel regression, min(1, |f(x) - y|)"),
    _real("residual", (*TARGET, "step"), "median of |y - u(k)| / |y| under gradient descent with the kernel"),
    _real("flow", (*TARGET, "step"), "median of |y - u(t)| / |y| under gradient flow at t = eta k"),
)

TRAINED: Final = (
    _real("step_size", NETWORK_DRAW, "eta"),
    _real("start", NETWORK_DRAW, "|u(0)| / |y|, u the network's outputs"),
    _real("gap", NETWORK_DRAW, "largest | |y - u(k)| - what the kernel predicts from output 0 | / |y| over all steps"),
    _real("gap_started", NETWORK_DRAW, "the same with what the kernel predicts from the network's own start u(0)"),
    _real("contraction", NETWORK_DRAW, "largest |y - u(k+1)|^2 / |y - u(k)|^2 over all steps"),
    _real("drift", NETWORK_DRAW, "|H_T - H_0| / |H_0| in Frobenius norm, H_t the network's kernel along training"),
    _real("test_loss", NETWORK_DRAW, "mean over test rows of min(1, |f(x) - y|); inf where the law has no more rows"),
    _real("residual", (*NETWORK_DRAW, "step"), "|y - u(k)|; inf beyond the last step"),
    Variable("", "status", NETWORK_DRAW, "i1", 0, "1", "how the trial ended", STATUS),
)

_SLOPES: Final = {
    "gap": "gap to the prediction from output 0",
    "gap_started": "gap to the prediction from the network's own start",
    "drift": "drift of the kernel",
}

OF_NETWORKS: Final = (
    Variable("", "trials_used", NETWORK, "i8", 0, "trials", "length of the prefix that these estimates rest on"),
    *(each for name, words in _SLOPES.items() for each in _estimate(name, NETWORK, f"median {words}")),
    *_estimate("test_loss", NETWORK, "mean test loss of the trained network, min(1, |f(x) - y|)"),
    *_estimate(
        "contraction_share",
        NETWORK,
        "share of trials in which |y - u|^2 shrinks by 1 - eta lambda_min / 2 in every step",
    ),
    *_estimate(
        "contraction_width",
        NETWORK,
        "least tried width from which on that share is 1 - delta; of networks with the same labels and scale",
    ),
    _real("residual", (*NETWORK, "step"), "median of |y - u(k)| / |y|"),
    *(
        each
        for name, words in _SLOPES.items()
        for axis in ("width", "kappa")
        for each in _estimate(
            f"{name}_{axis}",
            NETWORK,
            f"exponent in {axis} of the median {words}, over the networks that are trained on the same labels",
        )
    ),
)


VERSION: Final = 3
"""Version of the layout of stores, in the root attribute `schema`."""

MIGRATED: Final = (2,)
"""Older versions that can be read, and that the next run upgrades. Version 2 has no group `blocks`."""

_VARIABLES: Final = (
    Variable("trials", "lambda_min", DEEP_DRAW, "f8", NAN, "1", "smallest eigenvalue of the Gram matrix"),
    Variable("trials", "lambda_min_lower", DEEP_DRAW, "f8", NAN, "1", "proved lower bound on lambda_min"),
    Variable("trials", "lambda_min_upper", DEEP_DRAW, "f8", NAN, "1", "proved upper bound on lambda_min"),
    *(
        Variable("trials", each.name, DEEP_DRAW if each.per_depth else DRAW, "f8", NAN, "1", each.sentence)
        for each in STATISTICS.values()
    ),
    Variable(
        "trials", "planned", CELL, "i8", 0, "1", "end of the range of trials that the study plans; 0: no such cell"
    ),
    # Last: a fold writes variables in this order, and a trial counts as done by its status.
    Variable("trials", "status", DEEP_DRAW, "i1", 0, "1", "how the trial ended", STATUS),
    Variable("estimates", "probability", EVENT, "f8", NAN, "1", "share of trials with lambda_min >= lambda_0"),
    Variable(
        "estimates",
        "probability_lower",
        EVENT,
        "f8",
        NAN,
        "1",
        "lower end of the confidence sequence for P(lambda_min >= lambda_0), valid at any time of looking",
    ),
    Variable(
        "estimates",
        "probability_upper",
        EVENT,
        "f8",
        NAN,
        "1",
        "upper end of the confidence sequence for P(lambda_min >= lambda_0), valid at any time of looking",
    ),
    Variable(
        "estimates",
        "probability_lower_fixed",
        EVENT,
        "f8",
        NAN,
        "1",
        "lower Clopper-Pearson limit, where the number of trials was fixed in advance and reached",
    ),
    Variable(
        "estimates",
        "probability_upper_fixed",
        EVENT,
        "f8",
        NAN,
        "1",
        "upper Clopper-Pearson limit, where the number of trials was fixed in advance and reached",
    ),
    Variable("estimates", "proved", EVENT, "i8", 0, "trials", "trials with lambda_min >= lambda_0 by proof"),
    Variable(
        "estimates", "undecided", EVENT, "i8", 0, "trials", "trials that failed or whose enclosure holds lambda_0"
    ),
    Variable(
        "estimates",
        "nondegenerate",
        EVENT,
        "i1",
        0,
        "1",
        "whether P(lambda_min >= lambda_0) >= 1 - delta, by the confidence sequence",
        VERDICT,
    ),
    Variable("estimates", "trials_used", DEEP, "i8", 0, "trials", "length of the prefix that estimates rest on"),
    Variable("estimates", "lambda_min_quantile", (*DEEP, "quantile"), "f8", NAN, "1", "quantiles of lambda_min"),
    Variable(
        "estimates",
        "lambda_0_certified",
        DEEP,
        "f8",
        NAN,
        "1",
        "largest lambda_0 with P(lambda_min >= lambda_0) >= 1 - delta at the study's confidence, from an order "
        "statistic; where the number of trials was fixed in advance and reached",
    ),
    Variable("claims", "verdict", CLAIM, "i1", 0, "1", "what the data say of a claim", VERDICT),
    Variable("claims", "evaluated", CLAIM, "i8", 0, "trials", "trials in which the claim was evaluated"),
    Variable(
        "claims",
        "violations",
        CLAIM,
        "i8",
        0,
        "trials",
        "trials beyond the claimed bound, by proof: of a deterministic claim, none may be",
    ),
    Variable("claims", "first_violation", CLAIM, "i8", -1, "1", "number of the first such trial; -1: none"),
    Variable("claims", "vacuous", CLAIM, "i8", 0, "trials", "trials in which the claimed bound says nothing"),
    Variable("claims", "bound", CLAIM, "f8", NAN, "1", "median over trials of the claimed bound"),
    Variable(
        "claims",
        "margin",
        CLAIM,
        "f8",
        NAN,
        "1",
        "smallest distance over trials from the bounded quantity to the bound, positive on the claimed side",
    ),
    Variable("claims", "tightness", CLAIM, "f8", NAN, "1", "median over trials of bound / bounded quantity"),
    Variable("claims", "claimed_lower", CLAIM, "f8", NAN, "1", "least probability of a violation that is claimed"),
    Variable("claims", "claimed_upper", CLAIM, "f8", NAN, "1", "largest probability of a violation that is claimed"),
    Variable("claims", "frequency", CLAIM, "f8", NAN, "1", "share of trials that violate the bound"),
    Variable(
        "claims", "frequency_lower", CLAIM, "f8", NAN, "1", "lower end of the confidence sequence for its probability"
    ),
    Variable(
        "claims", "frequency_upper", CLAIM, "f8", NAN, "1", "upper end of the confidence sequence for its probability"
    ),
    Variable(
        "claims", "log_e", CLAIM, "f8", NAN, "1", "log of the e-value against the claim, valid at any time of looking"
    ),
    Variable(
        "claims",
        "rejected",
        CLAIM,
        "i1",
        0,
        "1",
        "1 where the claim is rejected with the false discovery rate over its cells at 1 - confidence (e-BH)",
    ),
    Variable("claims", "cell_constant", CLAIM, "f8", NAN, "1", "the fitted constant in one cell"),
    Variable("claims", "cell_constant_lower", CLAIM, "f8", NAN, "1", "its lower confidence limit"),
    Variable("claims", "cell_constant_upper", CLAIM, "f8", NAN, "1", "its upper confidence limit"),
    Variable(
        "claims",
        "tail",
        CLAIM,
        "f8",
        NAN,
        "1",
        "exponent of a function's quantiles against those of a normal law, towards the end of the tail",
    ),
    Variable("claims", "tail_lower", CLAIM, "f8", NAN, "1", "its lower confidence limit"),
    Variable("claims", "tail_upper", CLAIM, "f8", NAN, "1", "its upper confidence limit"),
    Variable("claims", "ceiling", CLAIM, "f8", NAN, "1", "value that the constant is proved not to exceed; inf: none"),
    Variable(
        "claims",
        "proved",
        CLAIM,
        "i1",
        0,
        "1",
        "what is proved of a scaling claim for the law: 1 that it is true, -1 that it is false, 0 nothing",
    ),
    Variable("claims", "overall", ("claim",), "i1", 0, "1", "what all cells together say of a claim", VERDICT),
    Variable(
        "claims",
        "constant",
        ("claim",),
        "f8",
        NAN,
        "1",
        "smallest constant consistent with all cells (largest, for lower bounds)",
    ),
    Variable("claims", "constant_lower", ("claim",), "f8", NAN, "1", "its lower simultaneous confidence limit"),
    Variable("claims", "constant_upper", ("claim",), "f8", NAN, "1", "its upper simultaneous confidence limit"),
    Variable(
        "claims",
        "exponent",
        FAMILY,
        "f8",
        NAN,
        "1",
        "fitted exponent of the constant in n or d, over the cells of one distribution and depth",
    ),
    Variable("claims", "exponent_lower", FAMILY, "f8", NAN, "1", "its lower simultaneous confidence limit"),
    Variable("claims", "exponent_upper", FAMILY, "f8", NAN, "1", "its upper simultaneous confidence limit"),
    Variable("blocks", "id", BLOCK, "i8", 0, "1", "random number of the block, so that it is entered once"),
    Variable("blocks", "distribution", BLOCK, "str", "", "1", "law of a data row"),
    Variable("blocks", "d", BLOCK, "i8", 0, "1", "dimension of a data row"),
    Variable("blocks", "n", BLOCK, "i8", 0, "1", "number of data rows"),
    Variable(
        "blocks", "depths", BLOCK, "str", "", "1", "depths that it measured, and what beside the draws, as in 2,3;m=64"
    ),
    Variable("blocks", "first", BLOCK, "i8", 0, "1", "number of its first trial"),
    Variable("blocks", "seconds", BLOCK, "f8", NAN, "s", "what it took the worker"),
    Variable("blocks", "method", BLOCK, "str", "", "1", "how eigenvectors were found, and how many of them each way"),
    Variable("blocks", "worker", BLOCK, "str", "", "1", "host and process that computed it"),
    Variable("blocks", "job", BLOCK, "str", "", "1", "the queue's job, if there was one"),
    Variable("blocks", "environment", BLOCK, "str", "", "1", "key into the root attribute `environments`"),
    Variable("blocks", "finished", BLOCK, "i8", 0, "s", "when, in seconds since 1970 UTC"),
    # Last: a row of the table counts as written by its number of trials.
    Variable("blocks", "count", BLOCK, "i8", 0, "trials", "trials in it; 0: this row of the table is not used"),
)

VARIABLES: Final[dict[str, dict[str, Variable]]] = {
    group: {variable.name: variable for variable in _VARIABLES if variable.group == group}
    for group in ("trials", "estimates", "claims", "blocks")
}

BESIDE_VARIABLES: Final[dict[str, dict[str, Variable]]] = {
    group: {each.name: replace(each, group=group) for each in variables}
    for group, variables in (
        ("finite_width", FINITE_WIDTH_VARIABLES),
        ("convergence", CONVERGENCE_VARIABLES),
        ("training", PREDICTED),
        ("prediction", OF_TARGETS),
        ("trained", TRAINED),
        ("dynamics", OF_NETWORKS),
        ("sketching", SKETCHING_VARIABLES),
        ("sketch_accuracy", SKETCH_ACCURACY_VARIABLES),
    )
}
"""Groups that a store has once a study asks for their axis (`ntkmc.experiment.study.measurements.AXES`).

The last variable of a group with one value per trial is its status: a fold writes variables in order, and a trial
counts as done by its status."""

BESIDE_GROUPS: Final = {
    "finite_width": "one value per draw, depth and width: the tangent kernel of a random network beside its limit",
    "convergence": "how networks' kernels tend to their limit, per cell: shares, smallest widths, exponents",
    "training": "one value per draw, depth and target: what the kernel predicts of training on these labels",
    "prediction": "what the kernel predicts of training, per cell: steps, residuals, the bound on the test loss",
    "trained": "one value per draw, depth and network: gradient descent on an actual network beside the prediction",
    "dynamics": "how trained networks follow the prediction, per cell: gaps, drift of the kernel, exponents",
    "sketching": "one value per draw, depth and number of features: a feature map's Gram matrix beside the kernel",
    "sketch_accuracy": "how feature maps tend to their kernel, per cell: errors, shares, least features, exponents",
}

GROUPS: Final = {
    "trials": "one value per draw (and depth): lambda_min with its enclosure, and what claims need",
    "estimates": "probability of lambda_min >= lambda_0 per cell, with intervals",
    "claims": "verdicts on the theorems, per cell",
    "blocks": "who computed which trials, when, and how long it took",
}

PER_TRIAL: Final = ("trials", *AXES)
"""Groups with one value per trial."""

DERIVED_GROUPS: Final = ("estimates", "claims")
"""Groups computed from `trials`."""


def declared(group: str) -> dict[str, Variable]:
    """Return the variables of a group, by name.

    >>> list(declared("finite_width"))[0]
    'lambda_min'
    """
    return VARIABLES[group] if group in VARIABLES else BESIDE_VARIABLES[group]


def groups_of(dims: Iterable[str]) -> dict[str, str]:
    """Return the groups of a store and their descriptions, from the dimensions of its record.

    >>> [len(groups_of(dims)) for dims in ((), ("width",))]
    [4, 6]
    """
    beside = [group for axis in axes_of(dims) for group in (axis.kind, axis.derived)]
    return GROUPS | {group: BESIDE_GROUPS[group] for group in beside}


def derived_groups(dims: Iterable[str]) -> tuple[str, ...]:
    """Return the groups computed from trials, from the dimensions of the record of a store."""
    return (*DERIVED_GROUPS, *(axis.derived for axis in axes_of(dims)))


def trial_variables(statistics: Iterable[str]) -> dict[str, Variable]:
    """Return the variables of the `trials` group with one value per trial, if the given statistics are measured.

    >>> list(trial_variables(["coherence"]))
    ['lambda_min', 'lambda_min_lower', 'lambda_min_upper', 'coherence', 'status']
    """
    chosen = set(statistics)
    return {
        name: variable
        for name, variable in VARIABLES["trials"].items()
        if "trial" in variable.dims and (name not in STATISTICS or name in chosen)
    }


def group_variables(group: str, statistics: Iterable[str]) -> dict[str, Variable]:
    """Return the variables of a group in a store with the given statistics, which are variables of `trials`."""
    if group != "trials":
        return declared(group)
    chosen = set(statistics)
    return {name: variable for name, variable in declared(group).items() if name not in STATISTICS or name in chosen}


def dimensions(group: str) -> tuple[str, ...]:
    """Return the dimensions of a group that have coordinates, in order of appearance."""
    # `trial` and `block` are positions, without coordinates.
    names: dict[str, None] = {}
    for variable in declared(group).values():
        names |= dict.fromkeys(dim for dim in variable.dims if dim not in ("trial", "block"))
    return tuple(names)
