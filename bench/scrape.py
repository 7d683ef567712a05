"""How long does a scrape of `plms exporter` take, with a thousand projects at work?

A registry of a thousand projects that all execute a run of 26 tasks (SQLite), and Dagster's storage beside it. The first page,
for which plans are read and statements compiled, is told apart. The limit is an acceptance figure.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import text

from bench.common import Row
from plms_pipeline.clock import SystemClock
from plms_pipeline.monitoring.exporter.metrics import page, text_of
from plms_pipeline.monitoring.exporter.service import exporter_of
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.settings import load_settings
from plms_pipeline_tests.monitoring.exporter.crowd import fill

PROJECTS = 1000
TASKS = 26
SCRAPES = 15
GOAL_S = 0.2
MOST_SERIES = 2000


def run() -> list[Row]:
    """One page after another, as Prometheus asks for them."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        environ = {"PLMS_DATA_DIR": f"{folder}/data", "PLMS_REPORTS_DIR": f"{folder}/reports"}
        settings = load_settings(environ)
        Path(settings.data_dir).mkdir(parents=True)
        migrate.upgrade(settings.database_url)
        registry = Registry.open(settings.database_url)
        fill(registry, PROJECTS, tasks=TASKS, at=clock.now() - timedelta(minutes=1))
        with registry.writing() as session:
            session.execute(text("ANALYZE"))
        registry.close()
        shown = page(exporter_of(settings, clock, stack).collect)
        took, used = [], []
        for _ in range(SCRAPES + 1):
            began, worked = time.perf_counter(), time.process_time()
            told = text_of(shown)
            took.append(time.perf_counter() - began)
            used.append(time.process_time() - worked)
    series = sum(not line.startswith("#") for line in told.splitlines())
    later, spent = took[1:], median(used[1:])
    what = f"a scrape with {PROJECTS:,} projects of {TASKS} tasks at work, {series} series"
    return [
        Row(
            "scrape", what, "200 ms", spent, GOAL_S, spent / GOAL_S, "≤ 1", spent <= GOAL_S,
            note=f"processor time; by the clock {median(later) * 1000:.0f}, the first page {took[0] * 1000:.0f} ms",
        ),
        Row("scrape", "series on that page", "2 000", None, None, series / MOST_SERIES, "< 1", series < MOST_SERIES),
    ]  # fmt: skip
