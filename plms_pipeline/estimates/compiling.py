"""How are the loops of this domain compiled?

One place, so that every kernel is compiled the same way: on first use (an import stays cheap), kept on disk for the next
process, without the interpreter lock. numba ships no types; here the type of the plain function is kept for the checker.

numba itself is imported on first use, too: it takes half a second of each process, and most of those that import a kernel's
module (a web server, a command that prints) never call one.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, update_wrapper
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


class _Kernel:
    """A function that is compiled when it is first called."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        update_wrapper(self, function)

    def __call__(self, *args: Any) -> Any:
        return self._machine_code(*args)

    @cached_property
    def _machine_code(self) -> Any:
        made: dict[_Kernel, Any] = {}
        self._make(made)
        # A kernel that calls others finds them among the globals of its module, where numba wants what it made itself. All
        # are made before the first is put there: another thread may call one of them at this moment.
        for kernel in made:
            known = kernel._function.__globals__
            known.update({name: made[found] for name, found in known.items() if isinstance(found, _Kernel)})
        return made[self]

    def _make(self, made: dict[_Kernel, Any]) -> None:
        import numba

        made[self] = numba.njit(cache=True, nogil=True, error_model="numpy")(self._function)
        for found in list(self._function.__globals__.values()):
            if isinstance(found, _Kernel) and found not in made:
                found._make(made)


def compiled(function: F) -> F:
    """`function` compiled to machine code when it is first called; division by zero gives inf or nan as in numpy."""
    return cast("F", _Kernel(function))
