"""With which rows does a run begin?

All of them are written in one transaction (`start.py`); here they are only put together.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from plms_pipeline.access.actors import Actor
from plms_pipeline.registry.types import canonical_json
from plms_pipeline.runs.ids import card_key
from plms_pipeline.runs.money import PricedPlan
from plms_pipeline.runs.passport import Passport, PlannedTask
from plms_pipeline.runs.starting import StartRequest, passport_path
from plms_pipeline.runs.store import outbox
from plms_pipeline.runs.store import start as store


def _task_row(run_id: str, task: PlannedTask, now: datetime) -> dict[str, Any]:
    return {
        "run_id": run_id, "task_id": task.task_id, "lane_id": task.lane_id, "provider": task.provider,
        "task_kind": task.task_kind, "complexity": task.complexity, "status": "QUEUED", "validation": "pending",
        "queued_at": now,
    }  # fmt: skip


def rows_of(
    passport: Passport,
    plan: PricedPlan,
    request: StartRequest,
    *,
    run_id: str,
    now: datetime,
    actor: Actor,
    left_usd: Decimal | None,
) -> store.NewRun:
    """Every row that a run begins with; `left_usd` is what the project has left of its budget, None without one."""
    document = passport.document
    matrix_text = canonical_json(document["provider_matrix"])
    kind, project_id = request.run_kind, request.project_id
    # A rehearsal of all tasks is one of 100 % that covers every stratum.
    whole = 1.0 if kind == "rehearsal" and request.tasks is None else None
    return store.NewRun(
        run={
            "run_id": run_id, "project_id": project_id, "status": "QUEUED", "created_at": now, "run_kind": kind,
            "rehearsal_pct": whole if request.rehearsal_pct is None else request.rehearsal_pct,
            "strata_coverage": whole if request.strata_coverage is None else request.strata_coverage,
            "provider_matrix_json": matrix_text, "capability_snapshot": canonical_json(document["capabilities"]),
            "validation": "pending", "write_sandbox": request.write_sandbox, "passport_sha256": passport.sha256,
            "source": "plms",
        },
        tasks=[_task_row(run_id, task, now) for task in plan],
        passport={
            "run_id": run_id, "passport_json": passport.text, "sha256": passport.sha256,
            "provider_matrix_json": matrix_text, "env_snapshot_json": canonical_json(document["env"]),
            "prd_sha": document["prd_sha"], "git_commit": document["env"]["git_commit"], "is_complete": True,
            "created_at": now,
        },
        cards=[
            {
                "card_key": card_key(run_id, task.task_id, 1), "run_id": run_id, "task_id": task.task_id, "attempt": 1,
                "lane_id": task.lane_id, "provider": task.provider, "budget_usd": cap,
                "depends_on_json": list(task.depends_on),
                "payload_json": {"command": None if task.command is None else list(task.command),
                                 "task_kind": task.task_kind, "complexity": task.complexity},
                "state": "WAITING", "created_at": now,
            }
            for task, cap in zip(plan, plan.caps, strict=True)
        ],
        birth=store.birth(run_id, at=now, actor=actor.name),
        effects=[
            outbox.wanted("passport", run_id, now=now, payload={"path": passport_path(run_id)}),
            outbox.wanted(
                "start_run", run_id, now=now, payload={"budget_usd": None if left_usd is None else str(left_usd)}
            ),
        ],
        audit={
            "at": now, "actor": actor.name[:255], "action": "run.start", "subject": f"run:{run_id}", "outcome": "done",
            "details_json": {"project_id": project_id, "run_kind": kind, "passport_sha256": passport.sha256},
        },
        parent=None if request.parent_run_id is None else {
            "run_id": run_id, "parent_run_id": request.parent_run_id,
            "relation": request.relation or ("hotfix" if kind == "hotfix" else "replay"),
        },
    )  # fmt: skip
