"""Construction of distributions from entries of a study, and drawing of data matrices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ntkmc.errors import InputError, did_you_mean
from ntkmc.numeric import Matrix, positive_integer
from ntkmc.theory.distributions.base import DISTRIBUTIONS, Distribution, Spec, instantiate
from ntkmc.theory.distributions.plugins import by_reference, entry_point_names, from_entry_point


def names() -> list[str]:
    """Return the names of all laws: registered laws, then the entry points of installed packages."""
    return list(dict.fromkeys([*DISTRIBUTIONS, *entry_point_names()]))


def build(spec: Spec | Distribution, base: Path | None = None, *, trusted: bool) -> Distribution:
    """Return the distribution that an entry of a study describes.

    Parameters
    ----------
    spec : str, mapping or Distribution
        `gaussian`, or `{"student-t": {"df": 3}}`; the name of an entry point in the group `ntkmc.distributions`;
        `my_laws:shells`, a user-defined law (see `plugins`); a `Distribution` is returned unchanged.
    base : Path, optional
        Folder of relative paths in parameters, which is also searched first for modules; the working directory by
        default.
    trusted : bool
        Whether the code of `module:attribute` may be imported; otherwise the law is `Unimported`.

    Raises
    ------
    InputError
        For an unknown name, an unknown or missing parameter, or a value out of range.

    Examples
    --------
    >>> build({"student-t": {"df": 3.0}}, trusted=True).label
    'student-t(df=3)'
    """
    if isinstance(spec, Distribution):
        return spec
    if isinstance(spec, str):
        name, given = spec, {}
    elif isinstance(spec, Mapping) and len(spec) == 1:
        ((name, inner),) = spec.items()
        if not (inner is None or isinstance(inner, Mapping)):
            raise InputError(
                f"distribution {name}: parameters are written {{{name}: {{parameter: value}}}}, got {inner!r}"
            )
        given = dict(inner or {})
    else:
        raise InputError(f"a distribution is a name or {{name: {{parameter: value}}}}, got {spec!r}")
    name = str(name)
    if "path" in given and not isinstance(given["path"], str):
        raise InputError(f"distribution {name}: path must be a file name, got {given['path']!r}")
    if base is not None and "path" in given:
        # Not `resolve`: the law does that, and its message describes what is wrong with a path.
        given["path"] = str(base / given["path"]) if not given["path"].startswith("~") else given["path"]
    if ":" in name:
        return by_reference(name, given, base, trusted=trusted)
    if name in DISTRIBUTIONS:
        return instantiate(DISTRIBUTIONS[name], name, given)
    # A registered name takes precedence: an installed package cannot redefine a built-in law.
    plugin = from_entry_point(name, given)
    if plugin is None:
        raise InputError(f"unknown distribution {name!r}: {did_you_mean(name, names())}")
    return plugin


def sample(distribution: Spec | Distribution, n: int, d: int, rng: np.random.Generator) -> Matrix:
    """Draw a data matrix.

    Parameters
    ----------
    distribution : str, mapping or Distribution
        An entry as in a study: a name, or {name: {parameter: value}}.
    n, d : int
        Number of rows and their dimension.
    rng : numpy.random.Generator

    Returns
    -------
    ndarray, (n, d), float64
        Rows as drawn, not normalized.

    Raises
    ------
    InputError
        For an unknown distribution, an invalid parameter, or an n or d for which the law cannot be drawn.

    Examples
    --------
    >>> sample("rademacher", 2, 3, np.random.default_rng(0)).shape
    (2, 3)
    """
    law = build(distribution, trusted=True)
    for name, value in {"n": n, "d": d}.items():
        positive_integer(name, value)
    law.check(n, d)
    return law.sample(int(n), int(d), rng)
