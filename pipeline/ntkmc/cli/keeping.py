"""What keeps results: `verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ntkmc.cli.app import ProfileName, StoreFolder, app, reading, say

if TYPE_CHECKING:
    from ntkmc.experiment.verifying import Report

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
    from ntkmc.experiment.loading import load_study
    from ntkmc.experiment.verifying import verify as verified

    trusted = load_study(study) if study else None
    with reading(store):
        found = verified(store, sample=sample, seed=seed, study=trusted)
    _tell(store, found)
    if mend and found.findings:
        say("repairing")
        found = repair(store, found, study=trusted, profile=profile)
        _tell(store, found)
    if found.findings:
        if not mend:
            say(f"to compute again what is damaged: ntkmc verify {store} --repair")
        raise typer.Exit(3)


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
        named = ", ".join(found.skipped[:3])
        say(f"not computed again, because their law is code beside a study (--study FILE): {named}")
