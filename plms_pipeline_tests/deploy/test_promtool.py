"""What Prometheus' own tool says about deploy/prometheus."""

from __future__ import annotations

import pytest

from plms_pipeline_tests.deploy.programs import program, said
from plms_pipeline_tests.deploy.rules import PROMETHEUS, alerts, documents, rules

pytestmark = [pytest.mark.live, pytest.mark.timeout(600)]


def test_rules_and_configuration_are_valid() -> None:
    """A Prometheus that does not start watches nothing."""
    promtool = program("promtool")
    checked = said(promtool, "check", "rules", *sorted((PROMETHEUS / "rules").glob("*.yml")))
    assert f"{sum(len(group['rules']) for group in documents('rules')['slo.yml']['groups'])} rules found" in checked
    assert "SUCCESS" in said(promtool, "check", "config", PROMETHEUS / "prometheus.yml")
    assert len(rules()) > len(alerts()) > 30


@pytest.mark.parametrize("name", sorted(documents("tests")))
def test_alerts_fire_and_resolve(name: str) -> None:
    """`promtool test rules` over every story of a file."""
    assert "SUCCESS" in said(program("promtool"), "test", "rules", PROMETHEUS / "tests" / name, timeout_s=580)
