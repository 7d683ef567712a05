"""Which word about a run or a card is the last, and has the executor heard it last?

Pauses and resumptions are told by several processes, with no transaction open. Whoever lost its turn with one in its hand may
say it after the other was asked for and told: then a run that its owner resumed stands still for ever, or one works on in spite
of the kill switch. So the word that is withdrawn while somebody has it is followed by the other a second time, when nobody can
have it any more; and whoever finds that what he said was withdrawn asks for the last word again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.queueing import LONGEST_LEASE
from plms_pipeline.registry.tables import OutboxEvent
from plms_pipeline.runs.store import outbox
from plms_pipeline.runs.store.outbox import Effect

PAUSE_RUN: Final = "pause_run"
RESUME_RUN: Final = "resume_run"
PAUSE_TASK: Final = "pause_task"
RESUME_TASK: Final = "resume_task"
_OPPOSITE: Final = {
    PAUSE_RUN: RESUME_RUN, RESUME_RUN: PAUSE_RUN, PAUSE_TASK: RESUME_TASK, RESUME_TASK: PAUSE_TASK,
}  # fmt: skip


def ask(session: Session, kind: str, subject_id: str, *, now: datetime, payload: Any, key: str, reason: str) -> None:
    """Ask that a run or card is paused or goes on; the opposite, where nobody has told it yet, is withdrawn for `reason`."""
    opposite = _OPPOSITE[kind]
    in_hand_until = session.scalar(
        select(func.max(OutboxEvent.lease_expires_at)).where(
            OutboxEvent.kind == opposite, OutboxEvent.subject_id == subject_id, OutboxEvent.state == "pending",
            OutboxEvent.lease_holder.is_not(None), OutboxEvent.lease_expires_at <= now + LONGEST_LEASE,
        )
    )  # fmt: skip
    outbox.drop(session, (opposite,), subject_id, now=now, reason=reason)
    outbox.ask(session, kind, subject_id, now=now, payload=payload, key=key)
    if in_hand_until is not None and in_hand_until > now:
        outbox.ask(session, kind, subject_id, now=now, payload=payload, key=f"{key}:again", due_at=in_hand_until)


def told(session: Session, effect: Effect, *, now: datetime) -> None:
    """The executor has heard an effect. If it was withdrawn meanwhile, what was asked for last is asked for again."""
    if not outbox.done(session, effect.id, now=now):
        withdrawn(session, effect, now=now)


def withdrawn(session: Session, effect: Effect, *, now: datetime) -> None:
    """What was withdrawn was said, or may have been: what was asked for last is asked for again."""
    if effect.kind not in _OPPOSITE:
        return
    last = session.execute(
        select(OutboxEvent.kind, OutboxEvent.payload_json, OutboxEvent.event_key)
        .where(OutboxEvent.subject_id == effect.subject_id, OutboxEvent.kind.in_((effect.kind, _OPPOSITE[effect.kind])))
        .order_by(OutboxEvent.id.desc())
        .limit(1)
    ).one_or_none()
    if last is not None and last.kind != effect.kind:
        key = f"{last.kind}:{effect.subject_id}:after:{effect.id}"
        outbox.ask(session, last.kind, effect.subject_id, now=now, payload=last.payload_json, key=key)
