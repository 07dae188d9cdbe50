"""What a store says of finite networks, as a frame and as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd
import xarray as xr
from rich.console import Group, RenderableType

from ntkmc.errors import InputError
from ntkmc.views.frames import estimates_along
from ntkmc.views.tables import captioned, law, number, table

_CELL = ["distribution", "d", "n", "depth"]


def widths_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per (distribution, d, n, depth, width) that has estimates.

    Columns: those, and the variables of the group `convergence`, of which those that concern all widths of a cell
    are repeated in each of its rows.

    Raises
    ------
    InputError
        If no study in the store asked for widths.
    """
    if "convergence" not in tree:
        raise InputError("no study in this store asked for finite widths: add widths to it and run it again")
    return estimates_along(tree["convergence"].to_dataset(), "width")


def widths_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Networks by width, and what all widths of a cell say together."""
    return Group(_by_width(frame), _by_cell(frame, delta))


def _by_width(frame: pd.DataFrame) -> RenderableType:
    drawn = table("Tangent kernels of finite networks", tight=True)
    for name in ("distribution", "d", "n", "L", "m", "trials", "|Θ-K|", "λ_min", "(i)", "(ii)"):
        drawn.add_column(name, justify="left" if name == "distribution" else "right", no_wrap=True)
    for row in frame.itertuples():
        drawn.add_row(
            law(str(row.distribution)),
            str(row.d),
            str(row.n),
            str(row.depth),
            str(row.width),
            str(row.trials_used),
            number(row.deviation_median),
            number(row.lambda_min_median),
            number(row.norm_share, 3),
            number(row.eigenvalue_share, 3),
        )
    caption = (
        "m: width; |Θ-K|: median distance to the limit in operator norm; λ_min: median of\n"
        "the network's; shares of trials with (i) |Θ-K| ≤ λ_0/4, (ii) λ_min(Θ) ≥ 3/4 λ_0,\n"
        "λ_0 = λ_min(K) of the same draw; with intervals: --format csv"
    )
    return captioned(drawn, caption)


def _by_cell(frame: pd.DataFrame, delta: float) -> RenderableType:
    drawn = table(f"Smallest widths m* with probability {1 - delta:g}, and exponents in m", tight=True)
    for name in ("distribution", "d", "n", "L", "m* (i)", "m* (ii)", "n^6/λ_0^4", "exponent"):
        drawn.add_column(name, justify="left" if name == "distribution" else "right", no_wrap=True)
    for _, rows in frame.groupby(_CELL, sort=False):
        first = rows.iloc[0]
        drawn.add_row(
            law(str(first["distribution"])),
            *(str(first[name]) for name in ("d", "n", "depth")),
            range_of_sizes(first, "norm_width"),
            range_of_sizes(first, "eigenvalue_width"),
            "" if math.isnan(first["printed_width"]) else f"{first['printed_width']:.1e}",
            limits(first, "exponent"),
        )
    caption = (
        "m*: least tried width from which on the share is that large; in parentheses\n"
        "between which tried widths it is proved to lie; λ_0 in n^6/λ_0^4: the median;\n"
        "exponent of the median distance, with its limits (-1/2 is the limit theorem's)"
    )
    return captioned(drawn, caption)


def range_of_sizes(row: pd.Series[Any], name: str) -> str:
    """A least size as measured, and in parentheses between which it is proved to lie."""
    value, lower, upper = (float(row[f"{name}{end}"]) for end in ("", "_lower", "_upper"))
    return f"{_short(value)} ({_short(lower)},{_short(upper)})"


def _short(width: float) -> str:
    """At most five characters; a dash where there is none."""
    if not math.isfinite(width):
        return "-"
    return f"{width:.0f}" if width < 1e5 else f"{width:.0e}"


def limits(row: pd.Series[Any], name: str) -> str:
    """A number with its confidence limits; empty where there is none."""
    value, lower, upper = (float(row[f"{name}{end}"]) for end in ("", "_lower", "_upper"))
    text = "" if math.isnan(value) else f"{value:.2f} ({lower:.2f},{upper:.2f})"
    return text.replace("0.", ".")
