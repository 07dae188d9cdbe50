"""A random sample of a store's trials, computed again from their addresses and laid beside what is stored."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from ntkmc.errors import NtkmcError
from ntkmc.experiment.cells import Cell
from ntkmc.experiment.parts import Part
from ntkmc.experiment.provenance import bits_of, environment
from ntkmc.experiment.recompute import recomputed
from ntkmc.experiment.store import Store
from ntkmc.experiment.study import Study
from ntkmc.linalg.cost import trial_bytes
from ntkmc.theory.distributions import Unimported


@dataclass(frozen=True)
class Difference:
    """A trial that is not what it is when it is computed again: its cell, its number, in what, and of which part."""

    cell: str
    trial: int
    what: str
    part: Part


class Recomputing:
    """A random sample of finished trials, computed again.

    Attributes
    ----------
    count : int
        Trials that were computed again.
    last_bits : int
        Those of them that differ from the store's as another processor's, or BLAS's, may: their enclosures overlap.
    skipped : list of str
        Cells of which none can be, each with the reason: its law is code that no study names, or memory.
    """

    def __init__(self, store: Store, study: Study, cells: Mapping[str, Cell]) -> None:
        self.count = 0
        self.last_bits = 0
        self._store = store
        self._study = study
        environments: Any = store.root.attrs.get("environments", {})
        # Bits are promised where everything that can change one is what it was.
        self._exact = all(bits_of(each) == bits_of(environment()) for each in environments.values())
        known = {cell.name: cell.distribution for cell in study.cells}
        laws = {law.label: law for law in known.values() if not isinstance(law, Unimported)}
        self._cells = []
        self.skipped = []
        for name, cell in cells.items():
            law = laws.get(cell.distribution.label, cell.distribution)
            needed = trial_bytes(cell.n, cell.d, cell.depths)
            if isinstance(law, Unimported):
                self.skipped.append(f"{name} (its law is code beside a study: --study FILE)")
            elif needed > psutil.virtual_memory().available:  # a matrix that was blocked over several workers
                self.skipped.append(f"{name} (it needs {needed / 2**30:.1f} GiB of memory)")
            else:
                self._cells.append(Cell(law, cell.d, cell.n, cell.depths))

    def sample(self, number: int, seed: int) -> list[Difference]:
        """What differs among `number` finished trials."""
        kinds = [(cell, part) for cell in self._cells for part in self._store.parts]
        done = [np.flatnonzero((self._store.statuses(*kind) != 0).any(axis=0)) for kind in kinds]
        weights = np.array([len(trials) for trials in done], dtype=np.float64)
        if not weights.sum():
            return []
        rng = np.random.default_rng(seed)
        found = []
        for at in rng.choice(len(kinds), size=number, p=weights / weights.sum()):
            cell, part = kinds[at]
            trial = int(rng.choice(done[at]))
            self.count += 1
            wrong = self._compare(cell, part, trial)
            if wrong:
                found.append(Difference(cell.name, trial, wrong, part))
        return found

    def _compare(self, cell: Cell, part: Part, trial: int) -> str:
        """What is wrong with a trial; empty if nothing is."""
        group = self._store.group(part)
        depths_here = self._store.coordinates["depth"]
        status = self._store.statuses(cell, part)
        depths = tuple(sorted(depths_here[row] for row in range(len(depths_here)) if status[row, trial]))
        try:
            arrays = recomputed(self._study, self._store.statistics, cell, depths, trial, part)
        except NtkmcError as error:
            return f"cannot be computed again ({error})"
        place = group.place((cell.distribution.label, cell.d, cell.n), part)
        stored = group.read(place, range(trial, trial + 1))
        rows = self._store.depth_positions(depths)
        differ = []
        for name, variable in group.variables.items():
            there = stored[name][rows] if variable.per_depth else stored[name]
            here = arrays[name]
            if not np.array_equal(here, there, equal_nan=name != "status"):
                differ.append(name)
        if not differ:
            return ""
        # Nothing bounds the roundings of a deep network's kernel: another processor's enclosures may lie apart.
        apart = part.plain and bool(
            np.any(
                (arrays["lambda_min_lower"] > stored["lambda_min_upper"][rows])
                | (arrays["lambda_min_upper"] < stored["lambda_min_lower"][rows])
            )
        )
        if not (self._exact or apart or _far(arrays, stored, rows, part)):
            self.last_bits += 1
            return ""
        return f"computed again it differs in {', '.join(differ[:4])}{' ...' if len(differ) > 4 else ''}"


def _far(arrays: Mapping[str, NDArray[Any]], stored: Mapping[str, NDArray[Any]], rows: list[int], part: Part) -> bool:
    """Whether a statistic that has no enclosure differs by more than another processor's roundings would explain."""
    for name, here in arrays.items():
        if name == "status" or (part.plain and name in ("lambda_min", "lambda_min_lower", "lambda_min_upper")):
            continue
        there = stored[name][rows] if here.ndim > 1 else stored[name]
        if np.isinf(there).any():  # an end of which a blocked matrix says nothing
            continue
        close = 1e-6 * (1.0 + np.nanmax(np.abs(here), initial=0.0))
        if not np.allclose(here, there, rtol=1e-6, atol=close, equal_nan=True):
            return True
    return False
