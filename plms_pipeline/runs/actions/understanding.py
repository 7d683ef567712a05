"""What do claimed events say, once our names for their runs are known and their numbers were looked at?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from plms_pipeline.intake.events import RUN_LOST, Limits, Refused, message_of
from plms_pipeline.intake.store.inbox import Event
from plms_pipeline.kpis.actions.world import World
from plms_pipeline.pas.protocol import TaskCompleted, is_ended
from plms_pipeline.runs.receiving import Delivered, delivered
from plms_pipeline.runs.store import completions as store

# How far the executor's clock may run ahead of ours.
AHEAD: Final = timedelta(minutes=5)
# An executor that names runs itself may tell of one before we have noted the name.
EARLY: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Read:
    """One claimed event, understood: a completion, a lost run, a hint, or why it is none of these."""

    event: Event
    run_id: str | None
    found: Delivered | None = None
    lost: str | None = None
    hint: bool = False
    refused: str | None = None
    ignored: str | None = None
    is_early: bool = False


def understood(world: World, events: Sequence[Event]) -> list[Read]:
    """Every claimed event as settlement reads it, in their order."""
    settings, now = world.settings, world.clock.now()
    first = datetime(settings.first_day.year, settings.first_day.month, settings.first_day.day, tzinfo=UTC)
    with world.registry.reading() as session:
        names = store.resolve(session, {event.run_id for event in events if event.run_id is not None})
    reads = []
    for event in events:
        limits = Limits(
            settings.max_cost_usd, settings.max_duration_ms, settings.max_tokens, first, event.received_at + AHEAD
        )
        reads.append(_understand(event, names.get(event.run_id or ""), limits, now))
    return reads


def _understand(event: Event, run_id: str | None, limits: Limits, now: datetime) -> Read:
    if run_id is None and now - event.received_at < EARLY:
        return Read(event, None, is_early=True)
    if run_id is None:
        return Read(event, None, refused=f"no run {(event.run_id or '')[:80]} was ever started here")
    if event.endpoint == RUN_LOST:
        return Read(event, run_id, lost=str(event.document.get("reason") or "the executor does not know this run"))
    message = message_of(event.document, limits)
    if isinstance(message, Refused):
        return Read(event, run_id, refused=message.reason)
    if not isinstance(message, TaskCompleted):
        return Read(event, run_id, hint=True)
    if not is_ended(message.status):
        return Read(event, run_id, ignored=f"{message.status} is not an end")
    return Read(event, run_id, found=delivered(message, event=event.id, run_id=run_id, received_at=event.received_at))
