"""What a store says of feature maps, as a frame and as tables for a terminal of 80 columns."""

from __future__ import annotations

from typing import Any

import pandas as pd
import xarray as xr
from rich.console import Group, RenderableType

from ntkmc.errors import InputError
from ntkmc.linalg.sketching.cost import feature_flops, kernel_flops
from ntkmc.views.frames import estimates_along
from ntkmc.views.tables import captioned, law, number, table
from ntkmc.views.widths import limits, range_of_sizes

_CELL = ["distribution", "d", "n", "depth"]


def features_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per (distribution, d, n, depth, features) that has estimates.

    Columns: those, `method`, the variables of the group `sketch_accuracy` (quantiles as `deviation_q90`; those that
    concern all numbers of features are repeated in each row), and what a map and the exact matrix take, by the model:
    `map_flops`, `kernel_flops`, and the bytes that hold them, `map_size` and `kernel_size`.

    Raises
    ------
    InputError
        If no study in the store asked for features.
    """
    if "sketch_accuracy" not in tree:
        raise InputError("no study in this store asked for feature maps: add features to it and run it again")
    opened = tree["sketch_accuracy"].to_dataset()
    for name in [name for name in opened.data_vars if "quantile" in opened[name].dims]:
        for level in opened["quantile"].to_numpy():
            label = f"{str(name).removesuffix('_quantile')}_q{100 * level:.0f}"
            opened[label] = opened[name].sel(quantile=level, drop=True)
    frame = estimates_along(opened, "features")
    kernel, method = tree.attrs["identity"]["kernel"], tree.attrs["identity"]["sketching"]["method"]
    frame.insert(len(_CELL), "method", method)
    sizes = list(zip(*(frame[name].tolist() for name in ("n", "d", "depth", "features")), strict=True))
    frame["map_flops"] = [feature_flops(n, d, kernel, depth, s, method) for n, d, depth, s in sizes]
    frame["kernel_flops"] = [kernel_flops(n, d, depth) for n, d, depth, _ in sizes]
    frame["map_size"] = [8 * n * s for n, _, _, s in sizes]
    frame["kernel_size"] = [8 * n * n for n, *_ in sizes]
    return frame


def features_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Feature maps by their number of features, and what all numbers of a cell say together."""
    return Group(_by_number(frame), _by_cell(frame, delta))


def _by_number(frame: pd.DataFrame) -> RenderableType:
    drawn = table(f"Feature maps by {frame['method'].iloc[0]}", tight=True)
    for name in ("distribution", "d", "n", "L", "s", "|S-K|", "/|K|", "max", "λ_min", "(i)", "(ii)", "flops"):
        drawn.add_column(name, justify="left" if name == "distribution" else "right", no_wrap=True)
    for row in frame.itertuples():
        drawn.add_row(
            law(str(row.distribution)),
            str(row.d),
            str(row.n),
            str(row.depth),
            str(row.features),
            number(row.deviation_median, 3),
            number(row.relative_median, 2),
            number(row.entry_deviation_q50, 2),
            number(row.lambda_min_median, 3),
            number(row.norm_share, 2),
            number(row.eigenvalue_share, 2),
            f"{float(row.map_flops):.0e}".replace("e+0", "e"),  # type: ignore[arg-type]
        )
    caption = (
        "S = ΦΦ' of s features; |S-K|: median distance to the kernel in operator norm,\n"
        "then over |K|, and in the largest entry; λ_min: median of S; shares of trials\n"
        "with (i) |S-K| ≤ λ_0/4, (ii) λ_min(S) ≥ 3/4 λ_0, λ_0 = λ_min(K) of the same\n"
        "draw; flops: of Φ, by the model. Quantiles, intervals, bytes: --format csv"
    )
    return captioned(drawn, caption)


def _by_cell(frame: pd.DataFrame, delta: float) -> RenderableType:
    drawn = table(f"Least features s* with probability {1 - delta:g}, and exponents in s", tight=True)
    for name in ("distribution", "d", "n", "L", "s* (i)", "s* (ii)", "exponent", "flops of K"):
        drawn.add_column(name, justify="left" if name == "distribution" else "right", no_wrap=True)
    for _, rows in frame.groupby(_CELL, sort=False):
        first: pd.Series[Any] = rows.iloc[0]
        drawn.add_row(
            law(str(first["distribution"])),
            *(str(first[name]) for name in ("d", "n", "depth")),
            range_of_sizes(first, "norm_features"),
            range_of_sizes(first, "eigenvalue_features"),
            limits(first, "exponent"),
            f"{float(first['kernel_flops']):.0e}",
        )
    caption = (
        "s*: least tried number from which on the share is that large; in parentheses\n"
        "between which tried numbers it is proved to lie; exponent of the median\n"
        "distance, with its limits; flops of the exact Gram matrix, by the model"
    )
    return captioned(drawn, caption)
