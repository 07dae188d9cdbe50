"""Python interface to whole runs. Dask is imported only when a run begins: everything else works without it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import xarray as xr
from numpy.typing import ArrayLike

from ntkmc.errors import ExecutionError, InputError
from ntkmc.experiment.maintenance.verify import Report, mark_not_run, verify
from ntkmc.experiment.store import Lease, Location, Store, open_results
from ntkmc.experiment.store.layout import check_identity, read_attributes
from ntkmc.experiment.store.reading import stored_studies
from ntkmc.experiment.study import Study
from ntkmc.linalg.eigen import Eigenvalue
from ntkmc.linalg.gram import enclosures
from ntkmc.theory.distributions import Unimported

if TYPE_CHECKING:
    from distributed import Client

    from ntkmc.execution.driver import Outcome
    from ntkmc.execution.events import Subscriber
    from ntkmc.execution.plan import Plan
    from ntkmc.execution.profile_schema import Profile


def lambda_min(
    X: ArrayLike,
    kernel: str = "ntk",
    depths: Sequence[int] = (2,),
    *,
    method: str = "auto",
    client: Client | None = None,
    certificate: bool = True,
    single: bool = False,
) -> dict[int, Eigenvalue]:
    """Compute the smallest eigenvalue of a kernel's Gram matrix of data at several depths.

    Parameters
    ----------
    X : array_like, (n, d)
        Data rows, any norms.
    kernel, depths
        As for `ntkmc.grams`.
    method : str
        Method that computes the approximate eigenvector: as for `ntkmc.smallest_eigenvalue`; with a client `auto`,
        `lanczos`, `eigsh` or `lobpcg` (block Jacobi as preconditioner). The eigenvector at one depth starts the
        iteration at the next.
    client : distributed.Client, optional
        A cluster over whose workers the matrix is distributed in tiles: its lower triangle and that of one factor,
        8 n**2 bytes in all. Tiles that do not fit into memory are spilled to disk.
    certificate : bool
        With a client: False saves the factorization, n**3 / 3 operations; then only the upper end is proved.
    single : bool
        With a client: store the matrix in float32, in half the memory, for the products of the iteration. The proof
        evaluates the entries again in float64.

    Returns
    -------
    dict of int to Eigenvalue
        The bounds hold for the *exact* kernel of X: the error of evaluating its entries (bounded by
        `ntkmc.theory.kernels.functions.entry_error`) is folded in, and the lower end is at least 0, because the
        exact kernel is positive semi-definite.

    Raises
    ------
    InputError
        For data that are not a finite (n, d) array, or an unknown kernel, depth or method.
    ExecutionError
        If the client's cluster goes away, or its disks are full.

    Notes
    -----
    Memory without a client: `linalg.cost.trial_bytes`. With one depth, one n x n array holds cosines, kernel and
    factor in turn; a second one if there are several.

    Examples
    --------
    >>> answer = lambda_min([[1.0, 0.0], [0.0, 1.0]], "h-infinity")[2]
    >>> answer.lower <= 0.5 <= answer.upper
    True
    """
    if client is None:
        # The proof reuses the memory of the matrix, and needs its entries in float64: both options would save nothing.
        if not certificate or single:
            raise InputError(
                "certificate=False and single=True need a client: in one process's memory the proof costs the least"
            )
        return enclosures.lambda_min(X, kernel, depths, method=method)
    from ntkmc.execution.blocked.lambda_min import lambda_min_blocked

    return lambda_min_blocked(client, X, kernel, depths, method=method, certificate=certificate, single=single)


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
    profile: str | Profile | None = None,
    progress: bool = True,
    block_length: int | None = None,
    plan: Plan | None = None,
) -> Outcome:
    """Run a study as `run` does, and return how the run ended instead of raising.

    `plan` is the checked plan of the study for `profile`; it is made here if it is not given.
    """
    from ntkmc.execution.batch.status import ProgressLog
    from ntkmc.execution.batch.workspace import Workspace
    from ntkmc.execution.driver import drive
    from ntkmc.execution.events import Note
    from ntkmc.execution.plan import check_plan, make_plan
    from ntkmc.execution.profile_schema import Profile
    from ntkmc.execution.profiles import connect, load_profile
    from ntkmc.execution.progress.study_page.feed import study_page
    from ntkmc.execution.progress.terminal import ProgressView
    from ntkmc.experiment.store import Lease
    from ntkmc.experiment.store.location import LEASE

    location = Location.of(store)
    view = ProgressView()
    subscribers: list[Subscriber] = [view] if progress else []

    def say(text: str) -> None:
        for subscriber in subscribers:
            subscriber(Note(text))

    with ExitStack() as stack:
        if client is None:
            loaded = profile if isinstance(profile, Profile) else load_profile(profile or "local")
            if plan is None:
                plan = make_plan(study, loaded)
                check_plan(plan, loaded)
            if loaded.batch:
                subscribers.append(ProgressLog(Workspace(location)))
            # Take and release the lease: it raises if another run is writing, before jobs are queued. A store in a
            # bucket has no lock file, and a job within an allocation queues nothing.
            if loaded.batch and not loaded.one_job and not location.remote and (location.path / LEASE).exists():
                with Lease(location, say):
                    pass
            client = stack.enter_context(connect(loaded, layout=plan.layout, store=location, say=say))
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
    """Recompute the trials in the findings of `verify`, and verify the store again.

    Parameters
    ----------
    store : str or Path
    report : Report
        As `verify` returned it.
    study : Study, optional
        Study that provides the code of the user's own laws, which is never imported from a store.
    client, profile, progress
        As in `run`.

    Returns
    -------
    Report
        Report of the repaired store.

    Raises
    ------
    InputError
        If a law is code that no study provides.
    StoreError
        If the store cannot be repaired: its metadata, or a coordinate, is damaged.
    ExecutionError
        As in `run`.
    """
    location = Location.of(store)
    attributes = read_attributes(location)
    studies = [*stored_studies(attributes, str(location))]
    if study is not None:
        check_identity(location, study)
        studies = [stored for stored in studies if stored.digest() != study.digest()] + [study]
    # Before anything is deleted: a law without its code cannot be drawn again. `check` raises and explains the remedy.
    for cell in (cell for stored in studies for cell in stored.cells):
        if isinstance(cell.distribution, Unimported):
            cell.distribution.check(cell.n, cell.d)
    with Lease(location):
        mark_not_run(Store.prepare(location, studies[-1]), report)
    # Run all studies of the history, as any of their trials may be damaged; finished trials are skipped.
    for stored in studies:
        outcome = execute(stored, location, client=client, profile=profile, progress=progress)
        if outcome.interrupted:
            raise KeyboardInterrupt
    return verify(store, study=study)
