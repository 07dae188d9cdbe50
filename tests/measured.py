"""One trial with data of one's own and every statistic that there is, for tests of claims."""

from __future__ import annotations

from typing import Any

import numpy as np

from ntkmc.experiment.analysis.verdicts import judge
from ntkmc.experiment.trial.draw import TrialConfig
from ntkmc.experiment.trial.run import measure_draw
from ntkmc.numeric import Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import Bound, InequalityClaim, Instance
from ntkmc.theory.claims.trial_statistics import STATISTICS


def measured(
    X: Floats, kernel: str, depth: int, depths: tuple[int, ...] = ()
) -> tuple[CellContext, dict[str, Floats]]:
    """A cell of one trial with the data X, and every statistic that there is."""
    n, d = X.shape
    config = TrialConfig(0, kernel, "none", statistics=tuple(STATISTICS))
    found = measure_draw(config, X, (*depths, depth), 1.0)
    answer = found.eigenvalues[depth]
    statistics = {
        "lambda_min": answer.value,
        "lambda_min_lower": answer.lower,
        "lambda_min_upper": answer.upper,
        "status": answer.status.code,
        **found.draw,
        **found.deep[depth],
    }
    for other in depths:
        statistics |= {
            "shallower_lower": found.eigenvalues[other].lower,
            "shallower_upper": found.eigenvalues[other].upper,
        }
    norms = np.linalg.norm(X, axis=1)
    unit = bool(np.allclose(norms, 1.0, rtol=4e-16, atol=0))
    context = CellContext(kernel, depth, n, d, unit, shallower=max(depths, default=None))
    return context, {name: np.array([value], dtype=np.float64) for name, value in statistics.items()}


def judged(instance: Instance, context: CellContext, statistics: dict[str, Floats]) -> dict[str, Any]:
    return judge(instance, context, statistics, statistics, 0.95)


def quantity_of(instance: Instance, context: CellContext, statistics: dict[str, Floats]) -> Bound:
    """The quantity that a deterministic or probability claim bounds."""
    assert isinstance(instance.claim, InequalityClaim)
    return instance.claim.quantity(context, statistics)


def data(kind: str, n: int, d: int, rng: np.random.Generator) -> Floats:
    X = rng.standard_normal((n, d))
    if kind == "signs":
        return np.sign(X)
    if kind == "cluster":
        return X[:1] + 1e-3 * X
    if kind == "antipodal":
        X[1::2] = -X[0:-1:2][: len(X[1::2])] + 1e-6 * X[1::2]
        return X
    if kind == "heavy":
        return X * 10.0 ** rng.uniform(-6, 6, size=(n, 1))
    if kind == "duplicate":
        X[-1] = X[0]
        return X
    return np.asarray(X / np.linalg.norm(X, axis=1)[:, None])
