"""Tables for a terminal of 80 columns: their style, number formats, and tables of estimates and predictions."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ntkmc.theory.predictions import PREDICTORS
from ntkmc.views.cells import COORDINATES, spread

_LONGEST_LABEL: Final = 20
"""Labels of distributions longer than this are broken between their parameters."""

_TEXT_COLUMNS: Final = frozenset((
    "distribution", "target", "claim", "overall", "verdict", "P ≥ 1 - δ", "predictor", "law", "of the"
))  # fmt: skip
"""Columns of text, which are aligned left; numbers are aligned right."""

_MARKS: Final = {"supported": "+", "refuted": "-", "undecided": "?"}

_COLOURS: Final = {"violated": "red", "refuted": "yellow", "holds": "green", "supported": "green", "fails": "yellow"}


def render(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    caption: str | None = None,
    *,
    left: Collection[str] = _TEXT_COLUMNS,
    tight: bool = False,
) -> RenderableType:
    """Return a table in the common style.

    Parameters
    ----------
    columns : sequence of str
        Headings.
    rows : iterable of sequences of str
        Cells, with rich's markup.
    caption : str, optional
        Text below the table, followed by an empty line.
    left : collection of str
        Columns that are aligned left.
    tight : bool
        Separate columns by one space instead of two.
    """
    padding = (0, 0 if tight else 1, 0, 0)
    table = Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=padding, pad_edge=False, show_edge=False
    )
    for name in columns:
        table.add_column(name, justify="left" if name in left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # A caption of rich's own would be wrapped at the width of the table.
    return table if caption is None else Group(table, Text(f"{caption}\n" if caption else "", style="dim"))


def place_cells(row: Mapping[Any, Any]) -> list[str]:
    """Return the cells of the columns distribution, d, n and L."""
    return [broken_label(str(row["distribution"])), str(row["d"]), str(row["n"]), str(row["depth"])]


def broken_label(label: str) -> str:
    """Return a distribution's label for a narrow column: one parameter per line if it is long, a hash cut.

    >>> broken_label("dataset(content=0123456789abcdef)")
    'dataset(01234567)'
    """
    label = re.sub(r"^dataset\(content=(\w{8})\w*\)$", r"dataset(\1)", label)
    return label.replace(",", ",\n  ") if len(label) > _LONGEST_LABEL else label


def fixed(value: Any, digits: int = 4) -> str:
    """Format a number with a fixed number of decimals; empty for NaN.

    >>> fixed(0.5), fixed(12345.0), fixed(math.nan)
    ('0.5000', '1e+04', '')
    """
    return "" if math.isnan(value) else f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.0e}"


def with_limits(value: float, lower: float, upper: float) -> str:
    """Format a number with its limits, without leading zeros; empty for NaN.

    >>> with_limits(-0.5, -10.5, 0.25)
    '-.50 (-10.50,.25)'
    """
    return "" if math.isnan(value) else re.sub(r"(?<!\d)0\.", ".", f"{value:.2f} ({lower:.2f},{upper:.2f})")


def coloured(word: str) -> str:
    """Return a verdict in its colour, in few characters."""
    word = {"not-applicable": "n/a", "not-evaluated": "not run"}.get(word, word)
    return f"[{_COLOURS[word]}]{word}[/]" if word in _COLOURS else word


def probabilities(frame: pd.DataFrame, delta: float, most_rows: int | None = None) -> RenderableType:
    """Return a table of P(lambda_min >= lambda_0), one row per cell and depth, one column per threshold.

    A mark says whether a probability is at least 1 - delta: + yes, - no, ? undecided.
    """
    count = frame["lambda_0"].nunique()
    # Four columns of thresholds fit into 80 characters.
    thresholds = spread(frame["lambda_0"])
    left_out = f"; {count - len(thresholds)} thresholds more with --long" if count > len(thresholds) else ""
    least, most = frame["trials"].min(), frame["trials"].max()
    groups = list(frame.groupby(COORDINATES, sort=False))
    rows = []
    for _, estimates in groups[:most_rows]:
        by_threshold = {row.lambda_0: row for row in estimates.itertuples()}
        first = estimates.iloc[0].to_dict()
        marked = [_marked(by_threshold.get(threshold)) for threshold in thresholds]
        rows.append([*place_cells(first), fixed(first["median"]), *marked, fixed(first["certified"])])
    hidden = f"{len(groups) - len(rows)} more rows: ntkmc show STORE\n" if len(groups) > len(rows) else ""
    return render(
        f"P(λ_min ≥ λ_0), {least if least == most else f'{least} to {most}'} trials per cell",
        ["distribution", "d", "n", "L", "median", *(f"{threshold:g}" for threshold in thresholds), "certified"],
        rows,
        f"{hidden}behind a probability: + at least {1 - delta:g}, - below, ? undecided{left_out}\n"
        f"certified: the largest λ_0 proved to hold with probability {1 - delta:g}; blank while\n"
        "trials are missing, or if their number was not fixed in advance",
        tight=len(thresholds) > 3,
    )


def _marked(row: Any) -> str:
    return "" if row is None else f"{row.probability:.3f}".removeprefix("0") + _MARKS.get(row.nondegenerate, " ")


def intervals(frame: pd.DataFrame, confidence: float) -> RenderableType:
    """Return a table of every estimate with its interval, one row per cell, depth and threshold."""
    return render(
        "P(λ_min ≥ λ_0) with intervals",
        ["distribution", "d", "n", "L", "λ_0", "trials", "P", "interval", "P ≥ 1 - δ"],
        (
            [
                *place_cells(row), f"{row['lambda_0']:g}", str(row["trials"]), f"{row['probability']:.4f}",
                f"{row['lower']:.4f} {row['upper']:.4f}", str(row["nondegenerate"]),
            ]
            for row in frame.to_dict("records")
        ),
        f"interval: {confidence:.0%} confidence sequence of its row, valid at any time of looking",
    )  # fmt: skip


def predictions_table(frame: pd.DataFrame) -> RenderableType:
    """Return a table of predicted and measured medians, from the rows of `predictions_frame`."""
    rows = []
    for row in frame.to_dict("records"):
        # The coherence does not depend on the depth.
        place = [*place_cells(row)[:3], "" if row["quantity"] == "coherence" else str(row["depth"])]
        numbers = fixed(row["median"]), fixed(row["predicted"]), fixed(row["ratio"], 3)
        rows.append([row["predictor"].removeprefix("pred-"), *place, *numbers])
    descriptions = [f"{name.removeprefix('pred-')}: {PREDICTORS[name].words}" for name in frame["predictor"].unique()]
    return render(
        "Predicted and measured medians",
        ["predictor", "distribution", "d", "n", "L", "median", "predicted", "ratio"],
        rows,
        "\n".join(descriptions) or "no predictor applies to these cells",
    )
