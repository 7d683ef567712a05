"""Which runs and cards may go to the executor now, and what became of those that went?

Claims are one UPDATE … RETURNING, so that any number of processes may dispatch at once. The project's row is locked while it
is decided which of its runs is next: two processes that both saw no active run would otherwise start two.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any, Final, cast

from sqlalchemy import Table, and_, bindparam, func, null, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from plms_pipeline.portfolio.store import queue
from plms_pipeline.portfolio.store.preemptions import is_aside
from plms_pipeline.registry.prepared import Asking, Change, Prepared, asked, one_of
from plms_pipeline.registry.tables import (
    JobCard,
    Project,
    ProjectRun,
    ProviderSnapshot,
    RunAlias,
    RunPassport,
    RunTask,
)
from plms_pipeline.registry.types import UtcDateTime
from plms_pipeline.runs.passport import is_intact
from plms_pipeline.runs.store.outbox import is_free

PAS = "pas"
# SQLite's oldest builds take 999 parameters in a statement.
_PARAMETERS = 900
# A card is leased while it is handed over, and again while it is told to go on.
_LEASED = ("WAITING", "SUBMITTED")
_TABLE = cast("Table", JobCard.__table__)


@dataclass(frozen=True, slots=True)
class RunFacts:
    """A run as the executor must be told of it. `executor_id` is its own name for the run where that differs from ours."""

    run_id: str
    project_id: int
    project_status: str
    status: str
    run_kind: str
    write_sandbox: bool
    rehearsal_pct: float | None
    tasks_total: int
    passport_sha256: str | None
    passport_text: str | None
    executor_id: str | None

    @property
    def has_passport(self) -> bool:
        """Whether the run has the passport that it was started with, unchanged."""
        if self.passport_text is None or self.passport_sha256 is None:
            return False
        return is_intact(self.passport_text, self.passport_sha256)

    @property
    def provider_matrix(self) -> dict[str, str]:
        """Provider → version, as the passport has it."""
        found: dict[str, str] = json.loads(self.passport_text or "{}").get("provider_matrix", {})
        return found


@dataclass(frozen=True, slots=True)
class Card:
    """A job card as it is decided upon and handed over. `depends_on` are task ids of the same run; `is_paused`: the executor
    has it and is to let it go on."""

    card_key: str
    run_id: str
    project_id: int
    task_id: str
    attempt: int
    lane_id: int
    provider: str
    priority: float
    budget_usd: Decimal | None
    depends_on: tuple[str, ...]
    payload: dict[str, Any]
    submissions: int
    is_paused: bool = False


def run_facts(session: Session, run_id: str) -> RunFacts | None:
    """A run with what its announcement needs; None when there is no such run."""
    rows = asked(session, _run_facts(), run_id=run_id)
    return RunFacts(*rows[0]) if rows else None


@cache
def _run_facts() -> Prepared:
    tasks = select(func.count()).select_from(RunTask).where(RunTask.run_id == ProjectRun.run_id).scalar_subquery()
    alias = (
        select(func.max(RunAlias.alias))
        .where(RunAlias.run_id == ProjectRun.run_id, RunAlias.vocabulary == PAS)
        .scalar_subquery()
    )
    return Prepared(
        select(
            ProjectRun.run_id, ProjectRun.project_id, Project.status, ProjectRun.status, ProjectRun.run_kind,
            ProjectRun.write_sandbox, ProjectRun.rehearsal_pct, tasks, RunPassport.sha256,
            RunPassport.passport_json, alias,
        )
        .join(Project, Project.id == ProjectRun.project_id)
        .outerjoin(RunPassport, RunPassport.run_id == ProjectRun.run_id)
        .where(ProjectRun.run_id == bindparam("run_id", type_=ProjectRun.run_id.type))
    )  # fmt: skip


def task_states(session: Session, run_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Run → task → status."""
    states: dict[str, dict[str, str]] = {run_id: {} for run_id in run_ids}
    ordered = sorted(run_ids)
    for start in range(0, len(ordered), _PARAMETERS):
        part = ordered[start : start + _PARAMETERS]
        for run_id, task_id, status in session.execute(
            select(RunTask.run_id, RunTask.task_id, RunTask.status).where(RunTask.run_id.in_(part))
        ):
            states[run_id][task_id] = status
    return states


def claim_cards(
    session: Session, card_keys: Sequence[str], *, holder: str, now: datetime, lease_until: datetime
) -> list[Card]:
    """Take those of the cards that nobody else has and whose run is RUNNING still; in the order in which they were named."""
    running = select(ProjectRun.run_id).where(ProjectRun.run_id == JobCard.run_id, ProjectRun.status == "RUNNING")
    free = (
        select(JobCard.card_key)
        .where(JobCard.card_key.in_(card_keys), *_free(now), running.exists())
        .with_for_update(of=JobCard, skip_locked=True)
        # A plain subquery may be run again for each row on PostgreSQL, and then skips what it locked itself.
        .cte("free")
    )
    # The table and not the class: nobody holds these rows as objects, and looking after them costs more than the statement.
    rows = session.connection().execute(
        update(_TABLE)
        .where(JobCard.card_key.in_(select(free.c.card_key)), *_free(now))
        .values(lease_holder=holder, lease_expires_at=lease_until, submissions=JobCard.submissions + 1)
        .returning(_TABLE.c.card_key)
    )
    taken = [key for (key,) in rows]
    found = {card.card_key: card for card in _cards(session, JobCard.card_key.in_(taken))} if taken else {}
    return [found[key] for key in card_keys if key in found]


def still_ours(session: Session, cards: Collection[Card], *, holder: str) -> set[str]:
    """Those of the cards that nobody has claimed since or handed over, nor will before the transaction ends; what was called
    off meanwhile is ours still."""
    claimed = {card.card_key: card.submissions for card in cards}
    rows = session.execute(
        select(JobCard.card_key, JobCard.submissions)
        .where(
            JobCard.card_key.in_(sorted(claimed)), JobCard.state.in_(("WAITING", "CANCELLED")),
            or_(JobCard.lease_holder.is_(None), JobCard.lease_holder == holder),
        )
        .order_by(JobCard.card_key)
        .with_for_update()
    )  # fmt: skip
    return {key for key, submissions in rows if submissions == claimed[key]}


def claim_paused(session: Session, card_key: str, *, holder: str, now: datetime, lease_until: datetime) -> Card | None:
    """Take a card that the executor put aside for others, if nobody else has it and its run is RUNNING still."""
    running = select(ProjectRun.run_id).where(ProjectRun.run_id == JobCard.run_id, ProjectRun.status == "RUNNING")
    taken = session.execute(
        update(JobCard)
        .where(
            JobCard.card_key == card_key, JobCard.state == "SUBMITTED", is_free(JobCard.lease_expires_at, now),
            running.exists(), is_aside(("paused", "resuming")),
        )
        .values(lease_holder=holder, lease_expires_at=lease_until)
        .execution_options(synchronize_session=False)
    )  # fmt: skip
    if not _count(taken):
        return None
    return replace(_cards(session, JobCard.card_key == card_key)[0], is_paused=True)


def paused_released(session: Session, card_key: str, *, not_before: datetime | None, error: str | None) -> None:
    """Nobody has the card that was put aside any more: it goes on, or is told to after `not_before`."""
    session.execute(
        update(JobCard)
        .where(JobCard.card_key == card_key, JobCard.state == "SUBMITTED")
        .values(lease_holder=None, lease_expires_at=not_before, last_error=None if error is None else error[:2000])
        .execution_options(synchronize_session=False)
    )


def submitted_card(session: Session, card_key: str) -> Card | None:
    """A card that the executor has; None when it does not, or its end was settled."""
    found = _cards(session, JobCard.card_key == card_key, JobCard.state == "SUBMITTED")
    return found[0] if found else None


def cards_untold(session: Session, card_keys: Collection[str], *, holder: str) -> None:
    """Cards that were claimed, and nobody was told of them: they wait as before, and no submission counts."""
    if card_keys:
        session.execute(
            update(JobCard)
            .where(JobCard.card_key.in_(card_keys), JobCard.state == "WAITING", JobCard.lease_holder == holder)
            .values(lease_holder=None, lease_expires_at=None, submissions=JobCard.submissions - 1)
            .execution_options(synchronize_session=False)
        )


def lock_runs(session: Session, run_ids: Collection[str]) -> None:
    """Lock runs in order of their names, as the settlement does: their cards and tasks change in any order afterwards."""
    if session.get_bind().dialect.name != "postgresql":
        return  # SQLite has one writer at a time.
    ordered = sorted(run_ids)
    for start in range(0, len(ordered), _PARAMETERS):
        session.execute(
            select(ProjectRun.id)
            .where(ProjectRun.run_id.in_(ordered[start : start + _PARAMETERS]))
            .order_by(ProjectRun.run_id)
            .with_for_update()
        )


_HOLDERS: Final = Prepared(
    select(JobCard.lease_holder)
    .where(
        one_of(JobCard.state, _LEASED),
        JobCard.lease_holder.is_not(None),
        JobCard.lease_expires_at > bindparam("now", type_=UtcDateTime()),
    )
    .distinct()
)


def holders(ask: Asking, *, now: datetime) -> set[str]:
    """Who holds cards that wait, under a lease that has not ended."""
    return {holder for (holder,) in ask.rows(_HOLDERS, now=now)}


def free_from(session: Session, dead: Collection[str], *, now: datetime) -> None:
    """Take cards from holders that are known to be dead; those that are queued have their turn at once."""
    freed = session.scalars(
        update(JobCard)
        .where(JobCard.state.in_(_LEASED), JobCard.lease_holder.in_(sorted(dead)))
        .values(lease_holder=None, lease_expires_at=None)
        .returning(JobCard.card_key)
        .execution_options(synchronize_session=False)
    ).all()
    queue.at_once(session, freed, now=now)


def cards_of(session: Session, run_id: str) -> list[Card]:
    """The cards of a run that wait, in the order of its plan."""
    return _cards(session, JobCard.run_id == run_id, JobCard.state == "WAITING")


def _cards(session: Session, *conditions: ColumnElement[bool]) -> list[Card]:
    rows = session.connection().execute(
        select(
            JobCard.card_key, JobCard.run_id, ProjectRun.project_id, JobCard.task_id, JobCard.attempt, JobCard.lane_id,
            JobCard.provider, JobCard.priority, JobCard.budget_usd, JobCard.depends_on_json, JobCard.payload_json,
            JobCard.submissions,
        )
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .join(RunTask, and_(RunTask.run_id == JobCard.run_id, RunTask.task_id == JobCard.task_id))
        .where(*conditions)
        .order_by(RunTask.id, JobCard.attempt)
    )  # fmt: skip
    return [
        Card(
            key, run_id, project_id, task_id, attempt, lane_id, provider, priority, budget_usd, tuple(depends_on or ()),
            dict(payload or {}), submissions,
        )
        for key, run_id, project_id, task_id, attempt, lane_id, provider, priority, budget_usd, depends_on, payload,
        submissions in rows
    ]  # fmt: skip


_SUBMITTED: Final = Change(
    update(JobCard)
    .where(JobCard.card_key == bindparam("key", type_=JobCard.card_key.type), JobCard.state == "WAITING")
    .values(
        state="SUBMITTED", pas_task_id=bindparam("name", type_=JobCard.pas_task_id.type),
        submitted_at=bindparam("now", type_=UtcDateTime()), lease_holder=null(), lease_expires_at=null(),
        last_error=null(),
    )
)  # fmt: skip


def card_submitted(session: Session, card_key: str, *, pas_task_id: str, now: datetime) -> bool:
    """The executor has the card; False when an event ended it before we could say so (the executor's id is kept anyway)."""
    queue.leave(session, [card_key])
    if _SUBMITTED.into(session, key=card_key, name=pas_task_id, now=now):
        return True
    session.execute(
        update(JobCard)
        .where(JobCard.card_key == card_key, JobCard.pas_task_id.is_(None))
        .values(pas_task_id=pas_task_id)
        .execution_options(synchronize_session=False)
    )
    return False


def card_released(session: Session, card_key: str, *, not_before: datetime | None, error: str | None) -> None:
    """The card was not handed over: it waits again, until `not_before` at least."""
    session.execute(
        update(JobCard)
        .where(JobCard.card_key == card_key, JobCard.state == "WAITING")
        .values(lease_holder=None, lease_expires_at=not_before, last_error=None if error is None else error[:2000])
        .execution_options(synchronize_session=False)
    )


def card_cancelled(session: Session, card_key: str, *, now: datetime, error: str) -> bool:
    """The card will never be handed over; False when it was, or had ended."""
    queue.leave(session, [card_key])
    moved = session.execute(
        update(JobCard)
        .where(JobCard.card_key == card_key, JobCard.state == "WAITING")
        .values(state="CANCELLED", ended_at=now, lease_holder=None, lease_expires_at=None, last_error=error[:2000])
        .execution_options(synchronize_session=False)
    )
    return bool(_count(moved))


def keep_alias(session: Session, run_id: str, alias: str, *, now: datetime) -> None:
    """The executor calls the run by another name."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(
        dialect.insert(RunAlias)
        .values(alias=alias, run_id=run_id, vocabulary=PAS, created_at=now)
        .on_conflict_do_nothing()
    )


def keep_snapshot(session: Session, row: dict[str, Any]) -> None:
    """What the executor stated about its providers at one moment of a run; the first statement stands."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    session.execute(dialect.insert(ProviderSnapshot).values(row).on_conflict_do_nothing())


def _free(now: datetime) -> tuple[ColumnElement[bool], ...]:
    return (
        JobCard.state == "WAITING",
        is_free(JobCard.lease_expires_at, now),
    )


def _count(result: Any) -> int:
    return int(result.rowcount)
