"""Claims about finite networks: bounds against the tail probabilities that they invert, hypotheses, verdicts."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest

from ntkmc import empirical_ntk, gram
from ntkmc.experiment.analysis.verdicts import judge
from ntkmc.experiment.schema.groups import declared
from ntkmc.experiment.schema.variables import Verdict
from ntkmc.linalg.eigen.result import Status
from ntkmc.numeric import Floats
from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import CLAIMS, Instance, find_instance, instances
from ntkmc.theory.claims.trial_statistics import FINITE_WIDTH

OF_WIDTH = [claim for claim in CLAIMS.values() if claim.group is FINITE_WIDTH]
CONTEXT = CellContext("h-infinity", 2, 6, 4, True)


def found(claim: str, **parameters: float) -> Instance:
    label = ",".join(f"{name}={value}" for name, value in sorted(parameters.items()))
    instance = find_instance(f"{claim}[{label}]")
    assert instance is not None
    return instance


def statistics(trials: int = 1, **values: float | Floats) -> dict[str, Floats]:
    """Statistics of the draw and of its network, known exactly."""
    default = {
        "lambda_min": 0.2,
        "network_lambda_min": 0.15,
        "network_deviation": 0.1,
        "network_entry_deviation": 0.05,
        "network_data_norm": 2.5,
        "network_kernel_norm": 1.1,
    }
    ends = {
        f"{name}_{end}": np.broadcast_to(np.asarray(value, dtype=np.float64), trials).copy()
        for name, value in (default | values).items()
        for end in ("lower", "upper")
    }
    return ends | {"status": np.full(trials, Status.CERTIFIED.code)}


def rounded(value: float) -> float:
    """0 where an eigenvalue is rounding: of a singular matrix it may be computed as 1e-17, or as -1e-17."""
    return value if value > 1e-12 else 0.0


def exact_statistics(X: Floats, width: int, networks: int) -> dict[str, Floats]:
    """By NumPy, of many networks on the same rows."""
    H = gram(X, "h-infinity")
    differences = [empirical_ntk(X, width, "h-infinity", seed=seed) - H for seed in range(networks)]
    return statistics(
        networks,
        lambda_min=float(np.linalg.eigvalsh(H)[0]),
        network_lambda_min=np.array([rounded(np.linalg.eigvalsh(D + H)[0]) for D in differences]),
        network_deviation=np.array([np.linalg.norm(D, 2) for D in differences]),
        network_entry_deviation=np.array([np.abs(D).max() for D in differences]),
        network_data_norm=float(np.linalg.norm(X, 2) ** 2),
        network_kernel_norm=float(np.linalg.norm(H, 2)),
    )


@pytest.mark.parametrize("width", [30, 5000])
def test_bounds_are_where_the_tail_probability_is_delta(width: int) -> None:
    n, delta, square, norm, least = CONTEXT.n, 0.1, 2.5, 1.1, 0.2
    values = statistics()
    t = float(found("prob-width-hoeffding", delta=delta, m=width).bound(CONTEXT, values).value[0])
    assert n * (n + 1) / 2 * 2.0 * math.exp(-2.0 * width * t**2) == pytest.approx(delta, rel=1e-12)
    t = float(found("bernstein-width", delta=delta, m=width).bound(CONTEXT, values).value[0])
    tail = 2 * n * math.exp(-width * t**2 / 2.0 / (square * (norm + t / 3.0))) if t < np.inf else delta
    assert tail == pytest.approx(delta, rel=1e-12)
    bound = float(found("chernoff-width", delta=delta, m=width).bound(CONTEXT, values).value[0])
    share = 1.0 - bound / least
    assert n * math.exp(-(share**2) * width * least / (2.0 * square)) == pytest.approx(delta, rel=1e-10)


def test_sufficient_widths_of_the_reference() -> None:
    """n = d = 30, delta = 0.1, error lambda_0 / 4: Hoeffding 1.5e6, Bernstein 1.8e4, Chernoff 2.9e3 (typically)."""
    X = np.random.default_rng(0).standard_normal((30, 30))
    X /= np.linalg.norm(X, axis=1)[:, None]
    H = gram(X, "h-infinity")
    least, norm, square = (
        float(v) for v in (np.linalg.eigvalsh(H)[0], np.linalg.norm(H, 2), np.linalg.norm(X, 2) ** 2)
    )
    context = replace(CONTEXT, n=30, d=30)
    values = statistics(lambda_min=least, network_data_norm=square, network_kernel_norm=norm)

    def needed(claim: str, scale: float, enough: float, above: bool) -> float:
        widths = np.unique(np.geomspace(100, 1e8, 2000).astype(int))
        for width in widths:
            bound = scale * float(found(claim, delta=0.1, m=int(width)).bound(context, values).value[0])
            if (bound >= enough) if above else (bound <= enough):
                return float(width)
        return math.inf

    assert needed("prob-width-hoeffding", 30.0, least / 4, False) == pytest.approx(1.5e6, rel=0.5)
    assert needed("bernstein-width", 1.0, least / 4, False) == pytest.approx(1.8e4, rel=0.5)
    assert needed("chernoff-width", 1.0, 0.75 * least, True) == pytest.approx(2.9e3, rel=0.5)


@pytest.mark.long
def test_bounds_enclose_all_that_their_statistics_may_be() -> None:
    rng = np.random.default_rng(1)
    for claim in ("bernstein-width", "chernoff-width"):
        for width in (8, 60, 900):
            instance = found(claim, delta=0.1, m=width)
            for _ in range(20):
                low = {
                    name: rng.uniform(0.0, 2.0) for name in ("lambda_min", "network_data_norm", "network_kernel_norm")
                }
                high = {name: value + rng.uniform(0.0, 1.0) for name, value in low.items()}
                wide = statistics(1, **low)
                wide |= {f"{name}_upper": statistics(1, **high)[f"{name}_upper"] for name in low}
                bound = instance.bound(CONTEXT, wide)
                for at in itertools.product(np.linspace(0.0, 1.0, 9), repeat=3):
                    inside = {name: low[name] + a * (high[name] - low[name]) for a, name in zip(at, low, strict=True)}
                    point = instance.bound(CONTEXT, statistics(1, **inside))
                    assert bound.lower[0] <= point.upper[0]
                    assert point.lower[0] <= bound.upper[0]


@pytest.mark.parametrize("width", [1, 4, 40])
def test_nothing_that_is_proved_is_violated_or_refuted(width: int) -> None:
    X = np.random.default_rng(2).standard_normal((6, 4))
    X /= np.linalg.norm(X, axis=1)[:, None]
    values = exact_statistics(X, width, 400)
    for instance in instances(values={"finite_width": (width,)}):
        if instance.measurement and instance.applies(CONTEXT):
            verdict = judge(instance, CONTEXT, values, values, 0.95)
            good = (Verdict.HOLDS, Verdict.SUPPORTED, Verdict.UNDECIDED, Verdict.VACUOUS)
            assert Verdict(verdict["verdict"]) in good, instance.label
    assert found("width-rank", m=1).applies(CONTEXT)
    assert not found("width-rank", m=2).applies(CONTEXT)


def test_what_is_false_is_refuted() -> None:
    """Networks beyond every bound, and a mean above lambda_min(H)."""
    worse = statistics(
        200, network_lambda_min=0.45, network_deviation=2.4, network_entry_deviation=0.9, lambda_min=0.2
    )
    for label in (
        "prob-width-hoeffding[delta=0.1,m=1000]",
        "bernstein-width[delta=0.1,m=1000]",
        "width-jensen[m=1000]",
    ):
        instance = find_instance(label)
        assert instance is not None
        verdict = judge(instance, CONTEXT, worse, worse, 0.95)
        assert verdict["verdict"] == Verdict.REFUTED, label
    low = statistics(200, network_lambda_min=0.01)
    chernoff = found("chernoff-width", delta=0.1, m=100000)
    assert judge(chernoff, CONTEXT, low, low, 0.95)["verdict"] == Verdict.REFUTED
    rank = judge(found("width-rank", m=1), CONTEXT, low, low, 0.95)
    assert (rank["verdict"], rank["violations"], rank["first_violation"]) == (Verdict.VIOLATED, 200, 0)


def test_jensen_is_supported_where_the_mean_is_below() -> None:
    """By betting on both sides; 400 trials tell 0.1 below from the range of 1.5."""
    rng = np.random.default_rng(3)
    below = statistics(400, network_lambda_min=rng.uniform(0.0, 0.2, 400))
    verdict = judge(found("width-jensen", m=9), CONTEXT, below, below, 0.95)
    assert verdict["verdict"] == Verdict.SUPPORTED
    assert verdict["cell_constant_lower"] <= verdict["cell_constant"] <= verdict["cell_constant_upper"] <= 0.0
    few = statistics(10, network_lambda_min=0.1)
    assert judge(found("width-jensen", m=9), CONTEXT, few, few, 0.95)["verdict"] == Verdict.UNDECIDED


def test_jensen_raises_few_false_alarms() -> None:
    """At equality, 300 studies of 100 trials: each refutes with probability at most 0.025 (one side of 95 %).

    More than 18 alarms have a probability below 1e-3 then.
    """
    rng = np.random.default_rng(4)
    alarms = 0
    for _ in range(300):
        values = statistics(100, lambda_min=0.2, network_lambda_min=rng.choice([0.0, 0.4], 100))
        alarms += judge(found("width-jensen", m=9), CONTEXT, values, values, 0.95)["verdict"] == Verdict.REFUTED
    assert alarms <= 18


def test_the_sixth_power_is_tried_where_a_network_is_so_wide() -> None:
    """n = 6, lambda_0 = 0.2: 6^6 / 0.2^4 = 29,160,000."""
    bad = statistics(100, network_deviation=0.06, network_lambda_min=0.14)
    for claim in ("claim-width-n6", "claim-width-n6-eigenvalue"):
        at = {
            width: judge(found(claim, delta=0.1, m=width), CONTEXT, bad, bad, 0.95) for width in (29159999, 29160001)
        }
        assert at[29159999]["verdict"] == Verdict.VACUOUS
        assert at[29160001]["verdict"] == Verdict.REFUTED
        assert at[29160001]["violations"] == 100
    good = statistics(100, network_deviation=0.04, network_lambda_min=0.16)
    for claim in ("claim-width-n6", "claim-width-n6-eigenvalue"):
        assert judge(found(claim, delta=0.1, m=29160001), CONTEXT, good, good, 0.95)["verdict"] == Verdict.SUPPORTED


def test_hypotheses() -> None:
    assert {claim.id for claim in OF_WIDTH} == {
        "prob-width-hoeffding",
        "bernstein-width",
        "chernoff-width",
        "width-jensen",
        "width-rank",
        "claim-width-n6",
        "claim-width-n6-eigenvalue",
    }
    long = replace(CONTEXT, unit_rows=False)
    deep = replace(CONTEXT, kernel="ntk")
    known = {"lambda_min_lower", "lambda_min_upper", *(f"network_{name}" for name in declared("finite_width"))}
    for instance in instances(values={"finite_width": (1,)}):
        if instance.measurement:
            assert instance.applies(CONTEXT)
            assert not instance.applies(deep)
            assert instance.applies(long) == (instance.claim.id not in ("prob-width-hoeffding", "width-jensen"))
            assert set(instance.needs) <= known
    assert not [each for each in instances() if each.measurement]


def test_instances_are_found_by_their_labels() -> None:
    for instance in instances(values={"finite_width": (3, 17)}):
        again = find_instance(instance.label)
        assert again is not None
        assert (again.label, again.claim, again.measurement) == (instance.label, instance.claim, instance.measurement)
    for label in ("nonsense", "width-rank", "width-rank[m=x]", "det-diag-upper[m=3]", "claim-nondegenerate"):
        assert find_instance(label) is None
