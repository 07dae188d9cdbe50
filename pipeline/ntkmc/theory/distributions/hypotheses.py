"""Hypotheses of theorems about lambda_min, as properties of a law of data rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Hypotheses:
    """Proved properties of a row x of a law, as drawn, in one dimension d. None: unknown, or not declared.

    Attributes
    ----------
    independent_rows : bool
        Rows are independent and identically distributed (not so for rows drawn without replacement).
    zero_mean : bool or None
        E x = 0.
    isotropic : bool or None
        The covariance is a multiple of the identity.
    unit_norm : bool or None
        |x| = 1 always.
    norm_scaling : bool or None
        E|x| = Theta(sqrt d), E|x|**2 = Theta(d), E|x - Ex|**2 = Omega(d), up to a scaling of x by a function of d
        (Nguyen, Mondelli & Montúfar, ICML 2021, Assumption 2.1).
    lipschitz : bool or None
        There is c, independent of d, with P(|f(x) - E f| > t) <= 2 exp(-c t**2 / |f|_Lip**2) for all Lipschitz f,
        once x is scaled so that E|x|**2 = d (Assumption 2.2 there).
    log_concave : bool or None
        The law has a log-concave density.
    sub_gaussian : float or None
        K with E exp(<v, x>) <= exp(K**2 |v|**2 / 2) for every v.
    """

    independent_rows: bool = True
    zero_mean: bool | None = None
    isotropic: bool | None = None
    unit_norm: bool | None = None
    norm_scaling: bool | None = None
    lipschitz: bool | None = None
    log_concave: bool | None = None
    sub_gaussian: float | None = None


UNKNOWN: Final = Hypotheses(independent_rows=False)
"""Hypotheses of a law that declares none."""
