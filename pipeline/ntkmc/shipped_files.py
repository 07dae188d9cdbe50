"""Files that are shipped with the package: profiles in `cluster/`, apps in `dashboards/`."""

from __future__ import annotations

from pathlib import Path

from ntkmc.errors import InputError, did_you_mean

_PACKAGE = Path(__file__).resolve().parent
_CLONE = _PACKAGE.parents[1]


def find_shared(folder: str, name: str, suffix: str) -> Path:
    """Return the file for `name`: an explicit path, else a file of the clone, else a file of the installed package.

    Raises
    ------
    InputError
        If there is no such file; the message lists the names that exist.

    Examples
    --------
    >>> find_shared("cluster", "local", ".yaml").name
    'local.yaml'
    """
    explicit = Path(name)
    # A bare name never means a file of the current folder: `local` must mean the same everywhere.
    if explicit.suffix == suffix or len(explicit.parts) > 1:
        if explicit.is_file():
            return explicit
        raise InputError(f"{name}: no such file")
    roots = [_CLONE / folder, _PACKAGE / "_share" / folder]
    for root in roots:
        candidate = root / f"{name}{suffix}"
        if candidate.is_file():
            return candidate
    shipped = {path.stem for root in roots for path in root.glob(f"*{suffix}")}
    raise InputError(f"no {folder} file named {name!r}: {did_you_mean(name, shipped)}; or give a path to a {suffix}")
