"""The Study page: a Bokeh document among the tabs of the Dask dashboard.

All numbers are those of `StudyState`. A page redraws what changed and then rests two hundred times as long as that
took, so that all pages together cost at most half a percent of the scheduler's core, however large a study is.
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

from ntkmc.execution.progress.study_page import markup
from ntkmc.execution.progress.study_page.state import Studies, StudyState
from ntkmc.palette import SEQUENCE, colour

_TICK: Final = 500  # milliseconds between looks whether there is something to draw
_REST: Final = 200.0
_LABELLED: Final = 60  # rows up to which each has a label of its own
_COLUMNS: Final = 20  # labels of columns
_WRITTEN: Final = 160  # cells up to which estimates are written into the map
_INTERVALS: Final = 200  # cells whose intervals are drawn: the widest ones

_NUMBERS: Final = ("share", "done", "planned", "p", "lower", "upper")
_TOLD: Final = [
    ("cell", "@name"),
    ("trials", "@done{0,0} of @planned{0,0}"),
    ("P(λₘᵢₙ ≥ λ₀)", "@p{0.0000}"),
    ("between", "@lower{0.0000} and @upper{0.0000}"),
]


class Viewers:
    """The open pages, and what drawing them has cost.

    Attributes
    ----------
    spent : float
        Seconds of the scheduler's core, since the start.
    """

    def __init__(self) -> None:
        self.open = 0
        self.spent = 0.0
        self.updates = 0


def add_page(scheduler: Any, studies: Studies, prefix: str, loop: Any) -> Viewers:
    """Add the page to a dashboard that is being served already, and to the tabs of its other pages."""
    viewers = Viewers()
    variables = dashboard.template_variables(scheduler)  # one and the same object for all pages of a scheduler
    if "study" not in variables["pages"]:
        variables["pages"].insert(0, "study")

    def document(scheduler: Any, extra: dict[str, Any], doc: Document) -> None:
        doc.title = "Study"
        doc.template = env.get_template("simple.html")
        doc.template_variables.update(extra)
        page = _Page(studies, scheduler, viewers, doc)
        doc.add_root(page.root)
        doc.add_periodic_callback(page.tick, _TICK)
        doc.on_session_destroyed(page.closed)

    pages = {"/study": document, "/individual-study": document}
    application = BokehApplication(pages, scheduler, prefix=prefix, template_variables=variables)
    scheduler.http_application.add_application(application)
    application.initialize(loop)
    application.start()
    return viewers


class _Page:
    """One viewer's page."""

    def __init__(self, studies: Studies, scheduler: Any, viewers: Viewers, doc: Document) -> None:
        self.studies, self.scheduler, self.viewers, self.doc = studies, scheduler, viewers, doc
        viewers.open += 1
        self.state: StudyState | None = None
        self.seen = (-1, -1)
        self.choice = ("", "")
        self.rested = 0.0
        self.cost = 0.0
        self.order = np.empty(0, dtype=int)
        self.head = Div(text=markup.nothing(), sizing_mode="stretch_width")
        self.foot = Div(text="", sizing_mode="stretch_width")
        self.depth = Select(title="Depth L", options=[], width=110)
        self.threshold = Select(title="Threshold λ₀", options=[], width=110)
        self.cells = ColumnDataSource({name: [] for name in (*_NUMBERS, "x", "y", "ink", "written", "name")})
        self.intervals = ColumnDataSource({name: [] for name in ("y", "p", "lower", "upper", "colour", "told")})
        self.map, self.ranges = self._map(), self._intervals()
        charts = row(self.map, self.ranges, sizing_mode="stretch_width", styles={"flex-wrap": "wrap"})
        controls = row(self.depth, self.threshold, styles={"padding-left": "14px"})
        self.body = column(controls, charts, sizing_mode="stretch_width", visible=False)
        self.root = column(self.head, self.body, self.foot, sizing_mode="stretch_width")
        self.tick()

    def closed(self, context: Any) -> None:
        """The viewer went away."""
        self.viewers.open -= 1

    def tick(self) -> None:
        """Redraw what changed, unless the page must rest."""
        state = self.studies.latest
        if state is None or time.monotonic() < self.rested:
            return
        begun = time.thread_time()
        if state is not self.state:
            self._begin(state)
        choice = (str(self.depth.value), str(self.threshold.value))
        version = (state.version, state.estimated)
        self.head.text = markup.head(state, self._shares(state), self.studies.erred)
        if choice != self.choice or version != self.seen:
            self._draw(state)
            self.seen, self.choice = version, choice
        spent = time.thread_time() - begun
        self.viewers.spent += spent
        self.viewers.updates += 1
        # Smoothed: one slow update must not make a page look dead.
        self.cost = spent if not self.cost else 0.7 * self.cost + 0.3 * spent
        self.rested = time.monotonic() + _REST * self.cost * max(self.viewers.open, 1)

    def _shares(self, state: StudyState) -> dict[str, float]:
        """Shares of the workers' time since the run began: computing; writing, and starting up; idle."""
        threads = sum(worker.nthreads for worker in self.scheduler.workers.values())
        end = state.heard if state.ended else time.monotonic()
        had = max(threads * (end - state.started), self.studies.busy, 1e-9)
        computing = min(state.computed, had)
        writing = max(min(self.studies.busy - state.computed, had - computing), 0.0)
        return {
            "computing": computing / had,
            "writing and starting": writing / had,
            "idle": max(1.0 - (computing + writing) / had, 0.0),
        }

    def _begin(self, state: StudyState) -> None:
        """Lay out a study: one row a (distribution, d), one column an n."""
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
        every = max(1, -(-len(columns) // _COLUMNS))
        self.map.xaxis.ticker = FixedTicker(ticks=list(range(0, len(columns), every)))
        self.map.xaxis.major_label_overrides = {i: f"{columns[i]}" for i in range(0, len(columns), every)}
        firsts = dict(reversed(rows))
        many = len(rows) > _LABELLED
        shown = [key for key in rows if not many or firsts[key[0]] == key[1]]
        self.map.yaxis.ticker = FixedTicker(ticks=[place[key] for key in shown])
        self.map.yaxis.major_label_overrides = {
            place[key]: laws[key[0]] if many else f"{laws[key[0]]}, d = {key[1]}" for key in shown
        }
        self.map.height = int(np.clip(70 + 26 * len(rows), 220, 560))
        self.ranges.height = self.map.height
        # Numbers travel as arrays: ten thousand strings a redraw would cost more than all the rest.
        numbers = {name: np.zeros(len(x)) for name in _NUMBERS}
        words = {"name": state.cells, "ink": ["#1d2733"] * len(x), "written": [""] * len(x)}
        self.cells.data = {"x": x, "y": y, **words, **numbers}
        for select, values in ((self.depth, state.depths), (self.threshold, state.thresholds)):
            select.options = [f"{value:g}" for value in values]
            if select.value not in select.options:
                select.value = select.options[0]
        self.seen = (-1, -1)
        self.body.visible = True

    def _draw(self, state: StudyState) -> None:
        depth = self.depth.options.index(self.depth.value)
        threshold = self.threshold.options.index(self.threshold.value)
        p, lower, upper = (each[:, depth, threshold] for each in (state.probability, state.lower, state.upper))
        share = np.where(state.closed, 1.0, state.done / np.maximum(state.planned, 1))
        estimated = state.estimated != self.seen[1] or self.choice != (
            str(self.depth.value),
            str(self.threshold.value),
        )
        columns: dict[str, Any] = {"share": share, "done": state.done, "planned": state.planned}
        if estimated:
            columns |= {"p": p, "lower": lower, "upper": upper}
        if len(share) <= _WRITTEN:
            columns["ink"] = np.where(share > 0.55, "#ffffff", "#1d2733").tolist()
            columns["written"] = [_short(value) for value in p]
        self.cells.data.update({name: np.array(values) for name, values in columns.items()})
        if estimated:
            self._draw_intervals(state, p, lower, upper)
            self.foot.text = markup.verdicts(state)

    def _draw_intervals(self, state: StudyState, p: Any, lower: Any, upper: Any) -> None:
        known = self.order[~np.isnan(upper[self.order])]
        widest = len(known) > _INTERVALS
        if widest:
            chosen = set(known[np.argsort(-(upper - lower)[known], kind="stable")[:_INTERVALS]].tolist())
            known = np.array([i for i in known.tolist() if i in chosen])
        y = np.arange(len(known))[::-1]
        self.intervals.data = {
            "y": y, "p": p[known], "lower": lower[known], "upper": upper[known], "colour": self.hues[known],
            "told": [f"{state.cells[i]}: {_interval(p[i], lower[i], upper[i])}" for i in known],
        }  # fmt: skip
        self.ranges.y_range = Range1d(-0.8, max(len(known), 1) - 0.2)
        which = f"{_INTERVALS} widest" if widest else "in the map's order"
        self.ranges.title.text = f"Confidence sequences of P(λₘᵢₙ ≥ λ₀), {which}"

    def _map(self) -> Any:
        drawn = figure(
            title="Cells: share of trials done, and P(λₘᵢₙ ≥ λ₀)", tools="", toolbar_location=None,
            sizing_mode="stretch_width", min_width=340, x_axis_label="n",
        )  # fmt: skip
        mapper = linear_cmap("share", list(SEQUENCE), 0.0, 1.0)
        drawn.rect("x", "y", 0.94, 0.9, source=self.cells, fill_color=mapper, line_color=None, name="cells")
        drawn.text(
            "x", "y", text="written", source=self.cells, text_color="ink", text_align="center",
            text_baseline="middle", text_font_size="11px",
        )  # fmt: skip
        bar = ColorBar(
            color_mapper=mapper["transform"], width=8, label_standoff=6, padding=4, major_tick_line_color=None
        )
        drawn.add_layout(bar, "right")
        drawn.add_tools(HoverTool(tooltips=_TOLD, renderers=[drawn.renderers[0]]))
        return _plain(drawn)

    def _intervals(self) -> Any:
        drawn = figure(
            title="Confidence sequences of P(λₘᵢₙ ≥ λ₀)", tools="", toolbar_location=None,
            sizing_mode="stretch_width", min_width=340, x_range=(-0.02, 1.02), x_axis_label="probability",
        )  # fmt: skip
        drawn.segment(
            "lower", "y", "upper", "y", source=self.intervals, line_color="colour", line_width=2, line_alpha=0.75
        )
        marks = drawn.scatter("p", "y", size=5, source=self.intervals, fill_color="colour", line_color=None)
        drawn.add_tools(HoverTool(tooltips="@told", renderers=[marks]))
        drawn.yaxis.visible = False
        drawn.ygrid.visible = False
        return _plain(drawn)


def _plain(drawn: Any) -> Any:
    drawn.xgrid.grid_line_color = "#e6e9ed"
    drawn.outline_line_color = None
    drawn.axis.axis_line_color = drawn.axis.major_tick_line_color = "#b6bec9"
    drawn.axis.minor_tick_line_color = None
    drawn.axis.axis_label_text_font_style = "normal"
    drawn.title.text_font_style, drawn.title.text_color = "normal", "#1d2733"
    return drawn


def _short(value: float) -> str:
    return "" if np.isnan(value) else "1" if value == 1.0 else f"{value:.3f}".lstrip("0") if value else "0"


def _interval(p: float, lower: float, upper: float) -> str:
    return "no estimate yet" if np.isnan(upper) else f"{p:.4f}, between {lower:.4f} and {upper:.4f}"
