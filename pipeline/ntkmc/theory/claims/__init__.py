"""Theorems and conjectures about lambda_min as objects that can be evaluated.

Importing the package registers all claims. It may import `kernels`, `distributions` and `predictions`.
"""

from ntkmc.theory.claims import (  # noqa: F401  (registers the claims, in the order in which they are shown)
    deterministic,
    networks,
    probability,
    published_forms,
    scaling,
    sketching,
    training,
)
from ntkmc.theory.claims.base import (
    CLAIMS,
    Bound,
    Claim,
    Instance,
    claims,
    find_instance,
    instances,
    is_costly,
    register,
    select,
)

__all__ = [
    "CLAIMS",
    "Bound",
    "Claim",
    "Instance",
    "claims",
    "find_instance",
    "instances",
    "is_costly",
    "register",
    "select",
]
