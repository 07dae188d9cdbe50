"""Cells of a results tree, and the trials that their estimates are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from ntkmc.errors import InputError, did_you_mean
from ntkmc.experiment.analysis import Rules
from ntkmc.experiment.store import attributes_without_imports
from ntkmc.experiment.store.reading import stored_studies, united_cells
from ntkmc.experiment.study import parse_study
from ntkmc.theory.cell import CellContext

Arrays = dict[str, NDArray[Any]]

COORDINATES: Final = ["distribution", "d", "n", "depth"]
"""Coordinates of a cell at one depth, in the order of sorting and of columns."""

_LAMBDA_MIN: Final = ("lambda_min", "lambda_min_lower", "lambda_min_upper", "status")

_MOST_HELD: Final = 2**23
"""Largest number of trials that `Grid.prefix` caches, about 200 MiB."""

_ORIGIN: Final = "the store's study"


@dataclass(frozen=True, order=True)
class CellDepth:
    """A cell at one depth.

    >>> place = CellDepth("student-t(df=3)", 32, 16, 2)
    >>> place.cell
    'student-t(df=3),d=32,n=16'
    >>> place.selection
    'distribution=student-t(df=3),d=32,n=16,depth=2'
    """

    distribution: str
    d: int
    n: int
    depth: int

    @property
    def cell(self) -> str:
        """Name of the cell in the syntax of `ntkmc trial`."""
        return f"{self.distribution},d={self.d},n={self.n}"

    @property
    def selection(self) -> str:
        """Selection of the place in the syntax of `ntkmc show`."""
        return f"distribution={self.distribution},d={self.d},n={self.n},depth={self.depth}"

    @property
    def labels(self) -> dict[str, Any]:
        """Coordinates for `xarray.Dataset.sel`."""
        return asdict(self)


class Grid:
    """The cells of a results tree.

    Parameters
    ----------
    tree : xarray.DataTree
        As `ntkmc.open_results` returns it.

    Raises
    ------
    InputError
        If the store's study can no longer be read.
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self.tree = tree
        self.attributes = {str(key): value for key, value in tree.attrs.items()}
        self.trials = tree["trials"].to_dataset()
        self.estimates = tree["estimates"].to_dataset()
        self._prefixes: dict[CellDepth, Arrays] = {}
        # A store may come from anybody: no code that it names is imported, its labels suffice for a view.
        described = attributes_without_imports(tree)
        studies = stored_studies(described, _ORIGIN)
        self.cells = {cell.name: cell for cell in united_cells(studies)}
        # The study that a place was last run with, whose rules its estimates follow: later studies replace earlier.
        self._studies = {
            CellDepth(cell.distribution.label, cell.d, cell.n, depth): study
            for study in studies
            for cell in study.cells
            for depth in cell.depths
        }
        self.study = parse_study(described["study"], origin=_ORIGIN, trusted=False)

    @cached_property
    def places(self) -> tuple[CellDepth, ...]:
        """Every cell at every depth, sorted."""
        return tuple(sorted(self._studies))

    @property
    def thresholds(self) -> list[float]:
        """All lambda_0 of the store, increasing."""
        return sorted(float(value) for value in self.estimates["lambda_0"].to_numpy())

    @property
    def decided_only(self) -> bool:
        """True if only events were decided (`measure: event`), so that lambda_min has no distribution."""
        return self.study.measure == "event"

    def place(self, distribution: str, d: int, n: int, depth: int) -> CellDepth:
        """Return the place with these coordinates.

        Raises
        ------
        InputError
            If there is no such place.
        """
        place = CellDepth(distribution, d, n, depth)
        if place not in self._studies:
            raise InputError(f"no cell {place.selection}: {did_you_mean(place.cell, self.cells)}")
        return place

    def used(self, place: CellDepth) -> int:
        """Return the number of trials in the estimates of a place; 0 before the first look."""
        return int(self.estimates["trials_used"].sel(place.labels))

    def rules(self, place: CellDepth, thresholds: list[float]) -> Rules:
        """Return the rules of the estimates of a place."""
        study = self._studies[place]
        # Intervals for a fixed number of trials are valid only if no look could have stopped the study earlier.
        fixed = not study.adaptive and self.used(place) == len(study.trial_range)
        return Rules(np.array(thresholds, dtype=np.float64), study.event.delta, study.confidence, fixed)

    def context(self, place: CellDepth) -> CellContext:
        """Return the context of claims and predictions at a place.

        Moments and hypotheses of a law that is not imported are unknown.
        """
        return self._studies[place].context(self.cells[place.cell], place.depth)

    def looks(self, place: CellDepth) -> int:
        """Return the number of looks at the estimates of a place; 1 if the number of trials was fixed in advance."""
        return 1 if self.rules(place, []).fixed else len(self._studies[place].looks)

    def statistics(self, place: CellDepth, names: Sequence[str]) -> Arrays:
        """Return those of the named statistics that the store has, as arrays (T,) over the trials of the estimates."""
        first = self._studies[place].trial_range.start
        present = [name for name in names if name in self.trials]
        chosen = self.trials[present]
        # Statistics of the draw, such as the coherence, have no depth to select by.
        labels = {dim: value for dim, value in place.labels.items() if dim in chosen.dims}
        trials = chosen.sel(labels).isel(trial=slice(first, first + self.used(place))).load()
        return {name: trials[name].to_numpy() for name in present}

    def confidence(self, place: CellDepth) -> float:
        """Return the confidence level of an interval at a place."""
        return self._studies[place].confidence

    def prefix(self, place: CellDepth) -> Arrays:
        """Return the trials of the estimates of a place, in the order of their addresses.

        The arrays (T,) are `lambda_min`, `lambda_min_lower`, `lambda_min_upper` and `status`.
        """
        if place not in self._prefixes:
            first = self._studies[place].trial_range.start
            span = slice(first, first + self.used(place))
            trials = self.trials[list(_LAMBDA_MIN)].sel(place.labels).isel(trial=span).load()
            cached = sum(len(prefix["status"]) for prefix in self._prefixes.values())
            # Clearing everything is simple, and a report visits most places only once.
            if cached > _MOST_HELD:
                self._prefixes.clear()
            self._prefixes[place] = {name: trials[name].to_numpy() for name in _LAMBDA_MIN}
        return self._prefixes[place]


def spread(values: Iterable[Any], most: int = 4) -> list[Any]:
    """Return at most this many of the distinct values, sorted: both ends, and values evenly between them.

    >>> spread([1, 2, 3, 4, 5, 6, 7], 3)
    [1, 4, 7]
    """
    ordered = sorted(set(values))
    # Both ends are shown, since dependences on n, d and L are clearest between them.
    positions = np.linspace(0, len(ordered) - 1, min(len(ordered), most)).round().astype(int)
    return [ordered[i] for i in positions]


def open_grid(store: str | Path) -> Grid:
    """Open the store at a path or URL, and return its grid."""
    from ntkmc.experiment.store import open_results

    return Grid(open_results(store))
