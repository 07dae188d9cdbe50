"""The explorer: choose a cell, drag a threshold, open a claim. `ntkmc dashboard STORE` serves it.

Every number and every downloaded figure comes from `ntkmc.views`; this app only shows them.
"""

from __future__ import annotations

import dataclasses
import io
import time
from typing import Any, Final

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import Span

from explorer_parts import CSS, Parts, image, is_informative
from ntkmc.errors import NtkmcError
from ntkmc.palette import CATEGORIES
from ntkmc.views.cells import CellDepth, Grid, open_grid
from ntkmc.views.curves import median_exponents, medians_frame, probabilities_at, surface_frame, survival
from ntkmc.views.evidence import evidence
from ntkmc.views.explorer_data import (
    Selection,
    evidence_html,
    from_query,
    nearest,
    options,
    overlays,
    readout,
    slider_range,
)
from ntkmc.views.frames import claims_frame, estimates_frame, overall_frame, select, tried, where
from ntkmc.views.plots import base
from ntkmc.views.report.markup import fragment, svg
from ntkmc.views.summary import totals

EMPTY: Final = "Nothing is estimated yet. Run the study; this page follows the store while it is being written."
NO_CONSTANTS: Final = "Choose a scaling claim on the tab Claims to see its constants here."
SHARE: Final = '<p class="note">The address of this page holds the selection: copy it to share this view.</p>'

INTERVAL: Final = 5.0
"""Smallest time between reads of the store, seconds."""

REST: Final = 20.0
"""A read is followed by a pause of this many times its duration, so that visitors take at most 5 % of a processor."""

HUES: Final = {"prediction": CATEGORIES[3], "lower bound": CATEGORIES[2], "upper bound": CATEGORIES[1]}
"""Colours of theoretical values; the first category is the measured curve."""


class Explorer(Parts):
    """The explorer of one visitor."""

    def __init__(self, store: str) -> None:
        super().__init__()
        self.store = store
        self.grid = open_grid(store)
        location = pn.state.location
        query = {key: str(value) for key, value in (location.query_params if location else {}).items()}
        self.selection = from_query(self.grid, query)
        self.linked_claim = query.get("claim", "")
        # True while the app itself sets widgets, whose handlers then do nothing.
        self.updating = False
        self.signature = self._signature(self.grid)
        self.read_at, self.read_seconds = time.monotonic(), 0.0
        for widget in (self.law, self.d, self.n, self.depth, self.theory):
            widget.param.watch(self._chosen, "value")
        self.threshold.param.watch(self._dragged, "value")
        self.claim.param.watch(self._claim_chosen, "value")
        self.mark.on_change("data", self._handle_moved)
        self.surface.selected.on_change("indices", self._cell_tapped)
        self.overall.on_click(self._claim_clicked)
        self.cells.on_click(self._row_clicked)
        self.fill()
        if query.get("tab", "").isdigit():
            self.tabs.active = min(int(query["tab"]), len(self.tabs) - 1)
            self._draw_scaling()
        self.tabs.param.watch(self._tab_opened, "active")
        if pn.state.curdoc:
            pn.state.add_periodic_callback(self.refresh, 1000)

    def fill(self) -> None:
        """Fill everything from the current grid."""
        counts = totals(self.grid)
        missing = counts.done < counts.planned and not self.grid.study.adaptive
        self.head.object = fragment("heading", study=self.grid.study, store=self.store, totals=counts, missing=missing)
        frame = tried(overall_frame(self.grid.tree)).reset_index(drop=True)
        self.updating = True
        self.overall.value = frame[
            ["claim", "kind", "overall", "cells", "against", "undecided", "vacuous", "tightness"]
        ]
        claims = self.claim.options = frame["claim"].tolist()
        against = frame[frame["overall"].isin(["violated", "refuted"]) & (frame["kind"] != "event")]["claim"].tolist()
        # A claim in the link comes first, but only once; then the one that is open; then a refuted one.
        candidates = [self.linked_claim, self.claim.value, *against, *claims]
        if self.linked_claim in claims:
            self.linked_claim = ""
        self.claim.value = next((claim for claim in candidates if claim in claims), None)
        self.updating = False
        self.show()
        self._claim_chosen(None)

    def show(self) -> None:
        """Show the selection on every tab."""
        self.updating = True
        for name, widget in (("distribution", self.law), ("d", self.d), ("n", self.n), ("depth", self.depth)):
            widget.options = options(self.grid, self.selection)[name]
            widget.value = getattr(self.selection, name)
        low, high = slider_range(self.grid, self.selection.place)
        self.threshold.param.update(start=low, end=high, value=min(max(self.selection.lambda_0, low), high))
        self.updating = False
        self._draw_curve()
        self._draw_threshold()
        self._draw_scaling()
        self._update_location()

    def _draw_curve(self) -> None:
        place = self.selection.place
        try:
            # More steps than a screen has pixels cannot be seen.
            curve = survival(self.grid.prefix(place), self.grid.confidence(place)).thinned(1500)
        except NtkmcError:
            curve = None
        if curve is None or not len(curve.points):
            # One point with coordinates NaN: a browser hangs on a step area without points.
            self.curve.data = {name: np.array([np.nan]) for name in ("x", "p", "lower", "upper")}
        else:
            self.curve.data = {"x": curve.points, "p": curve.probability, "lower": curve.lower, "upper": curve.upper}
        # Thresholds may differ after a refresh: their lines are replaced.
        for line in self.lines:
            self.plot.center.remove(line)
        self.lines = [
            Span(location=value, dimension="height", line_color="#b6bec9", line_dash="dotted")
            for value in self.grid.thresholds
        ]
        for line in self.lines:
            self.plot.add_layout(line)
        theory = overlays(self.grid, place) if self.theory.value else overlays(self.grid, place).iloc[:0]
        self.theories.data = {name: theory[name] for name in ("name", "kind", "verdict")} | {
            "x": theory["value"],
            "y": [0.5 if kind == "prediction" else 1.0 for kind in theory["kind"]],
            "colour": theory["kind"].map(HUES),
        }
        self.legend.object = fragment("legend", rows=theory.to_dict("records"), colours=HUES)

    def _draw_threshold(self) -> None:
        at = self.selection
        self.read.object = readout(self.grid, at)
        self.cut.location = at.lambda_0
        self.mark.data = {"x": [at.lambda_0], "y": [0.0], "text": [f"λ₀ = {at.lambda_0:.3f}"]}
        frame = self._surface_frame()
        # Numbers fit into the cells of the map only if there are few.
        labelled = len(frame) <= 200
        self.surface.data = {name: frame[name] for name in ("d", "n", "probability", "lower", "upper", "trials")} | {
            "x": [str(n) for n in frame["n"]],
            "y": [str(d) for d in frame["d"]],
            "ink": ["#ffffff" if p > 0.55 else "#1b2430" for p in frame["probability"]],
            "text": [f"{p:.2f}" if labelled else "" for p in frame["probability"]],
        }
        self.map.x_range.factors = [str(n) for n in sorted(frame["n"].unique())] or [""]
        self.map.y_range.factors = [str(d) for d in sorted(frame["d"].unique())] or [""]
        title = f"P(λ_min ≥ {at.lambda_0:.3g}) for {at.distribution}, L = {at.depth}; click a cell to choose it."
        self.map_note.object = fragment("note", words=title if len(frame) else EMPTY)

    def _surface_frame(self) -> pd.DataFrame:
        at = self.selection
        try:
            return surface_frame(self.grid, at.distribution, at.depth, at.lambda_0)
        except NtkmcError:  # events alone were decided, at other thresholds
            return surface_frame(self.grid, at.distribution, -1, at.lambda_0)

    def _tab_opened(self, event: Any) -> None:
        self._draw_scaling()
        self._update_location()

    def _draw_scaling(self) -> None:
        # Its figures take half a second: they are drawn only while the tab is open.
        if self.tabs.active != 2:
            return
        at = self.selection
        plot = base.scaling_plot(self.grid, [at.distribution], [at.depth])
        self.scaling.object = image(plot)
        self.exponents.object = (
            fragment("exponents", fits=median_exponents(medians_frame(self.grid, at.distribution, at.depth)))
            if plot
            else fragment("note", words=EMPTY)
        )
        constants = base.constants_plot(self.grid, [self.claim.value]) if self.claim.value else None
        self.constants.object = image(constants) if constants else fragment("note", words=NO_CONSTANTS)

    def _chosen(self, event: Any) -> None:
        if not self.updating:
            selection = Selection(
                self.law.value, self.d.value, self.n.value, self.depth.value, self.selection.lambda_0
            )
            self.selection = nearest(self.grid, selection)
            self.show()

    def _dragged(self, event: Any) -> None:
        if not self.updating:
            self.selection = dataclasses.replace(self.selection, lambda_0=float(self.threshold.value))
            self._draw_threshold()
            self._update_location()

    def _handle_moved(self, attribute: str, old: Any, new: Any) -> None:
        position = float(new["x"][0]) if len(new["x"]) else self.selection.lambda_0
        if abs(position - self.selection.lambda_0) > 1e-12 and not self.updating:
            self.threshold.value = min(max(position, self.threshold.start), self.threshold.end)

    def _cell_tapped(self, attribute: str, old: Any, new: Any) -> None:
        if new:
            d, n = (int(self.surface.data[name].iloc[new[0]]) for name in ("d", "n"))
            self.selection = nearest(self.grid, dataclasses.replace(self.selection, d=d, n=n))
            self.show()

    def _claim_chosen(self, event: Any) -> None:
        if self.updating:
            return
        if not self.claim.value:
            self._open(None)
            return
        frame = select(claims_frame(self.grid.tree), {"claim": self.claim.value})
        frame = frame[(frame["claim"] == self.claim.value) & (frame["verdict"] != "not-applicable")]
        kept = [name for name in frame.columns if name not in ("claim", "kind") and is_informative(frame[name])]
        self.cells.value = frame[kept].reset_index(drop=True)
        # A violated cell is opened first, if there is one.
        against = frame.index[frame["verdict"].isin(["violated", "refuted"])]
        self._open(frame.loc[against[0]] if len(against) else frame.iloc[0] if len(frame) else None)
        self._draw_scaling()
        self._update_location()

    def _claim_clicked(self, event: Any) -> None:
        self.claim.value = str(self.overall.value.iloc[event.row]["claim"])

    def _row_clicked(self, event: Any) -> None:
        self._open(self.cells.value.iloc[event.row])

    def _open(self, row: Any) -> None:
        """Show the evidence for a row of the table of verdicts."""
        if row is None:
            self.evidence.object = fragment("note", words=EMPTY)
            return
        place = CellDepth(str(row["distribution"]), int(row["d"]), int(row["n"]), int(row["depth"]))
        self.evidence.object = evidence_html(evidence(self.grid, self.store, self.claim.value, place))

    def _update_location(self) -> None:
        if pn.state.location:
            pn.state.location.update_query(
                **self.selection.place.labels,
                lambda_0=f"{self.selection.lambda_0:.6g}",
                tab=self.tabs.active,
                claim=self.claim.value or "",
            )

    def refresh(self) -> None:
        """Read the store again if it is time to, and fill everything if it has changed."""
        if time.monotonic() - self.read_at < max(INTERVAL, REST * self.read_seconds):
            return
        begun = time.monotonic()
        try:
            grid = open_grid(self.store)
            signature = self._signature(grid)
            if signature != self.signature:
                self.grid, self.signature = grid, signature
                self.fill()
        except (NtkmcError, OSError, ValueError):
            pass  # read during a write: the next read succeeds
        self.read_at, self.read_seconds = time.monotonic(), time.monotonic() - begun

    @staticmethod
    def _signature(grid: Grid) -> tuple[int, ...]:
        """Return numbers that change whenever the estimates or verdicts do."""
        verdicts = grid.tree["claims"]["verdict"].to_numpy()
        return int(grid.estimates["trials_used"].sum()), int(verdicts.astype(int).sum()), verdicts.size

    def _plot(self) -> base.Plot | None:
        at = self.selection
        if self.tabs.active == 1:
            return base.surface_plot(self.grid, at.lambda_0, laws=[at.distribution])
        if self.tabs.active == 2:
            return base.scaling_plot(self.grid, [at.distribution], [at.depth])
        if self.tabs.active == 3:
            return base.tightness_plot(self.grid)
        return base.survival_plot(self.grid, [at.place])

    def picture(self) -> io.BytesIO:
        """Return the figure of the open tab as SVG."""
        plot = self._plot()
        return io.BytesIO(svg(plot) if plot is not None else b'<svg xmlns="http://www.w3.org/2000/svg"/>')

    def numbers(self) -> io.BytesIO:
        """Return the numbers of the open tab as CSV."""
        if self.tabs.active == 3:
            frame = claims_frame(self.grid.tree)
        elif self.tabs.active == 0:
            frame = self._estimates()
        else:
            plot = self._plot()
            frame = plot.data if plot is not None else pd.DataFrame()
        return io.BytesIO(frame.to_csv(index=False).encode())

    def _estimates(self) -> pd.DataFrame:
        """Return the estimates at the selected place, with one at a threshold that the store does not have."""
        place, threshold = self.selection.place, self.selection.lambda_0
        frame = where(estimates_frame(self.grid.tree), **place.labels)
        if self.grid.decided_only or threshold in self.grid.thresholds:
            return frame
        added = pd.DataFrame([vars(estimate) for estimate in probabilities_at(self.grid, place, [threshold])])
        return pd.concat([frame, added], ignore_index=True) if len(added) else frame

    def view(self) -> Any:
        """Return the page."""
        downloads = [
            pn.widgets.FileDownload(
                callback=callback,
                filename=f"{self.grid.study.name}.{ending}",
                label=f"{content} ({ending.upper()})",
                width=220,
            )
            for callback, ending, content in ((self.picture, "svg", "Figure"), (self.numbers, "csv", "Numbers"))
        ]
        side = pn.Column(
            self.law, self.d, self.n, self.depth, self.threshold, self.theory, pn.Spacer(height=8), *downloads,
            pn.pane.HTML(SHARE, stylesheets=[CSS], width=220),
            width=250, styles={"border-right": "1px solid #d5dae1", "padding-right": "12px"},
        )  # fmt: skip
        return pn.Column(
            self.head,
            pn.Row(side, self.tabs, sizing_mode="stretch_width"),
            sizing_mode="stretch_width",
            margin=(6, 18),
        )


def app(store: str) -> Any:
    """Return the explorer of a store, for one visitor."""
    pn.extension("tabulator")
    return Explorer(store).view()
