"""Results as flat tables: one row per estimate, one row per verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from ntkmc.errors import InputError, did_you_mean
from ntkmc.experiment.schema import VARIABLES, Verdict

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

    Columns: the coordinates, `verdict` in words, and the other variables of the `claims` group.
    """
    group = tree["claims"].to_dataset().drop_vars("overall")
    names = [name for name in VARIABLES["claims"] if name != "overall"]
    frame = _flat(group[names], ["claim", *_CELL])
    frame = frame[frame["verdict"] != int(Verdict.NOT_EVALUATED)].copy()
    frame["verdict"] = _words(frame["verdict"])
    return frame.reset_index(drop=True)


def overall_frame(tree: xr.DataTree) -> pd.DataFrame:
    """One row per claim: the overall verdict, and in how many cells (and depths) each verdict was reached.

    Columns: `claim`, `overall`, `cells` where it was evaluated, `violated` or refuted, `undecided`, `vacuous`, and
    the `tightness`, the median over cells of bound / lambda_min.
    """
    frame = claims_frame(tree)
    group = tree["claims"].to_dataset()
    words = _words(pd.Series(group["overall"].to_numpy()))
    rows = []
    named = zip(map(str, group["claim"].to_numpy()), words, strict=True)
    for name, word in sorted(named, key=lambda pair: _in_order(pair[0])):
        mine = frame[frame["claim"] == name]
        verdicts = mine["verdict"].value_counts()
        rows.append(
            {
                "claim": name,
                "overall": word,
                "cells": int((mine["verdict"] != Verdict.NOT_APPLICABLE.word).sum()),
                "against": int(verdicts.get("violated", 0) + verdicts.get("refuted", 0)),
                "undecided": int(verdicts.get("undecided", 0)),
                "vacuous": int(verdicts.get("vacuous", 0)),
                "tightness": float(mine["tightness"].median()) if mine["tightness"].notna().any() else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=["claim", "overall", "cells", "against", "undecided", "vacuous", "tightness"])


def _in_order(label: str) -> tuple[str, float]:
    """Instances of one claim together, by their parameter; the claims themselves stay in the order of the store."""
    claim_id, _, parameter = label.partition("[")
    number = parameter.rpartition("=")[2].rstrip("]")
    return (claim_id if claim_id.startswith("claim-") else "", float(number) if claim_id.startswith("claim-") else 0.0)


def unused_trials(tree: xr.DataTree) -> int:
    """Trials of the study's range that are done but lie beyond what estimates rest on, over all cells and depths."""
    planned = tree.attrs["study"]["trials"]
    span = slice(planned.get("from", 0), planned["from"] + planned["count"] if "count" in planned else None)
    done = (tree["trials"].to_dataset()["status"].isel(trial=span) != 0).sum("trial")
    return int((done - tree["estimates"].to_dataset()["trials_used"]).clip(min=0).sum())


def parse_selection(text: str | None) -> dict[str, str]:
    """`distribution=sphere,d=32` as a mapping; commas inside parentheses do not separate.

    >>> parse_selection("distribution=mixture(k=2,s=1),d=8")
    {'distribution': 'mixture(k=2,s=1)', 'd': '8'}
    """
    parts: list[str] = [""]
    nesting = 0
    for character in text or "":
        nesting += (character == "(") - (character == ")")
        if character == "," and nesting == 0:
            parts.append("")
        else:
            parts[-1] += character
    chosen: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in parts)):
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not value:
            raise InputError(f"a selection is written like 'd=32,depth=3', got {part!r}")
        key = {"L": "depth", "lambda-0": "lambda_0"}.get(key, key)
        if key in chosen:
            raise InputError(f"a selection names {key} twice; leave it out to see all its values")
        chosen[key] = value
    return chosen


def select(frame: pd.DataFrame, selection: Mapping[str, str]) -> pd.DataFrame:
    """Rows whose columns have the chosen values; an unknown key or a value that no row has is an `InputError`."""
    for key, wanted in selection.items():
        keys = [name for name in ("claim", *_CELL, "lambda_0", "nondegenerate", "verdict") if name in frame.columns]
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
    for name in ("distribution", "claim"):
        if name in frame:
            frame[name] = frame[name].astype(str).astype(object)
    return frame.sort_values(order, kind="stable")


def _words(codes: pd.Series[Any]) -> pd.Series[Any]:
    return codes.map({int(verdict): verdict.word for verdict in Verdict})
