"""Laws and their hypotheses against closed forms. Seeded; each p-value is refused below 1e-4."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from ntkmc.errors import InputError
from ntkmc.theory.distributions import build, sample
from ntkmc.theory.distributions.normalization import normalize

FALSE_ALARM = 1e-4


def draw(spec: Any, d: int, n: int = 20_000, seed: int = 1) -> Any:
    return sample(spec, n, d, np.random.default_rng(seed))


def test_cube_and_laplace() -> None:
    edge = math.sqrt(3.0)
    cube = draw("uniform-cube", 4, 5000)
    assert stats.kstest(cube.ravel(), stats.uniform(-edge, 2 * edge).cdf).pvalue > FALSE_ALARM
    assert np.abs(cube).max() <= edge
    exponential = draw("laplace", 4, 5000).ravel()
    assert stats.kstest(exponential, stats.laplace(scale=math.sqrt(0.5)).cdf).pvalue > FALSE_ALARM


@pytest.mark.parametrize("d", [1, 3, 6])
def test_ball(d: int) -> None:
    """(|x| / R)^d is uniform, and independent of it the direction is that of the sphere."""
    X = draw("uniform-ball", d)
    norms = np.linalg.norm(X, axis=1)
    assert stats.kstest((norms / math.sqrt(d + 2)) ** d, "uniform").pvalue > FALSE_ALARM
    if d > 1:
        cosines = (X[:, 0] / norms) ** 2
        assert stats.kstest(cosines, stats.beta(0.5, (d - 1) / 2).cdf).pvalue > FALSE_ALARM
        assert stats.spearmanr(cosines, norms).pvalue > FALSE_ALARM


def test_sparse() -> None:
    p, d = 0.3, 5
    X = draw({"sparse": {"p": p}}, d)
    kept = X != 0.0
    assert stats.binomtest(int(kept.sum()), kept.size, p).pvalue > FALSE_ALARM
    counts = np.bincount(kept.sum(axis=1), minlength=d + 1)
    assert stats.chisquare(counts, len(X) * stats.binom(d, p).pmf(np.arange(d + 1))).pvalue > FALSE_ALARM
    assert stats.kstest(X[kept], stats.norm(scale=p**-0.5).cdf).pvalue > FALSE_ALARM


def ar1(rho: float, d: int) -> Any:
    return rho ** np.abs(np.subtract.outer(np.arange(d), np.arange(d)))


COVARIANCES: list[tuple[Any, int, Any]] = [
    ({"gaussian-ar1": {"rho": 0.7}}, 5, ar1(0.7, 5)),
    ({"gaussian-ar1": {"rho": -0.9}}, 4, ar1(-0.9, 4)),
    ({"spiked": {"strength": 3}}, 4, np.diag([4.0, 1.0, 1.0, 1.0])),
    ({"spiked": {"strength": 0.5, "rank": 2}}, 3, np.diag([1.5, 1.5, 1.0])),
    ({"low-rank": {"rank": 2}}, 5, np.diag([2.5, 2.5, 0.0, 0.0, 0.0])),
    ({"low-rank": {"rank": 3}}, 3, np.eye(3)),
]


@pytest.mark.parametrize(("spec", "d", "covariance"), COVARIANCES, ids=str)
def test_gaussian_covariances(spec: Any, d: int, covariance: Any) -> None:
    """Each entry within 5 standard errors (6e-7 each); whitened, chi-square norms; declared constants dominate."""
    X = draw(spec, d)
    products = X[:, :, None] * X[:, None, :]
    error = np.sqrt((np.outer(np.diag(covariance), np.diag(covariance)) + covariance**2) / len(X))
    assert (np.abs(products.mean(axis=0) - covariance) <= 5 * error).all()
    rank = np.linalg.matrix_rank(covariance)
    energy = np.einsum("ni,ij,nj->n", X, np.linalg.pinv(covariance), X)
    assert stats.kstest(energy, stats.chi2(rank).cdf).pvalue > FALSE_ALARM
    law = build(spec, trusted=True)
    assert law.second_moment(d) == pytest.approx(np.trace(covariance), rel=1e-14)
    declared = law.hypotheses(d)
    assert declared.isotropic == np.allclose(covariance, covariance[0, 0] * np.eye(d))
    assert declared.log_concave == (rank == d)
    assert declared.sub_gaussian is not None
    assert declared.sub_gaussian**2 >= np.linalg.eigvalsh(covariance)[-1] * (1 - 1e-14)


@pytest.mark.parametrize("clusters", [1, 2, 3, 8])
def test_mixture(clusters: int) -> None:
    """Far apart, rows tell their centre: frequencies are equal, and the rest is standard normal."""
    d, separation = 4, 10.0
    far = separation * math.sqrt(d)
    centres = np.array([sign * far * np.eye(d)[j] for j in range(d) for sign in (1, -1)])[:clusters]
    spec = {"mixture": {"clusters": clusters, "separation": separation}}
    X = draw(spec, d)
    nearest = np.argmin(np.linalg.norm(X[:, None] - centres, axis=2), axis=1)
    if clusters > 1:
        assert stats.chisquare(np.bincount(nearest, minlength=clusters)).pvalue > FALSE_ALARM
    assert stats.kstest((X - centres[nearest]).ravel(), "norm").pvalue > FALSE_ALARM
    law = build(spec, trusted=True)
    assert law.second_moment(d) == pytest.approx(d + np.mean(np.sum(centres**2, axis=1)))
    spread = np.cov(centres.T, bias=True) if clusters > 1 else np.zeros((d, d))
    declared = law.hypotheses(d)
    assert declared.zero_mean == np.allclose(centres.mean(axis=0), 0.0)
    assert declared.isotropic == np.allclose(spread, spread[0, 0] * np.eye(d))
    assert (declared.sub_gaussian is not None) == declared.zero_mean


@pytest.mark.parametrize("separation", [0.49, 0.51])
def test_two_close_clusters_are_log_concave(separation: float) -> None:
    """At d = 4 the centres are at 2 s: by the second derivative of the density's logarithm, exactly for s <= 1/2."""
    t = np.linspace(-3.0, 3.0, 2001)
    a = 2 * separation
    logarithm = np.log(stats.norm.pdf(t - a) + stats.norm.pdf(t + a))
    concave = bool((np.diff(logarithm, 2) <= 0.0).all())
    declared = build({"mixture": {"clusters": 2, "separation": separation}}, trusted=True).hypotheses(4)
    assert declared.log_concave is concave


def test_what_heavy_tails_satisfy() -> None:
    finite, infinite, wild = (build({"student-t": {"df": df}}, trusted=True).hypotheses(3) for df in (2.5, 2.0, 1.0))
    assert (finite.norm_scaling, finite.isotropic, finite.zero_mean) == (True, True, True)
    assert (infinite.norm_scaling, infinite.isotropic, infinite.zero_mean) == (False, False, True)
    assert wild.zero_mean is False
    assert finite.sub_gaussian is None


def test_concentration_as_published() -> None:
    """Who satisfies Assumption 2.2: the table of the theory, row by row."""
    specs: dict[bool, list[Any]] = {
        True: ["gaussian", "sphere", "uniform-cube", "uniform-ball", {"gaussian-ar1": {"rho": 0.5}}],
        False: ["laplace", "rademacher", {"student-t": {"df": 9}}, {"low-rank": {"rank": 2}}],
    }
    for holds, laws in specs.items():
        assert all(build(spec, trusted=True).hypotheses(8).lipschitz is holds for spec in laws)


@pytest.mark.parametrize(
    ("spec", "d", "said"),
    [
        ({"spiked": {"strength": 1, "rank": 4}}, 3, "d of at least its rank 4, got d = 3"),
        ({"low-rank": {"rank": 4}}, 3, "d of at least its rank 4, got d = 3"),
        ({"mixture": {"clusters": 7, "separation": 1}}, 3, "clusters must be at most 6 at d = 3"),
    ],
)
def test_dimensions_refused(spec: Any, d: int, said: str) -> None:
    with pytest.raises(InputError, match=said):
        draw(spec, d, 2)


def test_zero_rows_have_no_direction() -> None:
    law = build({"sparse": {"p": 0.01}}, trusted=True)
    X = law.sample(50, 2, np.random.default_rng(0))
    with pytest.raises(InputError, match="is zero and cannot be normalized; use normalize: mean or none"):
        normalize(X, law, "unit")
    assert np.isfinite(normalize(X, law, "mean")).all()
