"""`ntkmc show`: estimates, verdicts and other results of a store as tables."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ntkmc.cli.app import Format, StoreFolder, app, reading, say, table
from ntkmc.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


class Table(StrEnum):
    """Tables of a store."""

    ESTIMATES = "estimates"
    CLAIMS = "claims"
    PREDICTIONS = "predictions"
    WIDTHS = "widths"
    SPECTRUM = "spectrum"
    TARGETS = "targets"
    FEATURES = "features"


@app.command()
def show(
    store: StoreFolder,
    selection: Annotated[str | None, typer.Argument(help="Such as 'distribution=sphere,d=32,depth=3'.")] = None,
    name: Annotated[Table | None, typer.Option("--table", "-t", help="Which table; estimates by default.")] = None,
    # Earlier names of the tables, kept for scripts.
    claims: Annotated[bool, typer.Option("--claims", hidden=True)] = False,
    predictions: Annotated[bool, typer.Option("--predictions", hidden=True)] = False,
    widths: Annotated[bool, typer.Option("--widths", hidden=True)] = False,
    spectrum: Annotated[bool, typer.Option("--spectrum", hidden=True)] = False,
    targets: Annotated[bool, typer.Option("--targets", hidden=True)] = False,
    features: Annotated[bool, typer.Option("--features", hidden=True)] = False,
    long: Annotated[bool, typer.Option("--long", help="One row per threshold, with intervals.")] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
    figure: Annotated[Path | None, typer.Option(help="Also draw P(lambda_min >= lambda_0) into this file.")] = None,
) -> None:
    """Estimates and verdicts as a table, CSV or JSON."""
    from ntkmc.experiment.store import open_results
    from ntkmc.views import tables
    from ntkmc.views import verdicts as judged
    from ntkmc.views.axis_frames import (
        features_frame,
        features_tables,
        targets_frame,
        targets_tables,
        widths_frame,
        widths_tables,
    )
    from ntkmc.views.frames import (
        claims_frame,
        estimates_frame,
        mixed_origins,
        parse_selection,
        predictions_frame,
        predictions_table,
        select,
        unused_trials,
    )

    flags = {
        Table.CLAIMS: claims,
        Table.PREDICTIONS: predictions,
        Table.WIDTHS: widths,
        Table.SPECTRUM: spectrum,
        Table.TARGETS: targets,
        Table.FEATURES: features,
    }
    names = {flag for flag, given in flags.items() if given} | ({name} if name else set())
    if len(names) > 1:
        raise InputError(f"one table at a time, got {', '.join(sorted(names))}: choose one by --table")
    chosen_table = next(iter(names), Table.ESTIMATES)
    tree = open_results(store)
    chosen = parse_selection(selection)
    if chosen_table is Table.SPECTRUM:
        _spectrum(tree, store, chosen, form, figure)
        return
    readers = {
        Table.ESTIMATES: estimates_frame,
        Table.CLAIMS: claims_frame,
        Table.PREDICTIONS: predictions_frame,
        Table.WIDTHS: widths_frame,
        Table.TARGETS: targets_frame,
        Table.FEATURES: features_frame,
    }
    reader = readers[chosen_table]
    with reading(store):
        frame = select(reader(tree), chosen)
        unused = unused_trials(tree)
    confidence, delta = tree.attrs["study"]["confidence"], tree.attrs["study"]["event"]["delta"]
    if form is Format.CSV:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif form is Format.JSON:
        typer.echo(frame.to_json(orient="records", indent=1, force_ascii=False))
    elif chosen_table is Table.PREDICTIONS:
        table(predictions_table(frame))
    elif not len(frame):
        typer.echo("nothing is estimated yet: the first trials are not folded; run, or look again in a few seconds")
    elif chosen_table is Table.WIDTHS:
        table(widths_tables(frame, delta))
    elif chosen_table is Table.TARGETS:
        table(targets_tables(frame, delta))
    elif chosen_table is Table.FEATURES:
        table(features_tables(frame, delta))
    elif chosen_table is Table.CLAIMS:
        table(judged.verdict_rows(frame, store) if chosen else judged.verdicts(tree))
    elif long:
        table(tables.intervals(frame, confidence))
    else:
        table(tables.probabilities(frame, delta))
    if form is Format.TABLE and (origins := mixed_origins(tree)):
        say(origins)
    if unused and form is Format.TABLE:
        say(f"{unused:,} finished trials (over all depths) lie beyond the looks that these estimates rest on")
    if figure is not None:
        from ntkmc.views.plots.base import save, survival_figure

        with reading(store):
            drawn = survival_figure(tree, confidence, chosen)
        save(drawn, figure)
        say(f"figure in {figure}")


def _spectrum(
    tree: xr.DataTree, store: StoreFolder, chosen: dict[str, str], form: Format, figure: Path | None
) -> None:
    """Print spectra as tables; as CSV only eigenvalues, as JSON eigenvalues and predicted laws."""
    import json

    from ntkmc.views.cells import Grid
    from ntkmc.views.frames import select
    from ntkmc.views.spectra import laws_frame, of_the_same_cells, spectra_frame, spectra_tables

    with reading(store):
        grid = Grid(tree)
        eigenvalues = select(spectra_frame(grid), chosen)
        laws = of_the_same_cells(laws_frame(grid), eigenvalues)
    if form is Format.CSV:
        typer.echo(eigenvalues.to_csv(index=False), nl=False)
    elif form is Format.JSON:
        frames = {"eigenvalues": eigenvalues, "laws": laws}
        typer.echo(json.dumps({name: json.loads(each.to_json(orient="records")) for name, each in frames.items()}))
    elif not len(eigenvalues):
        typer.echo("no trial with a spectrum is folded yet: run, or look again in a few seconds")
    else:
        table(spectra_tables(eigenvalues, laws))
    if figure is not None:
        from ntkmc.views.plots.base import save
        from ntkmc.views.plots.spectra import laws_plot
        from ntkmc.views.spectra import places_of

        with reading(store):
            drawn = laws_plot(grid, places_of(grid, eigenvalues))
        if drawn is None:
            raise InputError("no trial in this selection has all its eigenvalues (spectrum: full, n up to 1024)")
        save(drawn.figure, figure)
        say(f"figure in {figure}")
