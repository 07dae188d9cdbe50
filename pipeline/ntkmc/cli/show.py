"""`ntkmc show`: estimates, verdicts and other results of a store as tables."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ntkmc.cli.app import Format, StoreFolder, app, reading, say, table, to_json
from ntkmc.errors import InputError

if TYPE_CHECKING:
    import pandas as pd
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
    selection: Annotated[
        str | None, typer.Argument(help="Selection, such as 'distribution=sphere,d=32,depth=3'.")
    ] = None,
    name: Annotated[
        Table | None, typer.Option("--table", "-t", help="Name of the table; estimates by default.")
    ] = None,
    # Earlier names of the tables, kept for scripts.
    claims: Annotated[bool, typer.Option("--claims", hidden=True)] = False,
    predictions: Annotated[bool, typer.Option("--predictions", hidden=True)] = False,
    widths: Annotated[bool, typer.Option("--widths", hidden=True)] = False,
    spectrum: Annotated[bool, typer.Option("--spectrum", hidden=True)] = False,
    targets: Annotated[bool, typer.Option("--targets", hidden=True)] = False,
    features: Annotated[bool, typer.Option("--features", hidden=True)] = False,
    long: Annotated[bool, typer.Option("--long", help="One row per threshold, with intervals.")] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="Output format.")] = Format.TABLE,
    figure: Annotated[Path | None, typer.Option(help="Also draw P(lambda_min >= lambda_0) into this file.")] = None,
) -> None:
    """Print estimates, verdicts or other results as a table, CSV or JSON."""
    from ntkmc.experiment.store import open_results
    from ntkmc.views import tables, verdicts
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
        mixed_environments,
        parse_selection,
        predictions_frame,
        select,
        unused_trials,
    )

    # Two tables at a time are refused: to print one of them would drop the other silently.
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
    confidence, delta = tree.attrs["study"]["confidence"], tree.attrs["study"]["event"]["delta"]
    # Per table: its rows from the store, and its layout for a terminal.
    layouts: dict[Table, tuple[Callable[[xr.DataTree], pd.DataFrame], Callable[[pd.DataFrame], object]]] = {
        Table.ESTIMATES: (
            estimates_frame,
            lambda rows: tables.intervals(rows, confidence) if long else tables.probabilities(rows, delta),
        ),
        Table.CLAIMS: (
            claims_frame,
            lambda rows: verdicts.verdict_rows(rows, store) if chosen else verdicts.verdicts(tree),
        ),
        Table.PREDICTIONS: (predictions_frame, tables.predictions_table),
        Table.WIDTHS: (widths_frame, lambda rows: widths_tables(rows, delta)),
        Table.TARGETS: (targets_frame, lambda rows: targets_tables(rows, delta)),
        Table.FEATURES: (features_frame, lambda rows: features_tables(rows, delta)),
    }
    read, lay_out = layouts[chosen_table]
    with reading(store):
        frame = select(read(tree), chosen)
        unused = unused_trials(tree)
    if form is Format.CSV:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif form is Format.JSON:
        typer.echo(to_json(frame))
    elif len(frame) or chosen_table is Table.PREDICTIONS:  # which do not depend on trials
        table(lay_out(frame))
    else:
        typer.echo("no estimates yet: no block of trials is folded; run the study, or try again in a few seconds")
    if form is Format.TABLE and (environments := mixed_environments(tree)):
        say(environments)
    if unused and form is Format.TABLE:
        say(f"{unused:,} finished trials (over all depths) come after the last look and do not enter these estimates")
    if figure is not None:
        from ntkmc.views.cells import Grid
        from ntkmc.views.frames import selected_places
        from ntkmc.views.plots.base import save, survival_plot

        with reading(store):
            grid = Grid(tree)
            plot = survival_plot(grid, selected_places(grid, chosen), predicted=True)
        if plot is None:
            reason = "events alone were decided (measure: event)" if grid.decided_only else "no trial is folded yet"
            raise InputError(f"there is no distribution of lambda_min to draw: {reason}")
        save(plot, figure)
        say(f"figure in {figure}")


def _spectrum(
    tree: xr.DataTree, store: StoreFolder, chosen: dict[str, str], form: Format, figure: Path | None
) -> None:
    """Print spectra as tables, eigenvalues as CSV, or eigenvalues and predicted laws as JSON."""
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
        typer.echo(json.dumps({name: json.loads(to_json(frame)) for name, frame in frames.items()}))
    elif not len(eigenvalues):
        typer.echo("no spectra yet: no block of trials is folded; run the study, or try again in a few seconds")
    else:
        table(spectra_tables(eigenvalues, laws))
    if figure is not None:
        from ntkmc.views.plots.base import save
        from ntkmc.views.plots.spectra import laws_plot
        from ntkmc.views.spectra import places_of

        with reading(store):
            plot = laws_plot(grid, places_of(grid, eigenvalues))
        if plot is None:
            raise InputError("no trial in this selection has all its eigenvalues (spectrum: full, n up to 1024)")
        save(plot, figure)
        say(f"figure in {figure}")
