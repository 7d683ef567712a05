"""What do the invariants of the portfolio compare? Rows of the window as plain values; what SQL can judge comes as offenders.

Every function takes an open session and only reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import String, and_, cast, exists, func, or_, select
from sqlalchemy.orm import Session, aliased

from plms_pipeline.budget.ledger import PROJECT
from plms_pipeline.invariants.report import CAP
from plms_pipeline.invariants.store.runs import Offenders
from plms_pipeline.registry.tables import (
    DeadLetter,
    JobCard,
    LedgerAccount,
    LedgerEntry,
    Obligation,
    Observation,
    ProjectRun,
    Slot,
    TaskReceipt,
)
from plms_pipeline.registry.tables import RunwaySnapshot as Look

_LANES: Final = "lane:"
_ENDED: Final = ("SUCCESS", "FAIL", "SKIPPED")
_OVER: Final = ("ENDED", "CANCELLED")


def accounts(session: Session, *, above: int) -> tuple[Sequence[Any], Sequence[Any]]:
    """(account, reserved, settled) of accounts that moved, and (account, kind, sum) of all their entries.

    A full proof (`above` 0) also asks for accounts that never moved.
    """
    moved = select(LedgerEntry.account).where(LedgerEntry.id > above).distinct()
    chosen: Any = select(LedgerAccount.account, LedgerAccount.reserved_usd, LedgerAccount.settled_usd)
    if above:
        chosen = chosen.where(LedgerAccount.account.in_(moved))
    sums: Any = select(LedgerEntry.account, LedgerEntry.kind, func.sum(LedgerEntry.amount_usd))
    if above:
        sums = sums.where(LedgerEntry.account.in_(moved))
    sums = sums.group_by(LedgerEntry.account, LedgerEntry.kind)
    return session.execute(chosen.order_by(LedgerAccount.account)).all(), session.execute(sums).all()


def reservations(session: Session, *, above: int) -> Sequence[Any]:
    """(account, card, state of the card or None, kind, sum) of everything that moved for cards which reserved in the window.

    Starts outside an approved project (`launch:…`, `run:…`) have leases that end by themselves and are left out.
    """
    reserved = (
        select(LedgerEntry.subject)
        .where(LedgerEntry.id > above, LedgerEntry.kind == "reserve", *_of_cards())
        .distinct()
    )
    query: Any = (
        select(
            LedgerEntry.account, LedgerEntry.subject, JobCard.state, LedgerEntry.kind, func.sum(LedgerEntry.amount_usd)
        )
        .outerjoin(JobCard, JobCard.card_key == LedgerEntry.subject)
        .where(LedgerEntry.subject.in_(reserved), LedgerEntry.kind.in_(("reserve", "settle", "release")))
        .group_by(LedgerEntry.account, LedgerEntry.subject, JobCard.state, LedgerEntry.kind)
        .order_by(LedgerEntry.subject)
    )
    return session.execute(query).all()


def settled(session: Session, *, above: int) -> Sequence[Any]:
    """(account, settled, sum of the receipts' costs) of projects whose account moved since.

    An account is opened with what receipts had cost before it; one that was not has nothing to be compared with.
    """
    opened = aliased(LedgerEntry)
    moved = select(LedgerEntry.account).where(LedgerEntry.id > above).distinct()
    costs = (
        select(func.sum(TaskReceipt.cost_usd))
        .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
        .where(cast(ProjectRun.project_id, String) == func.substr(LedgerAccount.account, len(PROJECT) + 1))
        .scalar_subquery()
    )
    query: Any = (
        select(LedgerAccount.account, LedgerAccount.settled_usd, costs)
        .join(opened, opened.entry_key == "opening@" + LedgerAccount.account)
        .where(LedgerAccount.account.in_(moved), LedgerAccount.account.startswith(PROJECT))
        .order_by(LedgerAccount.account)
    )
    return session.execute(query).all()


def looks(session: Session, *, above: int) -> Sequence[Any]:
    """(project, moment, spent, budget, minutes, low, high, final, low, high, overrun, status) of looks at budgets since."""
    query: Any = select(
        Look.project_id, Look.at, Look.spent_usd, Look.budget_usd, Look.minutes_left, Look.minutes_low, Look.minutes_high,
        Look.final_usd, Look.final_low, Look.final_high, Look.overrun_usd, Look.status,
    ).where(Look.id > above)  # fmt: skip
    return session.execute(query.order_by(Look.id)).all()


def stale_slots(session: Session) -> Offenders:
    """Places in lanes that are held for a card or run that is over or not there."""
    held = (Slot.resource.startswith(_LANES), Slot.state != "RELEASED")
    rows = session.execute(
        select(func.count().over(), Slot.resource, Slot.subject, JobCard.state, ProjectRun.run_id, ProjectRun.status)
        .outerjoin(JobCard, JobCard.card_key == Slot.subject)
        .outerjoin(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .where(*held, or_(JobCard.card_key.is_(None), JobCard.state.in_(_OVER), ProjectRun.status.in_(_ENDED)))
        .order_by(Slot.taken_at, Slot.slot_id)
        .limit(CAP)
    ).all()
    named = [
        f"slots resource={resource} subject={subject}: its card is {state or 'not there'}, run {run or 'unknown'} is {status}"
        for _, resource, subject, state, run, status in rows
    ]
    return (rows[0][0] if rows else 0), named


def unaccounted_letters(session: Session) -> Offenders:
    """Letters that are owed at no moment, ended at none, or are about a run that does not exist."""
    is_about_no_run = and_(
        DeadLetter.kind == "run",
        ~exists().where(ProjectRun.run_id == func.coalesce(DeadLetter.run_id, DeadLetter.subject_id)),
    )
    rows = session.execute(
        select(func.count().over(), DeadLetter.letter_id, DeadLetter.kind, DeadLetter.subject_id, DeadLetter.state)
        .where(
            or_(
                and_(DeadLetter.state == "ready", DeadLetter.next_due_at.is_(None)),
                and_(DeadLetter.state.in_(("done", "permanent")), DeadLetter.ended_at.is_(None)),
                is_about_no_run,
            )
        )
        .order_by(DeadLetter.letter_id)
        .limit(CAP)
    ).all()  # fmt: skip
    named = [
        f"dead_letters letter_id={letter} ({kind} {subject[:80]}): {state}" for _, letter, kind, subject, state in rows
    ]
    return (rows[0][0] if rows else 0), named


def unaccounted_obligations(session: Session) -> Offenders:
    """Obligations that ended without an observation, or are pending with one."""
    is_observed = Observation.obligation_id.is_not(None)
    rows = session.execute(
        select(
            func.count().over(), Obligation.obligation_id, Obligation.subject_id, Obligation.evidence_kind, Obligation.state
        )
        .outerjoin(Observation, Observation.obligation_id == Obligation.obligation_id)
        .where(
            or_(
                and_(Obligation.state != "pending", ~is_observed), and_(Obligation.state == "pending", is_observed)
            )
        )
        .order_by(Obligation.obligation_id)
        .limit(CAP)
    ).all()  # fmt: skip
    named = [
        f"obligations subject_id={subject} evidence_kind={kind} ({obligation}): {state} "
        f"{'although it was observed' if state == 'pending' else 'without an observation'}"
        for _, obligation, subject, kind, state in rows
    ]
    return (rows[0][0] if rows else 0), named


def _of_cards() -> tuple[Any, ...]:
    return (~LedgerEntry.subject.startswith("launch:"), ~LedgerEntry.subject.startswith("run:"))
