"""Results along the axes width, features and target, as data frames and as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Group, RenderableType

from ntkmc.errors import InputError
from ntkmc.linalg.sketching import feature_flops, kernel_flops
from ntkmc.statistics.scaling import exponents
from ntkmc.theory.targets import NetworkLabel
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
    """Return tables of the networks by width, and of least widths and exponents by cell."""
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
    """Format a least size with its proved range in parentheses."""
    value, lower, upper = (float(row[f"{name}{end}"]) for end in ("", "_lower", "_upper"))
    return f"{_short(value)} ({_short(lower)},{_short(upper)})"


def _short(width: float) -> str:
    """Format a width in at most five characters; a dash if it is not finite."""
    if not math.isfinite(width):
        return "-"
    return f"{width:.0f}" if width < 1e5 else f"{width:.0e}"


def limits(row: pd.Series[Any], name: str) -> str:
    """Format a number with its confidence limits; empty for NaN."""
    value, lower, upper = (float(row[f"{name}{end}"]) for end in ("", "_lower", "_upper"))
    text = "" if math.isnan(value) else f"{value:.2f} ({lower:.2f},{upper:.2f})"
    return text.replace("0.", ".")


_SKETCH_CELL = ["distribution", "d", "n", "depth"]


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
    frame.insert(len(_SKETCH_CELL), "method", method)
    sizes = list(zip(*(frame[name].tolist() for name in ("n", "d", "depth", "features")), strict=True))
    frame["map_flops"] = [feature_flops(n, d, kernel, depth, s, method) for n, d, depth, s in sizes]
    frame["kernel_flops"] = [kernel_flops(n, d, depth) for n, d, depth, _ in sizes]
    frame["map_size"] = [8 * n * s for n, _, _, s in sizes]
    frame["kernel_size"] = [8 * n * n for n, *_ in sizes]
    return frame


def features_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Return tables of the feature maps by number of features, and of least numbers and exponents by cell."""
    return Group(_by_number(frame), _sketches_by_cell(frame, delta))


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


def _sketches_by_cell(frame: pd.DataFrame, delta: float) -> RenderableType:
    drawn = table(f"Least features s* with probability {1 - delta:g}, and exponents in s", tight=True)
    for name in ("distribution", "d", "n", "L", "s* (i)", "s* (ii)", "exponent", "flops of K"):
        drawn.add_column(name, justify="left" if name == "distribution" else "right", no_wrap=True)
    for _, rows in frame.groupby(_SKETCH_CELL, sort=False):
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


_TARGET_CELL = ["distribution", "d", "n", "depth"]


def targets_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per (distribution, d, n, depth, target) that has estimates, and one per network that is trained on it.

    Columns: those, `network` (empty where the row is what the kernel predicts) with its `width` and `kappa`, and the
    variables of the groups `prediction` and `dynamics` that have one value per row.

    Raises
    ------
    InputError
        If no study in the store asked for targets.
    """
    if "prediction" not in tree:
        raise InputError("no study in this store asked for training: add targets to it and run it again")
    predicted = estimates_along(tree["prediction"].to_dataset(), "target")
    predicted = predicted.assign(network="", width=0, kappa=math.nan)
    parts = [predicted]
    if "dynamics" in tree:
        followed = estimates_along(tree["dynamics"].to_dataset(), "network")
        labels = [NetworkLabel.parse(each) for each in followed["network"]]
        followed = followed.assign(
            target=[each.target for each in labels],
            width=[each.width for each in labels],
            kappa=[each.kappa for each in labels],
        )
        parts.append(followed)
    frame = pd.concat(parts, ignore_index=True)
    front = [*_TARGET_CELL, "target", "width", "kappa", "network"]
    frame = frame[[*front, *(name for name in frame.columns if name not in front)]]
    return frame.sort_values(front, kind="stable").reset_index(drop=True)


def targets_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Return tables of predictions by target, of the decay of the bound in n, and of the trained networks."""
    predicted = frame[frame["network"] == ""]
    trained = frame[frame["network"] != ""]
    drawn = [_predicted(predicted), _decay(predicted)]
    if len(trained):
        drawn += [_trained(trained), _slopes(trained), _contracting_widths(trained, delta)]
    return Group(*drawn)


def _columns(title: str, *names: str) -> Any:
    drawn = table(title, tight=True)
    for name in names:
        drawn.add_column(name, justify="left" if name in ("distribution", "target") else "right", no_wrap=True)
    return drawn


def _predicted(frame: pd.DataFrame) -> RenderableType:
    names = ("distribution", "d", "n", "L", "target", "trials", "k*", "share", "bound", "loss")
    drawn = _columns("Training as the kernel predicts it", *names)
    for row in frame.to_dict("records"):
        drawn.add_row(
            law(str(row["distribution"])),
            *(str(row[name]) for name in ("d", "n", "depth", "target", "trials_used")),
            _steps(float(row["steps"])),
            *(number(row[name], 3) for name in ("steps_share", "bound", "regression_loss")),
        )
    caption = (
        "k*: median of the steps to |y|/(10n); share: of log(10n)/(η λ_min), at most 1;\n"
        "bound: median of (2 y'K⁻¹y/n)^½, vacuous from 1 on; loss: mean of min(1, |f-y|)\n"
        "on new rows, kernel regression; with intervals: --format csv"
    )
    return captioned(drawn, caption)


def _decay(frame: pd.DataFrame) -> RenderableType:
    names = ("distribution", "d", "L", "target", "exponent", "bound", "at n")
    drawn = _columns("Exponents in n of the bound, and what it reaches", *names)
    for (distribution, d, depth, target), rows in frame.groupby(["distribution", "d", "depth", "target"], sort=False):
        last = rows.iloc[int(np.argmax(rows["n"]))]
        fitted = exponents(rows["bound"], rows["bound_lower"], rows["bound_upper"], {"n": np.asarray(rows["n"])})
        drawn.add_row(
            law(str(distribution)),
            *(str(each) for each in (d, depth, target)),
            _interval(*fitted["n"]) if "n" in fitted else "",
            number(last["bound"], 3),
            str(last["n"]),
        )
    return captioned(drawn, "theory: -1/2 for linear and quadratic targets once n ≫ d^p; not for random signs")


def _trained(frame: pd.DataFrame) -> RenderableType:
    names = ("d", "n", "target", "m", "κ", "trials", "gap", "gap₀", "drift", "contracts", "loss")
    drawn = _columns("Trained networks beside it", *names)
    for row in frame.to_dict("records"):
        drawn.add_row(
            *(str(row[name]) for name in ("d", "n", "target", "width")),
            f"{row['kappa']:g}",
            str(row["trials_used"]),
            *(number(row[name], 3) for name in ("gap", "gap_started", "drift", "contraction_share", "test_loss")),
        )
    caption = (
        "gap: median of the largest distance to the prediction from output 0, over |y|;\n"
        "gap₀: to that from the network's own start; drift: |H_T - H_0|/|H_0|; contracts:\n"
        "share of trials whose loss shrinks by 1 - η λ_min/2 in every step"
    )
    return captioned(drawn, caption)


def _slopes(frame: pd.DataFrame) -> RenderableType:
    drawn = _columns("Exponents in the width m and the scale κ", "d", "n", "target", "in", "gap", "gap₀", "drift")
    for (d, n, target), rows in frame.groupby(["d", "n", "target"], sort=False):
        first = rows.iloc[0]
        for axis, symbol in (("width", "m"), ("kappa", "κ")):
            ends = [
                [float(first[f"{name}_{axis}{end}"]) for end in ("", "_lower", "_upper")]
                for name in ("gap", "gap_started", "drift")
            ]
            drawn.add_row(str(d), str(n), str(target), symbol, *(_interval(*each) for each in ends))
    return captioned(drawn, "with limits that hold for all networks of a cell at once")


def _contracting_widths(frame: pd.DataFrame, delta: float) -> RenderableType:
    drawn = _columns("Least widths that contract", "d", "n", "target", "κ", "m* (iii)")
    for (d, n, target, kappa), rows in frame.groupby(["d", "n", "target", "kappa"], sort=False):
        drawn.add_row(str(d), str(n), str(target), f"{kappa:g}", range_of_sizes(rows.iloc[0], "contraction_width"))
    caption = (
        f"m* (iii): least tried width from which on, with probability {1 - delta:g}, the loss\n"
        "shrinks by 1 - η λ_min/2 in every step; in parentheses between which tried\n"
        "widths it is proved to lie"
    )
    return captioned(drawn, caption)


def _steps(value: float) -> str:
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value < 1e5 else f"{value:.0e}"


def _interval(value: float, lower: float, upper: float) -> str:
    return "" if math.isnan(value) else f"{value:.2f} ({lower:.2f},{upper:.2f})"
