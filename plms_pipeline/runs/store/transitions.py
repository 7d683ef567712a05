"""How does a state change?

By one compare-and-set and one row in `state_transitions`, in the caller's transaction. Two processes that want to end the
same run find out here which of them did: the other's update touches no row. The index on terminal transitions and the
trigger on terminal states refuse what a program should get wrong all the same.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any, Final

from sqlalchemy import bindparam, case, func, select, update
from sqlalchemy.orm import Session

from plms_pipeline.registry.prepared import Change, Inserts, Prepared, asked
from plms_pipeline.registry.tables import Project, ProjectRun, RunTask, StateTransition
from plms_pipeline.registry.types import UtcDateTime
from plms_pipeline.runs.letters.store import run_ended
from plms_pipeline.runs.lifecycle import Subject, is_terminal, may_follow

_STEPS: Final = Prepared(
    select(func.count())
    .select_from(StateTransition)
    .where(
        StateTransition.subject_type == bindparam("of_type", type_=StateTransition.subject_type.type),
        StateTransition.subject_id == bindparam("of_id", type_=StateTransition.subject_id.type),
    )
)
_STEP: Final = Inserts(StateTransition)


def move_run(
    session: Session, run_id: str, *, expected: str, new: str, at: datetime, actor: str, reason: str | None = None
) -> bool:
    """Move a run from `expected` to `new`; False when it was no longer in `expected`.

    `started_at` is filled on RUNNING, `completed_at` on a terminal state; both only once. An end is told to the dead letters.

    Raises:
        ValueError: the machine knows no such step (a bug in the caller).
    """
    _require_step("run", expected, new)
    moved: Any = session.execute(
        update(ProjectRun)
        .where(ProjectRun.run_id == run_id, ProjectRun.status == expected)
        .values(_moments("run", new, at, ProjectRun))
        .execution_options(synchronize_session=False)
    )
    changed = int(moved.rowcount)
    if not _recorded(session, changed, "run", run_id, expected, new, at, actor, reason):
        return False
    if is_terminal("run", new):
        run_ended(session, run_id, new, at=at, actor=actor, reason=reason)
    return True


def move_task(
    session: Session,
    run_id: str,
    task_id: str,
    *,
    expected: str,
    new: str,
    at: datetime,
    actor: str,
    reason: str | None = None,
) -> bool:
    """Move a task of a run from `expected` to `new`; False when it was no longer in `expected`.

    Raises:
        ValueError: the machine knows no such step (a bug in the caller).
    """
    _require_step("task", expected, new)
    change = _task_step(expected, new)
    moment = {"at": at} if change.wants("at") else {}
    changed = change.into(session, of_run=run_id, of_task=task_id, **moment)
    return _recorded(session, changed, "task", task_subject(run_id, task_id), expected, new, at, actor, reason)


def move_project(
    session: Session, project_id: int, *, expected: str, new: str, at: datetime, actor: str, reason: str | None = None
) -> bool:
    """Move a project from `expected` to `new`; False when it was no longer in `expected`.

    Raises:
        ValueError: the machine knows no such step (a bug in the caller).
    """
    _require_step("project", expected, new)
    values: dict[str, Any] = {"status": new}
    if new == "approved":
        values["approved_at"] = at
    if new == "executing":
        values["started_at"] = func.coalesce(Project.started_at, at)
    if new == "completed":
        values["completed_at"] = at
    moved: Any = session.execute(
        update(Project)
        .where(Project.id == project_id, Project.status == expected)
        .values(values)
        .execution_options(synchronize_session=False)
    )
    changed = int(moved.rowcount)
    return _recorded(session, changed, "project", str(project_id), expected, new, at, actor, reason)


def record_birth(
    session: Session,
    subject: Subject,
    subject_id: str,
    state: str,
    *,
    at: datetime,
    actor: str,
    reason: str | None = None,
) -> None:
    """Record the first state of a run, task or project that was just inserted."""
    _append(session, subject, subject_id, None, state, at, actor, reason)


def task_subject(run_id: str, task_id: str) -> str:
    """How a task is named in `state_transitions`."""
    return f"{run_id}/{task_id}"[:255]


def _require_step(subject: Subject, old: str, new: str) -> None:
    if not may_follow(subject, old, new):
        raise ValueError(f"a {subject} never goes from {old} to {new}")


@cache
def _task_step(expected: str, new: str) -> Change:
    moment: Any = bindparam("at", type_=UtcDateTime())
    return Change(
        update(RunTask)
        .where(
            RunTask.run_id == bindparam("of_run", type_=RunTask.run_id.type),
            RunTask.task_id == bindparam("of_task", type_=RunTask.task_id.type),
            RunTask.status == expected,
        )
        .values(_moments("task", new, moment, RunTask))
    )


def _moments(subject: Subject, new: str, at: Any, table: type[ProjectRun] | type[RunTask]) -> dict[str, Any]:
    values: dict[str, Any] = {"status": new}
    if new == "RUNNING":
        values["started_at"] = func.coalesce(table.started_at, at)
    if is_terminal(subject, new) and new != "SKIPPED":
        # A clock that was set back ends nothing before it began.
        end = case((table.started_at > at, table.started_at), else_=at)
        values["completed_at"] = func.coalesce(table.completed_at, end)
    return values


def _recorded(
    session: Session,
    changed: int,
    subject: Subject,
    subject_id: str,
    old: str,
    new: str,
    at: datetime,
    actor: str,
    reason: str | None,
) -> bool:
    if changed != 1:
        return False
    _append(session, subject, subject_id, old, new, at, actor, reason)
    return True


def _append(
    session: Session,
    subject: Subject,
    subject_id: str,
    old: str | None,
    new: str,
    at: datetime,
    actor: str,
    reason: str | None,
) -> None:
    before = asked(session, _STEPS, of_type=subject, of_id=subject_id)
    _STEP.into(session, [{
        "subject_type": subject, "subject_id": subject_id, "sequence": before[0][0] + 1, "from_state": old,
        "to_state": new, "is_terminal": is_terminal(subject, new), "reason": reason, "actor": actor[:255], "at": at,
    }])  # fmt: skip
