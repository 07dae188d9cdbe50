"""Tables for a terminal of 80 columns: their style, number formats, and tables of estimates and predictions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
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


Row = Mapping[Any, Any]
Column = str | Callable[[Row], str]

PLACE: Final[dict[str, Column]] = {
    "distribution": lambda row: broken_label(row["distribution"]),
    "d": "d",
    "n": "n",
    # The coherence does not depend on the depth.
    "L": lambda row: "" if row.get("quantity") == "coherence" else str(row["depth"]),
}
"""Columns of a place."""


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


def frame_table(
    title: str, frame: pd.DataFrame, columns: Mapping[str, Column], caption: str | None = None, *, tight: bool = True
) -> RenderableType:
    """Return a table with one row per row of a frame.

    Parameters
    ----------
    columns : mapping of str to str or callable
        Heading -> column of the frame, or function of a row that returns the cell.
    """
    rows = [
        [str(row[column]) if isinstance(column, str) else column(row) for column in columns.values()]
        for row in frame.to_dict("records")
    ]
    return render(title, list(columns), rows, caption, tight=tight)


def decimals(name: str, digits: int = 4) -> Column:
    """Return a table column for a number with a fixed number of decimals (see `fixed`)."""
    return lambda row: fixed(row[name], digits)


def limits(name: str) -> Column:
    """Return the column of a number with its limits `*_lower` and `*_upper`, see `with_limits`."""
    return lambda row: with_limits(row[name], row[f"{name}_lower"], row[f"{name}_upper"])


def broken_label(label: str) -> str:
    """Return a distribution's label for a narrow column: one parameter per line if it is long, a hash cut.

    >>> broken_label("dataset(content=0123456789abcdef)")
    'dataset(01234567)'
    """
    # Eight digits of a hash distinguish the data sets of a study.
    label = re.sub(r"^dataset\(content=(\w{8})\w*\)$", r"dataset(\1)", label)
    return label.replace(",", ",\n  ") if len(label) > _LONGEST_LABEL else label


def fixed(value: Any, digits: int = 4) -> str:
    """Format a number with a fixed number of decimals; empty for NaN.

    >>> fixed(0.5), fixed(12345.0), fixed(math.nan)
    ('0.5000', '1e+04', '')
    """
    # Decimals of large numbers would widen the column beyond 80 characters.
    return "" if math.isnan(value) else f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.0e}"


def with_limits(value: float, lower: float, upper: float) -> str:
    """Format a number with its limits, without leading zeros; empty for NaN.

    >>> with_limits(-0.5, -10.5, 0.25)
    '-.50 (-10.50,.25)'
    """
    return "" if math.isnan(value) else re.sub(r"(?<!\d)0\.", ".", f"{value:.2f} ({lower:.2f},{upper:.2f})")


def coloured(word: str) -> str:
    """Return a verdict in its colour, in few characters."""
    # Only verdicts that need attention, or are good news, have a colour.
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
    marked = frame.assign(marked=[_marked(row) for row in frame.itertuples()])
    wide = (
        marked.pivot(index=COORDINATES, columns="lambda_0", values="marked").fillna("").rename(columns="{:g}".format)
    )
    rows = frame.drop_duplicates(COORDINATES).join(wide, on=COORDINATES)
    hidden = max(len(rows) - most_rows, 0) if most_rows is not None else 0
    return frame_table(
        f"P(λ_min ≥ λ_0), {least if least == most else f'{least} to {most}'} trials per cell",
        rows.iloc[: len(rows) - hidden],
        {
            **PLACE,
            "median": decimals("median"),
            **{f"{threshold:g}": f"{threshold:g}" for threshold in thresholds},
            "certified": decimals("certified"),
        },
        (f"{hidden} more rows: ntkmc show STORE\n" if hidden else "")
        + f"behind a probability: + at least {1 - delta:g}, - below, ? undecided{left_out}\n"
        f"certified: the largest λ_0 proved to hold with probability {1 - delta:g}; blank while\n"
        "trials are missing, or if their number was not fixed in advance",
        tight=len(thresholds) > 3,
    )


def _marked(row: Any) -> str:
    return f"{row.probability:.3f}".removeprefix("0") + _MARKS.get(row.nondegenerate, " ")


def intervals(frame: pd.DataFrame, confidence: float) -> RenderableType:
    """Return a table of every estimate with its interval, one row per cell, depth and threshold."""
    columns: dict[str, Column] = {
        **PLACE,
        "λ_0": lambda row: f"{row['lambda_0']:g}",
        "trials": "trials",
        "P": decimals("probability"),
        "interval": lambda row: f"{row['lower']:.4f} {row['upper']:.4f}",
        "P ≥ 1 - δ": "nondegenerate",
    }
    caption = f"interval: {confidence:.0%} confidence sequence of its row, valid at any time of looking"
    return frame_table("P(λ_min ≥ λ_0) with intervals", frame, columns, caption, tight=False)


def predictions_table(frame: pd.DataFrame) -> RenderableType:
    """Return a table of predicted and measured medians, from the rows of `predictions_frame`."""
    columns: dict[str, Column] = {
        "predictor": lambda row: row["predictor"].removeprefix("pred-"),
        **PLACE,
        "median": decimals("median"),
        "predicted": decimals("predicted"),
        "ratio": decimals("ratio", 3),
    }
    present = frame["predictor"].unique()
    descriptions = [f"{name.removeprefix('pred-')}: {PREDICTORS[name].statement}" for name in present]
    caption = "\n".join(descriptions) or "no predictor applies to these cells"
    return frame_table("Predicted and measured medians", frame, columns, caption, tight=False)
