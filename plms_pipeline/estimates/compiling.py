"""How are the loops of this domain compiled?

One place, so that every kernel is compiled the same way: on first use (an import stays cheap), kept on disk for the next
process, without the interpreter lock. numba ships no types; here the type of the plain function is kept for the checker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """`function` compiled to machine code when it is first called; division by zero gives inf or nan as in numpy."""
    return cast("F", numba.njit(cache=True, nogil=True, error_model="numpy")(function))
