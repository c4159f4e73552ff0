"""What the parts of the kernel's source share: types of arguments, and how they are translated."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import cfunc, njit, types

__all__ = ["F8", "I8", "REAL", "U1", "U2", "U4", "WHOLE", "inlined", "kernel", "plain"]

F8: Any = types.CPointer(types.float64)  # type: ignore[no-untyped-call]
I8: Any = types.CPointer(types.int64)  # type: ignore[no-untyped-call]
U1: Any = types.CPointer(types.uint8)  # type: ignore[no-untyped-call]
U4: Any = types.CPointer(types.uint32)  # type: ignore[no-untyped-call]
U2: Any = types.CPointer(types.uint16)  # type: ignore[no-untyped-call]
WHOLE: Any = types.int64
REAL: Any = types.float64

# Nothing divides by zero, and nothing may raise.
plain: Any = njit(error_model="numpy")
inlined: Any = njit(error_model="numpy", inline="always")


def kernel(function: Callable[..., None], *arguments: Any) -> Any:
    """Translate a function that C can call."""
    return cfunc(types.void(*arguments), error_model="numpy")(function)
