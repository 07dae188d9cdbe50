"""The explorer: choose a cell, drag a threshold, open a claim. `ntkmc dashboard STORE` serves it.

A thin app: every number and every downloaded figure comes from `ntkmc.views`.
"""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
from bokeh.models import Span

from explorer_parts import CSS, Parts, image, tells
from ntkmc.errors import NtkmcError
from ntkmc.palette import CATEGORIES
from ntkmc.views.cells import Grid, Place, open_grid
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
from ntkmc.views.frames import claims_frame, estimates_frame, overall_frame, select
from ntkmc.views.plots import base
from ntkmc.views.report.markup import svg
from ntkmc.views.summary import totals

EMPTY = "Nothing is estimated yet. Run the study; this page follows the store while it is being written."
SHARE = '<p class="note">The address of this page holds the selection: copy it to share what you see.</p>'
EVERY = 5.0  # seconds between looks at the store, at least


class Explorer(Parts):
    """One visitor's explorer."""

    def __init__(self, store: str) -> None:
        super().__init__()
        self.store = store
        self.grid = open_grid(store)
        query = {
            key: str(value) for key, value in (pn.state.location.query_params if pn.state.location else {}).items()
        }
        self.at = from_query(self.grid, query)
        self.wanted_claim = query.get("claim", "")
        self.quiet = False
        self.seen = self._signature(self.grid)
        self.looked, self.cost = time.monotonic(), 0.0
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
        """Everything anew, from the grid as it is now."""
        made = totals(self.grid)
        waiting = "" if made.done >= made.planned or self.grid.study.adaptive else f" of {made.planned:,}"
        self.head.object = (
            f"<h1>{self.grid.study.name}</h1><p>{made.done:,}{waiting} draws in {made.cells:,} cells, "
            f"{made.eigenvalues:,} certified eigenvalues · {self.store}</p>"
        )
        frame = overall_frame(self.grid.tree)
        frame = frame[~frame["overall"].isin(["not-applicable", "not-evaluated"])].reset_index(drop=True)
        self.quiet = True
        self.overall.value = frame[
            ["claim", "kind", "overall", "cells", "against", "undecided", "vacuous", "tightness"]
        ]
        self.claim.options = frame["claim"].tolist()
        against = frame[frame["overall"].isin(["violated", "refuted"]) & (frame["kind"] != "event")]["claim"].tolist()
        known = [
            each
            for each in (self.claim.value, self.wanted_claim, *against, *self.claim.options)
            if each in self.claim.options
        ]
        if self.wanted_claim in self.claim.options:
            known.insert(0, self.wanted_claim)
            self.wanted_claim = ""
        self.claim.value = known[0] if known else None
        self.quiet = False
        self.show()
        self._claim_chosen(None)

    def show(self) -> None:
        """The selection, on every tab."""
        self.quiet = True
        for name, widget in (("distribution", self.law), ("d", self.d), ("n", self.n), ("depth", self.depth)):
            widget.options = options(self.grid, self.at)[name]
            widget.value = getattr(self.at, name)
        low, high = slider_range(self.grid, self.at.place)
        self.threshold.param.update(start=low, end=high, value=min(max(self.at.lambda_0, low), high))
        self.quiet = False
        self._draw_curve()
        self._draw_threshold()
        self._draw_scaling()
        self._tell_location()

    def _draw_curve(self) -> None:
        place = self.at.place
        try:
            found = survival(self.grid.prefix(place), self.grid.confidence(place)).thinned(1500)
        except NtkmcError:
            found = None
        if found is None or not len(found.points):
            # One point that is nowhere: a browser hangs on a step area without any.
            nowhere = np.array([np.nan])
            self.curve.data = {"x": nowhere, "p": nowhere, "lower": nowhere, "upper": nowhere}
        else:
            self.curve.data = {"x": found.points, "p": found.probability, "lower": found.lower, "upper": found.upper}
        for line in self.lines:
            self.plot.center.remove(line)
        self.lines = [
            Span(location=value, dimension="height", line_color="#b6bec9", line_dash="dotted")
            for value in self.grid.thresholds
        ]
        for line in self.lines:
            self.plot.add_layout(line)
        theory = overlays(self.grid, place) if self.theory.value else overlays(self.grid, place).iloc[:0]
        hues = {"prediction": CATEGORIES[3], "lower bound": CATEGORIES[2], "upper bound": CATEGORIES[1]}
        self.theories.data = {
            "x": theory["value"], "y": [0.5 if kind == "prediction" else 1.0 for kind in theory["kind"]],
            "name": theory["name"],
            "kind": theory["kind"], "verdict": theory["verdict"], "colour": [hues[kind] for kind in theory["kind"]],
        }  # fmt: skip
        rows = "".join(
            f'<dt><span style="color:{hues[row.kind]}">◆</span> {row.kind}: {row.name}</dt>'
            f"<dd>{row.value:.4g} {row.verdict}</dd>"
            for row in theory.itertuples()
        )
        study = "dotted: the study's thresholds; band: simultaneous DKW; drag the black dot or the slider."
        self.legend.object = f'<p class="note">{study}</p><dl>{rows}</dl>'

    def _draw_threshold(self) -> None:
        self.read.object = readout(self.grid, self.at)
        self.cut.location = self.at.lambda_0
        self.mark.data = {"x": [self.at.lambda_0], "y": [0.0], "text": [f"λ₀ = {self.at.lambda_0:.3f}"]}
        frame = self._surface_frame()
        few = len(frame) <= 200
        self.surface.data = {name: frame[name] for name in ("d", "n", "probability", "lower", "upper", "trials")} | {
            "x": [str(n) for n in frame["n"]],
            "y": [str(d) for d in frame["d"]],
            "ink": ["#ffffff" if p > 0.55 else "#1b2430" for p in frame["probability"]],
            "text": [f"{p:.2f}" if few else "" for p in frame["probability"]],
        }
        self.map.x_range.factors = [str(n) for n in sorted(frame["n"].unique())] or [""]
        self.map.y_range.factors = [str(d) for d in sorted(frame["d"].unique())] or [""]
        said = (
            f"P(λ<sub>min</sub> ≥ {self.at.lambda_0:.3g}) for {self.at.distribution}, L = {self.at.depth}; "
            "click a cell to choose it."
        )
        self.map_note.object = f"<p>{said if len(frame) else EMPTY}</p>"

    def _surface_frame(self) -> pd.DataFrame:
        try:
            return surface_frame(self.grid, self.at.distribution, self.at.depth, self.at.lambda_0)
        except NtkmcError:  # events alone were decided, and not this one
            return surface_frame(self.grid, self.at.distribution, -1, self.at.lambda_0)

    def _tab_opened(self, event: Any) -> None:
        self._draw_scaling()
        self._tell_location()

    def _draw_scaling(self) -> None:
        if self.tabs.active != 2:
            return  # its figures take half a second: drawn when they are looked at
        plot = base.scaling_plot(self.grid, [self.at.distribution], [self.at.depth])
        self.scaling.object = image(plot)
        found = median_exponents(medians_frame(self.grid, self.at.distribution, self.at.depth)) if plot else {}
        rows = "".join(
            f"<dt>exponent in {axis}</dt><dd>{e.value:.3f}, between {e.lower:.3f} and {e.upper:.3f}</dd>"
            for axis, e in found.items()
        )
        self.exponents.object = f"<h3>Median of λ<sub>min</sub></h3><dl>{rows}</dl>" if plot else f"<p>{EMPTY}</p>"
        scaling = self.claim.value and base.constants_plot(self.grid, [self.claim.value])
        none = '<p class="note">Choose a scaling claim on the tab Claims to see its constants here.</p>'
        self.constants.object = image(scaling) if scaling else none

    def _chosen(self, event: Any) -> None:
        if not self.quiet:
            wanted = Selection(self.law.value, self.d.value, self.n.value, self.depth.value, self.at.lambda_0)
            self.at = nearest(self.grid, wanted)
            self.show()

    def _dragged(self, event: Any) -> None:
        if not self.quiet:
            self.at = Selection(self.at.distribution, self.at.d, self.at.n, self.at.depth, float(self.threshold.value))
            self._draw_threshold()
            self._tell_location()

    def _handle_moved(self, attribute: str, old: Any, new: Any) -> None:
        position = float(new["x"][0]) if len(new["x"]) else self.at.lambda_0
        if abs(position - self.at.lambda_0) > 1e-12 and not self.quiet:
            self.threshold.value = min(max(position, self.threshold.start), self.threshold.end)

    def _cell_tapped(self, attribute: str, old: Any, new: Any) -> None:
        if new:
            d, n = (int(self.surface.data[name].iloc[new[0]]) for name in ("d", "n"))
            self.at = nearest(self.grid, Selection(self.at.distribution, d, n, self.at.depth, self.at.lambda_0))
            self.show()

    def _claim_chosen(self, event: Any) -> None:
        if self.quiet:
            return
        if not self.claim.value:
            self.evidence.object = f"<p>{EMPTY}</p>"
            return
        frame = select(claims_frame(self.grid.tree), {"claim": self.claim.value})
        frame = frame[(frame["claim"] == self.claim.value) & (frame["verdict"] != "not-applicable")]
        kept = [name for name in frame.columns if name not in ("claim", "kind") and tells(frame[name])]
        self.cells.value = frame[kept].reset_index(drop=True)
        against = frame.index[frame["verdict"].isin(["violated", "refuted"])]
        self._open(frame.loc[against[0]] if len(against) else frame.iloc[0] if len(frame) else None)
        self._draw_scaling()
        self._tell_location()

    def _claim_clicked(self, event: Any) -> None:
        self.claim.value = str(self.overall.value.iloc[event.row]["claim"])

    def _row_clicked(self, event: Any) -> None:
        self._open(self.cells.value.iloc[event.row])

    def _open(self, row: Any) -> None:
        if row is None:
            self.evidence.object = f"<p>{EMPTY}</p>"
            return
        place = Place(str(row["distribution"]), int(row["d"]), int(row["n"]), int(row["depth"]))
        self.evidence.object = evidence_html(evidence(self.grid, self.store, self.claim.value, place))

    def _tell_location(self) -> None:
        if pn.state.location:
            pn.state.location.update_query(
                distribution=self.at.distribution,
                d=self.at.d,
                n=self.at.n,
                depth=self.at.depth,
                lambda_0=f"{self.at.lambda_0:.6g}",
                tab=self.tabs.active,
                claim=self.claim.value or "",
            )

    def refresh(self) -> None:
        """Follow the store while it is being written; a look rests twenty times as long as it took."""
        if time.monotonic() - self.looked < max(EVERY, 20.0 * self.cost):
            return
        begun = time.monotonic()
        try:
            grid = open_grid(self.store)
            found = self._signature(grid)
            if found != self.seen:
                self.grid, self.seen = grid, found
                self.fill()
        except (NtkmcError, OSError, ValueError):
            pass  # caught in the middle of a write: the next look sees it whole
        self.looked, self.cost = time.monotonic(), time.monotonic() - begun

    @staticmethod
    def _signature(grid: Grid) -> tuple[int, ...]:
        verdicts = grid.tree["claims"]["verdict"].to_numpy()
        return int(grid.estimates["trials_used"].sum()), int(verdicts.astype(int).sum()), verdicts.size

    def _plot(self) -> Any:
        if self.tabs.active == 1:
            return base.surface_plot(self.grid, self.at.lambda_0, laws=[self.at.distribution])
        if self.tabs.active == 2:
            return base.scaling_plot(self.grid, [self.at.distribution], [self.at.depth])
        if self.tabs.active == 3:
            return base.tightness_plot(self.grid)
        return base.survival_plot(self.grid, [self.at.place])

    def picture(self) -> io.BytesIO:
        """The figure of the tab that is open, as SVG."""
        plot = self._plot()
        return io.BytesIO(svg(plot) if plot is not None else b'<svg xmlns="http://www.w3.org/2000/svg"/>')

    def numbers(self) -> io.BytesIO:
        """The numbers of the tab that is open, as CSV."""
        if self.tabs.active == 3:
            frame = claims_frame(self.grid.tree)
        elif self.tabs.active == 0:
            thresholds = sorted({*self.grid.thresholds, self.at.lambda_0})
            here = estimates_frame(self.grid.tree)
            at = self.at
            mine = (
                (here["distribution"] == at.distribution)
                & (here["d"] == at.d)
                & (here["n"] == at.n)
                & (here["depth"] == at.depth)
            )
            known = (
                {}
                if self.grid.decided_only
                else {p.lambda_0: p for p in probabilities_at(self.grid, at.place, thresholds)}
            )
            added = [vars(p) for value, p in known.items() if value not in self.grid.thresholds]
            frame = pd.concat([here[mine], pd.DataFrame(added)], ignore_index=True) if added else here[mine]
        else:
            plot = self._plot()
            frame = plot.data if plot is not None else pd.DataFrame()
        return io.BytesIO(frame.to_csv(index=False).encode())

    def view(self) -> Any:
        """The page."""
        downloads = [
            pn.widgets.FileDownload(
                callback=callback,
                filename=f"{self.grid.study.name}.{ending}",
                label=f"{what} ({ending.upper()})",
                width=220,
            )
            for callback, ending, what in ((self.picture, "svg", "Figure"), (self.numbers, "csv", "Numbers"))
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
    """The explorer of a store, for one visitor."""
    pn.extension("tabulator")
    return Explorer(store).view()
