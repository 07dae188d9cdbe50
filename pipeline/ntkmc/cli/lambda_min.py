"""Command for the user's own data: `lambda-min`."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ntkmc.cli.app import Format, app
from ntkmc.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from ntkmc.linalg.eigen import Eigenvalue, Enclosed, Spectrum


class Method(enum.StrEnum):
    """Methods of `lambda-min`."""

    AUTO = "auto"
    DENSE = "dense"
    EIGSH = "eigsh"
    LOBPCG = "lobpcg"
    CHOLESKY = "cholesky"
    LANCZOS = "lanczos"


class Kernel(enum.StrEnum):
    """Kernels that `ntkmc lambda-min` accepts."""

    NTK = "ntk"
    H_INFINITY = "h-infinity"
    CONJUGATE = "conjugate"


@app.command("lambda-min")
def lambda_min(
    data: Annotated[Path, typer.Argument(metavar="X", help="Data rows: .npy, .npz, .csv, .parquet or .zarr.")],
    kernel: Annotated[Kernel, typer.Option(help="Kernel.")] = Kernel.NTK,
    depth: Annotated[
        list[int] | None, typer.Option("--depth", "-L", help="Number of weight layers; may be repeated.")
    ] = None,
    method: Annotated[Method, typer.Option(help="Method for the eigenvector; the proof is the same.")] = Method.AUTO,
    spectrum: Annotated[bool, typer.Option("--spectrum", help="Also lambda_max and log det K.")] = False,
    labels: Annotated[
        Path | None, typer.Option(help="Also y'K^-1 y: a file of label vectors, one per row, or a single column.")
    ] = None,
    profile: Annotated[
        str | None,
        typer.Option("--profile", "-p", help="Block the matrix over the workers of this profile: for large n."),
    ] = None,
    certificate: Annotated[
        bool, typer.Option("--certificate/--no-certificate", help="With --profile: prove the lower end too.")
    ] = True,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to print.")] = Format.TABLE,
) -> None:
    """Compute lambda_min of the Gram matrix of your own data, with its enclosure."""
    import json

    from ntkmc.api import lambda_min as compute
    from ntkmc.linalg.gram import kernel_spectrum
    from ntkmc.theory.distributions import Dataset, load_vectors

    # The factorization of a distributed matrix gives lambda_min only.
    if profile is not None and (spectrum or labels is not None):
        raise InputError("--spectrum and --labels are computed in this process: leave --profile out")
    rows = Dataset(str(data)).rows
    quantities: dict[int, dict[str, Enclosed | None]] = {}
    try:
        if spectrum or labels is not None:
            y = None if labels is None else load_vectors(str(labels))
            spectra = {
                number: kernel_spectrum(rows, kernel.value, number, y, method=method.value)
                for number in sorted(set(depth or [2]))
            }
            answers = {number: result.lambda_min for number, result in spectra.items()}
            count = 0 if y is None else len(y)
            quantities = {number: _quantities(result, count) for number, result in spectra.items()}
        elif profile is not None:
            answers = _blocked(rows, kernel.value, depth or [2], method.value, profile, certificate)
        else:
            answers = compute(rows, kernel.value, depth or [2], method=method.value, certificate=certificate)
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
            for name, value in quantities.get(number, {}).items()
            for end, attribute in (("", "value"), ("_lower", "lower"), ("_upper", "upper"))
        }
        for number, answer in answers.items()
    ]
    if form is Format.JSON:
        typer.echo(json.dumps(records, indent=1))
        return
    if form is Format.CSV:
        import pandas as pd

        typer.echo(pd.DataFrame(records).to_csv(index=False), nl=False)
        return
    typer.echo(f"{data}: n = {rows.shape[0]}, d = {rows.shape[1]}, kernel {kernel.value}")
    for number, answer in answers.items():
        typer.echo(f"L = {number}: lambda_min = {answer.value:.15g}")
        typer.echo(f"  proved: {answer.lower!r} <= lambda_min <= {answer.upper!r}")
        typer.echo(f"  {answer.status.name.lower()}: {answer.status.value}")
        for name, value in quantities.get(number, {}).items():
            if value is None:
                typer.echo(f"  {name}: no bounds, lambda_min is not above the rounding of a Cholesky")
            else:
                typer.echo(f"  {name} = {value.value:.15g}, proved: {value.lower!r} ... {value.upper!r}")


def _blocked(
    rows: NDArray[np.float64], kernel: str, depths: list[int], method: str, profile: str, certificate: bool
) -> dict[int, Eigenvalue]:
    from ntkmc.api import lambda_min as compute
    from ntkmc.execution.profiles import connect, load_profile

    site = load_profile(profile)
    if site.batch:
        raise InputError(f"profile {profile}: requests jobs for a study; use local, or join a scheduler")
    with connect(site) as client:
        return compute(rows, kernel, depths, method=method, client=client, certificate=certificate)


def _quantities(result: Spectrum, labels: int) -> dict[str, Enclosed | None]:
    """Return the other quantities of a spectrum by name; the names do not depend on whether bounds exist."""
    forms = result.quadratic_forms or (None,) * labels
    quadratic_forms = {f"quadratic_form_{i}": form for i, form in enumerate(forms)}
    return {"lambda_max": result.lambda_max, "log_det": result.log_det} | quadratic_forms
