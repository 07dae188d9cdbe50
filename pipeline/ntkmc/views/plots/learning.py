"""Figures of learning: convergence to the kernel, training against its prediction, the generalization bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkmc.palette import colour
from ntkmc.theory.targets import NetworkLabel
from ntkmc.views.axis_frames import features_frame, targets_frame, widths_frame
from ntkmc.views.cells import Grid, spread
from ntkmc.views.frames import where
from ntkmc.views.plots.base import Plot
from ntkmc.views.plots.style import TEXT, error_bars, journal_style, legend, listed, log_ticks, shortened

_LAW_STYLES: Final[tuple[Any, ...]] = ("-", "--", ":", "-.")
"""Line styles by distribution of the rows."""


class _Axis(NamedTuple):
    """Size that grows as the kernel is approached: its column, and symbols and words for labels."""

    column: str
    symbol: str
    matrix: str
    words: str


def widths_plot(grid: Grid, name: str = "widths") -> Plot | None:
    """Plot the distance of tangent kernels to the limit, and the share of trials whose lambda_min is preserved,
    against the width.

    None without networks.
    """
    if "convergence" not in grid.tree:
        return None
    axis = _Axis("width", "m", r"\Theta", "tangent kernels Θ of networks of width m")
    return _convergence_plot(name, widths_frame(grid.tree), axis)


def sketches_plot(grid: Grid, name: str = "sketches") -> Plot | None:
    """Plot the same as `widths_plot` for feature maps, against the number of features. None without them."""
    if "sketch_accuracy" not in grid.tree:
        return None
    axis = _Axis("features", "s", "S", "Gram matrices S of maps to s features")
    return _convergence_plot(name, features_frame(grid.tree), axis)


def _convergence_plot(name: str, frame: pd.DataFrame, axis: _Axis) -> Plot | None:
    if frame[axis.column].nunique() < 2:
        return None
    columns = spread(zip(frame["d"], frame["depth"], strict=True))
    laws, sizes = spread(frame["distribution"]), spread(frame["n"], 6)
    with journal_style():
        figure = Figure(figsize=(TEXT, 3.7), layout="constrained")
        axes = figure.subplots(2, len(columns), squeeze=False, sharex=True, sharey="row")
        for (above, below), (d, depth) in zip(axes.T, columns, strict=True):
            rows = where(frame, d=d, depth=depth)
            for n, law in ((n, law) for n in sizes for law in laws):
                line = where(rows, n=n, distribution=law).sort_values(axis.column)
                # Colour is n, line style is the distribution: a legend of all pairs would be too long.
                style = _LAW_STYLES[laws.index(law) % len(_LAW_STYLES)]
                for panel, column in ((above, "deviation_median"), (below, "eigenvalue_share")):
                    _line(panel, line, axis.column, column, colour(sizes.index(n)), style)
            _guide(above, rows, axis.column, "deviation_median")
            above.set(xscale="log", yscale="log")
            above.set_title(f"$d={d},\\ L={depth}$")
            # Shares at 0 and 1 are frequent, and would be cut by the frame.
            below.set_ylim(-0.03, 1.03)
            log_ticks(below.xaxis)
        log_ticks(axes[0][0].yaxis)
        axes[0][0].set_ylabel(rf"$\|{axis.matrix}-K\|$")
        axes[1][0].set_ylabel(rf"$\lambda_{{\min}}({axis.matrix})\geq\frac{{3}}{{4}}\lambda_0$")
        figure.supxlabel(f"${axis.symbol}$")
        _legend(figure, [(f"$n={n}$", colour(k), "-") for k, n in enumerate(sizes)], laws)
    caption = (
        f"From finite to infinite: {axis.words}, against the kernel K of the same draw. Above: the median distance in "
        f"operator norm, with its limits; grey, {axis.symbol} to the power −1/2. Below: share of trials in which "
        "λ_min is at least 3/4 of λ_0 = λ_min(K), with its limits."
    )
    alt = f"Distance to the kernel and share of trials that preserve λ_min against {axis.column}, n = {listed(sizes)}."
    return Plot(name, figure, caption, alt, frame)


def training_plot(grid: Grid, name: str = "training") -> Plot | None:
    """Plot residuals of networks with the kernel's prediction, and gap and drift against the width.

    One column per target at the largest n, of the first distribution, d and depth with networks. None if no network
    was trained.
    """
    if "dynamics" not in grid.tree:
        return None
    frame = targets_frame(grid.tree)
    trained = frame[frame["network"] != ""]
    if not len(trained):
        return None
    place = {key: trained.iloc[0][key] for key in ("distribution", "d", "depth")}
    trained = where(trained, **place)
    targets = spread(trained["target"])
    # Four columns fit: several n only if there are few targets.
    sizes = sorted(trained["n"].unique())[-max(1, 4 // len(targets)) :]
    columns = [(n, target) for n in sizes for target in targets]
    widths, scales = spread(trained["width"]), spread(trained["kappa"])
    # Residuals are drawn at the largest scale, where networks are closest to their kernel.
    largest = scales[-1]
    residuals = grid.tree["dynamics"].to_dataset()["residual"]
    predicted = grid.tree["prediction"].to_dataset()["residual"]
    curves: list[pd.DataFrame] = []
    with journal_style():
        figure = Figure(figsize=(TEXT, 3.9), layout="constrained")
        axes = figure.subplots(2, len(columns), squeeze=False, sharey="row")
        for (above, below), (n, target) in zip(axes.T, columns, strict=True):
            cell = place | {"n": n}
            steps = 1
            for k, width in enumerate(widths):
                label = str(NetworkLabel(target, width, largest))
                if label in residuals["network"].to_numpy():
                    curve = residuals.sel(cell | {"network": label})
                    curves.append(_curve(above, curve, cell, label, colour(k), "-"))
                    steps = max(steps, curves[-1]["step"].max())
            # The prediction has more steps than the networks: it is drawn as far as they were trained.
            curve = predicted.sel(cell | {"target": target})
            curves.append(_curve(above, curve, cell, f"kernel, {target}", "0.2", "--", steps))
            # symlog: steps grow geometrically from 0, which a log axis cannot show.
            above.set(xscale="symlog", yscale="log", xlabel="step $k$")
            above.set_title(f"{target}, $n={n}$")
            rows = where(trained, n=n, target=target)
            for k, scale in enumerate(scales, start=len(widths)):
                line = where(rows, kappa=scale).sort_values("width")
                for column, style in (("gap_started", "-"), ("drift", ":")):
                    _line(below, line, "width", column, colour(k), style)
            _guide(below, rows, "width", "gap_started")
            below.set(xscale="log", yscale="log", xlabel="width $m$")
            log_ticks(below.xaxis)
        for panel in axes[:, 0]:
            log_ticks(panel.yaxis)
        axes[0][0].set_ylabel(r"$|y-u(k)|\,/\,|y-u(0)|$")
        axes[1][0].set_ylabel("gap, drift")
        lines = [(f"$m={width}$", colour(k), "-") for k, width in enumerate(widths)] + [("kernel", "0.2", "--")]
        lines += [(rf"$\kappa={scale:g}$", colour(k), "-") for k, scale in enumerate(scales, start=len(widths))]
        _legend(figure, lines, [])
    caption = (
        f"Networks trained by gradient descent, rows {shortened(place['distribution'])}, d = {place['d']}, "
        f"L = {place['depth']}. Above: median residuals at κ = {largest:g}, and the kernel's prediction from output "
        "0. Below: median of the largest distance to the prediction from the network's own start, over |y| (lines), "
        "and relative drift of its kernel (dotted), with limits; grey, m to the power −1/2."
    )
    alt = f"Residual curves by width, and gap and drift against width, in {len(columns)} columns."
    return Plot(name, figure, caption, alt, pd.concat(curves, ignore_index=True))


def bound_plot(grid: Grid, name: str = "bound") -> Plot | None:
    """Plot the generalization bound and the losses against n, one line per target. None without two values of n."""
    if "prediction" not in grid.tree:
        return None
    frame = targets_frame(grid.tree)
    predicted = frame[frame["network"] == ""]
    if predicted["n"].nunique() < 2:
        return None
    columns = spread(zip(predicted["distribution"], predicted["d"], predicted["depth"], strict=True))
    targets = spread(predicted["target"], 6)
    with journal_style():
        figure = Figure(figsize=(TEXT, 2.7), layout="constrained")
        axes = figure.subplots(1, len(columns), squeeze=False, sharey=True)[0]
        for panel, (law, d, depth) in zip(axes, columns, strict=True):
            rows = where(frame, distribution=law, d=d, depth=depth)
            for k, target in enumerate(targets):
                line = where(rows, target=target).sort_values("n")
                kernel, networks = line[line["network"] == ""], line[line["network"] != ""]
                _line(panel, kernel, "n", "bound", colour(k), "-")
                _line(panel, kernel, "n", "regression_loss", colour(k), "--")
                panel.plot(networks["n"], networks.get("test_loss", []), "x", color=colour(k), markersize=3.5)
            # The loss is at most 1, so that a bound above this line is vacuous.
            panel.axhline(1.0, color="0.6", linewidth=0.6)
            panel.set(xscale="log", yscale="log")
            panel.set_title(f"{shortened(law)}, $d={d},\\ L={depth}$")
            log_ticks(panel.xaxis)
        log_ticks(axes[0].yaxis)
        axes[0].set_ylabel("bound, test loss")
        figure.supxlabel("$n$")
        _legend(figure, [(target, colour(k), "-") for k, target in enumerate(targets)], [])
    caption = (
        "Generalization: median of the bound (2 y′K⁻¹y / n)^½ (lines), which is vacuous above 1; mean test loss of "
        "kernel regression (dashed), and of trained networks (crosses), where there are any. With limits."
    )
    alt = f"Bound and test losses against n for the targets {listed(targets)}."
    return Plot(name, figure, caption, alt, frame)


def _line(panel: Axes, frame: pd.DataFrame, x: str, y: str, hue: str, style: str) -> None:
    """Plot a column with its limits, as far as it is finite."""
    known = frame[np.isfinite(frame[y])]
    if len(known):
        error_bars(panel, known[x], known, y, color=hue, linestyle=style, marker="o", markersize=2.2)


def _guide(panel: Axes, frame: pd.DataFrame, x: str, y: str) -> None:
    """Plot a line of slope -1/2 below the points of a column."""
    known = frame[frame[y] > 0.0]
    if len(known):
        ends = np.array([known[x].min(), known[x].max()], dtype=float)
        # It touches no point: it shows the slope of the limit theorem, not a fit.
        height = 0.8 * float((known[y] * np.sqrt(known[x])).min())
        panel.plot(ends, height / np.sqrt(ends), color="0.7", linewidth=0.8, zorder=0)


def _curve(
    panel: Axes, residual: Any, cell: dict[str, Any], series: str, hue: str, style: str, last: float = np.inf
) -> pd.DataFrame:
    """Plot a residual at its checkpoints, and return the points."""
    steps, values = residual["step"].to_numpy(), residual.to_numpy()
    kept = np.isfinite(values) & (values > 0.0) & (steps <= last)
    panel.plot(steps[kept], values[kept], color=hue, linestyle=style)
    return pd.DataFrame(cell | {"series": series, "step": steps[kept], "residual": values[kept]})


def _legend(figure: Figure, lines: Sequence[tuple[str, str, str]], laws: Sequence[str]) -> None:
    """Add a legend of lines, and of the line styles if there are several distributions."""
    styles = zip(laws, _LAW_STYLES, strict=False) if len(laws) > 1 else ()
    entries = [*lines, *((shortened(law), "0.25", style) for law, style in styles)]
    legend(figure, ((label, {"color": hue, "linestyle": style}) for label, hue, style in entries), columns=7)
