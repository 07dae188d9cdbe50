"""Theorems and conjectures about lambda_min as objects that can be evaluated.

Importing the package registers all claims. It may import `kernels`, `distributions` and `predictions`.
"""

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
from ntkmc.theory.claims.deterministic import DETERMINISTIC_CLAIMS
from ntkmc.theory.claims.domains import Domain
from ntkmc.theory.claims.networks import NETWORK_CLAIMS
from ntkmc.theory.claims.probability import PROBABILITY_CLAIMS
from ntkmc.theory.claims.published_forms import PUBLISHED_FORMS
from ntkmc.theory.claims.scaling import SCALING_CLAIMS
from ntkmc.theory.claims.sketching import SKETCHING_CLAIMS
from ntkmc.theory.claims.training import TRAINING_CLAIMS

# Claims are listed in the order of their registration.
register(*DETERMINISTIC_CLAIMS, *PROBABILITY_CLAIMS, *NETWORK_CLAIMS, *SCALING_CLAIMS)
register(*PUBLISHED_FORMS, *SKETCHING_CLAIMS, *TRAINING_CLAIMS)

__all__ = [
    "CLAIMS",
    "Bound",
    "Claim",
    "DeterministicClaim",
    "Domain",
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
