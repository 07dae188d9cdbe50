"""The command line: one thin command per verb.

Exit codes: 0 done; 2 bad input, one line that says what is wrong, where, and what would be right; 3 ran but some cells
failed, which are named; 130 interrupted, resumable.
"""

from __future__ import annotations

import enum
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ntkmc.errors import ExecutionError, InputError, NtkmcError, StoreError

if TYPE_CHECKING:
    import pandas as pd

    from ntkmc.linalg.spectrum import Enclosed, Spectrum

app = typer.Typer(
    name="ntkmc",
    help="Monte Carlo for the smallest eigenvalue of Neural Tangent Kernel Gram matrices.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_RESULTS = Path("data/results")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).")]
StoreFolder = Annotated[Path, typer.Argument(metavar="STORE", help="A results store, as `ntkmc run` writes it.")]
ProfileName = Annotated[str, typer.Option("--profile", "-p", help="A profile in cluster/, or a path to one.")]


class Format(enum.StrEnum):
    """How `show` prints."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


class Method(enum.StrEnum):
    """Methods of `lambda-min`."""

    AUTO = "auto"
    DENSE = "dense"
    EIGSH = "eigsh"
    LOBPCG = "lobpcg"
    CHOLESKY = "cholesky"


class Kernel(enum.StrEnum):
    """Kernels of `lambda-min`."""

    NTK = "ntk"
    H_INFINITY = "h-infinity"
    CONJUGATE = "conjugate"


@app.callback(invoke_without_command=True)
def _root(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False
) -> None:
    """Monte Carlo for the smallest eigenvalue of Neural Tangent Kernel Gram matrices."""
    if version:
        from ntkmc import __version__

        typer.echo(f"ntkmc {__version__}")
        raise typer.Exit()
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    study: StudyFile,
    store: Annotated[Path | None, typer.Option("--store", "-s", help="Where results go.")] = None,
    profile: ProfileName = "local",
    block: Annotated[
        int | None, typer.Option(help="Trials a block, instead of about a second's worth.", min=1)
    ] = None,
) -> None:
    """Run a study, or resume it; ends with a table of estimates and verdicts."""
    from ntkmc.api import execute
    from ntkmc.execution.plan import check_plan, check_store, make_plan
    from ntkmc.execution.profiles import load_profile
    from ntkmc.experiment.loading import load_study
    from ntkmc.experiment.results import open_results
    from ntkmc.experiment.store import check_identity
    from ntkmc.views.frames import estimates_frame
    from ntkmc.views.tables import probabilities
    from ntkmc.views.verdicts import verdicts

    loaded = load_study(study)
    path = store or _RESULTS / f"{loaded.name}.zarr"
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        check_identity(path, loaded)  # before a cluster is started
    check_store(path)
    check_plan(make_plan(loaded, load_profile(profile)))
    outcome = execute(loaded, path, profile=profile, block_length=block)
    if outcome.interrupted:
        _say(f"interrupted; what is finished is in {path}; to go on, repeat: ntkmc run {study} --store {path}")
        raise typer.Exit(130)
    tree = open_results(path)
    console = Console()
    frame = estimates_frame(tree)
    if len(frame):
        console.print(probabilities(frame, loaded.event.delta, most_rows=24))
        console.print(verdicts(tree))
        _warn_if_silent(frame)
    console.print(f"results in {path}", highlight=False, soft_wrap=True)
    for name, trials in outcome.failed_trials.items():
        _say(f"cell {name}: {trials} trials ended without a value; their status says failed")
    for name, reason in outcome.failed.items():
        _say(f"cell {name} failed: {reason}")
    if outcome.failed or outcome.failed_trials:
        raise typer.Exit(3)


@app.command()
def plan(study: StudyFile, profile: ProfileName = "local") -> None:
    """What a study would take: cells, tasks, memory a worker, core-hours, disk; refuses what cannot fit."""
    from ntkmc.execution.plan import check_plan, make_plan
    from ntkmc.execution.profiles import load_profile
    from ntkmc.experiment.loading import load_study

    loaded = load_study(study)
    found = make_plan(loaded, load_profile(profile))
    lines = {
        "study": f"{loaded.name}, kernel {loaded.kernel}, normalize {loaded.normalize}",
        "cells": f"{found.cells:,}",
        "trials": f"{found.trials:,}{' at most' if loaded.adaptive else ''}",
        "tasks": f"about {found.tasks:,}",
        "work": f"about {found.core_hours:.2g} core-hours, {_clock(found.core_hours / found.workers)} on "
        f"{found.workers} workers (good to a factor of a few)",
        "memory": f"{found.worker_bytes / 2**20:,.0f} MiB a worker at most, for {found.largest.name}",
        "disk": f"{found.disk_bytes / 2**20:,.1f} MiB before compression, {found.files:,} files at most",
        "claims": f"{len(loaded.instances)}, {_needing(found.eigenvalues, found.costly)}",
    }
    for name, text in lines.items():
        typer.echo(f"{name:<8}{text}")
    check_plan(found)


def _needing(problems: float, costly: tuple[str, ...]) -> str:
    if not costly:
        return "none of which needs eigenvalues of further matrices"
    named = ", ".join(costly[:3]) + (f" and {len(costly) - 3} more" if len(costly) > 3 else "")
    return f"of which {len(costly)} need {problems:g} eigenvalue problems a trial beside lambda_min: {named}"


@app.command()
def show(
    store: StoreFolder,
    selection: Annotated[str | None, typer.Argument(help="Such as 'distribution=sphere,d=32,depth=3'.")] = None,
    claims: Annotated[bool, typer.Option("--claims", help="Verdicts instead of estimates.")] = False,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Predicted beside measured medians instead of estimates.")
    ] = False,
    long: Annotated[bool, typer.Option("--long", help="One row per threshold, with intervals.")] = False,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
    figure: Annotated[Path | None, typer.Option(help="Also draw P(lambda_min >= lambda_0) into this file.")] = None,
) -> None:
    """Estimates and verdicts as a table, CSV or JSON."""
    from ntkmc.experiment.results import open_results
    from ntkmc.views import tables
    from ntkmc.views import verdicts as judged
    from ntkmc.views.frames import claims_frame, estimates_frame, parse_selection, select, unused_trials
    from ntkmc.views.predicted import predictions_frame, predictions_table

    if claims and predictions:
        raise InputError("--claims and --predictions are two tables: ask for one of them")
    tree = open_results(store)
    chosen = parse_selection(selection)
    reader = claims_frame if claims else predictions_frame if predictions else estimates_frame
    with _reading(store):
        frame = select(reader(tree), chosen)
        unused = unused_trials(tree)
    confidence, delta = tree.attrs["study"]["confidence"], tree.attrs["study"]["event"]["delta"]
    if form is Format.CSV:
        typer.echo(frame.to_csv(index=False), nl=False)
    elif form is Format.JSON:
        typer.echo(frame.to_json(orient="records", indent=1, force_ascii=False))
    elif predictions:
        _table(predictions_table(frame))
    elif not len(frame):
        typer.echo("nothing is estimated yet: the first trials are not folded; run, or look again in a few seconds")
    elif claims:
        _table(judged.verdict_rows(frame) if chosen else judged.verdicts(tree))
    elif long:
        _table(tables.intervals(frame, confidence))
    else:
        _table(tables.probabilities(frame, delta))
    if unused and form is Format.TABLE:
        _say(f"{unused:,} finished trials (over all depths) lie beyond the looks that these estimates rest on")
    if figure is not None:
        from ntkmc.views.figures import save, survival_figure

        with _reading(store):
            drawn = survival_figure(tree, confidence, chosen)
        save(drawn, figure)
        _say(f"figure in {figure}")


@app.command("claims")
def list_claims(claim: Annotated[str | None, typer.Argument(help="One claim in full.")] = None) -> None:
    """The catalogue: statement, source, hypotheses, constants."""
    from ntkmc.theory.claims import CLAIMS, is_costly

    if claim is None:
        width = max(len(name) for name in CLAIMS)
        for entry in CLAIMS.values():
            typer.echo(f"{entry.id:<{width}}  {entry.kind:<13}  {entry.hypotheses}")
        return
    entry = CLAIMS[claim.partition("[")[0]]
    instances = ", ".join(f"{name}={value}" for given in entry.parameters for name, value in given.items())
    for name, text in {
        "id": entry.id,
        "statement": entry.words,
        "latex": entry.latex,
        "source": entry.source,
        "applies to": entry.hypotheses,
        "kind": entry.kind,
        "tested": _HOW_TESTED[entry.kind],
        "kernels": ", ".join(entry.kernels),
        "costs": "eigenvalue problems of its own: tried when a study names it, or says claims: everything"
        if is_costly(entry)
        else "nothing beside lambda_min",
        "corrected": entry.corrected_by or "",
        "constants": entry.constants,
        "parameters": instances or "none",
        "needs": ", ".join(entry.needs),
    }.items():
        if text:
            typer.echo(f"{name:<12}{text}")


_HOW_TESTED = {
    "deterministic": "in every trial; violated only if the two enclosures are disjoint on the wrong side",
    "probability": "the frequency of violations against the claimed probability, by an e-process; cells together by "
    "the average e-value, each of them by e-BH",
    "scaling": "the constant in each cell with simultaneous limits; refuted if it must drift with d",
    "event": "by a confidence sequence in each cell",
}


@app.command("distributions")
def list_distributions(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One law in full: as in a study, '{student-t: {df: 3}}'.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Try what it promises, by drawing from it.")] = False,
    dimension: Annotated[list[int] | None, typer.Option("--dimension", "-d", min=1, help="May be repeated.")] = None,
) -> None:
    """The laws of data rows, your own included: parameters, and what each satisfies."""
    from ntkmc.theory.distributions import catalogue, check_distribution
    from ntkmc.theory.distributions.conformance import DIMENSIONS

    if name is None and check:
        raise InputError("--check needs a NAME: ntkmc distributions gaussian --check")
    if name is None:
        found = catalogue.listed()
        width = max(map(len, found))
        for label, spec in found.items():
            typer.echo(f"{label:<{width}}  {catalogue.summary(spec)}")
    elif check:
        tried = check_distribution(catalogue.parse(name), dimension or DIMENSIONS)
        typer.echo(f"{name} keeps its promises at d = {', '.join(map(str, tried))}")
    else:
        for key, text in catalogue.described(catalogue.parse(name), dimension or DIMENSIONS[-1:]).items():
            typer.echo(f"{key:<34}{text}")


@app.command()
def trial(
    store: StoreFolder,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="Such as 'sphere,d=32,n=16'.")],
    number: Annotated[int, typer.Argument(metavar="TRIAL", help="Number of the trial.", min=0)],
) -> None:
    """Recompute one trial from its address, in this process, and compare it with the store bit for bit."""
    from ntkmc.experiment.recompute import compare_trial

    with _reading(store):
        rows = compare_trial(store, cell, number)
    different = 0
    for name, depth, here, stored in rows:
        same = here == stored or (here != here and stored != stored)
        different += not same
        where = f"[L={depth}]" if depth is not None else ""
        typer.echo(f"{name + where:<24}{here!r:>24}  {'equal' if same else f'DIFFERS: stored {stored!r}'}")
    if different:
        _say(
            f"{different} of {len(rows)} values differ from the store: bits are promised for equal numerics, BLAS "
            "build and processor only (see `provenance` in the store's attributes); enclosures must still overlap"
        )
        raise typer.Exit(3)
    typer.echo(f"all {len(rows)} values equal the store's, bit for bit")


@app.command("lambda-min")
def lambda_min(
    data: Annotated[Path, typer.Argument(metavar="X", help="Data rows: .npy, .npz, .csv, .parquet or .zarr.")],
    kernel: Annotated[Kernel, typer.Option(help="Kernel.")] = Kernel.NTK,
    depth: Annotated[list[int] | None, typer.Option("--depth", "-L", help="Weight layers; may be repeated.")] = None,
    method: Annotated[Method, typer.Option(help="How the eigenvector is found; the proof is the same.")] = Method.AUTO,
    spectrum: Annotated[bool, typer.Option("--spectrum", help="Also lambda_max and log det K.")] = False,
    labels: Annotated[
        Path | None, typer.Option(help="Also y'K^-1 y: a file of label vectors, one a row, or a single column.")
    ] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
) -> None:
    """lambda_min of the Gram matrix of one's own data, with its enclosure."""
    import json

    from ntkmc.linalg.exact import kernel_spectrum
    from ntkmc.linalg.exact import lambda_min as compute
    from ntkmc.theory.distributions import Dataset, load_vectors

    rows = Dataset(str(data)).rows
    more: dict[int, dict[str, Enclosed | None]] = {}
    try:
        if spectrum or labels is not None:
            y = None if labels is None else load_vectors(str(labels))
            found = {
                number: kernel_spectrum(rows, kernel.value, number, y, method=method.value)
                for number in sorted(set(depth or [2]))
            }
            answers = {number: each.lambda_min for number, each in found.items()}
            more = {number: _further(each, 0 if y is None else len(y)) for number, each in found.items()}
        else:
            answers = compute(rows, kernel.value, depth or [2], method=method.value)
    except InputError as error:
        raise InputError(f"{data}: {error}") from error
    records = [
        {
            "depth": number,
            "lambda_min": answer.value,
            "lower": answer.lower,
            "upper": answer.upper,
            "status": answer.status.name.lower(),
            "method": answer.method,
        }
        | {
            name + end: None if value is None else getattr(value, attribute)
            for name, value in more.get(number, {}).items()
            for end, attribute in (("", "value"), ("_lower", "lower"), ("_upper", "upper"))
        }
        for number, answer in answers.items()
    ]
    if form is Format.JSON:
        typer.echo(json.dumps(records, indent=1))
        return
    if form is Format.CSV:
        typer.echo(",".join(records[0]))
        for record in records:
            fields = ("" if value is None else value for value in record.values())
            typer.echo(",".join(repr(value) if isinstance(value, float) else str(value) for value in fields))
        return
    typer.echo(f"{data}: n = {rows.shape[0]}, d = {rows.shape[1]}, kernel {kernel.value}")
    for number, answer in answers.items():
        typer.echo(f"L = {number}: lambda_min = {answer.value:.15g}")
        typer.echo(f"  proved: {answer.lower!r} <= lambda_min <= {answer.upper!r}")
        typer.echo(f"  {answer.status.name.lower()}: {answer.status.value}")
        for name, value in more.get(number, {}).items():
            if value is None:
                typer.echo(f"  {name}: no bounds, lambda_min is not above the rounding of a Cholesky")
            else:
                typer.echo(f"  {name} = {value.value:.15g}, proved: {value.lower!r} ... {value.upper!r}")


def _further(found: Spectrum, labels: int) -> dict[str, Enclosed | None]:
    """What a spectrum holds beside lambda_min, by name; the same names whether it could be proved or not."""
    forms = found.quadratic_forms or (None,) * labels
    known = {f"quadratic_form_{i}": form for i, form in enumerate(forms)}
    return {"lambda_max": found.lambda_max, "log_det": found.log_det} | known


def main() -> None:
    """Entry point: every error that a user can cause becomes one line and exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's way of saying stop: finish as on Ctrl-C
    try:
        code = app(standalone_mode=False)
    except NtkmcError as error:
        _say(f"ntkmc: {error}")
        code = 3 if isinstance(error, ExecutionError) else 2
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `ntkmc show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        # The parser's own errors (typer brings its own copy of click): known by what they can do.
        if not hasattr(error, "format_message"):
            raise
        _say(f"ntkmc: {' '.join(error.format_message().split())}")
        code = 2
    sys.exit(code or 0)


@contextmanager
def _reading(store: Path) -> Iterator[None]:
    """Turns what zarr raises on a damaged chunk into one line."""
    try:
        yield
    except NtkmcError:
        raise
    except (ValueError, OSError, RuntimeError, KeyError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StoreError(
            f"{store}: cannot be read ({reason}); running its study again mends damaged pieces"
        ) from error


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _table(table: Any) -> None:
    Console().print(table)


def _clock(hours: float) -> str:
    minutes = hours * 60.0
    return f"{minutes * 60:.0f} s" if minutes < 2 else f"{minutes:.0f} min" if minutes < 120 else f"{hours:.1f} h"


def _warn_if_silent(frame: pd.DataFrame) -> None:
    """Say so where no threshold tells anything apart: the estimates are all 0 or 1."""
    if frame["probability"].notna().any() and frame["probability"].dropna().isin([0.0, 1.0]).all():
        low, high = frame["median"].min(), frame["median"].max()
        # Where events alone were decided there are no medians.
        advice = f"its medians range from {low:.3g} to {high:.3g}, choose event: lambda-0 there" if low == low else ""
        _say(
            "every estimate is 0 or 1: no threshold lies where lambda_min varies; "
            + (advice or "a few trials with measure: lambda-min show where it does")
        )


if __name__ == "__main__":
    main()
