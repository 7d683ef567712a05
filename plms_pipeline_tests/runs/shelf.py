"""A registry into which projects, runs and receipts are put as rows: reads are tested on what they read alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from sqlalchemy import insert

from plms_pipeline.registry.engine import Registry
from plms_pipeline.registry.tables import Project, ProjectRun, RunTask, TaskEstimate, TaskPlan, TaskReceipt
from plms_pipeline_tests.runs.worked import AT

FORECAST = {
    "effort": {
        "tokens": {"median": 3000.0, "mean": 3100.0, "low": 2500.0, "high": 3600.0, "n": 50},
        "duration_ms": {"median": 300_000.0, "mean": 310_000.0, "low": 250_000.0, "high": 360_000.0, "n": 50},
        "cost_usd": {"median": 0.18, "mean": 0.185, "low": 0.15, "high": 0.22, "n": 50},
    },
    "spend": {"cost_usd": {"median": 0.2, "mean": 0.25, "low": 0.1, "high": 0.5, "n": 50}},
}  # fmt: skip


@dataclass
class Shelf:
    """A registry into which projects with receipts are put as rows."""

    registry: Registry

    def project(self, number: int, *, tokens: list[int], estimate: int = 3000, **changes: Any) -> str:
        """A project of one lane whose tasks took these tokens; its run."""
        run_id, n = str(uuid4()), len(tokens)
        with self.registry.writing() as session:
            session.execute(
                insert(Project).values(
                    id=number, name=f"project {number}", created_at=AT, started_at=AT + timedelta(minutes=number),
                    estimated_tokens=estimate * n, estimated_duration_minutes=5 * n,
                    estimated_cost_usd=Decimal("0.18") * n, budget_cost_usd_max=Decimal(2),
                    **{"status": "executing", **changes},
                )
            )  # fmt: skip
            self.run(session, number, run_id)
            for place, taken in enumerate(tokens):
                self.task(session, number, run_id, f"t{place}", taken, estimate, place)
        return run_id

    def run(self, session: Any, number: int, run_id: str, **changes: Any) -> None:
        session.execute(
            insert(ProjectRun).values(
                **{
                    "run_id": run_id, "project_id": number, "status": "RUNNING", "created_at": AT, "started_at": AT,
                    "run_kind": "baseline", "source": "plms", **changes,
                }
            )
        )  # fmt: skip

    def task(self, session: Any, number: int, run_id: str, name: str, tokens: int, estimate: int, place: int) -> None:
        planned = TaskEstimate(
            project_id=number, task_name=f"task {name}", order_index=place, tmd_lane=4200, estimated_tokens=estimate
        )
        session.add(planned)
        session.flush()
        session.add(
            TaskPlan(
                task_estimate_id=planned.id, project_id=number, task_key=name, provider="m", forecast_json=FORECAST
            )
        )
        session.execute(
            insert(RunTask).values(
                run_id=run_id, task_id=name, lane_id=4200, provider="m", status="SUCCESS", queued_at=AT
            )
        )
        self.receipt(session, number, run_id, name, tokens=tokens)

    def receipt(self, session: Any, number: int, run_id: str, name: str, **changes: Any) -> None:
        ended = AT + timedelta(minutes=5)
        session.execute(
            insert(TaskReceipt).values(
                **{
                    "run_id": run_id, "task_id": name, "project_id": number, "lane_id": 4200, "provider": "m",
                    "tokens": 3000, "tokens_input": 2000, "tokens_output": 1000, "duration_ms": 240_000,
                    "cost_usd": Decimal("0.20"), "energy_kwh": 0.5, "echo_cos": 0.9, "status": "SUCCESS", "started_at": AT,
                    "completed_at": ended, "completed_on": ended.date(), "natural_key": f"{run_id}/{name}",
                    "artifacts_path": f"runs/{run_id}/outputs/{name}/1", "source": "plms", "row_sha256": "0" * 64,
                    "recorded_at": ended, **changes,
                }
            )
        )  # fmt: skip

    def other(self, session: Any) -> int:
        """A project that nobody looks at."""
        session.execute(insert(Project).values(id=7777, name="another", created_at=AT))
        return 7777
