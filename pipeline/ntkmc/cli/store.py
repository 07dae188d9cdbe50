"""Commands for finished stores: `verify`, `merge`, `compact`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ntkmc.cli.app import ProfileName, StoreFolder, app, reading, say

if TYPE_CHECKING:
    from ntkmc.experiment.maintenance.verify import Report

TrustedStudy = Annotated[
    Path | None,
    typer.Option("--study", help="The study, for a law of your own: its code is not imported on a store's word."),
]

_MOST = 20  # findings that are printed


@app.command()
def verify(
    store: StoreFolder,
    sample: Annotated[int, typer.Option(help="Trials to compute again, picked at random.", min=0)] = 20,
    seed: Annotated[int, typer.Option(help="Of that choice.", min=0)] = 0,
    mend: Annotated[bool, typer.Option("--repair", help="Compute again what is damaged.")] = False,
    study: TrustedStudy = None,
    profile: ProfileName = "local",
) -> None:
    """Checksums, enclosures, estimates, and a sample of trials computed again; exit code 3 if something is wrong."""
    from ntkmc.api import repair
    from ntkmc.experiment.maintenance.verify import verify as verified
    from ntkmc.experiment.study import load_study

    trusted = load_study(study) if study else None
    with reading(store):
        outcome = verified(store, sample=sample, seed=seed, study=trusted)
    _tell(store, outcome)
    if mend and outcome.findings:
        say("repairing")
        outcome = repair(store, outcome, study=trusted, profile=profile)
        _tell(store, outcome)
    if outcome.findings:
        if not mend:
            say(f"to compute again what is damaged: ntkmc verify {store} --repair")
        raise typer.Exit(3)


@app.command()
def merge(
    into: Annotated[str, typer.Argument(metavar="INTO", help="A store that grows, or a place for a new one.")],
    stores: Annotated[list[str], typer.Argument(metavar="STORE...", help="Stores to take from, unchanged.")],
) -> None:
    """Join stores of one study that were computed in several places, such as trials 0 to 499 and 500 to 999."""
    from ntkmc.experiment.maintenance.merge import merge as merged

    with reading(into):
        outcome = merged(into, stores)
    typer.echo(f"{into}: {outcome.trials:,} trials taken, {len(outcome.study.cells):,} cells")
    if outcome.missing:
        say(f"{outcome.missing:,} trials of the joined study are in none of them: run it on {into} to fill them in")


@app.command()
def compact(
    store: StoreFolder,
    archive: Annotated[
        Path | None, typer.Option(metavar="FILE.zip", help="Also pack it into one file, which can be read as it is.")
    ] = None,
) -> None:
    """Rewrite a store in few large files; it remains readable, and further runs can extend it."""
    from ntkmc.experiment.maintenance.compact import archive as packed
    from ntkmc.experiment.maintenance.compact import compact as compacted

    with reading(store):
        outcome = compacted(store)
        typer.echo(
            f"{store}: {outcome.files_before:,} files before, {outcome.files_after:,} now, "
            f"{outcome.bytes_after / 2**20:,.1f} MiB"
        )
        if archive is not None:
            typer.echo(f"packed into {packed(store, archive)}")


def _tell(store: str, found: Report) -> None:
    for finding in found.findings[:_MOST]:
        typer.echo(f"{finding.where}: {finding.what}")
    if len(found.findings) > _MOST:
        typer.echo(f"... and {len(found.findings) - _MOST} more")
    again = f"{found.recomputed} trials computed again"
    if found.last_bits:
        again += f", {found.last_bits} of them equal but for roundings of another processor, BLAS or version"
    typer.echo(
        f"{store}: {found.chunks:,} chunks and {found.blocks:,} blocks read, {found.trials:,} enclosures checked, "
        f"{again}: " + (f"{len(found.findings):,} findings" if found.findings else "all is well")
    )
    if found.skipped:
        more = f", and {len(found.skipped) - 3} more" if len(found.skipped) > 3 else ""
        say(f"not computed again: {', '.join(found.skipped[:3])}{more}")
