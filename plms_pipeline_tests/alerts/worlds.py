"""Projects that burn money, and engines with a clock that tests move."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from sqlalchemy import insert, update

from plms_pipeline.alerts import files
from plms_pipeline.alerts.actions.delivering import Desk, Made, deliver
from plms_pipeline.alerts.actions.evaluating import Engine, Evaluated, evaluate
from plms_pipeline.alerts.actions.opening import routing_of
from plms_pipeline.alerts.looking import Asked, Seen, Source
from plms_pipeline.alerts.machine import Reading
from plms_pipeline.alerts.sources import budget
from plms_pipeline.letters.rules import Policy
from plms_pipeline.notify.channels import Channel
from plms_pipeline.notify.message import Message
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun, TaskReceipt
from plms_pipeline.settings import Settings, load_settings
from plms_pipeline_tests.runs.worlds import planned_project

AT = datetime(2026, 3, 2, 15, tzinfo=UTC)


@dataclass
class Watch:
    """A clock that is moved by hand."""

    at: datetime = AT

    def now(self) -> datetime:
        return self.at

    def go(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def burning(registry: Registry, project_id: int = 42, *, budget_usd: float = 10, forecast: Any = None) -> str:
    """An approved project with a run under way that began ten minutes ago and has spent nothing yet."""
    planned_project(
        registry, project_id=project_id, status="executing", budget_usd=Decimal(str(budget_usd)), forecast=forecast
    )
    run_id = f"run-{project_id}"
    with registry.writing() as session:
        session.execute(
            insert(ProjectRun).values(
                run_id=run_id, project_id=project_id, status="RUNNING", started_at=AT - timedelta(minutes=10),
                created_at=AT - timedelta(minutes=10), run_kind="baseline", passport_sha256="0" * 64,
            )
        )  # fmt: skip
    return run_id


def spend(registry: Registry, run_id: str, usd: float, at: datetime) -> None:
    """One receipt of a run."""
    with registry.writing() as session:
        project_id = int(run_id.removeprefix("run-"))
        number = f"{at.timestamp():.3f}"
        session.execute(
            insert(TaskReceipt).values(
                run_id=run_id, task_id=f"t{number}", attempt=1, project_id=project_id, lane_id=4200, provider="p",
                status="SUCCESS", cost_usd=Decimal(str(usd)), completed_at=at, completed_on=at.date(), source="plms",
                started_at=at - timedelta(seconds=1), natural_key=f"{run_id}/{number}", row_sha256="0" * 64, recorded_at=at,
            )
        )  # fmt: skip


def raise_budget(registry: Registry, project_id: int, usd: float) -> None:
    """What a person decides."""
    with registry.writing() as session:
        session.execute(update(Project).where(Project.id == project_id).values(budget_cost_usd_max=Decimal(str(usd))))


@dataclass
class Bench:
    """An engine and a desk over one registry, with sources that tests fill."""

    registry: Registry
    settings: Settings
    clock: Watch
    engine: Engine
    desk: Desk
    sent: list[tuple[Channel, Message, str]] = field(default_factory=list)
    values: dict[str, dict[str, float | None]] = field(default_factory=dict)

    def evaluate(self, **given: Any) -> Evaluated:
        return evaluate(self.engine, is_forced=True, **given)

    def deliver(self, **given: Any) -> list[Made]:
        return deliver(self.desk, **given)

    def told(self) -> list[tuple[str, str, str]]:
        """(channel, kind, subjects) of what was sent."""
        return [
            (channel.name, message.kind, ",".join(line.subject for line in message.lines))
            for channel, message, _ in self.sent
        ]


def bench(
    registry: Registry, folder: Path, *, oncall: str | None = None, rules: str | None = None, clock: Watch | None = None,
    sources: Sequence[Source] | None = None, environ: dict[str, str] | None = None, attempts: int = 20,
) -> Bench:  # fmt: skip
    """A bench; sources that are not given read `values` (input → subject → value)."""
    folder.mkdir(parents=True, exist_ok=True)
    given = {"PLMS_DATA_DIR": str(folder / "data"), "PLMS_REPORTS_DIR": str(folder / "reports"), **(environ or {})}
    for name, variable, text in (
        ("rules.yaml", "PLMS_ALERT_RULES", rules),
        ("oncall.yaml", "PLMS_ONCALL_FILE", oncall),
    ):
        if text is not None:
            (folder / name).write_text(text)
            given[variable] = str(folder / name)
    settings, watch = load_settings(given), clock or Watch()
    known = files.load_rules(settings)
    values: dict[str, dict[str, float | None]] = {}
    sent: list[tuple[Channel, Message, str]] = []

    def send(channel: Channel, message: Message, recipient: str, *, now: datetime) -> str:
        sent.append((channel, message, recipient))
        return "ok"

    routing = routing_of(settings, known)
    engine = Engine(registry, settings, watch, known, routing, tuple(sources or by_hand(values)))
    desk = Desk(
        registry, watch, dict(routing.channels), send, "host:1:1.00:aa", lambda _: False, Policy(max_attempts=attempts)
    )
    return Bench(registry, settings, watch, engine, desk, sent, values)


def by_hand(values: dict[str, dict[str, float | None]]) -> list[Source]:
    """Sources that say what stands in `values`."""
    from plms_pipeline.alerts.inputs import INPUTS, SOURCES

    def looking(name: str) -> Callable[[Asked], Seen]:
        def look(asked: Asked) -> Seen:
            mine = [one for one in INPUTS.values() if one.source == name]
            found = tuple(
                Reading(one.name, subject, value, asked.now)
                for one in mine
                for subject, value in values.get(one.name, {}).items()
            )
            return Seen(found, unknown=frozenset(one.name for one in mine if one.name not in values))

        return look

    return [Source(name, looking(name)) for name in SOURCES]


BUDGET = (Source("budget", budget.look, 60.0),)
