"""Targets of training: labels as functions of a row, random signs, and labels of a data set."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from ntkmc.errors import InputError, did_you_mean
from ntkmc.numeric import Floats

CHECKPOINTS: Final = (0, *(2**power for power in range(21)))
"""Steps of training at which curves are recorded: 0, and powers of two up to a million."""

SHARE: Final = 0.1
"""delta of the accuracy |y| delta / n whose number of steps is recorded.

The claimed number of steps contains the logarithm log(n / delta)."""


@dataclass(frozen=True)
class Target:
    """A rule that labels rows.

    Attributes
    ----------
    name : str
    formula : str
        Label of a row x in plain text; beta is a random unit vector.
    function : callable or None
        Label as a function of sqrt(d) beta'x, whose square has mean 1 on the unit sphere; None where the label
        does not depend on the row.
    power : int
        p of a label alpha (beta'x)**p; 0 for any other label.
    own : bool
        Whether the labels come with the law, as a column of a data set.
    alpha : callable
        d -> alpha of a label alpha (beta'x)**p.
    """

    name: str
    formula: str
    function: Callable[[Floats], Floats] | None
    power: int = 0
    own: bool = False
    alpha: Callable[[int], float] = lambda d: math.nan


_ROOT_3: Final = math.sqrt(3.0)

TARGETS: Final = {
    target.name: target
    for target in (
        Target("linear", "sqrt(d) beta'x", lambda z: z, 1, alpha=math.sqrt),
        Target("quadratic", "d (beta'x)^2 / sqrt(3)", lambda z: z * z / _ROOT_3, 2, alpha=lambda d: d / _ROOT_3),
        Target("relu", "sqrt(2 d) max(0, beta'x): a single index", lambda z: math.sqrt(2.0) * np.maximum(z, 0.0)),
        Target("random-sign", "+1 or -1, independent of x", None),
        Target("column", "a data set's own column of labels, over its root mean square", None, own=True),
    )
}
"""Targets by name. All have mean square 1, at least approximately, for |x| = 1 and uniform directions."""


def labels(target: Target, X: Floats, rng: np.random.Generator) -> Floats:
    """Return labels of the rows of X, (n, d); labels of the first m rows do not depend on n, bit for bit.

    >>> X = np.random.default_rng(0).standard_normal((5, 3))
    >>> long, short = (labels(TARGETS["relu"], rows, np.random.default_rng(1)) for rows in (X, X[:2]))
    >>> bool((long[:2] == short).all())
    True
    """
    n, d = X.shape
    if target.function is None:
        return np.where(rng.random(n) < 0.5, -1.0, 1.0)
    beta = rng.standard_normal(d)
    beta /= np.sqrt(np.sum(beta * beta))
    # A sum per row: the bits of a matrix product would depend on the number of rows.
    return np.asarray(target.function(math.sqrt(d) * np.sum(X * beta, axis=1)))


def check_target(name: str) -> Target:
    """Return the target with a name; `InputError` with the nearest name if there is none."""
    if name not in TARGETS:
        raise InputError(f"unknown target {name!r}: {did_you_mean(name, TARGETS)}")
    return TARGETS[name]


def split_label(label: str) -> tuple[Target, float | None]:
    """Return the target and the step size of a label; the step size is None for 1 / lambda_max.

    >>> target, step_size = split_label("linear@0.01")
    >>> target.name, step_size, split_label("relu")[1]
    ('linear', 0.01, None)
    """
    name, _, step_size = label.partition("@")
    return check_target(name), float(step_size) if step_size else None


@dataclass(frozen=True)
class NetworkLabel:
    """Label of a trained network: target with step size, width m, and scale kappa of the initial weights.

    >>> str(NetworkLabel("linear@0.01", 64, 0.5)), NetworkLabel.parse("linear@0.01:m=64:kappa=0.5")
    ('linear@0.01:m=64:kappa=0.5', NetworkLabel(target='linear@0.01', width=64, kappa=0.5))
    """

    target: str
    width: int
    kappa: float

    def __str__(self) -> str:
        return f"{self.target}:m={self.width}:kappa={self.kappa!r}"

    @classmethod
    def parse(cls, label: str) -> NetworkLabel:
        """Parse a label `target:m=WIDTH:kappa=KAPPA`."""
        target, width, kappa = label.split(":")
        return cls(target, int(width.removeprefix("m=")), float(kappa.removeprefix("kappa=")))
