"""What a study that asks for spectra measures at each depth: the largest eigenvalue, or statistics of all of them.

`ntkmc.theory.claims.trial_statistics` says what they are. They are taken after everything else of a depth, from the
matrix that is there, and change no bit of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np

from ntkmc.linalg.eigen.rows import Rows
from ntkmc.linalg.eigen.spectrum import largest_eigenvalue
from ntkmc.linalg.eigen.symmetric import Symmetric
from ntkmc.linalg.gram.eigenvalues import Eigenvalues, enclose_all
from ntkmc.statistics import kolmogorov_distance
from ntkmc.theory.claims.trial_statistics import EDGES, LARGEST_SPECTRUM, LEVELS, SPECTRUM
from ntkmc.theory.predictions.predictors import SMALL_DIMENSION
from ntkmc.theory.predictions.spectral_law import FreeSum, elkaroui_law, free_sum_law

Values = dict[str, float]

_LAWS: Final = {"elkaroui_distance": elkaroui_law, "free_sum_distance": free_sum_law}


def spectrum_statistics(
    names: Iterable[str], matrix: Symmetric, error: float, rows: Rows, kernel: str, depth: int
) -> Values:
    """Statistics of the eigenvalues of any matrix within `error` of the one given, which is used up.

    Parameters
    ----------
    names : iterable of str
        Those wanted; others are left out.
    matrix : Symmetric
        The Gram matrix of `rows`; its upper triangle may hold a factor.
    error : float
        As of `ntkmc.linalg.gram.enclosures.kernel_error`.
    """
    wanted = [name for name in names if name in SPECTRUM]
    if not wanted:
        return {}
    matrix.restore()
    if set(wanted) <= set(EDGES) or matrix.order > LARGEST_SPECTRUM:
        ends = dict(zip(EDGES, largest_eigenvalue(matrix.A, error), strict=True))
        return unknown_spectrum(wanted) | _of(wanted, ends)
    found = enclose_all(matrix.A, error)
    values: Values = {EDGES[0]: max(float(found.lower[-1]), 0.0), EDGES[1]: float(found.upper[-1])}
    values |= {f"eigenvalue_q{round(100 * level):02d}": found.quantile(level) for level in LEVELS}
    values["spectrum_radius"] = found.radius
    if (slope := found.decay_exponent()) is not None:
        values |= {"decay_exponent_lower": slope.lower, "decay_exponent_upper": slope.upper}
    n, d = rows.unit.shape
    energy = float(np.mean(rows.norms**2))
    if d > SMALL_DIMENSION and n >= 2 and energy > 0.0:
        for name, law in _LAWS.items():
            if name in wanted:
                values[name] = _distance(found, energy, law(kernel, depth, n, d))
    return unknown_spectrum(wanted) | _of(wanted, values)


def unknown_spectrum(names: Iterable[str]) -> Values:
    """Statistics of eigenvalues that nobody computed: intervals of infinite length.

    >>> unknown_spectrum(["lambda_max_lower", "eigenvalue_q50", "spectrum_radius", "coherence"])
    {'lambda_max_lower': -inf, 'eigenvalue_q50': 0.0, 'spectrum_radius': inf}
    """
    return {name: _nothing(name) for name in names if name in SPECTRUM}


def _nothing(name: str) -> float:
    if name.startswith("eigenvalue_q"):
        return 0.0  # and the radius is infinite
    return -np.inf if name.endswith("_lower") else np.inf


def _of(wanted: Iterable[str], values: Values) -> Values:
    return {name: float(values[name]) for name in wanted if name in values}


def _distance(found: Eigenvalues, energy: float, law: FreeSum) -> float:
    """To a law for rows of mean squared norm 1. What the eigenvalues' radius adds is far below the law's own error."""
    return kolmogorov_distance(found.values / energy, law.cdf, law.cdf_below)
