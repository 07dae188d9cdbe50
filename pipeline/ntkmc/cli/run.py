"""Commands that compute: `run`, `plan`, `trial`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ntkmc.cli.app import (
    RESULTS,
    ProfileName,
    ResultsOption,
    StoreFolder,
    StudyFile,
    TrustedStudy,
    app,
    print_fields,
    reading,
    say,
)

if TYPE_CHECKING:
    import pandas as pd

    from ntkmc.execution.job_resources import Layout
    from ntkmc.execution.plan import Blocked

_SHOWN = 6
"""Largest number of values of an axis that a plan lists: the line still fits into a terminal."""


@app.command()
def run(
    study: StudyFile,
    store: ResultsOption = None,
    profile: ProfileName = "local",
    block: Annotated[
        int | None, typer.Option(help="Trials per block; by default about a second of work.", min=1)
    ] = None,
) -> None:
    """Run a study, or resume it; print tables of estimates and verdicts at the end."""
    from ntkmc.api import execute
    from ntkmc.execution.plan import check_plan, check_store, make_plan
    from ntkmc.execution.profiles import load_profile
    from ntkmc.experiment.store import Location, open_results
    from ntkmc.experiment.store.layout import check_identity
    from ntkmc.experiment.study import load_study
    from ntkmc.views.frames import estimates_frame
    from ntkmc.views.tables import probabilities
    from ntkmc.views.verdicts import verdicts

    loaded = load_study(study)
    path = store or str(RESULTS / f"{loaded.name}.zarr")
    location = Location.of(path)
    # Starting a cluster takes seconds, and on a batch system hours: refuse what can be refused before.
    if location.occupied():
        check_identity(location, loaded)
    check_store(location)
    site = load_profile(profile)
    plan = make_plan(loaded, site)
    check_plan(plan, site)
    # The plan goes on to the run: jobs are requested by it, and planning a wide grid takes seconds.
    outcome = execute(loaded, path, profile=site, block_length=block, plan=plan)
    if outcome.interrupted:
        say(f"interrupted; finished trials are in {path}; to continue, repeat: ntkmc run {study} --store {path}")
        raise typer.Exit(130)
    tree = open_results(path)
    console = Console()
    frame = estimates_frame(tree)
    if len(frame):
        console.print(probabilities(frame, loaded.event.delta, most_rows=24))
        console.print(verdicts(tree))
        warn_if_uninformative(frame)
    console.print(f"results in {path}", highlight=False, soft_wrap=True)
    for name, trials in outcome.failed_trials.items():
        say(f"cell {name}: {trials} trials ended without a value; their status is failed")
    for name, reason in outcome.failed.items():
        say(f"cell {name} failed: {reason}")
    # After the tables: what was computed is of use although some of it failed.
    if outcome.failed or outcome.failed_trials:
        raise typer.Exit(3)


@app.command()
def plan(study: StudyFile, profile: ProfileName = "local") -> None:
    """Predict tasks, memory per worker, core-hours and disk space of a study, and report exceeded limits."""
    from ntkmc.execution.plan import check_plan, make_plan
    from ntkmc.execution.profiles import load_profile
    from ntkmc.execution.units import format_duration
    from ntkmc.experiment.study import MEASUREMENTS, load_study
    from ntkmc.experiment.study.measurements import values_by_group
    from ntkmc.theory.claims.trial_statistics import LARGEST_SPECTRUM

    loaded = load_study(study)
    site = load_profile(profile)
    estimate = make_plan(loaded, site)
    duration = format_duration(3600.0 * estimate.core_hours / estimate.workers)
    lines = {
        "study": f"{loaded.name}, kernel {loaded.kernel}, normalize {loaded.normalize}",
        "cells": f"{estimate.cells:,}",
        "trials": f"{estimate.trials:,}{' at most' if loaded.adaptive else ''}",
        "tasks": f"about {estimate.tasks:,}",
        "work": f"about {estimate.core_hours:.2g} core-hours, {duration} on {estimate.workers} workers "
        "(good to a factor of a few)",
        "memory": f"{estimate.worker_bytes / 2**20:,.0f} MiB per worker at most, for {estimate.largest.name}",
        "disk": f"{estimate.disk_bytes / 2**20:,.1f} MiB before compression, {estimate.files:,} files at most",
        "claims": f"{len(loaded.instances)}, {_describe_costly(estimate.eigenvalues, estimate.costly)}",
    }
    if estimate.blocked:
        lines["blocked"] = "\n        ".join(map(_describe_blocked, estimate.blocked))
    if loaded.spectrum:
        everything = f"all eigenvalues of each matrix, beyond n = {LARGEST_SPECTRUM} lambda_max alone"
        lines["spectra"] = everything if loaded.spectrum == "full" else "lambda_max of each matrix"
    for group, values in values_by_group(loaded.additional_measurements).items():
        shown = [f"{value:,}" if isinstance(value, int) else value for value in values]
        if len(shown) > _SHOWN:
            shown[_SHOWN - 2 : -1] = [f"... ({len(shown)} in all)"]
        lines[MEASUREMENTS[group].key] = f"{', '.join(shown)}: {MEASUREMENTS[group].plan}"
    if estimate.layout:
        lines["jobs"] = describe_jobs(estimate.layout)
    # The plan is printed before it is refused: its numbers say which limit is exceeded, and by how much.
    print_fields(lines, 8)
    check_plan(estimate, site)


def _describe_blocked(large: Blocked) -> str:
    """Describe in one line how a matrix that fits no worker is distributed."""
    from ntkmc.execution.units import format_duration

    return (
        f"{large.cell.name} over {large.workers} workers: {large.tile_bytes / 2**30:,.1f} GiB of tiles each, "
        f"{large.moved_bytes / 2**30:,.1f} GiB received, about {format_duration(large.seconds)} per trial"
    )


def describe_jobs(layout: Layout) -> str:
    """Describe the requested jobs in one line."""
    from ntkmc.execution.units import format_clock

    jobs = "1 job" if layout.jobs == 1 else f"{layout.jobs} jobs"
    workers = "1 worker" if layout.workers == 1 else f"{layout.workers} workers"
    others = "the driver" if layout.others == 1 else "scheduler and driver"
    return (
        f"{jobs} of {workers}, {layout.worker_bytes / 2**20:,.0f} MiB per worker, "
        f"walltime {format_clock(layout.walltime)}; in addition {others}, walltime {format_clock(layout.driver)}; "
        f"at most {layout.core_hours:,.1f} core-hours"
    )


def _describe_costly(problems: float, costly: tuple[str, ...]) -> str:
    """Describe in one line the claims that need additional eigenvalue problems."""
    if not costly:
        return "none of which needs additional eigenvalue problems"
    named = ", ".join(costly[:3]) + (f" and {len(costly) - 3} more" if len(costly) > 3 else "")
    return f"of which {len(costly)} need {problems:g} additional eigenvalue problems per trial: {named}"


@app.command()
def trial(
    store: StoreFolder,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="Cell, such as 'sphere,d=32,n=16'.")],
    number: Annotated[int, typer.Argument(metavar="TRIAL", help="Number of the trial.", min=0)],
    study: TrustedStudy = None,
    claim: Annotated[
        str | None, typer.Option(help="Also print the bound of this claim; by default, those of violated claims.")
    ] = None,
) -> None:
    """Recompute one trial in this process, and compare it with the store bit for bit."""
    from ntkmc.experiment.maintenance.recompute import claim_margins, compare_trial
    from ntkmc.experiment.study import load_study

    loaded = load_study(study) if study else None
    with reading(store):
        rows = compare_trial(store, cell, number, loaded)
        margins = claim_margins(store, cell, number, claim, loaded)
    different = 0
    for name, depth, here, stored in rows:
        same = here == stored or (here != here and stored != stored)  # two NaN are the same value
        different += not same
        index = f"[L={depth}]" if depth is not None else ""
        typer.echo(f"{name + index:<24}{here!r:>24}  {'equal' if same else f'DIFFERS: stored {stored!r}'}")
    for label, depth, *ends, verdict in margins:
        bound, quantity = (f"{low!r} ... {high!r}" for low, high in (ends[:2], ends[2:]))
        typer.echo(f"{label} at L={depth}: {verdict}\n  bound     {bound}\n  quantity  {quantity}")
    if different:
        say(
            f"{different} of {len(rows)} values differ from the store: equal bits are guaranteed only for equal "
            "numerics, BLAS build and processor (see `provenance` in the store's attributes); enclosures must still "
            "overlap"
        )
        raise typer.Exit(3)
    typer.echo(f"all {len(rows)} values equal the store's, bit for bit")


def warn_if_uninformative(frame: pd.DataFrame) -> None:
    """Print a warning if all estimates are 0 or 1, so that no threshold is informative."""
    if frame["probability"].notna().any() and frame["probability"].dropna().isin([0.0, 1.0]).all():
        low, high = frame["median"].min(), frame["median"].max()
        # There are no medians (NaN) if only events were measured.
        advice = f"its medians range from {low:.3g} to {high:.3g}, choose event: lambda-0 there" if low == low else ""
        say(
            "every estimate is 0 or 1: no threshold lies where lambda_min varies; "
            + (advice or "a few trials with measure: lambda-min show where it does")
        )
