"""The report as a whole."""

from __future__ import annotations

import html
import shlex
from pathlib import Path
from typing import Final

import yaml

from ntkmc.errors import InputError
from ntkmc.views.cells import Grid
from ntkmc.views.frames import estimates_frame
from ntkmc.views.plots import base, learning, spectra
from ntkmc.views.plots.style import journal
from ntkmc.views.report import sections
from ntkmc.views.report.markup import figure, formula, text
from ntkmc.views.report.style import CSS
from ntkmc.views.summary import totals, what_was_found, what_was_run

_METHODS: Final = (
    "Every λ_min carries an enclosure [lower, upper] that is proved, rounding included. A trial whose "
    "enclosure holds λ_0, or "
    "that failed, counts as 0 for the lower and as 1 for the upper end of the interval.",
    "Estimates rest on the longest unbroken run of finished trials, at lengths that the study fixes in "
    "advance: blocks "
    "that happen to finish early would be a biased sample. Intervals are confidence sequences, valid at any time of "
    "looking.",
    "Inequalities are tried in every trial. Probability bounds are tried by an e-process against the claimed "
    "probability, valid while one looks: cells together by the average e-value, single ones by e-BH. A "
    "scaling claim is "
    "refuted where its constant, with limits that hold for all cells at once, must drift with d.",
    "Tightness is bound over bounded quantity; vacuous means that a bound says nothing at these sizes.",
)

_LEARNING: Final = ("widths", "sketches", "training", "bound")
"""Figures of `learning_plots`, in their order."""


def report_plots(grid: Grid) -> list[base.Plot]:
    """The report's figures, those that the store has something for."""
    dimension = _widest_dimension(grid)
    thresholds = grid.thresholds
    drawn = [
        base.survival_plot(grid, [place for place in grid.places if place.d == dimension]),
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
    return [plot for plot in drawn if plot is not None]


def _widest_dimension(grid: Grid) -> int:
    """The d with the most cells; of several the middle one."""
    counts: dict[int, int] = {}
    for place in grid.places:
        counts[place.d] = counts.get(place.d, 0) + 1
    most = sorted(d for d, count in counts.items() if count == max(counts.values()))
    return most[len(most) // 2]


def report_html(grid: Grid, store: str, drawn: list[base.Plot] | None = None) -> str:
    """The report as one HTML document that needs nothing else.

    Parameters
    ----------
    grid : Grid
    store : str
        As the user names it, for the commands.
    drawn : list of Plot, optional
        Figures, if they were drawn already.
    """
    study = grid.study
    run, found = what_was_run(grid), what_was_found(grid)
    frame = estimates_frame(grid.tree)
    drawn = report_plots(grid) if drawn is None else drawn
    figures = {plot.name: figure(plot, i) for i, plot in enumerate(drawn, start=1)}
    names = ("survival", "surface", "scaling", "depth", "spectrum", "coherence", "tightness", "constants")
    by_place = {name: figures.get(name, "") for name in names + _LEARNING}
    body = [
        _section("run", "What was run", _paragraphs(run) + _event(grid)),
        _section(
            "found",
            "What was found",
            (sections.estimates(frame, grid) if len(frame) else _paragraphs(found))
            + by_place["survival"]
            + by_place["surface"],
        ),
    ]
    scaling = by_place["scaling"] + (sections.exponents(grid) if by_place["scaling"] else "")
    if scaling:
        body.append(_section("sizes", "How it depends on n, d and L", scaling))
    spectra = by_place["depth"] + by_place["spectrum"] + by_place["coherence"]
    if spectra:
        body.append(_section("spectra", "Spectra", spectra))
    learning = "".join(by_place[name] for name in _LEARNING)
    if learning:
        body.append(
            _section("learning", "Networks, sketches and training", learning + _learning_commands(grid, store))
        )
    verdicts = sections.verdicts(grid)
    if verdicts:
        body.append(
            _section("theorems", "Theorems on trial", verdicts + by_place["tightness"] + by_place["constants"])
        )
        body.append(_section("statements", "The statements", sections.statements(grid)))
    body += [
        _section("methods", "How to read the numbers", _paragraphs(_METHODS)),
        _section("study", "The exact study", _study(grid, store)),
        _section("provenance", "Provenance", sections.provenance(grid)),
    ]
    title = f"{study.name}: the smallest eigenvalue of NTK Gram matrices"
    contents = "".join(f'<li><a href="#{name}">{heading}</a></li>' for name, heading, _ in body)
    sections_html = "".join(
        f'<section id="{name}" aria-labelledby="{name}-heading"><h2 id="{name}-heading">{number}. {heading}</h2>'
        f"{content}</section>"
        for number, (name, heading, content) in enumerate(body, start=1)
    )
    made = totals(grid)
    when = str(grid.attributes["provenance"].get("time", ""))[:10]
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="generator" content="ntkmc">'
        f"<style>{CSS}</style></head><body>"
        f"<header><h1>{html.escape(title)}</h1>"
        f'<p class="meta">{made.done:,} draws, {made.eigenvalues:,} certified eigenvalues · {html.escape(when)}</p>'
        f'<div class="abstract">{_paragraphs(found)}</div>'
        f'<nav aria-label="Contents"><ol>{contents}</ol></nav></header>'
        f"<main>{sections_html}</main>"
        "<footer><p>Made by ntkmc from the store's groups trials, estimates and claims; no number here is of its own."
        "</p></footer></body></html>\n"
    )


def write_report(grid: Grid, store: str, path: Path, figures: Path | None = None) -> list[Path]:
    """Write the report and, with `figures`, each of its figures as PDF and PNG into that folder.

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    InputError
        If a file cannot be written.
    """
    drawn = report_plots(grid)
    content = report_html(grid, store, drawn)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    return [path, *(save_plots(drawn, figures) if figures is not None else [])]


def save_plots(drawn: list[base.Plot], folder: Path) -> list[Path]:
    """Figures as PDF and PNG (600 dots an inch), with their numbers as CSV."""
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for plot in drawn:
            for ending in (".pdf", ".png"):
                target = folder / f"{plot.name}{ending}"
                with journal():
                    plot.figure.savefig(target, dpi=600, metadata={"Title": plot.name})
                written.append(target)
            plot.data.to_csv(folder / f"{plot.name}.csv", index=False)
            written.append(folder / f"{plot.name}.csv")
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    return written


def _section(name: str, heading: str, content: str) -> tuple[str, str, str]:
    return name, text(heading), content


def _paragraphs(sentences: list[str] | tuple[str, ...]) -> str:
    return "".join(f"<p>{text(each)}</p>" for each in sentences)


def _event(grid: Grid) -> str:
    values = r",\ ".join(f"{value:g}" for value in grid.thresholds)
    latex = (
        rf"\mathbb{{P}}(\lambda_{{\min}} \ge \lambda_0) \ge 1 - {grid.study.event.delta:g}, \quad \lambda_0 = {values}"
    )
    shown = f'<div class="formula" tabindex="0" role="group" aria-label="The event">{formula(latex)}</div>'
    return f"<p>The event of the study:</p>{shown}"


def _learning_commands(grid: Grid, store: str) -> str:
    asked = {"widths": "convergence", "features": "sketch_accuracy", "targets": "prediction"}
    lines = [f"ntkmc show {shlex.quote(store)} --table {name}" for name, group in asked.items() if group in grid.tree]
    return f"<p>As tables, with all limits by --format csv:</p><pre>{html.escape(chr(10).join(lines))}</pre>"


def _study(grid: Grid, store: str) -> str:
    document = yaml.safe_dump(grid.attributes["study"], sort_keys=False, allow_unicode=True, default_flow_style=None)
    name = html.escape(f"{grid.study.name}.yaml")
    place = next(iter(grid.places))
    quoted, cell = shlex.quote(store), shlex.quote(place.cell)
    lines = (
        f"ntkmc run {grid.study.name}.yaml --store {quoted}    # the same draws, to the same bits",
        f"ntkmc show {quoted} --table claims",
        f"ntkmc trial {quoted} {cell} 0    # one trial again, alone",
    )
    commands = html.escape("\n".join(lines))
    earlier = len(grid.attributes["history"]) - 1
    more = (
        f'<p class="note">{earlier} earlier studies ran with this store; its root attributes hold them.</p>'
        if earlier
        else ""
    )
    written = f"<p>As <code>{name}</code>:</p><pre>{html.escape(document)}</pre>"
    return f"{written}{more}<p>To see it again:</p><pre>{commands}</pre>"
