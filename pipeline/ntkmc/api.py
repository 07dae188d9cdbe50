"""The Python door to a whole run. Dask is imported when a run begins, so that everything else works without it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from ntkmc.errors import ExecutionError
from ntkmc.experiment.creating import check_identity, read_attributes
from ntkmc.experiment.lease import Lease
from ntkmc.experiment.location import Location
from ntkmc.experiment.results import open_results, stored_studies
from ntkmc.experiment.store import Store
from ntkmc.experiment.study import Study
from ntkmc.experiment.verifying import Report, forget, verify
from ntkmc.theory.distributions import Unimported

if TYPE_CHECKING:
    from distributed import Client

    from ntkmc.execution.driver import Outcome
    from ntkmc.execution.events import Subscriber


def run(
    study: Study,
    store: str | Path,
    *,
    client: Client | None = None,
    profile: str | None = None,
    progress: bool = True,
) -> xr.DataTree:
    """Run a study, or resume it: only what the store lacks is computed.

    Parameters
    ----------
    study : Study
        As `load_study` returns it.
    store : str or Path
        Folder of the results, or a URL (`s3://bucket/run.zarr`); created if it does not exist.
    client : distributed.Client, optional
        A cluster of your own; its workers must see `store` under the same path.
    profile : str, optional
        Name or path of a profile, `local` by default; ignored with `client`.
    progress : bool
        Show a live view on standard error.

    Returns
    -------
    xarray.DataTree
        As `open_results` returns it.

    Raises
    ------
    InputError, StoreError
        Before anything is computed.
    ExecutionError
        If cells failed (they are named; the rest is in the store), or the cluster went away.

    Notes
    -----
    A script that calls this with a profile needs `if __name__ == "__main__":`, because worker processes import it.
    """
    outcome = execute(study, store, client=client, profile=profile, progress=progress)
    if outcome.interrupted:
        raise KeyboardInterrupt
    if outcome.failed:
        name, reason = next(iter(outcome.failed.items()))
        raise ExecutionError(f"{len(outcome.failed)} cells failed; first {name}: {reason}")
    return open_results(store)


def execute(
    study: Study,
    store: str | Path | Location,
    *,
    client: Client | None = None,
    profile: str | None = None,
    progress: bool = True,
    block_length: int | None = None,
) -> Outcome:
    """`run`, but telling how it ended instead of raising."""
    from ntkmc.execution.driver import drive
    from ntkmc.execution.events import Note
    from ntkmc.execution.live.feed import study_page
    from ntkmc.execution.plan import check_plan, make_plan
    from ntkmc.execution.profiles import connect, load_profile
    from ntkmc.execution.progress import ProgressView
    from ntkmc.execution.standing import Record
    from ntkmc.execution.workspace import Workspace
    from ntkmc.experiment.lease import Lease
    from ntkmc.experiment.location import LEASE

    location = Location.of(store)
    view = ProgressView()
    subscribers: list[Subscriber] = [view] if progress else []

    def say(text: str) -> None:
        for subscriber in subscribers:
            subscriber(Note(text))

    with ExitStack() as stack:
        if client is None:
            place = load_profile(profile or "local")
            plan = make_plan(study, place)
            check_plan(plan, place)
            if place.batch:
                subscribers.append(Record(Workspace(location)))
            if place.batch and not place.one_job and not location.remote and (location.path / LEASE).exists():
                with Lease(location, say):  # refused if somebody writes: `drive` would be, with jobs in the queue
                    pass
            client = stack.enter_context(connect(place, layout=plan.layout, store=location, say=say))
        feeds = study_page(study, str(location), client)
        subscribers += feeds
        view.study_page = any(feed.page for feed in feeds)
        return drive(study, location, client, subscribers, block_length)


def repair(
    store: str | Path,
    report: Report,
    *,
    study: Study | None = None,
    client: Client | None = None,
    profile: str | None = None,
    progress: bool = True,
) -> Report:
    """Compute again what `verify` found wrong, and verify once more.

    Parameters
    ----------
    store : str or Path
    report : Report
        As `verify` returned it.
    study : Study, optional
        Where the code of laws of your own comes from, which is not imported on the store's word.
    client, profile, progress
        As of `run`.

    Returns
    -------
    Report
        Of the store as it is now.

    Raises
    ------
    InputError
        If a law is code that no study names.
    StoreError
        If the store cannot be repaired: its metadata, or a coordinate, is damaged.
    ExecutionError
        As of `run`.
    """
    location = Location.of(store)
    attributes = read_attributes(location)
    studies = [*stored_studies(attributes, str(location))]
    if study is not None:
        check_identity(location, study)
        studies = [each for each in studies if each.digest() != study.digest()] + [study]
    for cell in (cell for each in studies for cell in each.cells):
        if isinstance(cell.distribution, Unimported):
            cell.distribution.check(cell.n, cell.d)  # refuses, and says what would help
    with Lease(location):
        forget(Store.prepare(location, studies[-1]), report)
    # All that the store was ever asked for, since any of it may be damaged; what is whole costs nothing.
    for each in studies:
        outcome = execute(each, location, client=client, profile=profile, progress=progress)
        if outcome.interrupted:
            raise KeyboardInterrupt
    return verify(store, study=study)
