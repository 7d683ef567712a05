"""How does one batch of valid rows enter the registry?

One transaction: ask what is known, insert what is new, mark its days. It is the unit that a kill may take away whole, and the
unit that two importers of the same file take turns with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from operator import attrgetter
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.intake.canonical import Receipt
from plms_pipeline.intake.reasons import Rejected
from plms_pipeline.intake.seen import Seen
from plms_pipeline.intake.settling import Settled, conflict, last_attempts, settle, spans
from plms_pipeline.intake.store import importing as store
from plms_pipeline.registry.engine import Registry

ATTEMPTS: Final = 5

RUN_COLUMNS: Final = (
    "run_id", "project_id", "status", "started_at", "completed_at", "created_at", "run_kind", "validation",
    "write_sandbox", "verdict_by", "source", "source_file_sha256",
)  # fmt: skip
TASK_COLUMNS: Final = (
    "run_id", "task_id", "lane_id", "provider", "task_kind", "complexity", "status", "validation", "started_at",
    "completed_at",
)  # fmt: skip
_OF_RECEIPT: Final = (
    "run_id", "task_id", "attempt", "lane_id", "provider", "tokens", "tokens_input", "tokens_output", "tokens_cached",
    "tokens_reasoning", "duration_ms", "cost_usd", "energy_kwh", "echo_cos", "test_pass_rate", "api_calls", "status",
    "started_at", "completed_at", "time_precision", "natural_key", "row_sha256",
)  # fmt: skip
RECEIPT_COLUMNS: Final = (*_OF_RECEIPT, "project_id", "completed_on", "recorded_at", "source", "source_file_sha256")
_TASK: Final = attrgetter(*TASK_COLUMNS)
_RECEIPT: Final = attrgetter(*_OF_RECEIPT)


@dataclass(frozen=True, slots=True)
class Landed:
    """What became of the valid rows of a batch; `days` are the UTC days that changed."""

    inserted: int = 0
    unchanged: int = 0
    conflicts: list[Rejected] = field(default_factory=list)
    days: frozenset[date] = frozenset()


class _Overtaken(Exception):
    """Another writer inserted one of our keys between our question and our answer."""


def land(
    registry: Registry, source: str, file_sha256: str, receipts: Sequence[Receipt], *, now: datetime, actor: str
) -> Landed:
    """Insert what is new in one transaction; nothing at all when no row is valid."""
    if not receipts:
        return Landed()
    for _ in range(ATTEMPTS):
        try:
            with registry.writing() as session:
                store.prepare(session)
                settled, conflicts = _settled(session, source, receipts)
                _insert(session, source, file_sha256, settled.fresh, now=now, actor=actor)
        except _Overtaken:
            continue
        days = frozenset(receipt.completed_at.date() for receipt in settled.fresh)
        return Landed(len(settled.fresh), settled.unchanged, conflicts, days)
    raise Unavailable(
        f"Another process kept writing the same receipts as this import, {ATTEMPTS} times in a row; import the file again "
        "when it has ended.",
        code="overtaken",
    )


def preview(registry: Registry, source: str, receipts: Sequence[Receipt], seen: Seen) -> Landed:
    """What `land` would do, writing nothing; `seen` stands in for the rows of earlier batches."""
    repeats = seen.split(receipts)
    with registry.reading() as session:
        settled, conflicts = _settled(session, source, repeats.fresh)
    seen.remember(settled.fresh)
    days = frozenset(receipt.completed_at.date() for receipt in settled.fresh)
    conflicts = [*repeats.conflicts, *conflicts]
    return Landed(len(settled.fresh), repeats.unchanged + settled.unchanged, conflicts, days)


def _settled(session: Session, source: str, receipts: Sequence[Receipt]) -> tuple[Settled, list[Rejected]]:
    run_ids = [receipt.run_id for receipt in receipts]
    runs = store.known_runs(session, run_ids)
    rows = store.known_rows(session, runs) if runs else {}
    settled = settle(source, receipts, runs, rows)
    conflicts = list(settled.conflicts)
    if settled.clashes:
        stored = store.stored_receipts(session, settled.clashes)
        conflicts += [conflict(clash, stored[clash.key], "the registry") for clash in settled.clashes]
    return settled, conflicts


def _insert(
    session: Session, source: str, file_sha256: str, fresh: Sequence[Receipt], *, now: datetime, actor: str
) -> None:
    if not fresh:
        return
    projects = store.upsert_projects(session, source, spans(fresh, "project"), now=now, actor=actor)
    # Sorted by run: the unique indexes are random in it, and each of their pages is then touched once per batch.
    rows = sorted(fresh, key=lambda receipt: receipt.key)
    tasks = last_attempts(rows)
    stamp = (source, file_sha256)
    bulk = store.Bulk(session)
    bulk.upsert_runs(RUN_COLUMNS, _run_rows(rows, tasks, projects, now, stamp))
    bulk.insert_tasks(TASK_COLUMNS, [_TASK(receipt) for receipt in tasks.values()])
    receipts = [
        (*_RECEIPT(receipt), projects[receipt.project], receipt.completed_at.date(), now, *stamp) for receipt in rows
    ]
    if bulk.insert_receipts(RECEIPT_COLUMNS, receipts) != len(rows):
        raise _Overtaken
    store.mark_changed(session, (receipt.completed_at.date() for receipt in fresh))


def _run_rows(
    rows: Sequence[Receipt],
    tasks: dict[tuple[str, str], Receipt],
    projects: dict[str, int],
    now: datetime,
    stamp: tuple[str, str],
) -> list[tuple[Any, ...]]:
    """One row per run: FAIL when the last attempt at any of its tasks failed."""
    failed = {run_id for (run_id, _), receipt in tasks.items() if receipt.status == "FAIL"}
    span_of = spans(rows, "run_id")
    return [
        (
            run_id, projects[receipt.project], "FAIL" if run_id in failed else "SUCCESS", *span_of[run_id], now,
            receipt.run_kind, receipt.validation, receipt.write_sandbox,
            None if receipt.validation == "ungated" else "source", *stamp,
        )
        for run_id, receipt in {receipt.run_id: receipt for receipt in reversed(rows)}.items()
    ][::-1]  # fmt: skip
