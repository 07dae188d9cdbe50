"""Commands for batch jobs: `submit`, `status`, `cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ntkmc.cli.app import RESULTS, ProfileName, ResultsOption, StoreFolder, StudyFile, app, print_fields, say
from ntkmc.cli.run import describe_jobs
from ntkmc.errors import NtkmcError


@app.command()
def submit(
    study: StudyFile,
    profile: ProfileName,
    store: ResultsOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script, and submit nothing.")] = False,
    chain: Annotated[
        int, typer.Option(help="How often the job may resubmit itself if its walltime ends before the study.", min=0)
    ] = 20,
) -> None:
    """Run a study as a batch job, which stops before its walltime and then resubmits itself."""
    from ntkmc.execution.batch import driver_job
    from ntkmc.execution.plan import check_plan, check_store, make_plan
    from ntkmc.execution.profiles import load_profile
    from ntkmc.experiment.store import Location
    from ntkmc.experiment.store.layout import check_identity
    from ntkmc.experiment.study import load_study

    loaded, site = load_study(study), load_profile(profile)
    path = store or str(RESULTS / f"{loaded.name}.zarr")
    location = Location.of(path)
    # Everything that can be refused is refused here, not in a job that has waited in the queue.
    if location.occupied():
        check_identity(location, loaded)
    plan = make_plan(loaded, site)
    check_plan(plan, site)
    profile_path = str(Path(profile).resolve()) if Path(profile).is_file() else profile
    job = driver_job.Submission(study.resolve(), location, profile_path, Path.cwd(), chain)
    layout = plan.layout
    if layout is None:
        raise typer.BadParameter(f"the profile {profile} is not one of a batch queue: use ntkmc run")
    if dry_run:
        typer.echo(driver_job.batch_script(job, site, layout), nl=False)
        return
    check_store(location)
    say(f"requests {describe_jobs(layout)}")
    number = driver_job.submit(job, site, layout)
    typer.echo(f"job {number}; check it with: ntkmc status {path}")


@app.command()
def status(
    store: Annotated[
        str | None, typer.Argument(metavar="[STORE]", help="A store; all in data/results by default.")
    ] = None,
) -> None:
    """Status of runs: finished trials, jobs in the queue, rate, and the last error with its log."""
    from ntkmc.execution.batch.status import run_status

    stores = [store] if store else _known_stores()
    if not stores:
        say(f"no stores in {RESULTS}")
    for path in stores:
        try:
            state = run_status(path)
        except NtkmcError as error:  # an unreadable store must not hide the others
            if store:
                raise
            say(f"ntkmc: {error}")
            continue
        typer.echo(f"{path}{': done' if state.done else ''}")
        print_fields(state.lines(), 8, indent="  ")


@app.command()
def cancel(store: StoreFolder) -> None:
    """Cancel the driver's job and its workers; finished results are kept, and `ntkmc submit` continues from them."""
    from ntkmc.execution.batch import status as batch_status

    jobs = ", ".join(f"job {number}" for number in batch_status.cancel(store))
    typer.echo(f"cancelled {jobs}" if jobs else "no job was left to cancel")
    typer.echo(f"{store}: {batch_status.run_status(store).lines()['store']}; to continue, submit it again")


def _known_stores() -> list[str]:
    """Return the paths of the stores in `RESULTS`, also of those that have only been submitted."""
    paths = {path for path in RESULTS.glob("*.zarr") if path.is_dir()}
    paths |= {path.with_suffix("") for path in RESULTS.glob("*.jobs") if (path / "drivers.json").is_file()}
    return sorted(map(str, paths))
