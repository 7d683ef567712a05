"""What do the tables say that rules look at? Reads only, each bounded by time or by what is open."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, func, or_, select
from sqlalchemy.orm import Session

from plms_pipeline.letters.rules import DONE, OPEN
from plms_pipeline.portfolio.store.slots import LAUNCHER
from plms_pipeline.registry.tables import (
    AuditEntry,
    DeadLetter,
    Lane,
    LaneMinute,
    LiveSnapshot,
    Observation,
    Project,
    ProjectRun,
    RunPassport,
    Slot,
    TaskReceipt,
)

MOST: Final = 1000


def runs_without_passport(session: Session, since: datetime) -> list[tuple[str, int, datetime]]:
    """(run, project, creation) of our own runs since a moment whose passport is missing or incomplete."""
    rows = session.execute(
        select(ProjectRun.run_id, ProjectRun.project_id, ProjectRun.created_at)
        .outerjoin(RunPassport, RunPassport.run_id == ProjectRun.run_id)
        .where(
            ProjectRun.source == "plms", ProjectRun.created_at >= since,
            or_(RunPassport.run_id.is_(None), ~RunPassport.is_complete),
        )
        .order_by(ProjectRun.created_at, ProjectRun.run_id)
        .limit(MOST)
    )  # fmt: skip
    return [(row[0], row[1], row[2]) for row in rows]


def newest_live_looks(session: Session) -> list[tuple[str, str, list[str], datetime]]:
    """(family, action, alert codes, moment) of the newest look at each family that serves."""
    newest = select(func.max(LiveSnapshot.id)).group_by(LiveSnapshot.family)
    rows = session.scalars(select(LiveSnapshot).where(LiveSnapshot.id.in_(newest)).order_by(LiveSnapshot.family))
    return [(row.family, row.action, list(row.alerts_json), row.at) for row in rows]


def passports_since(session: Session, since: datetime, *, limit: int) -> list[tuple[str, datetime, str]]:
    """(run, creation, text) of passports that were written after a moment, the oldest first."""
    query = select(RunPassport.run_id, RunPassport.created_at, RunPassport.passport_json)
    rows = session.execute(query.where(RunPassport.created_at > since).order_by(RunPassport.created_at).limit(limit))
    return [(row[0], row[1], row[2]) for row in rows]


def passport_text(session: Session, run_id: str) -> str | None:
    """The passport of one run."""
    return session.scalar(select(RunPassport.passport_json).where(RunPassport.run_id == run_id))


def projects_in_review(session: Session) -> list[tuple[int, str]]:
    """(project, name) of those that wait because a gate failed."""
    rows = session.execute(
        select(Project.id, Project.name).where(Project.status == "needs_review").order_by(Project.id).limit(MOST)
    )
    return [(row[0], row[1]) for row in rows]


def lanes(session: Session) -> list[tuple[int, str, int]]:
    """(lane, name, cap)."""
    rows = session.execute(select(Lane.lane_id, Lane.name, Lane.cap).order_by(Lane.lane_id))
    return [(row[0], row[1], row[2]) for row in rows]


def lane_minutes(session: Session, since: datetime) -> list[tuple[int, datetime, int, int, int]]:
    """(lane, minute, cap_ms, busy_ms, most that waited) of the minutes from a moment on."""
    rows = session.execute(
        select(LaneMinute.lane_id, LaneMinute.minute, LaneMinute.cap_ms, LaneMinute.busy_ms, LaneMinute.queued_max)
        .where(LaneMinute.minute >= since)
        .order_by(LaneMinute.lane_id, LaneMinute.minute)
    )
    return [(row[0], row[1], row[2], row[3], row[4]) for row in rows]


def launcher_places(session: Session) -> int:
    """How many starts outside an approved project go on."""
    query = select(func.count()).where(Slot.resource == LAUNCHER, Slot.state != "RELEASED")
    return session.scalar(query) or 0


def refused_by_rate(session: Session, since: datetime) -> int:
    """How many starts the rate has refused since a moment."""
    query = select(func.count()).where(
        AuditEntry.at >= since, AuditEntry.action.in_(("guard.enforce", "http.refused")),
        AuditEntry.outcome == "rate_limited",
    )  # fmt: skip
    return session.scalar(query) or 0


def cache_lost(session: Session, since: datetime) -> datetime | None:
    """When the answer cache was lost, if the newest word about it since a moment says so."""
    row = session.execute(
        select(AuditEntry.at, AuditEntry.outcome)
        .where(AuditEntry.at >= since, AuditEntry.action == "cache.redis")
        .order_by(AuditEntry.id.desc())
        .limit(1)
    ).first()
    return row[0] if row is not None and row[1] == "lost" else None


def ended_tasks(session: Session, since: datetime) -> tuple[int, int]:
    """(attempts of our own that ended since a moment, those that failed)."""
    row = session.execute(
        select(func.count(), func.count().filter(TaskReceipt.status == "FAIL")).where(
            # The day first: it is what the index begins with.
            TaskReceipt.completed_on >= since.date(), TaskReceipt.completed_at >= since, TaskReceipt.source == "plms",
        )
    ).one()  # fmt: skip
    return int(row[0]), int(row[1])


def letters(session: Session, since: datetime) -> tuple[int, int]:
    """(dead letters that are owed work, letters that came since a moment less those that were done since)."""
    owed = session.scalar(select(func.count()).where(DeadLetter.state.in_(OPEN))) or 0
    came = session.scalar(select(func.count()).where(DeadLetter.first_failed_at >= since)) or 0
    went = session.scalar(select(func.count()).where(and_(DeadLetter.state == DONE, DeadLetter.ended_at >= since)))
    return int(owed), int(came) - int(went or 0)


def failed_job(session: Session, job: str, since: datetime) -> tuple[datetime, str] | None:
    """(when, why) a Dagster job failed last since a moment, if its letter is not done."""
    rows = session.execute(
        select(DeadLetter.last_failed_at, DeadLetter.reason, DeadLetter.payload_json)
        .where(DeadLetter.kind == "job", DeadLetter.state != DONE, DeadLetter.last_failed_at >= since)
        .order_by(DeadLetter.last_failed_at.desc())
        .limit(MOST)
    )
    for at, reason, payload in rows:
        if isinstance(payload, dict) and payload.get("job") == job:
            return at, reason
    return None


def observations(session: Session, now: datetime) -> dict[str, int]:
    """What was observed: `n`, `timeout`, `dropped` of ten minutes, `redis_error` of five."""
    ten, five = now - timedelta(minutes=10), now - timedelta(minutes=5)
    rows = session.execute(
        select(Observation.reason, func.count(), func.count().filter(Observation.at >= five))
        .where(Observation.at >= ten)
        .group_by(Observation.reason)
    ).all()
    found: dict[str, Any] = {row[0]: (int(row[1]), int(row[2])) for row in rows}
    return {
        "n": sum(of_ten for of_ten, _ in found.values()), "timeout": found.get("timeout", (0, 0))[0],
        "dropped": found.get("dropped", (0, 0))[0], "redis_error": found.get("redis_error", (0, 0))[1],
    }  # fmt: skip
