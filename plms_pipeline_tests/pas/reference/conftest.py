"""A reference executor without a server: its store in memory, a clock that the test moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from plms_pipeline.pas.protocol import JobCard, RunStatus, StartRun
from plms_pipeline.pas.reference import store
from plms_pipeline.pas.reference.actions.cards import submit_card
from plms_pipeline.pas.reference.actions.runs import start_run
from plms_pipeline.pas.reference.actions.showing import run_status
from plms_pipeline.pas.reference.actions.working import work
from plms_pipeline.pas.reference.actions.world import World
from plms_pipeline.pas.reference.faults import Faults
from plms_pipeline.pas.reference.files import ArtifactRoot
from plms_pipeline.pas.reference.outcomes import Outcomes, Sample

SAMPLES = Path(__file__).resolve().parents[3] / "data" / "samples"
# Every task takes 100 s and costs 1 USD, so that budgets and progress can be told by hand.
PLAIN = Outcomes([Sample(4200, "p", 1.0)], [Sample(4200, "p", 100_000)], longest_ms=10**7)


@dataclass
class MovingClock:
    at: datetime = datetime(2026, 3, 1, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at


class Bench:
    """One executor at speed 1, and short words for what tests do with it."""

    def __init__(self, root: Path, **world: Any) -> None:
        self.clock = MovingClock()
        values: dict[str, Any] = {"outcomes": PLAIN, "speed": 1.0, "seed": 1, **world}
        self.world = World(
            db=store.open_store(":memory:"), clock=self.clock, artifacts=ArtifactRoot(root, SAMPLES), **values
        )

    def faults(self, **rates: float) -> None:
        self.world = replace(self.world, faults=Faults(1, rates))

    def start(self, run_id: str = "r", tasks: int = 1, budget: float | None = None, **more: Any) -> None:
        start_run(self.world, start_message(run_id, tasks, budget, **more))

    def card(self, task: str, run_id: str = "r", **more: Any) -> JobCard:
        card = card_message(task, run_id, **more)
        submit_card(self.world, card)
        return card

    def work(self, seconds: float = 0.0) -> None:
        """Move the clock by steps of one second at most 1000, working after each; events in between fall where they fall."""
        work(self.world)
        steps = max(1, min(1000, round(seconds)))
        for _ in range(steps):
            self.clock.at += timedelta(seconds=seconds / steps)
            work(self.world)

    def status(self, run_id: str = "r") -> RunStatus:
        return run_status(self.world, run_id)

    def states(self, run_id: str = "r") -> dict[str, str]:
        return {task.task_id: task.status for task in self.status(run_id).tasks}

    def events(self) -> list[tuple[str, str]]:
        """(path, state) of every event, in order."""
        return [
            (row["path"], row["state"]) for row in self.world.db.execute("SELECT path, state FROM events ORDER BY id")
        ]


def start_message(run_id: str = "r", tasks: int = 1, budget: float | None = None, **more: Any) -> StartRun:
    return StartRun.model_validate(
        {
            "project_id": 1, "run_id": run_id, "run_kind": "baseline", "tasks_total": tasks, "passport_sha256": "a" * 64,
            "provider_matrix": {"p": "v1"}, "budget_caps": {"budget_usd": budget}, **more,
        }
    )  # fmt: skip


def card_message(task: str, run_id: str = "r", **more: Any) -> JobCard:
    attempt = more.get("attempt", 1)
    return JobCard.model_validate(
        {
            "card_key": f"{run_id}/{task}/{attempt}", "run_id": run_id, "task_id": task, "project_id": 1, "lane": 4200,
            "provider": "p", **more,
        }
    )  # fmt: skip


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[Callable[..., Bench]]:
    made: list[Bench] = []

    def make(**world: Any) -> Bench:
        made.append(Bench(tmp_path, **world))
        return made[-1]

    yield make
    for bench in made:
        bench.world.db.close()


@pytest.fixture
def bench(make_bench: Callable[..., Bench]) -> Bench:
    return make_bench()


def usd(text: str) -> Decimal:
    return Decimal(text)
