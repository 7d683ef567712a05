"""A desk at which projects are planned, approved and judged in tests: people, a clock, and rows of runs that ended."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select

from plms_pipeline.access.actors import Actor
from plms_pipeline.clock import FrozenClock
from plms_pipeline.decisions.record import Decided
from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import (
    AuditEntry,
    JobCard,
    KpiReceipt,
    OutboxEvent,
    ProjectRun,
    ReceiptDay,
    RunTask,
    StateTransition,
    TaskReceipt,
)
from plms_pipeline.runs.actions import decide_project as deciding
from plms_pipeline.runs.actions.project_estimates import ProjectEstimate, estimate_project
from plms_pipeline.runs.actions.projects import create_project
from plms_pipeline.runs.plan_document import from_json
from plms_pipeline.runs.project_view import ProjectView

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
ANN, BEN, EVE = (Actor(name, is_verified=True) for name in ("ann", "ben", "eve"))
LOCAL = Actor("local:ann")
TASKS = (
    {"key": "api", "name": "An endpoint", "lane": 4200},
    {"key": "docs", "name": "Documentation", "lane": 4202, "depends_on": ["api"]},
)


@dataclass
class Desk:
    """Everything that a use case needs, and short ways to use it."""

    registry: Registry
    clock: FrozenClock = field(default_factory=lambda: FrozenClock(NOON))
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def ids(self) -> str:
        return f"00000000-0000-4000-8000-{next(self.numbers):012d}"

    def later(self, **passed: float) -> None:
        self.clock = FrozenClock(self.clock.at + timedelta(**(passed or {"minutes": 1})))

    def planned(self, actor: Actor = ANN, **changes: Any) -> ProjectView:
        document = {"name": "Calculator", "provider": "m", "budget": {"usd": 2.0}, "tasks": list(TASKS)} | changes
        document = {name: value for name, value in document.items() if value is not None}
        return create_project(self.registry, from_json(document), "the plan", clock=self.clock, actor=actor)

    def estimated(self, project_id: int, actor: Actor = ANN) -> ProjectEstimate:
        return estimate_project(self.registry, project_id, clock=self.clock, actor=actor, alpha=0.3)

    def submitted(self, actor: Actor = ANN, **changes: Any) -> ProjectView:
        project_id = self.planned(actor, **changes).id
        self.estimated(project_id, actor)
        return deciding.submit_project(
            self.registry, project_id, clock=self.clock, ids=self.ids, actor=actor
        ).view  # fmt: skip

    def approve(self, project_id: int, actor: Actor = BEN, **changes: Any) -> deciding.Decision:
        facts: dict[str, Any] = {"clock": self.clock, "ids": self.ids, "actor": actor, "reason": "within plan"}
        return deciding.approve_project(self.registry, project_id, **(facts | changes))

    def approved(self, **changes: Any) -> ProjectView:
        return self.approve(self.submitted(**changes).id).view

    def run(
        self, project_id: int, run_id: str, *, status: str = "SUCCESS", validation: str = "failed", lane: int = 4200,
        kpis: tuple[tuple[str, float | None, bool], ...] = (("test_pass_rate", 0.8, False),), logs: str | None = None,
        **run: Any,
    ) -> str:  # fmt: skip
        """A run with one task, one receipt and what its gates measured."""
        ended = self.clock.at
        open_ = status in ("QUEUED", "RUNNING")
        with self.registry.writing() as session:
            facts = {"run_kind": "baseline", "verdict_by": "gates", "passport_sha256": "ab" * 32} | run
            session.add(ProjectRun(
                run_id=run_id, project_id=project_id, status=status, validation="pending" if open_ else validation,
                created_at=ended, started_at=None if status == "QUEUED" else ended,
                completed_at=None if open_ else ended, provider_matrix_json='{"m":"1"}', **facts,
            ))  # fmt: skip
            session.flush()
            session.add(RunTask(run_id=run_id, task_id="api", lane_id=lane, provider="m", status=status))
            if open_:
                session.add(JobCard(
                    card_key=self.ids(), run_id=run_id, task_id="api", attempt=1, lane_id=lane, provider="m",
                    state="WAITING" if status == "QUEUED" else "SUBMITTED", created_at=ended,
                ))  # fmt: skip
                return run_id
            session.add(TaskReceipt(
                run_id=run_id, task_id="api", attempt=1, project_id=project_id, lane_id=lane, provider="m",
                status="SUCCESS", started_at=ended, completed_at=ended, completed_on=ended.date(), natural_key=run_id,
                source="plms", row_sha256="cd" * 32, recorded_at=ended, duration_ms=1000,
            ))  # fmt: skip
            day = session.get(ReceiptDay, ended.date())
            if day is None:
                session.add(ReceiptDay(day=ended.date(), changed_seq=1))
            evaluation = self.ids()
            for kpi, value, passed in kpis:
                session.add(KpiReceipt(
                    evaluation_id=evaluation, task_id="api", run_id=run_id, lane_id=lane, kpi_name=kpi, kpi_value=value,
                    kpi_threshold={">=": 0.9}, pass_=passed, reason=None if passed else "too few tests pass",
                    artifact_sha256="ef" * 32, logs_path=logs, measured_at=ended,
                ))  # fmt: skip
        return run_id

    def put(self, project_id: int, status: str) -> None:
        """Put a project into a state by the shortest way of the machine, as settlement would."""
        from plms_pipeline.runs.store.transitions import move_project

        way = {"executing": ["executing"], "needs_review": ["executing", "validating", "needs_review"],
               "completed": ["executing", "validating", "completed"]}[status]  # fmt: skip
        before = "approved"
        with self.registry.writing() as session:
            for state in way:
                assert move_project(session, project_id, expected=before, new=state, at=self.clock.at, actor="test")
                before = state

    def effects(self) -> list[tuple[str, str]]:
        with self.registry.reading() as session:
            rows = session.scalars(select(OutboxEvent).order_by(OutboxEvent.id))
            return [(row.kind, row.subject_id) for row in rows]

    def audited(self, action: str) -> list[tuple[str, str]]:
        with self.registry.reading() as session:
            rows = session.scalars(select(AuditEntry).where(AuditEntry.action == action).order_by(AuditEntry.id))
            return [(row.actor, row.outcome) for row in rows]

    def states(self, project_id: int) -> list[str]:
        with self.registry.reading() as session:
            rows = session.scalars(
                select(StateTransition.to_state)
                .where(StateTransition.subject_type == "project", StateTransition.subject_id == str(project_id))
                .order_by(StateTransition.sequence)
            )
            return list(rows)

    def decided(self, subject: str) -> list[Decided]:
        from plms_pipeline.decisions.actions import decisions

        return decisions(self.registry, subject=subject)
