"""Power series and Hermite coefficients against tables and quadrature."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ntkmc.errors import InputError
from ntkmc.theory.kernels.functions import kernel_function
from ntkmc.theory.kernels.series import hermite_coefficient, series_coefficients, tail

# (b_0, b_1, b_2, sum from 2 on, sum from 3 on)
COEFFICIENTS = {
    ("h-infinity", 2): (0, 0.25, 0.159154943092, 0.25, 0.0908450569081),
    ("ntk", 1): (0, 1, 0, 0, 0),
    ("ntk", 2): (0.318309886184, 1, 0.477464829276, 0.681690113816, 0.204225284541),
    ("ntk", 3): (0.685708636283, 0.958113064251, 0.61555687218, 1.35617829947, 0.740621427287),
    ("ntk", 4): (1.0603881068, 0.912573077387, 0.665090926575, 2.02703881581, 1.36194788924),
    ("ntk", 5): (1.43039049721, 0.871478079743, 0.681713902091, 2.69813142305, 2.01641752096),
    ("ntk", 6): (1.79219596684, 0.836121930934, 0.684326916254, 3.37168210222, 2.68735518597),
}
HERMITE = {
    0: 0.39894228040143,
    1: 0.5,
    2: 0.28209479177388,
    3: 0.0,
    4: -0.08143375198382,
    6: 0.044603102903819,
    8: -0.029801701688056,
    10: 0.0219896262794,
    12: -0.017225561691269,
}


@pytest.mark.parametrize(("key", "row"), COEFFICIENTS.items())
def test_coefficients(key: tuple[str, int], row: tuple[float, ...]) -> None:
    kernel, depth = key
    found = series_coefficients(kernel, depth, 4)
    assert found[:3] == pytest.approx(row[:3], abs=1e-11)
    assert float(tail(1.0, kernel, depth, 2)) == pytest.approx(row[3], abs=1e-11)
    assert float(tail(1.0, kernel, depth, 3)) == pytest.approx(row[4], abs=1e-11)


def test_layer_coefficients() -> None:
    assert series_coefficients("conjugate", 3, 5) == pytest.approx(
        [0.493731, 0.301558, 0.137961, 0.029198, 0.015920], abs=1e-6
    )
    assert series_coefficients("conjugate", 4, 5) == pytest.approx(
        [0.604826, 0.200345, 0.108300, 0.035719, 0.019110], abs=1e-6
    )


@pytest.mark.parametrize("depth", [2, 3, 5])
def test_series_sums_to_the_kernel(depth: int) -> None:
    t = np.linspace(0.0, 0.5, 11)
    series = np.polynomial.polynomial.polyval(t, series_coefficients("ntk", depth, 60))
    np.testing.assert_allclose(series, kernel_function(t, "ntk", depth), atol=2e-15)


@given(st.sampled_from(list(COEFFICIENTS)), st.integers(0, 12), st.floats(0.0, 1.0))
def test_tails_are_non_negative_and_increasing(key: tuple[str, int], order: int, t: float) -> None:
    values = tail([t * 0.99, t], *key, order)
    assert values[0] >= -1e-14
    assert values[1] >= values[0] - 1e-14


@pytest.mark.parametrize(("r", "expected"), HERMITE.items())
def test_hermite_table(r: int, expected: float) -> None:
    assert hermite_coefficient(r) == pytest.approx(expected, abs=1e-14)


def test_hermite_by_quadrature() -> None:
    """Half-line Gauss quadrature of sigma(g) h_r(g) against the normal density."""
    from scipy.integrate import quad
    from scipy.special import eval_hermitenorm, factorial

    for r in range(9):
        value, _ = quad(
            lambda g, r=r: (
                g * eval_hermitenorm(r, g) / np.sqrt(factorial(r)) * np.exp(-g * g / 2) / np.sqrt(2 * np.pi)
            ),
            0,
            40,
        )
        assert hermite_coefficient(r) == pytest.approx(value, abs=1e-9)


def test_second_layer_is_twice_hermite_squared() -> None:
    found = series_coefficients("conjugate", 2, 13)
    assert found == pytest.approx([2 * hermite_coefficient(r) ** 2 for r in range(13)], abs=1e-14)


def test_refusals() -> None:
    with pytest.raises(InputError, match="non-negative"):
        hermite_coefficient(-1)
    with pytest.raises(InputError, match="terms"):
        series_coefficients("ntk", 2, 0)
