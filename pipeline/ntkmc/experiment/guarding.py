"""What stands in a store may be anything; what is said about it is one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from ntkmc.errors import NtkmcError, StoreError
from ntkmc.experiment.location import Location

UNREADABLE: Final = (
    ValueError,
    OSError,
    RuntimeError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    AssertionError,
)
"""What zarr, xarray, and the code that trusts a store's declarations raise where files are not what they should be."""


@contextmanager
def understood(store: Any) -> Iterator[None]:
    """Context at whose door everything that a damaged store makes libraries raise becomes a `StoreError`."""
    try:
        yield
    except NtkmcError:
        raise
    except UNREADABLE as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise StoreError(
            f"{Location.of(store)}: cannot be read ({reason}); running its study again mends damaged pieces, "
            "`ntkmc verify` names them"
        ) from error
