"""Published statements that another claim corrects; the id is `printed/<id of the correction>`."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims.base import Bound, Claim, DeterministicClaim, Parameters, ScalingClaim, Statistics
from ntkmc.theory.claims.bounds import enclosed, ends, read_bound, scaled
from ntkmc.theory.claims.deterministic import gershgorin, ones_form
from ntkmc.theory.claims.domains import TANGENT_DEEP, TWO_DEPTHS, TWO_LAYERS, TWO_LAYERS_PAIRS
from ntkmc.theory.claims.scaling import SUB_GAUSSIAN, inner_product_ratio, log_concave_claim
from ntkmc.theory.claims.trial_statistics import UNSCALED
from ntkmc.theory.kernels.series import hermite_coefficient

_SLIDES = "Zolfaghari, Zohrabi & Velae, slides, 2025"


def _unscaled(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    r = int(parameters["r"])
    # 2**-45 is 256 u, the error of a coefficient of the series.
    return scaled(enclosed(statistics, f"unscaled{r}"), hermite_coefficient(r) ** 2, 2.0**-45)


def _with_dimension(context: CellContext, statistics: Statistics, parameters: Parameters) -> Bound:
    value = np.asarray(inner_product_ratio(context, statistics, parameters) * math.sqrt(context.d))
    return Bound(value, value)


PUBLISHED_FORMS: Final[tuple[Claim, ...]] = (
    DeterministicClaim(
        id="printed/det-gershgorin-coherence",
        statement="H-infinity has diagonal 1 (erratum E1), so that lambda_min is at least 1 - (n - 1) h(coherence).",
        latex=r"H_{ii} = 1 \;\Rightarrow\; \lambda_{\min}(H^\infty) \ge 1 - (n-1)\,h(\rho)",
        source=f"{_SLIDES}, as printed; h(1) = 1/2",
        domain=TWO_LAYERS,
        side="lower",
        needs=("coherence",),
        evaluate=gershgorin(1.0),
    ),
    DeterministicClaim(
        id="printed/det-label-sandwich-upper",
        statement="y'Hy is at most lambda_min |y| (erratum E2: inverse and square are missing); tried with y = (1, "
        "..., 1).",
        latex=r"y^\top H y \le \lambda_{\min}\,\|y\|_2",
        source=f"{_SLIDES}, as printed",
        domain=TWO_LAYERS_PAIRS,
        side="upper",
        needs=("ones_form", "norm_max"),
        evaluate=lambda context, statistics, parameters: scaled(
            enclosed(statistics, "lambda_min"), math.sqrt(context.n)
        ),
        quantity=ones_form,
    ),
    DeterministicClaim(
        id="printed/det-khatri-rao-deep",
        statement="lambda_min of K^(L) is at least mu_r^2 lambda_min((XX')^r), entrywise power, without "
        "normalization: true for unit rows, false in general, since the sides scale as |x|^2 and |x|^(2r).",
        latex=r"\lambda_{\min}(K^{(L)}) \ge \mu_r(\sigma)^2\,\lambda_{\min}\bigl((X^{*r})(X^{*r})^\top\bigr)",
        source="Nguyen, Mondelli & Montúfar, ICML 2021, mechanism of Thm 3.2, without normalization",
        domain=TANGENT_DEEP,
        side="lower",
        needs=ends("unscaled{r}"),
        evaluate=_unscaled,
        parameters=tuple({"r": r} for r in UNSCALED),
    ),
    DeterministicClaim(
        id="printed/det-depth-monotone",
        statement="Depth makes the small eigenvalues decay (erratum E10): lambda_min of K^(L) does not increase with "
        "L; tried against the next smaller depth of the study.",
        latex=r"\lambda_{\min}(K^{(L)}) \le \lambda_{\min}(K^{(L')}),\quad L' < L",
        source=f"{_SLIDES}, as printed: depth produces spectral bias",
        domain=TWO_DEPTHS,
        side="upper",
        needs=ends("shallower"),
        evaluate=read_bound("shallower"),
    ),
    ScalingClaim(
        id="printed/claim-coherence-subgaussian",
        statement="Isotropic sub-Gaussian rows: max |<x_i, x_j>| is at most C sqrt(log(n/delta) / d) max |x_k| with "
        "probability at least 1 - delta (erratum E3: for Cov x = I the sides differ by sqrt d).",
        latex=r"\max_{i<j}|\langle X_i, X_j\rangle| \le C\sqrt{\log(n/\delta)/d}\,\max_k\|X_k\|",
        source=f"{_SLIDES}, as printed",
        domain=SUB_GAUSSIAN,
        side="upper",
        needs=("inner_max", "norm_max"),
        evaluate=_with_dimension,
        parameters=({"delta": 0.1},),
        constants="C fitted",
        along=("n", "d"),
    ),
    log_concave_claim(
        "printed/claim-lipschitz-log-concave",
        "Every log-concave law concentrates Lipschitz functions like a Gaussian (erratum E8); tried where it says "
        "more than its correction, through all four functions at once.",
        r"x \text{ log-concave} \;\Rightarrow\; \mathbb{P}(|f(x)-\mathbb{E}f| > t) \le "
        r"2e^{-ct^2/\|f\|_{\mathrm{Lip}}^2}",
        f"{_SLIDES}, as printed",
        "log-concave laws of which nothing more is known, whose rows keep their norms",
        lambda context: not context.hypotheses.lipschitz,
    ),
)
