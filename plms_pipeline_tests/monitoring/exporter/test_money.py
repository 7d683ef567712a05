"""Are the shortest runways told, and no project by name?"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text, update

from plms_pipeline.budget.runway import Activity, Spell, runway_to
from plms_pipeline.clock import FrozenClock
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.runways import ProjectMoney, tell
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LedgerAccount, ProjectRun, RunTask
from plms_pipeline.runs.actions.budget_check import check_budgets
from plms_pipeline.runs.actions.runway import budget_runway
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.exporter.worlds import (
    NOW,
    add,
    ago,
    nonzero,
    projects,
    reader,
    receipt,
    receipts,
    runs,
    value,
)
from plms_pipeline_tests.runs.shelf import Shelf
from plms_pipeline_tests.runs.worked import AT, Watch

TABLES = (
    "CREATE TABLE budget_checks (project_id INTEGER, checked_at TIMESTAMP{zone})",
    "CREATE TABLE runway_snapshots (project_id INTEGER, at TIMESTAMP{zone}, final_usd FLOAT)",
    "CREATE TABLE breach_episodes (state VARCHAR(16), answer VARCHAR(16), opened_at TIMESTAMP{zone})",
)
WINDOW = timedelta(minutes=10)


def forecast(registry: Registry, rows: list[tuple[int, str, str, str]]) -> None:
    """(project, looked at, snapshot at, final) each; only the columns that are read, whatever else the tables have."""
    is_server = registry.dialect == "postgresql"
    with registry.writing() as session:
        for statement in TABLES:
            name = statement.split()[2]
            session.execute(text(f"DROP TABLE IF EXISTS {name}{' CASCADE' if is_server else ''}"))
            session.execute(text(statement.format(zone=" WITH TIME ZONE" if is_server else "")))
        for number, looked, at, final in rows:
            session.execute(text(f"INSERT INTO runway_snapshots VALUES ({number}, '2026-03-01 {at}', {final})"))
            if looked:
                session.execute(text(f"INSERT INTO budget_checks VALUES ({number}, '2026-03-01 {looked}')"))
        for answer in ("NULL", "'go_on'"):
            session.execute(text(f"INSERT INTO breach_episodes VALUES ('open', {answer}, '2026-03-01 11:59:30')"))


def burning(registry: Registry) -> None:
    """Project 1 burns 0.2 $ a minute and has 8 of 10 $ left; 2 has spent 12 of 10 $; 3 waits; 4 is done; 5 has no budget."""
    projects(registry, {1: "executing", 2: "executing", 3: "executing", 4: "completed"}, budget=Decimal(10))
    projects(registry, {5: "executing"})
    runs(registry, [("r1", 1, "RUNNING"), ("r2", 2, "RUNNING")])
    receipts(registry, [
        receipt("r1", 1, "a", ago(minutes=5), cost_usd=Decimal(2)),
        receipt("r2", 2, "a", ago(minutes=30), cost_usd=Decimal(12)),
    ])  # fmt: skip
    add(registry, LedgerAccount, [
        {"account": "project:1", "limit_usd": None, "settled_usd": Decimal(2), "reserved_usd": Decimal(1), "updated_at": NOW}
    ])  # fmt: skip


def test_runways_are_told_by_rank_with_sums(registry: Registry, settings: Settings) -> None:
    """Otherwise a budget that ends in five minutes is one of a thousand figures, or none."""
    burning(registry)
    forecast(registry, [
        (1, "11:59:30", "11:00:00", "99.0"), (1, "", "11:58:00", "11.9"), (2, "11:50:00", "11:50:00", "12.6"),
        (3, "11:30:00", "11:30:00", "1.0"), (4, "11:59:30", "11:58:00", "9.0"),
    ])  # fmt: skip
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_budget_runway_minutes") == {("2",): pytest.approx(40.0)}
    assert value(samples, "plms_budget_runway_minutes", "1") == 0.0
    assert value(samples, "plms_budget_runway_projected_overrun_usd", "1") == pytest.approx(2.6)
    assert value(samples, "plms_budget_runway_spent_usd", "2") == 2.0
    assert value(samples, "plms_budget_runway_budget_usd", "2") == 10.0
    assert value(samples, "plms_budget_runway_burn_usd_per_minute", "2") == pytest.approx(0.2)
    assert ("3",) not in samples.cells["plms_budget_runway_minutes"]
    # Project 3 was looked at half an hour ago, so nobody knows; 5 has no budget.
    assert nonzero(samples, "plms_budget_status") == {("critical",): 1, ("warning",): 1, ("unknown",): 2}
    assert value(samples, "plms_budget_projects") == 3
    assert value(samples, "plms_budget_unforecast_projects") == 1
    assert value(samples, "plms_budget_usd") == 30
    assert value(samples, "plms_budget_spent_usd") == pytest.approx(14)
    assert value(samples, "plms_budget_reserved_usd") == 1
    assert value(samples, "plms_budget_burn_usd_per_minute") == pytest.approx(0.2 + 12 / 60)
    assert value(samples, "plms_budget_projected_final_usd") == pytest.approx(11.9 + 12.6)
    assert value(samples, "plms_budget_projected_overrun_usd") == pytest.approx(1.9 + 2.6)
    assert nonzero(samples, "plms_budget_overruns") == {("20",): 1, ("25",): 1}
    assert value(samples, "plms_budget_overrun_ratio_max") == pytest.approx(0.26)
    assert value(samples, "plms_pending_decisions", "budget_breach") == 1
    assert value(samples, "plms_pending_decisions_oldest_age_seconds", "budget_breach") == pytest.approx(30)


def test_where_nobody_forecasts_runways_are_told_all_the_same(sqlite_registry: Registry, settings: Settings) -> None:
    """Otherwise a sensor that stands still takes the one figure away that pages somebody."""
    burning(sqlite_registry)
    with sqlite_registry.writing() as session:
        for statement in TABLES:
            session.execute(text(f"DROP TABLE IF EXISTS {statement.split()[2]}"))
    samples = reader(settings).read(sqlite_registry)
    assert value(samples, "plms_budget_runway_minutes", "2") == pytest.approx(40.0)
    # What is spent beyond the budget is known all the same.
    assert nonzero(samples, "plms_budget_runway_projected_overrun_usd") == {("1",): pytest.approx(2.0)}
    assert value(samples, "plms_budget_unforecast_projects") == 3
    assert nonzero(samples, "plms_budget_status") == {("unknown",): 4}


def test_what_is_exported_is_what_the_api_says(registry: Registry, settings: Settings) -> None:
    """Otherwise the dashboard shows a runway, the page another, and whoever is woken believes neither."""
    shelf, watch = Shelf(registry), Watch(AT + timedelta(minutes=8))
    # Receipts of the last ten minutes; some over the budget; the same, where nobody knows what is left; older ones; none.
    world = {1: ([1, 1, 1, 1], "2"), 2: ([1, 1, 1], "0.5"), 3: ([1, 1, 1], "0.5"), 4: ([], "9"), 5: ([], "1")}
    for number, (tokens, budget) in world.items():
        run_id = shelf.project(number, tokens=tokens, budget_cost_usd_max=Decimal(budget))
        left_over(registry, run_id, provider="nobody" if number == 3 else "m")
        if number == 4:
            older(shelf, run_id)
    check_budgets(registry, clock=watch, ids=lambda: str(uuid4()), every_s=60)
    samples = reader(settings, clock=FrozenClock(watch.now())).read(registry)
    told = [budget_runway(registry, number, clock=watch) for number in world]
    burning = sorted((one for one in told if one["runway"]["minutes_to_depletion"] is not None), key=_minutes)
    assert [one["project_id"] for one in burning[2:]] == [1, 4]
    for rank, one in enumerate(burning, start=1):
        expected = {
            "minutes": one["runway"]["minutes_to_depletion"], "budget_usd": one["budget"]["usd_max"],
            "spent_usd": one["budget"]["usd_spent"], "burn_usd_per_minute": one["budget"]["burn_per_min"],
            "projected_overrun_usd": one["runway"]["projected_overrun_usd"],
        }  # fmt: skip
        found = {name: samples.cells[f"plms_budget_runway_{name}"].get((str(rank),)) for name in expected}
        assert found == pytest.approx(expected, abs=0.006)
    sums = {
        "projected_final": _sum(one["runway"]["projected_final_usd"] for one in told),
        "projected_overrun": _sum(one["runway"]["projected_overrun_usd"] for one in told),
    }  # fmt: skip
    assert {name: value(samples, f"plms_budget_{name}_usd") for name in sums} == pytest.approx(sums, abs=1e-5)
    statuses = Counter(one["status"] for one in told)
    assert nonzero(samples, "plms_budget_status") == {(word,): n for word, n in statuses.items()}
    over = sum((one["runway"]["projected_overrun_pct"] or 0) > 25 for one in told)
    assert nonzero(samples, "plms_budget_overruns")["25",] == over


def left_over(registry: Registry, run_id: str, *, provider: str) -> None:
    """A task of a run that has not ended."""
    add(registry, RunTask, [
        {"run_id": run_id, "task_id": "left", "lane_id": 4200, "provider": provider, "status": "QUEUED", "queued_at": AT}
    ])  # fmt: skip


def older(shelf: Shelf, run_id: str) -> None:
    """A run that began an hour ago, with a receipt that is half an hour old."""
    ended = AT - timedelta(minutes=30)
    with shelf.registry.writing() as session:
        session.execute(
            update(ProjectRun).where(ProjectRun.run_id == run_id).values(started_at=AT - timedelta(hours=1))
        )
        shelf.receipt(session, 4, run_id, "left", completed_at=ended, completed_on=ended.date(), started_at=ended)


def _minutes(one: dict[str, Any]) -> float:
    return float(one["runway"]["minutes_to_depletion"])


def _sum(values: Iterable[float | None]) -> float:
    return math.fsum(value for value in values if value is not None)


def money(minutes: float | None, *, budget: float | None = 10.0, final: float | None = 5.0) -> ProjectMoney:
    """A project that has spent a dollar, and burns what is left of ten in so many minutes."""
    activity = Activity(None if minutes is None else NOW - WINDOW, Spell(90 / minutes if minutes else 0.0))
    return ProjectMoney(
        runway_to(spent=1.0, reserved=0.0, budget=budget, final=final, activity=activity, now=NOW), is_forecast=True
    )


def test_a_thousand_projects_make_ten_ranks() -> None:
    """Otherwise the page grows with the number of projects, and Prometheus with it for ever."""
    samples = Samples(CATALOGUE)
    tell(samples, [money(float(minutes)) for minutes in range(1000, 0, -1)] + [money(None)])
    told = nonzero(samples, "plms_budget_runway_minutes")
    assert told == pytest.approx({(str(rank),): float(rank) for rank in range(1, 11)})


def test_overruns_are_counted_beyond_their_limit_only() -> None:
    """Otherwise a project at exactly 20 % is told as over, or the breach of 25 % is missed."""
    samples = Samples(CATALOGUE)
    finals = (12.0, 12.01, 12.5, 12.6)
    tell(samples, [money(1.0, final=final) for final in finals] + [money(1.0, budget=None, final=99.0)])
    assert nonzero(samples, "plms_budget_overruns") == {("20",): 3, ("25",): 1}
    tell(samples, [money(1.0, budget=0.0, final=1.0)])
    assert math.isinf(value(samples, "plms_budget_overrun_ratio_max"))
