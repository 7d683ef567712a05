"""Do terminal, HTTP and Dagster do the same, each for whom it may?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from plms_pipeline.alerts.defs.assets import alert_checks
from plms_pipeline.alerts.defs.sensors import budget_threshold_crossed, rules_sensor
from plms_pipeline.alerts.files import load_rules
from plms_pipeline.cli import main
from plms_pipeline.clock import SystemClock
from plms_pipeline.registry.engine import Registry
from plms_pipeline.resources import Plms
from plms_pipeline.settings import Settings
from plms_pipeline_tests.alerts.worlds import Bench, Watch, bench
from plms_pipeline_tests.api_world import ask, world

DISK = {"disk:a": 0.5}
SHIPPED = set(load_rules(Settings()))


@pytest.fixture
def fired(sqlite_registry: Registry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """One alert that fires, told to the log."""
    for name, value in (("PLMS_DATA_DIR", settings.data_dir), ("PLMS_REPORTS_DIR", settings.reports_dir)):
        monkeypatch.setenv(name, str(value))
    table = bench(sqlite_registry, tmp_path / "bench", clock=Watch(SystemClock().now()))
    table.values["disk_free_gib"] = dict(DISK)
    table.evaluate()
    return table


def said(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, Any]:
    code = main([*words, "--json"])
    out = capsys.readouterr().out
    return code, json.loads(out) if out else None


def test_the_terminal_tells_and_decides(fired: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    """What the person on call types at three in the morning."""
    code, told = said(capsys, "alerts", "list")
    (alert,) = told["alerts"]
    assert (code, alert["rule"], alert["state"]) == (0, "disk_1gb", "firing")
    assert main(["alerts", "list", "--check"]) == 1
    assert "disk_1gb" in capsys.readouterr().out
    code, told = said(capsys, "alerts", "ack", alert["alert_id"][:8], "--reason", "making room")
    assert (code, told["acknowledged"][0]["state"]) == (0, "acked")
    assert main(["alerts", "ack", alert["alert_id"], "--reason", "again"]) == 1
    assert main(["alerts", "ack", "0000", "--reason", "x"]) == 2
    code, told = said(capsys, "alerts", "show", "disk_1gb")
    assert [event["kind"] for event in told["events"]] == ["fired", "acked"]
    code, told = said(capsys, "alerts", "silence", "queue_20", "--for", "2h", "--reason", "planned")
    assert code == 0
    assert main(["alerts", "silence", "queue_20", "--for", "soon", "--reason", "x"]) == 2
    code, told = said(capsys, "alerts", "unsilence", told["silence_id"], "--reason", "done")
    assert code == 0
    code, told = said(capsys, "alerts", "test", "log")
    assert (code, told["deliveries"][0]["state"]) == (0, "done")
    assert main(["alerts", "test", "chat"]) == 2
    assert "its secret is missing" in capsys.readouterr().err
    code, told = said(capsys, "alerts", "list", "--rules")
    assert {rule["rule"] for rule in told["rules"]} == SHIPPED


def test_over_http_each_needs_its_scope(fired: Bench, sqlite_registry: Registry, settings: Settings) -> None:
    """A viewer reads, an operator takes in hand, only an administrator silences."""
    api = world(settings, sqlite_registry, fired.clock)

    def asked(method: str, path: str, role: str, body: Any = None) -> Any:
        return ask(api.app, method, path, headers=api.headers(role), json=body)

    (alert,) = asked("GET", "/api/alerts", "viewer").json()["alerts"]
    name = alert["alert_id"]
    assert asked("GET", f"/api/alerts/{name}", "viewer").json()["deliveries"][0]["channel"] == "log"
    assert {rule["rule"] for rule in asked("GET", "/api/alerts/rules", "viewer").json()} == SHIPPED
    page = asked("GET", "/api/alerts/rules/disk_1gb/runbook", "viewer").json()["runbook_markdown"]
    assert page.startswith("# disk_1gb: ")
    assert asked("GET", "/api/alerts/rules/..%2F..%2FREADME/runbook", "viewer").status_code == 400
    assert asked("GET", "/api/alerts/rules/nope/runbook", "viewer").json()["code"] == "rule_not_found"
    assert asked("GET", "/api/alerts/deliveries", "viewer").status_code == 200
    why = {"reason": "mine"}
    assert asked("POST", f"/api/alerts/{name}/ack", "viewer", why).status_code == 403
    assert (
        asked("POST", f"/api/alerts/{name}/ack", "operator", why).json()["acknowledged"][0]["acked_by"] == "a-operator"
    )
    assert asked("POST", f"/api/alerts/{name}/ack", "operator", why).json()["code"] == "alert_not_firing"
    assert asked("POST", "/api/alerts/00000000/ack", "operator", why).status_code == 404
    quiet = {"lasts": "2h", "reason": "planned"}
    assert asked("POST", f"/api/alerts/{name}/silence", "operator", quiet).status_code == 403
    made = asked("POST", f"/api/alerts/{name}/silence", "admin", quiet)
    assert (made.status_code, made.json()["rule"]) == (201, "disk_1gb")
    assert asked("POST", f"/api/alerts/silences/{made.json()['silence_id']}/end", "admin", why).status_code == 200
    assert asked("POST", "/api/alerts/silences", "admin", quiet).json()["code"] == "bad_silence"
    assert asked("POST", "/api/alerts/silences", "admin", {**quiet, "rule": "nope"}).status_code == 404


def test_the_sensors_look_send_and_launch_nothing(fired: Bench) -> None:
    """Without `plms serve` nobody else would tell."""
    with dg.DagsterInstance.ephemeral() as instance:
        for sensor in (budget_threshold_crossed, rules_sensor(["budget_threshold_crossed"])):
            with dg.build_sensor_context(instance=instance, resources={"plms": Plms()}) as context:
                told = sensor(context)
            assert not getattr(told, "run_requests", None)
            assert "looked at" in str(told.skip_reason)
    (event,) = told.asset_events
    assert event.metadata["deliveries_done"].value >= 1


def test_a_message_that_was_given_up_fails_the_check(fired: Bench) -> None:
    """What nobody took must be seen by whoever looks at Dagster only."""

    def verdicts() -> dict[str, bool]:
        done = dg.materialize(
            [alert_checks], resources={"plms": Plms()}, selection=dg.AssetSelection.all_asset_checks()
        )
        return {one.check_name: one.passed for one in done.get_asset_check_evaluations()}

    fired.deliver()
    assert verdicts()["no_delivery_is_lost_or_stuck"]
    fired.clock.go(60)
    fired.values["disk_free_gib"] = {"disk:b": 0.1}
    fired.evaluate()
    for name in tuple(fired.desk.channels):
        del fired.desk.channels[name]
    fired.deliver()
    assert not verdicts()["no_delivery_is_lost_or_stuck"]
