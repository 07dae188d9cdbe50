"""Registry of named objects, whose error for an unknown name lists the valid names."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from typing import Generic, TypeVar

from ntkmc.errors import InputError, did_you_mean

T = TypeVar("T")

_MANY = 20
"""Number of names above which an error lists only the nearest ones."""


class Registry(Generic[T]):
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
        self.family = family
        self._entries: dict[str, T] = {}

    def add(self, name: str, entry: T) -> T:
        """Register `entry` as `name` and return it; `InputError` if the name is registered already."""
        if name in self._entries:
            raise InputError(f"the {self.family} {name!r} is registered already")
        self._entries[name] = entry
        return entry

    def __getitem__(self, name: str) -> T:
        try:
            return self._entries[name]
        except KeyError:
            near = difflib.get_close_matches(name, self._entries, n=3, cutoff=0.3)
            if len(self._entries) > _MANY and near:
                nearest = " or ".join(map(repr, near))
                hint = f"did you mean {nearest}? `ntkmc {self.family}s` lists all {len(self._entries)}"
            else:
                hint = did_you_mean(name, self._entries)
            raise InputError(f"unknown {self.family} {name!r}: {hint}") from None

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def values(self) -> list[T]:
        """All entries, in the order of registration."""
        return list(self._entries.values())
