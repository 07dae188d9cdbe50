"""What made the numbers of a store, where that was not one and the same thing."""

from __future__ import annotations

import xarray as xr

from ntkmc.experiment.store.provenance import differing

_MOST = 4  # facts that are named


def mixed_origins(tree: xr.DataTree) -> str:
    """One line that says in what the environments differ that a store's trials were computed in; empty if in nothing.

    Examples
    --------
    >>> tree = xr.DataTree()
    >>> tree.attrs["environments"] = {"a": {"cpu": "X"}, "b": {"cpu": "Y"}}
    >>> mixed_origins(tree)
    'computed in 2 environments, which differ in cpu (X | Y); bits are promised within each, enclosures hold in all'
    """
    environments = list(tree.attrs.get("environments", {}).values())
    differences = differing(environments)
    if not differences:
        return ""
    named = [f"{name} ({' | '.join(value[:40] for value in values)})" for name, values in differences.items()]
    more = f" and {len(named) - _MOST} more facts" if len(named) > _MOST else ""
    return (
        f"computed in {len(environments)} environments, which differ in {', '.join(named[:_MOST])}{more}; bits are "
        "promised within each, enclosures hold in all"
    )
