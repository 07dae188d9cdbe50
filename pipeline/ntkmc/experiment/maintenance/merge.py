"""Stores of one study, computed in several places, become one: their blocks are committed anew into the first.

Every block goes through the journal of the store that grows, with the row that says who computed it. So a merge may
be killed and repeated like a run, and what both stores have is taken once.
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
from ntkmc.experiment.study.measurements import AXES, Part, axes_of, labelled
from ntkmc.experiment.study.model import FixedTrials, Study
from ntkmc.theory.distributions import Unimported

_LONGEST: Final = 4096
"""Trials in a block of a merge."""

_FOLD_EVERY: Final = 256
"""Blocks between folds."""


@dataclass(frozen=True)
class Merged:
    """What a merge did.

    Attributes
    ----------
    study : Study
        That of the merged store: all cells, all thresholds, all trials.
    trials : int
        Trials that were taken from other stores, each depth set once, and each part once.
    missing : int
        Trials that the study has and the store lacks; running it fills them in.
    """

    study: Study
    trials: int
    missing: int


def merge(into: str | Path, stores: Sequence[str | Path]) -> Merged:
    """Join stores of one identity (seed, kernel, normalization, nesting, numerics) into one.

    Parameters
    ----------
    into : str or Path
        A store that grows, or a place for a new one.
    stores : sequence of str or Path
        Stores to take from; they stay as they are. Nobody may be writing to them.

    Raises
    ------
    InputError
        If there is nothing to merge, or the studies differ in what cannot be joined.
    StoreError
        If a store is not one, differs in its identity (the difference is named), or cannot be read.
    """
    target = Location.of(into)
    sources = [Location.of(each) for each in stores]
    if not sources:
        raise InputError("merge: name at least one store to take from")
    if target in sources or len(set(sources)) < len(sources):
        raise InputError(f"merge: {target if target in sources else 'a store'} is named twice")
    everything = [*([target] if target.occupied() else []), *sources]
    _compare_identities(everything)
    study = joined([(str(each), _study(each)) for each in everything])
    if not target.remote:
        create(target, study)
    with Lease(target):
        if target.remote:
            create(target, study)
        store = Store.prepare(target, study)
        taken = sum(_take(store, source) for source in sources)
        derived = Derived(store)
        # What a law satisfies is part of a verdict, and says only its code, which is not imported on a store's word.
        derived.refresh(cell for cell in study.cells if not isinstance(cell.distribution, Unimported))
        derived.finish()
        derived.write()
        span = slice(study.trial_range.start, study.trial_range.stop)
        missing = sum(
            int(np.sum(~store.done(cell, part)[:, span].all(axis=0))) for cell in study.cells for part in study.parts
        )
    return Merged(study, taken, missing)


def joined(named: Sequence[tuple[str, Study]]) -> Study:
    """One study of all: the union of their grids, thresholds and claims, and of their trials.

    Parameters
    ----------
    named : sequence of (str, Study)
        Studies of one identity, each with what it is called in messages.

    Raises
    ------
    InputError
        If they differ in delta, confidence, or in how trials are counted: say so, and which.
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
        found = study.document()
        document["grid"] += [grid for grid in found["grid"] if grid not in document["grid"]]
        document["event"]["lambda-0"] = sorted({*document["event"]["lambda-0"], *found["event"]["lambda-0"]})
        for axis in AXES.values():
            document |= axis.joined(document, found)
            document |= {key: found[key] for key in axis.settings if key in found}
        if "spectrum" in found and document.get("spectrum") != "full":
            document["spectrum"] = found["spectrum"]
        document["claims"] = list(dict.fromkeys([*document["claims"], *found["claims"]]))
    document["trials"] = _trials(named)
    return parse_study(document, origin="merged study", trusted=False)


def _trials(named: Sequence[tuple[str, Study]]) -> dict[str, Any]:
    """The range that holds all fixed ranges, or the adaptive rule that all share."""
    fixed = [study.trials for _, study in named if isinstance(study.trials, FixedTrials)]
    if len(fixed) == len(named):
        start = min(each.first for each in fixed)
        stop = max(each.first + each.count for each in fixed)
        return {"from": start, "count": stop - start}
    rules = {study.trials for _, study in named}
    if len(rules) > 1:
        raise InputError(
            "merge: trials are counted differently in these studies: make them equal, or {from, count} all"
        )
    return next(iter(rules)).model_dump(by_alias=True)


def _study(location: Location) -> Study:
    """That of a store, asking for all that the store holds beside its draws, of earlier studies too.

    But for what is trained: its keys ask for all combinations, which may be more than the store holds.
    """
    attributes = read_attributes(location)
    study = study_of(attributes, str(location))
    coordinates = attributes["coordinates"]
    document = study.document()
    for axis in axes_of(coordinates):
        if axis.join is not None:
            continue
        document[axis.key] = list(dict.fromkeys([*document.get(axis.key, []), *coordinates[axis.dim]]))
        document |= {key: getattr(study, key) for key in axis.settings if getattr(study, key)}
    return parse_study(document, origin=str(location), trusted=False)


def _compare_identities(locations: Sequence[Location]) -> None:
    known = read_attributes(locations[0])["identity"]
    for other in locations[1:]:
        found = read_attributes(other)["identity"]
        difference = identity_difference(found, known)
        if difference:
            raise StoreError(f"{other}: cannot be merged into {locations[0]}: {difference}")
        known = found | known  # how what is beside the draws is computed, where only some have any


def _take(store: Store, source: Location) -> int:
    """Commit what a source has and the store lacks; returns the number of trials."""
    attributes = read_attributes(source)
    opened = Store(source, _study(source), writing=False)
    if opened.damaged:
        raise StoreError(f"{source}: is damaged: ntkmc verify {source} --repair")
    if opened.journal.names():
        raise StoreError(f"{source}: has blocks that are not folded yet: let its run end, or resume it first")
    lacking = [name for name in store.statistics if name not in opened.statistics]
    if lacking:
        raise InputError(
            f"{source}: did not measure {', '.join(lacking[:4])}, which the others did: run its study with "
            "their claims and spectrum there first"
        )
    makers = _Makers(opened)
    taken = pending = 0
    for cell in stored_cells(attributes, str(source)):
        for part in opened.parts:
            for block in _blocks(store, opened, cell, makers, part):
                store.journal.put(block)
                taken += block.count
                pending += 1
                if pending >= _FOLD_EVERY:
                    store.fold()
                    pending = 0
    store.fold()
    return taken


def _blocks(store: Store, source: Store, cell: Cell, makers: _Makers, part: Part) -> Iterator[Block]:
    done = source.statuses(cell, part) != 0
    lacking = np.zeros_like(done)
    depths = source.coordinates["depth"]
    mine = store.statuses(cell, part)[store.depth_positions(depths)] == 0
    both = min(done.shape[1], mine.shape[1])
    lacking[:, :both] = done[:, :both] & mine[:, :both]
    lacking[:, both:] = done[:, both:]
    key = (cell.distribution.label, cell.d, cell.n)
    group = source.group(part)
    owners = makers.owners(key, done.shape[1], part)
    for first, stop, rows in _runs(lacking, owners):
        for start in range(first, stop, _LONGEST):
            span = range(start, min(start + _LONGEST, stop))
            chosen = sorted(rows, key=lambda row: depths[row])
            values = group.read(group.place(key, part), span)
            arrays = {name: each[chosen] if group.variables[name].per_depth else each for name, each in values.items()}
            named = tuple(depths[row] for row in chosen)
            made = makers.provenance(int(owners[start]), len(span))
            yield Block(cell.folder, key, start, len(span), named, arrays, made, part)


def _runs(lacking: NDArray[np.bool_], owners: NDArray[np.intp]) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Maximal runs of trials that lack the same depths and have one owner: (first, stop, rows)."""
    changed = (lacking[:, 1:] != lacking[:, :-1]).any(axis=0) | (owners[1:] != owners[:-1])
    ends = [0, *(np.flatnonzero(changed) + 1).tolist(), lacking.shape[1]]
    for first, stop in itertools.pairwise(ends):
        rows = tuple(np.flatnonzero(lacking[:, first]).tolist())
        if rows:
            yield first, stop, rows


class _Makers:
    """Who computed the trials of a source."""

    def __init__(self, source: Store) -> None:
        self._rows: list[dict[Any, Any]] = read_blocks(source.root).to_dict("records")
        environments: Any = source.root.attrs.get("environments", {})
        self._environments = dict(environments)
        self._of: dict[tuple[str, int, int, Part], list[int]] = defaultdict(list)
        for at, row in enumerate(self._rows):
            part = labelled(str(row["depths"]).partition(";")[2])
            self._of[(row["distribution"], row["d"], row["n"], part)].append(at)

    def owners(self, key: tuple[str, int, int], trials: int, part: Part) -> NDArray[np.intp]:
        """For each trial the row of the last block that holds it; -1 where nobody knows."""
        owners = np.full(trials, -1, dtype=np.intp)
        for at in self._of.get((*key, part), ()):
            row = self._rows[at]
            owners[row["first"] : row["first"] + row["count"]] = at
        return owners

    def provenance(self, owner: int, trials: int) -> dict[str, Any]:
        """That of a row, for so many of its trials: seconds in proportion, methods where it is the whole block."""
        if owner < 0:
            return {}
        row = self._rows[owner]
        host, _, process = str(row["worker"]).rpartition(":")
        whole = trials == int(row["count"])
        methods = (each.rpartition(" ") for each in str(row["method"]).split(", ") if each)
        return {
            "host": host,
            "pid": process,
            "job": str(row["job"]),
            "seconds": float(row["seconds"]) * trials / int(row["count"]),
            "finished": int(row["finished"]),
            "methods": {name: int(number) for name, _, number in methods} if whole else {},
            "environment": self._environments.get(str(row["environment"])),
        }
