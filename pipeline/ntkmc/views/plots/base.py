"""Figures of the report, the explorer and `ntkmc show --figure`, with the data that they show."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from ntkmc.errors import InputError
from ntkmc.linalg.eigen import Status
from ntkmc.palette import CATEGORIES as _COLOURS
from ntkmc.statistics.scaling import Estimate
from ntkmc.theory.claims import find_instance
from ntkmc.theory.predictions import PREDICTORS
from ntkmc.views.cells import Grid, Place
from ntkmc.views.curves import median_exponents, medians_frame, surface_frame, survival
from ntkmc.views.frames import claims_frame, overall_frame, predictions_frame
from ntkmc.views.plots.style import COLUMN, TEXT, hue, ink, journal, label_ends, named, sequence

_STEPS: Final = 120
"""Largest number of steps of a drawn curve; finer steps are narrower than its line."""


@dataclass(frozen=True)
class Plot:
    """A figure with what it shows.

    Attributes
    ----------
    name : str
        Of its file.
    figure : matplotlib.figure.Figure
    caption, alt : str
        For readers; for those who cannot see it.
    data : DataFrame
        The numbers that are drawn.
    """

    name: str
    figure: Figure
    caption: str
    alt: str
    data: pd.DataFrame


def spread(values: Sequence[Any], most: int = 4) -> list[Any]:
    """At most this many of the values, the ends and what lies evenly between.

    >>> spread([1, 2, 3, 4, 5, 6, 7], 3)
    [1, 4, 7]
    """
    ordered = sorted(set(values))
    if len(ordered) <= most:
        return ordered
    return [ordered[i] for i in np.linspace(0, len(ordered) - 1, most).round().astype(int)]


def survival_plot(grid: Grid, places: Sequence[Place], name: str = "survival") -> Plot | None:
    """Plot P(lambda_min >= lambda_0) against lambda_0: one panel per (depth, n, d), one colour per distribution.

    None where nothing is estimated yet, or events alone were decided.
    """
    known = [] if grid.decided_only else [place for place in places if grid.used(place)]
    if not known:
        return None
    laws = sorted({place.distribution for place in known})
    depths = spread([place.depth for place in known])
    sizes = spread([(place.d, place.n) for place in known])
    rows = []
    with journal():
        figure = Figure(figsize=(TEXT, 1.35 * len(depths) + 0.75), layout="constrained")
        axes = figure.subplots(len(depths), len(sizes), squeeze=False, sharey=True, sharex="row")
        for i, depth in enumerate(depths):
            for j, (d, n) in enumerate(sizes):
                panel = axes[i][j]
                for threshold in grid.thresholds:
                    panel.axvline(threshold, color="0.82", linewidth=0.5, zorder=0)
                for k, law in enumerate(laws):
                    place = Place(law, d, n, depth)
                    if place not in known:
                        continue
                    curve = survival(grid.prefix(place), grid.confidence(place)).thinned(_STEPS)
                    panel.step(curve.points, curve.probability, where="pre", color=hue(k), linewidth=0.9)
                    panel.fill_between(
                        curve.points, curve.lower, curve.upper, step="pre", color=hue(k), alpha=0.16, linewidth=0
                    )
                    rows += [
                        (law, d, n, depth, *row)
                        for row in zip(curve.points, curve.probability, curve.lower, curve.upper, strict=True)
                    ]
                panel.set_title(f"$L={depth},\\ d={d},\\ n={n}$", pad=2.5)
                panel.set_ylim(-0.02, 1.02)
                panel.set_yticks([0.0, 0.5, 1.0])
        figure.supxlabel(r"$\lambda_0$", fontsize=8)
        figure.supylabel(r"$\mathbb{P}(\lambda_{\min}\geq\lambda_0)$", fontsize=8)
        handles = [Line2D([], [], color=hue(k), label=named(law)) for k, law in enumerate(laws)]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(laws), 5))
    data = pd.DataFrame(
        rows, columns=["distribution", "d", "n", "depth", "lambda_0", "probability", "band_lower", "band_upper"]
    )
    caption = (
        "Empirical P(λ_min ≥ λ_0) with its simultaneous Dvoretzky–Kiefer–Wolfowitz band at "
        f"{grid.study.confidence:.0%}, from the trials that the estimates rest on. Grey: the study's thresholds."
    )
    alt = (
        f"Decreasing step curves from 1 to 0 for {', '.join(laws)}, in panels for depth L = {_listed(depths)} and "
        f"{len(sizes)} sizes (d, n)."
    )
    return Plot(name, figure, caption, alt, data)


def surface_plot(grid: Grid, threshold: float, name: str = "surface", laws: Sequence[str] = ()) -> Plot | None:
    """P(lambda_min >= lambda_0) over (n, d): a heat map for each distribution and depth; None without estimates."""
    laws = laws or spread([place.distribution for place in grid.places])
    depths = spread([place.depth for place in grid.places])
    frames = {(law, depth): surface_frame(grid, law, depth, threshold) for law in laws for depth in depths}
    everything = pd.concat(
        [frame.assign(distribution=law, depth=depth) for (law, depth), frame in frames.items()], ignore_index=True
    )
    if everything.empty:
        return None
    ns, ds = sorted(everything["n"].unique()), sorted(everything["d"].unique())
    written = len(ns) * len(depths) <= 24 and len(ds) <= 16
    with journal():
        height = len(laws) * (0.17 * len(ds) + 0.35) + 0.8
        figure = Figure(figsize=(TEXT, min(max(height, 1.9), 8.5)), layout="constrained")
        axes = figure.subplots(len(laws), len(depths), squeeze=False, sharex=True, sharey=True)
        drawn = None
        for (law, depth), frame in frames.items():
            panel = axes[list(laws).index(law)][depths.index(depth)]
            table = np.full((len(ds), len(ns)), np.nan)
            for row in frame.itertuples():
                table[ds.index(row.d), ns.index(row.n)] = row.probability
            drawn = panel.imshow(table, cmap=sequence(), vmin=0.0, vmax=1.0, aspect="auto", origin="lower")
            for (i, j), value in np.ndenumerate(table):
                if written and not np.isnan(value):
                    colour = "white" if value > 0.55 else "0.12"
                    panel.text(j, i, _short(value), ha="center", va="center", fontsize=5.5, color=colour)
            panel.set_title(f"{named(law)}, $L={depth}$", pad=2.5)
            _category_ticks(panel.xaxis, ns)
            _category_ticks(panel.yaxis, ds)
            panel.tick_params(length=0)
            for spine in panel.spines.values():
                spine.set_visible(False)
        figure.supxlabel("$n$", fontsize=8)
        figure.supylabel("$d$", fontsize=8)
        bar = figure.colorbar(drawn, ax=axes, fraction=0.025, pad=0.01, aspect=30)  # type: ignore[arg-type]
        bar.outline.set_visible(False)
        bar.ax.tick_params(length=0)
        bar.set_label(rf"$\mathbb{{P}}(\lambda_{{\min}}\geq{threshold:g})$")
    caption = f"P(λ_min ≥ {threshold:g}) over (n, d). Blank: no such cell in the study."
    low, high = everything["probability"].min(), everything["probability"].max()
    alt = (
        f"Heat maps of the probability for {', '.join(laws)} and L = {_listed(depths)}, from {low:.3f} to {high:.3f}; "
        "the numbers are in the table of estimates."
    )
    return Plot(name, figure, caption, alt, everything)


def scaling_plot(
    grid: Grid, laws: Sequence[str] = (), depths: Sequence[int] = (), name: str = "scaling"
) -> Plot | None:
    """Plot the median of lambda_min against n on log axes, one line per d; None without values."""
    if grid.decided_only:
        return None
    laws = laws or spread([place.distribution for place in grid.places])
    depths = depths or spread([place.depth for place in grid.places], 3)
    frames = {(law, depth): medians_frame(grid, law, depth) for law in laws for depth in depths}
    everything = pd.concat(
        [frame.assign(distribution=law, depth=depth) for (law, depth), frame in frames.items()], ignore_index=True
    )
    positive = everything[everything["lower"] > 0.0]
    if positive.empty:
        return None
    dimensions = sorted(positive["d"].unique())
    with journal():
        width = max(COLUMN, min(TEXT, 2.25 * len(depths)))
        figure = Figure(figsize=(width, 1.5 * len(laws) + 0.4), layout="constrained")
        axes = figure.subplots(len(laws), len(depths), squeeze=False, sharex=True, sharey="row")
        labels = []
        for (law, depth), frame in frames.items():
            panel = axes[list(laws).index(law)][list(depths).index(depth)]
            panel.set_xscale("log")
            panel.set_yscale("log")
            ends = []
            for d, line in frame[frame["lower"] > 0.0].groupby("d"):
                k = dimensions.index(d)
                line = line.sort_values("n")
                panel.plot(line["n"], line["median"], marker="o", color=hue(k), markersize=2.5)
                low = np.maximum(line["low"], line["median"] / 20.0)  # an atom at 0 has no place on a log axis
                panel.fill_between(line["n"], low, line["high"], color=hue(k), alpha=0.13, linewidth=0)
                last = line.iloc[-1]
                ends.append((float(last["n"]), float(last["median"]), f"$d={d}$", ink(k)))
            labels.append((panel, ends))
            found = median_exponents(frame)
            panel.set_title(f"{named(law, 16)}, $L={depth}$" + _law(found), pad=3)
            _size_ticks(panel.xaxis, frame["n"].tolist())
            log_ticks(panel.yaxis)
        figure.supxlabel("$n$", fontsize=8)
        figure.supylabel(r"median of $\lambda_{\min}$", fontsize=8)
        figure.draw_without_rendering()
        for panel, ends in labels:
            label_ends(panel, ends)
    caption = (
        "Median of λ_min (points) with its 5 % and 95 % quantiles (bands), on log axes. Above each panel the "
        "exponents "
        "of n and d that fit its medians best together; their limits are in the table of exponents. A median "
        "that is not proved to be positive is left out."
    )
    alt = (
        f"Lines of the median against n, one for each of d = {_listed(dimensions)}, for {', '.join(laws)} and "
        f"L = {_listed(depths)}; medians from {positive['median'].min():.3g} to {positive['median'].max():.3g}."
    )
    return Plot(name, figure, caption, alt, everything)


def tightness_plot(grid: Grid, name: str = "tightness") -> Plot | None:
    """Plot the tightness of bounds: bound / bounded quantity of each claim by cell; None if no bound applies."""
    frame = claims_frame(grid.tree)
    frame = frame[frame["tightness"].notna() & (frame["tightness"] > 0.0)]
    if frame.empty:
        return None
    summary = frame.groupby("claim")["tightness"].agg(["min", "median", "max", "count"]).reset_index()
    summary["side"] = [_side(claim) for claim in summary["claim"]]
    summary["verdict"] = summary["claim"].map(overall_frame(grid.tree).set_index("claim")["overall"].to_dict())
    summary = summary.sort_values(["side", "median"], ascending=[True, False]).reset_index(drop=True)
    with journal():
        figure = Figure(figsize=(TEXT, 0.155 * len(summary) + 0.65), layout="constrained")
        panel = figure.subplots()
        panel.set_xscale("log")
        panel.axvline(1.0, color="0.55", linewidth=0.7, zorder=0)
        for k, side in enumerate(("lower", "upper")):
            rows = summary[summary["side"] == side]
            at = rows.index.to_numpy()
            panel.hlines(at, rows["min"].to_numpy(), rows["max"].to_numpy(), color=hue(k), linewidth=1.6, alpha=0.35)
            panel.plot(rows["median"].to_numpy(), at, "o", color=hue(k), markersize=3.6)
        panel.set_yticks(range(len(summary)), summary["claim"].tolist(), fontsize=6.5)
        panel.set_ylim(len(summary) - 0.4, -0.6)
        panel.tick_params(axis="y", length=0)
        panel.spines["left"].set_visible(False)
        panel.grid(axis="y", color="0.93", linewidth=0.5)
        panel.set_xlabel("bound / bounded quantity   (1: the bound is attained)")
        handles = [
            Line2D([], [], color=hue(k), marker="o", label=f"{side} bounds")
            for k, side in enumerate(("lower", "upper"))
            if (summary["side"] == side).any()
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=2)
    caption = (
        "How near the bounds come: median over cells (points) and range (bars) of the median over trials of "
        "bound / bounded quantity, where the bound says anything. Lower bounds lie left of 1, upper bounds "
        "right of it."
    )
    nearest = summary.iloc[(np.log(summary["median"]).abs()).argmin()]
    alt = (
        f"A row for each of {len(summary)} claims; the nearest to 1 is {nearest['claim']} at {nearest['median']:.3g}."
    )
    return Plot(name, figure, caption, alt, summary)


def constants_plot(grid: Grid, claims: Sequence[str] = (), name: str = "constants", most: int = 6) -> Plot | None:
    """Constants of scaling claims against d on log axes, with simultaneous limits; None where none was tried."""
    frame = claims_frame(grid.tree)
    # What is not proved to be positive, as a mean that may be zero, has no place on a log axis.
    frame = frame[(frame["kind"] == "scaling") & (frame["cell_constant_lower"] > 0.0)]
    if frame.empty:
        return None
    chosen = list(claims) or _telling(grid, frame, most)
    frame = frame[frame["claim"].isin(chosen)]
    if frame.empty:
        return None
    laws = sorted(frame["distribution"].unique())
    with journal():
        columns = min(3, len(chosen))
        rows = -(-len(chosen) // columns)
        width = {1: COLUMN, 2: 5.0}.get(columns, TEXT)
        figure = Figure(figsize=(width, 1.7 * rows + 0.6), layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
        for panel in axes[len(chosen) :]:
            panel.set_axis_off()
        for panel, claim in zip(axes, chosen, strict=False):
            mine = frame[frame["claim"] == claim]
            for k, law in enumerate(laws):
                here = mine[mine["distribution"] == law]
                shift = 1.0 + 0.03 * (k - (len(laws) - 1) / 2)  # side by side, not one on top of the other
                low = (here["cell_constant"] - here["cell_constant_lower"]).clip(lower=0.0)
                high = (here["cell_constant_upper"] - here["cell_constant"]).clip(lower=0.0)
                bars = np.where(np.isfinite([low, high]), [low, high], 0.0)
                panel.errorbar(
                    here["d"] * shift, here["cell_constant"], bars, fmt="o", color=hue(k), markersize=2.2,
                    elinewidth=0.6, alpha=0.85,
                )  # fmt: skip
            panel.set_xscale("log")
            panel.set_yscale("log")
            panel.set_title(claim.replace("claim-", ""), fontsize=7, pad=2.5)
            _size_ticks(panel.xaxis, frame["d"].tolist())
            log_ticks(panel.yaxis)
        figure.supxlabel("$d$", fontsize=8)
        figure.supylabel("constant", fontsize=8)
        handles = [
            Line2D([], [], color=hue(k), marker="o", linestyle="", label=named(law)) for k, law in enumerate(laws)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(len(laws), 5))
    names = ["claim", "distribution", "d", "n", "depth", "cell_constant", "cell_constant_lower", "cell_constant_upper"]
    caption = (
        "Constants of scaling claims, a point for each cell and depth, with limits that hold for all cells at once. "
        "A claim is refuted where its constant must drift with d."
    )
    alt = f"Scatter of fitted constants against d for {', '.join(chosen)}; the numbers are in the verdicts' table."
    return Plot(name, figure, caption, alt, frame[names].reset_index(drop=True))


def _telling(grid: Grid, frame: pd.DataFrame, most: int) -> list[str]:
    """The scaling claims that say most: refuted ones and their corrections first, one instance of each claim."""
    overall = overall_frame(grid.tree).set_index("claim")["overall"].to_dict()
    rank = {"refuted": 0, "supported": 1}
    present = sorted(frame["claim"].unique(), key=lambda claim: (rank.get(overall.get(claim, ""), 2), claim))
    first = list({claim.partition("[")[0]: claim for claim in reversed(present)}.values())[::-1]
    return first[:most]


def _side(claim: str) -> str:
    instance = find_instance(claim)
    return "lower" if instance is None else instance.claim.side


def _law(found: dict[str, Estimate]) -> str:
    """Fitted exponents as a power law.

    >>> _law({"n": Estimate(-0.5, -0.6, -0.4), "d": Estimate(0.25, 0.2, 0.3)})
    ':  $\\\\propto n^{-0.50}\\\\, d^{\\\\,0.25}$'
    """
    parts = [f"{axis}^{{{found[axis].value:.2f}}}" for axis in ("n", "d") if axis in found]
    parts = [part.replace("d^{", r"d^{\,") for part in parts]
    return ":  $\\propto " + r"\, ".join(parts) + "$" if parts else ""


def _short(value: float) -> str:
    return "1" if value == 1.0 else "0" if value == 0.0 else f"{value:.2f}".lstrip("0")


def log_ticks(axis: Any) -> None:
    """Three to seven ticks at round numbers, written plainly: an axis may span less than a decade, or twenty."""
    low, high = axis.get_view_interval()
    decades = 10.0 ** np.arange(np.floor(np.log10(low)), np.ceil(np.log10(high)) + 1)
    for steps in (
        (1.0,),
        (1.0, 3.0),
        (1.0, 2.0, 5.0),
        (1.0, 1.5, 2.0, 3.0, 5.0, 7.0),
        tuple(np.arange(1.0, 10.0, 0.2)),
    ):
        ticks = [value for value in np.outer(decades, steps).ravel() if low <= value <= high]
        if len(ticks) >= 3:
            break
    else:
        ticks = [low, high]
    ticks = ticks[:: -(-len(ticks) // 7)]
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(
        FixedFormatter([f"{value:.0f}" if 1e3 <= value < 1e5 else f"{value:.3g}" for value in ticks])
    )
    axis.set_minor_locator(NullLocator())


def _size_ticks(axis: Any, values: Sequence[int]) -> None:
    """Ticks at sizes on a log axis, without those that would touch their neighbour."""
    wanted = sorted(set(values))
    apart = 0.09 * np.log(wanted[-1] / wanted[0]) if len(wanted) > 1 else 0.0
    kept = [wanted[-1]]
    for value in reversed(wanted[:-1]):
        if np.log(kept[-1] / value) >= apart:
            kept.append(value)
    axis.set_major_locator(FixedLocator(kept[::-1]))
    axis.set_major_formatter(FixedFormatter([f"{value}" for value in kept[::-1]]))
    axis.set_minor_locator(NullLocator())


def _category_ticks(axis: Any, values: Sequence[Any], most: int = 12) -> None:
    shown = spread(range(len(values)), most)
    axis.set_ticks(shown, [f"{values[i]}" for i in shown])


def _listed(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values)


_STYLES: Final[tuple[Literal["-", "--", ":", "-."], ...]] = ("-", "--", ":", "-.")

_FIGURE_STEPS: Final = 400
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
        curve = survival(grid.prefix(place), confidence).thinned(_FIGURE_STEPS)
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
