"""Results of additional measurements (widths, features, targets) as data frames and as tables for a terminal."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Group, RenderableType

from ntkmc.errors import InputError
from ntkmc.linalg.sketching import feature_flops, kernel_flops
from ntkmc.statistics.scaling import exponents
from ntkmc.theory.targets import NetworkLabel
from ntkmc.views.cells import COORDINATES
from ntkmc.views.frames import estimates_along
from ntkmc.views.tables import PLACE, Column, Row, decimals, frame_table, limits, with_limits

_MEASURED: Final = {
    "convergence": ("finite widths", "widths"),
    "sketch_accuracy": ("feature maps", "features"),
    "prediction": ("training", "targets"),
}
"""Groups of estimates: what they are of, and the key of the study that asks for them."""


def _group(tree: xr.DataTree, name: str) -> xr.Dataset:
    if name not in tree:
        measured, key = _MEASURED[name]
        raise InputError(f"no study in this store asked for {measured}: add {key} to it and run it again")
    return tree[name].to_dataset()


def widths_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return the estimates for finite networks, one row per (distribution, d, n, depth, width) with trials.

    Columns: those, and the variables of the group `convergence`; variables that concern all widths of a cell are
    repeated in each of its rows.

    Raises
    ------
    InputError
        If no study in the store asked for widths.
    """
    return estimates_along(_group(tree, "convergence"), "width")


def widths_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Return tables of the networks by width, and of least widths and exponents by cell."""
    by_width: dict[str, Column] = {
        **PLACE,
        "m": "width",
        "trials": "trials_used",
        "|Θ-K|": decimals("deviation_median"),
        "λ_min": decimals("lambda_min_median"),
        "(i)": decimals("norm_share", 3),
        "(ii)": decimals("eigenvalue_share", 3),
    }
    by_cell: dict[str, Column] = {
        **PLACE,
        "m* (i)": _least_size("norm_width"),
        "m* (ii)": _least_size("eigenvalue_width"),
        "n^6/λ_0^4": lambda row: "" if math.isnan(row["printed_width"]) else f"{row['printed_width']:.1e}",
        "exponent": limits("exponent"),
    }
    return Group(
        frame_table(
            "Tangent kernels of finite networks",
            frame,
            by_width,
            "m: width; |Θ-K|: median distance to the limit in operator norm; λ_min: median of\n"
            "the network's; shares of trials with (i) |Θ-K| ≤ λ_0/4, (ii) λ_min(Θ) ≥ 3/4 λ_0,\n"
            "λ_0 = λ_min(K) of the same draw; with intervals: --format csv",
        ),
        frame_table(
            f"Smallest widths m* with probability {1 - delta:g}, and exponents in m",
            frame.drop_duplicates(COORDINATES),
            by_cell,
            "m*: least tried width from which on the share is that large; in parentheses\n"
            "between which tried widths it is proved to lie; λ_0 in n^6/λ_0^4: the median;\n"
            "exponent of the median distance, with its limits (-1/2 in the limit theorem)",
        ),
    )


def features_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return the estimates for feature maps, one row per (distribution, d, n, depth, features) with trials.

    Columns: those, `method`, the variables of the group `sketch_accuracy` (quantiles as `deviation_q90`; variables
    that concern all numbers of features are repeated in each row), and the cost of a map and of the exact matrix by
    the model: `map_flops`, `kernel_flops`, and bytes in memory, `map_size` and `kernel_size`.

    Raises
    ------
    InputError
        If no study in the store asked for features.
    """
    group = _group(tree, "sketch_accuracy")
    for name in [str(name) for name in group.data_vars if "quantile" in group[name].dims]:
        for level in group["quantile"].to_numpy():
            label = f"{name.removesuffix('_quantile')}_q{100 * level:.0f}"
            group[label] = group[name].sel(quantile=level, drop=True)
    frame = estimates_along(group, "features")
    # The cost is computed, not stored: it follows from the sizes and the method.
    kernel, method = tree.attrs["identity"]["kernel"], tree.attrs["identity"]["sketching"]["method"]
    frame.insert(len(COORDINATES), "method", method)
    sizes = frame[["n", "d", "depth", "features"]].itertuples(index=False, name=None)
    flops = [(feature_flops(n, d, kernel, depth, s, method), kernel_flops(n, d, depth)) for n, d, depth, s in sizes]
    frame[["map_flops", "kernel_flops"]] = pd.DataFrame(flops, index=frame.index, columns=["map", "kernel"])
    return frame.assign(map_size=8 * frame["n"] * frame["features"], kernel_size=8 * frame["n"] ** 2)


def features_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Return tables of the feature maps by number of features, and of least numbers and exponents by cell."""
    by_number: dict[str, Column] = {
        **PLACE,
        "s": "features",
        "|S-K|": decimals("deviation_median", 3),
        "/|K|": decimals("relative_median", 2),
        "max": decimals("entry_deviation_q50", 2),
        "λ_min": decimals("lambda_min_median", 3),
        "(i)": decimals("norm_share", 2),
        "(ii)": decimals("eigenvalue_share", 2),
        "flops": lambda row: f"{row['map_flops']:.0e}".replace("e+0", "e"),
    }
    by_cell: dict[str, Column] = {
        **PLACE,
        "s* (i)": _least_size("norm_features"),
        "s* (ii)": _least_size("eigenvalue_features"),
        "exponent": limits("exponent"),
        "flops of K": lambda row: f"{row['kernel_flops']:.0e}",
    }
    return Group(
        frame_table(
            f"Feature maps by {frame['method'].iloc[0]}",
            frame,
            by_number,
            "S = ΦΦ' of s features; |S-K|: median distance to the kernel in operator norm,\n"
            "then over |K|, and in the largest entry; λ_min: median of S; shares of trials\n"
            "with (i) |S-K| ≤ λ_0/4, (ii) λ_min(S) ≥ 3/4 λ_0, λ_0 = λ_min(K) of the same\n"
            "draw; flops: of Φ, by the model. Quantiles, intervals, bytes: --format csv",
        ),
        frame_table(
            f"Least features s* with probability {1 - delta:g}, and exponents in s",
            frame.drop_duplicates(COORDINATES),
            by_cell,
            "s*: least tried number from which on the share is that large; in parentheses\n"
            "between which tried numbers it is proved to lie; exponent of the median\n"
            "distance, with its limits; flops of the exact Gram matrix, by the model",
        ),
    )


def targets_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return the estimates for training: one row per (distribution, d, n, depth, target) with trials, and one per
    network that is trained on it.

    Columns: those, `network` (empty for the kernel's prediction) with its `width` and `kappa`, and the variables of
    the groups `prediction` and `dynamics` that have one value per row.

    Raises
    ------
    InputError
        If no study in the store asked for targets.
    """
    predicted = estimates_along(_group(tree, "prediction"), "target")
    # Predictions and networks are rows of one frame, so that one selection and one CSV file have both.
    parts = [predicted.assign(network="", width=0, kappa=math.nan)]
    if "dynamics" in tree:
        trained = estimates_along(tree["dynamics"].to_dataset(), "network")
        labels = [NetworkLabel.parse(label) for label in trained["network"]]
        parts.append(trained.join(pd.DataFrame(labels, columns=["target", "width", "kappa"])))
    frame = pd.concat(parts, ignore_index=True)
    first = [*COORDINATES, "target", "width", "kappa", "network"]
    frame = frame[[*first, *frame.columns.difference(first, sort=False)]]
    return frame.sort_values(first, kind="stable").reset_index(drop=True)


def targets_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Return tables of predictions by target, of the decay of the bound in n, and of the trained networks."""
    predicted, trained = frame[frame["network"] == ""], frame[frame["network"] != ""]
    columns: dict[str, Column] = {
        **PLACE,
        "target": "target",
        "trials": "trials_used",
        "k*": lambda row: _size(row["steps"]),
        "share": decimals("steps_share", 3),
        "bound": decimals("bound", 3),
        "loss": decimals("regression_loss", 3),
    }
    caption = (
        "k*: median of the steps to |y|/(10n); share: of log(10n)/(η λ_min), at most 1;\n"
        "bound: median of (2 y'K⁻¹y/n)^½, vacuous from 1 on; loss: mean of min(1, |f-y|)\n"
        "on new rows, kernel regression; with intervals: --format csv"
    )
    tables = [frame_table("Training as the kernel predicts it", predicted, columns, caption), _decay(predicted)]
    # 80 characters have no room for the columns distribution and L: one table each.
    groups = list(trained.groupby(["distribution", "depth"], sort=False))
    for title, distinct, columns, caption in _network_tables(delta):
        for i, ((law, depth), networks) in enumerate(groups, start=1):
            below = caption if i == len(groups) else ""
            rows = networks.drop_duplicates(distinct)
            tables.append(frame_table(f"{title}: {law}, L = {depth}", rows, columns, below))
    return Group(*tables)


def _decay(frame: pd.DataFrame) -> RenderableType:
    rows = []
    for _, line in frame.groupby(["distribution", "d", "depth", "target"], sort=False):
        fits = exponents(line["bound"], line["bound_lower"], line["bound_upper"], {"n": line["n"].to_numpy()})
        fitted = with_limits(*fits["n"]) if "n" in fits else ""
        rows.append(line.loc[[line.index[int(np.argmax(line["n"]))]]].assign(fitted=fitted))
    columns = {name: column for name, column in PLACE.items() if name != "n"}
    columns |= {"target": "target", "exponent": "fitted", "bound": decimals("bound", 3), "at n": "n"}
    caption = "theory: -1/2 for linear and quadratic targets once n ≫ d^p; not for random signs"
    return frame_table("Exponents in n of the bound, and its last value", pd.concat(rows), columns, caption)


def _network_tables(delta: float) -> list[tuple[str, list[str], dict[str, Column], str]]:
    """Return the title, key columns, value columns and caption of each table of trained networks."""
    network: dict[str, Column] = {"d": "d", "n": "n", "target": "target"}
    scale: dict[str, Column] = {"κ": lambda row: f"{row['kappa']:g}"}
    results = {"gap": "gap", "gap₀": "gap_started", "drift": "drift"}
    slopes = [
        (
            f"Exponents in the {words}",
            ["d", "n", "target"],
            network | {heading: limits(f"{name}_{axis}") for heading, name in results.items()},
            "with limits that hold for all networks of a cell at once",
        )
        for axis, words in (("width", "width m"), ("kappa", "scale κ"))
    ]
    return [
        (
            "Trained networks",
            ["network", "d", "n"],
            network
            | {"m": "width", **scale, "trials": "trials_used"}
            | {heading: decimals(name, 3) for heading, name in results.items()}
            | {"contracts": decimals("contraction_share", 3), "loss": decimals("test_loss", 3)},
            "gap: median of the largest distance to the prediction from output 0, over |y|;\n"
            "gap₀: to that from the network's own start; drift: |H_T - H_0|/|H_0|; contracts:\n"
            "share of trials whose loss shrinks by 1 - η λ_min/2 in every step",
        ),
        *slopes,
        (
            "Least widths that contract",
            ["d", "n", "target", "kappa"],
            network | scale | {"m* (iii)": _least_size("contraction_width")},
            f"m* (iii): least tried width from which on, with probability {1 - delta:g}, the loss\n"
            "shrinks by 1 - η λ_min/2 in every step; in parentheses between which tried\n"
            "widths it is proved to lie",
        ),
    ]


def _least_size(name: str) -> Column:
    """Return the column of a least size with its proved range in parentheses."""

    def cell(row: Row) -> str:
        value, lower, upper = (_size(row[f"{name}{end}"]) for end in ("", "_lower", "_upper"))
        return f"{value} ({lower},{upper})"

    return cell


def _size(value: float) -> str:
    """Format an integer in at most five characters; a dash if it is not finite.

    >>> _size(64.0), _size(2.0e6), _size(math.nan)
    ('64', '2e+06', '-')
    """
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value < 1e5 else f"{value:.0e}"
