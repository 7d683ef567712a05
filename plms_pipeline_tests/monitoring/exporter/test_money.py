"""Are the shortest runways told, and no project by name?"""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.runways import ProjectMoney, burn_rate, minutes_left, tell
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LedgerAccount
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

TABLES = (
    "CREATE TABLE budget_checks (project_id INTEGER, checked_at TIMESTAMP{zone})",
    "CREATE TABLE runway_snapshots (project_id INTEGER, at TIMESTAMP{zone}, final_usd FLOAT, status VARCHAR(16))",
    "CREATE TABLE breach_episodes (state VARCHAR(16), answer VARCHAR(16), opened_at TIMESTAMP{zone})",
)
WINDOW = timedelta(minutes=10)


def forecast(registry: Registry, rows: list[tuple[int, str, str, str, str]]) -> None:
    """(project, looked at, snapshot at, final, status) each; only the columns that are read, whatever else the tables have."""
    is_server = registry.dialect == "postgresql"
    with registry.writing() as session:
        for statement in TABLES:
            name = statement.split()[2]
            session.execute(text(f"DROP TABLE IF EXISTS {name}{' CASCADE' if is_server else ''}"))
            session.execute(text(statement.format(zone=" WITH TIME ZONE" if is_server else "")))
        for number, looked, at, final, status in rows:
            session.execute(
                text(f"INSERT INTO runway_snapshots VALUES ({number}, '2026-03-01 {at}', {final}, '{status}')")
            )
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
        (1, "11:59:30", "11:00:00", "99.0", "critical"), (1, "", "11:58:00", "12.0", "warning"),
        (2, "11:50:00", "11:50:00", "12.6", "critical"), (3, "11:30:00", "11:30:00", "1.0", "ok"),
        (4, "11:59:30", "11:58:00", "9.0", "ok"),
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
    assert value(samples, "plms_budget_projected_final_usd") == pytest.approx(12 + 12.6)
    assert value(samples, "plms_budget_projected_overrun_usd") == pytest.approx(2 + 2.6)
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
    assert "plms_budget_runway_projected_overrun_usd" not in samples.cells
    assert value(samples, "plms_budget_unforecast_projects") == 3
    assert nonzero(samples, "plms_budget_status") == {("unknown",): 4}


def test_the_rate_is_that_of_the_last_ten_minutes_else_of_the_run() -> None:
    """Otherwise a project that has just begun to burn looks as if it would last."""
    assert burn_rate(None, 5.0, 5.0, NOW, WINDOW) is None
    assert burn_rate(ago(hours=1), 5.0, 99.0, NOW, WINDOW) == pytest.approx(0.5)
    assert burn_rate(ago(minutes=2), 5.0, 99.0, NOW, WINDOW) == pytest.approx(2.5)
    assert burn_rate(ago(hours=1), 0.0, 6.0, NOW, WINDOW) == pytest.approx(0.1)
    assert burn_rate(ago(hours=1), 0.0, 0.0, NOW, WINDOW) is None
    assert burn_rate(NOW, 1.0, 1.0, NOW, WINDOW) == pytest.approx(60.0)
    assert minutes_left(10.0, 2.0, 0.2) == pytest.approx(40)
    assert minutes_left(10.0, 12.0, 0.2) == 0.0
    assert minutes_left(None, 2.0, 0.2) is None
    assert minutes_left(10.0, 2.0, None) is None


def money(
    minutes: float | None, *, budget: float | None = 10.0, final: float | None = 5.0, status: str = "ok"
) -> ProjectMoney:
    return ProjectMoney(budget, 1.0, 0.0, 0.1, minutes, final, status)


def test_a_thousand_projects_make_ten_ranks() -> None:
    """Otherwise the page grows with the number of projects, and Prometheus with it for ever."""
    samples = Samples(CATALOGUE)
    tell(samples, [money(float(minutes)) for minutes in range(1000, 0, -1)] + [money(None)])
    told = nonzero(samples, "plms_budget_runway_minutes")
    assert told == {(str(rank),): float(rank) for rank in range(1, 11)}


def test_overruns_are_counted_beyond_their_limit_only() -> None:
    """Otherwise a project at exactly 20 % is told as over, or the breach of 25 % is missed."""
    samples = Samples(CATALOGUE)
    finals = (12.0, 12.01, 12.5, 12.6)
    tell(samples, [money(1.0, final=final) for final in finals] + [money(1.0, budget=None, final=99.0)])
    assert nonzero(samples, "plms_budget_overruns") == {("20",): 3, ("25",): 1}
    tell(samples, [money(1.0, budget=0.0, final=1.0)])
    assert math.isinf(value(samples, "plms_budget_overrun_ratio_max"))
