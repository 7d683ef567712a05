"""Which word about a run or a card is the last, and has the executor heard it last?

Pauses and resumptions are told by several processes, with no transaction open. Whoever lost its turn with one in its hand may
say it after the other was asked for and told: then a run that its owner resumed stands still for ever, or one works on in spite
of the kill switch. So the word that is withdrawn while somebody has it is followed by the other a second time, when nobody can
have it any more; and whoever finds that what he said was withdrawn asks for the last word again. Who dies before he finds
it leaves a run that does the opposite of the last word: the comparison of runs sees that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
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


def contradicted(session: Session, is_paused: Mapping[str, bool]) -> list[str]:
    """Runs that do the opposite of the last word that the executor heard, and of which another word was withdrawn while
    somebody had it in his hand: he said it after all. A run that the executor paused by itself is left to it.

    Args:
        is_paused: run → whether the executor says so; fewer than a database takes parameters.
    """
    said: dict[str, list[Any]] = defaultdict(list)
    query = (
        select(OutboxEvent.subject_id, OutboxEvent.kind, OutboxEvent.state, OutboxEvent.attempts)
        .where(OutboxEvent.subject_id.in_(sorted(is_paused)), OutboxEvent.kind.in_((PAUSE_RUN, RESUME_RUN)))
        .order_by(OutboxEvent.id)
    )
    for row in session.execute(query):
        said[row.subject_id].append(row)
    return [
        run_id
        for run_id, words in said.items()
        if words[-1].state == "done"
        and (words[-1].kind == PAUSE_RUN) is not is_paused[run_id]
        and any(_was_in_hand(word) and word.kind != words[-1].kind for word in words)
    ]


def say_again(session: Session, run_id: str, *, now: datetime) -> bool:
    """Ask for the last word about a run once more; False when that was done before for the word that was withdrawn last.

    So a run is told once more for each withdrawn word, and an executor that does what it likes is not told for ever.
    """
    rows = session.execute(
        select(OutboxEvent.id, OutboxEvent.kind, OutboxEvent.state, OutboxEvent.attempts, OutboxEvent.payload_json)
        .where(OutboxEvent.subject_id == run_id, OutboxEvent.kind.in_((PAUSE_RUN, RESUME_RUN)))
        .order_by(OutboxEvent.id)
    ).all()
    late = [row.id for row in rows if _was_in_hand(row) and row.kind != rows[-1].kind]
    if not late or rows[-1].state != "done":
        return False
    key = f"{rows[-1].kind}:{run_id}:after:{late[-1]}"
    return outbox.ask(session, rows[-1].kind, run_id, now=now, payload=rows[-1].payload_json, key=key)


def _was_in_hand(word: Any) -> bool:
    return bool(word.state == "failed" and word.attempts > 0)
