"""Command line: one module per group of commands.

Exit codes: 0 success; 2 invalid input, explained in one line; 3 completed with failures, which are listed; 130
interrupted, resumable.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated, Any

import typer

from ntkmc.cli import batch, catalogue, lambda_min, report, run, show, store
from ntkmc.cli.app import app, say
from ntkmc.errors import ExecutionError, NtkmcError

__all__ = ["app", "batch", "catalogue", "lambda_min", "main", "report", "run", "show", "store"]


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


def main() -> None:
    """Run the command line; print errors that a user can cause as one line, with exit code 2 or 3."""
    signal.signal(signal.SIGTERM, _interrupt)  # sent by batch systems before the time limit: finish as on Ctrl-C
    try:
        code = app(standalone_mode=False)
    except NtkmcError as error:
        say(f"ntkmc: {error}")
        code = 3 if isinstance(error, ExecutionError) else 2
    except KeyboardInterrupt:
        code = 130  # 128 + SIGINT, as shells report it
    except BrokenPipeError:  # `ntkmc show ... | head`
        # Otherwise the interpreter would fail again when it flushes standard output at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except Exception as error:
        # Errors of the parser have no importable class (typer has its own copy of click): recognize them by a method.
        if not hasattr(error, "format_message"):
            raise
        say(f"ntkmc: {' '.join(error.format_message().split())}")
        code = 2
    sys.exit(code or 0)


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
