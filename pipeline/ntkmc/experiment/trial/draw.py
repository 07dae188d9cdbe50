"""Draws of data matrices, as functions of their addresses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ntkmc.experiment.study.address import Purpose, generator, seed_sequence, spawn_key
from ntkmc.experiment.study.model import Study
from ntkmc.linalg.eigen import Rows, as_data, split_rows
from ntkmc.numeric import Matrix
from ntkmc.theory.claims.trial_statistics import ALWAYS
from ntkmc.theory.distributions import Distribution
from ntkmc.theory.distributions.normalization import Normalization, normalize


@dataclass(frozen=True)
class TrialConfig:
    """Settings that all trials of a study share. They and an address determine a trial to the last bit.

    Attributes
    ----------
    seed : int
    kernel : str
    normalize : Normalization
    nested : bool
        Whether the draws of different n share their first rows.
    thresholds : tuple of float
        Increasing. If not empty, only the events lambda_min >= threshold are decided.
    statistics : tuple of str
        Names of the statistics measured in addition to lambda_min. None of them changes a bit of another.
    steps : int
        Number of steps for which networks are trained.
    method : str
        Method that makes feature maps.
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
    def of(cls, study: Study, statistics: tuple[str, ...] | None = None) -> TrialConfig:
        """Return the settings of a study, with the statistics that its claims need unless others are given."""
        # Without thresholds lambda_min itself is enclosed, which decides every event at once.
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


def draw(config: TrialConfig, distribution: Distribution, d: int, n: int, trial: int, more: int = 0) -> Matrix:
    """Return the normalized data matrix at an address, (n + more, d).

    The last `more` rows follow the same law. Laws draw row by row, so no bit of the first n rows depends on `more`.
    """
    # Without n in the address of a nested study, smaller draws are the first rows of larger ones.
    key = spawn_key(distribution.label, d, 0 if config.nested else n, trial)
    X = distribution.sample(n + more, d, generator(config.seed, key))
    return normalize(X, distribution, config.normalize)


@dataclass(frozen=True)
class TrialContext:
    """One trial of a cell, as the input of additional measurements: its rows, and independent random seeds."""

    config: TrialConfig
    distribution: Distribution
    d: int
    n: int
    depths: tuple[int, ...]
    trial: int

    def rows(self) -> Rows:
        """Return the draw of the trial, split into norms and unit rows."""
        return moderate(split_rows(as_data(draw(self.config, self.distribution, self.d, self.n, self.trial))))

    def own_labels(self, more: int) -> Matrix:
        """Return the labels that the law itself has, of the draw and of `more` additional rows."""
        config, n = self.config, 0 if self.config.nested else self.n
        # At the address of the draw: a data set chooses the same rows for both, and returns their labels here.
        rng = generator(config.seed, spawn_key(self.distribution.label, self.d, n, self.trial))
        return self.distribution.labels(self.n + more, self.d, rng)

    def seed(self, purpose: Purpose, replicate: int) -> np.random.SeedSequence:
        """Return a seed independent of the data. Neither depths nor other replicates change it."""
        n = 0 if self.config.nested else self.n
        key = spawn_key(self.distribution.label, self.d, n, self.trial, purpose, replicate)
        return seed_sequence(self.config.seed, key)


def moderate(rows: Rows) -> Rows:
    """Return the rows; raise FloatingPointError if the largest norm is nonzero and not in (2**-200, 2**200)."""
    largest = float(rows.norms.max())
    # Products of a few norms must neither overflow nor become subnormal; rows that are all zero are exact.
    if largest > 0.0 and not 2.0**-200 < largest < 2.0**200:
        raise FloatingPointError("norms so extreme that Gram entries lose bits or overflow: rescale, or normalize")
    return rows
