"""How does an event come to be kept for ever, once?

It is durable before anybody is told so, and known again by its id. The obvious version works on the event first and answers
afterwards: a crash in between loses it, and the executor, which saw no answer, sends it again and it counts twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from plms_pipeline.access import store as audit
from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.errors import Conflict
from plms_pipeline.intake.events import Envelope, envelope
from plms_pipeline.intake.store import inbox
from plms_pipeline.registry.engine import Registry


@dataclass(frozen=True, slots=True)
class Accepted:
    """An event that is kept; `duplicate` when the same one was kept before."""

    event_id: str
    duplicate: bool


def accept_event(
    registry: Registry,
    clock: Clock,
    *,
    endpoint: str,
    body: bytes,
    actor: Actor,
    event_id: str | None = None,
) -> Accepted:
    """Keep one event, durably.

    Args:
        endpoint: one of `events.ENDPOINTS`.
        body: the request's body, byte for byte.
        actor: who delivered it.
        event_id: as the sender names it; derived from what the event says when it has none.

    Raises:
        BadInput: the body is no event (400 or 422).
        Conflict: another body came under this id before (`event_id_conflict`); audited.
    """
    return accept_envelope(registry, clock, envelope(body), endpoint=endpoint, actor=actor, event_id=event_id)


def accept_envelope(
    registry: Registry,
    clock: Clock,
    event: Envelope,
    *,
    endpoint: str,
    actor: Actor,
    event_id: str | None = None,
) -> Accepted:
    """`accept_event` for a body that was read already."""
    event_id = event_id or event.derived_id(endpoint)
    now = clock.now()
    row = inbox_row(event, endpoint=endpoint, event_id=event_id, actor=actor, at=now)
    with registry.writing() as session:
        if inbox.add(session, row):
            return Accepted(event_id, duplicate=False)
        known = inbox.body_sha256_of(session, event_id)
        if known == event.body_sha256:
            return Accepted(event_id, duplicate=True)
        audit.record(
            session, at=now, actor=actor, action="webhook", subject=f"event:{event_id}", outcome="refused",
            details={"code": "event_id_conflict", "endpoint": endpoint, "run_id": event.run_id},
        )  # fmt: skip
    raise Conflict(
        f"The event {event_id} was delivered before with another body; an id names one event for ever. Send what is new "
        "under a new id.",
        code="event_id_conflict",
    )


def inbox_row(event: Envelope, *, endpoint: str, event_id: str, actor: Actor, at: datetime) -> dict[str, Any]:
    """The row of an event that waits to be settled."""
    return {
        "event_id": event_id, "endpoint": endpoint, "body_sha256": event.body_sha256, "body_json": event.document,
        "run_id": event.run_id, "task_id": event.task_id, "attempt": event.attempt, "actor": actor.name[:255],
        "received_at": at, "state": inbox.PENDING, "attempts": 0,
    }  # fmt: skip
