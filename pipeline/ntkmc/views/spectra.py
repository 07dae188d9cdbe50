"""Spectra of the Gram matrices as data frames and tables: eigenvalues against depth, distances to predicted laws."""

from __future__ import annotations

import textwrap
from typing import Any, Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.console import Group, RenderableType

from ntkmc.errors import InputError
from ntkmc.statistics import confidence_sequence, distance_interval, kolmogorov_distance, quantile_sequence
from ntkmc.theory.claims.trial_statistics import LEVELS
from ntkmc.theory.predictions import LAWS, laws_for
from ntkmc.views.cells import Grid, Place
from ntkmc.views.tables import captioned, law, table

Ends = tuple[NDArray[Any], NDArray[Any]]

QUANTILES: Final = tuple(f"eigenvalue_q{round(100 * level):02d}" for level in LEVELS)

_EDGES: Final = ("lambda_min", "lambda_min_lower", "lambda_min_upper", "lambda_max_lower", "lambda_max_upper")
_DECAY: Final = ("decay_exponent_lower", "decay_exponent_upper")
_CELL: Final = ["distribution", "d", "n", "depth"]


def has_spectra(grid: Grid) -> bool:
    """Whether a study in the store asked for spectra."""
    return "lambda_max_lower" in grid.trials


def spectra_frame(grid: Grid) -> pd.DataFrame:
    """One row per (distribution, d, n, depth) with spectra, sorted.

    Columns: the coordinates, `trials`; medians over draws of lambda_min, of the eigenvalues' quantiles
    (`eigenvalue_q02` ... `eigenvalue_q98`, NaN where all n eigenvalues are too many) and of lambda_max; `condition`,
    the median of lambda_max / lambda_min, and `decay`, that of the exponent in the rank, with their limits `*_lower`,
    `*_upper`; `falls`, the share of draws whose condition number is below that at the next smaller depth, with its
    confidence sequence. All limits are valid at any time of looking.

    Raises
    ------
    InputError
        If no study in the store asked for spectra.
    """
    _check(grid)
    rows = []
    shallower: tuple[Place, Ends] | None = None
    for place in grid.places:
        found = grid.statistics(place, (*_EDGES, *_DECAY, "spectrum_radius", *QUANTILES)) if grid.used(place) else {}
        if not found or np.isnan(found["lambda_max_lower"]).all():
            continue
        ends = _conditions(found)
        row: dict[str, Any] = place.labels | {"trials": len(found["lambda_max_lower"])}
        row["lambda_min"] = _median(found["lambda_min"])
        known = np.isfinite(found.get("spectrum_radius", np.array([np.inf])))
        for name in QUANTILES:
            row[name] = _median(found[name][known]) if known.any() else np.nan
        row["lambda_max"] = _median(_middle(found["lambda_max_lower"], found["lambda_max_upper"]))
        confidence = grid.confidence(place)
        row |= _with_limits("condition", ends, confidence)
        unknown = np.full(row["trials"], -np.inf), np.full(row["trials"], np.inf)
        decays = (found[_DECAY[0]], found[_DECAY[1]]) if _DECAY[0] in found else unknown
        row |= _with_limits("decay", decays, confidence)
        same = shallower is not None and (shallower[0].cell == place.cell)
        row |= _falls(ends, shallower[1] if shallower and same else None, confidence)
        shallower = place, ends
        rows.append(row)
    return pd.DataFrame(rows, columns=None if rows else [*_CELL, "trials"])


def laws_frame(grid: Grid) -> pd.DataFrame:
    """One row per predicted law, cell and depth that it is meant for, sorted by cell.

    Columns: `law`, `quantity`, the coordinates, `trials`, and the Kolmogorov `distance` with `lower` and `upper`. Of
    all eigenvalues of a draw: the median over draws of the distance between their empirical law and the predicted one,
    with limits valid at any time of looking. Of the coherence, once a cell, at its smallest depth: the distance of its
    empirical law over draws, with the limits that the Dvoretzky-Kiefer-Wolfowitz inequality gives for its true law.

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
        found = grid.statistics(place, ("coherence", "elkaroui_distance", "free_sum_distance"))
        for each in laws_for(context, "eigenvalues"):
            values = found.get(each.statistic, np.empty(0))
            if np.isfinite(values).any():
                ends = np.where(np.isfinite(values), values, 0.0), np.where(np.isfinite(values), values, 1.0)
                limits = quantile_sequence(*ends, 0.5, confidence)
                middle = _median(values[np.isfinite(values)])
                rows.append((each.id, each.quantity, *place.labels.values(), len(values), middle, *limits))
        values = found["coherence"][~np.isnan(found["coherence"])]
        if place.cell in seen or len(values) < grid.used(place):  # a failed draw may have had any coherence
            continue
        seen.add(place.cell)
        for each in laws_for(context, "coherence"):
            distance = kolmogorov_distance(values, each.law(context).cdf)
            limits = distance_interval(distance, len(values), confidence, grid.looks(place))
            rows.append((each.id, each.quantity, *place.labels.values(), len(values), distance, *limits))
    return pd.DataFrame(rows, columns=["law", "quantity", *_CELL, "trials", "distance", "lower", "upper"])


def of_the_same_cells(laws: pd.DataFrame, spectra: pd.DataFrame) -> pd.DataFrame:
    """Rows of `laws_frame` that are about what a part of `spectra_frame` is about; the coherence has no depth."""
    places = set(spectra[_CELL].itertuples(index=False, name=None))
    cells = {place[:-1] for place in places}
    kept = [
        key[1:-1] in cells if key[0] == "coherence" else key[1:] in places
        for key in laws[["quantity", *_CELL]].itertuples(index=False, name=None)
    ]
    return laws[kept]


def places_of(grid: Grid, spectra: pd.DataFrame) -> list[Place]:
    """Return the places of the rows of `spectra_frame`, or of a part of it."""
    return [grid.place(*row) for row in spectra[_CELL].itertuples(index=False, name=None)]


def spectra_tables(spectra: pd.DataFrame, laws: pd.DataFrame) -> RenderableType:
    """Eigenvalues against depth, and predicted laws with their distances."""
    return Group(_against_depth(spectra), _distances(laws))


def _against_depth(frame: pd.DataFrame) -> RenderableType:
    drawn = table("Eigenvalues of K, medians over draws", tight=True)
    quantiles = ("10 %", "50 %", "90 %")
    for name in ("distribution", "d", "n", "L", "λ_min", *quantiles, "λ_max", "condition", "falls", "decay"):
        drawn.add_column(name, justify="left" if name == "distribution" else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        drawn.add_row(
            law(str(row["distribution"])),
            *(str(row[name]) for name in ("d", "n", "depth")),
            _short(row["lambda_min"]),
            *(_short(row[f"eigenvalue_q{level[:2]}"]) for level in quantiles),
            *(_short(row[name]) for name in ("lambda_max", "condition")),
            "" if np.isnan(row["falls"]) else f"{row['falls']:.2f}",
            "" if not np.isfinite(row["decay"]) else f"{row['decay']:.2f}",
        )
    caption = (
        "10, 50, 90 %: quantiles of the n eigenvalues; condition: λ_max / λ_min; falls:\n"
        "share of draws in which it is below that at the next smaller depth; decay:\n"
        "exponent of the k-th largest eigenvalue in k, n/16 ≤ k ≤ n/2; with intervals:\n"
        "--format csv"
    )
    return captioned(drawn, caption)


def _distances(frame: pd.DataFrame) -> RenderableType:
    drawn = table("Kolmogorov distances to predicted laws", tight=True)
    for name in ("law", "of the", "distribution", "d", "n", "L", "distance", "interval"):
        left = name in ("law", "of the", "distribution")
        drawn.add_column(name, justify="left" if left else "right", no_wrap=True)
    for row in frame.to_dict("records"):
        drawn.add_row(
            row["law"].removeprefix("pred-"),
            row["quantity"],
            law(str(row["distribution"])),
            str(row["d"]),
            str(row["n"]),
            "" if row["quantity"] == "coherence" else str(row["depth"]),
            f"{row['distance']:.4f}",
            f"{row['lower']:.4f} {row['upper']:.4f}",
        )
    explained = [f"{name.removeprefix('pred-')}: {LAWS[name].words}" for name in dict.fromkeys(frame["law"])]
    said = "Of the n eigenvalues of a draw, at least 1/(2n) from any law without atoms: the median over draws."
    lines = [said, *explained] if explained else ["No predicted law is meant for these cells."]
    return captioned(drawn, "\n".join(line for each in lines for line in textwrap.wrap(each, 79)))


def _check(grid: Grid) -> None:
    if not has_spectra(grid):
        raise InputError("no study in this store asked for spectra: add spectrum: full (or edges) and run it again")


def _conditions(found: dict[str, NDArray[Any]]) -> Ends:
    """Ends of lambda_max / lambda_min in each trial."""
    smallest, largest = found["lambda_min_lower"], found["lambda_max_upper"]
    with np.errstate(divide="ignore", invalid="ignore"):
        lower = found["lambda_max_lower"] / found["lambda_min_upper"]
        return lower, np.where(smallest > 0.0, largest / smallest, np.inf)


def _with_limits(name: str, ends: Ends, confidence: float) -> dict[str, float]:
    lower, upper = np.where(np.isnan(ends[0]), -np.inf, ends[0]), np.where(np.isnan(ends[1]), np.inf, ends[1])
    limits = quantile_sequence(lower, upper, 0.5, confidence)
    return {name: _median(_middle(*ends)), f"{name}_lower": limits[0], f"{name}_upper": limits[1]}


def _falls(here: Ends, before: Ends | None, confidence: float) -> dict[str, float]:
    if before is None or len(before[0]) != len(here[0]):
        return {"falls": np.nan, "falls_lower": np.nan, "falls_upper": np.nan}
    total = len(here[0])
    sure, possible = int(np.sum(here[1] < before[0])), total - int(np.sum(here[0] >= before[1]))
    lower, upper = confidence_sequence(sure, total, confidence)[0], confidence_sequence(possible, total, confidence)[1]
    return {"falls": sure / total, "falls_lower": float(lower), "falls_upper": float(upper)}


def _middle(lower: NDArray[Any], upper: NDArray[Any]) -> NDArray[Any]:
    """Midpoints; where only one end is known, infinity of its side; NaN where neither is."""
    with np.errstate(invalid="ignore"):
        return np.asarray(0.5 * (lower + upper))


def _median(values: NDArray[Any]) -> float:
    present = values[~np.isnan(values)]
    return float(np.median(present)) if len(present) else float("nan")


def _short(value: float) -> str:
    """Three digits in at most seven characters; nothing for NaN, a dash for what is not known to be finite."""
    if np.isnan(value):
        return ""
    return f"{value:.3g}" if np.isfinite(value) else "-"
