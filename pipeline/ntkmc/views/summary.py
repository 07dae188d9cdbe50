"""Summary of a store in sentences; all numbers are from the groups `estimates`, `claims` and `trials`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ntkmc.linalg.eigen import Status
from ntkmc.theory.claims import find_instance
from ntkmc.views.cells import COORDINATES, Grid
from ntkmc.views.frames import estimates_frame, overall_frame, tried

_KERNELS = {
    "ntk": "the neural tangent kernel K^(L)",
    "h-infinity": "the limiting kernel H^∞ of one hidden layer",
    "conjugate": "the conjugate (NNGP) kernel G^(L)",
}
_ROWS = {
    "unit": "every row divided by its norm",
    "mean": "rows divided by √E‖x‖²",
    "none": "rows as drawn",
}


@dataclass(frozen=True)
class Totals:
    """Numbers of cells, draws and eigenvalues of a store.

    Attributes
    ----------
    cells, planned, done, eigenvalues : int
        Numbers of cells, of draws that are planned at most, of finished draws, and of eigenvalues over all depths.
    status : dict of str to int
        Numbers of eigenvalues by the status of their enclosure.
    """

    cells: int
    planned: int
    done: int
    eigenvalues: int
    status: dict[str, int]


def totals(grid: Grid) -> Totals:
    """Return the numbers of draws and eigenvalues over all cells; finished ones are counted from `trials`."""
    stored = grid.trials["status"].transpose(*COORDINATES, "trial").to_numpy()
    # 0: not computed yet, or no such cell.
    codes, counts = np.unique(stored[stored != 0], return_counts=True)
    words = {status.code: status.name.lower() for status in Status}
    by_word = {words.get(int(code), str(code)): int(count) for code, count in zip(codes, counts, strict=True)}
    draws = int((stored != 0).any(axis=3).sum())
    planned = len(grid.study.trial_range) * len(grid.study.cells)
    return Totals(len(grid.cells), planned, draws, int(counts.sum()), by_word)


def describe_run(grid: Grid) -> list[str]:
    """Return a description of the study, in sentences."""
    study, counts = grid.study, totals(grid)
    laws = sorted({place.distribution for place in grid.places})
    axes = {axis: sorted({getattr(place, axis) for place in grid.places}) for axis in ("d", "n", "depth")}
    trials = f"{len(study.trial_range):,} trials per cell" + (" at most" if study.adaptive else "")
    sentences = [
        f"The study {study.name} draws data of {_counted(len(laws), 'distribution')} ({', '.join(laws)}) in "
        f"{_counted(counts.cells, 'cell')} with d = {_values(axes['d'])} and n = {_values(axes['n'])}, "
        f"{_ROWS[study.normalize]}, and takes the smallest eigenvalue of {_KERNELS[study.kernel]} at depth "
        f"L = {_values(axes['depth'])}; {trials}, seed {study.seed}.",
        f"{counts.done:,} draws are in the store, and {counts.eigenvalues:,} eigenvalues, each with a proved enclosure"
        + (f" ({_statuses(counts)})." if counts.eigenvalues else "."),
    ]
    # An adaptive study stops a cell as soon as its verdict is clear, before all planned draws.
    if counts.done < counts.planned and not study.adaptive:
        sentences.append(
            f"The study is not finished: {counts.planned - counts.done:,} of {counts.planned:,} draws are missing."
        )
    return sentences


def describe_results(grid: Grid) -> list[str]:
    """Return the results in paragraphs; without results, one paragraph with what to do."""
    estimates, overall = estimates_frame(grid.tree), overall_frame(grid.tree)
    if estimates.empty:
        return ["Nothing is estimated yet: run the study, or make this report again once its first trials are folded."]
    paragraphs = (
        [*_events(grid, estimates), *_depths(estimates)],
        _inequalities(overall),
        [*_bounds(overall), *_scalings(overall)],
    )
    return [" ".join(sentences) for sentences in paragraphs if sentences]


def _events(grid: Grid, estimates: pd.DataFrame) -> list[str]:
    delta = grid.study.event.delta
    counts = estimates["nondegenerate"].value_counts()
    total = int(counts.sum())
    yes, no, open_ = (int(counts.get(word, 0)) for word in ("supported", "refuted", "undecided"))
    sentences = [
        f"Of {total:,} pairs of a cell (distribution, d, n, L) and a threshold, {yes:,} are "
        f"(λ_0, {delta:g})-non-degenerate, {no:,} are not and {open_:,} are undecided, each by a confidence "
        f"sequence at {grid.study.confidence:.0%}."
    ]
    certified = estimates.dropna(subset=["certified"]).drop_duplicates(COORDINATES)
    if len(certified):
        ordered = certified.sort_values("certified", kind="stable").to_dict("records")
        worst, best = ordered[0], ordered[-1]
        sentences.append(
            f"The largest threshold that is certified to hold with probability {1 - delta:g} lies between "
            f"{_number(worst['certified'])} ({_cell(worst)}) and {_number(best['certified'])} ({_cell(best)})."
        )
    return sentences


def _depths(estimates: pd.DataFrame) -> list[str]:
    medians = estimates.drop_duplicates(COORDINATES).pivot_table(
        index=["distribution", "d", "n"], columns="depth", values="median"
    )
    if medians.shape[1] < 2 or medians.empty:
        return []
    low, high = medians.columns.min(), medians.columns.max()
    both = medians[[low, high]].dropna()
    # No ratio to a median that is zero up to rounding.
    both = both[both[low] > 1e-12]
    if both.empty:
        return []
    ratio = both[high] / both[low]
    return [
        f"From L = {low} to L = {high} the median of λ_min changes by a factor of {_number(ratio.median())} in the "
        f"median over cells ({_number(ratio.min())} to {_number(ratio.max())})."
    ]


def _inequalities(overall: pd.DataFrame) -> list[str]:
    claims = _tried(overall, "deterministic")
    if claims.empty:
        return []
    # Published forms that are known to be wrong are mentioned apart.
    registered = claims[claims["corrected_by"] == ""]
    against = registered[registered["overall"] == "violated"]["claim"].tolist()
    vacuous = registered[registered["overall"] == "vacuous"]["claim"].tolist()
    result = f"violated: {_named(against)}" if against else "none is violated by proof in any trial"
    sentences = [f"Of {_counted(len(registered), 'inequality', 'inequalities')} tried in every trial, {result}."]
    # Vacuous in some cells is common, and shown in the table; vacuous in all cells means the bound is too weak.
    if vacuous:
        sentences.append(f"Vacuous in every cell: {_named(vacuous)}.")
    # Properties of single distributions are bounds on norms, not on lambda_min, and have a table of their own.
    lower = registered[~registered["hypothesis"] & registered["claim"].map(_bounds_from_below)]
    lower = lower[lower["tightness"] > 0.0]
    if len(lower):
        best = lower.sort_values("tightness", kind="stable").to_dict("records")[-1]
        sentences.append(
            f"The tightest lower bound is {best['claim']}: bound over bounded quantity is "
            f"{_number(best['tightness'])} in the median over cells."
        )
    printed = claims[(claims["corrected_by"] != "") & (claims["overall"] == "violated")]["claim"].tolist()
    if printed:
        sentences.append(
            f"In their printed form violated: {_named(printed)}; the corrections are in the tables below."
        )
    return sentences


def _bounds_from_below(label: str) -> bool:
    instance = find_instance(label)
    return instance is not None and instance.claim.side == "lower"


def _bounds(overall: pd.DataFrame) -> list[str]:
    claims = _tried(overall, "probability")
    if claims.empty:
        return []
    counts = claims["overall"].value_counts()
    refuted = claims[claims["overall"] == "refuted"]["claim"].tolist()
    return [
        f"Of {_counted(len(claims), 'probability bound')}, {counts.get('supported', 0)} are supported, "
        f"{counts.get('undecided', 0)} undecided and {counts.get('vacuous', 0)} vacuous; "
        + (f"refuted: {_named(refuted)}." if refuted else "none is refuted.")
    ]


def _scalings(overall: pd.DataFrame) -> list[str]:
    claims = _tried(overall, "scaling")
    if claims.empty:
        return []
    refuted = claims[claims["overall"] == "refuted"]
    if refuted.empty:
        return [f"Of {_counted(len(claims), 'scaling claim')}, none is refuted."]
    # A refuted scaling claim is described by its drift in d, which refuted it.
    drifts = [
        f"{row['claim']} (exponent {row['exponent_d']:.2f} in d)" if pd.notna(row["exponent_d"]) else str(row["claim"])
        for row in refuted.to_dict("records")
    ]
    return [f"Of {_counted(len(claims), 'scaling claim')}, refuted: {_named(drifts)}."]


def _tried(overall: pd.DataFrame, kind: str) -> pd.DataFrame:
    return tried(overall[overall["kind"] == kind])


def _cell(row: Any) -> str:
    return f"{row['distribution']}, d = {row['d']}, n = {row['n']}, L = {row['depth']}"


def _statuses(counts: Totals) -> str:
    shares = sorted(counts.status.items(), key=lambda item: -item[1])
    return ", ".join(f"{count:,} {word.replace('_', ' ')}" for word, count in shares)


def _counted(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def _values(values: list[int], most: int = 8) -> str:
    shown = [f"{value:,}" for value in values]
    return ", ".join(shown) if len(shown) <= most else f"{', '.join(shown[: most - 2])}, …, {shown[-1]}"


def _named(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _number(value: float) -> str:
    """Format a number with three digits.

    >>> _number(0.41293), _number(0.0), _number(1234.5)
    ('0.413', '0', '1.23e+03')
    """
    return f"{value:.3g}"
