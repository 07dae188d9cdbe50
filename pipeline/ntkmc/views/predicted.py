"""What theory predicts beside what was measured: overlays, never verdicts."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import xarray as xr
from rich.console import RenderableType

from ntkmc.experiment.store.reading import stored_cells, study_of
from ntkmc.theory.predictions.predictors import PREDICTORS, predictions
from ntkmc.views.tables import captioned, law, number, table

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
    origin, attributes = "the store's study", tree.attrs
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
