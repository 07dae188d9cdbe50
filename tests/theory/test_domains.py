"""Cells to which each claim applies, against the table `domains.txt`.

A row of the table is a claim with its parameters; it lists the cells below to which the claim applies, of which each
differs from another one in one property. A change of the table is a change of what is claimed: read it, line by line,
before `python tests/theory/test_domains.py` writes the table anew.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ntkmc.theory.cell import CellContext
from ntkmc.theory.claims import instances, select
from ntkmc.theory.distributions.hypotheses import Hypotheses

TABLE = Path(__file__).with_name("domains.txt")

GAUSSIAN = Hypotheses(True, True, True, False, True, True, True, 1.0)
DEEP = CellContext("ntk", 3, 6, 8, False, "gaussian", GAUSSIAN, math.sqrt(8.0), 1.0, 2, 4)
SPHERE = replace(
    DEEP, kernel="h-infinity", depth=2, unit_rows=True, law="sphere", hypotheses=replace(GAUSSIAN, unit_norm=True),
    scale=1.0, shallower=None,
)  # fmt: skip

BASES = {
    "D:": DEEP,
    "S:": SPHERE,
    "C:": replace(DEEP, kernel="conjugate"),
    "R:": replace(DEEP, law="rademacher", hypotheses=replace(GAUSSIAN, log_concave=False)),
}

CHANGES: dict[str, dict[str, Any]] = {
    "": {},
    "L=1": {"depth": 1},
    "L=2": {"depth": 2},
    "n=1": {"n": 1},
    "n=2": {"n": 2},
    "n=8": {"n": 8},
    "n=9": {"n": 9},
    "n=200": {"n": 200},
    "n=10^6": {"n": 10**6},
    "d=1": {"d": 1},
    "d=2": {"d": 2},
    "d=3": {"d": 3},
    "d=10": {"d": 10},
    "d=11": {"d": 11},
    "d=500": {"d": 500},
    "d=10^5": {"d": 10**5},
    "unit rows": {"unit_rows": True},
    "other rows": {"unit_rows": False},
    "rademacher": {"law": "rademacher"},
    "uniform-ball": {"law": "uniform-ball"},
    "other law": {"law": "mine"},
    "no scale": {"scale": None},
    "no moment": {"second_moment": None},
    "one depth": {"shallower": None},
    "one n": {"fewer": None},
}
for name in ("independent_rows", "zero_mean", "isotropic", "norm_scaling", "lipschitz", "log_concave", "sub_gaussian"):
    CHANGES[f"not {name}"] = {"hypothesis": {name: False if name == "independent_rows" else None}}
CHANGES |= {"unit_norm": {"hypothesis": {"unit_norm": True}}, "not unit_norm": {"hypothesis": {"unit_norm": False}}}


def changed(context: CellContext, change: dict[str, Any]) -> CellContext:
    if "hypothesis" in change:
        return replace(context, hypotheses=replace(context.hypotheses, **change["hypothesis"]))
    return replace(context, **change)


CELLS = {
    f"{prefix}{name}": changed(context, change)
    for prefix, context in BASES.items()
    for name, change in CHANGES.items()
    if not (prefix == "S:" and name == "L=1")  # h-infinity has two layers
}
VALUES: dict[str, list[int | str]] = {
    "finite_width": [3, 64, 10**9],
    "training": ["linear"],
    "trained": ["linear:m=64:kappa=1"],
    "sketching": [4, 64],
}


def rows() -> list[str]:
    """Of each claim its kind, its side, whether `all` selects it, and the cells to which it applies."""
    lines, free = [], {claim.id for claim in select(("all",))}
    for instance in instances(values=VALUES):
        claim = instance.claim
        lines.append(f"{instance.label} ({claim.kind}, {claim.side}{'' if claim.id in free else ', only by name'})")
        for prefix in BASES:
            here = {name.removeprefix(prefix): cell for name, cell in CELLS.items() if name.startswith(prefix)}
            yes = [name or "as it is" for name, cell in here.items() if instance.applies(cell)]
            no = [name or "as it is" for name, cell in here.items() if not instance.applies(cell)]
            listed = f"all but {', '.join(no)}" if len(yes) > len(no) else ", ".join(yes)
            lines.append(f"    {prefix} {listed if yes and no else 'everywhere' if yes else 'nowhere'}")
    return lines


def test_claims_apply_where_the_table_says() -> None:
    expected = TABLE.read_text().splitlines()
    assert rows() == expected


@pytest.mark.parametrize("prefix", BASES)
def test_some_claims_apply_to_each_cell(prefix: str) -> None:
    for name, cell in CELLS.items():
        if name.startswith(prefix):
            assert any(instance.applies(cell) for instance in instances(values=VALUES)), name


if __name__ == "__main__":
    TABLE.write_text("\n".join(rows()) + "\n")
