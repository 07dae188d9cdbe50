"""Templates of the report and of the explorer, and the filters that they use."""

from __future__ import annotations

import base64
import io
import math
import re
from functools import lru_cache
from typing import Any, Final

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from latex2mathml import converter
from markupsafe import Markup, escape

from ntkmc.palette import SIGNS, VERDICTS
from ntkmc.views.plots.base import Plot
from ntkmc.views.plots.style import journal_style

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
"""Replacements in escaped text, in this order: the first two are spellings of later ones."""

_LARGEST_CSV: Final = 300_000
"""Bytes of the largest table that a page holds; browsers refuse longer data URIs, and a report is sent by mail."""


def mathematics(plain: str) -> Markup:
    """Escape a text, and set the few symbols of running text as mathematics.

    >>> mathematics("λ_min < 1")
    Markup('<var>λ</var><sub>min</sub> &lt; 1')
    """
    escaped = str(escape(plain))
    for written, shown in _SYMBOLS.items():
        escaped = escaped.replace(written, shown)
    return Markup(re.sub(r"\^(\d+)", r"<sup>\1</sup>", escaped))


def sentence(plain: str) -> Markup:
    """Return a text with a capital letter and one full stop, as HTML.

    >>> str(sentence("are they necessary?")), str(sentence("Thm 3.2"))
    ('Are they necessary?', 'Thm 3.2.')
    """
    plain = plain.strip()
    ended = plain if plain.endswith((".", "?", "!")) else f"{plain}."
    # The id of a claim stays as it is.
    is_id = "-" in ended.partition(" ")[0]
    return mathematics(ended if is_id else ended[:1].upper() + ended[1:])


@lru_cache(maxsize=512)
def formula(latex: str) -> Markup:
    """Return LaTeX as MathML, which browsers typeset without a script; as code if it cannot be converted."""
    try:
        converted = converter.convert(latex, display="block")
    except Exception:  # a user's own claim may contain any LaTeX
        return Markup("<code>{}</code>").format(latex)
    # The source as a label: readable by screen readers, and what is copied.
    return Markup(converted.replace("<math ", f'<math aria-label="{escape(latex)}" ', 1))


def verdict(word: str) -> Markup:
    """Return a verdict in its colour and with its sign, so that it can be read without colours."""
    colour = VERDICTS.get(word, VERDICTS["undecided"])
    return Markup('<span style="color:{}">{}</span>').format(colour, f"{SIGNS.get(word, '')} {word}".lstrip())


def significant(value: Any, digits: int = 4) -> str:
    """Format a number for a table: floats with significant digits, integers in full, a dash for None and NaN.

    >>> significant(0.123456), significant(12345), significant(-math.inf), significant(math.nan)
    ('0.1235', '12,345', '−∞', '–')
    """
    if isinstance(value, int):
        return f"{value:,}"
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.{digits}g}".replace("-", "−")


def svg(plot: Plot) -> bytes:
    """Return a figure as SVG, with coordinates rounded to a hundredth of a point."""
    content = io.StringIO()
    with journal_style():
        plot.figure.savefig(content, format="svg", metadata={"Date": None, "Title": plot.name})
    # Further digits are two thirds of a file. Only paths: the scale of glyphs is a small number too.
    return re.sub(r' d="[^"]*"', lambda path: re.sub(r"(\d\.\d{2})\d+", r"\1", path[0]), content.getvalue()).encode()


def svg_uri(plot: Plot) -> str:
    """Return a figure as the source of an image, so that a page needs no other file."""
    return f"data:image/svg+xml;base64,{base64.b64encode(svg(plot)).decode()}"


def csv_uri(frame: pd.DataFrame) -> str:
    """Return a table as CSV for a link that a browser downloads; empty if it is too large for a page."""
    content = frame.to_csv(index=False).encode()
    return "" if len(content) > _LARGEST_CSV else f"data:text/csv;base64,{base64.b64encode(content).decode()}"


# Names, labels and attributes of a store may come from anybody: everything is escaped unless a filter made it.
_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("ntkmc.views.report"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
    lstrip_blocks=True,
)  # fmt: skip
_ENVIRONMENT.filters |= {
    filter_.__name__: filter_ for filter_ in (mathematics, sentence, formula, verdict, significant, svg_uri, csv_uri)
}


def render(template: str, **values: Any) -> str:
    """Return a rendered template of `ntkmc/views/report/templates`."""
    return _ENVIRONMENT.get_template(template).render(values).lstrip()


def fragment(name: str, **values: Any) -> str:
    """Return a rendered fragment of the explorer: a macro of `explorer.html.j2`."""
    return str(getattr(_ENVIRONMENT.get_template("explorer.html.j2").module, name)(**values))
