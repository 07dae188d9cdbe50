"""Figures, HTML page and files of the report."""

from __future__ import annotations

import shlex
import statistics
from pathlib import Path
from typing import Final

import yaml

from ntkmc.errors import InputError
from ntkmc.views.cells import Grid
from ntkmc.views.frames import estimates_frame, overall_frame
from ntkmc.views.plots import base, learning, spectra
from ntkmc.views.plots.base import Plot
from ntkmc.views.plots.style import journal_style
from ntkmc.views.report import sections
from ntkmc.views.report.markup import render
from ntkmc.views.summary import describe_results, describe_run, totals

_TABLES: Final = {"widths": "convergence", "features": "sketch_accuracy", "targets": "prediction"}
"""Groups of the store that have a table of their own in `ntkmc show`."""


def report_plots(grid: Grid) -> list[Plot]:
    """Return the report's figures, in their order; those without data are left out."""
    # The d with the most cells has the longest curves of n; of several such d the middle one is typical.
    modes = sorted(statistics.multimode(place.d for place in grid.places))
    thresholds = grid.thresholds
    plots = [
        base.survival_plot(grid, [place for place in grid.places if place.d == modes[len(modes) // 2]]),
        base.surface_plot(grid, thresholds[len(thresholds) // 2]),
        base.scaling_plot(grid),
        spectra.depth_plot(grid),
        spectra.laws_plot(grid),
        spectra.coherence_plot(grid),
        learning.widths_plot(grid),
        learning.sketches_plot(grid),
        learning.training_plot(grid),
        learning.bound_plot(grid),
        base.tightness_plot(grid),
        base.constants_plot(grid),
    ]
    return [plot for plot in plots if plot is not None]


def report_html(grid: Grid, store: str, plots: list[Plot] | None = None) -> str:
    """Return the report as one HTML document that needs no other file and no network.

    Parameters
    ----------
    grid : Grid
    store : str
        Name of the store in the commands that the report shows.
    plots : list of Plot, optional
        Its figures, if they were drawn already.
    """
    study = grid.study
    overall = overall_frame(grid.tree)
    plots = report_plots(grid) if plots is None else plots
    # The event in LaTeX: its thresholds are those of all studies of the store.
    values = r",\ ".join(f"{value:g}" for value in grid.thresholds)
    probability = r"\mathbb{P}(\lambda_{\min} \ge \lambda_0)"
    return render(
        "report.html.j2",
        study=study,
        store=shlex.quote(store),
        cell=shlex.quote(grid.places[0].cell),
        plots=plots,
        names=[plot.name for plot in plots],
        run=describe_run(grid),
        results=describe_results(grid),
        event=rf"{probability} \ge 1 - {study.event.delta:g}, \quad \lambda_0 = {values}",
        estimates=sections.estimates_table(estimates_frame(grid.tree)),
        exponents=sections.exponent_rows(grid),
        tables=[name for name, group in _TABLES.items() if group in grid.tree],
        verdicts=sections.verdict_rows(overall),
        printed=sections.printed_rows(overall),
        claims=sections.statements(overall),
        document=yaml.safe_dump(
            grid.attributes["study"], sort_keys=False, allow_unicode=True, default_flow_style=None
        ),
        earlier=len(grid.attributes["history"]) - 1,
        provenance=sections.provenance_items(grid),
        totals=totals(grid),
        date=str(grid.attributes["provenance"].get("time", ""))[:10],
    )


def write_report(grid: Grid, store: str, path: Path, figures: Path | None = None) -> list[Path]:
    """Write the report and, with `figures`, each of its figures as PDF, PNG and CSV into that folder.

    Returns
    -------
    list of Path
        The files that were written.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    plots = report_plots(grid)
    content = report_html(grid, store, plots)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    return [path, *(save_plots(plots, figures) if figures is not None else [])]


def save_plots(plots: list[Plot], folder: Path) -> list[Path]:
    """Write figures as PDF and PNG (600 dots per inch), and their data as CSV."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for plot in plots:
            for ending in (".pdf", ".png"):
                target = folder / f"{plot.name}{ending}"
                # Journals ask for 600 dots per inch in line art.
                with journal_style():
                    plot.figure.savefig(target, dpi=600, metadata={"Title": plot.name})
                written.append(target)
            plot.data.to_csv(folder / f"{plot.name}.csv", index=False)
            written.append(folder / f"{plot.name}.csv")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    return written
