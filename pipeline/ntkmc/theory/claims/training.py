"""Claims about training: the decay of the residual, and the form y'K^-1 y, for each target of a study."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from ntkmc.numeric import Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import (
    Bound,
    Claim,
    DeterministicClaim,
    Evaluate,
    Parameters,
    Quantity,
    ScalingClaim,
    Statistics,
)
from ntkmc.theory.claims.bounds import around, enclosed, ends, read_quantity, scaled, zero
from ntkmc.theory.claims.domains import ANY, Domain
from ntkmc.theory.claims.trial_statistics import TRAINING
from ntkmc.theory.kernels.series import series_coefficients
from ntkmc.theory.targets import CHECKPOINTS, SHARE, Target, split_label

_PREFIX: Final = TRAINING.prefix
_FORM: Final = f"{_PREFIX}label_form"
_ENERGY: Final = f"{_PREFIX}label_energy"
_NORM: Final = f"{_PREFIX}label_norm"
_STEP_SIZE: Final = f"{_PREFIX}step_size"
_LARGEST: Final = f"{_PREFIX}lambda_max"
_RESIDUAL: Final = f"{_PREFIX}residual"
_FLOW: Final = f"{_PREFIX}flow"
"""Statistics of the group: y'K^-1 y, y'Ky, |y|, eta, lambda_max, and the curves |y - u| of descent and flow."""

_STEPS: Final = np.array(CHECKPOINTS, dtype=np.float64)

_CURVE: Final = 1e-8
"""Allowance for rounding in a recorded residual, in units of |y|: a hundred times the largest observed error."""


def _target(parameters: Parameters) -> Target:
    return split_label(str(parameters["target"]))[0]


def _coefficient(context: CellContext, target: Target) -> float:
    """Return b_p, the coefficient of the target's power p in the series of the kernel.

    K - b_p M_p is positive semi-definite for the Gram matrix M_p of powers of degree p.
    """
    return float(series_coefficients(context.kernel, context.depth, target.power + 1)[target.power])


def _aligned(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    target = _target(parameters)
    value = target.alpha(context.d) ** 2 / _coefficient(context, target)
    full = np.full_like(statistics[_NORM], value)
    # Labels and |beta| are rounded; the coefficient has a relative error of 1e-12.
    return around(full, 1e-9 * full)


def _has_power(context: CellContext, parameters: Parameters) -> bool:
    target = _target(parameters)
    # The series is in the cosine. For rows of any norm only its linear term is an inner product of rows.
    powers = target.power == 1 or (target.power > 1 and context.unit_rows)
    return powers and _coefficient(context, target) > 0.0


def _below(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return |y|^4 / y'Ky."""
    square = statistics[_NORM] ** 2
    energy = enclosed(statistics, _ENERGY)
    return scaled(Bound(_ratio(square**2, energy.upper), _ratio(square**2, energy.lower)), 1.0, 1e-12)


def _above(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return |y|^2 / lambda_min."""
    square = statistics[_NORM] ** 2
    least = enclosed(statistics, "lambda_min")
    return scaled(Bound(_ratio(square, least.upper), _ratio(square, least.lower)), 1.0, 1e-12)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Return above / below: infinity where the denominator is not proved positive, but 0 where all labels are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above == 0.0, 0.0, above / np.maximum(below, 0.0))


def _waiting(context: CellContext, statistics: Statistics) -> Bound:
    """Return (k - 1) eta lambda_min for the least k with |y - u(k)| <= |y| delta / n."""
    # One step before, the residual is larger: k - 1 is at most the claimed number of steps, k that number rounded up.
    least, eta = enclosed(statistics, "lambda_min"), statistics[_STEP_SIZE]
    steps = enclosed(statistics, f"{_PREFIX}steps")
    # A residual that is never small enough has infinitely many steps; times an eigenvalue 0 that is unknown.
    with np.errstate(invalid="ignore"):
        low = np.maximum(steps.lower - 1.0, 0.0) * eta * least.lower
        high = np.maximum(steps.upper - 1.0, 0.0) * eta * least.upper
    return Bound(np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), np.inf, high))


def _logarithm(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return log(n / delta) for trials with eta lambda_max <= 1, and infinity for the others."""
    value = math.log(context.n / SHARE)
    # The rate is known up to the tolerance of `_steady`.
    steady = _steady(statistics)
    return Bound(np.where(steady, value * (1.0 - 1e-6), np.inf), np.where(steady, value * (1.0 + 1e-6), np.inf))


def _steady(statistics: Statistics) -> Floats:
    """Return a mask of the trials with eta <= 1 / lambda_max."""
    # Against the lower end, which is close to the value that gives 1 / lambda_max. The upper end may be the Frobenius
    # norm, and far larger.
    largest = statistics[f"{_LARGEST}_lower"]
    return np.asarray(statistics[_STEP_SIZE] * largest <= 1.0 + 1e-6)


def _relative(statistics: Statistics, curve: str) -> Bound:
    """Return a curve divided by |y|, of shape (T, steps)."""
    # If all labels are 0, so is the curve: 0 / 1e-300.
    unit = np.maximum(statistics[_NORM], 1e-300)[:, None]
    recorded = enclosed(statistics, curve)
    return Bound(recorded.lower / unit, recorded.upper / unit)


def _decay(curve: str, rate: Floats, eta: Floats) -> Floats:
    """Return (1 - eta rate)^k of gradient descent, exp(-rate t) of gradient flow at t = eta k, (T, steps)."""
    if curve == _FLOW:
        return np.exp(-(rate * eta)[:, None] * _STEPS)
    # For eta <= 1 / lambda_max, 1 - eta rate is negative only by the width of the enclosure of lambda_max.
    return np.maximum(1.0 - rate * eta, 0.0)[:, None] ** _STEPS


def _excess(curve: str, eigenvalue: str, extreme: Callable[..., Floats]) -> Quantity:
    """Return the function that measures the extreme excess of |y - u| / |y| over the decay of an eigenvalue.

    The extreme, `numpy.min` or `numpy.max`, is over the recorded steps.
    """

    def quantity(context: CellContext, statistics: Statistics) -> Bound:
        eta, rate = statistics[_STEP_SIZE], enclosed(statistics, eigenvalue)
        relative = _relative(statistics, curve)
        low = relative.lower - _decay(curve, rate.lower, eta)
        high = relative.upper - _decay(curve, rate.upper, eta)
        return Bound(extreme(low, axis=1) - _CURVE, extreme(high, axis=1) + _CURVE)

    return quantity


def _zero_if_steady(otherwise: float) -> Evaluate:
    """Return the function that evaluates the bound 0 for steps of at most 1 / lambda_max, and `otherwise` beyond."""

    def evaluate(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
        zeros = np.where(_steady(statistics), 0.0, otherwise)
        return Bound(zeros, zeros)

    return evaluate


def _main_term(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return (2 y'K^-1 y / n)^(1/2) over (alpha^2 / n)^(1/2), alpha^2 = d^p."""
    form, target = enclosed(statistics, _FORM), _target(parameters)
    unit = float(context.d) ** max(target.power, 1)
    return Bound(np.sqrt(2.0 * form.lower / unit), np.sqrt(2.0 * form.upper / unit))


def _main_ceiling(context: CellContext, parameters: Parameters) -> float:
    target = _target(parameters)
    if not (target.power and _has_power(context, parameters)):
        return math.inf
    return math.sqrt(2.0 * target.alpha(context.d) ** 2 / context.d**target.power / _coefficient(context, target))


_TARGETS: Final = ANY.restricted("targets in the study")
_SMALL_STEPS: Final = _TARGETS.restricted("eta <= 1 / lambda_max")

TRAINING_CLAIMS: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="det-label-form",
        statement="y'K^-1 y is at most alpha^2 |beta|^(2p) / b_p for labels y = alpha (beta'x)^p, b_p the "
        "coefficient of the power p in the kernel's series: for H-infinity 4 alpha^2 |beta|^2 if p = 1.",
        latex=r"y_i = \alpha(\beta^\top x_i)^p \;\Rightarrow\; y^\top K^{-1} y \le \alpha^2\|\beta\|^{2p}/b_p",
        source="K - b_p X^(*p) X^(*p)' is positive semi-definite; implies Arora et al. 2019, Thm 6.1",
        domain=Domain("targets linear (any rows) and quadratic (unit rows)"),
        side="upper",
        where=_has_power,
        needs=(*ends(_FORM), _NORM),
        evaluate=_aligned,
        quantity=read_quantity(_FORM),
        group=TRAINING,
    ),
    DeterministicClaim(
        id="det-target-sandwich-lower",
        statement="y'K^-1 y is at least |y|^4 / y'Ky, for the labels of a target.",
        latex=r"y^\top K^{-1} y \ge \|y\|^4 / (y^\top K y)",
        source="Cauchy-Schwarz",
        domain=_TARGETS,
        side="lower",
        needs=(*ends(_FORM, _ENERGY), _NORM),
        evaluate=_below,
        quantity=read_quantity(_FORM),
        group=TRAINING,
    ),
    DeterministicClaim(
        id="det-target-sandwich-upper",
        statement="y'K^-1 y is at most |y|^2 / lambda_min, for the labels of a target.",
        latex=r"y^\top K^{-1} y \le \|y\|^2 / \lambda_{\min}(K)",
        source="spectral theorem; corrects erratum E2 of the slides",
        domain=_TARGETS,
        side="upper",
        needs=(*ends(_FORM, "lambda_min"), _NORM),
        evaluate=_above,
        quantity=read_quantity(_FORM),
        group=TRAINING,
    ),
    DeterministicClaim(
        id="claim-iterations",
        statement="Gradient descent with the kernel has residual at most |y| delta / n after log(n / delta) / (eta "
        "lambda_min) steps, rounded up; delta = 0.1.",
        latex=r"k \ge \tfrac{1}{\eta\lambda_{\min}}\log\tfrac n\delta \;\Rightarrow\; \|y - u(k)\| \le "
        r"\tfrac\delta n\|y\|",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025; (1 - eta lambda)^k <= exp(-eta lambda k)",
        domain=_SMALL_STEPS,
        side="upper",
        needs=(*ends(f"{_PREFIX}steps", _LARGEST, "lambda_min"), _STEP_SIZE, _NORM),
        evaluate=_logarithm,
        quantity=_waiting,
        group=TRAINING,
    ),
    DeterministicClaim(
        id="claim-residual-slowest",
        statement="|y - u(k)| is at most (1 - eta lambda_min)^k |y|; tried at k = 0 and powers of two, on their "
        "difference over |y|.",
        latex=r"\|y - u(k)\| \le (1-\eta\lambda_{\min})^k\,\|y\|",
        source="Arora et al. 2019, Thm 4.1, with the kernel itself; spectral theorem",
        domain=_SMALL_STEPS,
        side="upper",
        needs=(*ends(_RESIDUAL, _LARGEST, "lambda_min"), _STEP_SIZE, _NORM),
        evaluate=_zero_if_steady(math.inf),
        quantity=_excess(_RESIDUAL, "lambda_min", np.max),
        group=TRAINING,
    ),
    DeterministicClaim(
        id="claim-residual-fastest",
        statement="|y - u(k)| is at least (1 - eta lambda_max)^k |y|; tried at k = 0 and powers of two, on their "
        "difference over |y|.",
        latex=r"\|y - u(k)\| \ge (1-\eta\lambda_{\max})^k\,\|y\|",
        source="spectral theorem",
        domain=_SMALL_STEPS,
        side="lower",
        trivial=-math.inf,
        needs=(*ends(_RESIDUAL, _LARGEST), _STEP_SIZE, _NORM),
        evaluate=_zero_if_steady(-math.inf),
        quantity=_excess(_RESIDUAL, _LARGEST, np.min),
        group=TRAINING,
    ),
    DeterministicClaim(
        id="claim-flow-slowest",
        statement="|y - u(t)| is at most exp(-lambda_min t) |y| under gradient flow; tried at t = eta k, k = 0 and "
        "powers of two, on their difference over |y|.",
        latex=r"\|y - u(t)\| \le e^{-\lambda_{\min}t}\,\|y\|",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025: the linear rate of gradient flow, with the kernel itself",
        domain=_TARGETS,
        side="upper",
        needs=(*ends(_FLOW, "lambda_min"), _STEP_SIZE, _NORM),
        evaluate=zero(_NORM),
        quantity=_excess(_FLOW, "lambda_min", np.max),
        group=TRAINING,
    ),
    ScalingClaim(
        id="claim-generalization",
        statement="The main term (2 y'H^-1 y / n)^(1/2) of the bound on the test loss is at most C (d^p / n)^(1/2), "
        "p the degree of the target (1 for a single index and for signs), with probability at least 1 - delta; for "
        "random signs it is not.",
        latex=r"\sqrt{2\,y^\top (H^\infty)^{-1}y/n} \le C\sqrt{d^p/n}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025, eq. (9), after Arora et al. 2019, Thm 5.1 and 6.1",
        domain=Domain("kernel h-infinity, targets in the study", ("h-infinity",)),
        side="upper",
        needs=ends(_FORM),
        evaluate=_main_term,
        # The median: the upper tail of y'K^-1 y is that of 1 / lambda_min.
        parameters=({"delta": 0.5},),
        constants="C",
        ceiling=_main_ceiling,
        along=("n",),
        group=TRAINING,
    ),
)
