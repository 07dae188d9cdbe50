"""Figures out of a results tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkmc.errors import InputError
from ntkmc.linalg.eigenvalue import Status
from ntkmc.statistics import dkw_band

_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe & Ito's palette: told apart with any colour vision."""

_STYLES: Final[tuple[Literal["-", "--", ":", "-."], ...]] = ("-", "--", ":", "-.")


def survival_figure(tree: xr.DataTree, confidence: float, selection: Mapping[str, str] | None = None) -> Figure:
    """P(lambda_min >= lambda_0) against lambda_0: a panel per (n, d), a colour per distribution, a line per depth.

    Each curve is empirical, with its simultaneous DKW band; vertical lines are the study's thresholds. Up to 4 x 4
    panels: the smallest and largest values of n and d, and what lies evenly between. `selection` restricts
    distribution, d, n and depth. The band is simultaneous over thresholds, for one curve whose number of trials was
    fixed.
    """
    trials = _selected(tree["trials"].to_dataset(), selection or {})
    if (trials["status"] == Status.DECIDED.code).any():
        raise InputError(
            "this store decided events alone (measure: event): it has no distribution of lambda_min to draw"
        )
    ds, ns = (_spread(trials[name].values) for name in ("d", "n"))
    figure = Figure(figsize=(2.6 * len(ns) + 0.6, 2.1 * len(ds) + 1.0), layout="constrained")
    axes = figure.subplots(len(ds), len(ns), squeeze=False, sharex="row", sharey=True)
    depths = np.sort(trials["depth"].values)
    labels = sorted(str(value) for value in trials["distribution"].values)
    for row, d in enumerate(ds):
        for column, n in enumerate(ns):
            panel = axes[row][column]
            if not trials["planned"].sel(d=d, n=n).any():
                panel.set_axis_off()
                continue
            _panel(panel, trials.sel(d=d, n=n).load(), labels, depths, confidence)
            panel.set_title(f"n = {n}, d = {d}", fontsize=8)
            for threshold in tree["estimates"].to_dataset()["lambda_0"].to_numpy():
                panel.axvline(float(threshold), color="0.8", linewidth=0.6, zorder=0)
    figure.supxlabel(
        r"$\lambda_0$" + f"   (bands: {confidence:.0%} Dvoretzky-Kiefer-Wolfowitz; grey: the study's thresholds)",
        fontsize=8,
    )
    figure.supylabel(r"$\mathbb{P}(\lambda_{\min} \geq \lambda_0)$")
    handles = [Line2D([], [], color=_COLOURS[i % len(_COLOURS)], label=name) for i, name in enumerate(labels)]
    handles += [
        Line2D([], [], color="0.3", linestyle=_STYLES[i % len(_STYLES)], label=f"L = {depth}")
        for i, depth in enumerate(depths)
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 4), frameon=False, fontsize=8)
    return figure


def _selected(trials: xr.Dataset, selection: Mapping[str, str]) -> xr.Dataset:
    for key, wanted in selection.items():
        if key == "distribution":
            labels = [str(value) for value in trials[key].to_numpy()]
            kept = [i for i, label in enumerate(labels) if label == wanted or label.startswith(wanted + "(")]
        elif key in ("d", "n", "depth"):
            kept = [i for i, value in enumerate(trials[key].to_numpy().tolist()) if value == float(wanted)]
        else:
            continue
        trials = trials.isel({key: kept})
    return trials


def save(figure: Figure, path: Path) -> None:
    """Write a figure; its format is the file's ending.

    Raises
    ------
    InputError
        If the ending is no format that matplotlib writes, or the file cannot be written.
    """
    formats = figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in formats:
        raise InputError(f"{path}: unknown figure format {path.suffix!r}; use .png, .pdf or .svg")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=200)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error


def _spread(values: Any, most: int = 4) -> list[int]:
    ordered = sorted(int(value) for value in values)
    if len(ordered) <= most:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, most).round().astype(int)]


def _panel(panel: Any, cell: xr.Dataset, labels: list[str], depths: Any, confidence: float) -> None:
    names = [str(value) for value in cell["distribution"].values]
    for i, label in enumerate(labels):
        for j, depth in enumerate(depths):
            values = cell["lambda_min"].sel(depth=depth).values[names.index(label)]
            values = values[~np.isnan(values)]
            if not len(values):
                continue
            points, lower, upper = dkw_band(values, confidence)
            colour, style = _COLOURS[i % len(_COLOURS)], _STYLES[j % len(_STYLES)]
            survival = 1.0 - np.arange(len(points)) / len(points)
            panel.step(points, survival, where="pre", color=colour, linestyle=style, linewidth=1.0)
            panel.fill_between(points, 1.0 - upper, 1.0 - lower, step="post", color=colour, alpha=0.12, linewidth=0)
    panel.set_ylim(-0.02, 1.02)
    panel.tick_params(labelsize=7)
