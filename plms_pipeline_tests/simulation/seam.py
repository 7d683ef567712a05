"""How does a process die, or wait, between any two steps of an action?

Each transaction and each call to the executor is a crossing. At a crossing chosen beforehand the process is gone: before the
transaction, after any of its statements, after its work and before its commit, after its commit; before the call, or after
the call had its effect. At a crossing where it holds nothing open it may also lose its turn, so that other processes work, time
passes, and leases end, before it goes on with what it knew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import Asking

T = TypeVar("T")


class Crash(BaseException):
    """The process is gone. No product code may catch it: nothing is ever caught by a process that was killed."""


class Seam:
    """Counts crossings; dies at one, waits at others, finds the registry away at a third.

    `waits` gives up the turn; `committed` is told of every commit.
    """

    def __init__(self) -> None:
        self._dies_at: int | None = None
        self._dies_at_statement: int | None = None
        self._waits_at: frozenset[int] = frozenset()
        self._away_at: int | None = None
        self._waits_at_call: int | None = None
        self._waits_at_commit: int | None = None
        self.crossed = 0
        self.called = 0
        self.kept = 0
        self.statements = 0
        self.waits: Callable[[], None] = lambda: None
        self.committed: Callable[[], None] = lambda: None

    def arm(
        self, *, dies_at: int | None = None, dies_at_statement: int | None = None,
        waits_at: frozenset[int] = frozenset(), waits_at_call: int | None = None,
        waits_at_commit: int | None = None, away_at: int | None = None,
    ) -> None:  # fmt: skip
        """Choose what happens at which crossing of the next action, counted from 0 (calls and commits from 1)."""
        self._dies_at, self._dies_at_statement = dies_at, dies_at_statement
        self._waits_at, self._waits_at_call, self._away_at = waits_at, waits_at_call, away_at
        self._waits_at_commit = waits_at_commit
        self.crossed = self.statements = self.called = self.kept = 0

    def cross(
        self, *, holds_books: bool = False, to_registry: bool = False, is_call: bool = False,
        has_committed: bool = False,
    ) -> None:  # fmt: skip
        """One step from or into the world.

        Args:
            holds_books: a write transaction is open: nobody else could go on, so the turn is kept.
            to_registry: a transaction is about to begin.
            is_call: the executor is about to be called, or has answered.
            has_committed: a transaction was just committed: what it claimed is now known to be the process's own.

        Raises:
            Crash: this was the one.
            Unavailable: the registry does not answer this time.
        """
        at = self.crossed
        self.crossed = at + 1
        if at == self._dies_at:
            raise Crash
        if is_call:
            self.called += 1
        if has_committed:
            self.kept += 1
        if (
            (at in self._waits_at and not holds_books)
            or (is_call and self.called == self._waits_at_call)
            or (has_committed and self.kept == self._waits_at_commit)
        ):
            self.waits()
        if to_registry and at == self._away_at:
            raise Unavailable("The simulated registry is away.", code="registry_unavailable")

    def state(self) -> None:
        """A statement is about to be executed inside a write transaction.

        Raises:
            Crash: this was the one.
        """
        at = self.statements
        self.statements = at + 1
        if at == self._dies_at_statement:
            raise Crash


class SeamRegistry(Registry):
    """The registry as a process sees it that may die. `seam` gives the seam of whoever has the turn."""

    seam: Callable[[], Seam]

    @classmethod
    def over(cls, registry: Registry, seam: Callable[[], Seam]) -> SeamRegistry:
        """The same database, seen through the seam."""
        made = cls(registry.engine)
        made.seam = seam
        return made

    @contextmanager
    def reading(self) -> Iterator[Session]:
        self.seam().cross(to_registry=True)
        with super().reading() as session:
            yield session

    @contextmanager
    def asking(self) -> Iterator[Asking]:
        self.seam().cross(to_registry=True)
        with super().asking() as asked:
            yield asked

    @contextmanager
    def writing(self) -> Iterator[Session]:
        self.seam().cross(to_registry=True)
        with super().writing() as session:
            yield session
            # Everything was said, nothing is committed.
            self.seam().cross(holds_books=True)
        self.seam().committed()
        self.seam().cross(has_committed=True)


class SeamCalls:
    """A client whose every call crosses the seam on the way there and on the way back."""

    def __init__(self, inner: Any, seam: Callable[[], Seam]) -> None:
        self._inner = inner
        self._seam = seam

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        return self._crossing(found) if callable(found) else found

    def _crossing(self, call: Callable[..., T]) -> Callable[..., T]:
        def crossed(*given: Any, **named: Any) -> T:
            self._seam().cross(is_call=True)
            answer = call(*given, **named)
            self._seam().cross(is_call=True)
            return answer

        return crossed
