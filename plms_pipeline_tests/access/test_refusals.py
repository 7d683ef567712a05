"""Is every refusal written down or counted, and is the audit log safe from those who knock?"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from plms_pipeline.access.actions import RefusalBook
from plms_pipeline.access.refusals import MAX_PER_WINDOW, WINDOW, Window, admit
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import AuditEntry

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@given(st.lists(st.integers(0, 90_000), max_size=60), st.integers(1, 2000))
def test_what_is_not_written_is_counted_by_the_next_that_is(pauses_ms: list[int], burst: int) -> None:
    """Written + told as left out + still uncounted = all of them, whatever the rhythm."""
    moments = [NOW + timedelta(milliseconds=sum(pauses_ms[:i])) for i in range(len(pauses_ms))]
    moments = [NOW] * burst + moments
    window: Window | None = None
    written = told = 0
    for moment in moments:
        window, left_out = admit(window, moment)
        if left_out is not None:
            written += 1
            told += left_out
    assert window is not None
    assert written + told + window.left_out == len(moments)
    assert written <= MAX_PER_WINDOW * (1 + len({(moment - NOW) // WINDOW for moment in moments}))


def test_a_clock_that_jumps_back_does_not_silence_the_log() -> None:
    """Otherwise nothing is written until the old time is reached again."""
    window = Window(NOW, written=MAX_PER_WINDOW)
    assert admit(window, NOW - timedelta(hours=1))[1] == 0


def test_a_refusal_is_in_the_audit_log_and_a_flood_is_not(registry: Registry) -> None:
    """Who was refused what; and a loop of a thousand requests leaves a bounded trace with its size."""
    book = RefusalBook(registry)
    told = {
        "actor": None,
        "subject": "POST /x",
        "code": "token_missing",
        "status": 401,
        "request_id": "r",
        "peer": "::1",
    }
    for _ in range(MAX_PER_WINDOW + 50):
        book.note(at=NOW, **told)  # type: ignore[arg-type]
    book.note(at=NOW + WINDOW, **told)  # type: ignore[arg-type]
    with registry.reading() as session:
        rows = session.scalars(
            select(AuditEntry).where(AuditEntry.action == "http.refused").order_by(AuditEntry.id)
        ).all()
    assert len(rows) == MAX_PER_WINDOW + 1
    assert (rows[0].actor, rows[0].subject, rows[0].outcome) == ("anonymous", "POST /x", "token_missing")
    assert rows[0].details_json == {"status": 401, "request_id": "r", "peer": "::1"}
    assert rows[-1].details_json["left_out_before"] == 50


def test_a_refusal_does_not_need_the_registry(caplog: pytest.LogCaptureFixture) -> None:
    """A stranger must get 401 while the database is away, not 500; the log alone tells of it."""
    away = Registry.open("postgresql+psycopg://nobody@127.0.0.1:9/none?connect_timeout=1")
    RefusalBook(away).note(
        at=NOW, actor=None, subject="GET /", code="token_missing", status=401, request_id="r", peer=None
    )
    away.close()
    told = [line for line in caplog.messages if line.startswith("event=refusal_not_audited")]
    assert len(told) == 1
    assert "code=token_missing" in told[0]
    assert "request_id=r" in told[0]
