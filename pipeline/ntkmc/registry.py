"""Registry of named objects, whose error for an unknown name lists the valid names."""

from __future__ import annotations

import difflib
from typing import NoReturn, TypeVar

from ntkmc.errors import InputError, did_you_mean

T = TypeVar("T")

# The names of 20 claims already fill several lines of a terminal.
_MANY = 20
"""Number of names above which an error lists only the nearest ones."""


class Registry(dict[str, T]):
    """A family of named objects, in the order of their registration.

    Parameters
    ----------
    family : str
        Kind of object, in the singular, for error messages.

    Examples
    --------
    >>> colours: Registry[int] = Registry("colour")
    >>> _ = colours.add("red", 1)
    >>> colours["red"]
    1
    >>> colours["rde"]
    Traceback (most recent call last):
    ntkmc.errors.InputError: unknown colour 'rde': did you mean 'red'? valid: red
    """

    def __init__(self, family: str) -> None:
        super().__init__()
        self.family = family

    def add(self, name: str, entry: T) -> T:
        """Register `entry` as `name` and return it; `InputError` if the name is registered already."""
        if name in self:
            raise InputError(f"the {self.family} {name!r} is registered already")
        self[name] = entry
        return entry

    def __missing__(self, name: str) -> NoReturn:
        # Names of claims are long and share their beginnings: 0.3 still finds those that have one word in common.
        near = difflib.get_close_matches(name, self, n=3, cutoff=0.3)
        if len(self) > _MANY and near:
            nearest = " or ".join(map(repr, near))
            hint = f"did you mean {nearest}? `ntkmc {self.family}s` lists all {len(self)}"
        else:
            hint = did_you_mean(name, self)
        raise InputError(f"unknown {self.family} {name!r}: {hint}")
