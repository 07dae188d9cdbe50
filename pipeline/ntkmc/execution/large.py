"""A trial whose Gram matrix no worker can hold: all workers hold it together, for one trial at a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from distributed import Client

from ntkmc.errors import InputError
from ntkmc.execution.blocked import bench_of
from ntkmc.execution.fleet import DaskFleet, room_of
from ntkmc.execution.tasks import Report
from ntkmc.experiment.store.journal import Block, Journal
from ntkmc.experiment.store.provenance import block_provenance
from ntkmc.experiment.trial.draw import draw, standard_scale
from ntkmc.experiment.trial.run import NUMERICAL_ERRORS, BlockTask, Trial, blank, record, single_thread
from ntkmc.experiment.trial.statistics import draw_statistics, surveyed_statistics, unknown
from ntkmc.linalg.blocked.cost import block_length
from ntkmc.linalg.blocked.solver import enclose_blocked
from ntkmc.linalg.eigen.rows import as_data, split_rows
from ntkmc.linalg.gram.enclosures import about_exact_kernel, kernel_error


def commit_large(task: BlockTask, client: Client, journal: Journal, stop: Callable[[], bool]) -> Report:
    """Compute a block of one trial with all workers, and put it into the journal; called by the driver itself.

    Parameters
    ----------
    task : BlockTask
    client : distributed.Client
    journal : Journal
    stop : callable
        As of `DaskFleet`.

    Raises
    ------
    ExecutionError
        If the cluster goes away, or what the tiles need is lacking.
    """
    start = time.perf_counter()
    arrays = blank(task)
    methods: Counter[str] = Counter()
    task.distribution.check(task.n, task.d)
    try:
        found = _measured(task, client, stop)
    except NUMERICAL_ERRORS:
        pass
    else:
        record(arrays, found, task.depths, 0)
        methods.update(
            f"blocked {answer.method}" for answer in found.eigenvalues.values() if hasattr(answer, "method")
        )
    seconds = time.perf_counter() - start
    cell = (task.distribution.label, task.d, task.n)
    provenance = block_provenance(seconds, methods, blocked=True)
    journal.put(Block(task.folder, cell, task.first, 1, task.depths, arrays, provenance))
    return Report(task.folder, task.first, 1, seconds, int(not methods))


def _measured(task: BlockTask, client: Client, stop: Callable[[], bool]) -> Trial:
    """As `ntkmc.experiment.trial.run.measure_draw`. Of eigenvalues of further matrices it says that nothing is
    known."""
    recipe, names = task.recipe, task.recipe.statistics
    X = as_data(draw(recipe, task.distribution, task.d, task.n, task.first))
    rows, first = split_rows(X), X[0].copy()
    del X
    largest = float(rows.norms.max())
    if largest > 0.0 and not 2.0**-30 < largest < 2.0**30:
        raise InputError("norms so extreme that float32 overflows: rescale, or normalize")
    scale = standard_scale(recipe.normalize, task.distribution, task.d)
    length = block_length(task.n, len(client.nthreads()), room_of(client))
    with single_thread(), DaskFleet(client, rows, recipe.kernel, length, stop=stop) as fleet:
        pairs = fleet.pair_sums()
        norms = {"coherence": pairs.coherence, "norm_min": float(rows.norms.min()), "norm_max": largest}
        found = Trial({}, unknown(names) | norms | draw_statistics(names, first, rows, pairs, scale), {})
        start = None
        for depth in sorted(task.depths):
            fleet.build(depth)
            bench = bench_of(fleet, rows, depth)
            found.deep[depth] = unknown(names) | surveyed_statistics(names, fleet.survey(), bench.diagonal)
            answer = enclose_blocked(bench, start=start)
            start = answer.vector
            error = kernel_error(rows, recipe.kernel, depth, pairs.coherence)
            found.eigenvalues[depth] = about_exact_kernel(answer, error)
    return found
