"""How does one batch of valid rows enter the registry?

One transaction: ask what is known, insert what is new, mark its days. It is the unit that a kill may take away whole, and the
unit that two importers of the same file take turns with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final

from sqlalchemy.orm import Session

from plms_pipeline.errors import Unavailable
from plms_pipeline.intake import store
from plms_pipeline.intake.canonical import Receipt
from plms_pipeline.intake.reasons import Rejected
from plms_pipeline.intake.seen import Seen
from plms_pipeline.intake.settling import Settled, conflict, last_attempts, settle, spans
from plms_pipeline.registry.engine import Registry

ATTEMPTS: Final = 5


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
    with registry.reading() as session:
        settled, conflicts = _settled(session, source, receipts)
    repeats = seen.take(settled.fresh)
    days = frozenset(receipt.completed_at.date() for receipt in repeats.fresh)
    return Landed(len(repeats.fresh), settled.unchanged + repeats.unchanged, [*conflicts, *repeats.conflicts], days)


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
    tasks = last_attempts(fresh)
    stamp = {"source": source, "source_file_sha256": file_sha256}
    store.upsert_runs(session, _run_rows(fresh, projects, stamp, now))
    store.insert_tasks(session, [_task_row(receipt) for receipt in tasks.values()])
    rows = [_receipt_row(receipt, projects, stamp, now) for receipt in fresh]
    if store.insert_receipts(session, rows) != len(rows):
        raise _Overtaken
    store.mark_changed(session, (receipt.completed_at.date() for receipt in fresh))


def _run_rows(
    fresh: Sequence[Receipt], projects: dict[str, int], stamp: dict[str, Any], now: datetime
) -> list[dict[str, Any]]:
    """One row per run: FAIL when the last attempt at any of its tasks failed."""
    failed = {run_id for (run_id, _), receipt in last_attempts(fresh).items() if receipt.status == "FAIL"}
    span_of = spans(fresh, "run_id")
    first = {receipt.run_id: receipt for receipt in reversed(fresh)}
    return [
        {
            "run_id": run_id, "project_id": projects[receipt.project], "status": "FAIL" if run_id in failed else "SUCCESS",
            "started_at": span_of[run_id].started_at, "completed_at": span_of[run_id].completed_at, "created_at": now,
            "run_kind": receipt.run_kind, "validation": receipt.validation, "write_sandbox": receipt.write_sandbox,
            "verdict_by": None if receipt.validation == "ungated" else "source", **stamp,
        }
        for run_id, receipt in first.items()
    ]  # fmt: skip


def _task_row(receipt: Receipt) -> dict[str, Any]:
    return {
        "run_id": receipt.run_id, "task_id": receipt.task_id, "lane_id": receipt.lane_id, "provider": receipt.provider,
        "task_kind": receipt.task_kind, "complexity": receipt.complexity, "status": receipt.status,
        "validation": receipt.validation, "started_at": receipt.started_at, "completed_at": receipt.completed_at,
    }  # fmt: skip


def _receipt_row(receipt: Receipt, projects: dict[str, int], stamp: dict[str, Any], now: datetime) -> dict[str, Any]:
    return {
        "run_id": receipt.run_id, "task_id": receipt.task_id, "attempt": receipt.attempt,
        "project_id": projects[receipt.project], "lane_id": receipt.lane_id, "provider": receipt.provider,
        "tokens": receipt.tokens, "tokens_input": receipt.tokens_input, "tokens_output": receipt.tokens_output,
        "tokens_cached": receipt.tokens_cached, "tokens_reasoning": receipt.tokens_reasoning,
        "duration_ms": receipt.duration_ms, "cost_usd": receipt.cost_usd, "energy_kwh": receipt.energy_kwh,
        "echo_cos": receipt.echo_cos, "test_pass_rate": receipt.test_pass_rate, "api_calls": receipt.api_calls,
        "status": receipt.status, "started_at": receipt.started_at, "completed_at": receipt.completed_at,
        "completed_on": receipt.completed_at.date(), "time_precision": receipt.time_precision,
        "natural_key": receipt.natural_key, "row_sha256": receipt.row_sha256, "recorded_at": now, **stamp,
    }  # fmt: skip
