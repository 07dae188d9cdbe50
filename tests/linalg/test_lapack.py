"""BLAS and LAPACK by address: the right routine, the right triangle, the right argument."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import cholesky, eigvalsh_tridiagonal, solve_triangular

from ntkmc.linalg.eigen import lapack


def positive(n: int, dtype: type[np.floating]) -> np.ndarray:
    X = np.random.default_rng(n).standard_normal((n, 2 * n))
    return np.asarray((X @ X.T / n + np.eye(n)).astype(dtype))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n", [1, 2, 7, 40, 100])
def test_factor_and_solve(n: int, dtype: type[np.floating]) -> None:
    A = positive(n, dtype)
    W = A.copy()
    W[np.tril_indices(n, -1)] = np.nan  # neither read nor written
    assert lapack.factor(W) == 0
    tolerance = 100 * np.finfo(dtype).eps
    assert np.allclose(np.triu(W), cholesky(A.astype(float)), rtol=tolerance, atol=tolerance)
    assert np.isnan(W[np.tril_indices(n, -1)]).all()
    x = np.ones(n, dtype)
    lapack.solve(W, x)
    assert np.allclose(A @ x, 1.0, atol=100 * tolerance)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("n", "block"), [(10, 3), (64, 16), (100, 33), (50, 50), (50, 64)])
def test_blocked_factor(n: int, block: int, dtype: type[np.floating]) -> None:
    A = positive(n, dtype)
    whole, blocked = A.copy(), A.copy()
    assert lapack.factor(whole) == 0
    assert lapack.factor_blocked(blocked, block) == 0
    tolerance = 100 * np.finfo(dtype).eps
    assert np.allclose(np.triu(blocked), np.triu(whole), rtol=tolerance, atol=tolerance)
    assert np.array_equal(np.tril(blocked, -1), np.tril(A, -1))


def test_break_down_names_the_minor() -> None:
    for broken in (1, 5, 17, 40):
        A = positive(40, np.float64)
        A[broken - 1, broken - 1] = -1.0
        assert lapack.factor(A.copy()) == broken
        assert lapack.factor_blocked(A.copy(), 8) == broken
    A = positive(10, np.float64)
    A[4, 4] = np.inf
    assert lapack.factor(A) != 0


def test_leading_minor() -> None:
    A = positive(9, np.float64)
    lapack.factor(A)
    x = np.arange(1.0, 10.0)
    expected = solve_triangular(np.triu(A)[:6, :6], x[:6])
    lapack.solve_leading(A, x, 6)
    assert np.allclose(x[:6], expected)
    assert np.array_equal(x[6:], [7.0, 8.0, 9.0])


def test_products_read_one_triangle() -> None:
    A = positive(12, np.float64)
    x = np.random.default_rng(0).standard_normal(12)
    y, y32 = np.empty(12), np.empty(12, np.float32)
    lower = np.where(np.tri(12, dtype=bool), A, np.nan)
    lapack.product(lower, x, y)
    assert np.allclose(y, A @ x)
    upper = np.where(np.tri(12, dtype=bool).T, A, np.nan).astype(np.float32)
    lapack.product_single(upper, x.astype(np.float32), y32)
    assert np.allclose(y32, A @ x, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("n", [1, 2, 30])
def test_tridiagonal(n: int) -> None:
    rng = np.random.default_rng(n)
    d, e = rng.standard_normal(n), rng.standard_normal(n)
    count = min(2, n)
    values, vectors = lapack.tridiagonal_eigenpairs(d, e, count, 0.0)
    T = np.diag(d) + np.diag(e[: n - 1], 1) + np.diag(e[: n - 1], -1)
    assert np.allclose(values, eigvalsh_tridiagonal(d, e[: n - 1])[:count])
    assert np.allclose(T @ vectors.T, vectors.T * values, atol=1e-12)
