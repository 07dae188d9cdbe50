"""Commands for finished stores: `verify`, `merge`, `compact`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ntkmc.cli.app import ProfileName, StoreFolder, TrustedStudy, app, reading, say

if TYPE_CHECKING:
    from ntkmc.experiment.maintenance.verify import Report

_MOST = 20
"""Number of findings that are printed: damage to a disk can make thousands."""


@app.command()
def verify(
    store: StoreFolder,
    sample: Annotated[int, typer.Option(help="Number of trials to recompute, chosen at random.", min=0)] = 20,
    seed: Annotated[int, typer.Option(help="Seed of that choice.", min=0)] = 0,
    mend: Annotated[bool, typer.Option("--repair", help="Recompute damaged trials.")] = False,
    study: TrustedStudy = None,
    profile: ProfileName = "local",
) -> None:
    """Verify checksums, enclosures and estimates, and recompute a sample of trials; exit code 3 for findings."""
    from ntkmc.api import repair
    from ntkmc.experiment.maintenance import verify as verification
    from ntkmc.experiment.study import load_study

    trusted = load_study(study) if study else None
    with reading(store):
        outcome = verification.verify(store, sample=sample, seed=seed, study=trusted)
    _print_report(store, outcome)
    # Repair needs a cluster; verification alone runs in this process.
    if mend and outcome.findings:
        say("repairing")
        outcome = repair(store, outcome, study=trusted, profile=profile)
        _print_report(store, outcome)
    if outcome.findings:
        if not mend:
            say(f"to recompute damaged trials: ntkmc verify {store} --repair")
        raise typer.Exit(3)


@app.command()
def merge(
    into: Annotated[str, typer.Argument(metavar="INTO", help="Store that is extended, or path of a new one.")],
    stores: Annotated[
        list[str], typer.Argument(metavar="STORE...", help="Stores that are read; they remain unchanged.")
    ],
) -> None:
    """Join stores of one study that were computed on several machines, such as trials 0 to 499 and 500 to 999."""
    from ntkmc.experiment.maintenance import merge as merging

    with reading(into):
        outcome = merging.merge(into, stores)
    typer.echo(f"{into}: {outcome.trials:,} trials copied, {len(outcome.study.cells):,} cells")
    if outcome.missing:
        say(f"{outcome.missing:,} trials of the joined study are in no store: run it on {into} to compute them")


@app.command()
def compact(
    store: StoreFolder,
    archive: Annotated[
        Path | None,
        typer.Option(metavar="FILE.zip", help="Also pack it into one file, which can be read without unpacking."),
    ] = None,
) -> None:
    """Rewrite a store in few large files; it remains readable, and further runs can extend it."""
    from ntkmc.experiment.maintenance import compact as compaction

    with reading(store):
        outcome = compaction.compact(store)
        typer.echo(
            f"{store}: {outcome.files_before:,} files before, {outcome.files_after:,} now, "
            f"{outcome.bytes_after / 2**20:,.1f} MiB"
        )
        if archive is not None:
            typer.echo(f"packed into {compaction.archive(store, archive)}")


def _print_report(store: str, report: Report) -> None:
    """Print the findings, a summary, and what was not recomputed."""
    for finding in report.findings[:_MOST]:
        typer.echo(f"{finding.where}: {finding.what}")
    if len(report.findings) > _MOST:
        typer.echo(f"... and {len(report.findings) - _MOST} more")
    recomputed = f"{report.recomputed} trials recomputed"
    if report.last_bits:
        recomputed += f", {report.last_bits} of them equal up to rounding on another processor, BLAS or version"
    typer.echo(
        f"{store}: {report.chunks:,} chunks and {report.blocks:,} blocks read, {report.trials:,} enclosures checked, "
        f"{recomputed}: " + (f"{len(report.findings):,} findings" if report.findings else "all is well")
    )
    if report.skipped:
        more = f", and {len(report.skipped) - 3} more" if len(report.skipped) > 3 else ""
        say(f"not recomputed: {', '.join(report.skipped[:3])}{more}")
