"""Figures of what a kernel says of learning: convergence to it, training beside its prediction, and the bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ntkmc.theory.targets import NetworkLabel
from ntkmc.views.axis_frames import features_frame, targets_frame, widths_frame
from ntkmc.views.cells import Grid
from ntkmc.views.plots.base import Plot, log_ticks, spread
from ntkmc.views.plots.style import TEXT, hue, journal, named

_LAW_STYLES: Final[tuple[Any, ...]] = ("-", "--", ":", "-.")
"""Line styles by distribution of the rows."""


class _Axis(NamedTuple):
    """Quantity that grows as the kernel is approached."""

    column: str
    symbol: str
    matrix: str
    words: str


def widths_plot(grid: Grid, name: str = "widths") -> Plot | None:
    """Distance to the kernel, and how often lambda_min survives, against the width. None without networks."""
    if "convergence" not in grid.tree:
        return None
    return _convergence_plot(
        name, widths_frame(grid.tree), _Axis("width", "m", r"\Theta", "tangent kernels Θ of networks of width m")
    )


def sketches_plot(grid: Grid, name: str = "sketches") -> Plot | None:
    """The same against the number of features. None without feature maps."""
    if "sketch_accuracy" not in grid.tree:
        return None
    return _convergence_plot(
        name, features_frame(grid.tree), _Axis("features", "s", "S", "Gram matrices S of maps to s features")
    )


def _convergence_plot(name: str, frame: pd.DataFrame, axis: _Axis) -> Plot | None:
    if frame[axis.column].nunique() < 2:
        return None
    columns = spread(list(zip(frame["d"], frame["depth"], strict=True)))
    laws, sizes = spread(frame["distribution"].tolist()), spread(frame["n"].tolist(), 6)
    with journal():
        figure = Figure(figsize=(TEXT, 3.7), layout="constrained")
        axes = figure.subplots(2, len(columns), squeeze=False, sharex=True, sharey="row")
        for j, (d, depth) in enumerate(columns):
            mine = frame[frame["d"].eq(d) & frame["depth"].eq(depth)]
            for n, law in ((n, law) for n in sizes for law in laws):
                line = mine[mine["n"].eq(n) & mine["distribution"].eq(law)].sort_values(axis.column)
                if len(line):
                    style = _LAW_STYLES[laws.index(law) % len(_LAW_STYLES)]
                    for i, column in enumerate(("deviation_median", "eigenvalue_share")):
                        _with_limits(axes[i][j], line, axis.column, column, hue(sizes.index(n)), style)
            _guide(axes[0][j], mine, axis.column)
            axes[0][j].set(xscale="log", yscale="log")
            axes[0][j].set_title(f"$d={d},\\ L={depth}$", pad=2.5)
            axes[1][j].set_ylim(-0.03, 1.03)
            log_ticks(axes[1][j].xaxis)
        log_ticks(axes[0][0].yaxis)
        axes[0][0].set_ylabel(rf"$\|{axis.matrix}-K\|$")
        axes[1][0].set_ylabel(rf"$\lambda_{{\min}}({axis.matrix})\geq\frac{{3}}{{4}}\lambda_0$")
        figure.supxlabel(f"${axis.symbol}$", fontsize=8)
        _legend(figure, [(f"$n={n}$", hue(k), "-") for k, n in enumerate(sizes)], laws)
    caption = (
        f"From finite to infinite: {axis.words}, against the kernel K of the same draw. Above: the median distance in "
        f"operator norm, with its limits; grey, {axis.symbol} to the power −1/2. Below: share of trials in which "
        "λ_min is at least 3/4 of λ_0 = λ_min(K), with its limits."
    )
    alt = f"Distance to the kernel and share of surviving eigenvalues against {axis.column}, n = {_listed(sizes)}."
    return Plot(name, figure, caption, alt, frame)


def training_plot(grid: Grid, name: str = "training") -> Plot | None:
    """Residuals of networks beside the kernel's prediction, and gaps and drift against the width.

    None where no network was trained. A column per target at the largest n, of the first law, d and depth with some.
    """
    if "dynamics" not in grid.tree:
        return None
    frame = targets_frame(grid.tree)
    trained = frame[frame["network"] != ""]
    if not len(trained):
        return None
    place = {key: trained.iloc[0][key] for key in ("distribution", "d", "depth")}
    trained = trained[np.logical_and.reduce([trained[key].eq(value) for key, value in place.items()])]
    targets = spread(trained["target"].tolist())
    sizes = sorted(trained["n"].unique())[-max(1, 4 // len(targets)) :]
    columns = [(n, target) for n in sizes for target in targets]
    widths, scales = spread(trained["width"].tolist()), spread(trained["kappa"].tolist())
    shown = scales[-1]  # where networks are closest to their kernel
    curves: list[pd.DataFrame] = []
    with journal():
        figure = Figure(figsize=(TEXT, 3.9), layout="constrained")
        axes = figure.subplots(2, len(columns), squeeze=False, sharey="row")
        for j, (n, target) in enumerate(columns):
            here = place | {"n": n}
            for k, width in enumerate(widths):
                label = str(NetworkLabel(target, width, shown))
                followed = grid.tree["dynamics"].to_dataset()["residual"].sel(here)
                if label in followed["network"].to_numpy():
                    curves.append(_curve(axes[0][j], followed.sel(network=label), here, label, hue(k), "-"))
            predicted = grid.tree["prediction"].to_dataset()["residual"].sel(here | {"target": target})
            last = max((each["step"].max() for each in curves[-len(widths) :]), default=1)
            curves.append(_curve(axes[0][j], predicted, here, f"kernel, {target}", "0.2", "--", last))
            axes[0][j].set(xscale="symlog", yscale="log", xlabel="step $k$")
            axes[0][j].set_title(f"{target}, $n={n}$", pad=2.5)
            mine = trained[trained["n"].eq(n) & trained["target"].eq(target)]
            for scale in scales:
                line = mine[mine["kappa"].eq(scale)].sort_values("width")
                for column, style in (("gap_started", "-"), ("drift", ":")):
                    colour = hue(len(widths) + scales.index(scale))
                    _with_limits(axes[1][j], line, "width", column, colour, style)
            _guide(axes[1][j], mine.assign(deviation_median=mine["gap_started"]), "width")
            axes[1][j].set(xscale="log", yscale="log", xlabel="width $m$")
            log_ticks(axes[1][j].xaxis)
        for row in axes:
            log_ticks(row[0].yaxis)
        axes[0][0].set_ylabel(r"$|y-u(k)|\,/\,|y-u(0)|$")
        axes[1][0].set_ylabel("gap, drift")
        lines = [(f"$m={width}$", hue(k), "-") for k, width in enumerate(widths)] + [("kernel", "0.2", "--")]
        lines += [(rf"$\kappa={scale:g}$", hue(len(widths) + k), "-") for k, scale in enumerate(scales)]
        _legend(figure, lines, [])
    caption = (
        f"Networks trained by gradient descent, rows {named(place['distribution'])}, d = {place['d']}, "
        f"L = {place['depth']}. Above: median residuals at κ = {shown:g}, and from output 0 as the "
        "kernel predicts them. Below: median of the largest distance to the prediction from the network's own start, "
        "over |y| (lines), and relative drift of its kernel (dotted), with limits; grey, m to the power −1/2."
    )
    alt = f"Residual curves by width, and gap and drift against width, in {len(columns)} columns."
    return Plot(name, figure, caption, alt, pd.concat(curves, ignore_index=True))


def bound_plot(grid: Grid, name: str = "bound") -> Plot | None:
    """The generalization bound and the losses against n, a line per target. None with one n alone, or no targets."""
    if "prediction" not in grid.tree:
        return None
    frame = targets_frame(grid.tree)
    predicted = frame[frame["network"] == ""]
    if predicted["n"].nunique() < 2:
        return None
    columns = spread(list(zip(predicted["distribution"], predicted["d"], predicted["depth"], strict=True)))
    targets = spread(predicted["target"].tolist(), 6)
    with journal():
        figure = Figure(figsize=(TEXT, 2.7), layout="constrained")
        axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
        for panel, (law, d, depth) in zip(axes, columns, strict=True):
            mine = frame[frame["distribution"].eq(law) & frame["d"].eq(d) & frame["depth"].eq(depth)]
            for k, target in enumerate(targets):
                line = mine[mine["target"].eq(target)].sort_values("n")
                kernel = line[line["network"] == ""]
                _with_limits(panel, kernel, "n", "bound", hue(k), "-")
                _with_limits(panel, kernel, "n", "regression_loss", hue(k), "--")
                networks = line[line["network"] != ""]
                if len(networks):
                    panel.plot(networks["n"], networks["test_loss"], "x", color=hue(k), markersize=3.5)
            panel.axhline(1.0, color="0.6", linewidth=0.6)
            panel.set(xscale="log", yscale="log")
            panel.set_title(f"{named(law)}, $d={d},\\ L={depth}$", pad=2.5)
            log_ticks(panel.xaxis)
        log_ticks(axes[0].yaxis)
        axes[0].set_ylabel("bound, test loss")
        figure.supxlabel("$n$", fontsize=8)
        _legend(figure, [(target, hue(k), "-") for k, target in enumerate(targets)], [])
    caption = (
        "Generalization: median of the bound (2 y′K⁻¹y / n)^½ (lines), which says nothing above 1; mean test loss of "
        "kernel regression (dashed), and of trained networks (crosses), where there are any. With limits."
    )
    alt = f"Bound and test losses against n for the targets {_listed(targets)}."
    return Plot(name, figure, caption, alt, frame)


def _with_limits(panel: Any, line: pd.DataFrame, x: str, y: str, colour: str, style: str) -> None:
    known = line[np.isfinite(line[y])]
    lower, upper = known[f"{y}_lower"], known[f"{y}_upper"]
    bars = [
        np.where(np.isfinite(known[y] - lower), np.maximum(known[y] - lower, 0.0), 0.0),
        np.where(np.isfinite(upper - known[y]), np.maximum(upper - known[y], 0.0), 0.0),
    ]
    panel.errorbar(known[x], known[y], bars, color=colour, linestyle=style, marker="o", markersize=2.2)


def _guide(panel: Any, rows: pd.DataFrame, x: str) -> None:
    """A line of slope -1/2 below what is drawn."""
    known = rows[rows["deviation_median"] > 0.0]
    if len(known):
        ends = np.array([known[x].min(), known[x].max()], dtype=float)
        height = 0.8 * float((known["deviation_median"] * np.sqrt(known[x])).min())
        panel.plot(ends, height / np.sqrt(ends), color="0.7", linewidth=0.8, zorder=0)


def _curve(
    panel: Any, curve: Any, here: dict[str, Any], series: str, colour: str, style: str, last: float = np.inf
) -> pd.DataFrame:
    """Draw a residual at its checkpoints, and return it."""
    steps, values = curve["step"].to_numpy(), curve.to_numpy()
    kept = np.isfinite(values) & (values > 0.0) & (steps <= last)
    panel.plot(steps[kept], values[kept], color=colour, linestyle=style)
    return pd.DataFrame(here | {"series": series, "step": steps[kept], "residual": values[kept]})


def _legend(figure: Figure, lines: Sequence[tuple[str, str, str]], laws: Sequence[str]) -> None:
    styled: list[tuple[str, str, Any]] = list(lines)
    if len(laws) > 1:
        styled += [(named(law), "0.25", style) for law, style in zip(laws, _LAW_STYLES, strict=False)]
    handles = [Line2D([], [], color=colour, linestyle=style, label=words) for words, colour, style in styled]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 7))


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(each) for each in values)
