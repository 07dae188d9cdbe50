"""Theorems and conjectures about lambda_min as objects that can be evaluated.

Importing the package registers all claims. It may import `kernels`, `distributions` and `predictions`.
"""

# isort: off
# The claims are shown in the order of their registration, which is that of these imports.
from ntkmc.theory.claims import deterministic, probability, networks  # noqa: F401
from ntkmc.theory.claims import scaling, published_forms, sketching, training  # noqa: F401

# isort: on
from ntkmc.theory.claims.base import (
    CLAIMS,
    Bound,
    Claim,
    DeterministicClaim,
    EventClaim,
    InequalityClaim,
    Instance,
    ProbabilityClaim,
    ScalingClaim,
    TrialClaim,
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
    "DeterministicClaim",
    "EventClaim",
    "InequalityClaim",
    "Instance",
    "ProbabilityClaim",
    "ScalingClaim",
    "TrialClaim",
    "claims",
    "find_instance",
    "instances",
    "is_costly",
    "register",
    "select",
]
