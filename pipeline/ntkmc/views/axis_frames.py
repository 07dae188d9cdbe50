"""Results of additional measurements (widths, features, targets) as data frames and as tables for a terminal."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final

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
from ntkmc.views.tables import broken_label, fixed, place_cells, render, with_limits

_MEASURED: Final = {
    "convergence": ("finite widths", "widths"),
    "sketch_accuracy": ("feature maps", "features"),
    "prediction": ("training", "targets"),
}
"""Groups of estimates: what they are of, and the key of the study that asks for them."""

_PLACE: Final = ("distribution", "d", "n", "L")


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
    by_width = render(
        "Tangent kernels of finite networks",
        [*_PLACE, "m", "trials", "|Θ-K|", "λ_min", "(i)", "(ii)"],
        (
            [
                *place_cells(row), str(row["width"]), str(row["trials_used"]), fixed(row["deviation_median"]),
                fixed(row["lambda_min_median"]), fixed(row["norm_share"], 3), fixed(row["eigenvalue_share"], 3),
            ]
            for row in frame.to_dict("records")
        ),
        "m: width; |Θ-K|: median distance to the limit in operator norm; λ_min: median of\n"
        "the network's; shares of trials with (i) |Θ-K| ≤ λ_0/4, (ii) λ_min(Θ) ≥ 3/4 λ_0,\n"
        "λ_0 = λ_min(K) of the same draw; with intervals: --format csv",
        tight=True,
    )  # fmt: skip
    by_cell = render(
        f"Smallest widths m* with probability {1 - delta:g}, and exponents in m",
        [*_PLACE, "m* (i)", "m* (ii)", "n^6/λ_0^4", "exponent"],
        (
            [
                *place_cells(row), _least_size(row, "norm_width"), _least_size(row, "eigenvalue_width"),
                "" if math.isnan(row["printed_width"]) else f"{row['printed_width']:.1e}", _estimate(row, "exponent"),
            ]
            for row in _cells(frame)
        ),
        "m*: least tried width from which on the share is that large; in parentheses\n"
        "between which tried widths it is proved to lie; λ_0 in n^6/λ_0^4: the median;\n"
        "exponent of the median distance, with its limits (-1/2 in the limit theorem)",
        tight=True,
    )  # fmt: skip
    return Group(by_width, by_cell)


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
    kernel, method = tree.attrs["identity"]["kernel"], tree.attrs["identity"]["sketching"]["method"]
    frame.insert(len(COORDINATES), "method", method)
    sizes = frame[["n", "d", "depth", "features"]].itertuples(index=False, name=None)
    flops = [(feature_flops(n, d, kernel, depth, s, method), kernel_flops(n, d, depth)) for n, d, depth, s in sizes]
    frame[["map_flops", "kernel_flops"]] = pd.DataFrame(flops, index=frame.index, columns=["map", "kernel"])
    return frame.assign(map_size=8 * frame["n"] * frame["features"], kernel_size=8 * frame["n"] ** 2)


def features_tables(frame: pd.DataFrame, delta: float) -> RenderableType:
    """Return tables of the feature maps by number of features, and of least numbers and exponents by cell."""
    by_number = render(
        f"Feature maps by {frame['method'].iloc[0]}",
        [*_PLACE, "s", "|S-K|", "/|K|", "max", "λ_min", "(i)", "(ii)", "flops"],
        (
            [
                *place_cells(row), str(row["features"]), fixed(row["deviation_median"], 3),
                fixed(row["relative_median"], 2), fixed(row["entry_deviation_q50"], 2),
                fixed(row["lambda_min_median"], 3), fixed(row["norm_share"], 2), fixed(row["eigenvalue_share"], 2),
                f"{row['map_flops']:.0e}".replace("e+0", "e"),
            ]
            for row in frame.to_dict("records")
        ),
        "S = ΦΦ' of s features; |S-K|: median distance to the kernel in operator norm,\n"
        "then over |K|, and in the largest entry; λ_min: median of S; shares of trials\n"
        "with (i) |S-K| ≤ λ_0/4, (ii) λ_min(S) ≥ 3/4 λ_0, λ_0 = λ_min(K) of the same\n"
        "draw; flops: of Φ, by the model. Quantiles, intervals, bytes: --format csv",
        tight=True,
    )  # fmt: skip
    by_cell = render(
        f"Least features s* with probability {1 - delta:g}, and exponents in s",
        [*_PLACE, "s* (i)", "s* (ii)", "exponent", "flops of K"],
        (
            [
                *place_cells(row), _least_size(row, "norm_features"), _least_size(row, "eigenvalue_features"),
                _estimate(row, "exponent"), f"{row['kernel_flops']:.0e}",
            ]
            for row in _cells(frame)
        ),
        "s*: least tried number from which on the share is that large; in parentheses\n"
        "between which tried numbers it is proved to lie; exponent of the median\n"
        "distance, with its limits; flops of the exact Gram matrix, by the model",
        tight=True,
    )  # fmt: skip
    return Group(by_number, by_cell)


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
    predicted = frame[frame["network"] == ""]
    trained = frame[frame["network"] != ""]
    tables = [_predicted(predicted), _decay(predicted)]
    if len(trained):
        tables += [*_trained(trained), *_slopes(trained), *_contracting_widths(trained, delta)]
    return Group(*tables)


def _predicted(frame: pd.DataFrame) -> RenderableType:
    return render(
        "Training as the kernel predicts it",
        [*_PLACE, "target", "trials", "k*", "share", "bound", "loss"],
        (
            [
                *place_cells(row), row["target"], str(row["trials_used"]), _size(row["steps"]),
                *(fixed(row[name], 3) for name in ("steps_share", "bound", "regression_loss")),
            ]
            for row in frame.to_dict("records")
        ),
        "k*: median of the steps to |y|/(10n); share: of log(10n)/(η λ_min), at most 1;\n"
        "bound: median of (2 y'K⁻¹y/n)^½, vacuous from 1 on; loss: mean of min(1, |f-y|)\n"
        "on new rows, kernel regression; with intervals: --format csv",
        tight=True,
    )  # fmt: skip


def _decay(frame: pd.DataFrame) -> RenderableType:
    rows = []
    for (distribution, d, depth, target), line in frame.groupby(["distribution", "d", "depth", "target"], sort=False):
        fits = exponents(line["bound"], line["bound_lower"], line["bound_upper"], {"n": line["n"].to_numpy()})
        last = line.iloc[int(np.argmax(line["n"]))]
        fitted = with_limits(*fits["n"]) if "n" in fits else ""
        place = [broken_label(str(distribution)), str(d), str(depth), str(target)]
        rows.append([*place, fitted, fixed(last["bound"], 3), str(last["n"])])
    return render(
        "Exponents in n of the bound, and its last value",
        ["distribution", "d", "L", "target", "exponent", "bound", "at n"],
        rows,
        "theory: -1/2 for linear and quadratic targets once n ≫ d^p; not for random signs",
        tight=True,
    )


def _trained(frame: pd.DataFrame) -> list[RenderableType]:
    names = ("gap", "gap_started", "drift", "contraction_share", "test_loss")

    def rows(networks: pd.DataFrame) -> Iterable[list[str]]:
        for row in networks.to_dict("records"):
            network = [*(str(row[name]) for name in ("d", "n", "target", "width")), f"{row['kappa']:g}"]
            yield [*network, str(row["trials_used"]), *(fixed(row[name], 3) for name in names)]

    return _by_law(
        frame,
        "Trained networks",
        ["d", "n", "target", "m", "κ", "trials", "gap", "gap₀", "drift", "contracts", "loss"],
        rows,
        "gap: median of the largest distance to the prediction from output 0, over |y|;\n"
        "gap₀: to that from the network's own start; drift: |H_T - H_0|/|H_0|; contracts:\n"
        "share of trials whose loss shrinks by 1 - η λ_min/2 in every step",
    )


def _slopes(frame: pd.DataFrame) -> list[RenderableType]:
    def rows(networks: pd.DataFrame) -> Iterable[list[str]]:
        for row in networks.drop_duplicates(["d", "n", "target"]).to_dict("records"):
            for axis, symbol in (("width", "m"), ("kappa", "κ")):
                fits = (_estimate(row, f"{name}_{axis}") for name in ("gap", "gap_started", "drift"))
                yield [str(row["d"]), str(row["n"]), row["target"], symbol, *fits]

    return _by_law(
        frame,
        "Exponents in the width m and the scale κ",
        ["d", "n", "target", "in", "gap", "gap₀", "drift"],
        rows,
        "with limits that hold for all networks of a cell at once",
    )


def _contracting_widths(frame: pd.DataFrame, delta: float) -> list[RenderableType]:
    def rows(networks: pd.DataFrame) -> Iterable[list[str]]:
        for row in networks.drop_duplicates(["d", "n", "target", "kappa"]).to_dict("records"):
            least = _least_size(row, "contraction_width")
            yield [str(row["d"]), str(row["n"]), row["target"], f"{row['kappa']:g}", least]

    return _by_law(
        frame,
        "Least widths that contract",
        ["d", "n", "target", "κ", "m* (iii)"],
        rows,
        f"m* (iii): least tried width from which on, with probability {1 - delta:g}, the loss\n"
        "shrinks by 1 - η λ_min/2 in every step; in parentheses between which tried\n"
        "widths it is proved to lie",
    )


def _by_law(
    frame: pd.DataFrame,
    title: str,
    columns: list[str],
    rows: Callable[[pd.DataFrame], Iterable[list[str]]],
    caption: str,
) -> list[RenderableType]:
    """Return one table per distribution and depth, with the caption below the last one.

    These tables have no room for the columns distribution and L in 80 characters.
    """
    groups = list(frame.groupby(["distribution", "depth"], sort=False))
    return [
        render(
            f"{title}: {law}, L = {depth}", columns, rows(networks), caption if i == len(groups) else "", tight=True
        )
        for i, ((law, depth), networks) in enumerate(groups, start=1)
    ]


def _cells(frame: pd.DataFrame) -> list[dict[Hashable, Any]]:
    """Return the first row of each cell, which has the variables that concern all sizes."""
    return frame.drop_duplicates(COORDINATES).to_dict("records")


def _estimate(row: Mapping[Any, Any], name: str) -> str:
    """Format a variable with its limits."""
    return with_limits(*(float(row[f"{name}{end}"]) for end in ("", "_lower", "_upper")))


def _least_size(row: Mapping[Any, Any], name: str) -> str:
    """Format a least size with its proved range in parentheses."""
    value, lower, upper = (_size(float(row[f"{name}{end}"])) for end in ("", "_lower", "_upper"))
    return f"{value} ({lower},{upper})"


def _size(value: float) -> str:
    """Format an integer in at most five characters; a dash if it is not finite.

    >>> _size(64.0), _size(2.0e6), _size(math.nan)
    ('64', '2e+06', '-')
    """
    if not math.isfinite(value):
        return "-"
    return f"{value:.0f}" if value < 1e5 else f"{value:.0e}"
