"""A registry with a thousand projects at work, made by bulk insertion: also for the bench."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    JobCard,
    KpiReceipt,
    LedgerAccount,
    Project,
    ProjectForecast,
    ProjectRun,
    QueuedCard,
    RunTask,
    Slot,
    StateTransition,
    TaskEstimate,
    TaskPlan,
    TaskReceipt,
)

LANES = (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)
FORECAST = {
    basis: {
        measure: {"median": 0.4, "mean": 0.5, "low": 0.1, "high": 2.0, "budget": 1.5, "n": 40}
        for measure in ("tokens", "duration_ms", "cost_usd")
    }
    for basis in ("effort", "spend")
}
Rows = Iterator[dict[str, Any]]


def fill(registry: Registry, projects: int, *, tasks: int, at: datetime) -> None:
    """Every project executes a run of `tasks` tasks: half of them done, a quarter of the rest in the queue."""
    numbers = range(1, projects + 1)
    with registry.writing() as session:
        put(session, Project, (
            {"id": n, "name": f"p{n}", "status": "executing", "created_at": at, "budget_cost_usd_max": Decimal(100)}
            for n in numbers
        ))  # fmt: skip
        put(session, ProjectRun, (
            {"run_id": f"r{n}", "project_id": n, "status": "RUNNING", "created_at": at, "started_at": at - timedelta(hours=1),
             "passport_sha256": "0" * 64, "provider_matrix_json": '{"m": "1"}'} for n in numbers
        ))  # fmt: skip
        put(session, StateTransition, (
            {"subject_type": "run", "subject_id": f"r{n}", "sequence": 1, "from_state": "QUEUED", "to_state": "RUNNING",
             "actor": "a", "at": at - timedelta(hours=1), "is_terminal": False} for n in numbers
        ))  # fmt: skip
        put(session, ProjectForecast, (
            {"project_id": n, "forecast_json": FORECAST, "estimated_at": at} for n in numbers
        ))  # fmt: skip
        put(session, LedgerAccount, (
            {"account": f"project:{n}", "limit_usd": Decimal(100), "settled_usd": Decimal(n % 100),
             "reserved_usd": Decimal(1), "updated_at": at} for n in numbers
        ))  # fmt: skip
        every = [(n, place) for n in numbers for place in range(tasks)]
        put(session, TaskEstimate, (
            {"id": n * tasks + place, "project_id": n, "task_name": f"t{place}", "tmd_lane": LANES[place % 8],
             "estimated_tokens": 1000} for n, place in every
        ))  # fmt: skip
        put(session, TaskPlan, (
            {"task_estimate_id": n * tasks + place, "project_id": n, "task_key": f"t{place}", "provider": "m",
             "forecast_json": FORECAST} for n, place in every
        ))  # fmt: skip
        put(session, RunTask, (
            {"run_id": f"r{n}", "task_id": f"t{place}", "lane_id": LANES[place % 8], "provider": "m",
             "status": "SUCCESS" if place < tasks // 2 else "QUEUED"} for n, place in every
        ))  # fmt: skip
        done = [(n, place) for n, place in every if place < tasks // 2]
        put(session, TaskReceipt, (_receipt(n, place, at - timedelta(minutes=place * 5)) for n, place in done))
        put(session, KpiReceipt, (
            {"evaluation_id": f"r{n}/{place}", "lane_id": LANES[place % 8], "kpi_name": "k", "pass_": n % 10 > 0,
             "kpi_threshold": 1, "measured_at": at - timedelta(minutes=place)} for n, place in done
        ))  # fmt: skip
        put(session, JobCard, (
            {"card_key": f"{n}/{place}", "run_id": f"r{n}", "task_id": f"t{place}", "lane_id": LANES[place % 8],
             "provider": "m", "created_at": at, "state": "ENDED" if place < tasks // 2 else "WAITING"} for n, place in every
        ))  # fmt: skip
        put(session, QueuedCard, (
            {"card_key": f"{n}/{place}", "lane_id": LANES[place % 8], "project_id": n, "run_id": f"r{n}",
             "run_kind": "baseline", "ready_at": at, "not_before": at, "rank": 0.5}
            for n, place in every if place >= tasks // 2 and place % 4 == 0
        ))  # fmt: skip
        put(session, Slot, (
            {"slot_id": f"{n}", "resource": f"lane:{LANES[n % 8]}", "subject": f"{n}/0", "project_id": n, "run_id": f"r{n}",
             "holder": "me", "cap_then": 4, "taken_at": at, "renewed_at": at, "expires_at": at} for n in numbers if n <= 20
        ))  # fmt: skip


def put(session: Session, table: Any, rows: Rows) -> None:
    """Insert rows in one statement, if there are any."""
    listed = list(rows)
    if listed:
        session.execute(insert(table), listed)


def _receipt(n: int, place: int, at: datetime) -> dict[str, Any]:
    return {
        "run_id": f"r{n}", "project_id": n, "task_id": f"t{place}", "attempt": 1, "lane_id": LANES[place % 8],
        "provider": "m", "tokens": 1500, "duration_ms": 60_000, "cost_usd": Decimal("0.1"), "status": "SUCCESS",
        "started_at": at - timedelta(minutes=1), "completed_at": at, "completed_on": at.date(), "recorded_at": at,
        "natural_key": f"r{n}/t{place}/1", "source": "plms", "row_sha256": "0" * 64,
    }  # fmt: skip
