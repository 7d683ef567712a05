"""What deploy/prometheus says, read for tests."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from plms_pipeline_tests.deploy.programs import DEPLOY

PROMETHEUS = DEPLOY / "prometheus"
TESTED = re.compile(r'alertname="(\w+)"')


@dataclass(frozen=True)
class Alert:
    """One alert rule."""

    name: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]

    @property
    def rule(self) -> str:
        return self.labels["rule"]


@cache
def documents(folder: str) -> dict[str, Any]:
    """Name of each file of a folder, and what it says."""
    return {
        path.name: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in sorted((PROMETHEUS / folder).glob("*.yml"))
    }


def rules() -> list[dict[str, Any]]:
    """All rules of all groups."""
    return [rule for document in documents("rules").values() for group in document["groups"] for rule in group["rules"]]


def alerts() -> list[Alert]:
    """All alert rules."""
    return [
        Alert(rule["alert"], rule["expr"], rule.get("labels", {}), rule["annotations"])
        for rule in rules()
        if "alert" in rule
    ]


def recorded() -> set[str]:
    """Names of all recorded series."""
    return {rule["record"] for rule in rules() if "record" in rule}


def expectations() -> list[tuple[str, str, int]]:
    """(group, alert, how many fire) of every question about an alert, in the order of the test files."""
    found = []
    for document in documents("tests").values():
        for number, group in enumerate(document["tests"]):
            name = group.get("name", str(number))
            for asked in group["promql_expr_test"]:
                for alert in TESTED.findall(asked["expr"]):
                    samples = asked["exp_samples"]
                    found.append((name, alert, int(sum(sample["value"] for sample in samples))))
    return found
