"""Deterministic claims hold on every kind of data, and a false one is caught."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from measured import data, judged, measured, quantity_of
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.linalg.gram.enclosures import lambda_min
from ntkmc.numeric import Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import CLAIMS, Bound, Instance, instances
from ntkmc.theory.claims.trial_statistics import STATISTICS
from ntkmc.theory.distributions.hypotheses import Hypotheses
from reference import exact_gram, exact_kernel

DETERMINISTIC = [instance for instance in instances() if instance.claim.kind == "deterministic"]
TRUE = [instance for instance in DETERMINISTIC if instance.claim.corrected_by is None]
KNOWN = [
    "det-diag-upper",
    "det-gershgorin-rows",
    "det-pair-upper",
    "det-gershgorin-coherence",
    "det-tail-gershgorin",
    "det-tail-gershgorin-deep",
    "det-khatri-rao-gershgorin",
]


@pytest.mark.long
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
    kernel, depth = which
    context, statistics = measured(X, kernel, depth, (depth - 1,) if kernel == "ntk" and depth > 1 else ())
    for instance in TRUE:
        verdict = judged(instance, context, statistics)
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


@pytest.mark.parametrize(
    "instance", [each for each in TRUE if each.claim.id in KNOWN], ids=lambda instance: instance.label
)
def test_enclosures_of_bounds(instance: Instance) -> None:
    """Each bound's enclosure contains the statement's bound, at 50 digits, and is narrow: 2 % off is far outside."""
    tried = 0
    for kernel, depth in (("h-infinity", 2), ("ntk", 2), ("ntk", 3)):
        X = data("sphere", 5, 60, np.random.default_rng(8))
        if kernel == "ntk":
            X = X * np.random.default_rng(9).uniform(0.5, 2.0, size=(5, 1))
        context, statistics = measured(X, kernel, depth)
        context = replace(context, unit_rows=kernel == "h-infinity")
        if not instance.applies(context):
            continue
        bound = instance.bound(context, statistics)
        exact = exact_bound(instance.label, X, kernel, depth)
        assert mp.mpf(float(bound.lower[0])) <= exact <= mp.mpf(float(bound.upper[0]))
        assert bound.upper[0] - bound.lower[0] <= 1e-9 * statistics["norm_max"][0] ** 2
        tried += 1
    assert tried


@pytest.mark.parametrize("instance", TRUE, ids=lambda instance: instance.label)
def test_a_bound_two_percent_off_is_caught(instance: Instance) -> None:
    """A bound on the wrong side of what it bounds by 2 % is reported as violated, with the trial's number."""
    kernel = instance.claim.kernels[0]
    depth, depths = (2, ()) if kernel == "h-infinity" else (3, (2,))
    X = data("sphere", 6, 60, np.random.default_rng(8))
    context, statistics = measured(X, kernel, depth, depths)
    declared = Hypotheses(unit_norm=True)
    context = replace(context, unit_rows="congruence" not in instance.claim.id, fewer=5, hypotheses=declared)
    statistics |= {f"fewer_{end}": statistics[f"lambda_min_{end}"] for end in ("lower", "upper")}
    quantity = quantity_of(instance, context, statistics).value
    assert instance.applies(context)
    expected = Verdict.VACUOUS if instance.claim.id == "det-pair-angle" else Verdict.HOLDS
    assert judged(instance, context, statistics)["verdict"] == expected
    wrong = quantity + 0.02 * np.abs(quantity) * (1.0 if instance.claim.side == "lower" else -1.0)
    false = Instance(replace(instance.claim, evaluate=lambda *_: Bound(wrong, wrong)), instance.parameters)
    verdict = judged(false, context, statistics)
    assert verdict["verdict"] == Verdict.VIOLATED
    assert (verdict["violations"], verdict["first_violation"]) == (1, 0)


def test_one_violation_in_a_thousand_is_found_with_its_number() -> None:
    context, one = measured(data("sphere", 6, 60, np.random.default_rng(8)), "ntk", 3)
    statistics = {name: np.repeat(values, 1000) for name, values in one.items()}
    statistics["pair_bound"][617] = statistics["lambda_min"][617] * 0.98
    instance = next(each for each in TRUE if each.label == "det-pair-upper")
    verdict = judged(instance, context, statistics)
    assert (verdict["verdict"], verdict["violations"], verdict["first_violation"]) == (Verdict.VIOLATED, 1, 617)


def test_printed_forms_are_violated() -> None:
    """E1, E2, E10, and the Khatri-Rao bound without normalization, on data where the corrected forms hold."""
    X = data("sphere", 6, 2000, np.random.default_rng(1))
    for kernel, depth, depths, scale in (("h-infinity", 2, (), 1.0), ("ntk", 3, (2,), 100.0)):
        context, statistics = measured(X * scale, kernel, depth, depths)
        context = replace(context, unit_rows=scale == 1.0)
        printed = [each for each in DETERMINISTIC if each.claim.corrected_by and kernel in each.claim.kernels]
        assert len(printed) >= 2
        for instance in printed:
            # E4 is true as printed: it only is not what Gershgorin's theorem needs.
            expected = Verdict.HOLDS if instance.claim.id == "printed/det-offdiag" else Verdict.VIOLATED
            assert judged(instance, context, statistics)["verdict"] == expected, instance.label
            assert instance.claim.corrected_by in CLAIMS


def test_every_printed_form_has_a_correction() -> None:
    printed = [claim for claim in CLAIMS.values() if claim.id.startswith("printed/")]
    assert len(printed) >= 6
    assert all(claim.corrected_by in CLAIMS for claim in printed)


def test_every_need_is_a_statistic() -> None:
    ends = (f"{name}_{end}" for name in ("lambda_min", "shallower", "fewer") for end in ("lower", "upper"))
    known = {*STATISTICS, *ends}
    for instance in instances():
        assert set(instance.needs) <= known, instance.label


def test_h_only_claims_need_unit_rows() -> None:
    context = CellContext("h-infinity", 2, 5, 5, unit_rows=False)
    assert not CLAIMS["det-gershgorin-coherence"].domain.includes(context)
    assert CLAIMS["det-pair-upper"].domain.includes(context)


def test_even_polygon_is_singular_at_depth_two_only() -> None:
    """m > d antipodal pairs: lambda_min(H) = lambda_min(K^(2)) = 0 exactly, K^(3) positive definite."""
    from reference import polygon

    X = polygon(6)
    assert lambda_min(X, "h-infinity")[2].lower == 0.0
    deep = lambda_min(X, "ntk", (2, 3))
    assert deep[2].upper < 1e-12
    assert deep[3].value == pytest.approx(0.6664554841147, abs=1e-12)
