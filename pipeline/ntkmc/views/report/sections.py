"""Tables of the report: estimates, verdicts, statements, exponents, provenance."""

from __future__ import annotations

import html
import itertools
from collections.abc import Hashable
from typing import Any, Final

import pandas as pd

from ntkmc.theory.claims import CLAIMS
from ntkmc.views.cells import Grid
from ntkmc.views.curves import median_exponents, medians_frame
from ntkmc.views.frames import overall_frame
from ntkmc.views.plots.base import spread
from ntkmc.views.report.markup import data_link, formula, number, sentence, table, text, verdict

_MOST_ROWS: Final = 60

_COORDINATES: Final = ["distribution", "d", "n", "depth"]

_LAMBDA_0: Final = "<var>λ</var><sub>0</sub>"
_CELL: Final = [("distribution", "l"), ("<var>d</var>", ""), ("<var>n</var>", ""), ("<var>L</var>", "")]


def estimates(frame: pd.DataFrame, grid: Grid) -> str:
    """P(lambda_min >= lambda_0) with intervals, a row for each cell and depth: all of them, or an even choice."""
    thresholds = sorted(frame["lambda_0"].unique())
    shown = (
        thresholds if len(thresholds) <= 4 else [thresholds[round(i * (len(thresholds) - 1) / 3)] for i in range(4)]
    )
    chosen, left = _choice(frame)
    rows = []
    for (law, d, n, depth), here in chosen.groupby(["distribution", "d", "n", "depth"], sort=True):
        by_threshold = {row.lambda_0: row for row in here.itertuples()}
        cells = [_estimate(by_threshold.get(threshold)) for threshold in shown]
        first = here.iloc[0]
        rows.append([html.escape(str(law)), str(d), str(n), str(depth), number(float(first["median"]), 3), *cells,
                     number(float(first["certified"]), 3)])  # fmt: skip
    columns = [*_CELL, ("median", ""), *((f"{_LAMBDA_0} = {value:g}", "") for value in shown), ("certified", "")]
    delta = grid.study.event.delta
    caption = (
        f"<strong>Estimates.</strong> P({text('λ_min ≥ λ_0')}) with its {grid.study.confidence:.0%} confidence "
        f"sequence. "
        f"Certified: the largest {_LAMBDA_0} proved to hold with probability {1 - delta:g}.{left} "
        + data_link(frame, f"{grid.study.name}-estimates.csv", "All of them (CSV)")
    )
    return table(caption, columns, rows, "Estimates", wide=True)


def _estimate(row: Any) -> str:
    if row is None:
        return "–"
    sign = {"supported": "✓", "refuted": "✗"}.get(row.nondegenerate, "?")
    return f"{row.probability:.3f} [{row.lower:.3f}, {row.upper:.3f}] {sign}"


def _choice(frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Rows for one table: of many, those with some of the d, and if need be of the n; and the choice in words."""
    kept: dict[str, str] = {}
    for axis, most in itertools.product(("d", "n"), (6, 4, 3, 1)):
        if len(frame.drop_duplicates(_COORDINATES)) <= _MOST_ROWS:
            break
        values = sorted(frame[axis].unique())
        # One value alone is better the middle one than the smallest.
        some = spread(values, most) if most > 1 else [values[len(values) // 2]]
        frame = frame[frame[axis].isin(some)]
        kept[axis] = f"<var>{axis}</var> = {', '.join(map(str, some))}"
    return frame, f" Shown: {'; '.join(kept.values())}." if kept else ""


def exponents(grid: Grid) -> str:
    """Fitted exponents of the median of lambda_min; empty where nothing can be fitted."""
    rows = []
    for law in sorted({place.distribution for place in grid.places}):
        for depth in sorted({place.depth for place in grid.places if place.distribution == law}):
            found = median_exponents(medians_frame(grid, law, depth))
            if found:
                cells = [
                    f"{number(found[axis].value, 3)} [{number(found[axis].lower, 3)}, {number(found[axis].upper, 3)}]"
                    if axis in found
                    else "–"
                    for axis in ("n", "d")
                ]
                rows.append([html.escape(law), str(depth), *cells])
    if not rows:
        return ""
    caption = (
        f"<strong>Exponents</strong> of the median of {text('λ_min')} in <var>n</var> and <var>d</var>, fitted "
        f"together "
        "by least squares on log axes; in brackets the limits that the medians' own limits, which hold for "
        "all cells at "
        "once, give. A description of this grid, not an asymptotic law."
    )
    columns = [("distribution", "l"), ("<var>L</var>", ""), ("in <var>n</var>", ""), ("in <var>d</var>", "")]
    return table(caption, columns, rows, "Exponents")


def verdicts(grid: Grid) -> str:
    """Return the verdicts over all cells, one table per kind of claim."""
    overall = overall_frame(grid.tree)
    overall = overall[~overall["overall"].isin(["not-applicable", "not-evaluated"])]
    words = dict(zip(overall["claim"], overall["overall"], strict=True))
    parts = []
    for kind, heading, explained in (
        ("event", "Non-degeneracy", "Is P(λ_min ≥ λ_0) at least 1 − δ in every cell? By confidence sequences."),
        ("deterministic", "Inequalities", "Must hold in every trial; violated only where enclosures are disjoint."),
        ("probability", "Probability bounds", "Against: cells that reject the claimed probability, at most "
         "1 − confidence of them falsely (e-BH)."),
        ("scaling", "Scaling claims", "Is there a constant? Refuted where it must drift with d."),
    ):  # fmt: skip
        rows = overall[overall["kind"] == kind]
        if len(rows):
            caption = f"<strong>{heading}.</strong> {text(explained)}"
            parts.append(
                table(
                    caption, _columns(kind), [_row(kind, row) for row in rows.to_dict("records")], heading, wide=True
                )
            )
    printed = overall[overall["corrected_by"] != ""]
    if len(printed):
        columns = [("as printed", "wrap"), ("says", "l"), ("corrected by", "wrap"), ("says", "l")]
        rows_of = [
            [html.escape(row["claim"].removeprefix("printed/")), verdict(row["overall"]),
             html.escape(row["corrected_by"]), verdict(words.get(row["corrected_by"], "not-evaluated"))]
            for row in printed.to_dict("records")
        ]  # fmt: skip
        parts.append(
            table("<strong>As printed, and corrected.</strong>", columns, rows_of, "As printed, and corrected")
        )
    return "".join(parts)


def _columns(kind: str) -> list[tuple[str, str]]:
    common = [("claim", "wrap"), ("verdict", "l"), ("cells", ""), ("against", "")]
    if kind == "scaling":
        return [*common[:2], ("constant", ""), ("exponent in <var>n</var>", ""), ("in <var>d</var>", "")]
    return [*common, ("undecided", ""), ("vacuous", ""), ("tightness", "")]


def _row(kind: str, row: dict[Hashable, Any]) -> list[str]:
    start = [html.escape(row["claim"]), verdict(row["overall"])]
    if kind == "scaling":
        return [*start, *(_limits(row, name) for name in ("constant", "exponent_n", "exponent_d"))]
    counts = [number(int(row[name])) for name in ("cells", "against", "undecided", "vacuous")]
    return [*start, *counts, number(float(row["tightness"]), 3)]


def _limits(row: dict[Hashable, Any], name: str) -> str:
    value, lower, upper = (number(float(row[key]), 3) for key in (name, f"{name}_lower", f"{name}_upper"))
    return value if value == "–" else f"{value} [{lower}, {upper}]"


def statements(grid: Grid) -> str:
    """Every claim that was tried, as it stands in the catalogue."""
    overall = overall_frame(grid.tree)
    tried = overall[~overall["overall"].isin(["not-applicable", "not-evaluated"])]["claim"]
    parts = []
    for claim_id in dict.fromkeys(claim.partition("[")[0] for claim in tried):
        if claim_id not in CLAIMS:
            continue
        claim = CLAIMS[claim_id]
        parts.append(
            f'<div class="claim"><h3>{html.escape(claim.id)}</h3>'
            f'<div class="formula" tabindex="0" role="group" aria-label="Statement of {html.escape(claim.id)}">'
            f"{formula(claim.latex)}</div><p>{text(claim.statement)}</p>"
            f'<p class="note">{sentence(claim.source)} Applies to: {text(claim.hypotheses.rstrip("."))}.</p></div>'
        )
    return "".join(parts)


def provenance(grid: Grid) -> str:
    """Return the provenance section."""
    found = grid.attributes["provenance"]
    packages = ", ".join(f"{name} {version}" for name, version in found.get("packages", {}).items() if version)
    blas = "; ".join(
        f"{pool.get('internal_api')} {pool.get('version')} ({pool.get('architecture')})"
        for pool in found.get("blas", [])
    )
    code = found.get("code", {})
    items = {
        "study hash": str(grid.attributes["study_hash"]),
        "identity hash": str(grid.attributes["identity_hash"]),
        "last run began": str(found.get("time", "")),
        "runs with this store": str(len(grid.attributes["history"])),
        "processor": str(found.get("cpu", "")),
        "system": f"{found.get('platform', '')}, Python {found.get('python', '')}",
        "packages": packages,
        "BLAS": f"{blas}; trials run on one thread",
        "commit": f"{code.get('commit', '')}{' (modified)' if code.get('modified') else ''}"
        if code
        else "installed copy",
        "queue job": ", ".join(f"{key}={value}" for key, value in found.get("job", {}).items()),
    }
    rows = "".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>" for name, value in items.items() if value)
    return f"<dl>{rows}</dl>"
