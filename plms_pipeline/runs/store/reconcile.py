"""Which runs are compared with the executor's status, and what of them is still open here?"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, exists, func, select, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import InboxEvent, JobCard, OutboxEvent, ProjectRun, RunAlias, Slot
from plms_pipeline.runs.receiving import SOURCE
from plms_pipeline.runs.store.dispatch import PAS

# SQLite's oldest builds take 999 parameters in a statement.
_TOGETHER: Final = 900


@dataclass(frozen=True, slots=True)
class OpenCard:
    """A card that has not ended here. `is_told`: an event about its end waits to be settled."""

    card_key: str
    task_id: str
    attempt: int
    state: str
    last_heartbeat_at: datetime | None
    is_told: bool


@dataclass(frozen=True, slots=True)
class OpenRun:
    """A run that has not ended here; `executor_id` is what the executor calls it."""

    run_id: str
    executor_id: str
    started_at: datetime
    cards: tuple[OpenCard, ...]


@dataclass(frozen=True, slots=True)
class Suspect:
    """A card of which nothing was heard for longer than its slot's lease."""

    card_key: str
    lane_id: int
    run_id: str
    executor_run: str
    task_id: str
    attempt: int
    state: str


def open_runs(
    session: Session, *, begun_before: datetime, only: Collection[str] | None, pivot: str, limit: int
) -> list[OpenRun]:
    """RUNNING runs that began before a moment, with their open cards.

    Args:
        only: just these runs; None: all.
        pivot: where in the order of ids to begin: another one each time, so that nobody is always last.
    """
    alias = (
        select(func.max(RunAlias.alias))
        .where(RunAlias.run_id == ProjectRun.run_id, RunAlias.vocabulary == PAS)
        .scalar_subquery()
    )
    query = select(ProjectRun.run_id, func.coalesce(alias, ProjectRun.run_id), ProjectRun.started_at).where(
        ProjectRun.status == "RUNNING", ProjectRun.source == SOURCE, ProjectRun.started_at <= begun_before
    )
    if only is not None:
        query = query.where(ProjectRun.run_id.in_(sorted(only)))
    rows = session.execute(query.order_by(ProjectRun.run_id < pivot, ProjectRun.run_id).limit(limit)).all()
    cards = _cards(session, [row[0] for row in rows])
    return [OpenRun(run_id, name, started, tuple(cards.get(run_id, ()))) for run_id, name, started in rows]


def _cards(session: Session, run_ids: Sequence[str]) -> dict[str, list[OpenCard]]:
    told = (
        select(InboxEvent.id)
        .where(
            InboxEvent.state == "pending",
            InboxEvent.run_id == JobCard.run_id,
            InboxEvent.task_id == JobCard.task_id,
            func.coalesce(InboxEvent.attempt, 1) == JobCard.attempt,
        )
        .exists()
    )
    found: dict[str, list[OpenCard]] = {}
    for start in range(0, len(run_ids), _TOGETHER):
        rows = session.execute(
            select(
                JobCard.run_id, JobCard.card_key, JobCard.task_id, JobCard.attempt, JobCard.state,
                JobCard.last_heartbeat_at, told,
            )
            .where(
                JobCard.run_id.in_(run_ids[start : start + _TOGETHER]), JobCard.state.in_(("WAITING", "SUBMITTED"))
            )
            .order_by(JobCard.run_id, JobCard.task_id, JobCard.attempt)
        )  # fmt: skip
        for run_id, key, task_id, attempt, state, heard_at, is_told in rows:
            found.setdefault(run_id, []).append(OpenCard(key, task_id, attempt, state, heard_at, is_told))
    return found


def note_heartbeats(session: Session, heard: Mapping[str, datetime]) -> None:
    """When each card was last heard of: card key → moment."""
    session.connection().execute(
        update(JobCard)
        .where(JobCard.card_key == bindparam("key"), JobCard.state == "SUBMITTED")
        .values(last_heartbeat_at=bindparam("heard_at")),
        [{"key": key, "heard_at": at} for key, at in sorted(heard.items())],
    )


def hand_over_again(
    session: Session, card_keys: Collection[str], *, before: datetime, reason: str
) -> dict[str, tuple[str, int]]:
    """Cards that the executor never got, or lost: they wait again; card → its run and lane.

    Handing one over twice is safe, so it does not matter which of the two it was.
    """
    rows = session.execute(
        update(JobCard)
        .where(JobCard.card_key.in_(sorted(card_keys)), JobCard.state == "SUBMITTED", JobCard.submitted_at <= before)
        .values(state="WAITING", lease_holder=None, lease_expires_at=None, last_error=reason)
        .returning(JobCard.card_key, JobCard.run_id, JobCard.lane_id)
        .execution_options(synchronize_session=False)
    )
    return {key: (run_id, lane_id) for key, run_id, lane_id in rows}


def slots_to_renew(session: Session, card_keys: Collection[str], *, expiring_before: datetime) -> list[tuple[str, str]]:
    """(resource, card) of slots whose lease ends soon, of cards that the executor works on."""
    ordered = sorted(card_keys)
    found: list[tuple[str, str]] = []
    for start in range(0, len(ordered), _TOGETHER):
        rows = session.execute(
            select(Slot.resource, Slot.subject).where(
                Slot.subject.in_(ordered[start : start + _TOGETHER]), Slot.state != "RELEASED",
                Slot.expires_at < expiring_before,
            )
        )  # fmt: skip
        found += [(resource, subject) for resource, subject in rows]
    return sorted(found)


def suspects(session: Session, *, limit: int) -> list[Suspect]:
    """Cards whose slot's lease has ended, the oldest first.

    Without those of a run that the executor was not yet told to end: whoever claimed one of them, and stands still, may hand
    it over until then, and it would be worked on without a slot.
    """
    is_untold = exists().where(
        OutboxEvent.kind == "terminate_run", OutboxEvent.subject_id == JobCard.run_id, OutboxEvent.state == "pending"
    )
    alias = (
        select(func.max(RunAlias.alias))
        .where(RunAlias.run_id == JobCard.run_id, RunAlias.vocabulary == PAS)
        .scalar_subquery()
    )
    rows = session.execute(
        select(
            JobCard.card_key, JobCard.lane_id, JobCard.run_id, func.coalesce(alias, JobCard.run_id), JobCard.task_id,
            JobCard.attempt, JobCard.state,
        )
        .join(Slot, Slot.subject == JobCard.card_key)
        .where(Slot.state == "SUSPECT", ~is_untold)
        .order_by(Slot.expires_at, JobCard.card_key)
        .limit(limit)
    )  # fmt: skip
    return [Suspect(*row) for row in rows]


def any_expired(session: Session, now: datetime) -> bool:
    """Whether a slot's lease has ended, marked or not."""
    query = select(Slot.slot_id).where(Slot.state != "RELEASED", Slot.expires_at <= now).limit(1)
    return session.scalar(query) is not None
