"""Results as flat tables: one row per estimate, one row per verdict.

What made the numbers of a store, where that was not one and the same thing.

What theory predicts beside what was measured: overlays, never verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import RenderableType

from ntkmc.errors import InputError, did_you_mean
from ntkmc.experiment.schema import CLAIM, VARIABLES, Verdict
from ntkmc.experiment.schema.variables import EXPONENT_AXES
from ntkmc.experiment.store import attributes_without_imports, study_of
from ntkmc.experiment.store.provenance import differing
from ntkmc.experiment.store.reading import stored_cells
from ntkmc.experiment.study import MEASUREMENTS
from ntkmc.theory.claims import CLAIMS
from ntkmc.theory.claims.probability import NONDEGENERATE
from ntkmc.theory.predictions import PREDICTORS, predictions
from ntkmc.views.tables import captioned, law, number, table

_CELL = ["distribution", "d", "n", "depth"]


def estimates_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per (distribution, d, n, depth, lambda_0) that has trials, sorted.

    Columns: the five coordinates, `trials`, `probability` with `lower` and `upper` (confidence sequence),
    `lower_fixed` and `upper_fixed` (Clopper-Pearson), `proved`, `undecided`, `nondegenerate` in words, `median` of
    lambda_min, `certified` (the largest lambda_0 that is certified at delta).
    """
    group = tree["estimates"].to_dataset()
    renamed = {
        "trials_used": "trials",
        "probability_lower": "lower",
        "probability_upper": "upper",
        "probability_lower_fixed": "lower_fixed",
        "probability_upper_fixed": "upper_fixed",
        "lambda_0_certified": "certified",
    }
    names = ["probability", "proved", "undecided", "nondegenerate", *renamed]
    chosen = group[names].rename(renamed)
    chosen["median"] = group["lambda_min_quantile"].sel(quantile=0.5).drop_vars("quantile")
    frame = _flat(chosen, [*_CELL, "lambda_0"])
    frame = frame[(frame["trials"] > 0) & frame["upper"].notna()].copy()
    frame["nondegenerate"] = _words(frame["nondegenerate"])
    order = [*_CELL, "lambda_0", "trials", "probability", "lower", "upper", "nondegenerate", "proved", "undecided"]
    return frame[[*order, "lower_fixed", "upper_fixed", "median", "certified"]].reset_index(drop=True)


def claims_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per (claim, distribution, d, n, depth) that was evaluated or is not applicable, sorted by cell.

    Columns: the coordinates, `kind` of the claim, `verdict` in words, and what the `claims` group holds of a cell.
    """
    group = tree["claims"].to_dataset()
    names = [name for name, variable in VARIABLES["claims"].items() if variable.dims == CLAIM]
    frame = _flat(group[names].drop_vars("axis", errors="ignore"), ["claim", *_CELL])
    frame = frame[frame["verdict"] != int(Verdict.NOT_EVALUATED)].copy()
    frame["verdict"] = _words(frame["verdict"])
    frame.insert(1, "kind", [_kind(name) for name in frame["claim"]])
    return frame.reset_index(drop=True)


def overall_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per claim: what all cells together say.

    Columns: `claim`, `kind`, `overall`; in how many (cell, depth) it was evaluated (`cells`), speaks `against` it
    (violated, refuted, or rejected), is `undecided`, or `vacuous`; `tightness`, the median over cells of bound /
    quantity; the fitted `constant` with `constant_lower` and `constant_upper`; its exponents in n and d with their
    limits, of the distribution and depth where it is largest in size; `corrected_by` for printed forms; `hypothesis`,
    whether it is a property of single laws.
    """
    frame = claims_frame(tree)
    group = tree["claims"].to_dataset().load()
    words = _words(pd.Series(group["overall"].to_numpy()))
    rows = []
    named = zip(map(str, group["claim"].to_numpy()), words, range(len(words)), strict=True)
    by_claim = dict(list(frame.groupby("claim", sort=False)))
    for name, word, at in sorted(named, key=lambda item: _in_order(item[0])):
        mine = by_claim.get(name, frame.iloc[:0])
        verdicts = mine["verdict"].value_counts()
        against = int(verdicts.get("violated", 0) + verdicts.get("refuted", 0))
        row = {
            "claim": name,
            "kind": _kind(name),
            "overall": word,
            "cells": int((mine["verdict"] != Verdict.NOT_APPLICABLE.word).sum()),
            "against": int(mine["rejected"].sum()) if _kind(name) == "probability" else against,
            "undecided": int(verdicts.get("undecided", 0)),
            "vacuous": int(verdicts.get("vacuous", 0)),
            "tightness": float(mine["tightness"].median()) if mine["tightness"].notna().any() else np.nan,
        }
        for end in ("constant", "constant_lower", "constant_upper"):
            row[end] = float(group[end][at])
        for axis in EXPONENT_AXES:
            along = [group[end][at].sel(axis=axis).to_numpy().ravel() for end in ("exponent", *_LIMITS)]
            present = ~np.isnan(along[0])
            largest = int(np.argmax(np.where(present, np.abs(along[0]), -1.0)))
            for end, values in zip(("", "_lower", "_upper"), along, strict=True):
                row[f"exponent_{axis}{end}"] = float(values[largest]) if present.any() else np.nan
        row["corrected_by"] = corrected_by(name)
        row["hypothesis"] = _is_hypothesis(name)
        rows.append(row)
    return pd.DataFrame(rows)


def hypotheses_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per (distribution, hypothesis): what the data say of it over all cells of the law.

    Columns: `distribution`; `claim`, the id, its parameters (functions, moments, levels) taken together, of which one
    that fails is enough; `says`, one of *holds*, *fails*, *undecided*.
    """
    frame = claims_frame(tree)
    frame = frame[[_is_hypothesis(name) for name in frame["claim"]]]
    frame = frame[frame["verdict"] != Verdict.NOT_APPLICABLE.word].assign(claim=frame["claim"].str.split("[").str[0])
    rows = []
    for (distribution, claim), cells in frame.groupby(["distribution", "claim"], sort=False):
        words = set(cells["verdict"])
        against = bool(words & {Verdict.REFUTED.word, Verdict.VIOLATED.word})
        good = words <= {Verdict.SUPPORTED.word, Verdict.HOLDS.word}
        says = "fails" if against else "holds" if good else "undecided"
        rows.append({"distribution": str(distribution), "claim": str(claim), "says": says})
    return pd.DataFrame(rows, columns=["distribution", "claim", "says"])


def _is_hypothesis(label: str) -> bool:
    claim_id = label.partition("[")[0]
    return claim_id in CLAIMS and CLAIMS[claim_id].hypothesis


_LIMITS = ("exponent_lower", "exponent_upper")


def _kind(label: str) -> str:
    claim_id = label.partition("[")[0]
    return CLAIMS[claim_id].kind if claim_id in CLAIMS else "unknown"


def corrected_by(label: str) -> str:
    """The claim that corrects a printed form, with the same parameters; empty for claims that are no printed form.

    >>> corrected_by("printed/det-khatri-rao-deep[r=2]")
    'det-khatri-rao-deep[r=2]'
    """
    return label.partition("/")[2]


def _in_order(label: str) -> tuple[bool, float]:
    """The event first, by its threshold; the claims stay in the order of the store."""
    claim_id, _, parameter = label.partition("[")
    event = claim_id == NONDEGENERATE.id
    return not event, float(parameter.rpartition("=")[2].rstrip("]")) if event else 0.0


def unused_trials(tree: xr.DataTree) -> int:
    """Trials of the study's range that are done but lie beyond what estimates rest on, over all cells and depths."""
    planned = tree.attrs["study"]["trials"]
    span = slice(planned.get("from", 0), planned["from"] + planned["count"] if "count" in planned else None)
    done = (tree["trials"].to_dataset()["status"].isel(trial=span) != 0).sum("trial")
    return int((done - tree["estimates"].to_dataset()["trials_used"]).clip(min=0).sum())


def estimates_along(group: xr.Dataset, dim: str) -> pd.DataFrame:
    """One row per (distribution, d, n, depth, `dim`) that has estimates: variables of a group with one value there.

    Those that concern all values along `dim` are repeated in each row.
    """
    order = [*_CELL, dim]
    others = [name for name in group.data_vars if set(group[name].dims) <= set(order) and name != "trials_used"]
    frame = _flat(group[["trials_used", *others]], order)  # which has all dimensions, and so comes first
    return frame[frame["trials_used"] > 0].reset_index(drop=True)


def parse_selection(text: str | None) -> dict[str, str]:
    """`distribution=sphere,d=32` as a mapping; commas inside parentheses or brackets do not separate.

    >>> parse_selection("distribution=mixture(k=2,s=1),d=8")
    {'distribution': 'mixture(k=2,s=1)', 'd': '8'}
    """
    parts: list[str] = [""]
    nesting = 0
    for character in text or "":
        nesting += (character in "([") - (character in ")]")
        if character == "," and nesting == 0:
            parts.append("")
        else:
            parts[-1] += character
    chosen: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in parts)):
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not value:
            raise InputError(f"a selection is written like 'd=32,depth=3', got {part!r}")
        key = {"L": "depth", "m": "width", "s": "features", "lambda-0": "lambda_0"}.get(key, key)
        if key in chosen:
            raise InputError(f"a selection names {key} twice; leave it out to see all its values")
        chosen[key] = value
    return chosen


def select(frame: pd.DataFrame, selection: Mapping[str, str]) -> pd.DataFrame:
    """Rows whose columns have the chosen values; an unknown key or a value that no row has is an `InputError`."""
    for key, wanted in selection.items():
        additional = (axis.dim for axis in MEASUREMENTS.values())
        known = ("claim", "kind", "predictor", "quantity", *_CELL, *additional, "lambda_0", "nondegenerate", "verdict")
        keys = [name for name in known if name in frame.columns]
        if key not in keys:
            raise InputError(f"cannot select by {key!r}: {did_you_mean(key, keys)}")
        column = frame[key]
        if pd.api.types.is_numeric_dtype(column):
            try:
                kept = column == float(wanted)
            except ValueError:
                raise InputError(f"{key} is a number, got {wanted!r}") from None
        else:
            # A distribution may be chosen without its parameters, a claim without its own.
            kept = (column == wanted) | column.astype(str).str.startswith((wanted + "(", wanted + "["))
        if not kept.any() and len(frame):
            present = ", ".join(str(value) for value in pd.unique(column)[:12])
            raise InputError(f"nothing has {key}={wanted}; present: {present}")
        frame = frame[kept]
    return frame


def _flat(dataset: xr.Dataset, order: list[str]) -> pd.DataFrame:
    plain = dataset.drop_vars(["distribution_name", "distribution_params"]).load()
    frame = plain.to_dataframe(dim_order=list(plain[next(iter(plain))].dims)).reset_index()
    for name in ("distribution", "claim", "target", "network"):
        if name in frame:
            frame[name] = frame[name].astype(str).astype(object)
    return frame.sort_values(order, kind="stable")


def _words(codes: pd.Series[Any]) -> pd.Series[Any]:
    return codes.map({int(verdict): verdict.word for verdict in Verdict})


_MOST = 4  # facts that are named


def mixed_origins(tree: xr.DataTree) -> str:
    """One line that says in what the environments differ that a store's trials were computed in; empty if in nothing.

    Examples
    --------
    >>> tree = xr.DataTree()
    >>> tree.attrs["environments"] = {"a": {"cpu": "X"}, "b": {"cpu": "Y"}}
    >>> mixed_origins(tree)
    'computed in 2 environments, which differ in cpu (X | Y); bits are promised within each, enclosures hold in all'
    """
    environments = list(tree.attrs.get("environments", {}).values())
    differences = differing(environments)
    if not differences:
        return ""
    named = [f"{name} ({' | '.join(value[:40] for value in values)})" for name, values in differences.items()]
    more = f" and {len(named) - _MOST} more facts" if len(named) > _MOST else ""
    return (
        f"computed in {len(environments)} environments, which differ in {', '.join(named[:_MOST])}{more}; bits are "
        "promised within each, enclosures hold in all"
    )


_COLUMNS = ["predictor", "quantity", "distribution", "d", "n", "depth", "trials", "median", "predicted", "ratio"]


def predictions_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per predictor, cell and depth that it is meant for and that has trials, sorted by cell.

    Columns: `predictor`, `quantity` (lambda_min or coherence), the coordinates, `trials` behind the `median` over
    draws, the value `predicted`, and `ratio`, predicted / median. The coherence has no depth: its rows carry the
    smallest. All finished trials count: a prediction gets no verdict that looking could spoil.

    Raises
    ------
    InputError
        If the store's study can no longer be read.
    """
    origin, attributes = "the store's study", attributes_without_imports(tree)
    study = study_of(attributes, origin)
    trials = tree["trials"].to_dataset()
    rows = []
    for cell in sorted(stored_cells(attributes, origin), key=lambda each: (each.distribution.label, each.d, each.n)):
        contexts = {depth: study.context(cell, depth) for depth in cell.depths}
        wanted = [("lambda_min", depth) for depth in cell.depths] + [("coherence", cell.depths[0])]
        found = {key: predictions(contexts[key[1]], key[0]) for key in wanted}
        if not any(found.values()):
            continue
        here = trials[["lambda_min", "coherence"]].sel(distribution=cell.distribution.label, d=cell.d, n=cell.n).load()
        for (quantity, depth), predicted in found.items():
            values = (
                here[quantity].to_numpy() if quantity == "coherence" else here[quantity].sel(depth=depth).to_numpy()
            )
            values = values[~np.isnan(values)]
            if not len(values):
                continue
            median = float(np.median(values))
            key = (cell.distribution.label, cell.d, cell.n, depth)
            for name, value in predicted.items():
                ratio = value / median if median > 0.0 else math.nan
                rows.append((name, quantity, *key, len(values), median, value, ratio))
    return pd.DataFrame(rows, columns=_COLUMNS)


def predictions_table(frame: pd.DataFrame) -> RenderableType:
    """Medians beside predictions, a row each."""
    drawn = table("Predicted and measured medians")
    for name in ("predictor", "distribution", "d", "n", "L", "median", "predicted", "ratio"):
        drawn.add_column(name, justify="left" if name in ("predictor", "distribution") else "right", no_wrap=True)
    for row in frame.itertuples():
        drawn.add_row(
            str(row.predictor).removeprefix("pred-"),
            law(str(row.distribution)),
            str(row.d),
            str(row.n),
            "" if row.quantity == "coherence" else str(row.depth),
            number(float(str(row.median))),
            number(float(str(row.predicted))),
            number(float(str(row.ratio)), 3),
        )
    explained = "\n".join(
        f"{name.removeprefix('pred-')}: {PREDICTORS[name].words}" for name in dict.fromkeys(frame["predictor"])
    )
    return captioned(drawn, explained or "no predictor is meant for these cells")
