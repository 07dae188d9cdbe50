"""Results as data frames: estimates, verdicts, predictions; selections of rows; environments of a store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
import xarray as xr

from ntkmc.errors import InputError, did_you_mean
from ntkmc.experiment.schema import CLAIM, VARIABLES, Verdict
from ntkmc.experiment.schema.variables import EXPONENT_AXES
from ntkmc.experiment.store import attributes_without_imports, study_of
from ntkmc.experiment.store.provenance import differing
from ntkmc.experiment.store.reading import stored_cells
from ntkmc.experiment.study import MEASUREMENTS
from ntkmc.theory.claims import CLAIMS, Claim
from ntkmc.theory.claims.probability import NONDEGENERATE
from ntkmc.theory.predictions import predictions
from ntkmc.views.cells import COORDINATES, CellDepth, Grid

_ALIASES: Final = {"L": "depth", "m": "width", "s": "features", "lambda-0": "lambda_0"}
"""Keys of a selection that are symbols, or are spelt as in a study."""

_MOST_DIFFERENCES: Final = 4
"""Largest number of differences between environments that a message names: it is one line."""


def estimates_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return the estimates, one row per (distribution, d, n, depth, lambda_0) with trials, sorted.

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
    estimates = group[["probability", "proved", "undecided", "nondegenerate", *renamed]].rename(renamed)
    estimates["median"] = group["lambda_min_quantile"].sel(quantile=0.5).drop_vars("quantile")
    frame = _flat(estimates, [*COORDINATES, "lambda_0"])
    # The array has all combinations of coordinates; those that no study planned have no trials or no interval.
    frame = frame[(frame["trials"] > 0) & frame["upper"].notna()].copy()
    frame["nondegenerate"] = _words(frame["nondegenerate"])
    order = ["lambda_0", "trials", "probability", "lower", "upper", "nondegenerate", "proved", "undecided"]
    return frame[[*COORDINATES, *order, "lower_fixed", "upper_fixed", "median", "certified"]].reset_index(drop=True)


def claims_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return the verdicts, one row per (claim, distribution, d, n, depth) that was evaluated or is not applicable.

    Columns: the coordinates, `kind` of the claim, `verdict` in words, and the variables of the group `claims` with one
    value per row. Sorted by claim and cell.
    """
    group = tree["claims"].to_dataset()
    # Constants and exponents over all cells have other dimensions: they are in `overall_frame`.
    names = [name for name, variable in VARIABLES["claims"].items() if variable.dims == CLAIM]
    frame = _flat(group[names].drop_vars("axis", errors="ignore"), ["claim", *COORDINATES])
    frame = frame[frame["verdict"] != int(Verdict.NOT_EVALUATED)].copy()
    frame["verdict"] = _words(frame["verdict"])
    frame.insert(1, "kind", [_kind(name) for name in frame["claim"]])
    return frame.reset_index(drop=True)


def overall_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return the verdicts over all cells together, one row per claim; events first, by their threshold.

    Columns: `claim`, `kind`, `overall`; numbers of (cell, depth) where it was evaluated (`cells`), where the verdict
    is `against` it (violated, refuted, or rejected), `undecided`, or `vacuous`; `tightness`, the median over cells of
    bound / quantity; the fitted `constant` with `constant_lower` and `constant_upper`; its exponents in n and d with
    their limits, of the distribution and depth where the exponent is largest in size; `corrected_by` for printed
    forms; `hypothesis`, whether it is a property of single distributions.
    """
    group = tree["claims"].to_dataset().load()
    labels = [str(label) for label in group["claim"].to_numpy()]
    frame = pd.DataFrame({"kind": [_kind(label) for label in labels]}, index=pd.Index(labels, name="claim"))
    frame["overall"] = _words(pd.Series(group["overall"].to_numpy(), index=frame.index))
    cells = claims_frame(tree)
    # Claims without any row of verdicts have counts of zero.
    counts = pd.crosstab(cells["claim"], cells["verdict"]).reindex(
        index=labels, columns=[verdict.word for verdict in Verdict], fill_value=0
    )
    by_claim = cells.groupby("claim")
    rejected = by_claim["rejected"].sum().reindex(labels, fill_value=0)
    frame["cells"] = counts.drop(columns=Verdict.NOT_APPLICABLE.word).sum(axis=1)
    against = counts["violated"] + counts["refuted"]
    frame["against"] = against.where(frame["kind"] != "probability", rejected).astype(int)
    frame[["undecided", "vacuous"]] = counts[["undecided", "vacuous"]]
    frame["tightness"] = by_claim["tightness"].median().reindex(labels)
    for name in ("constant", "constant_lower", "constant_upper"):
        frame[name] = group[name].to_numpy()
    for axis in EXPONENT_AXES:
        ends = ("", "_lower", "_upper")
        along = [group[f"exponent{end}"].sel(axis=axis).to_numpy().reshape(len(labels), -1) for end in ends]
        # The largest exponent decides: a claim is refuted if its constant drifts for any distribution and depth.
        largest = np.argmax(np.nan_to_num(np.abs(along[0]), nan=-1.0), axis=1)
        for end, values in zip(ends, along, strict=True):
            frame[f"exponent_{axis}{end}"] = values[np.arange(len(labels)), largest]
    frame["corrected_by"] = [corrected_by(label) for label in labels]
    frame["hypothesis"] = [_is_hypothesis(label) for label in labels]
    return frame.loc[sorted(labels, key=_order)].reset_index()


def tried(overall: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `overall_frame` with a verdict."""
    return overall[~overall["overall"].isin([Verdict.NOT_APPLICABLE.word, Verdict.NOT_EVALUATED.word])]


def hypotheses_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return whether the data agree with hypotheses about distributions, one row per (distribution, hypothesis).

    Columns: `distribution`; `claim`, the id: its parameters (functions, moments, levels) are taken together, and one
    that fails is enough; `says`, one of *holds*, *fails*, *undecided*.
    """
    frame = claims_frame(tree)
    frame = frame[[_is_hypothesis(name) for name in frame["claim"]]]
    frame = frame[frame["verdict"] != Verdict.NOT_APPLICABLE.word].assign(claim=frame["claim"].str.split("[").str[0])
    # One failure decides: a hypothesis must hold for every moment, function and level.
    rows = []
    for (distribution, claim), cells in frame.groupby(["distribution", "claim"], sort=False):
        words = set(cells["verdict"])
        against = bool(words & {Verdict.REFUTED.word, Verdict.VIOLATED.word})
        supported = words <= {Verdict.SUPPORTED.word, Verdict.HOLDS.word}
        rows.append((str(distribution), str(claim), "fails" if against else "holds" if supported else "undecided"))
    return pd.DataFrame(rows, columns=["distribution", "claim", "says"])


def registered_claim(label: str) -> Claim | None:
    """Return the claim with a label, whatever its parameters; None if it is not registered here.

    >>> registered_claim("det-khatri-rao-deep[r=2]").side
    'lower'
    """
    claim_id = label.partition("[")[0]
    if claim_id not in CLAIMS:
        return None
    return CLAIMS[claim_id]


def _is_hypothesis(label: str) -> bool:
    claim = registered_claim(label)
    return claim is not None and claim.hypothesis


def _kind(label: str) -> str:
    claim = registered_claim(label)
    return "unknown" if claim is None else claim.kind


def corrected_by(label: str) -> str:
    """Return the claim that corrects a printed form, with the same parameters; empty for other claims.

    >>> corrected_by("printed/det-khatri-rao-deep[r=2]")
    'det-khatri-rao-deep[r=2]'
    """
    return label.partition("/")[2]


def _order(label: str) -> tuple[bool, float]:
    """Sort key of claims: events first, by their threshold; the others keep the order of the store."""
    claim_id, _, parameter = label.partition("[")
    is_event = claim_id == NONDEGENERATE.id
    return not is_event, float(parameter.rpartition("=")[2].rstrip("]")) if is_event else 0.0


def unused_trials(tree: xr.DataTree) -> int:
    """Return the number of trials of the study that are finished but in no estimate, over all cells and depths."""
    planned = tree.attrs["study"]["trials"]
    span = slice(planned.get("from", 0), planned["from"] + planned["count"] if "count" in planned else None)
    done = (tree["trials"].to_dataset()["status"].isel(trial=span) != 0).sum("trial")
    return int((done - tree["estimates"].to_dataset()["trials_used"]).clip(min=0).sum())


def estimates_along(group: xr.Dataset, dim: str) -> pd.DataFrame:
    """Return the variables of a group with one row per (distribution, d, n, depth, `dim`) that has trials.

    Variables without the dimension `dim` are repeated in each row.
    """
    order = [*COORDINATES, dim]
    others = [name for name in group.data_vars if set(group[name].dims) <= set(order) and name != "trials_used"]
    # The first variable sets the order of the dimensions: `trials_used` has all of them.
    frame = _flat(group[["trials_used", *others]], order)
    return frame[frame["trials_used"] > 0].reset_index(drop=True)


def parse_selection(text: str | None) -> dict[str, str]:
    """Return a selection `distribution=sphere,d=32` as a mapping.

    Commas inside parentheses or brackets do not separate.

    >>> parse_selection("distribution=mixture(k=2,s=1),d=8")
    {'distribution': 'mixture(k=2,s=1)', 'd': '8'}
    """
    # A scan, since labels nest: a law's parameter may be a list in brackets.
    parts: list[str] = [""]
    nesting = 0
    for character in text or "":
        nesting += (character in "([") - (character in ")]")
        if character == "," and nesting == 0:
            parts.append("")
        else:
            parts[-1] += character
    selection: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in parts)):
        key, separator, value = (piece.strip() for piece in part.partition("="))
        if not separator or not value:
            raise InputError(f"a selection is written like 'd=32,depth=3', got {part!r}")
        key = _ALIASES.get(key, key)
        if key in selection:
            raise InputError(f"a selection names {key} twice; leave it out to see all its values")
        selection[key] = value
    return selection


def select(frame: pd.DataFrame, selection: Mapping[str, str]) -> pd.DataFrame:
    """Return the rows whose columns have the selected values.

    A distribution may be selected without its parameters, a claim without its own.

    Raises
    ------
    InputError
        If a key is no column to select by, or no row has its value.
    """
    axes = (axis.dim for axis in MEASUREMENTS.values())
    keys = ("claim", "kind", "predictor", "quantity", *COORDINATES, *axes, "lambda_0", "nondegenerate", "verdict")
    keys = tuple(key for key in keys if key in frame.columns)
    for key, value in selection.items():
        if key not in keys:
            raise InputError(f"cannot select by {key!r}: {did_you_mean(key, keys)}")
        column = frame[key]
        if pd.api.types.is_numeric_dtype(column):
            try:
                kept = column == float(value)
            except ValueError:
                raise InputError(f"{key} is a number, got {value!r}") from None
        else:
            kept = (column == value) | column.astype(str).str.startswith((value + "(", value + "["))
        if not kept.any() and len(frame):
            present = ", ".join(str(value) for value in pd.unique(column)[:12])
            raise InputError(f"nothing has {key}={value}; present: {present}")
        frame = frame[kept]
    return frame


def selected_places(grid: Grid, selection: Mapping[str, str]) -> list[CellDepth]:
    """Return the places in a selection; keys other than those of a place are ignored."""
    frame = pd.DataFrame([place.labels for place in grid.places], columns=COORDINATES)
    rows = select(frame, {key: value for key, value in selection.items() if key in COORDINATES})
    return [CellDepth(*row) for row in rows.itertuples(index=False)]


def where(frame: pd.DataFrame, **values: Any) -> pd.DataFrame:
    """Return the rows of a frame whose columns have these values.

    >>> where(pd.DataFrame({"d": [3, 3, 5], "n": [4, 8, 4]}), d=3, n=8).index.tolist()
    [1]
    """
    return frame[(frame[list(values)] == list(values.values())).all(axis=1)]


def _flat(dataset: xr.Dataset, order: list[str]) -> pd.DataFrame:
    """Return the variables of a dataset as columns, one row per combination of its coordinates."""
    dataset = dataset.drop_vars(["distribution_name", "distribution_params"]).load()
    frame = dataset.to_dataframe(dim_order=list(dataset[next(iter(dataset))].dims)).reset_index()
    # Strings of fixed length, as a store may have them, compare and print differently.
    for name in ("distribution", "claim", "target", "network"):
        if name in frame:
            frame[name] = frame[name].astype(str).astype(object)
    return frame.sort_values(order, kind="stable")


def _words(codes: pd.Series[Any]) -> pd.Series[Any]:
    return codes.map({int(verdict): verdict.word for verdict in Verdict})


def mixed_environments(tree: xr.DataTree) -> str:
    """Return one line about the differences between the environments in which a store's trials were computed.

    Empty if there are none.

    Examples
    --------
    >>> tree = xr.DataTree()
    >>> tree.attrs["environments"] = {"a": {"cpu": "X"}, "b": {"cpu": "Y"}}
    >>> mixed_environments(tree)
    'computed in 2 environments, which differ in cpu (X | Y); bits are promised within each, enclosures hold in all'
    """
    environments = list(tree.attrs.get("environments", {}).values())
    # Some facts, such as lists of processor features, are longer than a line.
    differences = [
        f"{name} ({' | '.join(value[:40] for value in values)})" for name, values in differing(environments).items()
    ]
    if not differences:
        return ""
    hidden = len(differences) - _MOST_DIFFERENCES
    more = f" and {hidden} more facts" if hidden > 0 else ""
    return (
        f"computed in {len(environments)} environments, which differ in "
        f"{', '.join(differences[:_MOST_DIFFERENCES])}{more}; bits are promised within each, enclosures hold in all"
    )


def predictions_frame(tree: xr.DataTree) -> pd.DataFrame:
    """Return predictions with measured medians, one row per predictor, cell and depth with trials, sorted by cell.

    Columns: `predictor`, `quantity` (lambda_min or coherence), the coordinates, the number of `trials`, their
    `median`, the `predicted` value, and `ratio`, predicted / median. The coherence does not depend on the depth: its
    rows have the smallest. All finished trials count, since predictions have no verdicts, which early looks could
    bias.

    Raises
    ------
    InputError
        If the store's study can no longer be read.
    """
    origin, attributes = "the store's study", attributes_without_imports(tree)
    study = study_of(attributes, origin)
    trials = tree["trials"].to_dataset()
    rows = []
    for cell in sorted(stored_cells(attributes, origin), key=lambda cell: (cell.distribution.label, cell.d, cell.n)):
        place = {"distribution": cell.distribution.label, "d": cell.d, "n": cell.n}
        predicted = [("lambda_min", depth) for depth in cell.depths] + [("coherence", cell.depths[0])]
        for quantity, depth in predicted:
            values = predictions(study.context(cell, depth), quantity)
            if not values:
                continue
            measured = trials[quantity].sel(place | {"depth": depth} if quantity == "lambda_min" else place).to_numpy()
            measured = measured[~np.isnan(measured)]
            if not len(measured):
                continue
            median = float(np.median(measured))
            for name, value in values.items():
                ratio = value / median if median > 0.0 else math.nan
                rows.append((name, quantity, *place.values(), depth, len(measured), median, value, ratio))
    names = ["predictor", "quantity", *COORDINATES, "trials", "median", "predicted", "ratio"]
    return pd.DataFrame(rows, columns=names)
