"""The command line: one thin command per verb.

Exit codes: 0 done; 2 bad input, one line that says what is wrong, where, and what would be right; 3 ran but some cells
failed, which are named; 130 interrupted, resumable.
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
    """Entry point: every error that a user can cause becomes one line and exit code 2."""
    signal.signal(signal.SIGTERM, _interrupt)  # a batch system's way of saying stop: finish as on Ctrl-C
    try:
        code = app(standalone_mode=False)
    except NtkmcError as error:
        say(f"ntkmc: {error}")
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
        say(f"ntkmc: {' '.join(error.format_message().split())}")
        code = 2
    sys.exit(code or 0)


def _interrupt(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
