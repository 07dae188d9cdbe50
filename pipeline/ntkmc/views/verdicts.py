"""Verdicts on the claims as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from typing import Final

import pandas as pd
import xarray as xr
from rich.console import Group, RenderableType
from rich.text import Text

from ntkmc.experiment.schema import Verdict
from ntkmc.views.frames import hypotheses_frame, overall_frame
from ntkmc.views.tables import PLACE, Column, Row, broken_label, coloured, decimals, frame_table, render

_LONGEST_LABEL: Final = 29
"""Labels of claims longer than this are broken before their parameters, and after `printed/`."""

_HEADINGS: Final = {
    "claim-data-scaling": "scaling",
    "claim-lipschitz-concentration": "Lipschitz",
    "law-zero-mean": "mean 0",
    "law-isotropic": "isotropic",
    "law-sub-gaussian": "sub-G.",
    "law-unit-norm": "norm 1",
}
"""Headings of hypotheses about distributions."""

_CLAIM: Final[dict[str, Column]] = {
    "claim": lambda row: short(row["claim"]),
    "overall": lambda row: coloured(row["overall"]),
}
_ENDS: Final = ("", "_lower", "_upper")


def verdicts(tree: xr.DataTree) -> RenderableType:
    """Return tables of the verdicts over all cells, one per kind, and of published forms with their corrections."""
    overall = overall_frame(tree)
    overall = overall[overall["overall"] != Verdict.NOT_APPLICABLE.word]
    tables: list[RenderableType] = []
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
            "it, or have a vacuous bound; tight: median of bound / bounded quantity",
            {"cells": "cells", "against": "against", "vacuous": "vacuous"},
        ),
        (
            "probability",
            "Probability bounds: violated no more often than claimed",
            "against: cells that reject it, false discoveries at most 1 - confidence",
            {"cells": "cells", "against": "against", "open": "undecided", "vacuous": "vacuous"},
        ),
    ):
        claims = overall[(overall["kind"] == kind) & ~overall["hypothesis"]]
        if len(claims):
            columns = _CLAIM | counts | {"tight": decimals("tightness", 3)}
            tables.append(frame_table(title, claims, columns, caption, tight=False))
    scaling = overall[(overall["kind"] == "scaling") & ~overall["hypothesis"]]
    hypotheses = hypotheses_frame(tree)
    printed = overall[overall["corrected_by"] != ""]
    if len(scaling):
        tables.append(_constants(scaling))
    if len(hypotheses):
        tables.append(_hypotheses(hypotheses))
    if len(printed):
        tables.append(_printed(printed, dict(zip(overall["claim"], overall["overall"], strict=True))))
    return Group(*tables)


def _constants(frame: pd.DataFrame) -> RenderableType:
    columns: dict[str, Column] = {
        **_CLAIM,
        "constant": lambda row: "{} ({},{})".format(*(_digits(row[f"constant{end}"]) for end in _ENDS)),
        "in n": lambda row: _exponent(row["exponent_n"]),
        "in d": lambda row: _exponent(row["exponent_d"]),
    }
    return frame_table(
        "Scaling claims: is there a constant?",
        frame,
        columns,
        "constant: the smallest (for lower bounds largest) that all cells allow, with\n"
        "simultaneous limits; in n, in d: its fitted exponents, where they are largest",
    )


def _hypotheses(frame: pd.DataFrame) -> RenderableType:
    # Both sides of a bound are one hypothesis.
    frame = frame.assign(claim=frame["claim"].str.replace(r"-(lower|upper)$", "", regex=True))
    hypotheses = [name for name in dict.fromkeys((*_HEADINGS, *frame["claim"])) if name in set(frame["claim"])]
    rows = []
    for distribution, verdicts_on in frame.groupby("distribution", sort=False):
        cells = []
        for name in hypotheses:
            words = set(verdicts_on["says"][verdicts_on["claim"] == name])
            # One side that fails refutes the hypothesis.
            word = next((word for word in ("fails", "undecided", "holds") if word in words), "")
            cells.append(coloured(word))
        rows.append([broken_label(str(distribution)), *cells])
    columns = ["law", *(_HEADINGS.get(name, short(name)) for name in hypotheses)]
    return render(
        "Hypotheses: which law satisfies them?",
        columns,
        rows,
        "one row per law: a hypothesis is about a single law, over all its cells;\n"
        "Lipschitz and sub-G.: necessary conditions; details: claim=law-isotropic, ...",
        left=columns,
        tight=True,
    )


def _printed(frame: pd.DataFrame, words: dict[str, str]) -> RenderableType:
    columns = ["as printed", "verdict", "corrected by", "verdict"]
    rows = [
        [short(row["claim"].removeprefix("printed/")), coloured(row["overall"]), short(row["corrected_by"]),
         coloured(words.get(row["corrected_by"], Verdict.NOT_EVALUATED.word))]
        for row in frame.to_dict("records")
    ]  # fmt: skip
    return render("As printed, and corrected", columns, rows, left=columns, tight=True)


def verdict_rows(frame: pd.DataFrame, store: str = "STORE") -> RenderableType:
    """Return tables of the verdicts cell by cell, with the commands that recompute first violations."""
    evaluated = frame[frame["verdict"] != Verdict.NOT_APPLICABLE.word]
    tables: list[RenderableType] = []
    # Cells where a claim does not apply are hidden, unless it applies nowhere.
    for claim, cells in (evaluated if len(evaluated) else frame).groupby("claim", sort=False):
        tables.append(_cells(str(claim), cells))
        for row in cells[cells["verdict"] == Verdict.VIOLATED.word].iloc[:1].to_dict("records"):
            cell = f"{row['distribution']},d={row['d']},n={row['n']}"
            command = f"ntkmc trial {store} '{cell}' {row['first_violation']} --claim '{claim}'"
            # A single line, however long, so that it can be copied.
            tables.append(Text(f"first: {command}\n", overflow="fold"))
    caption = (
        "violations: trials beyond the bound, by proof; bound: its median over trials\n"
        "(for the event, the threshold); tight: median of bound / bounded quantity;\n"
        "claimed: the probability of a violation; constant: fitted, with limits that\n"
        "hold for all cells at once\n"
    )
    return Group(*tables, Text(caption, style="dim"))


def _cells(claim: str, frame: pd.DataFrame) -> RenderableType:
    """Return a table of the verdicts on one claim; the last columns depend on its kind."""
    columns: dict[str, Column] = PLACE | {"verdict": lambda row: coloured(row["verdict"])}
    kind = frame["kind"].iloc[0]
    if kind == "scaling":
        columns["constant"] = lambda row: _digits(row["cell_constant"])
        columns["limits"] = lambda row: " ".join(_digits(row[f"cell_constant{end}"]) for end in _ENDS[1:])
    else:
        columns["violations"] = lambda row: f"{row['violations']}/{row['evaluated']}"
        columns |= {"claimed": _probability_range} if kind == "probability" else {"bound": decimals("bound")}
        columns["tight"] = decimals("tightness")
    return frame_table(short(claim, lines=False), frame, columns, tight=False)


def _probability_range(row: Row) -> str:
    """Format the claimed range of a probability."""
    low, high = row["claimed_lower"], row["claimed_upper"]
    if math.isnan(high):
        return ""
    if low == high:
        return f"= {high:.3g}"
    return f"≤ {high:.3g}" if low == 0.0 else f"≥ {low:.3g}" if high == 1.0 else f"{low:.3g} … {high:.3g}"


def _digits(value: float) -> str:
    """Format a number with three digits, or with one if it is tiny, as limits around 0 are; empty for NaN.

    >>> _digits(0.12345), _digits(0.0012345)
    ('0.123', '1e-3')
    """
    if math.isnan(value):
        return ""
    return f"{value:.0e}".replace("e-0", "e-") if 0.0 < abs(value) < 1e-2 else f"{value:.3g}"


def _exponent(value: float) -> str:
    return "" if math.isnan(value) else f"{value:+.2f}" if abs(value) < 10.0 else f"{value:+.0f}"


def short(label: str, *, lines: bool = True) -> str:
    """Return a claim's label for a narrow column, with its brackets escaped for rich's markup."""
    label = label.replace("lambda_0", "λ_0")
    # Published forms have the longest labels, and are also broken after their prefix.
    if lines and len(label) > _LONGEST_LABEL:
        label = label.replace("[", "\n  [")
        if len(label.partition("\n")[0]) > _LONGEST_LABEL:
            label = label.replace("printed/", "printed/\n  ")
    return label.replace("[", r"\[")
