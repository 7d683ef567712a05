"""What the lanes did minute by minute: read from slots, kept, and added up.

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from sqlalchemy import and_, func, or_, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.lane_rules import LaneWeek
from plms_pipeline.portfolio.minutes import MINUTE_MS, Held, Minute
from plms_pipeline.portfolio.store.preemptions import PUT_ASIDE
from plms_pipeline.portfolio.store.slots import LANE
from plms_pipeline.registry.tables import JobCard, LaneMinute, ProjectRun, RunTask, Slot, StateTransition


def newest(session: Session) -> datetime | None:
    """The last minute that is kept."""
    return session.scalar(select(func.max(LaneMinute.minute)))


def first_slot(session: Session) -> datetime | None:
    """When the first slot of any lane was taken."""
    return session.scalar(select(func.min(Slot.taken_at)).where(Slot.resource.startswith(LANE)))


def held(session: Session, begin: datetime, end: datetime) -> dict[int, list[Held]]:
    """Lane → tasks that held a slot between two moments, with when each became eligible and how it ended."""
    rows = session.execute(
        select(
            JobCard.lane_id, JobCard.run_id, JobCard.task_id, JobCard.depends_on_json, JobCard.created_at,
            ProjectRun.started_at, Slot.taken_at, Slot.released_at, RunTask.status, Slot.release_reason,
        )
        .join(Slot, Slot.subject == JobCard.card_key)
        .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
        .join(RunTask, and_(RunTask.run_id == JobCard.run_id, RunTask.task_id == JobCard.task_id))
        .where(Slot.taken_at < end, or_(Slot.released_at.is_(None), Slot.released_at >= begin))
    ).all()  # fmt: skip
    ended = _ended(session, sorted({row.run_id for row in rows}))
    found: dict[int, list[Held]] = defaultdict(list)
    for row in rows:
        ready = [row.created_at, row.started_at or row.created_at]
        ready += [at for name in row.depends_on_json or () if (at := ended.get((row.run_id, name)))]
        has_failed = row.status == "FAIL"
        reason = _reason(session, row.run_id, row.task_id) if has_failed else ""
        found[row.lane_id].append(
            Held(
                min(millis(max(ready)), millis(row.taken_at)), millis(row.taken_at),
                None if row.released_at is None else millis(row.released_at), has_failed, reason,
                is_put_aside=row.release_reason == PUT_ASIDE,
            )
        )  # fmt: skip
    return found


def keep(session: Session, lane_id: int, cap: int, minutes: Mapping[int, Minute]) -> None:
    """Keep the minutes of a lane; a minute that is kept already is written anew. The cap is the one in force, or what was
    held where that was lowered meanwhile."""
    dialect = postgresql if session.get_bind().dialect.name == "postgresql" else sqlite
    for at, one in sorted(minutes.items()):
        values = {
            "cap_ms": max(cap * MINUTE_MS, one.busy_ms), "busy_ms": one.busy_ms, "queued_max": one.queued_max,
            "waited_ms": one.waited_ms, "started": one.started, "ended": one.ended, "failed": one.failed,
            "out_of_memory": one.out_of_memory, "timeouts": one.timeouts, "duration_ms": one.duration_ms,
        }  # fmt: skip
        minute = datetime.fromtimestamp(at / 1000, UTC)
        statement = dialect.insert(LaneMinute).values(lane_id=lane_id, minute=minute, **values)
        session.execute(statement.on_conflict_do_update(index_elements=["lane_id", "minute"], set_=values))


def weeks(session: Session, begin: datetime, caps: Mapping[int, int]) -> dict[int, LaneWeek]:
    """Lane → what it did in the seven days from a moment on."""
    return spans(session, begin, begin + timedelta(days=7), caps)


def spans(session: Session, begin: datetime, end: datetime, caps: Mapping[int, int]) -> dict[int, LaneWeek]:
    """Lane → what it did between two moments, in whole minutes."""
    rows = session.execute(
        select(
            LaneMinute.lane_id, *(
                func.sum(getattr(LaneMinute, name))
                for name in ("cap_ms", "busy_ms", "ended", "failed", "out_of_memory", "timeouts", "duration_ms", "waited_ms")
            ),
        )
        .where(LaneMinute.minute >= begin, LaneMinute.minute < end)
        .group_by(LaneMinute.lane_id)
        .order_by(LaneMinute.lane_id)
    )  # fmt: skip
    return {row[0]: LaneWeek(caps.get(row[0], 0), *(int(value) for value in row[1:])) for row in rows}


def millis(moment: datetime) -> int:
    """A moment in whole milliseconds of the epoch."""
    return int(moment.timestamp() * 1000)


def _ended(session: Session, run_ids: list[str]) -> dict[tuple[str, str], datetime]:
    found: dict[tuple[str, str], datetime] = {}
    for start in range(0, len(run_ids), 900):
        rows = session.execute(
            select(RunTask.run_id, RunTask.task_id, RunTask.completed_at).where(
                RunTask.run_id.in_(run_ids[start : start + 900]), RunTask.status == "SUCCESS"
            )
        )
        found.update({(run_id, task_id): at for run_id, task_id, at in rows if at is not None})
    return found


def _reason(session: Session, run_id: str, task_id: str) -> str:
    subject = f"{run_id}/{task_id}"[:255]
    query = select(StateTransition.reason).where(
        StateTransition.subject_type == "task", StateTransition.subject_id == subject, StateTransition.is_terminal
    )
    return session.scalar(query) or ""
