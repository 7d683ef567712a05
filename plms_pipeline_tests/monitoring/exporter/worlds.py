"""Rows that make a fact true, and the value that a page then tells."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import insert

from plms_pipeline.clock import FrozenClock
from plms_pipeline.monitoring.exporter.actions.books import BooksReader
from plms_pipeline.monitoring.exporter.series import Samples, Spread
from plms_pipeline.registry.base import Base
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, Project, ProjectRun, RunTask, TaskEstimate, TaskPlan, TaskReceipt
from plms_pipeline.settings import Settings

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SPEND = {"spend": {"cost_usd": {"mean": 0.5, "median": 0.4}}}


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


def add(registry: Registry, table: type[Base], rows: Iterable[Mapping[str, Any]]) -> None:
    """Insert rows at once; all of them have the same columns."""
    with registry.writing() as session:
        session.execute(insert(table), [dict(row) for row in rows])


def projects(registry: Registry, states: Mapping[int, str], budget: Decimal | None = None) -> None:
    add(registry, Project, [
        {"id": number, "name": f"p{number}", "status": status, "created_at": ago(days=1), "budget_cost_usd_max": budget}
        for number, status in states.items()
    ])  # fmt: skip


def runs(registry: Registry, rows: Sequence[tuple[str, int, str]], **more: Any) -> None:
    """(run, project, state) each; started an hour ago."""
    ended = {"SUCCESS", "FAIL"}
    add(registry, ProjectRun, [
        {"run_id": run, "project_id": project, "status": status, "created_at": ago(hours=1), "started_at": ago(hours=1),
         "completed_at": ago(minutes=30) if status in ended else None, "passport_sha256": "0" * 64,
         "provider_matrix_json": '{"m": "1"}', **more}
        for run, project, status in rows
    ])  # fmt: skip


def plan(registry: Registry, project: int, tasks: Sequence[str], *, lane: int = 4200, tokens: int = 1000) -> None:
    """Planned tasks whose attempts are expected to cost half a dollar."""
    first = project * 1000
    add(registry, TaskEstimate, [
        {"id": first + place, "project_id": project, "task_name": task, "tmd_lane": lane, "estimated_tokens": tokens}
        for place, task in enumerate(tasks)
    ])  # fmt: skip
    add(registry, TaskPlan, [
        {"task_estimate_id": first + place, "project_id": project, "task_key": task, "provider": "m",
         "forecast_json": SPEND}
        for place, task in enumerate(tasks)
    ])  # fmt: skip


def tasks(registry: Registry, run: str, states: Mapping[str, str], *, lane: int = 4200) -> None:
    add(registry, RunTask, [
        {"run_id": run, "task_id": task, "lane_id": lane, "provider": "m", "status": status}
        for task, status in states.items()
    ])  # fmt: skip


def receipt(run: str, project: int, task: str, at: datetime, **more: Any) -> dict[str, Any]:
    """A receipt that took a minute, a tenth of a dollar and 1500 tokens, unless said otherwise."""
    row = {
        "run_id": run, "project_id": project, "task_id": task, "attempt": 1, "lane_id": 4200, "provider": "m",
        "tokens": 1500, "duration_ms": 60_000, "cost_usd": Decimal("0.1"), "status": "SUCCESS",
        "started_at": at - timedelta(minutes=1), "completed_at": at, "recorded_at": at, "source": "plms",
        "row_sha256": "0" * 64, **more,
    }  # fmt: skip
    row["completed_on"] = row["completed_at"].date()
    row["natural_key"] = f"{run}/{task}/{row['attempt']}"
    return row


def receipts(registry: Registry, rows: Iterable[Mapping[str, Any]]) -> None:
    add(registry, TaskReceipt, rows)


def card(key: str, run: str, *, lane: int = 4200, state: str = "WAITING") -> dict[str, Any]:
    return {
        "card_key": key, "run_id": run, "task_id": key, "lane_id": lane, "provider": "m", "state": state,
        "created_at": ago(hours=1),
    }  # fmt: skip


def cards(registry: Registry, rows: Iterable[Mapping[str, Any]]) -> None:
    add(registry, JobCard, rows)


def reader(settings: Settings, *, flag: str | None = None, clock: FrozenClock | None = None) -> BooksReader:
    return BooksReader(settings, clock or FrozenClock(NOW), lambda: flag)


def value(samples: Samples, name: str, *labels: str) -> float:
    """What a page says; KeyError where it says nothing."""
    found = samples.cells[name][labels]
    assert not isinstance(found, Spread)
    return float(found)


def spread(samples: Samples, name: str, *labels: str) -> Spread:
    found = samples.cells[name][labels]
    assert isinstance(found, Spread)
    return found


def nonzero(samples: Samples, name: str) -> dict[tuple[str, ...], float]:
    """The cells of a series that are not zero."""
    return {labels: value(samples, name, *labels) for labels in samples.cells[name] if value(samples, name, *labels)}
