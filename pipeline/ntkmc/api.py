"""The Python door to a whole run. Dask is imported when a run begins, so that everything else works without it."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr

from ntkmc.errors import ExecutionError
from ntkmc.experiment.results import open_results
from ntkmc.experiment.study import Study

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
        Directory of the results; created if it does not exist.
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
    store: str | Path,
    *,
    client: Client | None = None,
    profile: str | None = None,
    progress: bool = True,
    block_length: int | None = None,
) -> Outcome:
    """`run`, but telling how it ended instead of raising."""
    from ntkmc.execution.driver import drive
    from ntkmc.execution.live.feed import study_page
    from ntkmc.execution.profiles import connect, load_profile
    from ntkmc.execution.progress import ProgressView

    path = Path(store).expanduser().resolve()
    with ExitStack() as stack:
        if client is None:
            client = stack.enter_context(connect(load_profile(profile or "local")))
        feeds = study_page(study, str(path), client)
        subscribers: list[Subscriber] = [*feeds]
        if progress:
            subscribers.append(ProgressView(study_page=any(feed.page for feed in feeds)))
        return drive(study, path, client, subscribers, block_length)
