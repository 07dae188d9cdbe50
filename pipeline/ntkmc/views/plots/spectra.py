"""Figures of spectra: predicted laws over measured ones with their distances, and eigenvalues against depth."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ntkmc.palette import colour
from ntkmc.statistics import dkw_band
from ntkmc.theory.claims.trial_statistics import LEVELS
from ntkmc.theory.predictions import LAWS, laws_for
from ntkmc.views.cells import CellDepth, Grid, spread
from ntkmc.views.frames import where
from ntkmc.views.plots.base import Plot
from ntkmc.views.plots.style import TEXT, error_bars, journal_style, legend, log_ticks, shortened
from ntkmc.views.spectra import QUANTILES, has_spectra, laws_frame, spectra_frame

_POINTS: Final = 240
"""Points of a predicted law."""

_LINE_STYLES: Final[dict[str, Any]] = dict(
    zip((law.id for law in LAWS.values()), ("--", "-", "-", "--", ":"), strict=True)
)
"""Line style of each predicted law."""

_SHOWN: Final = ("eigenvalue_q02", "eigenvalue_q10", "eigenvalue_q50", "eigenvalue_q90", "eigenvalue_q98")


def laws_plot(grid: Grid, places: Sequence[CellDepth] | None = None, name: str = "spectrum") -> Plot | None:
    """Plot the share of eigenvalues <= x: measured quantiles, predicted laws, and their distance.

    One panel per (depth, n, d). None if no trial has all its eigenvalues.
    """
    known = _with_all(grid, grid.places if places is None else places)
    if not known:
        return None
    distances = laws_frame(grid)
    distances = distances[distances["quantity"] == "eigenvalues"]
    labels = sorted({place.distribution for place in known})
    depths, sizes = spread((place.depth for place in known), 3), spread((place.d, place.n) for place in known)
    series: list[pd.DataFrame] = []
    shown: set[str] = set()
    with journal_style():
        figure = Figure(figsize=(TEXT, 1.5 * len(depths) + 0.8), layout="constrained")
        axes = figure.subplots(len(depths), len(sizes), squeeze=False, sharey=True)
        for (i, depth), (j, (d, n)) in ((row, column) for row in enumerate(depths) for column in enumerate(sizes)):
            panel = axes[i][j]
            cells = [place for place in known if (place.depth, place.d, place.n) == (depth, d, n)]
            ends: list[float] = []
            predicted: dict[str, CellDepth] = {}
            for place in cells:
                measured, *limits = _measured(panel, grid, place, colour(labels.index(place.distribution)))
                series.append(measured)
                ends += limits
                # A law is drawn once: it is the same for all distributions of the rows.
                for law in laws_for(grid.context(place), "eigenvalues"):
                    predicted.setdefault(law.id, place)
            if ends:
                # Laws are drawn slightly beyond the measured range, so that gaps at its ends can be seen.
                points = np.geomspace(min(ends) / 1.15, max(ends) * 1.15, _POINTS)
                series += [_predicted(panel, grid, place, law_id, points) for law_id, place in predicted.items()]
            rows = where(distances, d=d, n=n, depth=depth)
            rows = rows[rows["distribution"].isin([place.distribution for place in cells])]
            if len(rows):
                nearest = rows.loc[rows["law"] == rows["law"].iloc[-1], "distance"].min()
                panel.text(0.97, 0.06, f"$D={nearest:.3f}$", transform=panel.transAxes, ha="right", fontsize=7)
            shown |= set(predicted)
            panel.set_xscale("log")
            log_ticks(panel.xaxis)
            panel.set_title(f"$L={depth},\\ d={d},\\ n={n}$")
            panel.set_ylim(-0.02, 1.02)
        figure.supxlabel("eigenvalue / mean squared row norm")
        figure.supylabel("share of eigenvalues below")
        _legend(figure, labels, shown, marker="o", linestyle="")
    caption = (
        "Laws of the eigenvalues: measured quantiles (points; bars from the 5 % to the 95 % quantile over draws) and "
        "predicted laws (lines). D: median over draws of the Kolmogorov distance to the last law in the legend that "
        "applies to the panel; of several distributions the smallest."
    )
    alt = f"Distribution functions of eigenvalues for {', '.join(labels)} in {len(depths)} x {len(sizes)} panels."
    return Plot(name, figure, caption, alt, pd.concat(series, ignore_index=True))


def coherence_plot(grid: Grid, name: str = "coherence") -> Plot | None:
    """Plot P(rho <= t): measured, with its band, and predicted laws; one panel per (n, d). None if no law applies."""
    # The coherence does not depend on the depth: one place per cell.
    places: dict[str, CellDepth] = {}
    for place in grid.places if has_spectra(grid) else ():
        if grid.used(place) and laws_for(grid.context(place), "coherence"):
            places.setdefault(place.cell, place)
    if not places:
        return None
    labels = sorted({place.distribution for place in places.values()})
    sizes = spread((place.d, place.n) for place in places.values())
    series: list[pd.DataFrame] = []
    shown: set[str] = set()
    with journal_style():
        figure = Figure(figsize=(TEXT, 2.3), layout="constrained")
        axes = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
        for panel, (d, n) in zip(axes, sizes, strict=True):
            for place in (place for place in places.values() if (place.d, place.n) == (d, n)):
                values = grid.statistics(place, ["coherence"])["coherence"]
                points, lower, upper = dkw_band(values[~np.isnan(values)], grid.confidence(place))
                hue = colour(labels.index(place.distribution))
                panel.fill_between(points, lower, upper, step="post", color=hue, alpha=0.25, linewidth=0)
                measured = np.arange(1, len(points) + 1) / len(points)
                panel.step(points, measured, where="post", color=hue, linewidth=0.8)
                cell = {"distribution": place.distribution, "d": d, "n": n}
                series.append(pd.DataFrame({"series": "measured", **cell, "rho": points, "share": measured}))
                # Predicted laws have an unbounded range; they are compared where there are trials.
                t = np.linspace(points[0], points[-1], _POINTS)
                for law in laws_for(grid.context(place), "coherence"):
                    share = law.law(grid.context(place)).cdf(t)
                    panel.plot(t, share, color="0.25", linestyle=_LINE_STYLES[law.id], linewidth=0.8)
                    series.append(pd.DataFrame({"series": law.id, **cell, "rho": t, "share": share}))
                    shown.add(law.id)
            panel.set_title(f"$d={d},\\ n={n}$")
        figure.supxlabel(r"coherence $\rho$")
        figure.supylabel(r"$\mathbb{P}(\rho\leq t)$")
        _legend(figure, labels, shown)
    caption = (
        "Law of the coherence over draws: measured, with its Dvoretzky–Kiefer–Wolfowitz band, and predicted. "
        "Distances with their limits: ntkmc show --table spectrum."
    )
    alt = f"Distribution functions of the coherence for {', '.join(labels)} at {len(sizes)} sizes (d, n)."
    return Plot(name, figure, caption, alt, pd.concat(series, ignore_index=True))


def depth_plot(grid: Grid, name: str = "depth") -> Plot | None:
    """Plot quantiles of the eigenvalues, over the depth, and exponents of their decay against depth.

    One column per (d, n). None if no trial has all its eigenvalues, or if there is only one depth.
    """
    known = _with_all(grid, grid.places)
    depths = sorted({place.depth for place in known})
    if len(depths) < 2:
        return None
    frame = spectra_frame(grid)
    frame = frame[frame["eigenvalue_q50"].notna()]
    labels, sizes = sorted(frame["distribution"].unique()), spread((place.d, place.n) for place in known)
    with journal_style():
        figure = Figure(figsize=(TEXT, 3.6), layout="constrained")
        axes = figure.subplots(2, len(sizes), squeeze=False, sharex=True, sharey="row")
        for (above, below), (d, n) in zip(axes.T, sizes, strict=True):
            for k, label in enumerate(labels):
                line = where(frame, distribution=label, d=d, n=n).sort_values("depth")
                # Over the depth, since the eigenvalues of the tangent kernel grow about in proportion to it.
                for column in _SHOWN:
                    above.plot(line["depth"], line[column] / line["depth"], marker="o", color=colour(k))
                line = line[np.isfinite(line["decay"])]
                error_bars(below, line["depth"], line, "decay", marker="o", color=colour(k))
            above.set_yscale("log")
            log_ticks(above.yaxis)
            above.set_title(f"$d={d},\\ n={n}$")
            below.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0][0].set_ylabel("eigenvalue / $L$")
        axes[1][0].set_ylabel("exponent of decay")
        figure.supxlabel("depth $L$")
        _legend(figure, labels, (), marker="o")
    caption = (
        "Eigenvalues against depth. Above: medians over draws of the 2, 10, 50, 90 and 98 % quantiles of the n "
        "eigenvalues, over the depth. Below: exponent of the k-th largest eigenvalue in k, n/16 ≤ k ≤ n/2, with its "
        "limits."
    )
    alt = f"Quantiles of eigenvalues and exponents of decay for {', '.join(labels)} against depth {depths}."
    return Plot(name, figure, caption, alt, frame)


def _with_all(grid: Grid, places: Sequence[CellDepth]) -> list[CellDepth]:
    """Return the places where some trial has all its eigenvalues."""
    if "spectrum_radius" not in grid.trials:
        return []
    return [
        place
        for place in places
        if grid.used(place) and np.isfinite(grid.statistics(place, ["spectrum_radius"])["spectrum_radius"]).any()
    ]


def _measured(panel: Axes, grid: Grid, place: CellDepth, hue: str) -> tuple[pd.DataFrame, float, float]:
    """Plot measured quantiles, over the mean squared row norm; return them and the range of what is visible."""
    statistics = grid.statistics(place, ("spectrum_radius", *QUANTILES))
    complete = np.isfinite(statistics["spectrum_radius"])
    second_moment = grid.context(place).second_moment
    values = np.array([statistics[name][complete] for name in QUANTILES]) / (second_moment or 1.0)
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95), axis=1)
    # A log axis cannot show an eigenvalue that may be zero, and of a bar only the part near its point.
    visible = middle > 1e-9 * middle.max()
    low, levels = np.maximum(low, middle / 10.0), np.array(LEVELS)
    panel.hlines(levels[visible], low[visible], high[visible], color=hue, linewidth=1.0, alpha=0.5)
    panel.plot(middle[visible], levels[visible], "o", color=hue, markersize=2.2)
    quantiles = {"eigenvalue": middle, "low": low, "high": high, "share": levels}
    frame = pd.DataFrame({"series": "measured", **place.labels, **quantiles})
    return frame, float(low[visible].min()), float(high[visible].max())


def _predicted(panel: Axes, grid: Grid, place: CellDepth, law_id: str, points: np.ndarray[Any, Any]) -> pd.DataFrame:
    """Plot a predicted law at points, and return it."""
    share = LAWS[law_id].law(grid.context(place)).cdf(points)
    panel.plot(points, share, color="0.25", linestyle=_LINE_STYLES[law_id], linewidth=0.8)
    quantiles = {"eigenvalue": points, "low": np.nan, "high": np.nan, "share": share}
    return pd.DataFrame({"series": law_id, **place.labels, **quantiles})


def _legend(figure: Figure, labels: Sequence[str], laws: Collection[str], **properties: Any) -> None:
    """Add a legend of distributions, by colour, and of predicted laws, by line style."""
    entries = [(shortened(label), {"color": colour(k), **properties}) for k, label in enumerate(labels)]
    entries += [
        (law_id.removeprefix("pred-"), {"color": "0.25", "linestyle": style})
        for law_id, style in _LINE_STYLES.items()
        if law_id in laws
    ]
    legend(figure, entries)
