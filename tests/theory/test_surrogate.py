"""Polynomials that stand for kernels: against Taylor coefficients by mpmath, and against the kernels."""

from __future__ import annotations

import mpmath as mp
import numpy as np
import pytest

from ntkmc.errors import InputError
from ntkmc.linalg.sketching.features import DEGREE
from ntkmc.theory.kernels.functions import kernel_function
from ntkmc.theory.kernels.series import surrogate
from reference import exact_kernel

KERNELS = [("h-infinity", 2), ("ntk", 2), ("ntk", 3), ("ntk", 5), ("conjugate", 2), ("conjugate", 4)]


@pytest.mark.parametrize(("kernel", "depth"), KERNELS)
def test_head_is_the_power_series_and_ends_are_exact(kernel: str, depth: int) -> None:
    p = surrogate(kernel, depth, 12)
    with mp.workdps(60):
        exact = mp.taylor(lambda rho: exact_kernel(rho, kernel, depth), 0, 10)
        ends = [float(exact_kernel(mp.mpf(end), kernel, depth)) for end in (1, -1)]
    assert np.max(np.abs(p[:11] - [float(c) for c in exact])) <= 1e-12
    assert (p >= 0.0).all()
    for end, value in zip((1.0, -1.0), ends, strict=True):
        assert abs(np.polynomial.polynomial.polyval(end, p) - value) <= 1e-13 * depth


@pytest.mark.parametrize(("kernel", "depth"), KERNELS)
@pytest.mark.parametrize("degree", [2, 3, 9, DEGREE, 63])
def test_it_lies_above_the_kernel_by_what_is_said(kernel: str, depth: int, degree: int) -> None:
    t = np.linspace(-1.0, 1.0, 4001)
    p = surrogate(kernel, depth, degree)
    excess = np.polynomial.polynomial.polyval(t, p) - kernel_function(t, kernel, depth)
    mirrored = excess[::-1]
    rounding = 1e-13 * depth
    positive = t >= 0.0
    assert (excess[positive] >= -rounding).all()
    assert (np.abs(mirrored[positive]) <= excess[positive] + rounding).all()
    assert (excess[positive] <= p[-2:].sum() * t[positive] ** (degree - 1) + rounding).all()
    if degree == DEGREE:
        size = depth if kernel == "ntk" else 1.0
        for cosine, error in ((0.7, 2e-6), (0.9, 4e-3), (1.0, 0.04)):
            assert np.max(np.abs(excess[np.abs(t) <= cosine])) <= error * size


@pytest.mark.parametrize("degree", [1, 64, True])
def test_other_degrees_are_refused(degree: int) -> None:
    with pytest.raises(InputError, match="degree must be an integer from 2 to 63"):
        surrogate("ntk", 2, degree)
