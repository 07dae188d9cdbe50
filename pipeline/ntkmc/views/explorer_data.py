"""Data of the explorer: selections, values of theory at a place, and HTML fragments."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ntkmc.errors import InputError
from ntkmc.theory.claims import CLAIMS, InequalityClaim
from ntkmc.theory.claims.base import smallest_eigenvalue
from ntkmc.theory.predictions import PREDICTORS, predictions
from ntkmc.views.cells import Grid, Place
from ntkmc.views.curves import Probability, probabilities_at
from ntkmc.views.evidence import Evidence
from ntkmc.views.report.markup import formula, number, sentence, text, verdict


@dataclass(frozen=True)
class Selection:
    """Selection of the explorer, as encoded in a link.

    Attributes
    ----------
    distribution : str
    d, n, depth : int
    lambda_0 : float
        The threshold, one of the store's or any other.
    """

    distribution: str
    d: int
    n: int
    depth: int
    lambda_0: float

    @property
    def place(self) -> Place:
        """The cell at its depth."""
        return Place(self.distribution, self.d, self.n, self.depth)


def first_selection(grid: Grid) -> Selection:
    """Return the initial selection: the place and threshold with the most informative estimate.

    Raises
    ------
    InputError
        If the store plans no cells.
    """
    if not grid.places:
        raise InputError("the store plans no cells")
    probability = grid.estimates["probability"].transpose("distribution", "d", "n", "depth", "lambda_0").load()
    distances = np.abs(probability.to_numpy() - 0.5)
    if np.isnan(distances).all():
        place = grid.places[0]
        return Selection(place.distribution, place.d, place.n, place.depth, grid.thresholds[0])
    at = np.unravel_index(int(np.nanargmin(distances)), distances.shape)
    found = {str(dim): probability[dim].to_numpy()[i] for dim, i in zip(probability.dims, at, strict=True)}
    return Selection(
        str(found["distribution"]), int(found["d"]), int(found["n"]), int(found["depth"]), float(found["lambda_0"])
    )


def nearest(grid: Grid, wanted: Selection) -> Selection:
    """The selection itself, or the nearest one that the store has: same distribution first, then d, depth and n."""
    if wanted.place in grid.places:
        return wanted
    laws = [place for place in grid.places if place.distribution == wanted.distribution] or list(grid.places)

    def distance(place: Place) -> tuple[float, float, float]:
        return (abs(place.d - wanted.d), abs(place.depth - wanted.depth), abs(place.n - wanted.n))

    place = min(laws, key=distance)
    return dataclasses.replace(wanted, distribution=place.distribution, d=place.d, n=place.n, depth=place.depth)


def from_query(grid: Grid, query: Mapping[str, str]) -> Selection:
    """A selection from the parameters of a link; what is missing or makes no sense is chosen as at the start."""
    start = first_selection(grid)
    values: dict[str, object] = {"distribution": query.get("distribution", start.distribution)}
    for name in ("d", "n", "depth"):
        values[name] = int(query[name]) if query.get(name, "").isdigit() else getattr(start, name)
    try:
        values["lambda_0"] = float(query.get("lambda_0", start.lambda_0))
    except ValueError:
        values["lambda_0"] = start.lambda_0
    return nearest(grid, Selection(**values))  # type: ignore[arg-type]


def options(grid: Grid, selection: Selection) -> dict[str, list[str] | list[int]]:
    """Return the choices for each coordinate: all distributions, and d, n and depth compatible with the others."""
    law = [place for place in grid.places if place.distribution == selection.distribution]
    return {
        "distribution": sorted({place.distribution for place in grid.places}),
        "d": sorted({place.d for place in law}),
        "n": sorted({place.n for place in law if place.d == selection.d}),
        "depth": sorted({place.depth for place in law if (place.d, place.n) == (selection.d, selection.n)}),
    }


def overlays(grid: Grid, place: Place) -> pd.DataFrame:
    """Values of lambda_min that theory gives at a place: predictions, and claimed bounds on it at their median.

    Columns: `name`, `kind` (prediction, lower bound or upper bound), `value`, `verdict` ("" for predictions, which get
    none). Bounds that say nothing are left out.
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
    meanings = grid.tree["claims"]["verdict"].attrs["flag_meanings"].split()
    for label, bound, code in zip(*(group[name].to_numpy() for name in ("claim", "bound", "verdict")), strict=True):
        claim_id = str(label).partition("[")[0]
        if claim_id not in CLAIMS or np.isnan(bound):
            continue
        claim, word = CLAIMS[claim_id], meanings[int(code)]
        if not (isinstance(claim, InequalityClaim) and claim.quantity is smallest_eigenvalue):
            continue
        if word != "vacuous" and bound > 0.0:
            rows.append((str(label), f"{claim.side} bound", float(bound), word))
    return pd.DataFrame(rows, columns=["name", "kind", "value", "verdict"])


def slider_range(grid: Grid, place: Place) -> tuple[float, float]:
    """Between which a threshold is dragged: all of lambda_min's range at a place, and the store's thresholds."""
    trials = grid.prefix(place)["lambda_min"]
    known = trials[~np.isnan(trials)]
    values = [*grid.thresholds, *([float(known.min()), float(known.max())] if len(known) else [])]
    return max(min(values), 0.0), 1.05 * max(values)


def readout(grid: Grid, selection: Selection) -> str:
    """P(lambda_min >= lambda_0) at the selection, as HTML; what to do where there is no estimate."""
    try:
        found = probabilities_at(grid, selection.place, [selection.lambda_0])
    except InputError as error:
        return f"<p>{text(str(error))}</p>"
    if not found:
        return (
            "<p>No estimate here yet. Run the study: the first look is taken after a few trials, and this page "
            "follows the store while it is being written.</p>"
        )
    return _probability(found[0], grid, selection.place)


def _probability(found: Probability, grid: Grid, place: Place) -> str:
    confidence = f"{grid.confidence(place):.0%}"
    fixed = (
        f"<dt>Clopper–Pearson</dt><dd>{found.lower_fixed:.4f} … {found.upper_fixed:.4f}</dd>"
        if not np.isnan(found.lower_fixed)
        else ""
    )
    delta = grid.study.event.delta
    return (
        f'<p class="big">P({text("λ_min")} ≥ {found.lambda_0:.4g}) = <b>{found.probability:.4f}</b></p>'
        f"<dl><dt>{confidence} confidence sequence</dt><dd>{found.lower:.4f} … {found.upper:.4f}</dd>{fixed}"
        f"<dt>at least {1 - delta:g}?</dt><dd>{verdict(found.nondegenerate)}</dd>"
        f"<dt>trials</dt><dd>{found.trials:,}, of these {found.undecided:,} undecided</dd></dl>"
    )


def evidence_html(found: Evidence) -> str:
    """Return the evidence for a verdict as HTML."""
    claim = found.statement
    parts = [
        f"<h3>{html.escape(found.claim)}</h3>",
        f"<p>{verdict(found.verdict)} at {html.escape(found.place.selection)}</p>",
    ]
    if claim is not None:
        parts.append(f'<div class="formula">{formula(claim.latex)}</div><p>{text(claim.statement)}</p>')
        parts.append(f'<p class="note">{sentence(claim.source)} Applies to: {text(claim.hypotheses.rstrip("."))}.</p>')
    rows = "".join(
        f"<dt>{text(said)}</dt><dd>{number(int(value) if value.is_integer() else value)}</dd>"
        for value, said in found.numbers.values()
    )
    parts.append(f"<dl>{rows}</dl>")
    if (violation := found.violation) is not None:
        sides = ""
        if violation.quantity is not None and violation.bound is not None:
            ends = [f"[{low:.12g}, {high:.12g}]" for low, high in (violation.quantity, violation.bound)]
            sides = f"<dt>bounded quantity</dt><dd>{ends[0]}</dd><dt>bound</dt><dd>{ends[1]}</dd>"
        parts.append(
            f"<h4>Trial {violation.trial}, the first beyond the bound</h4><dl>{sides}"
            f"<dt>address</dt><dd><code>seed {violation.seed}, spawn_key {violation.address}</code></dd></dl>"
            f"<p>To compute it again, alone:</p><pre>{html.escape(violation.command)}</pre>"
        )
    parts.append(f"<p>The same row:</p><pre>{html.escape(found.command)}</pre>")
    return "".join(parts)
