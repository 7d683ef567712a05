"""What runs in the scope of a kill switch, what was asked of the executor for it, and has the executor said yes?

One effect per run (or card) and switch, by its key: however many processes look after a switch, each pause is asked once, and
work that begins to run later, because it was on its way when the switch was turned on, is found by the next look.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import String, cast, exists, func, insert, literal, select, update
from sqlalchemy.orm import Session
from sqlalchemy.sql.elements import ColumnElement

from plms_pipeline.portfolio.store.preemptions import is_aside
from plms_pipeline.registry.tables import Hold, JobCard, OutboxEvent, ProjectRun, RunAlias
from plms_pipeline.runs.store import outbox, words
from plms_pipeline.runs.store.dispatch import PAS
from plms_pipeline.runs.store.words import PAUSE_RUN, PAUSE_TASK, RESUME_RUN, RESUME_TASK

PLACED_BY: Final = "killswitch:"
TERMINATE_RUN, CANCEL_TASK = "terminate_run", "cancel_task"
KINDS: Final = (PAUSE_RUN, TERMINATE_RUN, RESUME_RUN, PAUSE_TASK, CANCEL_TASK, RESUME_TASK)
# What a look asks for at once; what is left is asked a quarter of a second later.
MOST: Final = 500


@dataclass(frozen=True, slots=True)
class Stop:
    """A kill switch that is on, as far as it matters here. `subject`: a project's or lane's id, empty for everything."""

    switch_id: int
    scope: str
    subject: str
    reason: str
    since: datetime

    @property
    def suffix(self) -> str:
        """What the keys of its effects end with."""
        return f":switch:{self.switch_id}"


@dataclass(frozen=True, slots=True)
class Working:
    """A run that the executor works on, under the executor's own name for it."""

    run_id: str
    executor_id: str


def working(session: Session, *, limit: int = 10_000) -> list[Working]:
    """Every run that the executor works on, the newest first. Reads only."""
    query = select(ProjectRun.run_id, func.coalesce(_alias(ProjectRun.run_id), ProjectRun.run_id)).where(*_runs(None))
    return [Working(*row) for row in session.execute(query.order_by(ProjectRun.id.desc()).limit(limit))]


def ask_pauses(session: Session, stop: Stop, *, now: datetime) -> int:
    """Ask for the pause of everything in scope that runs and was not asked yet; how much."""
    if stop.scope == "lane":
        return _ask_task_pauses(session, stop, now=now)
    key = literal(f"{PAUSE_RUN}:") + ProjectRun.run_id + literal(stop.suffix)
    fresh = session.scalars(select(ProjectRun.run_id).where(*_runs(stop), ~_asked(key)).limit(MOST)).all()
    for run_id in fresh:
        words.ask(
            session, PAUSE_RUN, run_id, now=now, payload={"reason": _told(stop)},
            key=f"{PAUSE_RUN}:{run_id}{stop.suffix}", reason=_told(stop),
        )  # fmt: skip
        _hold(session, run_id, stop, now=now)
    return len(fresh)


def ask_ends(session: Session, stop: Stop, *, now: datetime, asked_before: datetime) -> int:
    """Ask for the end of what was asked to pause before `asked_before` and has not said yes; how much."""
    kind, end = (PAUSE_TASK, CANCEL_TASK) if stop.scope == "lane" else (PAUSE_RUN, TERMINATE_RUN)
    goes_on = _card_goes_on(stop) if stop.scope == "lane" else _run_goes_on()
    rows = session.execute(
        select(OutboxEvent.id, OutboxEvent.subject_id, OutboxEvent.payload_json)
        .where(
            OutboxEvent.kind == kind,
            OutboxEvent.event_key.endswith(stop.suffix, autoescape=True),
            OutboxEvent.state != "done",
            OutboxEvent.created_at <= asked_before,
            goes_on,
            ~_asked(literal(f"{end}:") + OutboxEvent.subject_id + literal(stop.suffix)),
        )
        .limit(MOST)
    ).all()
    for effect_id, subject, payload in rows:
        told = {**(payload or {}), "reason": f"{_told(stop)}; it did not pause"}
        outbox.ask(session, end, subject, now=now, payload=told, key=f"{end}:{subject}{stop.suffix}")
        outbox.failed(session, effect_id, now=now, error="not acknowledged in time: to be ended instead")
    return len(rows)


def ask_resumes(session: Session, *, now: datetime, actor: str, stopped: Sequence[Stop], ids: Any) -> tuple[int, int]:
    """Lift the holds of kill switches that are off, and ask the executor to go on; (runs, cards).

    Runs of a project that somebody holds go on when that hold is lifted.
    """
    held = session.execute(
        select(Hold.id, Hold.subject_id, ProjectRun.project_id, ProjectRun.status)
        .join(ProjectRun, ProjectRun.run_id == Hold.subject_id)
        .where(Hold.subject_type == "run", Hold.placed_by.startswith(PLACED_BY), Hold.lifted_at.is_(None))
    ).all()
    everything = any(stop.scope == "global" for stop in stopped)
    projects = {stop.subject for stop in stopped if stop.scope == "project"}
    paused = set(
        session.scalars(select(Hold.subject_id).where(Hold.subject_type == "project", Hold.lifted_at.is_(None)))
    )
    runs = 0
    for hold_id, run_id, project_id, status in held:
        if everything or str(project_id) in projects:
            continue
        session.execute(
            update(Hold)
            .where(Hold.id == hold_id)
            .values(lifted_at=now, lifted_by=actor[:255])
            .execution_options(synchronize_session=False)
        )
        if status == "RUNNING" and str(project_id) not in paused:
            runs += 1
            key = f"{RESUME_RUN}:{run_id}:{ids()}"
            told = {"reason": "resumed"}
            words.ask(session, RESUME_RUN, run_id, now=now, payload=told, key=key, reason="resumed")
    return runs, 0 if everything else _ask_task_resumes(session, now=now, stopped=stopped)


def _ask_task_pauses(session: Session, stop: Stop, *, now: datetime) -> int:
    key = literal(f"{PAUSE_TASK}:") + JobCard.card_key + literal(stop.suffix)
    rows = session.execute(
        select(JobCard.card_key, JobCard.run_id, JobCard.task_id, JobCard.attempt)
        .where(JobCard.lane_id == int(stop.subject), JobCard.state == "SUBMITTED", ~_asked(key))
        # What is put aside for another project is paused; it goes on when it has a slot again, and not before.
        .where(~is_aside(("paused",)))
        .limit(MOST)
    ).all()
    for card_key, run_id, task_id, attempt in rows:
        payload = {"run_id": run_id, "task_id": task_id, "attempt": attempt, "reason": _told(stop)}
        event_key = f"{PAUSE_TASK}:{card_key}{stop.suffix}"
        words.ask(session, PAUSE_TASK, card_key, now=now, payload=payload, key=event_key, reason=_told(stop))
    return len(rows)


def _ask_task_resumes(session: Session, *, now: datetime, stopped: Sequence[Stop]) -> int:
    lanes = [int(stop.subject) for stop in stopped if stop.scope == "lane"]
    resumed = literal(f"{RESUME_TASK}:") + OutboxEvent.event_key
    rows = session.execute(
        select(OutboxEvent.event_key, OutboxEvent.subject_id, OutboxEvent.payload_json)
        .join(JobCard, JobCard.card_key == OutboxEvent.subject_id)
        .where(
            OutboxEvent.kind == PAUSE_TASK,
            OutboxEvent.event_key.contains(":switch:", autoescape=True),
            OutboxEvent.state != "failed",
            JobCard.state == "SUBMITTED",
            JobCard.lane_id.not_in(lanes),
            ~_asked(resumed),
            ~is_aside(),
        )
    ).all()
    for event_key, card_key, payload in rows:
        key = f"{RESUME_TASK}:{event_key}"
        words.ask(session, RESUME_TASK, card_key, now=now, payload=payload, key=key, reason="resumed")
    return len(rows)


def executor_name(session: Session, run_id: str) -> str:
    """What the executor calls a run. Reads only."""
    return session.scalar(select(func.max(RunAlias.alias)).where(*_is_alias(run_id))) or run_id


def _runs(stop: Stop | None) -> tuple[ColumnElement[bool], ...]:
    conditions: tuple[ColumnElement[bool], ...] = (ProjectRun.source == "plms", ProjectRun.status == "RUNNING")
    if stop is not None and stop.scope == "project":
        conditions += (ProjectRun.project_id == int(stop.subject),)
    return conditions


def _run_goes_on() -> ColumnElement[bool]:
    return exists().where(ProjectRun.run_id == OutboxEvent.subject_id, ProjectRun.status.in_(("RUNNING", "QUEUED")))


def _card_goes_on(stop: Stop) -> ColumnElement[bool]:
    return exists().where(
        JobCard.card_key == OutboxEvent.subject_id,
        JobCard.state == "SUBMITTED",
        JobCard.lane_id == int(stop.subject),
    )


def _asked(key: ColumnElement[str]) -> ColumnElement[bool]:
    asked = OutboxEvent.__table__.alias("asked")
    return exists().where(asked.c.event_key == cast(key, String))


def _hold(session: Session, run_id: str, stop: Stop, *, now: datetime) -> None:
    session.execute(
        insert(Hold).values(
            subject_type="run", subject_id=run_id, reason=_told(stop), placed_by=f"{PLACED_BY}{stop.switch_id}",
            placed_at=now,
        )
    )  # fmt: skip


def _told(stop: Stop) -> str:
    return f"kill switch: {stop.reason}"[:1000]


def _is_alias(run_id: Any) -> tuple[ColumnElement[bool], ...]:
    return RunAlias.run_id == run_id, RunAlias.vocabulary == PAS


def _alias(run_id: Any) -> Any:
    return select(func.max(RunAlias.alias)).where(*_is_alias(run_id)).scalar_subquery()
