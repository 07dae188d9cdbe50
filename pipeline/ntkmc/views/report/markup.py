"""Pieces of HTML: text, tables, mathematics, figures."""

from __future__ import annotations

import base64
import html
import io
import math
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import pandas as pd
from latex2mathml import converter

from ntkmc.palette import SIGNS, VERDICTS
from ntkmc.views.plots.base import Plot
from ntkmc.views.plots.style import journal

_SYMBOLS: Final = {
    "lambda_min": "λ_min",
    "lambda_0": "λ_0",
    "&lt;=": "≤",
    "&gt;=": "≥",
    "λ_min": "<var>λ</var><sub>min</sub>",
    "λ_0": "<var>λ</var><sub>0</sub>",
    "K^(L)": "<var>K</var><sup>(<var>L</var>)</sup>",
    "G^(L)": "<var>G</var><sup>(<var>L</var>)</sup>",
    "H^∞": "<var>H</var><sup>∞</sup>",
}


def text(plain: str) -> str:
    """Escaped, with the few symbols of running text set as mathematics.

    >>> text("λ_min < 1")
    '<var>λ</var><sub>min</sub> &lt; 1'
    """
    escaped = html.escape(plain, quote=False)
    for written, shown in _SYMBOLS.items():
        escaped = escaped.replace(written, shown)
    return re.sub(r"\^(\d+)", r"<sup>\1</sup>", escaped)


def sentence(plain: str) -> str:
    """With a capital letter and one full stop, as HTML.

    >>> sentence("are they necessary?"), sentence("Thm 3.2")
    ('Are they necessary?', 'Thm 3.2.')
    """
    plain = plain.strip()
    ended = plain if plain.endswith((".", "?", "!")) else f"{plain}."
    named = "-" in ended.partition(" ")[0]  # the id of a claim
    return text(ended if named else ended[:1].upper() + ended[1:])


@lru_cache(maxsize=512)
def formula(latex: str) -> str:
    """LaTeX as MathML, which browsers typeset without any script; as code where it cannot be converted."""
    try:
        found = converter.convert(latex, display="block")
    except Exception:  # a user's own claim may be written in any LaTeX
        return f"<code>{html.escape(latex)}</code>"
    # The language-independent source, for those who copy it.
    return found.replace("<math ", f'<math aria-label="{html.escape(latex)}" ', 1)


def verdict(word: str) -> str:
    """A verdict in its colour, with its mark: never by colour alone."""
    sign = SIGNS.get(word, "")
    colour = VERDICTS.get(word, VERDICTS["undecided"])
    return f'<span style="color:{colour}">{sign}{" " if sign else ""}{word}</span>'


def number(value: Any, digits: int = 4) -> str:
    """A number for a table; a dash where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "–"
    if isinstance(value, float) and math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if isinstance(value, float):
        return f"{value:.{digits}g}".replace("-", "−")
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def table(
    caption: str, columns: Sequence[tuple[str, str]], rows: Iterable[Sequence[str]], label: str, *, wide: bool = False
) -> str:
    """A table that scrolls by itself where a screen is narrow.

    Parameters
    ----------
    caption : str
        HTML.
    columns : sequence of (str, str)
        Heading as HTML, and class: `l` left, `wrap` left and broken.
    rows : iterable of sequences of str
        HTML; the first cell of a row is its heading.
    label : str
        For those who cannot see it.
    wide : bool
        Into the margins, where there are any.
    """
    head = "".join(f'<th scope="col" class="{kind}">{name}</th>' for name, kind in columns)
    body = []
    for cells in rows:
        (_, first), *others = columns
        row = f'<th scope="row" class="{first}">{cells[0]}</th>'
        row += "".join(f'<td class="{kind}">{cell}</td>' for (_, kind), cell in zip(others, cells[1:], strict=True))
        body.append(f"<tr>{row}</tr>")
    kind = "scroll wide" if wide else "scroll"
    named = html.escape(label, quote=True)
    return (
        f'<div class="{kind}" role="region" tabindex="0" aria-label="{named}"><table><caption>{caption}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def data_link(frame: pd.DataFrame, name: str, words: str, most: int = 300_000) -> str:
    """A link that holds a frame as CSV; the command that prints it where it would be too large."""
    content = frame.to_csv(index=False).encode()
    if len(content) > most:
        return ""
    encoded = base64.b64encode(content).decode()
    return f'<a class="screen" download="{_quoted(name)}" href="data:text/csv;base64,{encoded}">{words}</a>'


def _quoted(value: str) -> str:
    return html.escape(value, quote=True)


def svg(plot: Plot) -> bytes:
    """A figure as SVG, its coordinates to a hundredth of a point: finer ones are two thirds of such a file."""
    content = io.StringIO()
    with journal():
        plot.figure.savefig(content, format="svg", metadata={"Date": None, "Title": plot.name})
    # In paths alone: the scale of glyphs is a small number too.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\d\.\d{2})\d+", r"\1", path[0]), content.getvalue()).encode()


def figure(plot: Plot, number_of: int) -> str:
    """A figure with its caption and the numbers behind it."""
    encoded = base64.b64encode(svg(plot)).decode()
    width, height = (round(96 * inches) for inches in plot.figure.get_size_inches())
    link = data_link(plot.data, f"{plot.name}.csv", "The numbers (CSV)")
    return (
        f'<figure id="figure-{plot.name}"><img src="data:image/svg+xml;base64,{encoded}" width="{width}" '
        f'height="{height}" alt="{html.escape(plot.alt, quote=True)}">'
        f"<figcaption><strong>Figure {number_of}.</strong> {text(plot.caption)} {link}</figcaption></figure>"
    )
