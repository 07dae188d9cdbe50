"""Merge stores of one identity: blocks of trials that the target store lacks are copied into it.

Every block passes through the journal of the target store, with its provenance. A merge can therefore be killed and
repeated like a run, and trials that several stores hold are taken once.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ntkmc.errors import InputError, StoreError
from ntkmc.experiment.analysis.update import Derived
from ntkmc.experiment.store.block_table import read_blocks
from ntkmc.experiment.store.journal import Block
from ntkmc.experiment.store.layout import create, identity_difference, read_attributes
from ntkmc.experiment.store.lease import Lease
from ntkmc.experiment.store.location import Location
from ntkmc.experiment.store.reading import stored_cells, study_of
from ntkmc.experiment.store.store import Store
from ntkmc.experiment.study.cells import Cell
from ntkmc.experiment.study.loading import parse_study
from ntkmc.experiment.study.measurements import MEASUREMENTS, MeasurementKey, measurements_of
from ntkmc.experiment.study.model import FixedTrials, Study
from ntkmc.theory.distributions import Unimported

_LONGEST: Final = 4096
"""Largest number of trials per block of a merge."""

_FOLD_EVERY: Final = 256
"""Number of blocks between folds."""


@dataclass(frozen=True)
class Merged:
    """Result of a merge.

    Attributes
    ----------
    study : Study
        Study of the merged store, with all cells, thresholds and trials.
    trials : int
        Number of trials taken from other stores; a trial counts once per set of depths and per measurement.
    missing : int
        Number of trials of the study that the store lacks; a run of the study computes them.
    """

    study: Study
    trials: int
    missing: int


def merge(into: str | Path, stores: Sequence[str | Path]) -> Merged:
    """Merge stores of one identity (seed, kernel, normalization, nesting, numerics) into one.

    Parameters
    ----------
    into : str or Path
        The target: an existing store, which is extended, or a path for a new one.
    stores : sequence of str or Path
        Source stores, which are not changed. No run may be writing to them.

    Raises
    ------
    InputError
        If there is nothing to merge, or the studies differ in settings that must be equal.
    StoreError
        If a store is not one, differs in its identity (the difference is named), or cannot be read.
    """
    target = Location.of(into)
    sources = [Location.of(location) for location in stores]
    if not sources:
        raise InputError("merge: name at least one store to take from")
    if target in sources or len(set(sources)) < len(sources):
        raise InputError(f"merge: {target if target in sources else 'a store'} is named twice")
    everything = [*([target] if target.occupied() else []), *sources]
    _compare_identities(everything)
    # The target takes part in the union, so that nothing that it holds is lost.
    study = joined([(str(location), _study(location)) for location in everything])
    if not target.remote:
        create(target, study)
    with Lease(target):
        if target.remote:
            create(target, study)
        store = Store.prepare(target, study)
        taken = sum(_take(store, source) for source in sources)
        derived = Derived(store)
        # Verdicts depend on the hypotheses of a law, hence on its code, which is never imported from a store.
        derived.refresh(cell for cell in study.cells if not isinstance(cell.distribution, Unimported))
        derived.finish()
        derived.write()
        span = slice(study.trial_range.start, study.trial_range.stop)
        missing = sum(
            int(np.sum(~store.done(cell, measurement)[:, span].all(axis=0)))
            for cell in study.cells
            for measurement in study.measurements
        )
    return Merged(study, taken, missing)


def joined(named: Sequence[tuple[str, Study]]) -> Study:
    """Return the union of studies: of their grids, thresholds, claims and trials.

    Parameters
    ----------
    named : sequence of (str, Study)
        Studies of one identity, each with its name in messages.

    Raises
    ------
    InputError
        If they differ in delta, in confidence, or in the rule for the number of trials.
    """
    origin, first = named[0]
    document = first.document()
    for other, study in named[1:]:
        for what, here, there in (
            ("event.delta", first.event.delta, study.event.delta),
            ("confidence", first.confidence, study.confidence),
        ):
            if here != there:
                raise InputError(f"merge: {what} is {here} in {origin} and {there} in {other}: make them equal")
        other_document = study.document()
        document["grid"] += [grid for grid in other_document["grid"] if grid not in document["grid"]]
        document["event"]["lambda-0"] = sorted({*document["event"]["lambda-0"], *other_document["event"]["lambda-0"]})
        for axis in MEASUREMENTS.values():
            document |= axis.joined(document, other_document)
            document |= {key: other_document[key] for key in axis.settings if key in other_document}
        if "spectrum" in other_document and document.get("spectrum") != "full":
            document["spectrum"] = other_document["spectrum"]
        document["claims"] = list(dict.fromkeys([*document["claims"], *other_document["claims"]]))
    document["trials"] = _trials(named)
    return parse_study(document, origin="merged study", trusted=False)


def _trials(named: Sequence[tuple[str, Study]]) -> dict[str, Any]:
    """Return the smallest range that contains all fixed ranges, or the common adaptive rule."""
    fixed = [study.trials for _, study in named if isinstance(study.trials, FixedTrials)]
    if len(fixed) == len(named):
        start = min(trials.first for trials in fixed)
        stop = max(trials.first + trials.count for trials in fixed)
        return {"from": start, "count": stop - start}
    rules = {study.trials for _, study in named}
    if len(rules) > 1:
        raise InputError(
            "merge: trials are counted differently in these studies: make them equal, or {from, count} all"
        )
    return next(iter(rules)).model_dump(by_alias=True)


def _study(location: Location) -> Study:
    """Return the study of a store, extended to all values that the store holds along its additional axes.

    Axes of training are not extended: their keys request all combinations, which may be more than the store holds.
    """
    attributes = read_attributes(location)
    study = study_of(attributes, str(location))
    coordinates = attributes["coordinates"]
    document = study.document()
    for axis in measurements_of(coordinates):
        if axis.join is not None:
            continue
        document[axis.key] = list(dict.fromkeys([*document.get(axis.key, []), *coordinates[axis.dim]]))
        document |= {key: getattr(study, key) for key in axis.settings if getattr(study, key)}
    return parse_study(document, origin=str(location), trusted=False)


def _compare_identities(locations: Sequence[Location]) -> None:
    known = read_attributes(locations[0])["identity"]
    for other in locations[1:]:
        identity = read_attributes(other)["identity"]
        difference = identity_difference(identity, known)
        if difference:
            raise StoreError(f"{other}: cannot be merged into {locations[0]}: {difference}")
        known = identity | known  # keys of additional axes that only some stores have


def _take(store: Store, source: Location) -> int:
    """Copy the trials that a source has and the store lacks; return their number."""
    attributes = read_attributes(source)
    opened = Store(source, _study(source), writing=False)
    if opened.damaged:
        raise StoreError(f"{source}: is damaged: ntkmc verify {source} --repair")
    # The merge would lack their trials, without any message.
    if opened.journal.names():
        raise StoreError(f"{source}: has blocks that are not folded yet: let its run end, or resume it first")
    # A trial without a statistic counts as never run in the target, and would be computed again there.
    lacking = [name for name in store.statistics if name not in opened.statistics]
    if lacking:
        raise InputError(
            f"{source}: did not measure {', '.join(lacking[:4])}, which the others did: run its study with "
            "their claims and spectrum there first"
        )
    makers = _Makers(opened)
    taken = pending = 0
    for cell in stored_cells(attributes, str(source)):
        for measurement in opened.measurements:
            for block in _blocks(store, opened, cell, makers, measurement):
                store.journal.put(block)
                taken += block.count
                pending += 1
                if pending >= _FOLD_EVERY:
                    store.fold()
                    pending = 0
    store.fold()
    return taken


def _blocks(store: Store, source: Store, cell: Cell, makers: _Makers, measurement: MeasurementKey) -> Iterator[Block]:
    done = source.statuses(cell, measurement) != 0
    lacking = np.zeros_like(done)
    depths = source.coordinates["depth"]
    # Depths of the source, in its order: the target may have others, and in another order.
    absent = store.statuses(cell, measurement)[store.depth_positions(depths)] == 0
    both = min(done.shape[1], absent.shape[1])
    # Trials beyond the end of the target are all lacking there.
    lacking[:, :both] = done[:, :both] & absent[:, :both]
    lacking[:, both:] = done[:, both:]
    key = (cell.distribution.label, cell.d, cell.n)
    group = source.group(measurement)
    owners = makers.owners(key, done.shape[1], measurement)
    for first, stop, rows in _runs(lacking, owners):
        for start in range(first, stop, _LONGEST):
            span = range(start, min(start + _LONGEST, stop))
            # A block lists its depths in increasing order, as a run's blocks do.
            chosen = sorted(rows, key=lambda row: depths[row])
            values = group.read(group.index(key, measurement), span)
            arrays = {
                name: array[chosen] if group.variables[name].per_depth else array for name, array in values.items()
            }
            block_depths = tuple(depths[row] for row in chosen)
            provenance = makers.provenance(int(owners[start]), len(span))
            yield Block(cell.folder, key, start, len(span), block_depths, arrays, provenance, measurement)


def _runs(lacking: NDArray[np.bool_], owners: NDArray[np.intp]) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Iterate over maximal runs of trials with equal lacking depths and one owner: (first, stop, rows)."""
    # Blocks of different makers stay apart, so that each keeps its provenance.
    changed = (lacking[:, 1:] != lacking[:, :-1]).any(axis=0) | (owners[1:] != owners[:-1])
    ends = [0, *(np.flatnonzero(changed) + 1).tolist(), lacking.shape[1]]
    for first, stop in itertools.pairwise(ends):
        rows = tuple(np.flatnonzero(lacking[:, first]).tolist())
        if rows:
            yield first, stop, rows


class _Makers:
    """Provenance of the trials of a source, from its table of blocks."""

    def __init__(self, source: Store) -> None:
        self._rows: list[dict[Any, Any]] = read_blocks(source.root).to_dict("records")
        environments: Any = source.root.attrs.get("environments", {})
        self._environments = dict(environments)
        self._of: dict[tuple[str, int, int, MeasurementKey], list[int]] = defaultdict(list)
        for at, row in enumerate(self._rows):
            measurement = MeasurementKey.parse(str(row["depths"]).partition(";")[2])
            self._of[(row["distribution"], row["d"], row["n"], measurement)].append(at)

    def owners(self, key: tuple[str, int, int], trials: int, measurement: MeasurementKey) -> NDArray[np.intp]:
        """Return for each trial the row of the last block that holds it; -1 if no block does."""
        owners = np.full(trials, -1, dtype=np.intp)
        for at in self._of.get((*key, measurement), ()):
            row = self._rows[at]
            owners[row["first"] : row["first"] + row["count"]] = at
        return owners

    def provenance(self, owner: int, trials: int) -> dict[str, Any]:
        """Return the provenance of a row for a number of its trials.

        Seconds are in proportion to the trials; methods are given only for a whole block.
        """
        if owner < 0:
            return {}
        row = self._rows[owner]
        host, _, process = str(row["worker"]).rpartition(":")
        whole = trials == int(row["count"])
        methods = (entry.rpartition(" ") for entry in str(row["method"]).split(", ") if entry)
        return {
            "host": host,
            "pid": process,
            "job": str(row["job"]),
            "seconds": float(row["seconds"]) * trials / int(row["count"]),
            "finished": int(row["finished"]),
            "methods": {name: int(number) for name, _, number in methods} if whole else {},
            "environment": self._environments.get(str(row["environment"])),
        }
