"""How risky is each lane of each project, how do estimates of a lane go, what did the gates of the newest runs measure?

The statements of `/risk-heatmap` and `/estimation-drift`, for all projects together. Every function takes an open session and
only reads.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import and_, bindparam, case, func, or_, select
from sqlalchemy.orm import Session

from plms_pipeline.registry.tables import KpiReceipt, ProjectRun, TaskPlan, TaskReceipt
from plms_pipeline.runs.store.planned import planned_cells
from plms_pipeline.runs.store.views import IS_WORK

Cell = tuple[int, str, int, str | None]
_IDS: Final[Any] = bindparam("project_ids", expanding=True)
_RUNS: Final[Any] = bindparam("run_ids", expanding=True)
_CELLS: Final = planned_cells(lambda project_id: project_id.in_(_IDS), TaskPlan.project_id)
_OUTCOMES: Final = (
    select(
        ProjectRun.project_id, TaskReceipt.lane_id, func.count(),
        func.sum(case((or_(TaskReceipt.status == "FAIL", TaskReceipt.attempt > 1), 1), else_=0)),
    )
    .join(TaskReceipt, ProjectRun.run_id == TaskReceipt.run_id)
    .where(and_(ProjectRun.project_id.in_(_IDS), IS_WORK))
    .group_by(ProjectRun.project_id, TaskReceipt.lane_id)
)  # fmt: skip
_GATES_FAILED: Final = (
    select(ProjectRun.project_id, KpiReceipt.lane_id, func.count(), func.sum(case((KpiReceipt.pass_, 0), else_=1)))
    .join(KpiReceipt, ProjectRun.run_id == KpiReceipt.run_id)
    .where(and_(ProjectRun.project_id.in_(_IDS), IS_WORK), KpiReceipt.blocks)
    .group_by(ProjectRun.project_id, KpiReceipt.lane_id)
)
_MEASURED: Final = (
    select(
        KpiReceipt.run_id, KpiReceipt.task_id, KpiReceipt.evaluation_id, KpiReceipt.kpi_name, KpiReceipt.kpi_value,
        KpiReceipt.kpi_threshold, KpiReceipt.pass_, KpiReceipt.blocks, KpiReceipt.reason,
    )
    .where(KpiReceipt.run_id.in_(_RUNS))
    .order_by(KpiReceipt.measured_at, KpiReceipt.id)
)  # fmt: skip


def _asked(session: Session, statement: Any, **values: Any) -> list[Any]:
    return list(session.connection().execute(statement, values))


def cells(session: Session, project_ids: Sequence[int]) -> dict[tuple[int, int], list[Cell]]:
    """(project, lane) → its (lane, provider, tasks, forecast of one task as JSON text)."""
    found: dict[tuple[int, int], list[Cell]] = defaultdict(list)
    for project, lane, provider, tasks, text in _asked(session, _CELLS, project_ids=list(project_ids)):
        found[project, lane].append((lane, provider, tasks, text))
    return found


def outcomes(session: Session, project_ids: Sequence[int]) -> dict[tuple[int, int], tuple[int, int]]:
    """(project, lane) → (attempts, those that failed or were repeated)."""
    rows = _asked(session, _OUTCOMES, project_ids=list(project_ids))
    return {(project, lane): (n, int(bad)) for project, lane, n, bad in rows}


def gates_failed(session: Session, project_ids: Sequence[int]) -> dict[tuple[int, int], tuple[int, int]]:
    """(project, lane) → (blocking gates measured, those that failed)."""
    rows = _asked(session, _GATES_FAILED, project_ids=list(project_ids))
    return {(project, lane): (n, int(failed)) for project, lane, n, failed in rows}


def measured(session: Session, run_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
    """Run → per KPI how often it was measured and failed in the newest evaluation of each task, and its worst value.

    `value` is that of the first task that failed, or else of the last one measured; null when it could not be measured.
    """
    newest: dict[tuple[str, str | None], list[Any]] = {}
    for row in _asked(session, _MEASURED, run_ids=list(run_ids)):
        known = newest.get((row[0], row[1]))
        if known is None or known[0][2] != row[2]:
            newest[row[0], row[1]] = [row]
        else:
            known.append(row)
    found: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
    for (run_id, task_id), rows in newest.items():
        for _, _, _, name, value, threshold, passed, blocks, reason in rows:
            gate = found[run_id].setdefault(
                name, {"kpi": name, "measured": 0, "failed": 0, "blocks": bool(blocks), "value": None,
                       "threshold": threshold, "task_id": None, "reason": None},
            )  # fmt: skip
            gate["measured"] += 1
            if not passed:
                gate["failed"] += 1
            if (not passed and gate["failed"] == 1) or gate["failed"] == 0:
                gate |= {"value": value, "threshold": threshold, "task_id": task_id, "reason": reason}
    return {run_id: [gates[name] for name in sorted(gates)] for run_id, gates in found.items()}
