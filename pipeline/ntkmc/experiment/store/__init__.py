"""Stores of results: location, layout, journal of finished blocks, groups with one value per trial, writer, readers.

May import `trial`, `schema` and `study`.
"""

from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.reading import attributes_without_imports, open_results, study_of
from ntkmc.experiment.store.store import Store

__all__ = [
    "Block",
    "Journal",
    "Lease",
    "Location",
    "Store",
    "attributes_without_imports",
    "open_results",
    "study_of",
]
