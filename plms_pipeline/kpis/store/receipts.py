"""What do the books know about lanes, gates, tasks and earlier measurements?

Every function takes an open session and never commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Float, case, cast, func, select
from sqlalchemy.orm import Session

from plms_pipeline.errors import BadInput
from plms_pipeline.kpis.gates import Gate, condition
from plms_pipeline.kpis.rates import PassRate
from plms_pipeline.registry.tables import (
    KpiReceipt,
    Lane,
    LaneAlias,
    LaneGate,
    LaneOverride,
    ProjectRun,
    RunTask,
    TaskEstimate,
    TaskPlan,
)


@dataclass(frozen=True, slots=True)
class TaskFacts:
    """What the books say about a task: its lane, and its own `kpi_formula` (None: none, or no task was named)."""

    lane_id: int | None
    formula: str | None


def find_lane(session: Session, word: int | str) -> Lane:
    """The lane with this number, name or alias.

    Raises:
        BadInput: no such lane is registered, or it is not active (`unknown_lane`).
    """
    text = str(word).strip()
    lane = session.get(Lane, int(text)) if text.isascii() and text.isdigit() and len(text) < 10 else None
    lane = lane or session.scalar(select(Lane).where(func.lower(Lane.name) == text.lower()))
    if lane is None:
        alias = session.scalar(select(LaneAlias).where(func.lower(LaneAlias.alias) == text.lower()))
        lane = session.get(Lane, alias.lane_id) if alias else None
    if lane is None or not lane.active:
        known = session.execute(select(Lane.lane_id, Lane.name).where(Lane.active).order_by(Lane.lane_id))
        raise BadInput(
            f"lane {text[:80]!r} is not registered; registered are {', '.join(f'{row[0]} {row[1]}' for row in known)}.",
            code="unknown_lane",
        )
    return lane


def lane_name(session: Session, lane_id: int) -> str:
    """The name of a lane, open or closed; its number when it is not registered."""
    return session.scalar(select(Lane.name).where(Lane.lane_id == lane_id)) or str(lane_id)


def active_lanes(session: Session) -> Sequence[Lane]:
    """Every active lane, by number."""
    return session.scalars(select(Lane).where(Lane.active).order_by(Lane.lane_id)).all()


def lane_gates(session: Session, lane_id: int) -> tuple[Gate, ...]:
    """The active gates of a lane, by KPI.

    Raises:
        BadInput: a row names an unknown KPI or a threshold that cannot be judged. It is not skipped.
    """
    rows = session.scalars(
        select(LaneGate).where(LaneGate.lane_id == lane_id, LaneGate.active).order_by(LaneGate.kpi_name)
    )
    return tuple(
        Gate(row.kpi_name, (condition(row.kpi_name, row.operator, row.threshold),), row.blocks) for row in rows
    )


def task_facts(session: Session, task_id: str | None, run_id: str | None) -> TaskFacts:
    """What the books say about a task: of a run, the key of a planned task of its project; else a planned task's id.

    Raises:
        BadInput: the run is not registered (`unknown_run`), or the task is neither planned nor one of the run
            (`unknown_task`): a misspelt one would be judged without its own formula.
    """
    run = None
    if run_id is not None:
        run = session.scalar(select(ProjectRun).where(ProjectRun.run_id == run_id))
        if run is None:
            raise BadInput(
                f"run {run_id!r} is not registered; leave the run out or name an existing one.", code="unknown_run"
            )
    if task_id is None:
        return TaskFacts(None, None)
    planned = (
        session.get(TaskEstimate, int(task_id))
        if task_id.isascii() and task_id.isdigit() and len(task_id) < 10
        else None
    )
    if run is not None:
        # In a run a task goes by the name that its plan gives it, which may well be a number.
        named = session.scalar(
            select(TaskEstimate)
            .join(TaskPlan, TaskPlan.task_estimate_id == TaskEstimate.id)
            .where(TaskPlan.project_id == run.project_id, TaskPlan.task_key == task_id)
        )
        planned = named or (planned if planned is not None and planned.project_id == run.project_id else None)
    done = select(RunTask.lane_id).where(RunTask.task_id == task_id)
    if run is not None:
        done = done.where(RunTask.run_id == run.run_id)
    known = session.execute(done.limit(1)).first()
    if known is None and planned is None:
        where = (
            f"no task of run {run_id!r}, nor planned for its project" if run else "no task that is planned or was run"
        )
        raise BadInput(
            f"task {task_id[:80]!r} is {where}; name an existing one, or leave the task out.", code="unknown_task"
        )
    lane_id = known[0] if known is not None and run is not None else None
    if lane_id is None and planned is not None:
        corrected = session.scalar(
            select(LaneOverride.corrected_lane)
            .where(LaneOverride.task_estimate_id == planned.id)
            .order_by(LaneOverride.corrected_at.desc(), LaneOverride.id.desc())
            .limit(1)
        )
        lane_id = corrected if corrected is not None else planned.tmd_lane
    return TaskFacts(lane_id, planned.kpi_formula if planned else None)


def formulas_in_run(session: Session, run_id: str) -> dict[str, str]:
    """Task → `kpi_formula`, for the tasks of one of our runs that have one, by the names that the project's plan gives them."""
    rows = session.execute(
        select(TaskPlan.task_key, TaskEstimate.kpi_formula)
        .join(TaskEstimate, TaskEstimate.id == TaskPlan.task_estimate_id)
        .join(ProjectRun, ProjectRun.project_id == TaskPlan.project_id)
        .where(ProjectRun.run_id == run_id, TaskEstimate.kpi_formula.is_not(None))
    )
    return {task_id: str(formula) for task_id, formula in rows}


def insert(session: Session, rows: Iterable[KpiReceipt]) -> None:
    """Add the receipts of one evaluation."""
    session.add_all(list(rows))
    session.flush()


def last_evaluation(
    session: Session, *, artifact_name: str, artifact_sha256: str, gates_sha256: str
) -> Sequence[KpiReceipt]:
    """The receipts of the newest evaluation of these bytes against these gates; empty when there is none."""
    newest = session.scalar(
        select(KpiReceipt)
        .where(
            KpiReceipt.artifact_name == artifact_name,
            KpiReceipt.artifact_sha256 == artifact_sha256,
            KpiReceipt.gates_sha256 == gates_sha256,
        )
        .order_by(KpiReceipt.measured_at.desc(), KpiReceipt.id.desc())
        .limit(1)
    )
    if newest is None:
        return ()
    return session.scalars(
        select(KpiReceipt).where(KpiReceipt.evaluation_id == newest.evaluation_id).order_by(KpiReceipt.kpi_name)
    ).all()


def earlier_judgement(session: Session, *, artifact_sha256: str, gates_sha256: str) -> Sequence[KpiReceipt]:
    """The receipts of the newest evaluation of these bytes against these gates, whatever the artifact was called."""
    newest = (
        select(KpiReceipt.evaluation_id)
        .where(KpiReceipt.artifact_sha256 == artifact_sha256, KpiReceipt.gates_sha256 == gates_sha256)
        .order_by(KpiReceipt.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = session.scalars(select(KpiReceipt).where(KpiReceipt.evaluation_id == newest).order_by(KpiReceipt.kpi_name))
    return rows.all()


def pass_rates(session: Session) -> list[PassRate]:
    """Per lane and KPI: how many evaluations, how many passed, and the newest one."""
    counts: Any = (
        select(
            KpiReceipt.lane_id,
            KpiReceipt.kpi_name,
            func.count().label("n"),
            func.sum(case((KpiReceipt.pass_, 1), else_=0)).label("passed"),
            func.count(KpiReceipt.kpi_value).label("measured"),
            cast(func.avg(KpiReceipt.kpi_value), Float).label("mean"),
        )
        .group_by(KpiReceipt.lane_id, KpiReceipt.kpi_name)
        .subquery()
    )
    order = func.row_number().over(
        partition_by=(KpiReceipt.lane_id, KpiReceipt.kpi_name),
        order_by=(KpiReceipt.measured_at.desc(), KpiReceipt.id.desc()),
    )
    newest: Any = select(
        KpiReceipt.lane_id, KpiReceipt.kpi_name, KpiReceipt.kpi_value, KpiReceipt.pass_.label("passed"),
        KpiReceipt.measured_at, order.label("place"),
    ).subquery()  # fmt: skip
    rows = session.execute(
        select(
            counts.c.lane_id, Lane.name, counts.c.kpi_name, counts.c.n, counts.c.passed, counts.c.measured, counts.c.mean,
            newest.c.kpi_value, newest.c.passed, newest.c.measured_at,
        )
        .join(Lane, Lane.lane_id == counts.c.lane_id)
        .join(newest, (newest.c.lane_id == counts.c.lane_id) & (newest.c.kpi_name == counts.c.kpi_name))
        .where(newest.c.place == 1)
        .order_by(counts.c.lane_id, counts.c.kpi_name)
    )  # fmt: skip
    return [
        PassRate(row[0], row[1], row[2], int(row[3]), int(row[4]), int(row[5]), row[6], row[7], bool(row[8]), row[9])
        for row in rows
    ]
