"""Every claim's bound against its statement, evaluated here from the matrices, by tables and by hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from scipy import integrate, special, stats

from measured import data, measured, quantity_of
from ntkmc.numeric import Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import CLAIMS, DeterministicClaim, Instance, ProbabilityClaim, instances
from ntkmc.theory.claims.trial_statistics import FINITE_WIDTH
from ntkmc.theory.distributions.factory import build
from ntkmc.theory.distributions.hypotheses import Hypotheses
from ntkmc.theory.kernels.arccos import first_layer
from ntkmc.theory.kernels.functions import kernel_function
from ntkmc.theory.kernels.series import hermite_coefficient, series_coefficients, tail
from reference import exact_gram, exact_kernel

# Taylor coefficients at 0, orders 0 ... 6, to the digits of the tables of the project's theory (section 5.3).
H = {1: 0.25, 2: 0.159154943092, 3: 0.0, 4: 0.02652582, 5: 0.0, 6: 0.01193662}
B = {
    2: {1: 1.0, 2: 0.477464829276, 3: 0.0, 4: 0.06631456, 5: 0.0, 6: 0.02785212},
    3: {1: 0.958113064251, 2: 0.61555687218, 3: 0.18399293, 4: 0.11464627, 5: 0.04868154, 6: 0.04956812},
}
LAYERS = {2: {1: 1.5}, 3: {1: 1.801558}}
"""Sums over layers of c_l,1; of all other orders here b_L,r is larger."""
MU = {2: 0.28209479177388, 4: -0.08143375198382, 6: 0.044603102903819}


def smallest(A: Any) -> float:
    return float(np.linalg.eigvalsh(np.asarray(A, dtype=float))[0])


def matrix(X: Floats, kernel: str, depth: int) -> Floats:
    """The Gram matrix at 50 digits, rounded once."""
    return np.array(exact_gram(X, kernel, depth)[0].tolist(), dtype=float)


class Statement:
    """What claims state of rows X, each as a function of its parameters: (bound, quantity)."""

    def __init__(self, X: Floats, kernel: str, depth: int) -> None:
        self.X, self.kernel, self.depth = X, kernel, depth
        self.n, self.d = X.shape
        self.norms = np.linalg.norm(X, axis=1)
        self.R = (X / self.norms[:, None]) @ (X / self.norms[:, None]).T
        np.fill_diagonal(self.R, 1.0)
        self.off = ~np.eye(self.n, dtype=bool)
        self.rho = float(np.abs(self.R[self.off]).max())
        self.K = matrix(X, kernel, depth)
        self.least = smallest(self.K)
        self.scale = float(self.norms.min()) ** 2

    def k(self, t: float) -> float:
        return float(exact_kernel(mp.mpf(t), self.kernel, self.depth))

    def coefficients(self) -> dict[int, float]:
        return H if self.kernel == "h-infinity" else B[self.depth]

    def heads(self) -> float:
        """The best over s of head eigenvalues and Gershgorin on the tail."""
        with mp.workdps(120):
            series = mp.taylor(lambda t: exact_kernel(t, self.kernel, self.depth), 0, 12)
        found = []
        for s in range(1, 13):
            head = sum(float(series[r]) * max(smallest(self.R**r), 0.0) for r in range(1, s) if r <= 6)
            at = [
                self.k(t) - float(mp.fsum(c * mp.mpf(t) ** j for j, c in enumerate(series[:s])))
                for t in (1.0, self.rho)
            ]
            found.append(head + at[0] - (self.n - 1) * at[1])
        return float(self.scale * max(found))

    def gegenbauer(self) -> float:
        alpha, total = 0.5 * (self.d - 2), 0.0
        norm = integrate.quad(lambda t: (1 - t * t) ** (0.5 * (self.d - 3)), -1, 1)[0]
        for k in range(1, 7):
            B_dk = special.comb(self.d + k - 1, k) - (special.comb(self.d + k - 3, k - 2) if k > 1 else 0.0)

            def Q(t: Any, k: int = k) -> Any:
                return special.eval_gegenbauer(k, alpha, t) / special.eval_gegenbauer(k, alpha, 1.0)

            if B_dk >= self.n:
                mean = integrate.quad(
                    lambda t, Q=Q: self.k(t) * Q(t) * (1 - t * t) ** (0.5 * (self.d - 3)), -1, 1, epsabs=1e-13
                )[0]
                total += B_dk * mean / norm * max(smallest(Q(self.R)), 0.0)
        return float(self.scale * total)

    def __call__(self, claim: str, given: dict[str, Any]) -> tuple[float, float]:
        n, K, R, rho = self.n, self.K, self.R, self.rho
        ones = np.ones(n)
        mean, r = np.trace(K) / n, int(given.get("r", 0))
        spread = math.sqrt(np.sum((K - mean * np.eye(n)) ** 2) / n)
        kappa_0 = (math.pi - np.arccos(np.clip(R, -1, 1))) / math.pi
        theta = math.acos(R[self.off].max())
        half = self.k(rho) if self.kernel == "h-infinity" else math.nan
        DRD = np.outer(self.norms, self.norms) * R**r
        coefficient = max(self.coefficients().get(r, 0.0), LAYERS.get(self.depth, {}).get(r, 0.0))
        pairs = [
            (K[i, i] + K[j, j]) / 2 - math.hypot((K[i, i] - K[j, j]) / 2, K[i, j]) for i in range(n) for j in range(i)
        ]
        inverse = float(ones @ np.linalg.solve(K, ones))
        plain: dict[str, Callable[[], Any]] = {
            "det-diag-upper": lambda: np.diag(K).min(),
            "det-gershgorin-rows": lambda: (2 * np.diag(K) - np.abs(K).sum(axis=1)).min(),
            "det-pair-upper": lambda: min(pairs),
            "det-trace-moments-lower": lambda: mean - spread * math.sqrt(n - 1),
            "det-trace-moments-upper": lambda: mean - spread / math.sqrt(n - 1),
            "det-gershgorin-coherence": lambda: 0.5 - (n - 1) * half,
            "printed/det-gershgorin-coherence": lambda: 1.0 - (n - 1) * half,
            "det-khatri-rao-gershgorin": lambda: 2 * MU[r] ** 2 * self.scale * (1 - (n - 1) * rho**r),
            "det-separation-OS": lambda: math.sqrt(2 - 2 * rho) / (100 * n * n),
            "det-nonparallel": lambda: 0.0,
            "det-pair-angle": lambda: theta / (2 * math.pi) + theta**2 / 4,
            "det-schur-two-layer": lambda: 0.5 * max(smallest(R), smallest(kappa_0)),
            "det-khatri-rao-two-layer": lambda: H[r] * smallest(R**r),
            "det-khatri-rao-deep": lambda: coefficient * smallest(DRD),
            "printed/det-khatri-rao-deep": lambda: MU[r] ** 2 * smallest((self.X @ self.X.T) ** r),
            "det-layer-sum": lambda: sum(
                smallest(matrix(self.X, "conjugate", layer)) for layer in range(1, self.depth + 1)
            ),
            "det-congruence-lower": lambda: self.scale * smallest(self.directions()),
            "det-congruence-upper": lambda: self.norms.max() ** 2 * smallest(self.directions()),
            "det-gegenbauer": self.gegenbauer,
            "det-determinant": lambda: np.linalg.det(K) * ((n - 1) / np.trace(K)) ** (n - 1),
            "det-tail-gershgorin-head": self.heads,
            "det-tail-gershgorin-deep-head": self.heads,
        }
        others: dict[str, Callable[[], tuple[Any, Any]]] = {
            "det-offdiag": lambda: (half, np.abs(K[self.off]).max()),
            "printed/det-offdiag": lambda: (half, K[self.off].max()),
            "det-oppenheim": lambda: (np.linalg.slogdet(R)[1] - n * math.log(2.0), np.linalg.slogdet(K)[1]),
            "det-label-sandwich-lower": lambda: (n**2 / (ones @ K @ ones), inverse),
            "det-label-sandwich-upper": lambda: (n / self.least, inverse),
            "printed/det-label-sandwich-upper": lambda: (math.sqrt(n) * self.least, ones @ K @ ones),
            "law-unit-norm-upper": lambda: (1.0, self.norms.max()),
            "law-unit-norm-lower": lambda: (1.0, self.norms.min()),
        }
        if claim in plain:
            return float(plain[claim]()), self.least
        if claim in others:
            bound, quantity = others[claim]()
            return float(bound), float(quantity)
        if claim.endswith(("depth-monotone", "interlacing-n")):
            shallow = smallest(matrix(self.X, self.kernel, self.depth - 1))
            return shallow, self.least
        best = max(
            self.scale * float(tail(1.0, self.kernel, self.depth, s) - (n - 1) * tail(rho, self.kernel, self.depth, s))
            for s in range(1, 13)
        )
        assert claim.startswith("det-tail-gershgorin"), f"no statement of {claim} here: write it down"
        return best, self.least

    def directions(self) -> Floats:
        return matrix(self.X / self.norms[:, None], self.kernel, self.depth)


CASES = [("h-infinity", 2), ("ntk", 2), ("ntk", 3)]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request: pytest.FixtureRequest) -> tuple[Statement, CellContext, dict[str, Floats]]:
    kernel, depth = request.param
    X = data("sphere", 5, 12, np.random.default_rng(8))
    if kernel == "ntk":
        X = X * np.random.default_rng(9).uniform(0.5, 2.0, size=(5, 1))
    deeper = kernel == "ntk"
    context, statistics = measured(X, kernel, depth, (depth - 1,) if deeper else ())
    # The claim about fewer rows is given the shallower kernel's eigenvalue: a number that it must hand on.
    statistics |= {f"fewer_{end}": statistics[f"shallower_{end}"] for end in ("lower", "upper") if deeper}
    context = replace(
        context, unit_rows=not deeper, fewer=4 if deeper else None, hypotheses=Hypotheses(unit_norm=not deeper)
    )
    return Statement(X, kernel, depth), context, statistics


def test_bounds_are_those_of_the_statements(case: tuple[Statement, CellContext, dict[str, Floats]]) -> None:
    """Bound and quantity of every deterministic claim, to the digits that the tables have."""
    statement, context, statistics = case
    tried = 0
    for instance in instances():
        if not isinstance(instance.claim, DeterministicClaim) or not instance.applies(context):
            continue
        bound, quantity = statement(instance.claim.id, dict(instance.parameters))
        found = instance.bound(context, statistics).value[0]
        assert found == pytest.approx(bound, rel=5e-6, abs=1e-12), instance.label
        measured_quantity = quantity_of(instance, context, statistics).value[0]
        assert measured_quantity == pytest.approx(quantity, rel=1e-8, abs=1e-12), instance.label
        tried += 1
    assert tried >= 18


def test_every_deterministic_claim_has_its_statement_tried() -> None:
    contexts = [
        CellContext(kernel, depth, 5, 40, kernel == "h-infinity", "", Hypotheses(unit_norm=True), None, None, 1, 4)
        for kernel, depth in CASES
    ]
    contexts += [replace(each, unit_rows=False) for each in contexts]
    tried = {each.claim.id for each in instances() for context in contexts if each.applies(context)}
    # Those about networks and training: test_width_claims.py and test_training_claims.py.
    assert {each.id for each in CLAIMS.values() if each.kind == "deterministic" and not each.group} <= tried


def pair(t: float, d: int) -> float:
    """P(|<x, y>| > t): the squared cosine has law Beta(1/2, (d - 1)/2)."""
    return float(stats.beta(0.5, 0.5 * (d - 1)).sf(t * t))


def cell(law: str, n: int, d: int, kernel: str = "ntk", depth: int = 2, unit: bool = False) -> CellContext:
    """Rows as drawn, or of norm 1."""
    declared = build(law, trusted=True).hypotheses(d)
    unit = unit or law == "sphere"
    return CellContext(
        kernel, depth, n, d, unit, law, declared, None if unit else 1.0, 1.0 if unit else float(d), None, None
    )


def tried(label: str, context: CellContext) -> tuple[float, float, float]:
    """(bound, least and largest claimed probability of a violation); the bound depends on no statistic here."""
    instance: Instance = next(each for each in instances() if each.label == label)
    assert instance.applies(context), label
    statistics = dict.fromkeys(("norm_min", "coherence", "first_cosine", "inner_max"), np.ones(1))
    bound = float(instance.bound(context, statistics | {"norm_max": np.array([7.0])}).value[0])
    assert isinstance(instance.claim, ProbabilityClaim)
    return (bound, *instance.claim.claimed(context, instance.parameters))


def test_bounds_for_uniform_directions() -> None:
    n, d = 10, 100
    here, P = cell("gaussian", n, d), 45
    for delta in (0.1, 0.5):
        t, low, high = tried(f"prob-sphere-pair[delta={delta}]", here)
        assert pair(t, d) == pytest.approx(delta, rel=1e-9)
        assert low == high == delta
        t, low, high = tried(f"prob-sphere-pair-closed[delta={delta}]", here)
        assert (1 - t * t) ** 49.5 == pytest.approx(delta, rel=1e-9)
        assert (low, high) == (0.0, delta)
        t, low, high = tried(f"prob-sphere-coherence[delta={delta}]", here)
        p = pair(t, d)
        assert P * p == pytest.approx(delta, rel=1e-9)
        assert high == pytest.approx(delta, rel=1e-9)
        assert low == pytest.approx(max(P * p - 990 * p * p, P * p / (1 + 44 * p)), rel=1e-9)
        t, low, high = tried(f"prob-sphere-coherence-C2[delta={delta}]", here)
        assert t == pytest.approx(2 * math.sqrt(math.log(10 / delta) / 100))
        assert (low, high) == (0.0, delta)
    t, low, high = tried("prob-sphere-coherence-closed[delta=0.1]", here)
    assert t == pytest.approx(math.sqrt(1 - (0.2 / 90) ** (2 / 99)))
    assert (low, high) == (0.0, 0.1)


@pytest.mark.parametrize(
    ("n", "d", "slide", "second", "best"),
    [
        (5, 100, 0.203, 0.208, 0.208),
        (10, 100, -0.31, 0.118, 0.118),
        (20, 1000, -0.06, 0.214, 0.214),
        (100, 1000, -3.1, -0.035, 0.090),
        (50, 100, -5.3, -0.92, 0.062),
    ],
)
def test_bounds_on_lambda_min_on_the_sphere(n: int, d: int, slide: float, second: float, best: float) -> None:
    """The table of theory section 2.4, to its digits."""
    here = cell("sphere", n, d, "h-infinity")
    for s, value in ((1, slide), (2, second), ("best", best)):
        bound, low, high = tried(f"prob-lmin-sphere[delta=0.1,s={s}]", here)
        assert bound == pytest.approx(value, abs=0.051 if abs(value) > 2 else 6e-3 if value < 0 else 6e-4)
        assert (low, high) == (0.0, 0.1)


def test_some_pair_is_close() -> None:
    """P p / (1 + (P - 1) p) with p = p_d(c) / 2 is delta at the c whose a = 1/2 - h(c) is the bound."""
    a, low, high = tried("prob-nondegenerate-necessary[delta=0.1]", cell("sphere", 10, 100, "h-infinity"))
    c = float(mp.findroot(lambda t: mp.mpf(1) / 2 - exact_kernel(t, "h-infinity", 2) - a, 0.3))
    p = 0.5 * pair(c, 100)
    assert 45 * p / (1 + 44 * p) == pytest.approx(0.1, rel=1e-9)
    assert low == 0.0
    assert high == pytest.approx(0.9, rel=1e-9)


def test_explicit_theorem() -> None:
    """r = 4, n = 10, d = 100: mu_4^2 = 0.00663146, n^(-1/7) = 0.719686; for Gaussian rows a = 1/2, E|x|^2 = 100."""
    bound, low, high = tried("prob-nmm-explicit[r=4]", cell("gaussian", 10, 100))
    assert bound == pytest.approx(2 * 0.0066314560 * 0.5 * 100 * (1 - 0.71968567), rel=1e-6)
    norms, angles = 10 * math.exp(-100 / 16), 50 * math.exp(-49.5 * 10 ** (-2 / 3.5))
    assert low == 0.0
    assert high == pytest.approx(norms + angles, rel=1e-12)
    bound, low, high = tried("prob-nmm-explicit[r=4]", cell("sphere", 10, 100))
    assert bound == pytest.approx(2 * 0.0066314560 * (1 - 0.71968567), rel=1e-6)
    assert high == pytest.approx(angles, rel=1e-12)


def test_theorem_by_quantiles() -> None:
    """Half of delta for the norms, by chi-squared, half for the angles, by the exact union bound."""
    bound, low, high = tried("prob-nmm-quantile[delta=0.1]", cell("gaussian", 10, 100))
    share = stats.chi2.ppf(0.005, 100) / 100
    t = math.sqrt(stats.beta(0.5, 49.5).isf(0.05 / 45))
    best = max(float(tail(1.0, "ntk", 2, s) - 9 * tail(t, "ntk", 2, s)) for s in range(1, 13))
    assert bound == pytest.approx(100 * share * best, rel=1e-9)
    assert (low, high) == (0.0, 0.1)


def test_norms_and_inner_products() -> None:
    """n = 10, d = 100: log(n / delta) = 4.60517, log(n (n - 1) / delta) = 6.80239; the largest norm is 7."""
    here, signs = cell("gaussian", 10, 100), cell("rademacher", 10, 100)
    for label, context, expected in (
        ("prob-chi2-lower[delta=0.1]", here, 100 - 2 * math.sqrt(460.517019)),
        ("prob-chi2-upper[delta=0.1]", here, 100 + 2 * math.sqrt(460.517019) + 2 * 4.60517019),
        ("prob-subgaussian-inner[delta=0.1]", here, 7 * math.sqrt(2 * 6.80239476)),
        ("bernstein-inner[delta=0.1]", here, 6.80239476 + math.sqrt(6.80239476**2 + 200 * 6.80239476)),
        ("bernstein-inner-rademacher[delta=0.1]", signs, math.sqrt(200 * 6.80239476)),
        ("law-sub-gaussian[delta=0.1]", here, math.sqrt(2 * math.log(20))),
    ):
        bound, low, high = tried(label, context)
        assert bound == pytest.approx(expected, rel=1e-8), label
        assert (low, high) == (0.0, 0.1)


def test_rows_of_signs_coincide() -> None:
    """Four rows of three signs: 8 vectors, 4 up to sign."""
    signs = cell("rademacher", 4, 3)
    assert tried("prob-rademacher-equal", signs)[1:] == pytest.approx((1 - 7 * 6 * 5 / 8**3,) * 2)
    assert tried("prob-rademacher-parallel", signs)[1:] == pytest.approx((1 - 3 * 2 * 1 / 4**3,) * 2)
    assert 1 / 3 < tried("prob-rademacher-equal", signs)[0] < 1


def test_every_probability_claim_is_tried_here() -> None:
    here = Path(__file__)
    for claim in CLAIMS.values():
        if claim.kind == "probability":
            text = (here.with_name("test_width_claims.py") if claim.group is FINITE_WIDTH else here).read_text()
            assert f'"{claim.id}' in text or f'f"{claim.id}' in text, claim.id


def test_series_coefficients_of_the_tables() -> None:
    for kernel, depth, table in (("h-infinity", 2, H), ("ntk", 2, B[2]), ("ntk", 3, B[3])):
        found = series_coefficients(kernel, depth, 9)
        for r, value in table.items():
            assert found[r] == pytest.approx(value, abs=6e-9), (kernel, depth, r)
    assert series_coefficients("h-infinity", 2, 9)[8] == pytest.approx(0.00710513, abs=6e-9)


@pytest.mark.parametrize(
    ("rho", "kappa_0", "h"),
    [
        (-0.99, 0.0450534136444121, -0.02230143975398399),
        (-0.5, 1 / 3, -1 / 12),
        (0.0, 0.5, 0.0),
        (0.1, 0.5318842804292599, 0.026594214021463),
        (0.3, 0.5969866840206783, 0.08954800260310174),
        (0.5, 2 / 3, 1 / 6),
        (math.sqrt(0.5), 0.75, 0.2651650429449553),
        (0.9, 0.8564337068712937, 0.3853951680920822),
        (0.99, 0.9549465863555879, 0.472698560246016),
        (1 - 1e-6, 0.9995498418044083, 0.4997744211272832),
        (1 - 1e-12, 0.9999995498418419, 0.499999774920421),
    ],
)
def test_scalar_kernels_of_the_tables(rho: float, kappa_0: float, h: float) -> None:
    """Close to 1 the argument itself, rounded to float64, moves kappa_0 by more than the last digits."""
    moved = 1.2e-16 / (math.pi * math.sqrt((1 - rho) * (1 + rho)))
    assert first_layer(rho)[1] == pytest.approx(kappa_0, abs=4e-16 + moved)
    assert float(kernel_function(np.array(rho), "h-infinity", 2)) == pytest.approx(h, abs=4e-16 + moved)


def test_unscaled_khatri_rao_is_often_violated() -> None:
    """n = 10, d = 20, r = 2, L = 2, Gaussian rows: the theory saw it in 8 of 50 draws; between 2 and 18 of 50 here."""
    rng, violated = np.random.default_rng(20), 0
    for _ in range(50):
        X = rng.standard_normal((10, 20))
        R = X @ X.T
        norms = np.sqrt(np.diag(R))
        K = kernel_function(np.clip(R / np.outer(norms, norms), -1, 1), "ntk", 2) * np.outer(norms, norms)
        violated += smallest(K) < MU[2] ** 2 * smallest(R**2)
    assert 2 <= violated <= 18


def test_hermite_weights() -> None:
    for r, value in MU.items():
        assert hermite_coefficient(r) == pytest.approx(value, rel=1e-12)


def ratio(label: str, context: CellContext, **statistics: float) -> float:
    instance = next(each for each in instances() if each.label == label)
    assert instance.applies(context), label
    return float(instance.bound(context, {name: np.array([value]) for name, value in statistics.items()}).value[0])


def test_ratios_of_scaling_claims() -> None:
    """Each statistic over what it is claimed to scale as, in units where Cov x = I."""
    here = cell("gaussian", 10, 100)
    doubled = replace(here, scale=0.5, second_moment=400.0)  # rows twice as large
    root = math.sqrt(math.log(100.0))
    assert ratio("claim-coherence-sphere[delta=0.1]", here, coherence=0.3) == pytest.approx(0.3 / (root / 10))
    for context, size in ((here, 1.0), (doubled, 2.0)):
        given = {"inner_max": 40.0 * size**2, "norm_max": 11.0 * size}
        corrected = ratio("claim-coherence-subgaussian[delta=0.1]", context, **given)
        assert corrected == pytest.approx(40 / 11 / root)
        assert ratio("printed/claim-coherence-subgaussian[delta=0.1]", context, **given) == pytest.approx(
            10 * 40 / 11 / root
        )
        moments = {"norm_mean": 9.9 * size, "norm_square": 98.0 * size**2, "mean_square": 2.0 * size**2}
        for moment, value in (("norm", 0.99), ("square", 0.98), ("variance", 0.96)):
            assert ratio(f"claim-data-scaling[moment={moment}]", context, **moments) == pytest.approx(value)
        assert ratio("law-zero-mean", context, **moments) == pytest.approx(0.02 + (0.98 - 1) / 9)
        assert ratio("law-isotropic", context, covariance_square=120.0 * size**4) == pytest.approx(1.2)
    smallest_eigenvalue = {"lambda_min_lower": 30.0, "lambda_min_upper": 30.0}
    inside = cell("gaussian", 10, 100)
    assert ratio("claim-nmm-theorem[delta=0.1,r=4]", inside, **smallest_eigenvalue) == pytest.approx(
        30 / (100 * MU[4] ** 2)
    )
    two = cell("sphere", 10, 100, "h-infinity")
    s = math.sqrt(2 - 2 * 0.3)
    expected = 30 / ((100 * (1 + 100 * max(math.log(1 / s), 0) / math.log(100))) ** -3 * s * s)
    assert ratio("claim-karhadkar[delta=0.1]", two, coherence=0.3, **smallest_eigenvalue) == pytest.approx(expected)
    flat = cell("sphere", 10, 5)
    assert ratio("claim-angle-lower[delta=0.1]", flat, cosine_max=0.5) == pytest.approx(math.pi / 3 * 10**0.5)
