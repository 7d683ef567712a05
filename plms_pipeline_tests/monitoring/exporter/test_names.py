"""Is every series that is exposed documented as it is, tested, and is their number bounded?"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Metric

from plms_pipeline.clock import FrozenClock
from plms_pipeline.evidence.metrics import ObserverMetrics
from plms_pipeline.models.serving.metrics import ServingMetrics
from plms_pipeline.models.serving.names import FIGURES
from plms_pipeline.monitoring.exporter.catalogue import CATALOGUE
from plms_pipeline.monitoring.exporter.catalogue.pages import API, MODEL, UI
from plms_pipeline.monitoring.exporter.metrics import page, text_of
from plms_pipeline.monitoring.exporter.names_page import page as names_page
from plms_pipeline.monitoring.exporter.series import Samples, Series, Spread
from plms_pipeline.monitoring.exporter.service import Exporter
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import Settings
from plms_pipeline.web.api.metrics import ApiMetrics
from plms_pipeline.web.metrics import UiMetrics
from plms_pipeline_tests.monitoring.exporter.crowd import fill
from plms_pipeline_tests.monitoring.exporter.worlds import NOW, reader

ROOT = Path(__file__).resolve().parents[3]
MOST_SERIES = 2000
# What an installation has of things that the books or the code name: lanes a person added, sensors, daemons, checks, alerts.
NAMED = {
    "lane": 24, "name": 1, "daemon": 10, "sensor": 25, "schedule": 10, "pool": 10, "check_name": 60, "rule": 40,
    "channel": 8, "version": 1, "dagster": 1,
}  # fmt: skip


def exposed(registry: CollectorRegistry) -> dict[str, Metric]:
    return {_full(each): each for each in registry.collect()}


def _full(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else f"{metric.name}{'_info' * (metric.type == 'info')}"


def labels_of(metric: Metric) -> set[str]:
    return {label for sample in metric.samples for label in sample.labels} - {"le"}


@pytest.mark.parametrize("which", ["api", "ui", "model"])
def test_what_the_pages_of_servers_expose_is_what_is_documented(which: str) -> None:
    """Otherwise somebody builds a board on a name that is written down and not there."""
    registry = UiMetrics().registry
    declared: Iterable[Series] = UI
    if which == "api":
        metrics = ApiMetrics([("/healthz", "GET")])
        ObserverMetrics(metrics.registry).belong_to("o")
        registry, declared = metrics.registry, API
    elif which == "model":
        serving = ServingMetrics()
        serving.serves(1, dict.fromkeys(FIGURES, 0.5))
        registry, declared = serving.registry, MODEL
    found = exposed(registry)
    assert set(found) == {each.name for each in declared}
    for each in declared:
        metric = found[each.name]
        assert metric.documentation == each.says
        assert metric.type == each.kind or (metric.type, each.kind) == ("info", "gauge")
        assert labels_of(metric) == {label.name for label in each.labels}, each.name
        for label in each.labels:
            if label.words and each.name != "plms_api_latency_seconds":
                told = {sample.labels[label.name] for sample in metric.samples if label.name in sample.labels}
                assert told <= set(label.words), each.name


def everything() -> Samples:
    """A page on which every series stands with all its labels, where named things are as many as an installation may have."""
    samples = Samples(CATALOGUE)
    words = {name: tuple(f"{name}{place}" for place in range(count)) for name, count in NAMED.items()}
    absent = [series for series in CATALOGUE.values() if series.absent]
    for series in absent:
        cells = [()]
        for label in series.labels:
            cells = [(*cell, word) for cell in cells for word in label.words or words[label.name]]  # type: ignore[misc]
        for cell in cells:
            samples.put(series.name, 1.0, *cell)
    for part in ("registry", "dagster", "redis", "disk", "nights", "exporter"):
        samples.fill(part, words)  # type: ignore[arg-type]
    return samples


def test_every_declared_series_is_exposed_with_its_labels() -> None:
    """Otherwise a series is declared, documented and never seen."""
    found = exposed(page(everything))
    for name, series in CATALOGUE.items():
        assert found[name].type == series.kind
        assert found[name].documentation == series.says
        assert labels_of(found[name]) == {label.name for label in series.labels}, name


def test_names_are_those_that_prometheus_expects() -> None:
    """Otherwise units and kinds are guessed; the names of the sources' dashboard are the exception."""
    kept = {"plms_invariants_violations_total", "plms_invariants_checks_total"}
    for name, series in CATALOGUE.items():
        assert re.fullmatch(r"(plms|plus_ultra)_[a-z0-9_]+", name)
        assert (series.kind == "counter") == (name.endswith("_total") and name not in kept), name
        assert series.says.endswith("."), name
        assert (series.kind == "histogram") == bool(series.edges)


def test_a_full_installation_stays_under_two_thousand_series() -> None:
    """Otherwise the page grows until scraping it is a load of its own."""
    lines = [line for line in text_of(page(everything)).splitlines() if not line.startswith("#")]
    assert everything().count() < MOST_SERIES
    assert len(lines) < MOST_SERIES


def test_a_thousand_projects_make_no_more_series_than_ten(sqlite_registry: Registry, settings: Settings) -> None:
    """Otherwise Prometheus remembers each project for ever."""
    few = reader(settings).read(sqlite_registry).count()
    fill(sqlite_registry, 1000, tasks=2, at=NOW)
    read = reader(settings)
    build = ("1", "2", "sqlite")
    exporter = Exporter(
        {"registry": lambda: read.read(sqlite_registry)}, build, clock=FrozenClock(NOW), timeout_s=60
    )  # fmt: skip
    text = text_of(page(exporter.collect))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert 'plms_budget_runway_minutes{rank="10"}' in text
    assert 'plms_projects{status="executing"} 1000.0' in text
    assert len(lines) < MOST_SERIES
    assert read.read(sqlite_registry).count() <= few + 60


def test_every_series_is_read_in_a_test() -> None:
    """Otherwise a figure is exposed that nobody ever compared with the fact that it stands for."""
    here = "".join(path.read_text(encoding="utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    here = here.replace(Path(__file__).read_text(encoding="utf-8"), "")
    assert [name for name in CATALOGUE if f'"{name}"' not in here] == []


def test_the_page_of_names_is_renewed() -> None:
    """docs/metrics.md is what people search; `plms exporter --markdown > docs/metrics.md` renews it."""
    assert (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8") == names_page()


def test_a_spread_is_counted_as_the_lines_that_it_becomes() -> None:
    """Otherwise the limit of series is kept by not counting buckets."""
    samples = Samples(CATALOGUE)
    samples.put("plms_run_duration_seconds", Spread((0,) * 10, 0.0))
    text = text_of(page(lambda: samples))
    lines = [line for line in text.splitlines() if line.startswith("plms_run_duration_seconds")]
    assert len(lines) == samples.count() == 12
