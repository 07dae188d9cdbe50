"""Verdicts on the claims as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import xarray as xr
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntkmc.experiment.schema import Verdict
from ntkmc.views.frames import hypotheses_frame, overall_frame
from ntkmc.views.tables import captioned, coloured, law, number, table

_BREAK = 29
"""Labels of claims longer than this are broken before their parameters, and after `printed/`."""


def verdicts(tree: xr.DataTree) -> RenderableType:
    """Return the verdicts over all cells, one table per kind, and published forms beside their corrections."""
    frame = overall_frame(tree)
    frame = frame[frame["overall"] != Verdict.NOT_APPLICABLE.word]
    parts: list[RenderableType] = []
    for kind, title, caption, counts in (
        (
            "event",
            "Non-degeneracy",
            "cells: (distribution, d, n, L); open: undecided at this number of trials",
            {"cells": "cells", "against": "against", "open": "undecided"},
        ),
        (
            "deterministic",
            "Inequalities: must hold in every trial",
            "cells: (distribution, d, n, L) where it was tried; of these, how many violate\n"
            "it, or have a vacuous bound; tight: median of bound / what it bounds",
            {"cells": "cells", "against": "against", "vacuous": "vacuous"},
        ),
        (
            "probability",
            "Probability bounds: violated no more often than claimed",
            "against: cells that reject it, false discoveries at most 1 - confidence",
            {"cells": "cells", "against": "against", "open": "undecided", "vacuous": "vacuous"},
        ),
    ):
        rows = frame[(frame["kind"] == kind) & ~frame["hypothesis"]]
        if len(rows):
            parts.append(captioned(_overall(title, rows, counts), caption))
    scaling = frame[(frame["kind"] == "scaling") & ~frame["hypothesis"]]
    if len(scaling):
        parts.append(
            captioned(
                _constants(scaling),
                "constant: the smallest (for lower bounds largest) that all cells allow, with\n"
                "simultaneous limits; in n, in d: its fitted exponents, where they are largest",
            )
        )
    laws = hypotheses_frame(tree)
    if len(laws):
        parts.append(
            captioned(
                _hypotheses(laws),
                "each law by itself, over all its cells: a hypothesis has no truth over all laws;\n"
                "Lipschitz and sub-G.: necessary conditions; details: claim=law-isotropic, ...",
            )
        )
    printed = frame[frame["corrected_by"] != ""]
    if len(printed):
        parts.append(_printed(printed, dict(zip(frame["claim"], frame["overall"], strict=True))))
    return Group(*parts)


def _overall(title: str, frame: pd.DataFrame, counts: dict[str, str]) -> Table:
    found = table(title)
    for name in ("claim", "overall", *counts, "tight"):
        found.add_column(name, justify="left" if name in ("claim", "overall") else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        cells = [str(row[column]) for column in counts.values()]
        found.add_row(short(row["claim"]), coloured(row["overall"]), *cells, number(row["tightness"], 3))
    return found


def _constants(frame: pd.DataFrame) -> Table:
    found = table("Scaling claims: is there a constant?", tight=True)
    for name in ("claim", "overall", "constant", "in n", "in d"):
        found.add_column(name, justify="left" if name in ("claim", "overall") else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        constant = f"{_digits(row['constant'])} ({_digits(row['constant_lower'])},{_digits(row['constant_upper'])})"
        exponents = _exponent(row["exponent_n"]), _exponent(row["exponent_d"])
        found.add_row(short(row["claim"]), coloured(row["overall"]), constant, *exponents)
    return found


_HEADINGS = {
    "claim-data-scaling": "scaling",
    "claim-lipschitz-concentration": "Lipschitz",
    "law-zero-mean": "mean 0",
    "law-isotropic": "isotropic",
    "law-sub-gaussian": "sub-G.",
    "law-unit-norm": "norm 1",
}


def _hypotheses(frame: pd.DataFrame) -> Table:
    found = table("Hypotheses: which law satisfies them?", tight=True)
    headings = frame["claim"].str.replace(r"-(lower|upper)$", "", regex=True)
    shown = [name for name in dict.fromkeys((*_HEADINGS, *headings)) if (headings == name).any()]
    found.add_column("law", no_wrap=True)
    for name in shown:
        found.add_column(_HEADINGS.get(name, short(name)), no_wrap=True)
    for distribution, rows in frame.groupby("distribution", sort=False):
        cells = []
        for name in shown:
            words = set(rows["says"][headings == name])
            word = next((each for each in ("fails", "undecided", "holds") if each in words), "")
            colour = {"fails": "yellow", "holds": "green"}.get(word)
            cells.append(f"[{colour}]{word}[/]" if colour else word)
        found.add_row(law(str(distribution)), *cells)
    return found


def _printed(frame: pd.DataFrame, words: dict[str, str]) -> Table:
    found = table("As printed, and corrected", tight=True)
    for name in ("as printed", "says", "corrected by", "says"):
        found.add_column(name, no_wrap=True)
    for row in frame.itertuples():
        correction = str(row.corrected_by)
        word = words.get(correction, Verdict.NOT_EVALUATED.word)
        found.add_row(
            short(str(row.claim).removeprefix("printed/")),
            coloured(str(row.overall)),
            short(correction),
            coloured(word),
        )
    return found


def verdict_rows(frame: pd.DataFrame, store: str = "STORE") -> RenderableType:
    """Verdicts cell by cell; where a claim is violated, the command that reproduces the first violation."""
    tried = frame[frame["verdict"] != Verdict.NOT_APPLICABLE.word]
    chosen = tried if len(tried) else frame
    found: list[RenderableType] = []
    for claim, rows in chosen.groupby("claim", sort=False):
        found.append(_cells(str(claim), rows))
        found += [_first(str(claim), row, store) for row in rows.itertuples() if row.verdict == _VIOLATED][:1]
    return captioned(
        Group(*found),
        "violations: trials beyond the bound, by proof; bound: its median over trials\n"
        "(for the event, the threshold); tight: median of bound / what it bounds;\n"
        "claimed: the probability of a violation; constant: fitted, with limits that\n"
        "hold for all cells at once",
    )


_VIOLATED = Verdict.VIOLATED.word


def _first(claim: str, row: Any, store: str) -> RenderableType:
    """The command that recomputes the first violating trial of a cell; one line, to be copied."""
    cell = f"{row.distribution},d={row.d},n={row.n}"
    return Text(f"first: ntkmc trial {store} '{cell}' {row.first_violation} --claim '{claim}'\n", overflow="fold")


def _cells(claim: str, frame: pd.DataFrame) -> Table:
    kind = str(frame["kind"].iloc[0])
    found = table(short(claim, lines=False))
    last = {"probability": ("claimed", "tight"), "scaling": ("constant", "limits")}.get(kind, ("bound", "tight"))
    middle = () if kind == "scaling" else ("violations",)
    for name in ("distribution", "d", "n", "L", "verdict", *middle, *last):
        found.add_column(name, justify="left" if name in ("distribution", "verdict") else "right", no_wrap=True)
    for row in frame.itertuples():
        cells = [law(str(row.distribution)), str(row.d), str(row.n), str(row.depth), coloured(str(row.verdict))]
        if kind == "scaling":
            limits = f"{_digits(row.cell_constant_lower)} {_digits(row.cell_constant_upper)}"
            cells += [_digits(row.cell_constant), limits]
        else:
            cells += [f"{row.violations}/{row.evaluated}"]
            cells += [_range(row) if kind == "probability" else number(row.bound), number(row.tightness)]
        found.add_row(*cells)
    return found


def _range(row: Any) -> str:
    """The claimed range of a probability."""
    low, high = row.claimed_lower, row.claimed_upper
    if math.isnan(high):
        return ""
    if low == high:
        return f"= {high:.3g}"
    return f"≤ {high:.3g}" if low == 0.0 else f"≥ {low:.3g}" if high == 1.0 else f"{low:.3g} … {high:.3g}"


def _digits(value: Any) -> str:
    return "" if math.isnan(value) else _trimmed(value)


def _trimmed(value: float) -> str:
    """Three digits; one of what is tiny beside 1, as limits around 0 are."""
    return f"{value:.0e}".replace("e-0", "e-") if 0.0 < abs(value) < 1e-2 else f"{value:.3g}"


def _exponent(value: Any) -> str:
    return "" if math.isnan(value) else f"{value:+.2f}" if abs(value) < 10.0 else f"{value:+.0f}"


def short(label: str, *, lines: bool = True) -> str:
    """A claim's label for a narrow column, its brackets safe from rich's markup."""
    label = label.replace("lambda_0", "λ_0")
    if lines and len(label) > _BREAK:
        label = label.replace("[", "\n  [")
        if len(label.partition("\n")[0]) > _BREAK:
            label = label.replace("printed/", "printed/\n  ")
    return label.replace("[", r"\[")
