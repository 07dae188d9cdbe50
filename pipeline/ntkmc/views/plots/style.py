"""Style of figures: column widths of a journal, serif mathematics, colours safe for colour-blind readers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes

from ntkmc.palette import CATEGORIES, INKS, SEQUENCE

COLUMN: Final = 3.375
"""Inches of one column of a two-column page (APS, ICML)."""

TEXT: Final = 6.75
"""Inches of the full width."""

_RC: Final[dict[str, Any]] = {
    "font.family": "STIXGeneral",  # comes with matplotlib: a figure looks the same wherever it is made
    "mathtext.fontset": "stix",
    "font.size": 8.0,
    "axes.titlesize": 8.0,
    "axes.labelsize": 8.0,
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
    "image.cmap": "cividis",
}


@contextmanager
def journal() -> Iterator[None]:
    """Everything drawn and saved inside looks as it should in print."""
    with mpl.rc_context(rc=_RC):  # type: ignore[arg-type]  # its stubs want the names as literals
        yield


def hue(position: int) -> str:
    """The line colour of a category."""
    return CATEGORIES[position % len(CATEGORIES)]


def ink(position: int) -> str:
    """Its text colour."""
    return INKS[position % len(INKS)]


def sequence() -> Any:
    """The colour map of shares."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("ntkmc", list(SEQUENCE))


def label_ends(axes: Axes, ends: list[tuple[float, float, str, str]], gap: float = 7.5) -> None:
    """Name lines at their right ends, moved apart where they would overlap.

    Parameters
    ----------
    ends : list of (x, y, text, colour)
        In data coordinates.
    gap : float
        Points between the middles of two labels.
    """
    # All at the rightmost end, so that no label lies on another line.
    if not ends:
        return
    right = max(x for x, *_ in ends)
    to_pixels = axes.transData.transform
    points = sorted(
        ((to_pixels((right, y))[1] * 72.0 / axes.figure.dpi, y, text, colour) for _, y, text, colour in ends)
    )
    heights = [point[0] for point in points]
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
    for (at, y, text, colour), height in zip(points, heights, strict=True):
        axes.annotate(
            text, (right, y), (4.0, height - at), textcoords="offset points", color=colour, fontsize=7,
            va="center", ha="left", annotation_clip=False,
        )  # fmt: skip


def named(label: str, most: int = 22) -> str:
    """A distribution's label for a figure: a dataset by the start of its hash, long ones cut."""
    label = label.replace("dataset(content=", "dataset(")
    return label if len(label) <= most else label[: most - 1] + "…"
