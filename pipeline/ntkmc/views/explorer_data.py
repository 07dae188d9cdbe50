"""Data of the explorer: selections, theoretical values at a place, and HTML fragments."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ntkmc.errors import InputError
from ntkmc.experiment.schema import Verdict
from ntkmc.theory.claims import InequalityClaim
from ntkmc.theory.claims.base import smallest_eigenvalue
from ntkmc.theory.predictions import PREDICTORS, predictions
from ntkmc.views.cells import COORDINATES, CellDepth, Grid
from ntkmc.views.curves import probabilities_at
from ntkmc.views.evidence import Evidence
from ntkmc.views.frames import registered_claim
from ntkmc.views.report.markup import fragment

NO_ESTIMATE = (
    "No estimate here yet. Run the study: the first look is taken after a few trials, and this page follows the store "
    "while it is being written."
)


@dataclass(frozen=True)
class Selection:
    """Selection of the explorer, as encoded in a link.

    Attributes
    ----------
    distribution : str
    d, n, depth : int
    lambda_0 : float
        Threshold, one of the store's or any other.
    """

    distribution: str
    d: int
    n: int
    depth: int
    lambda_0: float

    @property
    def place(self) -> CellDepth:
        """Cell at the selected depth."""
        return CellDepth(self.distribution, self.d, self.n, self.depth)


def first_selection(grid: Grid) -> Selection:
    """Return the initial selection: the place and threshold whose estimate is nearest to one half.

    Raises
    ------
    InputError
        If the store plans no cells.
    """
    if not grid.places:
        raise InputError("the store plans no cells")
    probability = grid.estimates["probability"].transpose(*COORDINATES, "lambda_0").load()
    # An estimate near 0 or 1 shows a curve without its slope.
    distances = np.abs(probability.to_numpy() - 0.5)
    if np.isnan(distances).all():
        return Selection(**grid.places[0].labels, lambda_0=grid.thresholds[0])
    position = np.unravel_index(int(np.nanargmin(distances)), distances.shape)
    return Selection(
        **{str(dim): probability[dim][i].item() for dim, i in zip(probability.dims, position, strict=True)}
    )


def nearest(grid: Grid, selection: Selection) -> Selection:
    """Return the selection, or the nearest one that the store has: same distribution first, then d, depth and n."""
    if selection.place in grid.places:
        return selection
    # A distribution that the store does not have, from an old link, is replaced by any.
    places = [place for place in grid.places if place.distribution == selection.distribution] or list(grid.places)

    def distance(place: CellDepth) -> tuple[int, int, int]:
        return abs(place.d - selection.d), abs(place.depth - selection.depth), abs(place.n - selection.n)

    return dataclasses.replace(selection, **min(places, key=distance).labels)


def from_query(grid: Grid, query: Mapping[str, str]) -> Selection:
    """Return the selection in the parameters of a link; initial values replace missing and malformed ones."""
    values = dataclasses.asdict(first_selection(grid))
    values["distribution"] = query.get("distribution", values["distribution"])
    for name in ("d", "n", "depth"):
        if query.get(name, "").isdigit():
            values[name] = int(query[name])
    # Links may be edited by hand or cut off: a malformed value is no error.
    with suppress(ValueError):
        values["lambda_0"] = float(query.get("lambda_0", values["lambda_0"]))
    return nearest(grid, Selection(**values))


def options(grid: Grid, selection: Selection) -> dict[str, list[str] | list[int]]:
    """Return the choices for each coordinate: all distributions, and d, n and depth compatible with the others."""
    places = [place for place in grid.places if place.distribution == selection.distribution]
    return {
        "distribution": sorted({place.distribution for place in grid.places}),
        "d": sorted({place.d for place in places}),
        "n": sorted({place.n for place in places if place.d == selection.d}),
        "depth": sorted({place.depth for place in places if (place.d, place.n) == (selection.d, selection.n)}),
    }


def overlays(grid: Grid, place: CellDepth) -> pd.DataFrame:
    """Return theoretical values of lambda_min at a place: predictions, and medians of claimed bounds.

    Columns: `name`, `kind` (prediction, lower bound or upper bound), `value`, and `verdict`, empty for predictions.
    Vacuous bounds are left out.
    """
    context = grid.study.context(grid.cells[place.cell], place.depth)
    rows = [
        (
            PREDICTORS[name].id.removeprefix("pred-").replace("-", " ").replace("elkaroui", "El Karoui"),
            "prediction",
            value,
            "",
        )
        for name, value in predictions(context, "lambda_min").items()
    ]
    group = grid.tree["claims"].to_dataset()[["bound", "verdict"]].sel(place.labels).load()
    for label, bound, code in zip(*(group[name].to_numpy() for name in ("claim", "bound", "verdict")), strict=True):
        claim, verdict = registered_claim(str(label)), Verdict(int(code))
        # Events and scaling claims have a threshold or a constant in place of a bound.
        if not isinstance(claim, InequalityClaim):
            continue
        if claim.quantity is smallest_eigenvalue and verdict is not Verdict.VACUOUS and bound > 0.0:
            rows.append((str(label), f"{claim.side} bound", float(bound), verdict.word))
    return pd.DataFrame(rows, columns=["name", "kind", "value", "verdict"])


def slider_range(grid: Grid, place: CellDepth) -> tuple[float, float]:
    """Return the ends of the slider for thresholds: those of lambda_min at a place and of the store's thresholds."""
    trials = grid.prefix(place)["lambda_min"]
    values = [*grid.thresholds, *trials[~np.isnan(trials)]]
    # Slightly beyond the largest value, so that the slider reaches probability 0.
    return max(float(min(values)), 0.0), 1.05 * float(max(values))


def readout(grid: Grid, selection: Selection) -> str:
    """Return P(lambda_min >= lambda_0) at the selection as HTML, or the reason why there is no estimate."""
    try:
        estimates = probabilities_at(grid, selection.place, [selection.lambda_0])
    except InputError as error:
        return fragment("note", words=str(error))
    if not estimates:
        return fragment("note", words=NO_ESTIMATE)
    confidence, delta = grid.confidence(selection.place), grid.study.event.delta
    return fragment("readout", estimate=estimates[0], confidence=confidence, delta=delta)


def evidence_html(evidence: Evidence) -> str:
    """Return the evidence for a verdict as HTML."""
    return fragment("evidence", shown=evidence)
