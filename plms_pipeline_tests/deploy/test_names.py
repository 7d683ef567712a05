"""Does every rule and every panel ask for series, labels and values that are told?

docs/metrics.md is made from the same catalogue, and the pages are held to it: a name that is in it is exposed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from deploy.grafana.boards import BOARDS
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.catalogue.pages import API, MODEL, UI
from plms_pipeline.monitoring.exporter.series import Series
from plms_pipeline_tests.deploy.rules import rules

KNOWN: dict[str, Series] = {**CATALOGUE, **{series.name: series for series in (*API, *MODEL, *UI)}}
SELECTOR = re.compile(r"\b((?:plms|p28|plus_ultra)_[a-z0-9_]+)(?:\{([^}]*)\})?")
MATCHER = re.compile(r'(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"')
PARTS_OF_HISTOGRAM = re.compile(r"_(bucket|count|sum)$")
# Labels that Prometheus itself adds.
ITS_OWN = {"job", "instance", "le"}


def asked() -> Iterator[tuple[str, str]]:
    """(where, expression) of every rule and panel."""
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for board in BOARDS:
        for panel in board.panels:
            for query in panel.queries:
                if query.source == "prometheus":
                    yield f"{board.uid}: {panel.title}", query.text


def wrong(expression: str) -> list[str]:
    """What an expression asks for and nobody tells."""
    found = []
    for name, matchers in SELECTOR.findall(expression):
        series = KNOWN.get(name)
        if series is None:
            bare = PARTS_OF_HISTOGRAM.sub("", name)
            series = KNOWN.get(bare) if bare != name else None
            if series is None or series.kind != "histogram":
                found.append(name)
                continue
        labels = {label.name: label.words for label in series.labels}
        for label, how, value in MATCHER.findall(matchers):
            if label in ITS_OWN:
                continue
            if label not in labels:
                found.append(f"{name}: no label {label}")
            elif labels[label]:
                values = value.split("|") if "~" in how else [value]
                found += [f"{name}: {label} is never {one}" for one in values if one not in labels[label]]
    return found


def test_what_is_asked_for_is_told() -> None:
    """A name that nobody tells is an alert that never fires, or an empty panel that looks like calm."""
    assert [f"{where}: {found}" for where, expression in asked() for found in wrong(expression)] == []
    assert len(list(asked())) > 150


def test_what_nobody_tells_would_be_found() -> None:
    """The test above proves nothing unless it can fail."""
    assert wrong("sum(plms_nonsense)") == ["plms_nonsense"]
    assert wrong('plms_killswitch_on{scope="galaxy"} > 0') == ["plms_killswitch_on: scope is never galaxy"]
    assert wrong('plms_killswitch_on{planet="earth"}') == ["plms_killswitch_on: no label planet"]
    assert wrong("rate(plms_killswitch_on_bucket[5m])") == ["plms_killswitch_on_bucket"]
