"""Commands that list the catalogues: `claims`, `distributions`."""

from __future__ import annotations

from typing import Annotated

import typer

from ntkmc.cli.app import app, print_fields
from ntkmc.errors import InputError


@app.command("claims")
def list_claims(claim: Annotated[str | None, typer.Argument(help="One claim in full.")] = None) -> None:
    """List the claims, or show one: statement, source, hypotheses, constants."""
    from ntkmc.theory.claims import CLAIMS, is_costly

    if claim is None:
        width = max(len(name) for name in CLAIMS)
        for entry in CLAIMS.values():
            typer.echo(f"{entry.id:<{width}}  {entry.kind:<13}  {entry.hypotheses}")
        return
    entry = CLAIMS[claim.partition("[")[0]]
    instances = ", ".join(f"{name}={value}" for values in entry.parameters for name, value in values.items())
    fields = {
        "id": entry.id,
        "statement": entry.statement,
        "latex": entry.latex,
        "source": entry.source,
        "applies to": entry.hypotheses,
        "kind": entry.kind,
        "tested": entry.tested,
        "kernels": ", ".join(entry.kernels),
        "costs": "additional eigenvalue problems: tested if a study names it, or has claims: everything"
        if is_costly(entry)
        else "nothing in addition to lambda_min",
        "corrected": entry.corrected_by or "",
        "constants": entry.constants,
        "parameters": instances or "none",
        "needs": ", ".join(entry.needs),
    }
    print_fields({name: text for name, text in fields.items() if text}, 12)


@app.command("distributions")
def list_distributions(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Show one law, written as in a study: '{student-t: {df: 3}}'.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Check its declared properties on samples.")] = False,
    dimension: Annotated[list[int] | None, typer.Option("--dimension", "-d", min=1, help="May be repeated.")] = None,
) -> None:
    """List the laws of data rows, including user-defined ones, or show the parameters and properties of one law."""
    from ntkmc.cli import distribution_table
    from ntkmc.theory.distributions import check_distribution
    from ntkmc.theory.distributions.conformance import DIMENSIONS

    if name is None and check:
        raise InputError("--check needs a NAME: ntkmc distributions gaussian --check")
    if name is None:
        summaries = {label: distribution_table.summarize(law) for label, law in distribution_table.examples().items()}
        print_fields(summaries, max(map(len, summaries)) + 2)
        return
    spec = distribution_table.parse_law(name)
    if not check:
        print_fields(distribution_table.describe(spec, dimension or DIMENSIONS[-1:]), 34)
        return
    for line in distribution_table.check_hypotheses(spec, dimension or DIMENSIONS):
        typer.echo(line)
    dimensions = check_distribution(spec, dimension or DIMENSIONS)
    typer.echo(f"{name} satisfies the interface at d = {', '.join(map(str, dimensions))}")
