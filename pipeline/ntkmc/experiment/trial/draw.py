"""The draw of a trial, as a function of its address."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import InputError
from ntkmc.experiment.study.address import Purpose, generator, seed_sequence, spawn_key
from ntkmc.experiment.study.model import Study
from ntkmc.linalg.eigen import Rows, as_data, split_rows
from ntkmc.theory.claims.trial_statistics import ALWAYS
from ntkmc.theory.distributions import Distribution
from ntkmc.theory.distributions.normalization import Normalization, normalize

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """What every trial of a study shares. With an address it determines a trial to the last bit.

    With `thresholds`, increasing, only the events lambda_min >= threshold are decided. `statistics` are measured
    beside lambda_min; none of them changes a bit of another. Networks are trained for so many `steps`;
    `method` is that of feature maps.
    """

    seed: int
    kernel: str
    normalize: Normalization
    nested: bool = False
    thresholds: tuple[float, ...] = ()
    statistics: tuple[str, ...] = ALWAYS
    steps: int = 0
    method: str = "random-features"

    @classmethod
    def of(cls, study: Study, statistics: tuple[str, ...] | None = None) -> Recipe:
        """The recipe of a study, with the statistics that its claims need, or others."""
        thresholds = study.event.lambda_0 if study.measure == "event" else ()
        chosen = study.statistics if statistics is None else statistics
        return cls(
            study.seed,
            study.kernel,
            study.normalize,
            study.nested,
            thresholds,
            chosen,
            study.train.steps if study.train else 0,
            study.method,
        )


def draw(recipe: Recipe, distribution: Distribution, d: int, n: int, trial: int, more: int = 0) -> Matrix:
    """The data matrix at an address, (n, d), normalized; and below it, where asked for, `more` rows of the same law.

    Laws draw by rows: the first n are the same, bit for bit.
    """
    key = spawn_key(distribution.label, d, 0 if recipe.nested else n, trial)
    X = distribution.sample(n + more, d, generator(recipe.seed, key))
    return normalize(X, distribution, recipe.normalize)


@dataclass(frozen=True)
class Subject:
    """One trial of a cell, as what is measured beside the draw sees it: the rows, and randomness of its own."""

    recipe: Recipe
    distribution: Distribution
    d: int
    n: int
    depths: tuple[int, ...]
    trial: int

    def rows(self) -> Rows:
        """The same draw that everybody sees, split."""
        return moderate(split_rows(as_data(draw(self.recipe, self.distribution, self.d, self.n, self.trial))))

    def own_labels(self, more: int) -> Matrix:
        """Labels that the law brings along, of the draw and of `more` rows below it."""
        recipe, n = self.recipe, 0 if self.recipe.nested else self.n
        rng = generator(recipe.seed, spawn_key(self.distribution.label, self.d, n, self.trial))
        return self.distribution.labels(self.n + more, self.d, rng)

    def seed(self, purpose: Purpose, replicate: int) -> np.random.SeedSequence:
        """Randomness beside the data; neither other replicates nor depths enter: adding them changes no bit."""
        n = 0 if self.recipe.nested else self.n
        key = spawn_key(self.distribution.label, self.d, n, self.trial, purpose, replicate)
        return seed_sequence(self.recipe.seed, key)


def moderate(rows: Rows) -> Rows:
    """The rows, or a numerical error."""
    largest = float(rows.norms.max())
    if largest > 0.0 and not 2.0**-200 < largest < 2.0**200:
        raise FloatingPointError("norms so extreme that Gram entries lose bits or overflow: rescale, or normalize")
    return rows


def standard_scale(mode: Normalization, distribution: Distribution, d: int) -> float:
    """What normalized rows are multiplied by so that E|x|**2 = d; 1 where that moment does not exist."""
    if mode != "none":
        return math.sqrt(d)
    try:
        return math.sqrt(d / distribution.second_moment(d))
    except InputError:
        return 1.0
