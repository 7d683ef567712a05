"""Does what goes straight to the driver say and write the same as what goes through SQLAlchemy?"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import bindparam, insert, select, update

from plms_pipeline.errors import Unavailable
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.prepared import Change, Inserts, Prepared, asked, asking_in, one_of, savepoint
from plms_pipeline.registry.tables import OutboxEvent, Project

AT = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
PROJECTS = Prepared(
    select(Project.id, Project.budget_cost_usd_max, Project.created_at, Project.tags)
    .where(Project.name == bindparam("name"), Project.source == "plms")
    .order_by(Project.id)
)
SINCE = Prepared(select(Project.id).where(Project.created_at > bindparam("since", type_=Project.created_at.type)))
RENAME = Change(
    update(Project)
    .where(Project.id == bindparam("of_id"), one_of(Project.status, ("planning", "approved")))
    .values(
        name=bindparam("called", type_=Project.name.type),
        budget_cost_usd_max=Project.budget_cost_usd_max + bindparam("more", type_=Project.budget_cost_usd_max.type),
        approved_at=bindparam("then", type_=Project.approved_at.type),
    )
)
NAMED = Prepared(
    select(Project.name, Project.budget_cost_usd_max, Project.approved_at).where(Project.id == bindparam("of_id"))
)
EVENTS, FIRST_EVENTS = Inserts(OutboxEvent), Inserts(OutboxEvent, keeps_first=True)


def event(key: str) -> dict[str, Any]:
    return {
        "event_key": key, "kind": "snapshot", "subject_id": "r", "payload_json": {"b": 1, "a": [2]}, "created_at": AT,
        "due_at": AT,
    }  # fmt: skip


@pytest.fixture
def project(registry: Registry) -> int:
    with registry.writing() as session:
        made = Project(
            name="p", source="plms", status="planning", tags=["x"], budget_cost_usd_max=Decimal("12.345678"),
            breach_policy="pause", created_at=AT, created_by="t",
        )  # fmt: skip
        session.add(made)
        session.flush()
        return made.id


def test_values_have_the_types_of_their_columns_on_both_databases(registry: Registry, project: int) -> None:
    """Micro-dollars and naive moments are how SQLite keeps them; nobody who reads wants to know."""
    with registry.asking() as ask:
        rows = ask.rows(PROJECTS, name="p")
        assert ask.rows(PROJECTS, name="nobody") == ()
        assert len(ask.rows(SINCE, since=datetime(2026, 1, 1, tzinfo=UTC))) == 1
        assert ask.rows(SINCE, since=AT) == ()
    assert PROJECTS.typed(rows, ask.dialect) == [(project, Decimal("12.345678"), AT, ["x"])]


def test_a_change_converts_its_values_and_says_how_many_rows_it_met(registry: Registry, project: int) -> None:
    """Whoever moves a state learns from that number whether it was the one who did."""
    given = {"called": "q", "more": Decimal("0.000001"), "then": AT}
    with registry.writing() as session:
        assert RENAME.into(session, of_id=project, **given) == 1
        assert RENAME.into(session, of_id=project + 1, **given) == 0
        assert asked(session, NAMED, of_id=project) == [("q", Decimal("12.345679"), AT)]
    with registry.reading() as session:
        assert asked(session, NAMED, of_id=project) == [("q", Decimal("12.345679"), AT)]


def test_a_change_in_a_part_that_fails_is_undone_with_it(registry: Registry, project: int) -> None:
    """A start that is refused its money had taken its slot: without this it kept it."""
    with registry.writing() as session:
        with pytest.raises(KeyError), savepoint(session):
            RENAME.into(session, of_id=project, called="q", more=Decimal(1), then=AT)
            raise KeyError
        assert asked(session, NAMED, of_id=project)[0][0] == "p"


def test_equal_books_give_equal_rows_and_a_change_gives_others(registry: Registry, project: int) -> None:
    """What was made of some rows is used again for equal ones: a change that does not show would never be told."""

    def look() -> Any:
        with registry.asking() as ask:
            return ask.rows(PROJECTS, name="p")

    before = look()
    assert look() == before
    with registry.writing() as session:
        found = session.get(Project, project)
        assert found is not None
        found.budget_cost_usd_max = Decimal("12.345679")
    assert look() != before


def test_one_snapshot_stays_what_it_is_while_others_write(registry: Registry, project: int) -> None:
    """An answer that is put together from several questions must not hold half of a change."""
    with registry.asking() as ask:
        before = ask.rows(PROJECTS, name="p")
        with registry.writing() as session:
            session.execute(insert(OutboxEvent).values(**event("k")))
            found = session.get(Project, project)
            assert found is not None
            found.budget_cost_usd_max = Decimal(1)
        assert ask.rows(PROJECTS, name="p") == before


def test_inserted_rows_are_those_that_sqlalchemy_would_write(registry: Registry) -> None:
    """Defaults, JSON, moments: a row that looks different depending on the way it was written is two truths."""
    with registry.writing() as session:
        assert EVENTS.into(session, [event("a"), event("b")]) == 2
        session.execute(insert(OutboxEvent).values(**event("c")))
    with registry.reading() as session:
        rows = session.execute(select(OutboxEvent.__table__).order_by(OutboxEvent.event_key)).all()
    first, *others = (
        [value for name, value in row._mapping.items() if name not in ("id", "event_key")] for row in rows
    )
    assert others == [first, first]


def test_a_row_that_another_one_excludes_is_counted_as_none(registry: Registry) -> None:
    """Who came first keeps a key, and the second must learn it."""
    with registry.writing() as session:
        assert FIRST_EVENTS.into(session, [event("a")]) == 1
        assert FIRST_EVENTS.into(session, [event("a")]) == 0


def test_what_a_transaction_inserts_goes_with_it(registry: Registry) -> None:
    """The driver's own statements belong to the session's transaction: rolled back means gone."""
    with pytest.raises(ZeroDivisionError), registry.writing() as session:
        EVENTS.into(session, [event("a")])
        ask = asking_in(session)
        found = Prepared(select(OutboxEvent.event_key))
        assert ask.rows(found) == (("a",),)
        raise ZeroDivisionError
    with registry.asking() as ask:
        assert ask.rows(found) == ()


def test_a_database_that_is_away_is_told_as_such(sqlite_registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not as an error of the driver, which no caller knows."""

    class Away(sqlite3.OperationalError):
        sqlite_errorcode = sqlite3.SQLITE_FULL

    def away(*_: Any, **__: Any) -> Any:
        raise Away("database or disk is full")

    with sqlite_registry.asking() as ask:
        pass
    monkeypatch.setattr(type(ask), "rows", away)
    with pytest.raises(Unavailable, match="free some space"), sqlite_registry.asking() as ask:
        ask.rows(PROJECTS, name=str(uuid4()))
