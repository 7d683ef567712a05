"""What do verdicts, receipts and decisions say about a lane's gates, its α, and when its cap moved last?

Every function takes an open session and only reads.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from plms_pipeline.portfolio.lane_rules import GateWeek
from plms_pipeline.registry.tables import Decision, KpiReceipt, LaneGate, ProjectRun, TaskReceipt

_HOLDS: Final[dict[str, Callable[[float, float], bool]]] = {
    ">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt,
}  # fmt: skip
# The forecasts of a lane are made from its newest receipts; a thousand show a difference that matters.
MOST_RECEIPTS: Final = 1000


def gate_weeks(session: Session, begin: datetime, end: datetime) -> dict[int, list[GateWeek]]:
    """Lane → its gates with a number as threshold: the measured values that failed them, and those that people let pass.

    Only what fails the lane's own threshold counts: a task may ask for more of itself. Of several measurements of a task the
    newest counts.
    """
    gates = session.execute(
        select(LaneGate.lane_id, LaneGate.kpi_name, LaneGate.operator, LaneGate.threshold)
        .where(LaneGate.active, LaneGate.blocks, LaneGate.operator.in_(list(_HOLDS)))
        .order_by(LaneGate.lane_id, LaneGate.kpi_name)
    ).all()
    rows = session.execute(
        select(
            KpiReceipt.lane_id, KpiReceipt.kpi_name, KpiReceipt.run_id, KpiReceipt.task_id, KpiReceipt.kpi_value,
            ProjectRun.validation_pass_override,
        )
        .join(ProjectRun, ProjectRun.run_id == KpiReceipt.run_id)
        .where(KpiReceipt.measured_at >= begin, KpiReceipt.measured_at < end, KpiReceipt.kpi_value.is_not(None))
        .order_by(KpiReceipt.measured_at, KpiReceipt.id)
    )  # fmt: skip
    newest: dict[tuple[int, str], dict[tuple[Any, Any], tuple[float, bool]]] = defaultdict(dict)
    for lane_id, kpi, run_id, task_id, value, let_pass in rows:
        newest[lane_id, kpi][run_id, task_id] = (float(value or 0.0), bool(let_pass))
    found: dict[int, list[GateWeek]] = defaultdict(list)
    for lane_id, kpi, word, threshold in gates:
        if isinstance(threshold, bool) or not isinstance(threshold, int | float):
            continue
        failed = [
            (value, let_pass) for value, let_pass in newest[lane_id, kpi].values() if not _HOLDS[word](value, threshold)
        ]
        overruled = tuple(value for value, let_pass in failed if let_pass)
        found[lane_id].append(GateWeek(kpi, word, float(threshold), len(failed), overruled))
    return found


def cost_series(session: Session, lane_id: int, end: datetime) -> list[list[float]]:
    """What the newest successful receipts of a lane cost (USD), per provider, in order of completion."""
    rows = session.execute(
        select(TaskReceipt.provider, TaskReceipt.cost_usd)
        .where(
            TaskReceipt.lane_id == lane_id, TaskReceipt.status == "SUCCESS", TaskReceipt.completed_at < end,
            TaskReceipt.cost_usd.is_not(None),
        )
        .order_by(TaskReceipt.completed_at.desc(), TaskReceipt.natural_key.desc())
        .limit(MOST_RECEIPTS)
    )  # fmt: skip
    found: dict[str, list[float]] = defaultdict(list)
    for provider, cost in reversed(rows.all()):
        found[provider].append(float(cost or 0))
    return [found[provider] for provider in sorted(found)]


def cap_moved_at(session: Session, lane_id: int) -> datetime | None:
    """When a lane's cap was decided last, by whom ever."""
    query = select(Decision.decided_at).where(
        Decision.kind == "lane_cap", Decision.subject_type == "lane", Decision.subject_id == str(lane_id)
    )
    return session.scalar(query.order_by(Decision.decided_at.desc()).limit(1))
