"""Declaration of the statistics per draw that claims may need; the store's variables and `plan` use it.

A study measures only the statistics that its claims need. Most are computed from matrices that a trial forms anyway.
Others require additional eigenvalue problems, whose number is declared; claims that need them must be selected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple


@dataclass(frozen=True)
class Statistic:
    """One number per draw, or per draw and depth.

    Attributes
    ----------
    name : str
        Variable of the store's `trials` group.
    sentence : str
        Description.
    per_depth : bool
        Whether it depends on the depth.
    eigenvalues : float
        Number of eigenvalue problems of size n that it requires; 0 if it is computed from an existing matrix.
    each_layer : bool
        Whether `eigenvalues` are taken for each layer l <= L.
    largest_order : int or None
        Largest n for which it is computed; above, it is unknown and requires no eigenvalue problem.
    """

    name: str
    sentence: str
    per_depth: bool = False
    eigenvalues: float = 0.0
    each_layer: bool = False
    largest_order: int | None = None


ALWAYS: Final = ("coherence", "norm_min", "norm_max")
"""Statistics that are always measured, independently of the claims."""

POWERS: Final = (1, 2, 3, 4, 5, 6)
"""Orders r of the entrywise powers of the cosines whose smallest eigenvalue can be measured."""

KHATRI_RAO: Final = (1, 2, 3, 4, 6)
"""Orders r of the Khatri-Rao powers with the norms of the rows."""

UNSCALED: Final = (2, 4, 6)
"""Orders r of the entrywise powers of XX'."""

HIGHEST_HARMONIC: Final = 6
"""Degrees up to which the Gegenbauer bound takes eigenvalues; of higher ones it takes the free bound 0."""


LEVELS: Final = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
"""Levels of the quantiles of a draw's eigenvalues."""

LARGEST_SPECTRUM: Final = 1024
"""Largest n for which a trial computes all eigenvalues (half a second and 32 MiB on one core); above, the edges."""

SPECTRUM_COST: Final = 12.0
"""All eigenvalues with their error bound, in units of one enclosure of lambda_min."""


def _enclosed(
    name: str, description: str, *, per_depth: bool = False, each_layer: bool = False, eigenvalues: float = 1.0
) -> list[Statistic]:
    """Return the statistics of both ends of an enclosure; the lower one carries the cost."""
    return [
        Statistic(f"{name}_lower", f"proved lower bound on {description}", per_depth, eigenvalues, each_layer),
        Statistic(f"{name}_upper", f"proved upper bound on {description}", per_depth),
    ]


_DECLARED: Final = [
    # Of the rows: once per draw.
    Statistic("coherence", "largest absolute cosine between two rows"),
    Statistic("norm_min", "smallest row norm"),
    Statistic("norm_max", "largest row norm"),
    Statistic("first_cosine", "absolute cosine between the first two rows"),
    Statistic("cosine_max", "largest cosine between two rows"),
    Statistic("inner_max", "largest absolute inner product of two rows"),
    Statistic("norm_mean", "mean norm of a row"),
    Statistic("norm_square", "mean squared norm of a row"),
    Statistic("mean_square", "unbiased estimate of |E x|**2: mean inner product of two rows"),
    Statistic("covariance_square", "mean squared inner product of two rows; tr Cov**2 if the mean is zero"),
    Statistic("first_norm", "norm of the first row"),
    Statistic("first_coordinate", "first coordinate of the first row"),
    Statistic("largest_coordinate", "largest coordinate of the first row"),
    Statistic("cube_distance", "distance of the first row, in units of its standard scale, to corners of sum <= 0"),
    # Of the Gram matrix that a trial forms anyway: per depth, without an eigenvalue problem.
    Statistic("gershgorin", "smallest diagonal entry less the absolute sum of its row", per_depth=True),
    Statistic("pair_bound", "smallest eigenvalue of a 2 x 2 principal submatrix", per_depth=True),
    Statistic("entry_max", "largest absolute off-diagonal entry", per_depth=True),
    Statistic("trace_mean", "mean diagonal entry: the mean eigenvalue", per_depth=True),
    Statistic("trace_spread", "standard deviation of the eigenvalues, from the Frobenius norm", per_depth=True),
    Statistic("ones_form", "sum of all entries: y'Ky for y = (1, ..., 1)", per_depth=True),
    # Additional eigenvalue problems.
    *(s for r in POWERS for s in _enclosed(f"power{r}", f"lambda_min of the cosines to the power {r}, entrywise")),
    *_enclosed("kappa0", "lambda_min of kappa_0 of the cosines"),
    *(s for r in KHATRI_RAO for s in _enclosed(f"khatri_rao{r}", f"lambda_min of |x_i| cos_ij^{r} |x_j|")),
    *(s for r in UNSCALED for s in _enclosed(f"unscaled{r}", f"lambda_min of (x_i'x_j)^{r}")),
    *_enclosed("log_det_linear", "log det X X'"),
    *_enclosed("directions", "lambda_min of the kernel of the directions x / |x|", per_depth=True),
    *_enclosed("layers", "the sum over layers l of lambda_min(G^(l))", per_depth=True, each_layer=True),
    *_enclosed("log_det", "log det K", per_depth=True),
    *_enclosed("ones_inverse", "y'K^-1 y for y = (1, ..., 1)", per_depth=True),
    *_enclosed(
        "gegenbauer",
        f"the sum over degrees k <= {HIGHEST_HARMONIC} of xi_k lambda_min(Q_k(cosines))",
        per_depth=True,
        eigenvalues=HIGHEST_HARMONIC,
    ),
    # Of the spectrum. `spectrum_radius` carries the cost of all quantiles, distances and the exponent.
    *_enclosed("lambda_max", "lambda_max", per_depth=True),
    *(
        Statistic(f"eigenvalue_q{round(100 * level):02d}", f"the eigenvalues' quantile of level {level:g}", True)
        for level in LEVELS
    ),
    Statistic(
        "spectrum_radius",
        "proved bound on the error of the eigenvalues' quantiles; inf: n is too large for them",
        per_depth=True,
        eigenvalues=SPECTRUM_COST,
        largest_order=LARGEST_SPECTRUM,
    ),
    *_enclosed(
        "decay_exponent",
        "the slope of log(k-th largest eigenvalue) in log k for n/16 <= k <= n/2, by least squares",
        per_depth=True,
        eigenvalues=0.0,
    ),
    Statistic(
        "elkaroui_distance",
        "Kolmogorov distance of the eigenvalues over the mean squared row norm to El Karoui's law; inf: not known",
        per_depth=True,
    ),
    Statistic(
        "free_sum_distance",
        "Kolmogorov distance of the eigenvalues over the mean squared row norm to the free sum's law; inf: not known",
        per_depth=True,
    ),
]

STATISTICS: Final = {statistic.name: statistic for statistic in _DECLARED}


def required(needs: Iterable[str]) -> tuple[str, ...]:
    """Return the statistics to measure for given needs, in the order of declaration.

    >>> required(["gershgorin", "coherence", "lambda_min_lower"])
    ('coherence', 'norm_min', 'norm_max', 'gershgorin')
    """
    names = {*ALWAYS, *needs}
    return tuple(name for name in STATISTICS if name in names)


EDGES: Final = ("lambda_max_lower", "lambda_max_upper")
"""Statistics of a study with `spectrum: edges`; lambda_min is always measured."""

SPECTRUM: Final = tuple(
    name
    for name in STATISTICS
    if name in EDGES or name.startswith(("eigenvalue_q", "spectrum_", "decay_exponent", "elkaroui_", "free_sum_"))
)
"""Statistics of a study with `spectrum: full`."""


def eigenvalue_problems(names: Iterable[str], depths: Iterable[int], n: int = 0) -> float:
    """Return the number of eigenvalue problems of size n per draw that statistics require, in addition to lambda_min.

    >>> eigenvalue_problems(["coherence", "power2_lower", "layers_lower"], (2, 3))
    6.0
    """
    total = 0.0
    for name in names:
        statistic = STATISTICS[name]
        if statistic.largest_order is not None and n > statistic.largest_order:
            continue
        # The layers up to each depth are problems of their own: they are not shared between depths.
        times = [depth if statistic.each_layer else 1 for depth in depths] if statistic.per_depth else [1]
        total += statistic.eigenvalues * sum(times)
    return total


class MeasuredGroup(NamedTuple):
    """Group of the store with additional measurements on each draw along an axis of its own, as claims refer to it.

    `ntkmc.experiment.study.measurements` declares the measurements.

    Attributes
    ----------
    name : str
        Name of the group.
    symbol : str
        Name of the parameter of a claim that holds a value along the axis.
    prefix : str
        Prefix of the names of its variables where they are joined with variables of the draws.
    named : bool
        Whether values along the axis are names rather than integers.
    """

    name: str
    symbol: str
    prefix: str
    named: bool = False


FINITE_WIDTH: Final = MeasuredGroup("finite_width", "m", "network_")
TRAINING: Final = MeasuredGroup("training", "target", "training_", named=True)
TRAINED: Final = MeasuredGroup("trained", "network", "trained_", named=True)
SKETCHING: Final = MeasuredGroup("sketching", "s", "sketch_")
