"""Claims about training: the decay of the residual, and the form y'K^-1 y, for each target of a study."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ntkmc.numeric import Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, DeterministicClaim, Parameters, ScalingClaim, Statistics, register
from ntkmc.theory.claims.bounds import around, enclosed, scaled
from ntkmc.theory.claims.trial_statistics import TRAINING
from ntkmc.theory.kernels.series import series_coefficients
from ntkmc.theory.targets import CHECKPOINTS, SHARE, Target, split_label

_PREFIX: Final = TRAINING.prefix

_STEPS: Final = np.array(CHECKPOINTS, dtype=np.float64)

_CURVE: Final = 1e-8
"""Allowance for rounding in a recorded residual, in units of |y|: a hundred times the largest observed error."""


def _target(parameters: Parameters) -> Target:
    return split_label(str(parameters["target"]))[0]


def _of(name: str) -> tuple[str, str]:
    return f"{_PREFIX}{name}_lower", f"{_PREFIX}{name}_upper"


def _label_form(context: CellContext, statistics: Statistics) -> Bound:
    """Return the enclosure of y'K^-1 y."""
    return enclosed(statistics, f"{_PREFIX}label_form")


def _coefficient(context: CellContext, target: Target) -> float:
    """Of the power p in the kernel's series: K - b_p M_p is positive semi-definite, M_p the Gram matrix of powers."""
    return float(series_coefficients(context.kernel, context.depth, target.power + 1)[target.power])


def _aligned(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    target = _target(parameters)
    value = target.alpha(context.d) ** 2 / _coefficient(context, target)
    full = np.full_like(statistics[f"{_PREFIX}label_norm"], value)
    return around(full, 1e-9 * full)  # labels are rounded, and so is |beta|; the coefficient is good to 1e-12


def _has_power(context: CellContext, parameters: Parameters) -> bool:
    target = _target(parameters)
    powers = target.power == 1 or (target.power > 1 and context.unit_rows)
    return powers and _coefficient(context, target) > 0.0


def _below(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return |y|^4 / y'Ky."""
    square = statistics[f"{_PREFIX}label_norm"] ** 2
    energy = enclosed(statistics, f"{_PREFIX}label_energy")
    return scaled(Bound(_ratio(square**2, energy.upper), _ratio(square**2, energy.lower)), 1.0, 1e-12)


def _above(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return |y|^2 / lambda_min."""
    square = statistics[f"{_PREFIX}label_norm"] ** 2
    least = enclosed(statistics, "lambda_min")
    return scaled(Bound(_ratio(square, least.upper), _ratio(square, least.lower)), 1.0, 1e-12)


def _ratio(above: Floats, below: Floats) -> Floats:
    """Infinite where nothing proves that the denominator is positive, but 0 where all labels are 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(above == 0.0, 0.0, above / np.maximum(below, 0.0))


def _waiting(context: CellContext, statistics: Statistics) -> Bound:
    """Return (k - 1) eta lambda_min for the least k with |y - u(k)| <= epsilon.

    One step before, the residual is larger.
    """
    least, eta = enclosed(statistics, "lambda_min"), statistics[f"{_PREFIX}step_size"]
    steps = enclosed(statistics, f"{_PREFIX}steps")
    with np.errstate(invalid="ignore"):  # infinity times 0: unknown
        low = np.maximum(steps.lower - 1.0, 0.0) * eta * least.lower
        high = np.maximum(steps.upper - 1.0, 0.0) * eta * least.upper
    return Bound(np.where(np.isnan(low), 0.0, low), np.where(np.isnan(high), np.inf, high))


def _logarithm(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return log(n / delta), where no component overshoots: eta lambda_max <= 1; infinite elsewhere."""
    value = math.log(context.n / SHARE)
    steady = _steady(statistics)
    return Bound(np.where(steady, value * (1.0 - 1e-6), np.inf), np.where(steady, value * (1.0 + 1e-6), np.inf))


def _steady(statistics: Statistics) -> Floats:
    """Whether eta <= 1 / lambda_max; of 1 / lambda_max itself the lower end is what it was made of, to rounding."""
    largest = statistics[f"{_PREFIX}lambda_max_lower"]
    return np.asarray(statistics[f"{_PREFIX}step_size"] * largest <= 1.0 + 1e-6)


def _relative(statistics: Statistics, name: str) -> Bound:
    """Return a curve in units of |y|, (T, steps)."""
    unit = np.maximum(statistics[f"{_PREFIX}label_norm"], 1e-300)[:, None]
    curve = enclosed(statistics, f"{_PREFIX}{name}")
    return Bound(curve.lower / unit, curve.upper / unit)


def _decay(name: str, rate: Floats, eta: Floats) -> Floats:
    """Return (1 - eta rate)^k of gradient descent, exp(-rate t) of gradient flow at t = eta k, (T, steps)."""
    if name == "flow":
        return np.exp(-(rate * eta)[:, None] * _STEPS)
    return np.maximum(1.0 - rate * eta, 0.0)[:, None] ** _STEPS


def _slowest(name: str, context: CellContext, statistics: Statistics) -> Bound:
    """Return the largest excess of |y - u(k)| / |y| over the decay of the smallest eigenvalue, over recorded k."""
    eta, least = statistics[f"{_PREFIX}step_size"], enclosed(statistics, "lambda_min")
    curve = _relative(statistics, name)
    low = curve.lower - _decay(name, least.lower, eta)
    high = curve.upper - _decay(name, least.upper, eta)
    return Bound(low.max(axis=1) - _CURVE, high.max(axis=1) + _CURVE)


def _fastest(context: CellContext, statistics: Statistics) -> Bound:
    """Return the least excess of |y - u(k)| / |y| over the decay of the largest eigenvalue, over recorded k."""
    eta, largest = statistics[f"{_PREFIX}step_size"], enclosed(statistics, f"{_PREFIX}lambda_max")
    curve = _relative(statistics, "residual")
    low = curve.lower - _decay("residual", largest.lower, eta)
    high = curve.upper - _decay("residual", largest.upper, eta)
    return Bound(low.min(axis=1) - _CURVE, high.min(axis=1) + _CURVE)


def _nothing(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return 0; infinity, since nothing is claimed, where the step size is too large."""
    zero = np.where(_steady(statistics), 0.0, np.inf)
    return Bound(zero, zero)


def _nothing_below(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    zero = np.where(_steady(statistics), 0.0, -np.inf)
    return Bound(zero, zero)


def _nothing_flow(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    zero = np.zeros_like(statistics[f"{_PREFIX}label_norm"])
    return Bound(zero, zero)


def _main_term(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    """Return (2 y'K^-1 y / n)^(1/2) over (alpha^2 / n)^(1/2), alpha^2 = d^p."""
    form, target = _label_form(context, statistics), _target(parameters)
    unit = float(context.d) ** max(target.power, 1)
    return Bound(np.sqrt(2.0 * form.lower / unit), np.sqrt(2.0 * form.upper / unit))


def _main_ceiling(context: CellContext, parameters: Parameters) -> float:
    target = _target(parameters)
    if not (target.power and _has_power(context, parameters)):
        return math.inf
    return math.sqrt(2.0 * target.alpha(context.d) ** 2 / context.d**target.power / _coefficient(context, target))


_ENDS = ("lambda_min_lower", "lambda_min_upper")
_SIZE = (f"{_PREFIX}step_size", f"{_PREFIX}label_norm")
_ANY = "any rows, any kernel, targets in the study"
_STEP = "eta <= 1 / lambda_max"

register(
    DeterministicClaim(
        id="det-label-form",
        statement="y'K^-1 y is at most alpha^2 |beta|^(2p) / b_p for labels y = alpha (beta'x)^p, b_p the "
        "coefficient of the power p in the kernel's series: for H-infinity 4 alpha^2 |beta|^2 if p = 1.",
        latex=r"y_i = \alpha(\beta^\top x_i)^p \;\Rightarrow\; y^\top K^{-1} y \le \alpha^2\|\beta\|^{2p}/b_p",
        source="K - b_p X^(*p) X^(*p)' is positive semi-definite; implies Arora et al. 2019, Thm 6.1",
        hypotheses="targets linear (any rows) and quadratic (unit rows)",
        side="upper",
        where=_has_power,
        needs=(*_of("label_form"), f"{_PREFIX}label_norm"),
        evaluate=_aligned,
        quantity=_label_form,
        group=TRAINING,
    ),
)

register(
    DeterministicClaim(
        id="det-target-sandwich-lower",
        statement="y'K^-1 y is at least |y|^4 / y'Ky, for the labels of a target.",
        latex=r"y^\top K^{-1} y \ge \|y\|^4 / (y^\top K y)",
        source="Cauchy-Schwarz",
        hypotheses=_ANY,
        side="lower",
        needs=(*_of("label_form"), *_of("label_energy"), f"{_PREFIX}label_norm"),
        evaluate=_below,
        quantity=_label_form,
        group=TRAINING,
    ),
)

register(
    DeterministicClaim(
        id="det-target-sandwich-upper",
        statement="y'K^-1 y is at most |y|^2 / lambda_min, for the labels of a target.",
        latex=r"y^\top K^{-1} y \le \|y\|^2 / \lambda_{\min}(K)",
        source="spectral theorem; corrects erratum E2 of the slides",
        hypotheses=_ANY,
        side="upper",
        needs=(*_of("label_form"), *_ENDS, f"{_PREFIX}label_norm"),
        evaluate=_above,
        quantity=_label_form,
        group=TRAINING,
    ),
)

register(
    DeterministicClaim(
        id="claim-iterations",
        statement="Gradient descent with the kernel has residual at most |y| delta / n after log(n / delta) / (eta "
        "lambda_min) steps, rounded up; delta = 0.1.",
        latex=r"k \ge \tfrac{1}{\eta\lambda_{\min}}\log\tfrac n\delta \;\Rightarrow\; \|y - u(k)\| \le "
        r"\tfrac\delta n\|y\|",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025; (1 - eta lambda)^k <= exp(-eta lambda k)",
        hypotheses=f"{_ANY}, {_STEP}",
        side="upper",
        needs=(*_of("steps"), *_of("lambda_max"), *_ENDS, *_SIZE),
        evaluate=_logarithm,
        quantity=_waiting,
        group=TRAINING,
    ),
)

register(
    DeterministicClaim(
        id="claim-residual-slowest",
        statement="|y - u(k)| is at most (1 - eta lambda_min)^k |y|; tried at k = 0 and powers of two, on their "
        "difference over |y|.",
        latex=r"\|y - u(k)\| \le (1-\eta\lambda_{\min})^k\,\|y\|",
        source="Arora et al. 2019, Thm 4.1, with the kernel itself; spectral theorem",
        hypotheses=f"{_ANY}, {_STEP}",
        side="upper",
        needs=(*_of("residual"), *_of("lambda_max"), *_ENDS, *_SIZE),
        evaluate=_nothing,
        quantity=lambda context, statistics: _slowest("residual", context, statistics),
        group=TRAINING,
    ),
)

register(
    DeterministicClaim(
        id="claim-residual-fastest",
        statement="|y - u(k)| is at least (1 - eta lambda_max)^k |y|; tried at k = 0 and powers of two, on their "
        "difference over |y|.",
        latex=r"\|y - u(k)\| \ge (1-\eta\lambda_{\max})^k\,\|y\|",
        source="spectral theorem",
        hypotheses=f"{_ANY}, {_STEP}",
        side="lower",
        trivial=-math.inf,
        needs=(*_of("residual"), *_of("lambda_max"), *_SIZE),
        evaluate=_nothing_below,
        quantity=_fastest,
        group=TRAINING,
    ),
)

register(
    DeterministicClaim(
        id="claim-flow-slowest",
        statement="|y - u(t)| is at most exp(-lambda_min t) |y| under gradient flow; tried at t = eta k, k = 0 and "
        "powers of two, on their difference over |y|.",
        latex=r"\|y - u(t)\| \le e^{-\lambda_{\min}t}\,\|y\|",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025: the linear rate of gradient flow, with the kernel itself",
        hypotheses=_ANY,
        side="upper",
        needs=(*_of("flow"), *_ENDS, *_SIZE),
        evaluate=_nothing_flow,
        quantity=lambda context, statistics: _slowest("flow", context, statistics),
        group=TRAINING,
    ),
)

register(
    ScalingClaim(
        id="claim-generalization",
        statement="The main term (2 y'H^-1 y / n)^(1/2) of the bound on the test loss is at most C (d^p / n)^(1/2), "
        "p the degree of the target (1 for a single index and for signs), with probability at least 1 - delta; for "
        "random signs it is not.",
        latex=r"\sqrt{2\,y^\top (H^\infty)^{-1}y/n} \le C\sqrt{d^p/n}",
        source="Zolfaghari, Zohrabi & Velae, slides, 2025, eq. (9), after Arora et al. 2019, Thm 5.1 and 6.1",
        hypotheses="kernel h-infinity, targets in the study",
        kernels=("h-infinity",),
        side="upper",
        needs=_of("label_form"),
        evaluate=_main_term,
        parameters=({"delta": 0.5},),
        constants="C",
        ceiling=_main_ceiling,
        along=("n",),
        group=TRAINING,
    ),
)
