"""The one place that knows the compiler: `compiled` turns a scalar loop into machine code.

`fastmath` stays off everywhere: the error bounds of this package count IEEE roundings, and a compiler that may
reassociate or contract would void them. `fma` is a fused multiply-add that is asked for by name where an error-free
product is wanted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
from numba.core import types
from numba.extending import intrinsic

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile with numba, keep the machine code on disk, divide as NumPy does (no exceptions)."""
    return cast(F, numba.njit(cache=True, error_model="numpy")(function))


def _fma(typingctx: Any, x: Any, y: Any, z: Any) -> Any:
    signature = types.float64(types.float64, types.float64, types.float64)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return signature, generate


fma = cast(Callable[[float, float, float], float], intrinsic(_fma))
"""x * y + z with one rounding, inside `compiled` functions (LLVM's `fma`; software where the CPU has none)."""
