"""Which rows does a settlement read, and which does it write?

Projects and runs are locked in order of their ids before anything about them is read, so that of two settlements that end the
last two tasks of a run one sees the other's work. On SQLite there is one writer anyway.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, and_, bindparam, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from plms_pipeline.intake.store.importing import Bulk, mark_changed
from plms_pipeline.portfolio.store import queue
from plms_pipeline.registry.tables import (
    JobCard,
    KpiReceipt,
    OutboxEvent,
    Project,
    ProjectPolicy,
    ProjectRun,
    ReceiptDay,
    RunAlias,
    RunTask,
    TaskReceipt,
)
from plms_pipeline.runs.receiving import COLUMNS, SOURCE
from plms_pipeline.runs.settling import Attempt, Books, Effects, Move, Run, Task
from plms_pipeline.runs.settling import Project as ProjectBook
from plms_pipeline.runs.starting import moves_project
from plms_pipeline.runs.store.transitions import move_project, move_run, move_task

# SQLite's oldest builds take 999 parameters in a statement.
_PARAMETERS: Final = 900
_OPEN: Final = ("QUEUED", "RUNNING")
_COPIED: Final = (
    "run_id", "task_id", "lane_id", "provider", "priority", "budget_usd", "depends_on_json", "payload_json",
)  # fmt: skip
_REAL: Final = tuple(
    (kind, sandbox) for kind in ("baseline", "rehearsal", "replay", "hotfix") for sandbox in (False, True)
    if moves_project(kind, write_sandbox=sandbox)
)  # fmt: skip


def resolve(session: Session, names: Collection[str]) -> dict[str, str]:
    """Our run id for every name that is one or stands for one; names that mean nothing to us are missing."""
    found: dict[str, str] = {}
    for part in _parts(names):
        rows = session.scalars(
            select(ProjectRun.run_id).where(ProjectRun.run_id.in_(part), ProjectRun.source == SOURCE)
        )
        found.update({run_id: run_id for run_id in rows})
        aliases = session.execute(select(RunAlias.alias, RunAlias.run_id).where(RunAlias.alias.in_(part)))
        for alias, run_id in aliases:
            found.setdefault(alias, run_id)
    return found


def lock(session: Session, run_ids: Collection[str]) -> None:
    """Lock the projects of the runs and the runs themselves until the transaction ends."""
    projects: set[int] = set()
    for part in _parts(run_ids):
        projects |= set(session.scalars(select(ProjectRun.project_id).where(ProjectRun.run_id.in_(part))))
    for chunk in _parts(projects):
        session.execute(select(Project.id).where(Project.id.in_(chunk)).order_by(Project.id).with_for_update())
    for part in _parts(run_ids):
        session.execute(
            select(ProjectRun.id).where(ProjectRun.run_id.in_(part)).order_by(ProjectRun.run_id).with_for_update()
        )


def lock_days(session: Session, run_ids: Collection[str], days: Iterable[date]) -> None:
    """Lock every known day that a settlement will mark, in order, as imports do: those of the new receipts, and those of the
    runs' earlier ones, which a verdict marks again. On SQLite there is one writer anyway."""
    if session.get_bind().dialect.name == "sqlite":
        return
    marked = set(days)
    for part in _parts(run_ids):
        marked |= set(session.scalars(select(TaskReceipt.completed_on).where(TaskReceipt.run_id.in_(part)).distinct()))
    known = select(ReceiptDay.day).where(ReceiptDay.day.in_(sorted(marked))).order_by(ReceiptDay.day)
    session.execute(known.with_for_update())


def books_of(session: Session, run_ids: Collection[str], *, task_ids: Collection[str] | None = None) -> Books:
    """The runs with their tasks and attempts, and their projects.

    Args:
        task_ids: only tasks that are called so, a few hundred names at most: enough to look at completions, too little to book
            them. A run of ten thousand tasks takes a tenth of a second to read.
    """
    runs: dict[str, Run] = {}
    named = None if task_ids is None else sorted(task_ids)

    def wanted(table: type[RunTask | JobCard | TaskReceipt], part: Sequence[str]) -> list[ColumnElement[bool]]:
        return [table.run_id.in_(part), *([] if named is None else [table.task_id.in_(named)])]

    for part in _parts(run_ids):
        runs.update(_runs(session, part))
        for row in session.execute(
            select(RunTask.run_id, RunTask.task_id, RunTask.lane_id, RunTask.status, RunTask.validation)
            .where(*wanted(RunTask, part))
            .order_by(RunTask.id)
        ):
            runs[row[0]].tasks[row[1]] = Task(row[1], row[2], row[3], row[4])
        for card in session.execute(
            select(
                JobCard.run_id,
                JobCard.task_id,
                JobCard.card_key,
                JobCard.attempt,
                JobCard.state,
                JobCard.depends_on_json,
            )
            .where(*wanted(JobCard, part))
            .order_by(JobCard.attempt)
        ):
            task = runs[card[0]].tasks.get(card[1])
            if task is not None:
                task.attempts[card[3]] = Attempt(card[2], card[3], card[4], tuple(card[5] or ()))
        for run_id, task_id, attempt in session.execute(
            select(TaskReceipt.run_id, TaskReceipt.task_id, TaskReceipt.attempt).where(*wanted(TaskReceipt, part))
        ):
            found = runs[run_id].tasks.get(task_id)
            if found is not None and attempt in found.attempts:
                found.attempts[attempt].is_booked = True
    return Books(runs, _projects(session, {run.project_id for run in runs.values()}))


def _runs(session: Session, run_ids: Sequence[str]) -> dict[str, Run]:
    is_stopping = exists().where(OutboxEvent.kind == "terminate_run", OutboxEvent.subject_id == ProjectRun.run_id)
    rows = session.execute(
        select(
            ProjectRun.run_id, ProjectRun.project_id, ProjectRun.status, ProjectRun.validation,
            func.coalesce(ProjectPolicy.max_attempts, 1), ProjectRun.run_kind, ProjectRun.write_sandbox, is_stopping,
            ProjectRun.started_at,
        )
        .outerjoin(ProjectPolicy, ProjectPolicy.project_id == ProjectRun.project_id)
        .where(ProjectRun.run_id.in_(run_ids))
    )  # fmt: skip
    return {
        run_id: Run(
            run_id,
            project_id,
            status,
            validation,
            max_attempts=attempts,
            moves_project=moves_project(kind, write_sandbox=sandbox),
            is_stopping=stopping,
            is_sandbox=sandbox,
            started_at=started,
        )
        for run_id, project_id, status, validation, attempts, kind, sandbox, stopping, started in rows
    }


def _projects(session: Session, project_ids: Collection[int]) -> dict[int, ProjectBook]:
    found: dict[int, ProjectBook] = {}
    for part in _parts(project_ids):
        for project_id, status in session.execute(select(Project.id, Project.status).where(Project.id.in_(part))):
            found[project_id] = ProjectBook(project_id, status)
        for project_id, run_id in session.execute(
            select(ProjectRun.project_id, ProjectRun.run_id).where(
                ProjectRun.project_id.in_(part), ProjectRun.status.in_(_OPEN), ProjectRun.source == SOURCE, _is_work()
            )
        ):
            found[project_id].open_runs.add(run_id)
    return found


def _is_work() -> ColumnElement[bool]:
    return or_(*(and_(ProjectRun.run_kind == kind, ProjectRun.write_sandbox.is_(sandbox)) for kind, sandbox in _REAL))


def cards_of(session: Session, run_ids: Collection[str]) -> dict[tuple[str, str, int], dict[str, Any]]:
    """What a receipt needs of its card: project, lane, provider, moment of submission; by (run, task, attempt)."""
    found = {}
    for part in _parts(run_ids):
        rows = session.execute(
            select(
                JobCard.run_id, JobCard.task_id, JobCard.attempt, ProjectRun.project_id, JobCard.lane_id, JobCard.provider,
                JobCard.submitted_at,
            )
            .join(ProjectRun, ProjectRun.run_id == JobCard.run_id)
            .where(JobCard.run_id.in_(part))
        )  # fmt: skip
        for run_id, task_id, attempt, *facts in rows:
            found[run_id, task_id, attempt] = dict(
                zip(("project_id", "lane_id", "provider", "submitted_at"), facts, strict=True)
            )
    return found


def finished_but_open(session: Session, *, limit: int) -> list[str]:
    """Runs whose tasks have all ended and that have not: their last tasks were refused or skipped, not completed."""
    pending = exists().where(RunTask.run_id == ProjectRun.run_id, RunTask.status.in_(_OPEN))
    some = exists().where(RunTask.run_id == ProjectRun.run_id)
    return list(
        session.scalars(
            select(ProjectRun.run_id)
            .where(ProjectRun.status.in_(_OPEN), ProjectRun.source == SOURCE, some, ~pending)
            .order_by(ProjectRun.id)
            .limit(limit)
        )
    )


def add_receipts(session: Session, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Book receipts and mark their days; False when one of them is there already."""
    if not rows:
        return True
    ordered = [tuple(row[name] for name in COLUMNS) for row in rows]
    if Bulk(session).insert_receipts(COLUMNS, ordered) != len(rows):
        return False
    mark_changed(session, (row["completed_on"] for row in rows))
    return True


def add_kpi_receipts(session: Session, rows: Iterable[KpiReceipt]) -> None:
    """Keep what was measured."""
    session.add_all(list(rows))
    session.flush()


def write(
    session: Session, effects: Effects, *, at: datetime, starts: Mapping[str, datetime | None], actor: str
) -> bool:
    """Write changes of states, cards and verdicts; False when a state is not what the books said (nothing may be kept then).

    Args:
        at: when it happens.
        starts: when each run began: no run ends before that, whatever the clock says now.
        actor: who settles.
    """
    for move in effects.moves:
        begun = starts.get(move.run_id)
        if not _moved(session, move, at=max(at, begun) if begun else at, actor=actor):
            return False
    _cards(session, effects, at)
    connection = session.connection()
    if effects.task_verdicts:
        connection.execute(
            update(RunTask)
            .where(RunTask.run_id == bindparam("run"), RunTask.task_id == bindparam("task"))
            .values(validation=bindparam("verdict")),
            [{"run": run, "task": task, "verdict": verdict} for run, task, verdict in effects.task_verdicts],
        )
    if effects.run_verdicts:
        connection.execute(
            update(ProjectRun)
            .where(ProjectRun.run_id == bindparam("run"), ProjectRun.validation == "pending")
            .values(validation=bindparam("verdict"), verdict_by="gates"),
            [{"run": run, "verdict": verdict} for run, verdict in effects.run_verdicts],
        )
    return True


def _moved(session: Session, move: Move, *, at: datetime, actor: str) -> bool:
    said: dict[str, Any] = {"expected": move.old, "new": move.new, "at": at, "actor": actor, "reason": move.reason}
    if move.subject == "task":
        return move_task(session, move.run_id, move.task_id, **said)
    if move.subject == "run":
        return move_run(session, move.run_id, **said)
    return move_project(session, move.project_id, **said)


def _cards(session: Session, effects: Effects, at: datetime) -> None:
    queue.leave(session, [*effects.cards_ended, *(key for key, _ in effects.cards_cancelled)])
    connection = session.connection()
    # Not IN: a list of parameters cannot be sent for many cards at once.
    is_open = (JobCard.state != "ENDED", JobCard.state != "CANCELLED")
    ended = update(JobCard).where(JobCard.card_key == bindparam("key"), *is_open)
    free: dict[str, Any] = {"ended_at": bindparam("at"), "lease_holder": None, "lease_expires_at": None}
    if effects.cards_ended:
        connection.execute(ended.values(state="ENDED", **free), [{"key": key, "at": at} for key in effects.cards_ended])
    if effects.cards_cancelled:
        connection.execute(
            ended.values(state="CANCELLED", last_error=bindparam("why"), **free),
            [{"key": key, "at": at, "why": why[:2000]} for key, why in effects.cards_cancelled],
        )
    for following in effects.next_attempts:
        row = session.execute(
            select(*(getattr(JobCard, name) for name in _COPIED)).where(JobCard.card_key == following.after)
        ).one()
        session.execute(
            insert(JobCard).values(
                **dict(zip(_COPIED, row, strict=True)), card_key=following.card_key, attempt=following.attempt,
                state="WAITING", submissions=0, created_at=at,
            )
        )  # fmt: skip


def put_actuals(session: Session, project_ids: Collection[int]) -> None:
    """Sum up what projects took so far, from the receipts of their own work, and compare with what was estimated.

    The project is asked of the run, not of the receipt, which says the same: a project has few runs and an index for them,
    while an index of receipts by project would cost every import and serve nothing else.
    """
    for project_id in sorted(project_ids):
        tokens, duration_ms, cost = session.execute(
            select(func.sum(TaskReceipt.tokens), func.sum(TaskReceipt.duration_ms), func.sum(TaskReceipt.cost_usd))
            .join(ProjectRun, ProjectRun.run_id == TaskReceipt.run_id)
            .where(ProjectRun.project_id == project_id, _is_work())
        ).one()
        estimated = session.execute(
            select(Project.estimated_tokens, Project.estimated_duration_minutes, Project.estimated_cost_usd).where(
                Project.id == project_id
            )
        ).one()
        minutes = None if duration_ms is None else (int(duration_ms) + 30_000) // 60_000
        actual = (None if tokens is None else int(tokens), minutes, cost)
        errors = [_error_pct(a, b) for a, b in zip(estimated, actual, strict=True)]
        session.execute(
            update(Project)
            .where(Project.id == project_id)
            .values(
                actual_tokens=actual[0], actual_duration_minutes=minutes, actual_cost_usd=cost, token_error_pct=errors[0],
                time_error_pct=errors[1], cost_error_pct=errors[2],
            )
            .execution_options(synchronize_session=False)
        )  # fmt: skip


def _error_pct(estimated: Any, actual: Any) -> float | None:
    """|actual − estimated| / estimated in percent with one decimal; None when either is unknown or nothing was estimated."""
    if not estimated or actual is None:
        return None
    return round(float(abs(actual - estimated)) / float(estimated) * 100, 1)


def _parts(values: Collection[Any]) -> Iterable[list[Any]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), _PARAMETERS):
        yield ordered[start : start + _PARAMETERS]
