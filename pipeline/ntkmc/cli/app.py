"""The typer application, and arguments and output functions that commands share."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    import pandas as pd

app = typer.Typer(
    name="ntkmc",
    help="Monte Carlo for the smallest eigenvalue of Neural Tangent Kernel Gram matrices.",
    # Errors that users can cause are printed in one line by `main`; others show Python's own traceback, for reports.
    pretty_exceptions_enable=False,
    # Brackets in help texts, as in `claim[r=4]`, are not markup.
    rich_markup_mode=None,
)

RESULTS = Path("data/results")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).")]
StoreFolder = Annotated[str, typer.Argument(metavar="STORE", help="A results store, as `ntkmc run` writes it.")]
ResultsOption = Annotated[str | None, typer.Option("--store", "-s", help="Folder or URL of the results.")]
ProfileName = Annotated[str, typer.Option("--profile", "-p", help="A profile in cluster/, or a path to one.")]
TrustedStudy = Annotated[
    Path | None,
    typer.Option("--study", help="Study file with the code of your own laws, which is never imported from a store."),
]


class Format(enum.StrEnum):
    """Output formats."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@contextmanager
def reading(store: str) -> Iterator[None]:
    """Convert exceptions raised by a damaged store into `StoreError`."""
    # Commands import what they need when they run: `ntkmc --help` and completion then take a fraction of a second.
    from ntkmc.experiment.store.reading import translate_store_errors

    with translate_store_errors(store):
        yield


def say(text: str) -> None:
    """Print a line on standard error."""
    # Standard output carries results only, so that it can be piped.
    typer.echo(text, err=True)


def table(content: Any) -> None:
    """Print a rich table on standard output."""
    Console().print(content)


def print_fields(fields: Mapping[str, str], width: int, indent: str = "") -> None:
    """Print one line per field on standard output, with names padded to `width`."""
    # Not a rich table: it would break long values at the width of the terminal, also in a pipe.
    for name, text in fields.items():
        typer.echo(f"{indent}{name:<{width}}{text}")


def to_json(frame: pd.DataFrame) -> str:
    """Return a frame as a JSON array of rows; null for NaN and infinities.

    >>> import pandas as pd
    >>> to_json(pd.DataFrame({"n": [1, 2], "lower": [1e-17, float("inf")]}))
    '[{"n": 1, "lower": 1e-17}, {"n": 2, "lower": null}]'
    """
    import json

    # `DataFrame.to_json` rounds to 15 decimals at most.
    known = frame.astype(object).where(frame.notna() & ~frame.isin([float("inf"), -float("inf")]), None)
    return json.dumps(known.to_dict(orient="records"), ensure_ascii=False)
