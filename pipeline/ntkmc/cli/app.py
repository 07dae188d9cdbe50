"""The typer application, and arguments and output functions that commands share."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

app = typer.Typer(
    name="ntkmc",
    help="Monte Carlo for the smallest eigenvalue of Neural Tangent Kernel Gram matrices.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

RESULTS = Path("data/results")

StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (YAML).")]
StoreFolder = Annotated[str, typer.Argument(metavar="STORE", help="A results store, as `ntkmc run` writes it.")]
ProfileName = Annotated[str, typer.Option("--profile", "-p", help="A profile in cluster/, or a path to one.")]


class Format(enum.StrEnum):
    """Output formats."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


@contextmanager
def reading(store: str) -> Iterator[None]:
    """Convert exceptions raised by a damaged store into `StoreError`."""
    from ntkmc.experiment.store.reading import understood

    with understood(store):
        yield


def say(text: str) -> None:
    """Print a line on standard error."""
    typer.echo(text, err=True)


def table(content: Any) -> None:
    """Print a rich table on standard output."""
    Console().print(content)
