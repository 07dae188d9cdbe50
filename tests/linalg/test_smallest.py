"""lambda_min: the enclosure contains the truth, on everything that is hard."""

from __future__ import annotations

import pickle
from typing import Any

import mpmath as mp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ntkmc import Status, event_holds, gram, lambda_min, smallest_eigenvalue
from ntkmc.errors import InputError
from ntkmc.linalg.eigen.cholesky_bound import allowance
from ntkmc.linalg.eigen.smallest import METHODS
from reference import exact_gram, exact_lambda_min, planted, polygon

U = 2.0**-53

CONFIGURATIONS = {
    "orthonormal": (np.eye(3), (0.5, 1.681690113816, 2.314291363717, 2.939611893197, 3.56960950279)),
    "pair": (
        np.array([[1.0, 0.0], [0.5, np.sqrt(3) / 2]]),
        (1 / 3, 1.057668885622, 1.648520438877, 2.262155320785, 2.892887461603),
    ),
    "triangle": (polygon(3), (1 / 3, 1.884662228755, 2.656137753727, 3.257750677439, 3.869377869142)),
    "square": (polygon(4), (0.5, 1.363380227632, 1.946892613618, 2.564932422678, 3.199607112382)),
    "pentagon": (polygon(5), (0.3, 0.8258042864845, 1.467293770741, 2.115528358863, 2.771288202008)),
    "hexagon": (polygon(6), (0.0, 0.0, 0.6664554841147, 1.323100650409, 1.98663107812)),
    "heptagon": (
        polygon(7),
        (0.06793447574841, 0.1488088978642, 0.6358598712576, 1.195093569263, 1.797222245104),
    ),
    "cross-polytope": (
        np.vstack([np.eye(3), -np.eye(3)]),
        (0.5, 1.363380227632, 1.946892613618, 2.564932422678, 3.199607112382),
    ),
    "simplex": (
        np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / np.sqrt(3),
        (0.3040867239847, 1.961112262635, 2.570806265157, 3.179078232725, 3.795601183993),
    ),
    "angles": (
        np.column_stack([np.cos([0, 0.1, 1, 2]), np.sin([0, 0.1, 1, 2])]),
        (0.01645887053164, 0.03472676135574, 0.1012507157744, 0.196493295567, 0.3186944484712),
    ),
    "angle 1e-6": (
        np.array([[1.0, 0.0], [np.cos(1e-6), np.sin(1e-6)]]),
        (1.591551930918e-7, 3.183108861835e-7, 9.549309896819e-7, 1.909860641627e-6, 3.183099673149e-6),
    ),
}


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_small_configurations(name: str) -> None:
    X, row = CONFIGURATIONS[name]
    answers = [lambda_min(X, "h-infinity")[2], *lambda_min(X, "ntk", (2, 3, 4, 5)).values()]
    for answer, expected in zip(answers, row, strict=True):
        # The tables have 13 digits, and the vertices themselves are rounded.
        slack = 2e-12 * max(abs(expected), 1e-4)
        assert answer.lower - slack <= expected <= answer.upper + slack
        assert answer.value == pytest.approx(expected, abs=slack + 1e-15)


def adversaries() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((8, 5))
    twice = X.copy()
    twice[3] = twice[5]
    spread = X * (10.0 ** np.linspace(-8, 8, 8))[:, None]
    found = {
        "duplicate rows": gram(twice, "ntk", 3),
        "low rank": X @ X.T,
        "norms over 16 decades": gram(spread, "ntk", 2),
        "Hilbert": np.array([[1.0 / (i + j + 1) for j in range(8)] for i in range(8)]),
        "diagonal": np.diag([3.0, 1e-3, 7.0, 1e-9, 5.0, 1.0, 2.0, 4.0]),
        "identity": np.eye(6),
        "zero": np.zeros((5, 5)),
        "1 x 1": np.array([[2.0]]),
        "2 x 2": np.array([[2.0, 1.0], [1.0, 2.0]]),
        "indefinite": np.array([[1.0, 2.0], [2.0, 1.0]]),
        "negative": -np.eye(4),
        "ones": np.ones((6, 6)),
        "tiny": gram(X, "ntk", 2) * 2.0**-900,
        "huge": gram(X, "ntk", 2) * 2.0**900,
    }
    for power in (3, 5, 7, 9):
        near = X.copy()
        near[1] = near[0] + 10.0**-power * near[1]
        found[f"angle about 1e-{power}"] = gram(near, "ntk", 3)
    return {name: (A + A.T) / 2 for name, A in found.items()}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("name", "A"), adversaries().items(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_adversaries(name: str, A: np.ndarray, method: str) -> None:
    answer = smallest_eigenvalue(A, method=method)
    truth = exact_lambda_min(A)
    assert mp.mpf(answer.lower) <= truth <= mp.mpf(answer.upper)
    assert answer.lower <= answer.value <= answer.upper
    assert all(np.isfinite([answer.value, answer.lower, answer.upper, answer.residual]))
    if truth < -1e-10:
        assert answer.status is Status.NOT_PSD
    if answer.status is Status.CERTIFIED:
        assert answer.relative_width <= 1e-9
        assert answer.lower > 0


@pytest.mark.parametrize("n", [64, 256, 1024, pytest.param(4096, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", ["spread", "clustered", "zero", "negative", "planted"])
def test_exact_large_matrices(n: int, kind: str) -> None:
    """H diag(w) H / n is computed without rounding: its eigenvalues are exactly w."""
    unit = 2.0**-30
    w = np.sort(np.random.default_rng(n).integers(2**28, 2**31, size=n)) * unit
    if kind == "clustered":
        w[:5] = w[0] + unit * np.arange(5)
    elif kind == "zero":
        w[0] = 0.0
    elif kind == "negative":
        w[0] = -unit
    elif kind == "planted":
        w[0] = w[1] - unit
    A = planted(w)
    for method in ("auto", "cholesky"):
        answer = smallest_eigenvalue(A, method=method)
        assert answer.lower <= w.min() <= answer.upper
        if kind in ("spread", "clustered", "planted"):
            # At n = 4096 the planted gap of 2**-30 is below the rounding of a Cholesky, 1e-9.
            within = kind != "spread" and n == 4096
            assert answer.status is (Status.CLUSTERED if within else Status.CERTIFIED)
            assert answer.value == pytest.approx(w.min(), rel=1e-8 if within else 1e-9)
            assert answer.upper - answer.lower <= max(1e-9 * w.min(), 4.0 * allowance(np.diagonal(A) - w.min()))
        elif kind == "zero":
            assert answer.status is Status.SINGULAR


@settings(max_examples=300)
@given(st.integers(1, 6), st.integers(1, 7), st.integers(0, 2**32 - 1), st.sampled_from(METHODS))
def test_random_gram_matrices(n: int, d: int, seed: int, method: str) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-3, 3, size=(n, 1))
    A = gram(X, "ntk", int(rng.integers(1, 5)))
    answer = smallest_eigenvalue(A, method=method)
    with mp.workdps(60):
        assert mp.mpf(answer.lower) <= exact_lambda_min(A) <= mp.mpf(answer.upper)


@settings(max_examples=100)
@given(
    st.integers(1, 5),
    st.integers(1, 8),
    st.integers(0, 2**32 - 1),
    st.sampled_from([("h-infinity", 2), ("ntk", 2), ("ntk", 4), ("conjugate", 3)]),
    st.floats(-10, 0),
)
def test_bounds_speak_of_the_exact_kernel(n: int, d: int, seed: int, which: tuple[str, int], closeness: float) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * 10.0 ** rng.uniform(-2, 2, size=(n, 1))
    if n > 1:
        X[1] = X[0] * (1 if seed % 2 else -1) + 10.0**closeness * X[1]
    kernel, depth = which
    answer = lambda_min(X, kernel, (depth,))[depth]
    with mp.workdps(60):
        truth = exact_lambda_min(exact_gram(X, kernel, depth)[0])
        # The exact kernel is positive semi-definite: below the digits of mpmath its lambda_min is 0.
        assert mp.mpf(answer.lower) <= max(truth, mp.mpf(0)) + mp.mpf(10) ** -50
        assert truth <= mp.mpf(answer.upper)
    assert answer.lower >= 0.0


def test_methods_agree_inside_their_enclosures() -> None:
    K = gram(np.random.default_rng(1).standard_normal((120, 40)), "ntk", 3)
    answers = [smallest_eigenvalue(K, method=method) for method in METHODS]
    assert max(answer.lower for answer in answers) <= min(answer.upper for answer in answers)
    order = np.random.default_rng(2).permutation(len(K))
    permuted = smallest_eigenvalue(K[np.ix_(order, order)])
    assert permuted.lower <= answers[0].upper
    assert answers[0].lower <= permuted.upper


def test_a_poor_vector_is_mended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever a solver proposes, the answer is right."""
    from ntkmc.linalg.eigen import solvers
    from ntkmc.linalg.eigen.solvers import Proposal

    K = gram(np.random.default_rng(1).standard_normal((30, 10)), "ntk", 3)
    truth = np.linalg.eigvalsh(K)[0]
    for vector in (np.ones(30), np.full(30, np.nan), np.zeros(30), np.linalg.eigh(K)[1][:, 1]):

        def poor(*arguments: Any, v: np.ndarray = vector) -> Proposal:
            return Proposal(v, 0.1, 1)

        monkeypatch.setitem(solvers.SOLVERS, "lobpcg", poor)
        answer = smallest_eigenvalue(K, method="lobpcg")
        assert answer.status is Status.CERTIFIED
        assert answer.value == pytest.approx(truth, rel=1e-10)


def test_nothing_works(monkeypatch: pytest.MonkeyPatch) -> None:
    """With every solver broken the enclosure is crude, valid, and says so."""
    from ntkmc.linalg.eigen import solvers

    def broken(*arguments: Any) -> Any:
        raise np.linalg.LinAlgError("no")

    for name in list(solvers.SOLVERS):
        monkeypatch.setitem(solvers.SOLVERS, name, broken)
    K = gram(np.random.default_rng(1).standard_normal((30, 10)), "ntk", 3)
    answer = smallest_eigenvalue(K)
    assert answer.status is Status.UNRESOLVED
    assert answer.lower <= np.linalg.eigvalsh(K)[0] <= answer.upper


def test_rtol_decides_the_status() -> None:
    K = gram(np.random.default_rng(1).standard_normal((60, 20)), "ntk", 3)
    assert smallest_eigenvalue(K).status is Status.CERTIFIED
    assert smallest_eigenvalue(K, rtol=1e-16).status is Status.WIDE


def test_event_holds() -> None:
    K = gram(np.random.default_rng(1).standard_normal((40, 20)), "ntk", 3)
    truth = smallest_eigenvalue(K)
    assert event_holds(K, truth.lower * (1 - 1e-9)) is True
    assert event_holds(K, truth.upper * (1 + 1e-9)) is False
    assert event_holds([[2.0, 1.0], [1.0, 2.0]], 1.0) is None  # exactly lambda_min
    assert event_holds(K, -1.0) is True
    assert event_holds(K, 1e6) is False
    with pytest.raises(InputError, match="finite"):
        event_holds(K, np.nan)


def test_inputs() -> None:
    K = gram(np.random.default_rng(1).standard_normal((5, 3)), "ntk", 3)
    frozen = np.asfortranarray(K)
    frozen.setflags(write=False)
    before = frozen.copy()
    assert smallest_eigenvalue(frozen) == smallest_eigenvalue(K)
    assert np.array_equal(frozen, before)
    assert smallest_eigenvalue([[2, 1], [1, 2]]).value == pytest.approx(1.0)
    assert smallest_eigenvalue(np.eye(3, dtype=np.float32)).value == 1.0
    lopsided = K.copy()
    lopsided[0, 1] += 1e-12
    infinite = K.copy()
    infinite[0, 0] = np.inf
    for bad, said in (
        (lopsided, "exactly symmetric"),
        (infinite, "finite"),
        (K[:3], "square"),
        (np.zeros((0, 0)), "square"),
        (K * 1j, "real"),
    ):
        with pytest.raises(InputError, match=said):
            smallest_eigenvalue(bad)
    with pytest.raises(InputError, match="did you mean 'lobpcg'"):
        smallest_eigenvalue(K, method="lobcpg")
    with pytest.raises(InputError, match="rtol"):
        smallest_eigenvalue(K, rtol=0.0)
    with pytest.raises(InputError, match="no depth"):
        lambda_min(K, "ntk", ())


def test_status_codes_are_stable() -> None:
    """They stand in stores, and must not depend on the order of the members."""
    assert {status.name: status.code for status in Status} == {
        "CERTIFIED": 1,
        "WIDE": 2,
        "SINGULAR": 3,
        "NOT_PSD": 4,
        "UNRESOLVED": 5,
        "FAILED": 6,
        "CLUSTERED": 7,
        "DECIDED": 8,
        "UPPER_ONLY": 9,
    }
    for status in Status:
        assert vars(status)["code"] == status.code  # given, not counted
        assert pickle.loads(pickle.dumps(status)) is status


def test_numbers_that_float64_does_not_hold() -> None:
    """Rounding them silently would make the enclosure one of another matrix."""
    for bad in (np.array([[2**53 + 1]]), np.array([[np.longdouble(1) + np.longdouble(2) ** -60]])):
        if np.array_equal(bad.astype(np.float64), bad):
            continue  # a platform whose long double is a double
        with pytest.raises(InputError, match="not exact in float64"):
            smallest_eigenvalue(bad)
    assert smallest_eigenvalue(np.array([[2**53]])).value == 2.0**53


@pytest.mark.parametrize("size", [1e308, 2.0**1001])
def test_matrices_that_could_overflow_are_refused(size: float) -> None:
    with pytest.raises(InputError, match="rescale"):
        smallest_eigenvalue(np.diag([size, size]))


@pytest.mark.parametrize("method", METHODS)
def test_no_exception_escapes_a_solver(method: str) -> None:
    for A in (np.diag([1e-300, -1e-300, -1.0]), 5e-324 * np.eye(3), np.diag([1e-310, 1.0, 2.0]), np.zeros((25, 25))):
        answer = smallest_eigenvalue(A, method=method)
        assert answer.lower <= A.diagonal().min() <= answer.upper
        assert answer.status is not Status.CERTIFIED or answer.lower > 0


@pytest.mark.parametrize("exponent", [-530, -520, -300, 0, 300, 480])
def test_lambda_min_at_any_scale(exponent: int) -> None:
    """Norms so small or large that K itself is subnormal or overflows: the enclosure stays one of the exact kernel."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((4, 3))
    scaled = np.ldexp(X, exponent)
    answer = lambda_min(scaled, "ntk", (3,))[3]
    with mp.workdps(60):
        truth = exact_lambda_min(exact_gram(scaled, "ntk", 3)[0])
        assert mp.mpf(answer.lower) <= truth <= mp.mpf(answer.upper)
    if abs(exponent) <= 480:
        assert answer.status is Status.CERTIFIED


def test_one_row_whose_product_overflows() -> None:
    with pytest.raises(InputError, match="its Gram matrix overflows"):
        gram(np.array([[1.0, 2.0], [1e160, 0.0]]), "ntk", 2)


def test_data_whose_gram_matrix_overflows() -> None:
    with pytest.raises(InputError, match="rescale"):
        gram([[1e200, 0.0], [0.0, 1e200]])
    with pytest.raises(InputError, match="rescale"):
        lambda_min([[1e200, 0.0], [0.0, 1e200]])
    with pytest.raises(InputError, match="rectangular"):
        gram([[1.0, 2.0], [3.0]])
    for depths in (2, (2.0,), (None,), (0,)):
        with pytest.raises(InputError, match="depth"):
            lambda_min(np.eye(2), "ntk", depths)  # type: ignore[arg-type]


def test_arguments_that_make_no_sense() -> None:
    K = np.eye(3) + 1.0
    for arguments, said in (
        ({"start": ["a", "b", "c"]}, "real"),
        ({"start": [1j, 1.0, 1.0]}, "real"),
        ({"start": [1.0, 2.0]}, "length 3"),
        ({"start": np.zeros(3)}, "not zero"),
        ({"rtol": "x"}, "rtol"),
        ({"rtol": None}, "rtol"),
        ({"method": None}, "method"),
    ):
        with pytest.raises(InputError, match=said):
            smallest_eigenvalue(K, **arguments)


def test_status_does_not_depend_on_scale_nor_call_a_few_roundings_crude() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        X = rng.standard_normal((6, 2))
        A = X @ X.T
        A = np.tril(A) + np.tril(A, -1).T
        assert smallest_eigenvalue(A).status is smallest_eigenvalue(np.ldexp(A, -300)).status
    assert smallest_eigenvalue(np.eye(2), rtol=1e-15).status is not Status.UNRESOLVED
    assert smallest_eigenvalue([[5e-324]]).lower == 5e-324
    with np.errstate(all="raise"):
        smallest_eigenvalue(np.diag(10.0 ** np.linspace(-300, 299, 40)))


def test_threads_leave_the_process_as_it_was() -> None:
    """Answers from several threads are those of one, and nobody's warning filters change."""
    import warnings
    from concurrent.futures import ThreadPoolExecutor

    rng = np.random.default_rng(1)
    matrices = [gram(rng.standard_normal((int(n), 9)), "ntk", 3) for n in rng.integers(20, 60, size=40)]
    jobs = [(A, method) for A in matrices for method in METHODS]
    alone = [smallest_eigenvalue(A, method=method) for A, method in jobs]
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda job: smallest_eigenvalue(job[0], method=job[1]), jobs))
    assert together == alone
    assert list(warnings.filters) == before
