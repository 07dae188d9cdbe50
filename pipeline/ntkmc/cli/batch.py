"""Commands for batch jobs: `submit`, `status`, `cancel`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ntkmc.cli.app import RESULTS, ProfileName, StoreFolder, StudyFile, app, say
from ntkmc.cli.run import asks
from ntkmc.errors import NtkmcError


@app.command()
def submit(
    study: StudyFile,
    profile: ProfileName,
    store: Annotated[str | None, typer.Option("--store", "-s", help="Where results go: a folder, or a URL.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the batch script, and submit nothing.")] = False,
    chain: Annotated[
        int, typer.Option(help="How often the job may follow itself when its walltime ends before the study.", min=0)
    ] = 20,
) -> None:
    """Run a study as a batch job that survives the login node, stops before its walltime, and follows itself."""
    from ntkmc.execution.batch.submission import Submission, batch_script
    from ntkmc.execution.batch.submission import submit as put
    from ntkmc.execution.plan import check_plan, check_store, make_plan
    from ntkmc.execution.profiles import load_profile
    from ntkmc.experiment.store import Location
    from ntkmc.experiment.store.layout import check_identity
    from ntkmc.experiment.study import load_study

    loaded, place = load_study(study), load_profile(profile)
    named = store or str(RESULTS / f"{loaded.name}.zarr")
    location = Location.of(named)
    if location.occupied():
        check_identity(location, loaded)
    plan = make_plan(loaded, place)
    check_plan(plan, place)
    site = str(Path(profile).resolve()) if Path(profile).is_file() else profile
    submission = Submission(study.resolve(), location, site, Path.cwd(), chain)
    layout = plan.layout
    if layout is None:
        raise typer.BadParameter(f"the profile {profile} is not one of a batch queue: use ntkmc run")
    if dry_run:
        typer.echo(batch_script(submission, place, layout), nl=False)
        return
    check_store(location)
    say(f"asks for {asks(layout)}")
    number = put(submission, place, layout)
    typer.echo(f"job {number}; look with: ntkmc status {named}")


@app.command()
def status(
    store: Annotated[
        str | None, typer.Argument(metavar="[STORE]", help="A store; without one, all in data/results.")
    ] = None,
) -> None:
    """Status of runs: finished trials, jobs in the queue, rate, and the last error with its log."""
    from ntkmc.execution.batch.status import run_status

    stores = [store] if store else _known()
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
        for name, text in state.lines().items():
            typer.echo(f"  {name:<8}{text}")


@app.command()
def cancel(store: StoreFolder) -> None:
    """Cancel the driver's job and its workers; finished results are kept, and `ntkmc submit` continues from them."""
    from ntkmc.execution.batch.status import cancel as end
    from ntkmc.execution.batch.status import run_status

    ended = end(store)
    typer.echo(f"cancelled {', '.join(f'job {number}' for number in ended)}" if ended else "no job was left to cancel")
    typer.echo(f"{store}: {run_status(store).lines()['store']}; to go on, submit it again")


def _known() -> list[str]:
    paths = {path for path in RESULTS.glob("*.zarr") if path.is_dir()}
    paths |= {path.with_suffix("") for path in RESULTS.glob("*.jobs") if (path / "drivers.json").is_file()}
    return sorted(map(str, paths))
