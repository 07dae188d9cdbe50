"""Widgets, charts and tables of the explorer, without data; `explorer.py` fills them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import ColumnDataSource, HoverTool, LabelSet, PointDrawTool, Span, TapTool
from bokeh.plotting import figure
from bokeh.transform import linear_cmap

from ntkmc.palette import CATEGORIES, SEQUENCE
from ntkmc.views.plots.base import Plot
from ntkmc.views.report.markup import fragment

CSS = """
:host { color: #1b2430; font: 14px/1.5 system-ui, sans-serif; }
h1 { font-size: 20px; line-height: 1.3; margin: 4px 0 0; font-weight: 600; }
h3 { font-size: 16px; margin: 8px 0 2px; overflow-wrap: anywhere; }
h4 { font-size: 14px; margin: 10px 0 2px; }
p { margin: 4px 0; } .note { color: #4a5361; } .big { font-size: 17px; }
dl { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: 2px 16px; margin: 6px 0; }
dt { color: #4a5361; max-width: 30rem; } dd { margin: 0; overflow-wrap: anywhere; font-variant-numeric: tabular-nums; }
pre { background: #f5f7f9; padding: 6px 10px; white-space: pre-wrap; overflow-wrap: anywhere; margin: 4px 0; }
.formula { overflow-x: auto; padding: 4px 0; } math { font-size: 18px; } img { max-width: 100%; }
"""


class Parts:
    """Widgets and the four tabs."""

    def __init__(self) -> None:
        self.head = pn.pane.HTML("", stylesheets=[CSS], sizing_mode="stretch_width")
        self.law = pn.widgets.Select(name="Distribution", width=220)
        self.d = pn.widgets.Select(name="Dimension d", width=220)
        self.n = pn.widgets.Select(name="Rows n", width=220)
        self.depth = pn.widgets.Select(name="Depth L", width=220)
        self.threshold = pn.widgets.EditableFloatSlider(name="Threshold λ₀", width=220, step=0.001, format="0.000")
        self.theory = pn.widgets.Checkbox(name="Predictions and bounds", value=True)
        self.tabs = pn.Tabs(dynamic=False, sizing_mode="stretch_width")
        self.read = pn.pane.HTML("", stylesheets=[CSS], width=400)
        self._curve_tab()
        self._surface_tab()
        self._scaling_tab()
        self._claims_tab()

    def _curve_tab(self) -> None:
        self.curve = ColumnDataSource({name: np.array([np.nan]) for name in ("x", "p", "lower", "upper")})
        self.mark = ColumnDataSource({"x": [0.0], "y": [0.0]})
        self.theories = ColumnDataSource({"x": [], "y": [], "name": [], "kind": [], "verdict": [], "colour": []})
        chart = figure_of("λ₀", "P(λₘᵢₙ ≥ λ₀)", height=430, y_range=(-0.04, 1.04))
        chart.varea_step(
            "x", "lower", "upper", source=self.curve, fill_color=CATEGORIES[0], fill_alpha=0.18, step_mode="before"
        )
        chart.step("x", "p", source=self.curve, mode="before", line_color=CATEGORIES[0], line_width=2)
        self.lines: list[Span] = []
        rules = chart.segment(
            "x", 0.0, "x", 1.0, source=self.theories, line_color="colour", line_dash="dashed", line_width=1.4
        )
        chart.scatter("x", "y", source=self.theories, marker="diamond", size=8, color="colour")
        self.cut = Span(location=0.0, dimension="height", line_color="#1b2430", line_width=1.2)
        chart.add_layout(self.cut)
        handle = chart.scatter(
            "x", "y", source=self.mark, size=14, fill_color="#1b2430", line_color="white", line_width=2
        )
        chart.add_layout(LabelSet(
            x="x", y="y", text="text", source=self.mark, x_offset=10, y_offset=8, text_font_size="13px",
            background_fill_color="white", background_fill_alpha=0.85,
        ))  # fmt: skip
        # The dot on the axis is the threshold: dragging it is the same as moving the slider.
        drag = PointDrawTool(renderers=[handle], add=False, drag=True)
        chart.add_tools(
            drag,
            HoverTool(renderers=[rules], tooltips=[("", "@kind: @name"), ("value", "@x"), ("verdict", "@verdict")]),
        )
        chart.toolbar.active_tap = drag
        self.plot = chart
        self.legend = pn.pane.HTML("", stylesheets=[CSS], sizing_mode="stretch_width")
        self.tabs.append(("Distribution of λₘᵢₙ", pn.Row(
            pn.Column(pn.pane.Bokeh(chart, sizing_mode="stretch_width"), self.legend, sizing_mode="stretch_width"),
            self.read, sizing_mode="stretch_width",
        )))  # fmt: skip

    def _surface_tab(self) -> None:
        self.surface = ColumnDataSource(
            {name: [] for name in ("x", "y", "d", "n", "probability", "lower", "upper", "trials", "ink", "text")}
        )
        chart = figure_of("n", "d", height=460, x_range=[""], y_range=[""])
        mapper = linear_cmap("probability", list(SEQUENCE), 0.0, 1.0, nan_color="#ffffff")
        cells = chart.rect("x", "y", 0.96, 0.94, source=self.surface, fill_color=mapper, line_color=None)
        chart.text(
            "x",
            "y",
            text="text",
            source=self.surface,
            text_color="ink",
            text_align="center",
            text_baseline="middle",
            text_font_size="12px",
        )
        tooltips = [
            ("cell", "d = @d, n = @n"),
            ("P(λₘᵢₙ ≥ λ₀)", "@probability{0.0000}"),
            ("between", "@lower{0.0000} and @upper{0.0000}"),
            ("trials", "@trials"),
        ]
        chart.add_tools(HoverTool(renderers=[cells], tooltips=tooltips), TapTool(renderers=[cells]))
        chart.add_layout(cells.construct_color_bar(width=10), "right")
        self.map = chart
        self.map_note = pn.pane.HTML("", stylesheets=[CSS], sizing_mode="stretch_width")
        self.tabs.append(
            (
                "Over (n, d)",
                pn.Column(
                    self.map_note, pn.pane.Bokeh(chart, sizing_mode="stretch_width"), sizing_mode="stretch_width"
                ),
            )
        )

    def _scaling_tab(self) -> None:
        self.scaling = pn.pane.HTML("", stylesheets=[CSS], width=620)
        self.exponents = pn.pane.HTML("", stylesheets=[CSS], width=400)
        self.constants = pn.pane.HTML("", stylesheets=[CSS], width=620)
        self.tabs.append(("Scaling", pn.Column(pn.Row(self.scaling, self.exponents), self.constants)))

    def _claims_tab(self) -> None:
        names = ["claim", "kind", "overall", "cells", "against", "undecided", "vacuous", "tightness"]
        self.claim = pn.widgets.Select(name="Claim", width=420)
        filters = filters_of("claim", "kind", "overall")
        # Filtering and paging are done by the browser: the tables have at most some thousand rows.
        common: dict[str, Any] = {
            "show_index": False,
            "disabled": True,
            "selectable": 1,
            "pagination": "local",
            "layout": "fit_data_stretch",
        }
        self.overall = pn.widgets.Tabulator(
            pd.DataFrame(columns=names), page_size=12, header_filters=filters, sizing_mode="stretch_width", **common
        )
        self.cells = pn.widgets.Tabulator(
            pd.DataFrame(columns=["distribution", "d", "n", "depth", "verdict"]), page_size=10,
            sizing_mode="stretch_width", **common,
            header_filters=filters_of("distribution", "verdict"),
        )  # fmt: skip
        self.evidence = pn.pane.HTML("", stylesheets=[CSS], sizing_mode="stretch_width")
        self.tabs.append(("Claims", pn.Column(
            self.overall, self.claim, self.cells, self.evidence, sizing_mode="stretch_width",
        )))  # fmt: skip


def filters_of(*names: str) -> dict[str, Any]:
    """Return header filters for these columns."""
    return {name: {"type": "input", "func": "like", "placeholder": "filter"} for name in names}


def is_informative(column: Any) -> bool:
    """Whether a column holds anything other than fill values."""
    return bool((column.notna() & ~column.isin([0, -1])).any())


def image(plot: Plot | None) -> str:
    """Return a figure as a self-contained HTML image; empty without a figure."""
    # Figures are made for print, at 8 points: on a screen they are half as large again.
    return "" if plot is None else fragment("image", plot=plot, width=round(1.45 * plot.pixels[0]))


def figure_of(x: str, y: str, **more: Any) -> Any:
    """Return an empty chart in the common style."""
    chart = figure(
        x_axis_label=x, y_axis_label=y, tools="", toolbar_location=None, sizing_mode="stretch_width", **more
    )
    chart.grid.grid_line_color = "#edf0f3"
    chart.outline_line_color = None
    chart.axis.axis_line_color = chart.axis.major_tick_line_color = "#b6bec9"
    chart.axis.minor_tick_line_color = None
    chart.axis.axis_label_text_font_style = "normal"
    chart.axis.axis_label_text_font_size = chart.axis.major_label_text_font_size = "13px"
    return chart
