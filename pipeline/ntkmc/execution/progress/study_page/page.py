"""Study page: a Bokeh document among the tabs of the Dask dashboard, which shows a `StudyState`.

A page redraws what changed and then rests for two hundred times as long as that took. All pages together then cost at
most half a percent of the scheduler's core, however large a study is.
"""

from __future__ import annotations

import time
from typing import Any, Final

import numpy as np
from bokeh.document import Document
from bokeh.layouts import column, row
from bokeh.models import ColumnDataSource, Div, FixedTicker, HoverTool, Range1d, Select
from bokeh.models.annotations import ColorBar
from bokeh.plotting import figure
from bokeh.transform import linear_cmap
from distributed.dashboard import scheduler as dashboard
from distributed.dashboard.components.scheduler import env
from distributed.dashboard.core import BokehApplication
from jinja2 import Environment, PackageLoader, StrictUndefined

from ntkmc.execution.progress.rate import format_rate
from ntkmc.execution.progress.study_page.state import Studies, StudyState
from ntkmc.execution.units import format_duration
from ntkmc.palette import SEQUENCE, SIGNS, VERDICTS, colour

_TICK: Final = 500  # milliseconds between checks for changes
_REST: Final = 200.0  # in units of the cost of an update: half a percent of a core
_LABELLED_ROWS: Final = 60  # most rows that all have a label
_LABELLED_COLUMNS: Final = 20  # most labels of columns
_CELLS_WITH_TEXT: Final = 160  # most cells with their estimates as text in the map
_INTERVALS: Final = 200  # most intervals that are drawn: the widest ones

_NUMBERS: Final = ("share", "done", "planned", "p", "lower", "upper")
_TOOLTIPS: Final = [
    ("cell", "@name"),
    ("trials", "@done{0,0} of @planned{0,0}"),
    ("P(λₘᵢₙ ≥ λ₀)", "@p{0.0000}"),
    ("between", "@lower{0.0000} and @upper{0.0000}"),
]

# A study's name, its notes and error messages may contain any characters: all of them are escaped.
_ENVIRONMENT: Final = Environment(
    loader=PackageLoader("ntkmc.execution.progress.study_page", "."),
    autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True,
)  # fmt: skip
_ENVIRONMENT.filters |= {"duration": format_duration, "rate": format_rate}
_ENVIRONMENT.globals |= {"colours": VERDICTS, "signs": SIGNS}
_TEMPLATE: Final[Any] = _ENVIRONMENT.get_template("template.html.j2").module


class Viewers:
    """Open pages and their cost.

    Attributes
    ----------
    open : int
        Number of open pages.
    spent : float
        Seconds of the scheduler's core, since the start.
    updates : int
        Number of updates of all pages.
    """

    def __init__(self) -> None:
        self.open = 0
        self.spent = 0.0
        self.updates = 0


def add_page(scheduler: Any, studies: Studies, prefix: str, loop: Any) -> Viewers:
    """Add the page to a running dashboard, and to the tabs of its other pages."""
    viewers = Viewers()
    # Dask returns the same object for all pages of a scheduler, so the tab appears on those that exist already.
    variables = dashboard.template_variables(scheduler)
    if "study" not in variables["pages"]:
        variables["pages"].insert(0, "study")

    def document(scheduler: Any, extra: dict[str, Any], doc: Document) -> None:
        doc.title = "Study"
        doc.template = env.get_template("simple.html")
        doc.template_variables.update(extra)
        page = Page(studies, scheduler, viewers)
        doc.add_root(page.root)
        doc.add_periodic_callback(page.tick, _TICK)
        doc.on_session_destroyed(page.closed)

    pages = {"/study": document, "/individual-study": document}
    application = BokehApplication(pages, scheduler, prefix=prefix, template_variables=variables)
    scheduler.http_application.add_application(application)
    application.initialize(loop)
    application.start()
    return viewers


class Page:
    """Page of one viewer.

    Attributes
    ----------
    root : bokeh.models.Column
        Text of the head, controls, map of the cells, intervals, and verdicts.
    """

    def __init__(self, studies: Studies, scheduler: Any, viewers: Viewers) -> None:
        self.studies, self.scheduler, self.viewers = studies, scheduler, viewers
        viewers.open += 1
        self.state: StudyState | None = None
        self.drawn_version = (-1, -1)
        self.drawn_choice = ("", "")
        self.resting_until = 0.0
        self.cost = 0.0
        style = [str(_TEMPLATE.style())]
        self.head = Div(text=str(_TEMPLATE.empty()), stylesheets=style, sizing_mode="stretch_width")
        self.foot = Div(text="", stylesheets=style, sizing_mode="stretch_width")
        self.depth = Select(title="Depth L", options=[], width=110)
        self.threshold = Select(title="Threshold λ₀", options=[], width=110)
        self.cells = ColumnDataSource({name: [] for name in (*_NUMBERS, "x", "y", "text_colour", "text", "name")})
        self.intervals = ColumnDataSource({name: [] for name in ("y", "p", "lower", "upper", "colour", "label")})
        self.map, self.forest = _map(self.cells), _forest(self.intervals)
        charts = row(self.map, self.forest, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})
        controls = row(self.depth, self.threshold, styles={"padding-left": "14px"})
        self.body = column(controls, charts, sizing_mode="stretch_width", visible=False)
        self.root = column(self.head, self.body, self.foot, sizing_mode="stretch_width")
        self.tick()

    def closed(self, context: Any) -> None:
        """Count the page as closed; Bokeh calls it when the session ends."""
        self.viewers.open -= 1

    def tick(self) -> None:
        """Redraw what changed, unless the page must rest."""
        state = self.studies.latest
        if state is None or time.monotonic() < self.resting_until:
            return
        begun = time.thread_time()
        if state is not self.state:
            self._begin(state)
        choice = (str(self.depth.value), str(self.threshold.value))
        version = (state.version, state.estimates_version)
        # The head shows times, which change without a message.
        self.head.text = str(_TEMPLATE.head(state, self._shares(state), self.studies.erred))
        if (version, choice) != (self.drawn_version, self.drawn_choice):
            new_estimates = choice != self.drawn_choice or version[1] != self.drawn_version[1]
            self._draw(state, new_estimates)
            self.drawn_version, self.drawn_choice = version, choice
        spent = time.thread_time() - begun
        self.viewers.spent += spent
        self.viewers.updates += 1
        # Smoothed, so that the page does not rest for long after a single slow update.
        self.cost = spent if not self.cost else 0.7 * self.cost + 0.3 * spent
        self.resting_until = time.monotonic() + _REST * self.cost * max(self.viewers.open, 1)

    def _shares(self, state: StudyState) -> dict[str, float]:
        """Return the shares of the workers' time since the run began."""
        threads = sum(worker.nthreads for worker in self.scheduler.workers.values())
        end = state.updated if state.ended else time.monotonic()
        # Workers may have come or gone since the run began: the time they had is at least the time they were busy.
        available = max(threads * (end - state.started), self.studies.busy, 1e-9)
        computing = min(state.computed, available)
        writing = max(min(self.studies.busy - state.computed, available - computing), 0.0)
        return {
            "computing": computing / available,
            "writing and starting": writing / available,
            "idle": max(1.0 - (computing + writing) / available, 0.0),
        }

    def _begin(self, state: StudyState) -> None:
        """Initialize the map of a study, with one row per (distribution, d) and one column per n."""
        self.state = state
        laws = list(dict.fromkeys(state.distribution))
        rows = sorted({(laws.index(law), int(d)) for law, d in zip(state.distribution, state.d, strict=True)})
        columns = np.unique(state.n)
        place = {key: len(rows) - 1 - i for i, key in enumerate(rows)}
        y = np.array([place[laws.index(law), int(d)] for law, d in zip(state.distribution, state.d, strict=True)])
        x = np.searchsorted(columns, state.n)
        self.order = np.lexsort((state.n, -y))
        self.hues = np.array([colour(laws.index(law)) for law in state.distribution])
        self.map.x_range = Range1d(-0.5, len(columns) - 0.5)
        self.map.y_range = Range1d(-0.5, len(rows) - 0.5)
        every = max(1, -(-len(columns) // _LABELLED_COLUMNS))
        self.map.xaxis.ticker = FixedTicker(ticks=list(range(0, len(columns), every)))
        self.map.xaxis.major_label_overrides = {i: f"{columns[i]}" for i in range(0, len(columns), every)}
        firsts = dict(reversed(rows))
        many = len(rows) > _LABELLED_ROWS
        shown = [key for key in rows if not many or firsts[key[0]] == key[1]]
        self.map.yaxis.ticker = FixedTicker(ticks=[place[key] for key in shown])
        self.map.yaxis.major_label_overrides = {
            place[key]: laws[key[0]] if many else f"{laws[key[0]]}, d = {key[1]}" for key in shown
        }
        self.map.height = int(np.clip(70 + 26 * len(rows), 220, 560))
        self.forest.height = self.map.height
        # Numbers are sent as arrays: ten thousand strings per update would cost more than everything else.
        numbers = {name: np.zeros(len(x)) for name in _NUMBERS}
        strings = {"name": state.cells, "text_colour": ["#1d2733"] * len(x), "text": [""] * len(x)}
        self.cells.data = {"x": x, "y": y, **strings, **numbers}
        for select, values in ((self.depth, state.depths), (self.threshold, state.thresholds)):
            select.options = [f"{value:g}" for value in values]
            if select.value not in select.options:
                select.value = select.options[0]
        self.drawn_version = (-1, -1)
        self.body.visible = True

    def _draw(self, state: StudyState, new_estimates: bool) -> None:
        depth = self.depth.options.index(self.depth.value)
        threshold = self.threshold.options.index(self.threshold.value)
        p, lower, upper = (values[:, depth, threshold] for values in (state.probability, state.lower, state.upper))
        share = np.where(state.closed, 1.0, state.done / np.maximum(state.planned, 1))
        columns: dict[str, Any] = {"share": share, "done": state.done, "planned": state.planned}
        if new_estimates:
            columns |= {"p": p, "lower": lower, "upper": upper}
        if len(share) <= _CELLS_WITH_TEXT:
            columns["text_colour"] = np.where(share > 0.55, "#ffffff", "#1d2733").tolist()
            columns["text"] = [_short(value) for value in p]
        self.cells.data.update({name: np.array(values) for name, values in columns.items()})
        if new_estimates:
            self._draw_intervals(state, p, lower, upper)
            self.foot.text = str(_TEMPLATE.foot(state.verdicts))

    def _draw_intervals(self, state: StudyState, p: Any, lower: Any, upper: Any) -> None:
        known = self.order[~np.isnan(upper[self.order])]
        many = len(known) > _INTERVALS
        if many:
            widest = np.argsort(-(upper - lower)[known], kind="stable")[:_INTERVALS]
            known = known[np.sort(widest)]
        y = np.arange(len(known))[::-1]
        self.intervals.data = {
            "y": y, "p": p[known], "lower": lower[known], "upper": upper[known], "colour": self.hues[known],
            "label": [f"{state.cells[i]}: {p[i]:.4f}, between {lower[i]:.4f} and {upper[i]:.4f}" for i in known],
        }  # fmt: skip
        self.forest.y_range = Range1d(-0.8, max(len(known), 1) - 0.2)
        which = f"{_INTERVALS} widest" if many else "in the map's order"
        self.forest.title.text = f"Confidence sequences of P(λₘᵢₙ ≥ λ₀), {which}"


def _map(cells: Any) -> Any:
    plot = figure(
        title="Cells: share of trials done, and P(λₘᵢₙ ≥ λ₀)", tools="", toolbar_location=None,
        sizing_mode="stretch_width", min_width=340, x_axis_label="n",
    )  # fmt: skip
    mapper = linear_cmap("share", list(SEQUENCE), 0.0, 1.0)
    plot.rect("x", "y", 0.94, 0.9, source=cells, fill_color=mapper, line_color=None, name="cells")
    plot.text(
        "x", "y", text="text", source=cells, text_color="text_colour", text_align="center",
        text_baseline="middle", text_font_size="11px",
    )  # fmt: skip
    bar = ColorBar(color_mapper=mapper["transform"], width=8, label_standoff=6, padding=4, major_tick_line_color=None)
    plot.add_layout(bar, "right")
    plot.add_tools(HoverTool(tooltips=_TOOLTIPS, renderers=[plot.renderers[0]]))
    return _without_frame(plot)


def _forest(intervals: Any) -> Any:
    plot = figure(
        title="Confidence sequences of P(λₘᵢₙ ≥ λ₀)", tools="", toolbar_location=None,
        sizing_mode="stretch_width", min_width=340, x_range=(-0.02, 1.02), x_axis_label="probability",
    )  # fmt: skip
    plot.segment("lower", "y", "upper", "y", source=intervals, line_color="colour", line_width=2, line_alpha=0.75)
    marks = plot.scatter("p", "y", size=5, source=intervals, fill_color="colour", line_color=None)
    plot.add_tools(HoverTool(tooltips="@label", renderers=[marks]))
    plot.yaxis.visible = False
    plot.ygrid.visible = False
    return _without_frame(plot)


def _without_frame(plot: Any) -> Any:
    plot.xgrid.grid_line_color = "#e6e9ed"
    plot.outline_line_color = None
    plot.axis.axis_line_color = plot.axis.major_tick_line_color = "#b6bec9"
    plot.axis.minor_tick_line_color = None
    plot.axis.axis_label_text_font_style = "normal"
    plot.title.text_font_style, plot.title.text_color = "normal", "#1d2733"
    return plot


def _short(value: float) -> str:
    return "" if np.isnan(value) else "1" if value == 1.0 else f"{value:.3f}".lstrip("0") if value else "0"
