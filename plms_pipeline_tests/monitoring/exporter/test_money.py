"""Are the shortest runways told, and no project by name?"""

from __future__ import annotations

import math
from datetime import timedelta
from decimal import Decimal

import pytest
from sqlalchemy import update

from plms_pipeline.clock import FrozenClock
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.runways import ProjectMoney, tell
from plms_pipeline.monitoring.exporter.series import Samples
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import LedgerAccount, ProjectForecast, TaskPlan
from plms_pipeline.runs.actions.views import budget_runway
from plms_pipeline.settings import Settings
from plms_pipeline_tests.monitoring.exporter.worlds import (
    NOW,
    SPEND,
    add,
    ago,
    nonzero,
    plan,
    projects,
    reader,
    receipt,
    receipts,
    runs,
    tasks,
    value,
)


def burning(registry: Registry) -> None:
    """Project 1 burns 0.2 $ a minute and has 8 of 10 $ left; 2 has spent all of its 10 $; 3 plans two tasks; 4 is done."""
    projects(registry, {1: "executing", 2: "executing", 3: "executing", 4: "completed"}, budget=Decimal(10))
    projects(registry, {5: "executing"})
    for number in (1, 2, 3):
        plan(registry, number, ["a", "b"])
    runs(registry, [("r1", 1, "RUNNING"), ("r2", 2, "RUNNING")])
    tasks(registry, "r1", {"a": "SUCCESS", "b": "RUNNING"})
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
    samples = reader(settings).read(registry)
    assert nonzero(samples, "plms_budget_runway_minutes") == {("2",): pytest.approx(40.0)}
    assert value(samples, "plms_budget_runway_minutes", "1") == 0.0
    assert value(samples, "plms_budget_runway_projected_overrun_usd", "1") == pytest.approx(2.0)
    assert value(samples, "plms_budget_runway_spent_usd", "2") == 2.0
    assert value(samples, "plms_budget_runway_budget_usd", "2") == 10.0
    assert value(samples, "plms_budget_runway_burn_usd_per_minute", "2") == pytest.approx(0.2)
    assert ("3",) not in samples.cells["plms_budget_runway_minutes"]
    assert nonzero(samples, "plms_budget_status") == {("critical",): 1, ("ok",): 2, ("unknown",): 1}
    assert value(samples, "plms_budget_projects") == 3
    assert value(samples, "plms_budget_usd") == 30
    assert value(samples, "plms_budget_spent_usd") == pytest.approx(14)
    assert value(samples, "plms_budget_reserved_usd") == 1
    assert value(samples, "plms_budget_burn_usd_per_minute") == pytest.approx(0.2 + 12 / 60)
    # 2.50 of project 1, whose last task goes on; 12 of project 2, whose run has no task left; 1 of project 3, which begins.
    assert value(samples, "plms_budget_projected_final_usd") == pytest.approx(2.5 + 12 + 1)
    assert value(samples, "plms_budget_projected_overrun_usd") == pytest.approx(2)
    assert nonzero(samples, "plms_budget_overruns") == {}
    assert value(samples, "plms_budget_overrun_ratio_max") == pytest.approx(0.2)


def test_the_figures_are_those_of_the_project_s_own_page(registry: Registry, settings: Settings) -> None:
    """Otherwise the board and the page tell two stories about one budget."""
    burning(registry)
    clock = FrozenClock(NOW)
    money = reader(settings).money
    with registry.reading() as session:
        found = dict(zip((1, 2, 3, 5), money.read(session, NOW), strict=True))
    for number, ours in found.items():
        theirs = budget_runway(registry, number, clock=clock)
        assert ours.spent == theirs["budget"]["usd_spent"]
        assert ours.burn_per_min == theirs["budget"]["burn_per_min"]
        assert ours.minutes == theirs["runway"]["minutes_to_depletion"]
        assert ours.final == theirs["runway"]["projected_final_usd"]
        assert ours.status == theirs["status"]


def test_a_plan_that_was_estimated_anew_is_read_anew(sqlite_registry: Registry, settings: Settings) -> None:
    """Otherwise the projected final stands on prices of yesterday."""
    projects(sqlite_registry, {1: "executing"}, budget=Decimal(10))
    plan(sqlite_registry, 1, ["a"])
    looks = reader(settings)
    assert value(looks.read(sqlite_registry), "plms_budget_projected_final_usd") == pytest.approx(0.5)
    with sqlite_registry.writing() as session:
        session.execute(update(TaskPlan).values(forecast_json={"spend": {"cost_usd": {"mean": 3.0}}}))
    assert value(looks.read(sqlite_registry), "plms_budget_projected_final_usd") == pytest.approx(0.5)
    add(sqlite_registry, ProjectForecast, [{"project_id": 1, "forecast_json": SPEND, "estimated_at": NOW}])
    assert value(looks.read(sqlite_registry), "plms_budget_projected_final_usd") == pytest.approx(3.0)
    looks.clock = FrozenClock(NOW + timedelta(minutes=11))
    assert value(looks.read(sqlite_registry), "plms_budget_projected_final_usd") == pytest.approx(3.0)


def money(
    minutes: float | None, *, budget: float | None = 10.0, final: float = 5.0, status: str = "ok"
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
