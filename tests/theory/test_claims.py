"""Deterministic claims hold on every kind of data, and a false one is caught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from ntkmc.experiment.evaluation import judge
from ntkmc.experiment.schema import Verdict
from ntkmc.linalg.enclosure import gershgorin, pair_bound
from ntkmc.linalg.exact import lambda_min
from ntkmc.linalg.gram import coherence, gram
from ntkmc.linalg.rows import as_data, split_rows
from ntkmc.theory.claims import CLAIMS, Bound, CellContext, Instance, instances
from ntkmc.theory.kernels import kernel_function
from ntkmc.theory.series import hermite_coefficient, tail
from reference import exact_gram, exact_kernel

Floats = NDArray[np.float64]


def measured(X: Floats, kernel: str, depth: int) -> tuple[CellContext, dict[str, Floats]]:
    """A cell of one trial with the data X."""
    rows = split_rows(as_data(X))
    K = gram(X, kernel, depth)
    answer = lambda_min(X, kernel, (depth,))[depth]
    unit = bool(np.allclose(rows.norms, 1.0, rtol=4e-16, atol=0))
    statistics = {
        "lambda_min": answer.value,
        "lambda_min_lower": answer.lower,
        "lambda_min_upper": answer.upper,
        "status": answer.status.code,
        "coherence": coherence(rows),
        "norm_min": rows.norms.min(),
        "norm_max": rows.norms.max(),
        "gershgorin": gershgorin(K),
        "pair_bound": pair_bound(K),
    }
    context = CellContext(kernel, depth, X.shape[0], X.shape[1], unit)
    return context, {name: np.array([value]) for name, value in statistics.items()}


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


@given(
    st.sampled_from(["sphere", "signs", "cluster", "antipodal", "heavy", "duplicate"]),
    st.integers(1, 12),
    st.integers(2, 40),
    st.sampled_from([("h-infinity", 2), ("ntk", 1), ("ntk", 2), ("ntk", 3), ("ntk", 6), ("conjugate", 3)]),
    st.integers(0, 2**32 - 1),
)
def test_no_deterministic_claim_is_violated(kind: str, n: int, d: int, which: tuple[str, int], seed: int) -> None:
    X = data(kind, n, d, np.random.default_rng(seed))
    if which[0] == "h-infinity":
        X = X / np.linalg.norm(X, axis=1)[:, None]
    context, statistics = measured(X, *which)
    for instance in instances():
        verdict = judge(instance, context, statistics)
        assert verdict["verdict"] != Verdict.VIOLATED, (instance.label, verdict)


def exact_bound(label: str, X: Floats, kernel: str, depth: int) -> Any:
    """A claim's bound by its statement, at 50 digits, without any of the package's formulas."""
    n = len(X)
    K, norms = exact_gram(X, kernel, depth)
    cosines = [
        abs(mp.fsum(mp.mpf(a) * mp.mpf(b) for a, b in zip(X[i], X[j], strict=True))) / (norms[i] * norms[j])
        for i in range(n)
        for j in range(i)
    ]
    rho, least = max(cosines), min(norms) ** 2
    if label == "det-diag-upper":
        return min(K[i, i] for i in range(n))
    if label == "det-gershgorin-rows":
        return min(2 * K[i, i] - mp.fsum(abs(K[i, j]) for j in range(n)) for i in range(n))
    if label == "det-pair-upper":
        pairs = [(K[i, i], K[j, j], K[i, j]) for i in range(n) for j in range(i)]
        return min((a + b) / 2 - mp.sqrt(((a - b) / 2) ** 2 + c * c) for a, b, c in pairs)
    if label == "det-gershgorin-coherence":
        return mp.mpf(1) / 2 - (n - 1) * exact_kernel(rho, kernel, depth)
    if label.startswith("det-khatri"):
        r = int(label[-2])
        mu = mp.fac2(r - 3) / mp.sqrt(2 * mp.pi * mp.factorial(r))
        return 2 * mu**2 * least * (1 - (n - 1) * rho**r)
    # Tail bounds: Taylor coefficients by mpmath's differentiation of the textbook formula.
    with mp.workdps(120):
        head = mp.taylor(lambda t: exact_kernel(t, kernel, depth), 0, 11)
    total, at_rho = exact_kernel(mp.mpf(1), kernel, depth), exact_kernel(rho, kernel, depth)
    tails = [
        total - mp.fsum(head[:s]) - (n - 1) * (at_rho - mp.fsum(c * rho**k for k, c in enumerate(head[:s])))
        for s in range(1, 13)
    ]
    return (least if kernel == "ntk" else 1) * max(tails)


@pytest.mark.parametrize("instance", instances(), ids=lambda instance: instance.label)
def test_enclosures_of_bounds(instance: Instance) -> None:
    """Each bound's enclosure contains the statement's bound, at 50 digits, and is narrow: 2 % off is far outside."""
    for kernel, depth in (("h-infinity", 2), ("ntk", 2), ("ntk", 3)):
        X = data("sphere", 5, 60, np.random.default_rng(8))
        if kernel == "ntk":
            X = X * np.random.default_rng(9).uniform(0.5, 2.0, size=(5, 1))
        context, statistics = measured(X, kernel, depth)
        context = replace(context, unit_rows=kernel == "h-infinity")
        if not instance.claim.applies(context):
            continue
        bound = instance.bound(context, statistics)
        exact = exact_bound(instance.label, X, kernel, depth)
        assert mp.mpf(float(bound.lower[0])) <= exact <= mp.mpf(float(bound.upper[0]))
        assert bound.upper[0] - bound.lower[0] <= 1e-9 * statistics["norm_max"][0] ** 2


@pytest.mark.parametrize("instance", instances(), ids=lambda instance: instance.label)
def test_a_bound_two_percent_off_is_caught(instance: Instance) -> None:
    """A bound on the wrong side of lambda_min by 2 % of it is reported as violated, with the trial's number."""
    kernel, depth = ("h-infinity", 2) if "deep" not in instance.claim.id else ("ntk", 3)
    if "khatri" in instance.claim.id:
        kernel, depth = "ntk", 3
    X = data("sphere", 6, 60, np.random.default_rng(8))
    context, statistics = measured(X, kernel, depth)
    assert instance.claim.applies(replace(context, unit_rows=True))
    sign = 1.0 if instance.claim.side == "lower" else -1.0

    def shifted(*arguments: object) -> Bound:
        wrong = statistics["lambda_min"] * (1.0 + 0.02 * sign)
        return Bound(wrong, wrong)

    false = Instance(replace(instance.claim, evaluate=shifted), instance.parameters)
    verdict = judge(false, replace(context, unit_rows=True), statistics)
    assert verdict["verdict"] == Verdict.VIOLATED
    assert (verdict["violations"], verdict["first_violation"]) == (1, 0)


def test_bounds_are_the_formulas() -> None:
    """Each bound against its statement, evaluated here from the matrix itself."""
    X = data("sphere", 5, 80, np.random.default_rng(3))
    R = X @ X.T
    off = ~np.eye(5, dtype=bool)
    rho = np.abs(R[off]).max()
    for kernel, depth in (("h-infinity", 2), ("ntk", 3)):
        context, statistics = measured(X, kernel, depth)
        K = gram(X, kernel, depth)
        expected = {
            "det-diag-upper": np.diag(K).min(),
            "det-gershgorin-rows": (np.diag(K) - (np.abs(K) * off).sum(axis=1)).min(),
            "det-pair-upper": K[0, 0] - np.abs(K[off]).max(),
            "det-gershgorin-coherence": 0.5 - 4 * float(kernel_function(rho, "h-infinity")),
            "det-khatri-rao-gershgorin[r=4]": 2 * hermite_coefficient(4) ** 2 * (1 - 4 * rho**4),
        }
        best = max(float(tail(1.0, kernel, depth, s) - 4 * tail(rho, kernel, depth, s)) for s in range(1, 13))
        expected["det-tail-gershgorin" if kernel == "h-infinity" else "det-tail-gershgorin-deep"] = best
        checked = 0
        for instance in instances():
            if instance.label in expected and instance.claim.applies(replace(context, unit_rows=True)):
                assert instance.bound(context, statistics).value[0] == pytest.approx(
                    expected[instance.label], rel=1e-9
                )
                checked += 1
        assert checked >= 4


def test_h_only_claims_need_unit_rows() -> None:
    context = CellContext("h-infinity", 2, 5, 5, unit_rows=False)
    assert not CLAIMS["det-gershgorin-coherence"].applies(context)
    assert CLAIMS["det-pair-upper"].applies(context)


def test_even_polygon_is_singular_at_depth_two_only() -> None:
    """m > d antipodal pairs: lambda_min(H) = lambda_min(K^(2)) = 0 exactly, K^(3) positive definite."""
    from reference import polygon

    X = polygon(6)
    assert lambda_min(X, "h-infinity")[2].lower == 0.0
    deep = lambda_min(X, "ntk", (2, 3))
    assert deep[2].upper < 1e-12
    assert deep[3].value == pytest.approx(0.6664554841147, abs=1e-12)
