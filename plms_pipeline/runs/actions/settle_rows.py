"""Which receipts does a settlement write?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from plms_pipeline.kpis.actions.evaluate import rows_of
from plms_pipeline.kpis.actions.judging import Judgement
from plms_pipeline.registry.tables import KpiReceipt
from plms_pipeline.runs.dispatching import staging_path
from plms_pipeline.runs.receiving import Delivered, receipt_row
from plms_pipeline.runs.settling import Books
from plms_pipeline.runs.store import completions as store


def receipt_rows(
    session: Session, books: Books, found: Mapping[int, Delivered], judgements: Mapping[int, Judgement], now: datetime
) -> list[dict[str, Any]]:
    """One receipt for each task whose end is booked, with what its gates measured. Reads the cards."""
    booked = books.effects.booked
    cards = store.cards_of(session, {done.run_id for done in booked})
    rows = []
    for done in booked:
        judgement = judgements.get(done.event)
        rows.append(
            receipt_row(
                found[done.event], cards[done.run_id, done.task_id, done.attempt],
                test_pass_rate=judgement.test_pass_rate if judgement else None,
                echo_cos=judgement.echo_cos if judgement else None,
                artifacts_path=staging_path(done.run_id, done.task_id, done.attempt).replace("/staging/", "/outputs/"),
                now=now,
            )
        )  # fmt: skip
    return rows


def kpi_rows(books: Books, judgements: Mapping[int, Judgement]) -> Iterable[KpiReceipt]:
    """One KPI receipt for each gate of each task that was judged."""
    for done in books.effects.judged:
        evaluation = judgements[done.event].evaluation
        if evaluation is not None:
            for row in rows_of(evaluation):
                row.artifact_sha256 = row.artifact_sha256 or None
                yield row
