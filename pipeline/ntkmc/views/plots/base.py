"""Figures of the estimates and claims: survival curves, surfaces, scaling, tightness, constants."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ntkmc.errors import InputError
from ntkmc.palette import INKS, colour
from ntkmc.statistics.scaling import Estimate
from ntkmc.theory.claims import TrialClaim
from ntkmc.theory.predictions import PREDICTORS
from ntkmc.views.cells import CellDepth, Grid, spread
from ntkmc.views.curves import median_exponents, medians_frame, surface_frame, survival
from ntkmc.views.frames import claims_frame, overall_frame, predictions_frame, registered_claim, where
from ntkmc.views.plots.style import (
    COLUMN,
    TEXT,
    category_ticks,
    error_bars,
    journal_style,
    label_ends,
    legend,
    listed,
    log_ticks,
    sequential_colours,
    shortened,
    size_ticks,
)

_STEPS: Final = 120
"""Largest number of steps of a drawn curve; finer steps are narrower than its line."""

_MARKERS: Final = dict(
    zip(
        (predictor.id for predictor in PREDICTORS.values() if predictor.quantity == "lambda_min"),
        "os^Dv",
        strict=False,
    )
)
"""Marker of each predictor of the median of lambda_min."""


@dataclass(frozen=True)
class Plot:
    """A figure with its data.

    Attributes
    ----------
    name : str
        Name of its file.
    figure : matplotlib.figure.Figure
    caption, alt : str
        Caption, and description for readers who cannot see the figure.
    data : DataFrame
        The numbers that are drawn.
    """

    name: str
    figure: Figure
    caption: str
    alt: str
    data: pd.DataFrame

    @property
    def pixels(self) -> tuple[int, int]:
        """Width and height at 96 dots per inch, the unit of web pages."""
        width, height = self.figure.get_size_inches()
        return round(96 * width), round(96 * height)


def survival_plot(
    grid: Grid, places: Sequence[CellDepth], name: str = "survival", *, predicted: bool = False
) -> Plot | None:
    """Plot P(lambda_min >= lambda_0) against lambda_0: one panel per (depth, n, d), one colour per distribution.

    `predicted` marks predicted medians at probability one half. None if nothing is estimated yet, or if events alone
    were decided.
    """
    known = [] if grid.decided_only else [place for place in places if grid.used(place)]
    if not known:
        return None
    laws = sorted({place.distribution for place in known})
    # Of many depths and sizes four: panels of a page's width can then be read.
    depths = spread(place.depth for place in known)
    sizes = spread((place.d, place.n) for place in known)
    predictions = predictions_frame(grid.tree).query("quantity == 'lambda_min'") if predicted else None
    curves: list[pd.DataFrame] = []
    markers: dict[str, dict[str, Any]] = {}
    with journal_style():
        figure = Figure(figsize=(TEXT, 1.35 * len(depths) + 0.75), layout="constrained")
        # Panels of a row share their axis: lambda_min grows with depth, which is the row.
        axes = figure.subplots(len(depths), len(sizes), squeeze=False, sharey=True, sharex="row")
        for panel, depth, (d, n) in _panels(axes, depths, sizes):
            for threshold in grid.thresholds:
                panel.axvline(threshold, color="0.82", linewidth=0.5, zorder=0)
            for place in (place for place in known if (place.depth, place.d, place.n) == (depth, d, n)):
                curve = survival(grid.prefix(place), grid.confidence(place)).thinned(_STEPS)
                hue = colour(laws.index(place.distribution))
                panel.step(curve.points, curve.probability, where="pre", color=hue, linewidth=0.9)
                panel.fill_between(
                    curve.points, curve.lower, curve.upper, step="pre", color=hue, alpha=0.16, linewidth=0
                )
                numbers = {"probability": curve.probability, "band_lower": curve.lower, "band_upper": curve.upper}
                curves.append(pd.DataFrame(place.labels | {"lambda_0": curve.points} | numbers))
                for row in () if predictions is None else where(predictions, **place.labels).to_dict("records"):
                    markers[row["predictor"]] = {"marker": _MARKERS[row["predictor"]], "fillstyle": "none", "ls": ""}
                    panel.plot(row["predicted"], 0.5, color=hue, markersize=4, **markers[row["predictor"]])
            panel.set_title(f"$L={depth},\\ d={d},\\ n={n}$")
            # Slightly beyond [0, 1], so that the frame does not hide a curve at 0 or 1.
            panel.set_ylim(-0.02, 1.02)
            panel.set_yticks([0.0, 0.5, 1.0])
        figure.supxlabel(r"$\lambda_0$")
        figure.supylabel(r"$\mathbb{P}(\lambda_{\min}\geq\lambda_0)$")
        entries: list[tuple[str, dict[str, Any]]] = [
            (shortened(law), {"color": colour(k)}) for k, law in enumerate(laws)
        ]
        entries += [
            (f"predicted: {predictor.removeprefix('pred-').replace('-', ' ')}", markers[predictor] | {"color": "0.3"})
            for predictor in _MARKERS
            if predictor in markers
        ]
        legend(figure, entries)
    caption = (
        "Empirical P(λ_min ≥ λ_0) with its simultaneous Dvoretzky–Kiefer–Wolfowitz band at "
        f"{grid.study.confidence:.0%}, from the trials of the estimates. Grey: the study's thresholds."
    )
    alt = (
        f"Decreasing step curves from 1 to 0 for {', '.join(laws)}, in panels for depth L = {listed(depths)} and "
        f"{len(sizes)} sizes (d, n)."
    )
    return Plot(name, figure, caption, alt, pd.concat(curves, ignore_index=True))


def _panels(axes: Any, rows: Sequence[Any], columns: Sequence[Any]) -> list[tuple[Axes, Any, Any]]:
    """Return the panels of a figure with the values of their row and column."""
    return [(axes[i][j], row, column) for i, row in enumerate(rows) for j, column in enumerate(columns)]


def surface_plot(grid: Grid, threshold: float, name: str = "surface", laws: Sequence[str] = ()) -> Plot | None:
    """Plot P(lambda_min >= lambda_0) over (n, d), one heat map per distribution and depth; None without estimates."""
    laws = laws or spread(place.distribution for place in grid.places)
    depths = spread(place.depth for place in grid.places)
    frame = _over(laws, depths, lambda law, depth: surface_frame(grid, law, depth, threshold))
    if frame.empty:
        return None
    ns, ds = sorted(frame["n"].unique()), sorted(frame["d"].unique())
    # Above these numbers of cells the probabilities would not fit into them.
    labelled = len(ns) * len(depths) <= 24 and len(ds) <= 16
    with journal_style():
        height = len(laws) * (0.17 * len(ds) + 0.35) + 0.8
        # At least the height of the colour bar's label, at most one page.
        figure = Figure(figsize=(TEXT, min(max(height, 1.9), 8.5)), layout="constrained")
        axes = figure.subplots(len(laws), len(depths), squeeze=False, sharex=True, sharey=True)
        for panel, law, depth in _panels(axes, laws, depths):
            rows = where(frame, distribution=law, depth=depth)
            heat = (
                rows.pivot(index="d", columns="n", values="probability").reindex(index=ds, columns=ns).to_numpy(float)
            )
            # The same colours for all figures: 0 and 1 are the ends of the scale.
            image = panel.imshow(heat, cmap=sequential_colours(), vmin=0.0, vmax=1.0, aspect="auto", origin="lower")
            for (i, j), value in np.ndenumerate(heat):
                if labelled and not np.isnan(value):
                    # White on dark cells, black on light ones.
                    ink = "white" if value > 0.55 else "0.12"
                    panel.text(j, i, _two_digits(value), ha="center", va="center", fontsize=5.5, color=ink)
            panel.set_title(f"{shortened(law)}, $L={depth}$")
            category_ticks(panel.xaxis, ns)
            category_ticks(panel.yaxis, ds)
            panel.tick_params(length=0)
            panel.spines[:].set_visible(False)
        figure.supxlabel("$n$")
        figure.supylabel("$d$")
        bar = figure.colorbar(image, ax=axes, fraction=0.025, pad=0.01, aspect=30)
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label(rf"$\mathbb{{P}}(\lambda_{{\min}}\geq{threshold:g})$")
    caption = f"P(λ_min ≥ {threshold:g}) over (n, d). Blank: no such cell in the study."
    alt = (
        f"Heat maps of the probability for {', '.join(laws)} and L = {listed(depths)}, from "
        f"{frame['probability'].min():.3f} to {frame['probability'].max():.3f}; the numbers are in the table of "
        "estimates."
    )
    return Plot(name, figure, caption, alt, frame)


def _over(laws: Sequence[str], depths: Sequence[int], frame_at: Callable[[str, int], pd.DataFrame]) -> pd.DataFrame:
    """Return the frames of all distributions and depths below each other."""
    frames = [frame_at(law, depth).assign(distribution=law, depth=depth) for law in laws for depth in depths]
    return pd.concat(frames, ignore_index=True)


def scaling_plot(
    grid: Grid, laws: Sequence[str] = (), depths: Sequence[int] = (), name: str = "scaling"
) -> Plot | None:
    """Plot the median of lambda_min against n on log axes, one line per d; None without values."""
    if grid.decided_only:
        return None
    laws = laws or spread(place.distribution for place in grid.places)
    depths = depths or spread((place.depth for place in grid.places), 3)
    frame = _over(laws, depths, lambda law, depth: medians_frame(grid, law, depth))
    positive = frame[frame["lower"] > 0.0]
    if positive.empty:
        return None
    dimensions = sorted(positive["d"].unique())
    with journal_style():
        width = max(COLUMN, min(TEXT, 2.25 * len(depths)))
        figure = Figure(figsize=(width, 1.5 * len(laws) + 0.4), layout="constrained")
        axes = figure.subplots(len(laws), len(depths), squeeze=False, sharex=True, sharey="row")
        labels = []
        for panel, law, depth in _panels(axes, laws, depths):
            rows = where(frame, distribution=law, depth=depth)
            panel.set(xscale="log", yscale="log")
            ends = []
            for d, line in rows[rows["lower"] > 0.0].groupby("d"):
                k = dimensions.index(d)
                line = line.sort_values("n")
                panel.plot(line["n"], line["median"], marker="o", color=colour(k), markersize=2.5)
                # The band ends at a twentieth of the median: a quantile may be 0, which a log axis cannot show.
                low = np.maximum(line["low"], line["median"] / 20.0)
                panel.fill_between(line["n"], low, line["high"], color=colour(k), alpha=0.13, linewidth=0)
                last = line.iloc[-1]
                ends.append((float(last["n"]), float(last["median"]), f"$d={d}$", colour(k, INKS)))
            labels.append((panel, ends))
            panel.set_title(f"{shortened(law, 16)}, $L={depth}$" + _power_law(median_exponents(rows)), pad=3)
            if len(rows):
                size_ticks(panel.xaxis, rows["n"])
            log_ticks(panel.yaxis)
        figure.supxlabel("$n$")
        figure.supylabel(r"median of $\lambda_{\min}$")
        # The layout must be final before labels can be moved apart in points.
        figure.draw_without_rendering()
        for panel, ends in labels:
            label_ends(panel, ends)
    caption = (
        "Median of λ_min (points) with its 5 % and 95 % quantiles (bands), on log axes. Above each panel: the "
        "exponents of n and d that fit its medians best together; their limits are in the table of exponents. Medians "
        "that are not proved to be positive are left out."
    )
    alt = (
        f"Lines of the median against n, one for each of d = {listed(dimensions)}, for {', '.join(laws)} and "
        f"L = {listed(depths)}; medians from {positive['median'].min():.3g} to {positive['median'].max():.3g}."
    )
    return Plot(name, figure, caption, alt, frame)


def tightness_plot(grid: Grid, name: str = "tightness") -> Plot | None:
    """Plot the tightness of bounds: bound / bounded quantity of each claim by cell; None if no bound applies."""
    frame = claims_frame(grid.tree)
    frame = frame[frame["tightness"] > 0.0]
    if frame.empty:
        return None
    summary = frame.groupby("claim")["tightness"].agg(["min", "median", "max", "count"]).reset_index()
    summary["side"] = [_side(claim) for claim in summary["claim"]]
    summary["verdict"] = summary["claim"].map(overall_frame(grid.tree).set_index("claim")["overall"].to_dict())
    summary = summary.sort_values(["side", "median"], ascending=[True, False]).reset_index(drop=True)
    sides = [side for side in ("lower", "upper") if (summary["side"] == side).any()]
    with journal_style():
        # One line of 6.5 points per claim.
        figure = Figure(figsize=(TEXT, 0.155 * len(summary) + 0.65), layout="constrained")
        panel = figure.subplots()
        panel.set_xscale("log")
        panel.axvline(1.0, color="0.55", linewidth=0.7, zorder=0)
        properties: dict[str, dict[str, Any]] = {
            "lower": {"color": colour(0), "marker": "o"},
            "upper": {"color": colour(1), "marker": "o"},
        }
        for side in sides:
            rows = summary[summary["side"] == side]
            panel.hlines(
                rows.index, rows["min"], rows["max"], color=properties[side]["color"], linewidth=1.6, alpha=0.35
            )
            panel.plot(rows["median"], rows.index, **properties[side], linestyle="", markersize=3.6)
        panel.set_yticks(range(len(summary)), summary["claim"].tolist(), fontsize=6.5)
        # Upside down: the first row of the table is at the top.
        panel.set_ylim(len(summary) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="y", color="0.93", linewidth=0.5)
        panel.set_xlabel("bound / bounded quantity   (1: the bound is attained)")
        legend(figure, [(f"{side} bounds", properties[side]) for side in sides])
    caption = (
        "Tightness of the bounds: median over cells (points) and range (bars) of the median over trials of bound / "
        "bounded quantity, where the bound is not vacuous. Lower bounds lie left of 1, upper bounds right of it."
    )
    nearest = summary.iloc[(np.log(summary["median"]).abs()).argmin()]
    alt = (
        f"A row for each of {len(summary)} claims; the nearest to 1 is {nearest['claim']} at {nearest['median']:.3g}."
    )
    return Plot(name, figure, caption, alt, summary)


def constants_plot(grid: Grid, claims: Sequence[str] = (), name: str = "constants", most: int = 6) -> Plot | None:
    """Plot constants of scaling claims against d on log axes, with simultaneous limits; None if none was tested."""
    frame = claims_frame(grid.tree)
    # A constant that is not proved to be positive, such as a mean that may be zero, cannot be shown on a log axis.
    frame = frame[(frame["kind"] == "scaling") & (frame["cell_constant_lower"] > 0.0)]
    shown = list(claims) or _most_informative(grid, frame, most)
    frame = frame[frame["claim"].isin(shown)]
    if frame.empty:
        return None
    laws = sorted(frame["distribution"].unique())
    with journal_style():
        columns = min(3, len(shown))
        rows = -(-len(shown) // columns)
        width = {1: COLUMN, 2: 5.0}.get(columns, TEXT)
        figure = Figure(figsize=(width, 1.7 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for panel in axes[len(shown) :]:
            panel.set_axis_off()
        for panel, claim in zip(axes, shown, strict=False):
            for k, law in enumerate(laws):
                points = where(frame, claim=claim, distribution=law)
                # Distributions are shifted by a few per cent, so that points at the same d lie side by side.
                shift = 1.0 + 0.03 * (k - (len(laws) - 1) / 2)
                error_bars(
                    panel, points["d"] * shift, points, "cell_constant", fmt="o", color=colour(k), markersize=2.2,
                    elinewidth=0.6, alpha=0.85,
                )  # fmt: skip
            panel.set(xscale="log", yscale="log")
            panel.set_title(claim.replace("claim-", ""), fontsize=7)
            size_ticks(panel.xaxis, frame["d"])
            log_ticks(panel.yaxis)
        figure.supxlabel("$d$")
        figure.supylabel("constant")
        legend(figure, [(shortened(law), {"color": colour(k), "marker": "o", "ls": ""}) for k, law in enumerate(laws)])
    names = ["claim", "distribution", "d", "n", "depth", "cell_constant", "cell_constant_lower", "cell_constant_upper"]
    caption = (
        "Constants of scaling claims, one point per cell and depth, with limits that hold for all cells at once. "
        "A claim is refuted where its constant must drift with d."
    )
    alt = f"Scatter of fitted constants against d for {', '.join(shown)}; the numbers are in the table of verdicts."
    return Plot(name, figure, caption, alt, frame[names].reset_index(drop=True))


def _most_informative(grid: Grid, frame: pd.DataFrame, most: int) -> list[str]:
    """Return some scaling claims, one instance of each: refuted ones first, then supported ones."""
    overall = overall_frame(grid.tree).set_index("claim")["overall"].to_dict()
    rank = {"refuted": 0, "supported": 1}
    claims = sorted(frame["claim"].unique(), key=lambda claim: (rank.get(overall.get(claim, ""), 2), claim))
    # Of several instances of a claim, the first in this order.
    first = list({claim.partition("[")[0]: claim for claim in reversed(claims)}.values())[::-1]
    return first[:most]


def _side(claim: str) -> str:
    registered = registered_claim(claim)
    return registered.side if isinstance(registered, TrialClaim) else "lower"


def _power_law(fits: dict[str, Estimate]) -> str:
    """Format fitted exponents as a power law.

    >>> _power_law({"n": Estimate(-0.5, -0.6, -0.4), "d": Estimate(0.25, 0.2, 0.3)})
    ':  $\\\\propto n^{-0.50}\\\\, d^{\\\\,0.25}$'
    """
    parts = [f"{axis}^{{{fits[axis].value:.2f}}}" for axis in ("n", "d") if axis in fits]
    parts = [part.replace("d^{", r"d^{\,") for part in parts]
    return ":  $\\propto " + r"\, ".join(parts) + "$" if parts else ""


def _two_digits(value: float) -> str:
    return "1" if value == 1.0 else "0" if value == 0.0 else f"{value:.2f}".lstrip("0")


def save(plot: Plot, path: Path) -> None:
    """Write the figure of a plot; the ending of the file is its format.

    Raises
    ------
    InputError
        If matplotlib writes no such format, or the file cannot be written.
    """
    formats = plot.figure.canvas.get_supported_filetypes()
    if path.suffix.lstrip(".") not in formats:
        raise InputError(f"{path}: unknown figure format {path.suffix!r}; use .png, .pdf or .svg")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with journal_style():
            plot.figure.savefig(path, dpi=200)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
