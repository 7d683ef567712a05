"""From a project that burns its budget to a message in Slack: once."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from plms_pipeline.alerts.service import Alerts
from plms_pipeline.notify.client import Notifier
from plms_pipeline.registry.engine import Registry
from plms_pipeline_tests.alerts.worlds import AT, BUDGET, bench, burning, raise_budget, spend
from plms_pipeline_tests.notify.receivers import receiving


def test_a_budget_about_to_run_dry_is_told_to_slack_once_and_once_that_it_is_over(
    registry: Registry, tmp_path: Path
) -> None:
    """The sources told it every minute, to whoever happened to be listening, and never that it was over."""
    run = burning(registry, budget_usd=20)
    with receiving() as services, Notifier(monotonic_s=lambda: 0.0) as notifier:
        table = bench(registry, tmp_path, sources=BUDGET, environ=services.environ)
        table = replace(table, desk=replace(table.desk, send=notifier.send))
        assert not table.evaluate().did_something
        # A dollar a minute, and ten are left.
        spend(registry, run, 10, AT - timedelta(seconds=30))
        assert table.evaluate().fired == (("runway_t15", "project:42"),)
        for _ in range(5):
            table.clock.go(1)
            table.evaluate()
            table.deliver()
        (told,) = services.of("slack")
        assert "FIRING P1 runway_t15: the budget lasts 15 minutes at most (project:42)" in told.json["text"]
        raise_budget(registry, 42, 100)
        assert table.evaluate().resolved == (("runway_t15", "project:42"),)
        table.evaluate()
        table.deliver()
        assert ["RESOLVED" in one.json["text"] for one in services.of("slack")] == [False, True]


def test_as_it_is_shipped_everything_is_told_to_the_log(sqlite_registry: Registry, tmp_path: Path) -> None:
    """Whoever has configured nothing yet must not lose the first alert, nor be stopped by a missing key."""
    run = burning(sqlite_registry)
    spend(sqlite_registry, run, 9.9, AT - timedelta(seconds=30))
    table = bench(sqlite_registry, tmp_path)
    with Alerts(table.settings, sqlite_registry, table.clock) as alerts:
        alerts.evaluate()
        made = alerts.deliver()
    assert {(one.claimed.channel, one.outcome) for one in made} == {("log", "sent")}
    assert {one.claimed.message.rule for one in made} >= {"runway_t15", "runway_t5"}
