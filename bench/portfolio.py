"""How long does it take to decide whose turn it is, among a hundred thousand queued tasks of a thousand projects?

Registry reads included, on SQLite. The time is the processor's: a decision waits for nobody, and other work on the machine is
not what is asked about.
"""

from __future__ import annotations

import math
import random
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from sqlalchemy import insert, text

from bench.common import ROUNDS, Row
from plms_pipeline.portfolio.actions.scheduling import lanes_to_look_at, preview
from plms_pipeline.registry import migrate
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import JobCard, Project, ProjectRun, QueuedCard

LANES = (4200, 4201, 4202, 5100, 5101, 5102, 6100, 6101)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOAL_S = 0.05


def filled(folder: Path, tasks: int, projects: int) -> Registry:
    """A registry with so many queued tasks."""
    url = f"sqlite:///{folder}/queue-{tasks}.db"
    migrate.upgrade(url)
    registry, chance = Registry.open(url), random.Random(1)
    numbers = range(1, projects + 1)
    with registry.writing() as session:
        session.execute(insert(Project), [
            {"id": n, "name": f"p{n}", "status": "executing", "created_at": AT, "budget_cost_usd_max": 1000} for n in numbers
        ])  # fmt: skip
        session.execute(insert(ProjectRun), [
            {"run_id": f"r{n}", "project_id": n, "status": "RUNNING", "created_at": AT, "started_at": AT,
             "passport_sha256": "0" * 64} for n in numbers
        ])  # fmt: skip
        cards = [(f"{n:036d}", chance.choice(numbers), chance.choice(LANES)) for n in range(tasks)]
        session.execute(insert(JobCard), [
            {"card_key": key, "run_id": f"r{project}", "task_id": key, "lane_id": lane, "provider": "m", "created_at": AT}
            for key, project, lane in cards
        ])  # fmt: skip
        session.execute(insert(QueuedCard), [
            {"card_key": key, "lane_id": lane, "project_id": project, "run_id": f"r{project}", "run_kind": "baseline",
             "ready_at": AT, "not_before": AT, "rank": chance.random()} for key, project, lane in cards
        ])  # fmt: skip
        session.execute(text("ANALYZE"))
    return registry


def processor_s(function: Callable[[], object]) -> float:
    """The median processor time of some calls."""
    taken = []
    for _ in range(ROUNDS):
        began = time.process_time()
        function()
        taken.append(time.process_time() - began)
    return median(taken)


def run() -> list[Row]:
    """A decision in one lane with 100 000 tasks queued, and how it grows from 25 000."""
    now, took = AT + timedelta(seconds=5), {}
    with tempfile.TemporaryDirectory() as folder:
        for tasks in (25_000, 100_000):
            registry = filled(Path(folder), tasks, 1000)
            took[tasks] = processor_s(lambda registry=registry: preview(registry, LANES[0], now=now))
            if tasks == 100_000:
                looked = processor_s(lambda registry=registry: lanes_to_look_at(registry, now=now))
            registry.close()
    grew, may = took[100_000] / took[25_000], 4 * math.log(100_000) / math.log(25_000)
    name = "scheduling"
    return [
        Row(name, "whose turn in a lane, 100 000 queued, 1 000 projects", "50 ms", took[100_000], GOAL_S,
            took[100_000] / GOAL_S, "≤ 1", took[100_000] <= GOAL_S),
        Row(name, "which lanes to look at", "50 ms", looked, GOAL_S, looked / GOAL_S, "≤ 1", looked <= GOAL_S),
        Row(name, "growth of a decision, 25 000 → 100 000", "n log n", took[100_000], took[25_000], grew,
            f"≤ {may:.1f}", grew <= may),
    ]  # fmt: skip
