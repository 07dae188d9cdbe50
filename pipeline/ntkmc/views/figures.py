"""Figures out of a results tree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkmc.errors import InputError
from ntkmc.linalg.eigen.result import Status
from ntkmc.palette import CATEGORIES as _COLOURS
from ntkmc.theory.predictions.predictors import PREDICTORS
from ntkmc.views.curves import survival
from ntkmc.views.grid import Grid, Place
from ntkmc.views.predicted import predictions_frame

_STYLES: Final[tuple[Literal["-", "--", ":", "-."], ...]] = ("-", "--", ":", "-.")

_STEPS: Final = 400
"""Steps of a drawn curve at most: finer ones are narrower than its line."""

_MARKERS: Final = dict(
    zip((each.id for each in PREDICTORS.values() if each.quantity == "lambda_min"), "os^Dv", strict=False)
)


def survival_figure(tree: xr.DataTree, confidence: float, selection: Mapping[str, str] | None = None) -> Figure:
    """P(lambda_min >= lambda_0) against lambda_0: a panel per (n, d), a colour per distribution, a line per depth.

    Each curve is empirical, from the trials that the estimates rest on, with its simultaneous DKW band; vertical lines
    are the study's thresholds. Up to 4 x 4 panels, a row per d: the smallest and largest d, for each the smallest and
    largest n, and what lies evenly between. `selection` restricts distribution, d, n and depth. Markers at one half
    are predicted medians, see `ntkmc.theory.predictions.predictors`. The band is simultaneous over thresholds, for
    one curve of a fixed number of trials.
    """
    trials = _selected(tree["trials"].to_dataset(), selection or {})
    if (trials["status"] == Status.DECIDED.code).any():
        raise InputError(
            "this store decided events alone (measure: event): it has no distribution of lambda_min to draw"
        )
    planned = trials["planned"].any([dim for dim in trials["planned"].dims if dim not in ("d", "n")]).load()
    ds = _spread(d for d in planned["d"].values if planned.sel(d=d).any())
    ns = {d: _spread(n for n in planned["n"].values if planned.sel(d=d, n=n)) for d in ds}
    columns = max(map(len, ns.values()))
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.1 * len(ds) + 1.0), layout="constrained")
    axes = figure.subplots(len(ds), columns, squeeze=False, sharex="row", sharey=True)
    predicted = predictions_frame(tree)
    predicted = predicted[predicted["quantity"] == "lambda_min"]
    depths = np.sort(trials["depth"].values)
    grid = Grid(tree)
    labels = sorted(str(value) for value in trials["distribution"].values)
    shown: list[str] = []
    for row, d in enumerate(ds):
        for panel in axes[row][len(ns[d]) :]:
            panel.set_axis_off()
        for panel, n in zip(axes[row], ns[d], strict=False):
            _panel(panel, grid, [Place(label, d, n, int(depth)) for label in labels for depth in depths], confidence)
            shown += _markers(panel, predicted[(predicted["d"] == d) & (predicted["n"] == n)], labels, depths)
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
    handles += [
        Line2D([], [], color="0.3", linestyle="", marker=marker, fillstyle="none", label=f"predicted: {_plain(name)}")
        for name, marker in _MARKERS.items()
        if name in shown
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


def _spread(values: Iterable[Any], most: int = 4) -> list[int]:
    ordered = sorted(int(value) for value in values)
    if len(ordered) <= most:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, most).round().astype(int)]


def _panel(panel: Any, grid: Grid, places: list[Place], confidence: float) -> None:
    labels = list(dict.fromkeys(place.distribution for place in places))
    depths = list(dict.fromkeys(place.depth for place in places))
    known = set(grid.places)
    for place in places:
        if place not in known or not grid.used(place):
            continue
        curve = survival(grid.prefix(place), confidence).thinned(_STEPS)
        colour = _COLOURS[labels.index(place.distribution) % len(_COLOURS)]
        style = _STYLES[depths.index(place.depth) % len(_STYLES)]
        panel.step(curve.points, curve.probability, where="pre", color=colour, linestyle=style, linewidth=1.0)
        panel.fill_between(curve.points, curve.lower, curve.upper, step="pre", color=colour, alpha=0.12, linewidth=0)
    panel.set_ylim(-0.02, 1.02)
    panel.tick_params(labelsize=7)


def _markers(panel: Any, predicted: pd.DataFrame, labels: list[str], depths: Any) -> list[str]:
    """Draw a panel's predictions at the median; the predictors that appear."""
    drawn = predicted[predicted["distribution"].isin(labels) & predicted["depth"].isin(depths)]
    for name, label, value in zip(drawn["predictor"], drawn["distribution"], drawn["predicted"], strict=True):
        colour = _COLOURS[labels.index(label) % len(_COLOURS)]
        panel.plot([value], [0.5], marker=_MARKERS[name], color=colour, fillstyle="none", markersize=4, linestyle="")
    return list(drawn["predictor"])


def _plain(name: str) -> str:
    return name.removeprefix("pred-").replace("-", " ")
