"""Is a group of starts as good as each of them alone: every one whole or not at all, and none because of another?"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import select

from plms_pipeline.clock import Clock
from plms_pipeline.errors import BadInput, Conflict, NotFound, Unavailable, Unprocessable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import Inserts
from plms_pipeline.registry.tables import (
    AuditEntry,
    IdempotencyKey,
    JobCard,
    OutboxEvent,
    ProjectRun,
    RunPassport,
    RunTask,
    StateTransition,
)
from plms_pipeline.runs.actions.start import Asked, StartPolicy, asked, start_run
from plms_pipeline.runs.actions.start_together import Outcome, start_together
from plms_pipeline.runs.passport import PassportWorld
from plms_pipeline.runs.starting import StartAnswer, StartRequest
from plms_pipeline_tests.runs.test_start import count
from plms_pipeline_tests.runs.worlds import OWNER, WORLD, planned_project

POLICY = StartPolicy()
TABLES = (ProjectRun, RunTask, RunPassport, JobCard, IdempotencyKey, OutboxEvent, StateTransition, AuditEntry)
NOBODY = replace(WORLD, providers={}, capabilities=())


def one(
    number: int, *, project_id: int = 42, world: PassportWorld = WORLD, body: Mapping[str, Any] | None = None
) -> Asked:
    request = StartRequest(project_id, str(UUID(int=number + 2**90)), body=body or {})
    return asked(request, actor=OWNER, world=world, stopped=None, policy=POLICY)


def together(
    registry: Registry, clock: Clock, *starts: Asked, ids: Callable[[], str] = lambda: str(uuid4())
) -> list[Outcome]:
    return start_together(registry, starts, clock=clock, ids=ids, policy=POLICY, at_once=False)


def runs(registry: Registry) -> set[str]:
    with registry.reading() as session:
        return set(session.scalars(select(ProjectRun.run_id)))


def run_ids(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.run_id for outcome in outcomes if isinstance(outcome, StartAnswer)]


def test_refusals_of_every_kind_in_a_group_harm_no_other(registry: Registry, clock: Clock) -> None:
    """A project that nobody knows, a used key, an unrepeatable run: each is told so alone, and its fact stays in the books."""
    planned_project(registry)
    planned_project(registry, project_id=43, status="completed")
    used = one(1)
    first = together(registry, clock, used)
    found = together(
        registry, clock, one(2), one(3, project_id=4711), one(4, project_id=43), one(5, world=NOBODY),
        one(1, body={"other": 1}), used, one(6),
    )  # fmt: skip
    kinds = [StartAnswer, NotFound, Conflict, Conflict, Unprocessable, StartAnswer, StartAnswer]
    assert [type(outcome) for outcome in found] == kinds
    codes = [getattr(outcome, "code", None) for outcome in found[1:5]]
    assert codes == ["project_not_found", "not_approved", "passport_incomplete", "idempotency_key_reused"]
    repeated = found[5]
    assert isinstance(repeated, StartAnswer)
    assert repeated.replayed
    assert runs(registry) == {*run_ids(first), *run_ids(found)}
    assert count(registry, RunPassport) == count(registry, IdempotencyKey) == 3
    with registry.reading() as session:
        outcomes = session.scalars(select(AuditEntry.outcome).order_by(AuditEntry.id)).all()
    assert outcomes == ["done", "done", "passport_incomplete", "done"]


def test_a_key_that_comes_twice_in_a_group_starts_one_run(registry: Registry, clock: Clock) -> None:
    """A client that sends twice because it is impatient pays once."""
    planned_project(registry)
    found = together(registry, clock, one(1), one(1), one(1))
    assert [outcome.replayed for outcome in found if isinstance(outcome, StartAnswer)] == [False, True, True]
    assert len(set(run_ids(found))) == 1
    assert count(registry, ProjectRun) == 1


def test_a_repetition_after_its_first_was_undone_starts_the_run(registry: Registry, clock: Clock) -> None:
    """What failed was never answered, so the same key may still start something, also in the same group."""
    planned_project(registry)
    taken = run_ids(together(registry, clock, one(1)))[0]
    ids = iter([taken, str(uuid4()), str(uuid4())])
    found = together(registry, clock, one(2), one(2), one(3), ids=lambda: next(ids))
    assert isinstance(found[0], Exception)
    assert [outcome.replayed for outcome in found[1:] if isinstance(outcome, StartAnswer)] == [False, False]
    assert count(registry, ProjectRun) == count(registry, RunPassport) == 3


def test_a_group_answers_as_each_start_alone_would(registry: Registry, clock: Clock) -> None:
    """The same key later, by another way, must find the same bytes."""
    planned_project(registry)
    found = together(registry, clock, one(1), one(2))
    for number, outcome in enumerate(found, start=1):
        again = start_run(
            registry, clock=clock, ids=lambda: str(uuid4()), actor=OWNER, request=one(number).request, world=WORLD,
            stopped=None,
        )  # fmt: skip
        assert isinstance(outcome, StartAnswer)
        assert (again.body, again.replayed) == (outcome.body, True)


def test_a_crash_anywhere_in_a_group_leaves_nothing_of_any(
    sqlite_registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody was answered yet, so nothing may stand: every client repeats its key and starts its run then."""
    planned_project(sqlite_registry)

    class Crash(BaseException):
        pass

    seen = crash_at = 0
    into = Inserts.into

    def crashing(self: Inserts, *given: Any) -> int:
        nonlocal seen
        seen += 1
        if seen == crash_at:
            raise Crash
        return into(self, *given)

    monkeypatch.setattr(Inserts, "into", crashing)
    for number in range(1, 100):
        seen, crash_at = 0, number
        try:
            together(sqlite_registry, clock, one(1), one(2), one(3))
        except Crash:
            assert [count(sqlite_registry, table) for table in TABLES] == [0] * len(TABLES)
            continue
        break
    assert crash_at > 3 * 8
    assert count(sqlite_registry, ProjectRun) == 3


def test_when_the_database_fails_nothing_of_the_group_stands_and_all_are_told(
    sqlite_registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is full for the second start is no disk for the first one's commit: SQLite has ended the transaction."""
    planned_project(sqlite_registry)
    into, seen = Inserts.into, 0

    def full(self: Inserts, session: Any, rows: Any) -> int:
        nonlocal seen
        seen += 1
        if seen == 12:
            # As SQLite does by itself.
            session.connection().connection.dbapi_connection.execute("ROLLBACK")
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return into(self, session, rows)

    monkeypatch.setattr(Inserts, "into", full)
    with pytest.raises(Unavailable, match="disk is full"):
        together(sqlite_registry, clock, one(1), one(2), one(3))
    assert [count(sqlite_registry, table) for table in TABLES] == [0] * len(TABLES)
    assert len(run_ids(together(sqlite_registry, clock, one(1), one(2), one(3)))) == 3


def test_a_bad_key_is_refused_before_it_joins_a_group() -> None:
    """What is wrong in its form needs no transaction."""
    with pytest.raises(BadInput):
        asked(StartRequest(42, "short"), actor=OWNER, world=WORLD, stopped=None, policy=POLICY)
