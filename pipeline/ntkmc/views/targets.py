"""What a store says of training, as a frame and as tables for a terminal of 80 columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import Group, RenderableType

from ntkmc.errors import InputError
from ntkmc.statistics.scaling import exponents
from ntkmc.theory.targets import NetworkLabel
from ntkmc.views.frames import estimates_along
from ntkmc.views.tables import captioned, law, number, table
from ntkmc.views.widths import range_of_sizes

_CELL = ["distribution", "d", "n", "depth"]


def targets_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per (distribution, d, n, depth, target) that has estimates, and one per network that is trained on it.

    Columns: those, `network` (empty where the row is what the kernel predicts) with its `width` and `kappa`, and the
    variables of the groups `prediction` and `dynamics` that have one value a row.

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
    front = [*_CELL, "target", "width", "kappa", "network"]
    frame = frame[[*front, *(name for name in frame.columns if name not in front)]]
    return frame.sort_values(front, kind="stable").reset_index(drop=True)


def targets_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """What the kernel predicts by target, how the bound falls with n, and the networks that were trained."""
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
