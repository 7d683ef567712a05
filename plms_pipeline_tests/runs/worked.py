"""A run as a start leaves it, and the executor's words about it: made by rows, so that settlement is tested on its own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import insert, select

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import Clock
from plms_pipeline.intake.actions.inbox import Accepted, accept_event
from plms_pipeline.kpis.actions.world import World, world_of
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    InboxEvent,
    JobCard,
    Project,
    ProjectPolicy,
    ProjectRun,
    RunPassport,
    RunTask,
    StateTransition,
)
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.ids import card_key
from plms_pipeline.settings import Settings

PAS = Actor("pas", is_verified=True)
AT = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Watch:
    """A clock that a test moves."""

    at: datetime = AT

    def now(self) -> datetime:
        return self.at

    def passes(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass(frozen=True)
class Planned:
    """One task of a made run."""

    task_id: str
    lane_id: int = 6100
    provider: str = "maker/one"
    depends_on: Sequence[str] = ()
    is_submitted: bool = True


@dataclass
class Worked:
    """A run in the registry and the means to tell of it."""

    registry: Registry
    settings: Settings
    clock: Any = field(default_factory=Watch)

    @property
    def world(self) -> World:
        return world_of(
            registry=self.registry, settings=self.settings, clock=self.clock, new_id=lambda: str(uuid4()),
            elapsed=time.monotonic, sleep=time.sleep,
        )  # fmt: skip

    def run(
        self,
        tasks: Iterable[Planned],
        *,
        project_id: int | None = None,
        kind: str = "baseline",
        status: str = "RUNNING",
        max_attempts: int = 1,
        project_status: str = "executing",
        run_id: str | None = None,
    ) -> str:
        """A run that was started and whose submitted cards the executor has."""
        run_id, now = run_id or str(uuid4()), self.clock.now()
        with self.registry.writing() as session:
            if project_id is None:
                project_id = self._project(session, project_status, max_attempts, now)
            self._rows(session, run_id, project_id, list(tasks), kind, status, now)
        return run_id

    def _project(self, session: Any, status: str, max_attempts: int, now: datetime) -> int:
        made = Project(name="made", status=status, created_at=now, estimated_tokens=1000)
        session.add(made)
        session.flush()
        session.add(
            ProjectPolicy(
                project_id=made.id, owner="owner", max_active_runs=9, max_attempts=max_attempts, updated_at=now
            )
        )
        return made.id

    def _rows(
        self, session: Any, run_id: str, project_id: int, tasks: list[Planned], kind: str, status: str, now: datetime
    ) -> None:
        sandbox = kind == "rehearsal"
        session.execute(
            insert(ProjectRun).values(
                run_id=run_id, project_id=project_id, status=status, created_at=now, run_kind=kind, write_sandbox=sandbox,
                started_at=now if status == "RUNNING" else None, passport_sha256="0" * 64, source="plms",
            )
        )  # fmt: skip
        session.execute(
            insert(RunPassport).values(
                run_id=run_id, passport_json="{}", sha256="0" * 64, provider_matrix_json="{}", env_snapshot_json="{}",
                is_complete=True, created_at=now,
            )
        )  # fmt: skip
        births = [
            ("run", run_id, None, "QUEUED", 1),
            *([("run", run_id, "QUEUED", status, 2)] if status != "QUEUED" else []),
        ]
        for task in tasks:
            state = "RUNNING" if task.is_submitted and status == "RUNNING" else "QUEUED"
            session.execute(
                insert(RunTask).values(
                    run_id=run_id, task_id=task.task_id, lane_id=task.lane_id, provider=task.provider, status=state,
                    queued_at=now, started_at=now if state == "RUNNING" else None,
                )
            )  # fmt: skip
            births.append(("task", f"{run_id}/{task.task_id}", None, "QUEUED", 1))
            if state == "RUNNING":
                births.append(("task", f"{run_id}/{task.task_id}", "QUEUED", "RUNNING", 2))
            session.execute(
                insert(JobCard).values(
                    card_key=card_key(run_id, task.task_id, 1), run_id=run_id, task_id=task.task_id, attempt=1,
                    lane_id=task.lane_id, provider=task.provider, depends_on_json=list(task.depends_on), payload_json={},
                    state="SUBMITTED" if state == "RUNNING" else "WAITING", created_at=now,
                    submitted_at=now if state == "RUNNING" else None,
                )
            )  # fmt: skip
        for subject, subject_id, old, new, sequence in births:
            session.execute(
                insert(StateTransition).values(
                    subject_type=subject, subject_id=subject_id, sequence=sequence, from_state=old, to_state=new,
                    is_terminal=False, actor="test", at=now,
                )
            )  # fmt: skip

    def tell(
        self, document: dict[str, Any], *, event_id: str | None = None, endpoint: str = "task_completed"
    ) -> Accepted:
        """Deliver an event."""
        body = json.dumps(document).encode()
        return accept_event(self.registry, self.clock, endpoint=endpoint, body=body, actor=PAS, event_id=event_id)

    def stage(self, run_id: str, task_id: str, files: dict[str, str], attempt: int = 1) -> Path:
        """Put an attempt's work where the executor puts it."""
        folder = self.settings.data_dir / "runs" / run_id / "staging" / task_id / str(attempt)
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return folder


def ended(
    run_id: str,
    task_id: str,
    *,
    ok: bool = True,
    attempt: int = 1,
    cost: float = 0.25,
    at: datetime = AT,
    **receipt: Any,
) -> dict[str, Any]:
    """The executor's event about an attempt that ended."""
    status = "succeeded" if ok else "failed"
    return {
        "run_id": run_id, "task_id": task_id, "attempt": attempt, "status": status,
        "metrics": {"tokens_total": 1500, "time_ms": 60_000, "cost_usd": cost},
        "receipt": {
            "run_id": run_id, "task_id": task_id, "attempt": attempt, "lane": 6100, "provider": "maker/one",
            "tokens_in": 1000, "tokens_out": 400, "tokens_think": 100, "time_ms": 60_000, "cost_usd": cost,
            "status": status, "started_at": (at - timedelta(seconds=60)).isoformat(), "completed_at": at.isoformat(),
            **receipt,
        },
    }  # fmt: skip


def rows(registry: Registry, table: type[Any], *columns: str) -> list[tuple[Any, ...]]:
    """Some columns of a whole table, in a stable order."""
    with registry.reading() as session:
        found = session.execute(select(*(getattr(table, name) for name in columns)))
        return sorted((tuple(row) for row in found), key=canonical_key)


def canonical_key(row: tuple[Any, ...]) -> str:
    return canonical_json([str(value) for value in row])


def outcomes(registry: Registry) -> list[tuple[str, str]]:
    """(state, outcome) of every event, in order of arrival."""
    with registry.reading() as session:
        return [
            tuple(row) for row in session.execute(select(InboxEvent.state, InboxEvent.outcome).order_by(InboxEvent.id))
        ]


def clock_of(worked: Worked) -> Clock:
    clock: Clock = worked.clock
    return clock
