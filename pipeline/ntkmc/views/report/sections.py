"""Content of the report's tables and lists; the template formats it."""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Any, Final, NamedTuple

import pandas as pd

from ntkmc.theory.claims import Claim
from ntkmc.views.cells import COORDINATES, Grid, spread
from ntkmc.views.curves import median_exponents, medians_frame
from ntkmc.views.frames import registered_claim, tried
from ntkmc.views.report.markup import significant, verdict

_MOST_ROWS: Final = 60
"""Rows of the largest table of estimates: about two printed pages. The link below it has all rows."""

_MARKS: Final = {"supported": "✓", "refuted": "✗"}

Rows = list[list[str]]


class EstimatesTable(NamedTuple):
    """All estimates; thresholds with a column; one row per cell and depth; remaining values of axes with few rows."""

    frame: pd.DataFrame
    thresholds: list[float]
    rows: Rows
    kept: dict[str, list[int]]


def estimates_table(frame: pd.DataFrame) -> EstimatesTable:
    """Return the table of estimates from all of them."""
    # Four thresholds with their intervals fill the width of a page.
    thresholds = spread(frame["lambda_0"])
    shown, kept = _thinned(frame)
    rows = []
    for (law, d, n, depth), estimates in shown.groupby(COORDINATES, sort=True):
        by_threshold = {row.lambda_0: row for row in estimates.itertuples()}
        first = estimates.iloc[0]
        rows.append([
            str(law), str(d), str(n), str(depth), significant(float(first["median"]), 3),
            *(_interval(by_threshold.get(threshold)) for threshold in thresholds),
            significant(float(first["certified"]), 3),
        ])  # fmt: skip
    return EstimatesTable(frame, thresholds, rows, kept)


def _interval(row: Any) -> str:
    if row is None:
        return "–"
    return f"{row.probability:.3f} [{row.lower:.3f}, {row.upper:.3f}] {_MARKS.get(row.nondegenerate, '?')}"


def _thinned(frame: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, list[int]]]:
    """Leave out some values of d, then of n, until the rows fit into one table."""
    kept: dict[str, list[int]] = {}
    # d is thinned first: the rows that remain are whole curves in n.
    for axis, most in itertools.product(("d", "n"), (6, 4, 3, 1)):
        if len(frame.drop_duplicates(COORDINATES)) <= _MOST_ROWS:
            break
        values = sorted(frame[axis].unique())
        # A single value is the middle one: the smallest and the largest are extreme.
        kept[axis] = spread(values, most) if most > 1 else [values[len(values) // 2]]
        frame = frame[frame[axis].isin(kept[axis])]
    return frame, kept


def exponent_rows(grid: Grid) -> Rows:
    """Return fitted exponents of the median of lambda_min, one row per distribution and depth with a fit."""
    rows = []
    # Exponents are fitted within a distribution and depth; a fit over all of them would average different laws.
    for law, depth in sorted({(place.distribution, place.depth) for place in grid.places}):
        fits = median_exponents(medians_frame(grid, law, depth))
        if fits:
            rows.append(
                [law, str(depth), *(_with_limits(*fits[axis]) if axis in fits else "–" for axis in ("n", "d"))]
            )
    return rows


def _with_limits(value: float, lower: float, upper: float) -> str:
    shown = [significant(float(number), 3) for number in (value, lower, upper)]
    return shown[0] if shown[0] == "–" else f"{shown[0]} [{shown[1]}, {shown[2]}]"


def verdict_rows(overall: pd.DataFrame) -> dict[str, Rows]:
    """Return verdicts over all cells, by kind of claim; kinds that have none are left out."""
    return {
        str(kind): [_verdict_row(row) for row in claims.to_dict("records")]
        for kind, claims in tried(overall).groupby("kind", sort=False)
    }


def _verdict_row(row: dict[Hashable, Any]) -> list[str]:
    start = [row["claim"], verdict(row["overall"])]
    if row["kind"] == "scaling":
        fits = ("constant", "exponent_n", "exponent_d")
        return [*start, *(_with_limits(row[name], row[f"{name}_lower"], row[f"{name}_upper"]) for name in fits)]
    counts = [significant(int(row[name])) for name in ("cells", "against", "undecided", "vacuous")]
    return [*start, *counts, significant(float(row["tightness"]), 3)]


def printed_rows(overall: pd.DataFrame) -> Rows:
    """Return published forms of claims with their corrections, and the verdicts on both."""
    overall = tried(overall)
    words = dict(zip(overall["claim"], overall["overall"], strict=True))
    return [
        [row["claim"].removeprefix("printed/"), verdict(row["overall"]), row["corrected_by"],
         verdict(words.get(row["corrected_by"], "not-evaluated"))]
        for row in overall[overall["corrected_by"] != ""].to_dict("records")
    ]  # fmt: skip


def statements(overall: pd.DataFrame) -> list[Claim]:
    """Return the claims that were tried and are registered here, each once."""
    claims = {claim.id: claim for claim in map(registered_claim, tried(overall)["claim"]) if claim is not None}
    return list(claims.values())


def provenance_items(grid: Grid) -> list[tuple[str, str]]:
    """Return the origin of the last run, as names and values; unknown ones are left out."""
    recorded = grid.attributes["provenance"]
    code = recorded.get("code", {})
    blas = "; ".join(
        f"{pool.get('internal_api')} {pool.get('version')} ({pool.get('architecture')})"
        for pool in recorded.get("blas", [])
    )
    commit = f"{code.get('commit', '')}{' (modified)' if code.get('modified') else ''}" if code else "installed copy"
    items = {
        "study hash": grid.attributes["study_hash"],
        "identity hash": grid.attributes["identity_hash"],
        "last run began": recorded.get("time", ""),
        "runs with this store": len(grid.attributes["history"]),
        "processor": recorded.get("cpu", ""),
        "system": f"{recorded.get('platform', '')}, Python {recorded.get('python', '')}",
        "packages": ", ".join(
            f"{name} {version}" for name, version in recorded.get("packages", {}).items() if version
        ),
        "BLAS": f"{blas}; trials run on one thread",
        "commit": commit,
        "queue job": ", ".join(f"{key}={value}" for key, value in recorded.get("job", {}).items()),
    }
    return [(name, str(value)) for name, value in items.items() if value]
