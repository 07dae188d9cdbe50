"""Commands for viewing: `report`, `dashboard`."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from ntkmc.cli.app import app, reading, say

StoreName = Annotated[
    str, typer.Argument(metavar="STORE", help="A results store: a folder, or a URL such as s3://...")
]


@app.command()
def report(
    store: StoreName,
    output: Annotated[Path, typer.Option("--output", "-o", help="HTML file to write.")] = Path("report.html"),
    figures: Annotated[
        Path | None, typer.Option(help="Also write the figures into this folder, as PDF, PNG and CSV.")
    ] = None,
) -> None:
    """Write one self-contained page: results, figures, verdicts, the exact study, and provenance."""
    from ntkmc.views.cells import open_grid
    from ntkmc.views.report import write_report

    grid = open_grid(store)
    with reading(store):
        written = write_report(grid, store, output, figures)
    say(f"report in {output} ({output.stat().st_size / 1e6:.1f} MB)")
    if figures is not None:
        say(f"{len(written) - 1} files in {figures}")


@app.command()
def dashboard(
    store: StoreName,
    port: Annotated[
        int, typer.Option(help="Port on which it listens, for this machine only; 0: any free port.")
    ] = 5006,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
    explorer: Annotated[str, typer.Option("--app", help="A modified copy of dashboards/explorer.py.")] = "explorer",
) -> None:
    """Open the explorer in a browser: curves, surfaces, scaling, evidence for claims. Needs ntkmc[dashboard]."""
    from ntkmc.views.explorer import serve

    with suppress(KeyboardInterrupt):  # Ctrl-C ends the server
        serve(store, port, browser, explorer)
