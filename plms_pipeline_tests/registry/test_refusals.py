"""Does the database itself refuse what the original's schema let in?

Its run ids were neither unique nor a key, its foreign keys cascaded, and whatever a forgotten code path wrote stayed. These are
refusals of the schema; what it refuses about single values stands in the tests of the invariants.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from plms_pipeline.registry.base import Base
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun, RunTask, TaskReceipt

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def a_run(project_id: int, run_id: str = "r") -> ProjectRun:
    return ProjectRun(run_id=run_id, project_id=project_id, status="RUNNING", created_at=NOW, started_at=NOW)


def a_task() -> RunTask:
    return RunTask(run_id="r", task_id="t", lane_id=4200, provider="m", status="SUCCESS")


def a_receipt(key: str) -> TaskReceipt:
    return TaskReceipt(
        run_id="r", task_id="t", project_id=1, lane_id=4200, provider="m", tokens=1, status="SUCCESS", started_at=NOW,
        completed_at=NOW, completed_on=NOW.date(), natural_key=key, source="plms", row_sha256="a" * 64, recorded_at=NOW,
    )  # fmt: skip


@pytest.fixture
def books(registry: Registry) -> Registry:
    """A project with one run, its task and its receipt."""
    for rows in ([Project(name="p", created_at=NOW)], [a_run(1)], [a_task(), a_receipt("k")]):
        with registry.writing() as session:
            session.add_all(rows)
    return registry


@pytest.mark.parametrize(
    "again", [lambda: a_run(1), a_task, lambda: a_receipt("other")], ids=["run", "task of a run", "attempt at a task"]
)
def test_nothing_stands_twice(books: Registry, again: Callable[[], Base]) -> None:
    """The original's run ids were not unique: joins by run counted twice, and a receipt could not even refer to one."""
    with pytest.raises(IntegrityError), books.writing() as session:
        session.add(again())


def test_a_project_with_a_past_cannot_be_deleted(books: Registry) -> None:
    """The original cascaded: deleting a project took its runs, estimates and receipts with it. A project is cancelled."""
    with pytest.raises(DBAPIError), books.writing() as session:
        session.execute(text("DELETE FROM projects"))
    with books.reading() as session:
        counts = [session.scalar(select(func.count()).select_from(each)) for each in (Project, ProjectRun, TaskReceipt)]
    assert counts == [1, 1, 1]


def test_no_foreign_key_deletes_by_itself() -> None:
    """One cascade in one new table, and a cleaned-up parent takes facts with it."""
    cascading = [
        f"{table.name}.{key.parent.name}"
        for table in Base.metadata.sorted_tables
        for key in table.foreign_keys
        if (key.ondelete or "NO ACTION").upper() not in {"NO ACTION", "RESTRICT"}
    ]
    assert cascading == []


@pytest.mark.parametrize("later", ["RUNNING", "FAIL", "QUEUED"])
def test_a_run_that_ended_stays_ended(books: Registry, later: str) -> None:
    """A second, different end of the same run would be a second truth about the same money."""
    with books.writing() as session:
        run = session.get(ProjectRun, 1)
        assert run
        run.status, run.completed_at = "SUCCESS", NOW
    with pytest.raises(DBAPIError), books.writing() as session:
        session.execute(text(f"UPDATE project_runs SET status = '{later}' WHERE run_id = 'r'"))


def test_who_says_nothing_about_a_verdict_has_not_passed(books: Registry) -> None:
    """In the original a verdict nobody gave was NULL, and queries that asked for "not failed" let it teach."""
    with books.reading() as session:
        run = session.get(ProjectRun, 1)
        assert run
        assert (run.validation, run.run_kind, run.write_sandbox) == ("pending", "baseline", False)
    with pytest.raises(DBAPIError), books.writing() as session:
        session.execute(text("UPDATE project_runs SET validation = NULL"))
