"""Tables for a terminal of 80 columns."""

from __future__ import annotations

import math
import re
from typing import Any

import numpy as np
import pandas as pd
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

_LAW = 20
"""Labels of distributions longer than this are broken between their parameters."""

_MARK = {"supported": "+", "refuted": "-", "undecided": "?"}


def probabilities(frame: pd.DataFrame, delta: float, most_rows: int | None = None) -> RenderableType:
    """P(lambda_min >= lambda_0) with a row per cell and depth, and a column per threshold.

    A mark behind a probability says whether it is at least 1 - delta: + yes, - no, ? undecided.
    """
    every = sorted(frame["lambda_0"].unique())
    thresholds = [every[i] for i in np.unique(np.linspace(0, len(every) - 1, min(len(every), 4)).round().astype(int))]
    left_out = f"; {len(every) - len(thresholds)} thresholds more with --long" if len(every) > len(thresholds) else ""
    trials = sorted(frame["trials"].unique())
    counted = f"{trials[0]}" if len(trials) == 1 else f"{trials[0]} to {trials[-1]}"
    drawn = table(f"P(λ_min ≥ λ_0), {counted} trials a cell", tight=len(thresholds) > 3)
    caption = (
        f"behind a probability: + at least {1 - delta:g}, - below, ? undecided{left_out}\n"
        f"certified: the largest λ_0 proved to hold with probability {1 - delta:g}; blank while\n"
        "trials are missing, or where their number was not fixed in advance"
    )
    for name in ("distribution", "d", "n", "L", "median"):
        drawn.add_column(name, justify="left" if name == "distribution" else "right", no_wrap=True)
    for threshold in thresholds:
        drawn.add_column(f"{threshold:g}", justify="right", no_wrap=True)
    drawn.add_column("certified", justify="right", no_wrap=True)
    grouped = list(frame.groupby(["distribution", "d", "n", "depth"], sort=False))
    for (distribution, d, n, depth), rows in grouped[:most_rows]:
        by_threshold = {row.lambda_0: row for row in rows.itertuples()}
        cells = [_marked(by_threshold.get(threshold)) for threshold in thresholds]
        first = rows.iloc[0]
        drawn.add_row(
            law(str(distribution)),
            str(d),
            str(n),
            str(depth),
            number(first["median"]),
            *cells,
            number(first["certified"]),
        )
    if most_rows is not None and len(grouped) > most_rows:
        caption = f"{len(grouped) - most_rows} more rows: ntkmc show STORE\n{caption}"
    return captioned(drawn, caption)


def intervals(frame: pd.DataFrame, confidence: float) -> RenderableType:
    """Every estimate with its interval, a row per cell, depth and threshold."""
    drawn = table("P(λ_min ≥ λ_0) with intervals")
    for name in ("distribution", "d", "n", "L", "λ_0", "trials", "P", "interval", "P ≥ 1 - δ"):
        left = name in ("distribution", "P ≥ 1 - δ")
        drawn.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in frame.itertuples():
        drawn.add_row(
            law(str(row.distribution)),
            str(row.d),
            str(row.n),
            str(row.depth),
            f"{row.lambda_0:g}",
            str(row.trials),
            f"{row.probability:.4f}",
            f"{row.lower:.4f} {row.upper:.4f}",
            str(row.nondegenerate),
        )
    return captioned(drawn, f"interval: {confidence:.0%} confidence sequence of its row, valid while one looks")


def table(title: str, *, tight: bool = False) -> Table:
    """Return an empty table in the common style; `tight` puts one space between columns instead of two."""
    padding = (0, 0 if tight else 1, 0, 0)
    return Table(
        title=title, box=box.SIMPLE_HEAD, title_justify="left", padding=padding, pad_edge=False, show_edge=False
    )


def captioned(shown: RenderableType, caption: str) -> RenderableType:
    """A table with a caption below it."""
    # Rich would wrap a caption at the width of the table.
    return Group(shown, Text(caption + "\n", style="dim"))


def law(label: str) -> str:
    """A distribution's label for a narrow column: a dataset by the start of its hash, parameters a line each."""
    label = re.sub(r"^dataset\(content=(\w{8})\w*\)$", r"dataset(\1)", label)
    return label.replace(",", ",\n  ") if len(label) > _LAW else label


def _marked(row: object) -> str:
    if row is None:
        return ""
    probability = f"{row.probability:.3f}"  # type: ignore[attr-defined]
    return probability.removeprefix("0") + _MARK.get(row.nondegenerate, " ")  # type: ignore[attr-defined]


def number(value: Any, digits: int = 4) -> str:
    """A number for a narrow column; nothing for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}" if abs(value) < 1000 else f"{value:.0e}"


def coloured(word: str) -> str:
    """A verdict with its colour, shortened where it only says that there is none."""
    word = {"not-applicable": "n/a", "not-evaluated": "not run"}.get(word, word)
    colour = {"violated": "red", "refuted": "yellow", "holds": "green", "supported": "green"}.get(word)
    return f"[{colour}]{word}[/]" if colour else word
