"""What shows results: `show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ntkmc.cli.app import Format, StoreFolder, app, reading, say, table
from ntkmc.errors import InputError

if TYPE_CHECKING:
    import xarray as xr


@app.command()
def show(
    store: StoreFolder,
    selection: Annotated[str | None, typer.Argument(help="Such as 'distribution=sphere,d=32,depth=3'.")] = None,
    claims: Annotated[bool, typer.Option("--claims", help="Verdicts instead of estimates.")] = False,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Predicted beside measured medians instead of estimates.")
    ] = False,
    widths: Annotated[bool, typer.Option("--widths", help="Finite networks instead of estimates.")] = False,
    spectrum: Annotated[
        bool, typer.Option("--spectrum", help="Eigenvalues, and how far predicted laws are off, instead of estimates.")
    ] = False,
    targets: Annotated[bool, typer.Option("--targets", help="Training on labels instead of estimates.")] = False,
    features: Annotated[bool, typer.Option("--features", help="Feature maps instead of estimates.")] = False,
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

    if claims + predictions + widths + targets + spectrum + features > 1:
        raise InputError(
            "--claims, --predictions, --widths, --targets, --spectrum and --features are tables of their own: "
            "choose one"
        )
    tree = open_results(store)
    chosen = parse_selection(selection)
    if spectrum:
        _spectrum(tree, store, chosen, form, figure)
        return
    readers = {
        claims: claims_frame,
        predictions: predictions_frame,
        widths: widths_frame,
        targets: targets_frame,
        features: features_frame,
    }
    reader = readers.get(True, estimates_frame)
    with reading(store):
        frame = select(reader(tree), chosen)
        unused = unused_trials(tree)
    confidence, delta = tree.attrs["study"]["confidence"], tree.attrs["study"]["event"]["delta"]
    if form is Format.CSV:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif form is Format.JSON:
        typer.echo(frame.to_json(orient="records", indent=1, force_ascii=False))
    elif predictions:
        table(predictions_table(frame))
    elif not len(frame):
        typer.echo("nothing is estimated yet: the first trials are not folded; run, or look again in a few seconds")
    elif widths:
        table(widths_tables(frame, delta))
    elif targets:
        table(targets_tables(frame, delta))
    elif features:
        table(features_tables(frame, delta))
    elif claims:
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
    """Spectra as tables; as CSV the frame of eigenvalues, as JSON that of predicted laws beside it."""
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
