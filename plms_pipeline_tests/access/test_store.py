"""Does the audit log keep what happened, and only that?"""

from __future__ import annotations

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from plms_pipeline.access.actors import Actor, local_actor
from plms_pipeline.access.store import record
from plms_pipeline.clock import Clock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry


def test_an_entry_is_kept_with_the_write_that_it_tells_of(registry: Registry, clock: Clock) -> None:
    """An audit row that survives a rolled-back write tells of something that never happened."""
    with registry.writing() as session:
        record(session, at=clock.now(), actor=Actor("local:root"), action="import", subject="f.csv", outcome="ok")
    with pytest.raises(RuntimeError), registry.writing() as session:
        record(session, at=clock.now(), actor=Actor("x"), action="import", subject="g.csv", outcome="ok")
        raise RuntimeError
    with registry.reading() as session:
        entries = session.scalars(select(AuditEntry)).all()
    assert [(e.actor, e.subject, e.at) for e in entries] == [("local:root", "f.csv", clock.now())]


@pytest.mark.parametrize("statement", ["UPDATE audit_log SET actor = 'nobody'", "DELETE FROM audit_log"])
def test_the_database_refuses_to_rewrite_the_log(registry: Registry, clock: Clock, statement: str) -> None:
    """A log that can be edited proves nothing to an auditor."""
    with registry.writing() as session:
        record(session, at=clock.now(), actor=local_actor(), action="a", subject="s", outcome="ok")
    with pytest.raises(DBAPIError, match="append-only"), registry.writing() as session:
        session.execute(text(statement))
