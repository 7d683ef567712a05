"""Which rows does the cancelling of a run change?"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import OutboxEvent, ProjectRun
from plms_pipeline.runs.store import announcing, dispatch, outbox
from plms_pipeline.runs.store.transitions import move_run, move_task


def status_of(session: Session, run_id: str) -> str | None:
    """The status of a run, locked against other writers; None when there is no such run."""
    return session.scalar(select(ProjectRun.status).where(ProjectRun.run_id == run_id).with_for_update())


def was_claimed(session: Session, run_id: str) -> bool:
    """Whether the executor may have heard of a run that still is QUEUED."""
    attempts = session.scalar(
        select(func.max(OutboxEvent.attempts)).where(
            OutboxEvent.kind == announcing.START, OutboxEvent.subject_id == run_id
        )
    )
    return bool(attempts)


def cancel(session: Session, run_id: str, status: str, *, now: datetime, actor: str, reason: str) -> bool:
    """Cancel what has not gone out, and ask the executor to end what has; whether the run has ended by this.

    A RUNNING run ends when the executor has ended the tasks that it holds.
    """
    for card in dispatch.cards_of(session, run_id):
        if dispatch.card_cancelled(session, card.card_key, now=now, error=reason):
            _end_task(session, run_id, card, now=now, actor=actor, reason=reason)
    if status == "RUNNING" or was_claimed(session, run_id):
        outbox.ask(session, "terminate_run", run_id, now=now, payload={"reason": reason})
    if status != "QUEUED":
        return False
    outbox.drop(session, (announcing.START,), run_id, now=now, reason=reason)
    return move_run(session, run_id, expected="QUEUED", new="SKIPPED", at=now, actor=actor, reason=reason)


def _end_task(session: Session, run_id: str, card: dispatch.Card, *, now: datetime, actor: str, reason: str) -> None:
    """A task that never went out is SKIPPED; one that waits for another attempt, or whose card the executor lost, has failed so
    far, and nobody would tell."""
    given: dict[str, Any] = {"at": now, "actor": actor, "reason": reason}
    if not move_task(session, run_id, card.task_id, expected="QUEUED", new="SKIPPED", **given):
        move_task(session, run_id, card.task_id, expected="RUNNING", new="FAIL", **given)
