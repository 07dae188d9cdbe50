"""Claims about feature maps: their statements written down again, tried on maps that are computed by NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from ntkmc import gram, ntk_features
from ntkmc.experiment.analysis.verdicts import judge
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.linalg.eigen.result import Status
from ntkmc.numeric import Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import find_instance, instances

CONTEXT = CellContext("ntk", 2, 6, 4, True)


def ends(name: str, values: Floats, width: float = 1e-12) -> dict[str, Floats]:
    return {f"{name}_lower": values - width, f"{name}_upper": values + width}


def measured(X: Floats, features: int, maps: int) -> dict[str, Floats]:
    """By NumPy, of many maps of the same rows."""
    K = gram(X, "ntk", 2)
    made = [ntk_features(X, features, seed=seed) for seed in range(maps)]
    grams = [Phi @ Phi.T for Phi in made]
    return (
        ends("lambda_min", np.full(maps, np.linalg.eigvalsh(K)[0]))
        | ends("sketch_lambda_min", np.array([np.linalg.eigvalsh(S)[0] for S in grams]))
        | ends("sketch_deviation", np.array([np.linalg.norm(S - K, 2) for S in grams]))
        | {"status": np.full(maps, Status.CERTIFIED.code)}
    )


@pytest.mark.parametrize("features", [3, 5, 6, 200])
def test_what_is_proved_holds(features: int) -> None:
    X = np.random.default_rng(2).standard_normal((6, 4)) / 2.0
    values = measured(X, features, 30)
    tried = [each for each in instances(values={"sketching": (features,)}) if each.measurement]
    assert {each.claim.id for each in tried} == {"sketch-rank", "sketch-weyl"}
    for instance in tried:
        if instance.applies(CONTEXT):
            assert judge(instance, CONTEXT, values, values, 0.95)["verdict"] == Verdict.HOLDS
    rank = find_instance(f"sketch-rank[s={features}]")
    assert rank is not None
    assert rank.applies(CONTEXT) == (features < 6)
    assert not [each for each in instances() if each.measurement]


def test_a_bound_on_the_wrong_side_is_caught() -> None:
    """An eigenvalue that moved by more than the norm of the difference; a map of rank 3 that is found definite."""
    values = measured(np.random.default_rng(3).standard_normal((6, 4)), 3, 2)
    far = np.abs(values["lambda_min_lower"] - values["sketch_lambda_min_lower"])
    for label, wrong in (
        ("sketch-weyl[s=3]", ends("sketch_deviation", 0.98 * far)),
        ("sketch-rank[s=3]", ends("sketch_lambda_min", np.full(2, 1e-6))),
    ):
        instance = find_instance(label)
        assert instance is not None
        found = judge(instance, CONTEXT, values | wrong, values | wrong, 0.95)
        assert (found["verdict"], found["violations"]) == (Verdict.VIOLATED, 2)


def test_the_shift_of_an_eigenvalue_is_enclosed() -> None:
    """|a - b| for all a, b within their ends, 0 where these overlap."""
    instance = find_instance("sketch-weyl[s=9]")
    assert instance is not None
    a, b = np.array([1.0, 1.0, 2.0]), np.array([3.0, 1.1, 0.5])
    found = instance.bound(CONTEXT, ends("lambda_min", a, 0.2) | ends("sketch_lambda_min", b, 0.1))
    np.testing.assert_allclose(found.lower, [1.7, 0.0, 1.2], rtol=1e-14)
    np.testing.assert_allclose(found.upper, [2.3, 0.4, 1.8], rtol=1e-14)
