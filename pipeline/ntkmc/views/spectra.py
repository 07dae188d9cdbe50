"""Spectra of the Gram matrices as data frames and tables: eigenvalues by depth, distances to predicted laws."""

from __future__ import annotations

import textwrap
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Group, RenderableType

from ntkmc.errors import InputError
from ntkmc.experiment.analysis.kernel_convergence import median
from ntkmc.statistics import confidence_sequence, distance_interval, kolmogorov_distance, quantile_sequence
from ntkmc.theory.claims.trial_statistics import LEVELS
from ntkmc.theory.predictions import LAWS, laws_for
from ntkmc.views.cells import COORDINATES, CellDepth, Grid
from ntkmc.views.tables import PLACE, Column, decimals, frame_table

Ends = tuple[NDArray[Any], NDArray[Any]]

QUANTILES: Final = tuple(f"eigenvalue_q{round(100 * level):02d}" for level in LEVELS)

_EDGES: Final = ("lambda_min", "lambda_min_lower", "lambda_min_upper", "lambda_max_lower", "lambda_max_upper")
_DECAY: Final = ("decay_exponent_lower", "decay_exponent_upper")


def has_spectra(grid: Grid) -> bool:
    """Return whether a study in the store asked for spectra."""
    return "lambda_max_lower" in grid.trials


def spectra_frame(grid: Grid) -> pd.DataFrame:
    """Return medians of spectra over draws, one row per (distribution, d, n, depth) with spectra, sorted.

    Columns: the coordinates, `trials`; medians of lambda_min, of the eigenvalues' quantiles (`eigenvalue_q02` ...
    `eigenvalue_q98`, NaN if n is too large for all eigenvalues) and of lambda_max; `condition`, the median of
    lambda_max / lambda_min, and `decay`, the median of the exponent in the rank, with limits `*_lower`, `*_upper`;
    `falls`, the share of draws whose condition number is below that at the next smaller depth, with its confidence
    sequence. All limits are valid at any time of looking.

    Raises
    ------
    InputError
        If no study in the store asked for spectra.
    """
    _check(grid)
    rows = []
    shallower: tuple[str, Ends] | None = None
    for place in grid.places:
        names = (*_EDGES, *_DECAY, "spectrum_radius", *QUANTILES)
        statistics = grid.statistics(place, names) if grid.used(place) else {}
        if not statistics or np.isnan(statistics["lambda_max_lower"]).all():
            continue
        ends = _conditions(statistics)
        row: dict[str, Any] = place.labels | {"trials": len(statistics["lambda_max_lower"])}
        row["lambda_min"] = median(statistics["lambda_min"])
        # The radius is finite only in trials with all n eigenvalues.
        complete = np.isfinite(statistics.get("spectrum_radius", np.array([np.inf])))
        for name in QUANTILES:
            row[name] = median(statistics[name][complete]) if complete.any() else np.nan
        row["lambda_max"] = median(_middle(statistics["lambda_max_lower"], statistics["lambda_max_upper"]))
        confidence = grid.confidence(place)
        row |= _with_limits("condition", ends, confidence)
        # Studies that asked for extreme eigenvalues alone have no exponents.
        unknown = np.full(row["trials"], -np.inf), np.full(row["trials"], np.inf)
        decays = (statistics[_DECAY[0]], statistics[_DECAY[1]]) if _DECAY[0] in statistics else unknown
        row |= _with_limits("decay", decays, confidence)
        # Places are sorted by depth last, so that the previous one is the next smaller depth of the same cell.
        previous = shallower[1] if shallower and shallower[0] == place.cell else None
        row |= _falls(ends, previous, confidence)
        shallower = place.cell, ends
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else [*COORDINATES, "trials"])


def laws_frame(grid: Grid) -> pd.DataFrame:
    """Return distances to predicted laws, one row per law, cell and depth to which it applies, sorted by cell.

    Columns: `law`, `quantity`, the coordinates, `trials`, and the Kolmogorov `distance` with `lower` and `upper`. For
    all eigenvalues of a draw: the median over draws of the distance between their empirical law and the predicted one,
    with limits valid at any time of looking. For the coherence, once per cell, at its smallest depth: the distance of
    its empirical law over draws, with limits for its true law by the Dvoretzky-Kiefer-Wolfowitz inequality.

    Raises
    ------
    InputError
        If no study in the store asked for spectra.
    """
    _check(grid)
    rows = []
    seen: set[str] = set()
    for place in grid.places:
        if not grid.used(place):
            continue
        context, confidence = grid.context(place), grid.confidence(place)
        statistics = grid.statistics(place, ("coherence", "elkaroui_distance", "free_sum_distance"))
        for law in laws_for(context, "eigenvalues"):
            values = statistics.get(law.statistic, np.empty(0))
            known = np.isfinite(values)
            if known.any():
                # A distance lies in [0, 1], also that of a failed draw.
                limits = quantile_sequence(np.where(known, values, 0.0), np.where(known, values, 1.0), 0.5, confidence)
                row = (law.id, law.quantity, *place.labels.values(), len(values), median(values[known]), *limits)
                rows.append(row)
        values = statistics["coherence"][~np.isnan(statistics["coherence"])]
        # No limits with failed draws, which may have any coherence.
        if place.cell in seen or len(values) < grid.used(place):
            continue
        seen.add(place.cell)
        for law in laws_for(context, "coherence"):
            distance = kolmogorov_distance(values, law.law(context).cdf)
            limits = distance_interval(distance, len(values), confidence, grid.looks(place))
            rows.append((law.id, law.quantity, *place.labels.values(), len(values), distance, *limits))
    return pd.DataFrame(rows, columns=["law", "quantity", *COORDINATES, "trials", "distance", "lower", "upper"])


def of_the_same_cells(laws: pd.DataFrame, spectra: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `laws_frame` for the cells and depths in a part of `spectra_frame`.

    The coherence does not depend on the depth: its rows are kept for every depth of their cell.
    """
    places = set(spectra[COORDINATES].itertuples(index=False, name=None))
    cells = {place[:-1] for place in places}
    kept = [
        key[1:-1] in cells if key[0] == "coherence" else key[1:] in places
        for key in laws[["quantity", *COORDINATES]].itertuples(index=False, name=None)
    ]
    return laws[kept]


def places_of(grid: Grid, spectra: pd.DataFrame) -> list[CellDepth]:
    """Return the places of the rows of `spectra_frame`, or of a part of it."""
    return [grid.place(*row) for row in spectra[COORDINATES].itertuples(index=False, name=None)]


def spectra_tables(spectra: pd.DataFrame, laws: pd.DataFrame) -> RenderableType:
    """Return tables of eigenvalues against depth, and of distances to predicted laws."""
    return Group(_against_depth(spectra), _distances(laws))


def _against_depth(frame: pd.DataFrame) -> RenderableType:
    numbers = {
        "λ_min": "lambda_min",
        "10 %": "eigenvalue_q10",
        "50 %": "eigenvalue_q50",
        "90 %": "eigenvalue_q90",
        "λ_max": "lambda_max",
        "condition": "condition",
    }
    columns = PLACE | {heading: _three_digits(name) for heading, name in numbers.items()}
    columns |= {"falls": decimals("falls", 2), "decay": decimals("decay", 2)}
    caption = (
        "10, 50, 90 %: quantiles of the n eigenvalues; condition: λ_max / λ_min; falls:\n"
        "share of draws in which it is below that at the next smaller depth; decay:\n"
        "exponent of the k-th largest eigenvalue in k, n/16 ≤ k ≤ n/2; with intervals:\n"
        "--format csv"
    )
    # An exponent without proved limits is infinite: not known.
    rows = frame.assign(decay=frame["decay"].where(np.isfinite(frame["decay"])))
    return frame_table("Eigenvalues of K, medians over draws", rows, columns, caption)


def _distances(frame: pd.DataFrame) -> RenderableType:
    columns: dict[str, Column] = {
        "law": lambda row: row["law"].removeprefix("pred-"),
        "of the": "quantity",
        **PLACE,
        "distance": decimals("distance"),
        "interval": lambda row: f"{row['lower']:.4f} {row['upper']:.4f}",
    }
    lines = [f"{name.removeprefix('pred-')}: {LAWS[name].statement}" for name in dict.fromkeys(frame["law"])]
    note = "Of the n eigenvalues of a draw, at least 1/(2n) from any law without atoms: the median over draws."
    lines = [note, *lines] if lines else ["No predicted law applies to these cells."]
    caption = "\n".join(textwrap.fill(line, 79) for line in lines)
    return frame_table("Kolmogorov distances to predicted laws", frame, columns, caption)


def _check(grid: Grid) -> None:
    if not has_spectra(grid):
        raise InputError("no study in this store asked for spectra: add spectrum: full (or edges) and run it again")


def _conditions(statistics: dict[str, NDArray[Any]]) -> Ends:
    """Return enclosures of lambda_max / lambda_min in each trial."""
    smallest, largest = statistics["lambda_min_lower"], statistics["lambda_max_upper"]
    # Infinite at the upper end unless lambda_min is proved to be positive.
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = statistics["lambda_max_lower"] / statistics["lambda_min_upper"]
        return lower, np.where(smallest > 0.0, largest / smallest, np.inf)


def _with_limits(name: str, ends: Ends, confidence: float) -> dict[str, float]:
    lower, upper = np.where(np.isnan(ends[0]), -np.inf, ends[0]), np.where(np.isnan(ends[1]), np.inf, ends[1])
    limits = quantile_sequence(lower, upper, 0.5, confidence)
    return {name: median(_middle(*ends)), f"{name}_lower": limits[0], f"{name}_upper": limits[1]}


def _falls(ends: Ends, shallower: Ends | None, confidence: float) -> dict[str, float]:
    """Return the share of draws in which the condition number falls with depth, with its confidence sequence."""
    if shallower is None or len(shallower[0]) != len(ends[0]):
        return {"falls": np.nan, "falls_lower": np.nan, "falls_upper": np.nan}
    total = len(ends[0])
    # It falls by proof if the enclosures are disjoint; it may fall unless they are disjoint the other way round.
    proved, possible = int(np.sum(ends[1] < shallower[0])), total - int(np.sum(ends[0] >= shallower[1]))
    lower = confidence_sequence(proved, total, confidence)[0]
    upper = confidence_sequence(possible, total, confidence)[1]
    return {"falls": proved / total, "falls_lower": float(lower), "falls_upper": float(upper)}


def _middle(lower: NDArray[Any], upper: NDArray[Any]) -> NDArray[Any]:
    """Return midpoints: infinite if one end is infinite, NaN if both are."""
    with np.errstate(invalid="ignore"):
        return np.asarray(0.5 * (lower + upper))


def _three_digits(name: str) -> Column:
    """Return the column of a number with three digits; empty for NaN, a dash if it is not known to be finite."""
    return lambda row: "" if np.isnan(row[name]) else f"{row[name]:.3g}" if np.isfinite(row[name]) else "-"
