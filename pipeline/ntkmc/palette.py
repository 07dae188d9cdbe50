"""Colours of all views: distinguishable with any colour vision, and by lightness in print."""

from __future__ import annotations

from typing import Final

CATEGORIES: Final = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Okabe & Ito's palette: lines and marks, one colour per distribution."""

INKS: Final = ("#005a8e", "#a84a00", "#00664b", "#8f3f6b", "#7d5700", "#1f6f99", "#000000")
"""The same hues dark enough for text on white (contrast at least 4.5:1)."""

SEQUENCE: Final = (
    "#f2f5f7", "#dce8f0", "#c3d9e8", "#a5c8de", "#82b3d1", "#5c9bc2", "#3d82b0", "#27699a", "#174f7d", "#0b3659",
)  # fmt: skip
"""Sequential palette from 0 to 1, with equal steps of lightness."""

VERDICTS: Final = {
    "violated": "#a3263c",
    "refuted": "#a84a00",
    "holds": "#00664b",
    "supported": "#00664b",
    "undecided": "#005a8e",
    "vacuous": "#595f69",
    "not-evaluated": "#595f69",
    "not-applicable": "#595f69",
}
"""Text colours of verdicts, in the order in which verdicts are listed, always shown together with the word."""

SIGNS: Final = {"holds": "✓", "supported": "✓", "violated": "✗", "refuted": "✗", "undecided": "?", "vacuous": "∅"}
"""One mark per verdict, so that verdicts do not differ by colour alone."""


def colour(position: int, palette: tuple[str, ...] = CATEGORIES) -> str:
    """Return the colour of a category; colours repeat after the length of the palette (seven by default).

    >>> colour(7) == colour(0)
    True
    """
    return palette[position % len(palette)]
