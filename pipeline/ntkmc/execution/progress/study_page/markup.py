"""The words of the Study page, as HTML."""

from __future__ import annotations

import html
import math

from ntkmc.execution.progress.study_page.state import StudyState
from ntkmc.execution.progress.terminal import duration
from ntkmc.palette import SIGNS, VERDICTS

_STYLE = """<style>
.study {font: 14px/1.45 system-ui, sans-serif; color: #1d2733; padding: 10px 14px 2px;
  box-sizing: border-box; width: calc(100vw - 48px); max-width: 1500px}
.study h1 {font-size: 19px; font-weight: 600; margin: 0}
.study p {margin: 2px 0 8px; color: #4a5568}
.tiles {display: flex; flex-wrap: wrap; gap: 8px 34px; margin: 6px 0 8px}
.tiles b {display: block; font-size: 19px; font-weight: 600; font-variant-numeric: tabular-nums}
.tiles span {color: #4a5568}
.shares {display: flex; height: 10px; border-radius: 3px; overflow: hidden; max-width: 620px; background: #e6e9ed}
.shares i {display: block; height: 100%}
.legend {color: #4a5568; margin-top: 4px}
.legend i {display: inline-block; width: 10px; height: 10px; border-radius: 2px; margin: 0 5px 0 0}
.legend span {margin-right: 18px}
.bad {color: #a3263c}
.words {columns: 300px; column-gap: 34px; margin: 0; padding: 0; list-style: none}
.words li {break-inside: avoid; display: flex; justify-content: space-between; gap: 10px;
  border-bottom: 1px solid #e6e9ed}
.words li span:first-child {overflow-wrap: anywhere}
.words li span:last-child {white-space: nowrap}
</style>"""

_SHARES = {"computing": "#27699a", "writing and starting": "#E69F00", "idle": "#e6e9ed"}


def nothing() -> str:
    """Before any study ran on this scheduler."""
    return (
        f'{_STYLE}<div class="study"><h1>No study yet</h1><p>This page fills when a run begins on this cluster: '
        "<code>ntkmc run STUDY</code>, or <code>ntkmc.run(study, store, client=client)</code>.</p></div>"
    )


def head(state: StudyState, shares: dict[str, float], erred: int) -> str:
    """Name, condition and figures of a study."""
    done, planned = int(state.done.sum()), int(state.planned.sum())
    failed = int(state.failed.sum())
    left = state.left
    tiles = {
        "trials": f"{done:,} / {planned:,}",
        "cells": f"{int(state.closed.sum()):,} / {len(state.cells):,}",
        "trials/s": f"{state.rate:,.0f}" if state.rate >= 10 else f"{state.rate:.2g}",
        "left": "–" if math.isnan(left) else duration(left) if left else "nothing",
        "trials without a value": f"{failed:,}",
    }
    shown = "".join(f"<div><b>{value}</b><span>{name}</span></div>" for name, value in tiles.items())
    bar = "".join(f'<i style="width:{100 * shares[name]:.2f}%;background:{hue}"></i>' for name, hue in _SHARES.items())
    legend = "".join(
        f'<span><i style="background:{hue}"></i>{name} {100 * shares[name]:.0f} %</span>'
        for name, hue in _SHARES.items()
    )
    troubles = [f"cell {name} was set aside: {reason}" for name, reason in list(state.aside.items())[:5]]
    if len(state.aside) > 5:
        troubles.append(f"{len(state.aside) - 5} more cells were set aside")
    if erred:
        troubles.append(f"{erred} blocks raised an error")
    bad = "".join(f'<p class="bad">{html.escape(each)}</p>' for each in troubles)
    notes = "".join(f"<p>{html.escape(each)}</p>" for each in state.notes[-3:])
    return (
        f'{_STYLE}<div class="study"><h1>{html.escape(state.study)}</h1>'
        f"<p>{html.escape(state.condition)} · {html.escape(state.store)}</p>"
        f'<div class="tiles">{shown}</div><div class="shares">{bar}</div>'
        f'<div class="legend">{legend}</div>{bad}{notes}</div>'
    )


def verdicts(state: StudyState) -> str:
    """Return the verdict of each claim so far, refuted claims first."""
    if not state.verdicts:
        return (
            f'{_STYLE}<div class="study"><h1>Verdicts</h1><p>None yet: they follow the first estimates, and are '
            "looked at again whenever a cell has four times as many trials.</p></div>"
        )
    order = list(VERDICTS)
    first = ["violated", "refuted", *(word for word in order if word not in ("violated", "refuted"))]
    counts = state.counted()
    counted = " · ".join(f"{counts[word]} {word}" for word in first if word in counts)
    rows = "".join(
        f"<li><span>{html.escape(claim)}</span>"
        f'<span style="color:{VERDICTS[word]}">{SIGNS.get(word, "")} {word}</span></li>'
        for claim, word in sorted(state.verdicts.items(), key=lambda item: first.index(item[1]))
    )
    return (
        f'{_STYLE}<div class="study"><h1>Verdicts so far</h1><p>{counted}. Those on scaling claims are provisional '
        f'while cells are missing.</p><ul class="words">{rows}</ul></div>'
    )
