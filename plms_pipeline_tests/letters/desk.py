"""Dead letters in a registry, and handlers that note what they were asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

from sqlalchemy import select

from plms_pipeline.access.actors import Actor
from plms_pipeline.letters import store
from plms_pipeline.letters.actions.retrying import Round, Tried, retry_due
from plms_pipeline.letters.rules import Failure, Letter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry

AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN = Actor("ann", is_verified=True)
HOUR = timedelta(hours=1)


@dataclass
class Shelf:
    """A registry with letters, and a clock that a test moves."""

    registry: Registry
    at: datetime = AT
    asked: list[str] = field(default_factory=list)
    lock: Any = field(default_factory=Lock)

    def now(self) -> datetime:
        return self.at

    def later(self, **span: float) -> None:
        self.at += timedelta(**(span or {"minutes": 1}))

    def put(self, subject: str, reason: str = "timeout", kind: str = "effect", **facts: Any) -> Letter:
        failure = Failure(kind=kind, subject_id=subject, reason=reason, **facts)  # type: ignore[arg-type]
        with self.registry.writing() as session:
            return store.put(session, failure, now=self.at, actor="test")

    def letter(self, letter: Letter) -> Letter:
        with self.registry.reading() as session:
            found = store.find(session, letter.letter_id)
        assert found is not None
        return found

    def all(self) -> list[Letter]:
        with self.registry.reading() as session:
            return store.listed(session, limit=None)

    def states(self) -> dict[str, str]:
        return {letter.subject_id: letter.state for letter in self.all()}

    def retry(self, handler: Callable[[Letter], Tried] | None = None, holder: str = "here", **how: Any) -> Round:
        kinds = ("run", "event", "effect")
        return retry_due(
            self.registry, clock=self, holder=holder, handlers=dict.fromkeys(kinds, handler or self.begin), **how
        )

    def begin(self, letter: Letter) -> Tried:
        """A handler whose retry is under way at once."""
        with self.lock:
            self.asked.append(letter.subject_id)
        with self.registry.writing() as session:
            is_ours = store.begun(session, letter)
        return Tried("begun" if is_ours else "overtaken", "begun")

    def audited(self, action: str) -> list[tuple[str, str]]:
        with self.registry.reading() as session:
            rows = session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id))
            return [(row.actor, row.details_json["reason"]) for row in rows]
