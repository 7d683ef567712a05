"""How does a process die between any two steps of an action?

Each transaction and each call to the executor is a crossing; at a crossing chosen beforehand the process is gone: before the
transaction, after its work and before its commit, after its commit; before the call, or after the call had its effect.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from plms_pipeline.registry.engine import Registry

T = TypeVar("T")


class Crash(BaseException):
    """The process is gone. No product code may catch it: nothing is ever caught by a process that was killed."""


class Seam:
    """Counts crossings and dies at the chosen one."""

    def __init__(self) -> None:
        self._left: int | None = None
        self.crossed = 0

    def die_after(self, crossings: int | None) -> None:
        """Choose the crossing at which the next action dies; None: it lives."""
        self._left = crossings
        self.crossed = 0

    def cross(self) -> None:
        """One step from or into the world.

        Raises:
            Crash: this was the one.
        """
        self.crossed += 1
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            raise Crash


class SeamRegistry(Registry):
    """The registry as a process sees it that may die."""

    seam: Seam

    @classmethod
    def over(cls, registry: Registry, seam: Seam) -> SeamRegistry:
        """The same database, seen through the seam."""
        made = cls(registry.engine)
        made.seam = seam
        return made

    @contextmanager
    def reading(self) -> Iterator[Session]:
        self.seam.cross()
        with super().reading() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        self.seam.cross()
        with super().writing() as session:
            yield session
            # Everything was said, nothing is committed.
            self.seam.cross()
        self.seam.cross()


class SeamCalls:
    """A client whose every call crosses the seam on the way there and on the way back."""

    def __init__(self, inner: Any, seam: Seam) -> None:
        self._inner = inner
        self._seam = seam

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._crossing(found) if callable(found) else found

    def _crossing(self, call: Callable[..., T]) -> Callable[..., T]:
        def crossed(*given: Any, **named: Any) -> T:
            self._seam.cross()
            answer = call(*given, **named)
            self._seam.cross()
            return answer

        return crossed
