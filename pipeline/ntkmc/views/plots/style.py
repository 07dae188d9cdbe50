"""Style of figures: column widths of a journal, serif mathematics, colours safe for colour-blind readers, ticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from ntkmc.palette import SEQUENCE
from ntkmc.views.cells import spread

COLUMN: Final = 3.375
"""Inches of one column of a two-column page (APS, ICML)."""

TEXT: Final = 6.75
"""Inches of the full width."""

_RC: Final[dict[str, Any]] = {
    "font.family": "STIXGeneral",  # comes with matplotlib, so that a figure looks the same on every machine
    "mathtext.fontset": "stix",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.titlepad": 2.5,
    "axes.labelsize": 8.0,
    "figure.labelsize": 8.0,
    "xtick.labelsize": 7.0,
    "ytick.labelsize": 7.0,
    "legend.fontsize": 7.5,
    "axes.linewidth": 0.5,
    "axes.edgecolor": "0.35",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.minor.width": 0.35,
    "ytick.minor.width": 0.35,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "ytick.minor.size": 1.5,
    "lines.linewidth": 1.0,
    "lines.markersize": 3.0,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "pdf.fonttype": 42,  # TrueType: journals refuse Type 3
    "svg.hashsalt": "ntkmc",  # equal figures are equal files
}


@contextmanager
def journal_style() -> Iterator[None]:
    """Apply the style to everything that is drawn or saved inside the context."""
    with mpl.rc_context(rc=_RC):  # type: ignore[arg-type]  # its stubs want the names as literals
        yield


def sequential_colours() -> LinearSegmentedColormap:
    """Return the colour map of shares, from 0 to 1."""
    return LinearSegmentedColormap.from_list("ntkmc", list(SEQUENCE))


def shortened(label: str, most: int = 22) -> str:
    """Return a distribution's label for a figure: a dataset without its parameter's name, long labels cut."""
    label = label.replace("dataset(content=", "dataset(")
    return label if len(label) <= most else label[: most - 1] + "…"


def listed(values: Iterable[Any]) -> str:
    """Return values separated by commas."""
    return ", ".join(map(str, values))


def legend(figure: Figure, entries: Iterable[tuple[str, dict[str, Any]]], columns: int = 5) -> None:
    """Add one legend for all panels, above them.

    Parameters
    ----------
    entries : iterable of (str, dict)
        Label, and properties of its line.
    columns : int
        Largest number of entries in a row.
    """
    handles = [Line2D([], [], label=label, **properties) for label, properties in entries]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(len(handles), columns))


def error_bars(panel: Axes, x: Any, frame: pd.DataFrame, column: str, **properties: Any) -> None:
    """Plot a column of a frame with its limits `*_lower` and `*_upper`; a limit that is not finite has no bar."""
    value = frame[column]
    # A limit on the wrong side of the value, by rounding, is a bar of length zero.
    lengths = np.array([value - frame[f"{column}_lower"], frame[f"{column}_upper"] - value])
    panel.errorbar(x, value, np.where(np.isfinite(lengths), np.maximum(lengths, 0.0), 0.0), **properties)


def label_ends(axes: Axes, ends: list[tuple[float, float, str, str]], gap: float = 7.5) -> None:
    """Label lines at their right ends, and move the labels apart where they would overlap.

    Parameters
    ----------
    ends : list of (x, y, text, colour)
        In data coordinates.
    gap : float
        Points between the middles of two labels.
    """
    if not ends:
        return
    # All labels are to the right of all lines, so that none lies on another line.
    right = max(x for x, *_ in ends)
    to_pixels = axes.transData.transform
    points = sorted(
        ((to_pixels((right, y))[1] * 72.0 / axes.figure.dpi, y, text, colour) for _, y, text, colour in ends)
    )
    heights = [point[0] for point in points]
    # Each pass shares every overlap between its two labels. Some passes suffice for the few lines of a panel.
    for _ in range(50):
        moved = False
        for i in range(1, len(heights)):
            overlap = gap - (heights[i] - heights[i - 1])
            if overlap > 1e-3:
                heights[i - 1] -= overlap / 2
                heights[i] += overlap / 2
                moved = True
        if not moved:
            break
    for (height, y, text, colour), moved_to in zip(points, heights, strict=True):
        axes.annotate(
            text, (right, y), (4.0, moved_to - height), textcoords="offset points", color=colour, fontsize=7,
            va="center", ha="left", annotation_clip=False,
        )  # fmt: skip


def log_ticks(axis: Any) -> None:
    """Set three to seven ticks at round numbers on a log axis, written without powers of ten."""
    # matplotlib's locator labels decades alone, and an axis may span less than a decade, or twenty.
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
    _set_ticks(axis, ticks, [f"{value:.0f}" if 1e3 <= value < 1e5 else f"{value:.3g}" for value in ticks])


def size_ticks(axis: Any, sizes: Iterable[int]) -> None:
    """Set ticks at sizes on a log axis, without those whose label would touch its neighbour's."""
    ordered = sorted(set(sizes))
    # A label takes about a tenth of a panel's width.
    least = 0.09 * np.log(ordered[-1] / ordered[0])
    kept = [ordered[-1]]
    for size in reversed(ordered[:-1]):
        if np.log(kept[-1] / size) >= least:
            kept.append(size)
    _set_ticks(axis, kept[::-1], [f"{size}" for size in kept[::-1]])


def category_ticks(axis: Any, values: Sequence[Any], most: int = 12) -> None:
    """Set ticks at positions 0, 1, ..., labelled by values; of many values some."""
    positions = spread(range(len(values)), most)
    axis.set_ticks(positions, [f"{values[i]}" for i in positions])


def _set_ticks(axis: Any, ticks: Sequence[float], labels: Sequence[str]) -> None:
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_major_formatter(FixedFormatter(labels))
    axis.set_minor_locator(NullLocator())
