"""Compilation of scalar loops to machine code: the decorator `compiled`.

`fastmath` stays off everywhere: the error bounds of this package count IEEE roundings, and a compiler that may
reassociate or contract would void them. `fma` is an explicit fused multiply-add, for error-free
products.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic

_config: Any = numba.config

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile with numba, without the interpreter's lock, keep the machine code on disk, divide as NumPy does."""
    global _folder
    if _folder is None:
        _folder = _cache_folder()
    # numba looks a function's machine code up by the date of its own file, but what it calls is compiled into it: code
    # that calls a changed function of another file would stay as it was. A folder per state of all files prevents it.
    before = _config.CACHE_DIR
    _config.CACHE_DIR = _folder
    try:
        return cast(F, numba.njit(cache=True, nogil=True, error_model="numpy")(function))
    finally:
        _config.CACHE_DIR = before


def _cache_folder() -> str:
    """Cache folder for the machine code of this package version: next to the package, or in the user's cache."""
    package = Path(__file__).parent
    state = hashlib.blake2b(digest_size=8)
    for file in sorted(package.rglob("*.py")):
        source = file.read_bytes()
        if b"@compiled" in source or file.samefile(__file__):
            state.update(source)
    homes = [package / "__pycache__", Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ntkmc"]
    if _config.CACHE_DIR:  # NUMBA_CACHE_DIR: the user's own choice
        homes.insert(0, Path(_config.CACHE_DIR))
    for home in homes:
        folder = home / f"compiled-{state.hexdigest()}"
        with contextlib.suppress(OSError, RuntimeError):
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                return str(folder)
    return str(_config.CACHE_DIR)  # numba's own choice


_folder: str | None = None


def _fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    signature = types.float64(types.float64, types.float64, types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return signature, generate


fma = cast(Callable[[float, float, float], float], intrinsic(_fma))
"""x * y + z with one rounding, inside `compiled` functions (LLVM's `fma`; software where the CPU has none)."""
