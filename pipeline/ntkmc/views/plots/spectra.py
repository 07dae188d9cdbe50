"""Figures of spectra: predicted laws over measured ones with their distances, and what depth does to eigenvalues."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ntkmc.statistics import dkw_band
from ntkmc.theory.claims.trial_statistics import LEVELS
from ntkmc.theory.predictions import LAWS, laws_for
from ntkmc.views.cells import Grid, Place
from ntkmc.views.plots.base import Plot, log_ticks, spread
from ntkmc.views.plots.style import TEXT, hue, journal, named
from ntkmc.views.spectra import QUANTILES, has_spectra, laws_frame, spectra_frame

_POINTS: Final = 240
"""Points of a drawn law."""

_STYLES: Final[tuple[Literal["-", "--", ":"], ...]] = ("--", "-", "-", "--", ":")

_LINES: Final = dict(zip((each.id for each in LAWS.values()), _STYLES, strict=True))
"""Line style of each predicted law."""

_SHOWN: Final = ("eigenvalue_q02", "eigenvalue_q10", "eigenvalue_q50", "eigenvalue_q90", "eigenvalue_q98")


def laws_plot(grid: Grid, places: Sequence[Place] | None = None, name: str = "spectrum") -> Plot | None:
    """Share of eigenvalues <= x: measured quantiles, predicted laws, and the distance; a panel a (depth, n, d).

    None where no trial has all its eigenvalues.
    """
    known = _with_all(grid, grid.places if places is None else places)
    if not known:
        return None
    distances = laws_frame(grid)
    laws = sorted({place.distribution for place in known})
    depths, sizes = spread([place.depth for place in known], 3), spread([(place.d, place.n) for place in known], 4)
    rows: list[tuple[Any, ...]] = []
    shown: set[str] = set()
    with journal():
        figure = Figure(figsize=(TEXT, 1.5 * len(depths) + 0.8), layout="constrained")
        axes = figure.subplots(len(depths), len(sizes), squeeze=False, sharey=True)
        for (i, depth), (j, (d, n)) in ((a, b) for a in enumerate(depths) for b in enumerate(sizes)):
            panel = axes[i][j]
            here = [place for place in known if (place.depth, place.d, place.n) == (depth, d, n)]
            points: list[float] = []
            for place in here:
                points += _measured(panel, grid, place, hue(laws.index(place.distribution)), rows)
            drawn: set[str] = set()
            for place in here:
                for each in laws_for(grid.context(place), "eigenvalues"):
                    if each.id not in drawn:  # the same for all laws of the rows
                        _predicted(panel, grid, place, each.id, points, rows)
                    drawn.add(each.id)
            mine = distances[distances["quantity"].eq("eigenvalues") & distances["depth"].eq(depth)]
            mine = mine[mine["d"].eq(d) & mine["n"].eq(n) & mine["distribution"].isin([p.distribution for p in here])]
            if len(mine):
                best = mine.loc[mine["law"] == mine["law"].iloc[-1], "distance"]
                panel.text(0.97, 0.06, f"$D={best.min():.3f}$", transform=panel.transAxes, ha="right", fontsize=7)
            shown |= drawn
            panel.set_xscale("log")
            log_ticks(panel.xaxis)
            panel.set_title(f"$L={depth},\\ d={d},\\ n={n}$", pad=2.5)
            panel.set_ylim(-0.02, 1.02)
        figure.supxlabel("eigenvalue / mean squared row norm", fontsize=8)
        figure.supylabel("share of eigenvalues below", fontsize=8)
        handles = [Line2D([], [], color=hue(k), marker="o", linestyle="", label=named(x)) for k, x in enumerate(laws)]
        handles += [
            Line2D([], [], color="0.25", linestyle=_LINES[each], label=each.removeprefix("pred-"))
            for each in _LINES
            if each in shown
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
    caption = (
        "Laws of the eigenvalues: measured quantiles (points; bars from the 5 % to the 95 % quantile over draws) and "
        "predicted laws (lines). D: median over draws of the Kolmogorov distance to the last law of the legend that "
        "is meant for the panel, of several laws of the rows the smallest."
    )
    alt = f"Distribution functions of eigenvalues for {', '.join(laws)} in {len(depths)} x {len(sizes)} panels."
    columns = ["series", "distribution", "d", "n", "depth", "eigenvalue", "low", "high", "share"]
    return Plot(name, figure, caption, alt, pd.DataFrame(rows, columns=columns))


def coherence_plot(grid: Grid, name: str = "coherence") -> Plot | None:
    """P(rho <= t): measured, with its band, and predicted laws; a panel a (n, d). None where no law is meant."""
    first: dict[str, Place] = {}
    for place in grid.places if has_spectra(grid) else ():
        if grid.used(place) and laws_for(grid.context(place), "coherence"):
            first.setdefault(place.cell, place)
    if not first:
        return None
    laws = sorted({place.distribution for place in first.values()})
    sizes = spread([(place.d, place.n) for place in first.values()], 4)
    rows: list[tuple[Any, ...]] = []
    shown: set[str] = set()
    with journal():
        figure = Figure(figsize=(TEXT, 2.3), layout="constrained")
        axes = figure.subplots(1, len(sizes), squeeze=False, sharey=True)[0]
        for panel, (d, n) in zip(axes, sizes, strict=True):
            for place in (each for each in first.values() if (each.d, each.n) == (d, n)):
                values = grid.statistics(place, ["coherence"])["coherence"]
                values = values[~np.isnan(values)]
                points, lower, upper = dkw_band(values, grid.confidence(place))
                colour = hue(laws.index(place.distribution))
                panel.fill_between(points, lower, upper, step="post", color=colour, alpha=0.25, linewidth=0)
                measured = np.arange(1, len(points) + 1) / len(points)
                panel.step(points, measured, where="post", color=colour, linewidth=0.8)
                rows += [("measured", place.distribution, d, n, *row) for row in zip(points, measured, strict=True)]
                at = np.linspace(points[0], points[-1], _POINTS)
                for each in laws_for(grid.context(place), "coherence"):
                    share = each.law(grid.context(place)).cdf(at)
                    panel.plot(at, share, color="0.25", linestyle=_LINES[each.id], linewidth=0.8)
                    shown.add(each.id)
                    rows += [(each.id, place.distribution, d, n, *row) for row in zip(at, share, strict=True)]
            panel.set_title(f"$d={d},\\ n={n}$", pad=2.5)
        figure.supxlabel(r"coherence $\rho$", fontsize=8)
        figure.supylabel(r"$\mathbb{P}(\rho\leq t)$", fontsize=8)
        handles = [Line2D([], [], color=hue(k), label=named(law)) for k, law in enumerate(laws)]
        handles += [
            Line2D([], [], color="0.25", linestyle=_LINES[each], label=each.removeprefix("pred-"))
            for each in _LINES
            if each in shown
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
    caption = (
        "Law of the coherence over draws: measured, with its Dvoretzky–Kiefer–Wolfowitz band, and predicted. "
        "Distances with their limits: ntkmc show --table spectrum."
    )
    alt = f"Distribution functions of the coherence for {', '.join(laws)} at {len(sizes)} sizes (d, n)."
    return Plot(
        name, figure, caption, alt, pd.DataFrame(rows, columns=["series", "distribution", "d", "n", "rho", "share"])
    )


def depth_plot(grid: Grid, name: str = "depth") -> Plot | None:
    """Quantiles of the eigenvalues over the depth, and exponents of their decay, against depth; a column a (d, n).

    None where no trial has all its eigenvalues, or there is one depth alone.
    """
    known = _with_all(grid, grid.places)
    depths = sorted({place.depth for place in known})
    if len(depths) < 2:
        return None
    frame = spectra_frame(grid)
    frame = frame[frame["eigenvalue_q50"].notna()]
    laws, sizes = sorted(frame["distribution"].unique()), spread([(place.d, place.n) for place in known], 4)
    with journal():
        figure = Figure(figsize=(TEXT, 3.6), layout="constrained")
        axes = figure.subplots(2, len(sizes), squeeze=False, sharex=True, sharey="row")
        for j, (d, n) in enumerate(sizes):
            mine = frame[frame["d"].eq(d) & frame["n"].eq(n)]
            for k, law in enumerate(laws):
                line = mine[mine["distribution"] == law].sort_values("depth")
                for column in _SHOWN:
                    axes[0][j].plot(line["depth"], line[column] / line["depth"], marker="o", color=hue(k))
                known_decay = line[np.isfinite(line["decay"])]
                bars = [
                    np.where(np.isfinite(known_decay[end]), np.abs(known_decay[end] - known_decay["decay"]), 0.0)
                    for end in ("decay_lower", "decay_upper")
                ]
                axes[1][j].errorbar(known_decay["depth"], known_decay["decay"], bars, marker="o", color=hue(k))
            axes[0][j].set_yscale("log")
            log_ticks(axes[0][j].yaxis)
            axes[0][j].set_title(f"$d={d},\\ n={n}$", pad=2.5)
            axes[1][j].xaxis.set_major_locator(MaxNLocator(integer=True))
        axes[0][0].set_ylabel("eigenvalue / $L$")
        axes[1][0].set_ylabel("exponent of decay")
        figure.supxlabel("depth $L$", fontsize=8)
        handles = [Line2D([], [], color=hue(k), marker="o", label=named(law)) for k, law in enumerate(laws)]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), 5))
    caption = (
        "Eigenvalues against depth. Above: medians over draws of the 2, 10, 50, 90 and 98 % quantiles of the n "
        "eigenvalues, over the depth. Below: exponent of the k-th largest eigenvalue in k, n/16 ≤ k ≤ n/2, with its "
        "limits."
    )
    alt = f"Quantiles of eigenvalues and exponents of decay for {', '.join(laws)} against depth {depths}."
    return Plot(name, figure, caption, alt, frame)


def _with_all(grid: Grid, places: Sequence[Place]) -> list[Place]:
    """Places of which some trial has all its eigenvalues."""
    if "spectrum_radius" not in grid.trials:
        return []
    return [
        place
        for place in places
        if grid.used(place) and np.isfinite(grid.statistics(place, ["spectrum_radius"])["spectrum_radius"]).any()
    ]


def _energy(grid: Grid, place: Place) -> float:
    energy = grid.context(place).energy
    return 1.0 if energy is None else energy


def _measured(panel: Any, grid: Grid, place: Place, colour: str, rows: list[tuple[Any, ...]]) -> list[float]:
    found = grid.statistics(place, ("spectrum_radius", *QUANTILES))
    kept = np.isfinite(found["spectrum_radius"])
    values = np.array([found[name][kept] for name in QUANTILES]) / _energy(grid, place)
    low, middle, high = np.quantile(values, (0.05, 0.5, 0.95), axis=1)
    # An eigenvalue that may be zero has no place on a log axis, and of a bar only the part near its point.
    shown = middle > 1e-9 * middle.max()
    low, levels = np.maximum(low, middle / 10.0), np.array(LEVELS)
    panel.hlines(levels[shown], low[shown], high[shown], color=colour, linewidth=1.0, alpha=0.5)
    panel.plot(middle[shown], levels[shown], "o", color=colour, markersize=2.2)
    rows += [("measured", *place.labels.values(), *row) for row in zip(middle, low, high, LEVELS, strict=True)]
    return [*low[shown], *high[shown]]


def _predicted(
    panel: Any, grid: Grid, place: Place, law: str, points: list[float], rows: list[tuple[Any, ...]]
) -> None:
    """One law over the range of the measured points, and a little beyond."""
    if not points:
        return
    at = np.geomspace(min(points) / 1.15, max(points) * 1.15, _POINTS)
    share = LAWS[law].law(grid.context(place)).cdf(at)
    panel.plot(at, share, color="0.25", linestyle=_LINES[law], linewidth=0.8)
    rows += [(law, *place.labels.values(), x, np.nan, np.nan, p) for x, p in zip(at, share, strict=True)]
