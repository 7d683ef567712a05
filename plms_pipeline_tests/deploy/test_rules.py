"""Does every alert rule say who must act how fast, where it is explained, and is it tested to fire and to stop?"""

from __future__ import annotations

import re

import pytest

from plms_pipeline.alerts import files
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.deploy.programs import ROOT
from plms_pipeline_tests.deploy.rules import Alert, alerts, expectations, recorded, rules
from plms_pipeline_tests.test_documents import wrong_commands

# Short and long window, factor: share of the budget spent in the long window, times 168 h, by the long window.
TIERS = {"1h": (0.08, 1), "6h": (0.125, 6), "1d": (0.20, 24), "3d": (3 / 7, 72)}
OURS = re.compile(r"\b(?:plms|p28|plus_ultra)_[a-z0-9_]+|plms:[\w:]+")
# Those that pass on another rule keep its severity and name.
PASSED_ON = {"AlertUntold"}


def camel(rule: str) -> str:
    """runway_t15 → RunwayT15."""
    return "".join(part.capitalize() for part in rule.split("_"))


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_alert_names_its_rule_its_severity_and_its_runbook(alert: Alert) -> None:
    """Whoever is woken needs to know how fast to act and where it is written what to do."""
    assert set(alert.annotations) == {"summary", "description", "runbook_url"}
    page = alert.annotations["runbook_url"]
    assert re.fullmatch(r"docs/runbooks/(prometheus/)?[a-z0-9_]+\.md", page)
    if alert.name in PASSED_ON:
        return
    assert alert.labels["severity"] in {"P0", "P1", "P2", "P3"}
    assert alert.labels["told_by"] in {"plms", "prometheus"}
    assert alert.name == camel(alert.rule)
    assert page.startswith("docs/runbooks/prometheus/") == (alert.labels["told_by"] == "prometheus")
    assert alert.rule.startswith(page.rpartition("/")[2].removesuffix(".md"))


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_alert_has_its_page(alert: Alert) -> None:
    """A link that leads nowhere costs the minutes in which it was followed, a command that is none some more."""
    text = (ROOT / alert.annotations["runbook_url"]).read_text(encoding="utf-8")
    assert (alert.name if alert.labels["told_by"] == "prometheus" else alert.rule) in text
    assert wrong_commands(text) == []
    beside = (ROOT / alert.annotations["runbook_url"]).parent
    assert all((beside / link).is_file() for link in re.findall(r"\]\(([\w./]+\.md)\)", text))


def test_prometheus_and_the_engine_know_the_same_rules_by_the_same_severity() -> None:
    """Two truths about how urgent something is, and nobody knows which page to leave the bed for."""
    engine = {rule.name: rule.severity for rule in files.load_rules(load_settings({})).values()}
    assert {alert.rule: alert.labels["severity"] for alert in alerts() if alert.labels["told_by"] == "plms"} == engine


def test_names_of_alerts_are_there_once() -> None:
    """Two alerts of one name silence each other."""
    names = [alert.name for alert in alerts()]
    assert len(set(names)) == len(names)
    assert len({alert.rule for alert in alerts() if alert.name not in PASSED_ON}) == len(names) - len(PASSED_ON)


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert.name)
def test_every_alert_is_tested_to_fire_to_resolve_and_to_miss(alert: Alert) -> None:
    """A rule that never fired in a test fires for the first time at night, or never."""
    asked: dict[str, list[int]] = {}
    for group, name, count in expectations():
        if name == alert.name:
            asked.setdefault(group, []).append(count)
    stories = list(asked.values())
    assert any(max(story) > 0 for story in stories), "no test sees it fire"
    if alert.name == "Watchdog":
        assert all(count > 0 for story in stories for count in story), "it must never rest"
        return
    assert any(0 in story[index:] for story in stories for index, count in enumerate(story) if count), (
        "no test sees it resolve"
    )
    assert any(not any(story) for story in stories), "no test holds a value just below its line"


def test_what_rules_read_of_recorded_series_is_recorded() -> None:
    """A recorded series that is misspelt is an alert that never fires."""
    read = {name for rule in rules() for name in OURS.findall(rule["expr"]) if name.startswith("plms:")}
    assert read <= recorded()


def objectives() -> dict[str, float]:
    """SLO → what was promised."""
    found = {}
    for rule in rules():
        if rule.get("record") == "plms:slo_objective":
            found[rule["labels"]["slo"]] = float(rule["expr"].removeprefix("vector(").removesuffix(")"))
    return found


def test_every_promise_of_the_guides_is_an_objective() -> None:
    """99.5 % of answers without 5xx, of predictions too (guide 002); P50, P95 and P99 of four endpoints (guide 000, 8)."""
    promised = {f"{endpoint}_{quantile}": share
                for endpoint in ("start", "simulate", "metrics", "portfolio")
                for quantile, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))}  # fmt: skip
    assert objectives() == {"api_availability": 0.995, "predict_availability": 0.995, **promised}


@pytest.mark.parametrize("window", TIERS)
def test_burn_rates_are_those_of_seven_days_and_can_fire(window: str) -> None:
    """14.4 is the factor of 30 days; on a promise of 95 % over 7 days it asks for more failures than there are answers."""
    share, hours = TIERS[window]
    factor = share * 7 * 24 / hours
    [alert] = [alert for alert in alerts() if alert.labels.get("window") == window]
    told = re.search(r"> (?:([\d.]+) \* \()?1 - plms:slo_objective", alert.expr)
    assert told is not None
    assert float(told[1] or 1) == pytest.approx(factor)
    reachable = {slo for slo, objective in objectives().items() if factor * (1 - objective) < 1}
    medians = {slo for slo in objectives() if slo.endswith("_p50")}
    assert reachable == (set(objectives()) if factor < 2 else set(objectives()) - medians)
