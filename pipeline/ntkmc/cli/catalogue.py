"""Commands that list the catalogues: `claims`, `distributions`."""

from __future__ import annotations

from typing import Annotated

import typer

from ntkmc.cli.app import app
from ntkmc.errors import InputError


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
        "statement": entry.statement,
        "latex": entry.latex,
        "source": entry.source,
        "applies to": entry.hypotheses,
        "kind": entry.kind,
        "tested": entry.tested,
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


@app.command("distributions")
def list_distributions(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One law in full: as in a study, '{student-t: {df: 3}}'.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Try what it promises, by drawing from it.")] = False,
    dimension: Annotated[list[int] | None, typer.Option("--dimension", "-d", min=1, help="May be repeated.")] = None,
) -> None:
    """The laws of data rows, your own included: parameters, and what each satisfies."""
    from ntkmc.cli import distribution_table
    from ntkmc.theory.distributions import check_distribution
    from ntkmc.theory.distributions.conformance import DIMENSIONS

    if name is None and check:
        raise InputError("--check needs a NAME: ntkmc distributions gaussian --check")
    if name is None:
        specs = distribution_table.listed()
        width = max(map(len, specs))
        for label, spec in specs.items():
            typer.echo(f"{label:<{width}}  {distribution_table.summary(spec)}")
    elif check:
        for line in distribution_table.tried(distribution_table.parse(name), dimension or DIMENSIONS):
            typer.echo(line)
        tried = check_distribution(distribution_table.parse(name), dimension or DIMENSIONS)
        typer.echo(f"{name} keeps its promises at d = {', '.join(map(str, tried))}")
    else:
        for key, text in distribution_table.described(
            distribution_table.parse(name), dimension or DIMENSIONS[-1:]
        ).items():
            typer.echo(f"{key:<34}{text}")
