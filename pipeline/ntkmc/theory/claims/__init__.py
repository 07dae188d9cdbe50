"""Theorems about lambda_min as objects that can be evaluated: importing this package registers all of them."""

from ntkmc.theory.claims import deterministic, event  # noqa: F401  (registers the claims)
from ntkmc.theory.claims.base import CLAIMS, Bound, CellContext, Claim, Instance, claims, instances

__all__ = ["CLAIMS", "Bound", "CellContext", "Claim", "Instance", "claims", "instances"]
